//! What the bench's programs share: replicas that talk to each other in one thread, over the real codec.

pub mod pump;
