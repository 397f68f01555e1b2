//! The wire codec: versioned, checksummed binary frames that hold many messages each.
//!
//! # Layout
//!
//! A frame is a head of [`HEAD_BYTES`] bytes and a body. Fixed numbers are big-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | magic, `cb 68` |
//! | 1 | the format, one of [`Formats`] |
//! | 1 | check of the length: its four bytes and `a5`, exclusive-or |
//! | 4 | tag of the cluster |
//! | 4 | length of the body in bytes |
//! | 4 | CRC-32 (IEEE) of the twelve bytes before it and the body |
//!
//! A body may begin anew and name its sender. It then holds the sender's address, its incarnation, the two numbers of
//! the link and the sequence number of the first message. Or its first byte is 0, an address of no bytes. It then goes
//! on from the frame before it on the same connection, with the next sequence number. Messages follow until the body
//! ends, at least one. Numbers are varints (seven bits a byte, lowest first, shortest form only). An incarnation is a
//! reference into a table that grows from the frame that began anew. The sender's is 0. A reference to the next free
//! place is followed by the eight bytes of a new one. Stamps and times are differences to those before them. The dot of
//! the sender's next operation in a run takes no bytes at all, and nor does a hash that has not changed. So an idle
//! replica's signs of life take 35 bytes each, with their head. An operation that travels alone takes some 30 beside
//! its key and value.
//!
//! What goes on from a frame that was lost would be read wrongly. None is: a connection loses its end or nothing, and
//! [`FrameWriter::clear`] begins anew for the next one.
//!
//! # Messages
//!
//! A byte begins each message. Its low three bits are the kind, the others are marks of that kind; a mark that
//! is not listed is damage.
//!
//! | kind | marks | message | fields |
//! |---|---|---|---|
//! | 0 | | hello | sent, wall, vector, records of the view; in the format for tests then the lowest and the highest format of the sender |
//! | 1 | `08` has a digest, `10` is about to end, `20` same view hash as before, `40` same digest, `80` not ready for clients | status | sent, wall, vector, received, hash of the view (8 bytes, or none), digest (8 bytes, or none) |
//! | 2 | `08` the dot is the next one, `10` the stamp is | push | made, operation |
//! | 3 | | view | records |
//! | 4 | | pull | id, vector |
//! | 5 | `08` the last one; `70` the content | supply | id, frame, content |
//! | 6 | | taken | id, frame |
//! | 7 | `00` | ask | round, incarnations (at least one, in any order), vector of events |
//! | 7 | `08` | answer | round, vector of what is held |
//! | 7 | `10` | probe | address |
//! | 7 | `18` | vouch | address |
//! | 7 | `20` | want | dot, offset, bytes |
//! | 7 | `28` | piece | dot, offset, the bytes after their count |
//! | 7 | `30` | announce | made, announced operation |
//!
//! Kind 7 is for what is seldom said or large, so that all others keep their marks. A supply's content, each list after
//! its count:
//!
//! | mark | content | of each |
//! |---|---|---|
//! | `00` | operations | 1 if the dot is the next one, else 0; operation |
//! | `10` | versions | a byte (0 no version, 1 known, 2 whole; `04` fresh key); key; dot; if whole, stamp and value |
//! | `20` | a state, no list | vector, vector of deletes, count and retired incarnations as below, clock |
//! | `30` | retired incarnations, sorted by incarnation, none twice | incarnation, through, dot |
//! | `40` | one announced operation, no list | |
//! | `50` | one version that is announced, no list | as of versions, whole; outline |
//!
//! A value that travels in pieces is left out where it is announced. In its place stands an empty one with its outline:
//! its length, and the CRC-32 (IEEE) of all of it in four bytes. An announced operation is as one of those of a supply,
//! then the outline.
//!
//! # Operations
//!
//! An operation is its dot (unless it is the next one), its stamp (unless it is marked as the next one), and its
//! content. The content begins with one byte for its shape. Two bits are for the effect (0 a put, 1 a delete, 2 a
//! retirement, 3 a batch). In format 4 a 3 is damage. Three are for how many dots it supersedes, and
//! three for how many entries it depends on. Seven of either means that a varint follows with how many more than seven
//! there are. So up to six take no byte of their own. Then come what the effect needs (key and value; key; incarnation
//! and through), the superseded dots, and the dependencies. A batch needs a byte with the number of its changes, 2 to
//! 64, and these, sorted by key, none twice. It supersedes no dots beside. A change is a shape of its own without
//! dependencies, its key, its value if it puts one, and the dots that it supersedes. In the format for tests a number
//! of 0 makes it an erasure with a key. The counter of a related dot of the operation's own
//! incarnation is told as the distance to it.
//!
//! What an operation holds beside its dot and stamps is encoded the same whatever frame it goes into, but for the
//! references. So [`OpMemo`] keeps it ready for all peers. A push copies it with the references of its frame put in
//! between: one encoding and one copy per peer.
//!
//! # What it keeps
//!
//! - Decoding is strict. The bytes of a frame are the only ones that mean what it says. Any changed bit is an error,
//!   and an error surfaces nothing of its frame.
//! - Lengths and counts are checked against what is there before anything is allocated for them.
//! - A message is never split; the core splits values. One whose frame would pass the limit is refused by [`FrameWriter::push`],
//!   which a transport counts as a loss. The core bounds what it sends (a pull's frame holds 64 KiB, or one
//!   operation that is sent whole), so [`FRAME_BYTES_MAX`] always suffices.

