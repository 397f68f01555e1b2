//! Frames: messages gathered under one checksum, and found again in a stream of bytes.

use super::decode::{BodyReader, Context};
use super::encode::{BodyWriter, OpMemo};
use super::table::Table;
use super::{
    CodecError, FRAME_BYTES_FULL, FRAME_BYTES_MAX, HEAD_BYTES, LENGTH_CHECK, MAGIC, Previous, TABLE_PLACES_FULL,
};
use bytes::{Buf, BytesMut};
use core::fmt;
use hence_core::{Address, ClusterTag, Formats, Incarnation, Message};

/// Why a message cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaid {
    /// Its frame would be longer than a reader takes.
    Oversize {
        /// The length of the body of a frame that holds only this message.
        bytes: usize,
        /// The longest allowed.
        bytes_max: usize,
    },
    /// The format that is spoken has no word for it.
    Format {
        /// The oldest format that has one.
        needs: u8,
        /// The one that is spoken.
        speaks: u8,
    },
}

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oversize { bytes, bytes_max } => {
                write!(f, "message takes a frame of {bytes} bytes; at most {bytes_max} are allowed")
            }
            Self::Format { needs, speaks } => write!(f, "message takes format {needs}; format {speaks} is spoken"),
        }
    }
}

impl core::error::Error for Unsaid {}

/// What waits for one connection: messages, encoded as they come, in frames ready to be written, in order and all of
/// them. For another connection, [`Self::clear`] it.
///
/// ```
/// use hence_core::{Address, Body, ClusterTag, Incarnation, Message};
/// use hence_transport::codec::{FrameReader, FrameWriter, OpMemo};
/// let cluster = ClusterTag::of("hence");
/// let address = Address::parse("10.10.0.2:8090").unwrap();
/// let message = Message { from: Incarnation(7), number: 1, echo: 2, sequence: 0, body: Body::Taken { id: 3, frame: 4 } };
///
/// let mut writer = FrameWriter::new(cluster, address.clone());
/// writer.push(&message, &mut OpMemo::new()).unwrap();
/// let mut bytes = Vec::new();
/// writer.take(&mut bytes);
///
/// let mut reader = FrameReader::new(cluster);
/// reader.feed(&bytes);
/// let frame = reader.next_frame().unwrap().unwrap();
/// assert_eq!((frame.from, frame.messages), (address, vec![message]));
/// ```
#[derive(Debug)]
pub struct FrameWriter {
    cluster: ClusterTag,
    address: Address,
    format: u8,
    frame_bytes_max: usize,
    /// Finished frames, then the open one with room for its head.
    bytes: Vec<u8>,
    open: Option<Open>,
    /// The link that the last frame spoke for; none if the next one has to begin anew.
    speaker: Option<Speaker>,
    /// The number of the message that goes on from the last one.
    next: u64,
    table: Table,
    previous: Previous,
    pending: Pending,
}

/// The frame that still takes messages.
#[derive(Debug, Clone, Copy)]
struct Open {
    start: usize,
}

/// An incarnation and the two numbers of its link.
type Speaker = (Incarnation, u64, u64);

/// What a [`FrameWriter`] held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pending {
    /// Frames.
    pub frames: u64,
    /// Messages in them.
    pub messages: u64,
}

impl FrameWriter {
    /// A writer for frames of this cluster from this address, with bodies up to [`FRAME_BYTES_MAX`], in the newest
    /// released format.
    #[must_use]
    pub fn new(cluster: ClusterTag, address: Address) -> Self {
        Self {
            cluster,
            address,
            format: Formats::RELEASED.highest,
            frame_bytes_max: FRAME_BYTES_MAX,
            bytes: Vec::new(),
            open: None,
            speaker: None,
            next: 0,
            table: Table::default(),
            previous: Previous::default(),
            pending: Pending::default(),
        }
    }

