//! What the product's messages are on the wire: how long, and what becomes of them when bits change.

use crate::random::{Words, scale};
use hence_core::{Address, Body, ClusterTag, Content, Formats, Message, Op, Outlined, Version, VersionVector};
use hence_transport::codec::{FrameReader, FrameWriter, HEAD_BYTES, OpMemo};
use std::collections::VecDeque;
use std::ops::Range;

/// Head of a frame, the sender's address and the numbers of the link.
const FRAME: u64 = 48;
/// An entry of a vector, or a dot.
const ENTRY: u64 = 10;
/// A row of a view.
const ROW: u64 = 34;
/// Where a frame has the checksum of all its other bytes.
const CHECKSUM: Range<usize> = 12..16;

/// About how many bytes this takes on the wire, cheap to say.
pub(super) fn bytes(message: &Message) -> u64 {
    let vector = |vector: &VersionVector| vector.len() as u64 * ENTRY;
    let op = |op: &Op| op.bytes() as u64;
    let outlined = |outlined: &Outlined| op(&outlined.op) + ENTRY;
    let body = match &message.body {
        Body::Hello(hello) => vector(&hello.vector) + hello.view.len() as u64 * ROW,
        Body::Status(status) => 40 + vector(&status.vector),
        Body::Push { op: pushed, .. } => op(pushed),
        Body::Announce { op, .. } => outlined(op),
        Body::Want { .. } => ENTRY + 6,
        Body::Piece { bytes, .. } => ENTRY + 6 + bytes.as_bytes().len() as u64,
        Body::View(rows) => rows.len() as u64 * ROW,
        Body::Pull { vector: asked, .. } => vector(asked),
        Body::Supply(supply) => match &supply.content {
            Content::Op(op) => outlined(op),
            Content::Version(shown, _) => shown.key.as_str().len() as u64 + 3 * ENTRY,
            Content::Ops(ops) => ops.iter().map(|supplied| op(supplied)).sum(),
            Content::Versions(versions) => {
                let value = |version: &Option<Version>| match version {
                    Some(Version::Whole(sibling)) => sibling.value.as_bytes().len() as u64 + ENTRY,
                    Some(Version::Known(_)) | None => 0,
                };
                let each = versions.iter().map(|shown| shown.key.as_str().len() as u64 + ENTRY + value(&shown.version));
                each.sum()
            }
            Content::Retired(rows) => rows.len() as u64 * 2 * ENTRY,
            Content::State(coverage) => vector(&coverage.vector) + vector(&coverage.deletes),
        },
        Body::LostQuery(ask) => vector(&ask.events) + ask.incarnations.len() as u64 * ENTRY,
        Body::LostReply { held, .. } => vector(held),
        Body::Probe { .. } | Body::Vouch { .. } | Body::Taken { .. } => ENTRY,
    };
    FRAME + body
}

/// Both ends of one connection: what is encoded for it goes on from what was encoded before.
#[derive(Debug)]
pub struct Lane {
    from: Address,
    format: u8,
    writer: FrameWriter,
    reader: FrameReader,
    memo: OpMemo,
    on_the_way: VecDeque<Vec<u8>>,
}

impl Lane {
    /// A connection in this format over which nothing was sent yet. Its sender speaks these formats.
    #[must_use]
    pub fn new(from: &Address, format: u8, formats: Formats) -> Self {
        let cluster = ClusterTag::of("hence");
        Self {
            from: from.clone(),
            format,
            writer: FrameWriter::new(cluster, from.clone()).speaking(format),
            reader: FrameReader::new(cluster).speaking(Formats::only(format)).stated(formats),
            memo: OpMemo::new(),
            on_the_way: VecDeque::new(),
        }
    }

    /// What the two ends agreed on when they connected.
    #[must_use]
    pub const fn format(&self) -> u8 {
        self.format
    }

    /// The first message that was sent and has not been read is never read: only for a mutant.
    pub fn skip(&mut self) {
        self.on_the_way.pop_front();
    }
}

/// Encodes a message behind those before it.
pub(super) fn seal(lane: &mut Lane, message: &Message) -> Result<(), String> {
    let pushed = lane.writer.push(message, &mut lane.memo);
    pushed.map_err(|error| format!("{message:?} cannot be encoded: {error:?}"))?;
    let mut bytes = Vec::new();
    lane.writer.take(&mut bytes);
    lane.on_the_way.push_back(bytes);
    Ok(())
}

/// Reads the next message behind those before it: it must be this one.
pub(super) fn open(lane: &mut Lane, message: &Message) -> Result<(), String> {
    let bytes = lane.on_the_way.pop_front().unwrap_or_default();
    lane.reader.feed(&bytes);
    match lane.reader.next_frame() {
        Ok(Some(frame)) if frame.messages == std::slice::from_ref(message) && frame.from == lane.from => Ok(()),
        other => Err(format!("{message:?} reads as {other:?} behind what came before it")),
    }
}

/// Encodes the message, changes one to four bits, or cuts it short, and reads it. What was whole must read back.
pub(super) fn damage(from: &Address, message: &Message, words: Words, sealed: bool) -> Result<(), String> {
    let cluster = ClusterTag::of("hence");
    let format = message.format();
    let mut writer = FrameWriter::new(cluster, from.clone()).speaking(format);
    let mut bytes = Vec::new();
    writer.push(message, &mut OpMemo::new()).map_err(|error| format!("{message:?} cannot be encoded: {error:?}"))?;
    writer.take(&mut bytes);
    let read = |bytes: &[u8]| {
        let mut reader = FrameReader::new(cluster).speaking(Formats::only(format));
        if let Body::Hello(hello) = &message.body {
            reader = reader.stated(hello.formats);
        }
        reader.feed(bytes);
        reader.next_frame()
    };
    match read(&bytes) {
        Ok(Some(frame)) if frame.messages == [message.clone()] && frame.from == *from => {}
        other => return Err(format!("{message:?} reads back as {other:?}")),
    }
    if words.word(0) & 7 == 0 {
        bytes.truncate(scale(words.word(1), bytes.len() as u64) as usize);
    } else {
        let mut changed = Vec::new();
        for place in 1..=1 + u64::from(words.word(0) >> 3 & 3) {
            let bit = scale(words.word(place), bytes.len() as u64 * 8) as usize;
            if !changed.contains(&bit) {
                changed.push(bit);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
    if sealed && bytes.len() > HEAD_BYTES {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..CHECKSUM.start]);
        hasher.update(&bytes[CHECKSUM.end..]);
        bytes[CHECKSUM].copy_from_slice(&hasher.finalize().to_be_bytes());
    }
    match read(&bytes) {
        Err(_) | Ok(None) => Ok(()),
        Ok(Some(frame)) => Err(format!("{message:?} was damaged and reads as {frame:?}")),
    }
}