mod decode;
mod encode;
mod frame;
mod table;
#[cfg(test)]
mod tests;

pub use encode::OpMemo;
pub use frame::{Frame, FrameReader, FrameWriter, Pending, Taken, Unsaid};

use core::fmt;
use hence_core::{Address, ClusterTag, Formats, Hlc};

/// The newest released format. A frame of a format that its reader does not speak is refused, never guessed at.
pub const VERSION: u8 = Formats::RELEASED.highest;

/// The bytes of a frame before its body.
pub const HEAD_BYTES: usize = 16;

/// The default for the longest body: one operation with a value of 16 MiB and some slack.
pub const FRAME_BYTES_MAX: usize = (16 << 20) + (64 << 10);

/// A frame that reached so many bytes takes no further message. A receiver takes a frame in as a whole, and so need not
/// wait for long.
pub(crate) const FRAME_BYTES_FULL: usize = 64 << 10;

const MAGIC: [u8; 2] = [0xcb, b'h'];
const LENGTH_CHECK: u8 = 0xa5;

/// Why bytes are not a frame of this cluster. A stream is of no use after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodecError {
    /// They do not begin as a frame does.
    Magic {
        /// The first byte that is wrong.
        byte: u8,
    },
    /// A frame of a format that is not spoken on this connection.
    Version {
        /// The format of the frame.
        format: u8,
        /// Those that are spoken.
        ours: Formats,
    },
    /// A frame of another cluster.
    Foreign(ClusterTag),
    /// A frame whose body is longer than the reader takes.
    Oversize {
        /// The length of its body.
        bytes: usize,
        /// The longest that is taken.
        bytes_max: usize,
    },
    /// The length does not agree with its check.
    Length(u32),
    /// The checksum is that of other bytes.
    Checksum {
        /// The one in the frame.
        stated: u32,
        /// The one of the bytes that came.
        found: u32,
    },
    /// The checksum is right, but the body is not one that an encoder writes.
    Body {
        /// How many bytes of the body had been read.
        at: usize,
        /// What is wrong there.
        damage: Damage,
    },
    /// It bears the address of another member than the one that proved itself on this connection.
    Address(Address),
}

impl CodecError {
    /// How many reasons [`Self::name`] tells apart.
    pub const REASONS: usize = 7;