    /// The same with bodies up to so many bytes, 1 KiB to 4 GiB - 1. Peers must take as much.
    #[must_use]
    pub fn with_frame_bytes_max(self, frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max: frame_bytes_max.clamp(1 << 10, u32::MAX as usize), ..self }
    }

    /// The same in this format.
    #[must_use]
    pub fn speaking(self, format: u8) -> Self {
        Self { format, ..self }
    }

    /// What waits is for a connection that speaks this format, one of `ours`: it is written anew if it is in another one.
    /// Says how many messages were dropped because the format has no word for them.
    pub fn speak(&mut self, format: u8, ours: Formats, memo: &mut OpMemo) -> u64 {
        if self.format == format {
            return 0;
        }
        self.finish(); // in the format that it was begun in
        self.format = format;
        let bytes = core::mem::take(&mut self.bytes);
        self.clear();
        let mut reader = FrameReader::new(self.cluster).with_frame_bytes_max(self.frame_bytes_max);
        reader = reader.speaking(ours).stated(ours);
        reader.feed(&bytes);
        drop(bytes);
        let mut dropped = 0;
        while let Ok(Some(frame)) = reader.next_frame() {
            dropped += frame.messages.iter().filter(|message| self.push(message, memo).is_err()).count() as u64;
        }
        dropped
    }

    /// Appends a message: to the open frame if that one speaks for the same link and has room, else to a new one.
    ///
    /// # Errors
    /// [`Unsaid`] if it does not fit a frame of its own, or the format has no word for it. Then nothing was appended.
    pub fn push(&mut self, message: &Message, memo: &mut OpMemo) -> Result<(), Unsaid> {
        let (needs, speaks) = (message.format(), self.format);
        if needs > speaks {
            return Err(Unsaid::Format { needs, speaks });
        }
        let speaker = (message.from, message.number, message.echo);
        let same = self.goes_on(message, speaker);
        let fits = |open: &Open| same && self.bytes.len() - open.start < FRAME_BYTES_FULL;
        if let Some(open) = self.open.filter(fits) {
            let (length, places, previous) = (self.bytes.len(), self.table.len(), self.previous);
            self.append(message, memo);
            if self.body_bytes(open) <= self.frame_bytes_max {
                self.next = message.sequence.wrapping_add(1);
                self.pending.messages += 1;
                return Ok(());
            }
            self.bytes.truncate(length);
            self.table.truncate(places);
            self.previous = previous;
        }
        self.finish();
        let open = self.begin(message, speaker);
        self.append(message, memo);
        let bytes = self.body_bytes(open);
        if bytes > self.frame_bytes_max {
            self.bytes.truncate(open.start);
            self.open = None;
            self.speaker = None;
            return Err(Unsaid::Oversize { bytes, bytes_max: self.frame_bytes_max });
        }
        self.next = message.sequence.wrapping_add(1);
        self.pending.frames += 1;
        self.pending.messages += 1;
        Ok(())
    }

    /// How many bytes wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Does nothing wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Moves all that waits to the end of `into`, as whole frames, and says how much it was.
    pub fn take(&mut self, into: &mut Vec<u8>) -> Pending {
        self.finish();
        if into.is_empty() {
            core::mem::swap(into, &mut self.bytes);
        } else {
            into.append(&mut self.bytes);
        }
        core::mem::take(&mut self.pending)
    }

    /// Drops all that waits, begins anew, and says how much it was.
    pub fn clear(&mut self) -> Pending {
        self.bytes = Vec::new();
        self.open = None;
        self.speaker = None;
        core::mem::take(&mut self.pending)
    }

    fn begin(&mut self, message: &Message, speaker: Speaker) -> Open {
        let open = Open { start: self.bytes.len() };
        self.open = Some(open);
        self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
        let goes_on = self.goes_on(message, speaker) && self.table.len() < TABLE_PLACES_FULL;
        self.speaker = Some(speaker);
        let Self { bytes, table, previous, address, format, .. } = self;
        let mut body = BodyWriter { bytes, table, previous, format: *format };
        if goes_on {
            body.same_sender();
        } else {
            body.sender(address.as_str(), message);
        }
        open
    }

    /// Does this message come right after the last one on the same link?
    fn goes_on(&self, message: &Message, speaker: Speaker) -> bool {
        self.speaker == Some(speaker) && self.next == message.sequence
    }

    fn append(&mut self, message: &Message, memo: &mut OpMemo) {
        let Self { bytes, table, previous, format, .. } = self;
        BodyWriter { bytes, table, previous, format: *format }.body(&message.body, memo);
    }

    const fn body_bytes(&self, open: Open) -> usize {
        self.bytes.len() - open.start - HEAD_BYTES
    }

    /// Writes the head of the open frame.
    fn finish(&mut self) {
        let Some(Open { start }) = self.open.take() else { return };
        let frame = &mut self.bytes[start..];
        let length = u32::try_from(frame.len() - HEAD_BYTES).expect("frame_bytes_max fits 32 bits").to_be_bytes();
        frame[..2].copy_from_slice(&MAGIC);
        frame[2] = self.format;
        frame[3] = length_check(length);
        frame[4..8].copy_from_slice(&self.cluster.0.to_be_bytes());
        frame[8..12].copy_from_slice(&length);
        let checksum = checksum(frame);
        frame[12..16].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn length_check(length: [u8; 4]) -> u8 {
    length.iter().fold(LENGTH_CHECK, |check, byte| check ^ byte)
}

/// The checksum of a whole frame: all but the checksum itself.
fn checksum(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..12]);
    hasher.update(&frame[HEAD_BYTES..]);
    hasher.finalize()
}

