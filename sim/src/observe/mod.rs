//! What happens in a run, for people and tools.
//!
//! A world tells an [`Observer`] what happens. The [`Recorder`] keeps it and makes one [`Story`] of it. Every output is
//! written from that: text, JSON lines, the page, and what other tools draw. `words` says things in sentences, and `blame`
//! says what an answer that broke a promise rests on.

mod blame;
mod clients;
mod diff;
mod json;
mod load;
mod load_page;
mod mermaid;
mod notes;
mod page;
mod perfetto;
mod recorder;
mod shiviz;
mod story;
mod svg;
mod text;
mod words;

pub(crate) use blame::writes_in;
pub use clients::history_page;
pub use diff::Diff;
pub use json::lines as json_lines;
pub use load::{Harm, Load, Step};
pub use load_page::{Head, load_page};
pub use mermaid::mermaid;
pub use notes::{Names, Note, Observer};
pub(crate) use page::escaped;
pub use page::{About, Reasons, page};
pub use perfetto::perfetto;
pub use recorder::{Idle, Recorder};
pub use shiviz::shiviz;
pub use story::{Band, Blame, Carriage, Lane, Moment, Story, Tone};
pub use svg::svg;
pub use text::{trace, verdict};
pub(crate) use words::{count, list, seconds, span};

/// Where an observer of one's own writes to.
pub type Sink = std::rc::Rc<std::cell::RefCell<String>>;
