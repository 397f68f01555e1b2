//! What runs a schedule, whatever it is about: the queue of events, clocks, links, streams and recorded choices.

pub mod choice_log;
pub mod clock;
pub mod link;
pub mod queue;
pub mod stream;