/// One frame, taken in whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The address that the sender says it has.
    pub from: Address,
    /// Its messages, at least one, in the order in which they were sent.
    pub messages: Vec<Message>,
    /// How many bytes it took, head included.
    pub bytes: usize,
}

/// A frame whose messages were handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The address that the sender says it has.
    pub from: Address,
    /// How many messages it held, at least one.
    pub messages: usize,
    /// How many bytes it took, head included.
    pub bytes: usize,
}

/// Finds frames in the stream of bytes of one connection.
///
/// It holds at most one frame that is not whole yet, and takes memory for it only as its bytes come in.
#[derive(Debug)]
pub struct FrameReader {
    cluster: ClusterTag,
    /// What is spoken on this connection; one format as soon as a frame has come.
    formats: Formats,
    /// What the sender said of its formats when the connection was made.
    theirs: Option<Formats>,
    frame_bytes_max: usize,
    buffer: BytesMut,
    failed: Option<CodecError>,
    context: Context,
}

/// Room for so many bytes is made at a time.
const ROOM_BYTES: usize = 64 << 10;
/// A buffer that a large frame left behind is given up when it is greater than this.
const KEPT_BYTES_MAX: usize = 256 << 10;

impl FrameReader {
    /// A reader for frames of this cluster in any released format, with bodies up to [`FRAME_BYTES_MAX`]. All frames of a
    /// connection are of one format.
    #[must_use]
    pub fn new(cluster: ClusterTag) -> Self {
        Self {
            cluster,
            formats: Formats::RELEASED,
            theirs: None,
            frame_bytes_max: FRAME_BYTES_MAX,
            buffer: BytesMut::new(),
            failed: None,
            context: Context::default(),
        }
    }