    /// Every reason's name, in the order of [`Self::reason`].
    pub const NAMES: [&'static str; Self::REASONS] =
        ["magic", "version", "foreign", "oversize", "checksum", "body", "address"];

    /// The reason's place in [`Self::NAMES`], for tables of counts.
    #[must_use]
    pub const fn reason(&self) -> usize {
        match self {
            Self::Magic { .. } => 0,
            Self::Version { .. } => 1,
            Self::Foreign(_) => 2,
            Self::Oversize { .. } => 3,
            Self::Length(_) | Self::Checksum { .. } => 4,
            Self::Body { .. } => 5,
            Self::Address(_) => 6,
        }
    }

    /// A short name for metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        Self::NAMES[self.reason()]
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic { byte } => write!(f, "byte {byte:#04x} does not begin a frame"),
            Self::Version { format, ours } => write!(f, "frame has format {format}; this side speaks {ours} here"),
            Self::Foreign(tag) => write!(f, "frame comes from the cluster with tag {:#010x}", tag.0),
            Self::Oversize { bytes, bytes_max } => {
                write!(f, "frame has a body of {bytes} bytes; at most {bytes_max} are taken")
            }
            Self::Length(length) => write!(f, "frame length {length} does not agree with its check"),
            Self::Checksum { stated, found } => write!(f, "frame says checksum {stated:#010x} but has {found:#010x}"),
            Self::Body { at, damage } => write!(f, "frame body is damaged at byte {at}: {damage}"),
            Self::Address(address) => write!(f, "frame bears the address {address}, which its sender did not prove"),
        }
    }
}

impl core::error::Error for CodecError {}

/// A table with so many incarnations grows no further: the next frame begins anew.
pub(crate) const TABLE_PLACES_FULL: usize = 1_024;

/// What is wrong in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// It ends too early, or a length or count in it says more than is left.
    Short,
    /// A number is not in its shortest form, or does not fit 64 bits.
    Number,
    /// Not a kind of message, or marks that this kind does not have.
    Kind(u8),
    /// Not an address, or not in lower case.
    Address,
    /// A reference to a place of the table that is not there, or a second place for the same incarnation.
    Incarnation,
    /// A dot, an entry of a vector or the end of a retired incarnation has counter 0.
    Counter,
    /// A dot that should have been left out because it is the next one.
    Dot,
    /// The same of a stamp.
    Tick,
    /// A hash is spelled out that is the last one said, or left out though none was said.
    Hash,
    /// It goes on from no frame, or where it had to begin anew.
    Speaker,
    /// A stamp that no honest replica issues: [`Hlc::LIMIT`] or more.
    Stamp(Hlc),
    /// A key is empty, too long, or not UTF-8.
    Key,
    /// A vector or retired incarnations that are not sorted by incarnation, or hold one twice.
    Order,
    /// A value out of the few that its place has.
    Choice(u8),
    /// No message in it.
    Empty,
    /// A question that asks no incarnation.
    NoneAsked,
    /// What announces a value holds it, or makes none.
    Announced,
    /// The formats that a sender says it speaks are none, or not the one that it speaks.
    Formats,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("it ends too early"),
            Self::Number => f.write_str("a number is not in its shortest form"),
            Self::Kind(kind) => write!(f, "{kind:#04x} begins no message"),
            Self::Address => f.write_str("an address is none"),
            Self::Incarnation => f.write_str("a reference to an incarnation is wrong"),
            Self::Counter => f.write_str("a counter is 0"),
            Self::Dot => f.write_str("a dot is spelled out that is the next one"),
            Self::Tick => f.write_str("a stamp is spelled out that is the next one"),
            Self::Hash => f.write_str("a hash is spelled out that was the last, or left out that was not"),
            Self::Speaker => f.write_str("it goes on where nothing can be gone on from"),
            Self::Stamp(stamp) => write!(f, "stamp {stamp:?} is beyond all clocks"),
            Self::Key => f.write_str("a key is none"),
            Self::Order => f.write_str("entries are out of order"),
            Self::Choice(choice) => write!(f, "{choice} is not a choice"),
            Self::Empty => f.write_str("it holds no message"),
            Self::NoneAsked => f.write_str("a question asks no member"),
            Self::Formats => f.write_str("the formats of its sender are none"),
            Self::Announced => f.write_str("what announces a value holds it, or makes none"),
        }
    }
}

/// Seven bits a byte, lowest first, the high bit says that more follow.
fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The difference `to - from`, wrapped, as a number that is small where the difference is, either way.
const fn difference(from: u64, to: u64) -> u64 {
    let signed = to.wrapping_sub(from) as i64;
    ((signed << 1) ^ (signed >> 63)) as u64
}

