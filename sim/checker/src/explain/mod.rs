//! Why a history is broken: the fewest operations that still are, in words and as a picture.

mod picture;
mod prose;
pub(crate) mod shrink;
mod telling;