    /// The same with bodies up to so many bytes.
    #[must_use]
    pub fn with_frame_bytes_max(self, frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max, ..self }
    }

    /// The same for frames of these formats.
    #[must_use]
    pub fn speaking(self, formats: Formats) -> Self {
        Self { formats, ..self }
    }

    /// The same with what the sender said of its formats when the connection was made. A hello in a format that has no
    /// place for them says that. Otherwise its sender speaks the format of the frame, for all that is known.
    #[must_use]
    pub fn stated(self, theirs: Formats) -> Self {
        Self { theirs: Some(theirs), ..self }
    }

    /// Appends bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer that [`Self::feed`] appends to, with room at its end: to read from a socket without a copy.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let announced = self.head_length().unwrap_or(0).saturating_add(HEAD_BYTES);
        let missing = announced.saturating_sub(self.buffer.len());
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = BytesMut::new();
        }
        // What is announced may never come: at most as much again as came already.
        let room = missing.min(self.buffer.len()).max(ROOM_BYTES);
        if self.buffer.capacity() - self.buffer.len() < ROOM_BYTES {
            self.buffer.reserve(room);
        }
        &mut self.buffer
    }

    /// The next frame, or `None` until more bytes are here.
    ///
    /// # Errors
    /// The first error ends the stream: it comes again at every later call.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, CodecError> {
        let mut messages = Vec::new();
        let taken = self.take_frame(|_, message| messages.push(message))?;
        Ok(taken.map(|Taken { from, bytes, .. }| Frame { from, messages, bytes }))
    }

    /// The same, with each message handed over as it is read, with its sender's address. Those of a frame whose body
    /// turns out to be damaged further on are to be thrown away.
    ///
    /// # Errors
    /// As [`Self::next_frame`].
    pub fn take_frame(&mut self, each: impl FnMut(&Address, Message)) -> Result<Option<Taken>, CodecError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let found = self.find(each);
        if let Err(error) = &found {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        }
        found
    }

    /// The address that the sender of the last whole frame says it has.
    #[must_use]
    pub fn speaker(&self) -> Option<&Address> {
        self.context.speaker()
    }

    /// How many bytes the frame takes whose head is here, head included. Nothing is said of one that is damaged.
    #[must_use]
    pub fn announced(&self) -> Option<usize> {
        self.head_length().map(|length| HEAD_BYTES + length)
    }

    /// Is the stream between two frames?
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.buffer.is_empty()
    }

    fn find(&mut self, each: impl FnMut(&Address, Message)) -> Result<Option<Taken>, CodecError> {
        let Some(length) = self.check_head()? else { return Ok(None) };
        let Some(frame) = self.buffer.get(..HEAD_BYTES + length) else { return Ok(None) };
        let stated = u32::from_be_bytes([frame[12], frame[13], frame[14], frame[15]]);
        let found = checksum(frame);
        if stated != found {
            return Err(CodecError::Checksum { stated, found });
        }
        let format = frame[2];
        let theirs = self.theirs.unwrap_or(Formats::only(format));
        let mut body = BodyReader::new(&frame[HEAD_BYTES..], &mut self.context, (format, theirs));
        let (from, messages) = body.messages(each).map_err(|damage| CodecError::Body { at: body.at(), damage })?;
        self.formats = Formats::only(format);
        self.buffer.advance(HEAD_BYTES + length);
        Ok(Some(Taken { from, messages, bytes: HEAD_BYTES + length }))
    }

    /// The length of the next body, as soon as its head is here. A wrong byte is an error as soon as it is.
    fn check_head(&self) -> Result<Option<usize>, CodecError> {
        let wrong = self.buffer.iter().zip(MAGIC).find(|&(&byte, expected)| byte != expected);
        if let Some((&byte, _)) = wrong {
            return Err(CodecError::Magic { byte });
        }
        if let Some(&format) = self.buffer.get(2)
            && !self.formats.speaks(format)
        {
            return Err(CodecError::Version { format, ours: self.formats });
        }
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let length = [head[8], head[9], head[10], head[11]];
        if head[3] != length_check(length) {
            return Err(CodecError::Length(u32::from_be_bytes(length)));
        }
        let cluster = ClusterTag(u32::from_be_bytes([head[4], head[5], head[6], head[7]]));
        if cluster != self.cluster {
            return Err(CodecError::Foreign(cluster));
        }
        let bytes = u32::from_be_bytes(length) as usize;
        if bytes > self.frame_bytes_max {
            return Err(CodecError::Oversize { bytes, bytes_max: self.frame_bytes_max });
        }
        Ok(Some(bytes))
    }

    fn head_length(&self) -> Option<usize> {
        self.check_head().ok().flatten()
    }
}