/// What [`difference`] was taken to.
const fn differing(from: u64, difference: u64) -> u64 {
    let signed = ((difference >> 1) as i64) ^ -((difference & 1) as i64);
    from.wrapping_add(signed as u64)
}

/// What the next message is told as a difference to.
#[derive(Debug, Clone, Copy, Default)]
struct Previous {
    /// The dot of the operation before. At the beginning 0 of the sender, so its first write is the next.
    incarnation: u64,
    counter: u64,
    hlc: u64,
    /// The sender's monotonic clock, and its wall clock at the last status.
    time: u64,
    wall: u64,
    view_hash: Option<u64>,
    digest: Option<u64>,
}

/// The kinds of message, in the low bits of the byte that begins one.
mod kind {
    pub(super) const MASK: u8 = 0b111;
    pub(super) const HELLO: u8 = 0;
    pub(super) const STATUS: u8 = 1;
    pub(super) const PUSH: u8 = 2;
    pub(super) const VIEW: u8 = 3;
    pub(super) const PULL: u8 = 4;
    pub(super) const SUPPLY: u8 = 5;
    pub(super) const TAKEN: u8 = 6;
    /// The kind of what is seldom said or large; its marks tell which.
    const SELDOM: u8 = 7;
    pub(super) const ASK: u8 = SELDOM;
    pub(super) const ANSWER: u8 = SELDOM | 0x08;
    pub(super) const PROBE: u8 = SELDOM | 0x10;
    pub(super) const VOUCH: u8 = SELDOM | 0x18;
    pub(super) const WANT: u8 = SELDOM | 0x20;
    pub(super) const PIECE: u8 = SELDOM | 0x28;
    pub(super) const ANNOUNCE: u8 = SELDOM | 0x30;

    /// Of a status: it has a digest.
    pub(super) const DIGEST: u8 = 0x08;
    /// Of a status: the sender is about to end.
    pub(super) const LEAVING: u8 = 0x10;
    /// Of a status: the hash of the view is left out.
    pub(super) const SAME_VIEW: u8 = 0x20;
    /// Of a status: the digest is left out.
    pub(super) const SAME_DIGEST: u8 = 0x40;
    /// Of a status: clients may not be sent to the sender yet.
    pub(super) const NOT_READY: u8 = 0x80;
    /// Of a push: its dot is the next one and left out.
    pub(super) const NEXT: u8 = 0x08;
    /// Of a push: its stamp is the next one and left out. Most are, since stamps count within a millisecond.
    pub(super) const TICK: u8 = 0x10;
    /// Of a supply: nothing comes after it.
    pub(super) const LAST: u8 = 0x08;
    /// Of a supply, what it holds.
    pub(super) const CONTENT_MASK: u8 = 0x70;
    pub(super) const OPS: u8 = 0x00;
    pub(super) const VERSIONS: u8 = 0x10;
    pub(super) const STATE: u8 = 0x20;
    pub(super) const RETIRED: u8 = 0x30;
    pub(super) const OP: u8 = 0x40;
    pub(super) const VERSION: u8 = 0x50;
}

/// An operation's shape in one byte: what it does, how many dots it supersedes, how many it depends on.
/// The greatest number of either says that a varint with the rest follows.
mod shape {
    pub(super) const EFFECT_MASK: u8 = 0xc0;
    pub(super) const PUT: u8 = 0x00;
    pub(super) const DELETE: u8 = 0x40;
    pub(super) const RETIRE: u8 = 0x80;
    /// A byte says how many keys a batch changes, from format 5 on. In the format for tests 0 is an erasure.
    pub(super) const MORE: u8 = 0xc0;
    pub(super) const ERASE: u8 = 0;
    pub(super) const SUPERSEDED_SHIFT: u32 = 3;
    /// The greatest count of either, and the mask of its bits.
    pub(super) const COUNT_MAX: u8 = 7;
}

/// The byte that begins one of a supply's versions: what is told of it, and whether its key is fresh.
mod snapshot_entry {
    pub(super) const NONE: u8 = 0;
    pub(super) const KNOWN: u8 = 1;
    pub(super) const WHOLE: u8 = 2;
    pub(super) const FRESH: u8 = 0x04;
}
