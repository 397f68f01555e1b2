//! Bytes into messages, strictly: what is accepted is exactly what an encoder writes.
//!
//! Invariants kept here: every count is checked against the bytes that are left. So the memory taken is bounded by a
//! small multiple of the frame. Nothing panics whatever the bytes are.

mod announced;
mod batch;
mod hello;

use super::table::Table;
use super::{Damage, Previous, TABLE_PLACES_FULL, differing, kind, shape, snapshot_entry};
use hence_core::{
    Address, Body, Content, Coverage, Deps, Dot, Effect, Formats, Hlc, Incarnation, Key, LostQuery, MemberRecord,
    Message, Op, Presence, Retirement, Sibling, SnapshotEntry, Status, Supply, Time, Value, Version, VersionVector,
    Wall,
};
use std::sync::Arc;

/// The fewest bytes that each of these takes, to check counts with.
const ENTRY_BYTES_MIN: usize = 2;
const RECORD_BYTES_MIN: usize = 6;
const OP_BYTES_MIN: usize = 5;
const SNAPSHOT_ENTRY_BYTES_MIN: usize = 3;
const RETIRED_BYTES_MIN: usize = 4;
const INCARNATION_BYTES_MIN: usize = 1;

/// Room made before the things that a count announces have been seen.
const ROOM_MAX: usize = 1_024;

type Result<T> = core::result::Result<T, Damage>;

/// What the bodies before on the same connection leave to the next one.
#[derive(Debug, Default)]
pub(super) struct Context {
    speaker: Option<Speaker>,
    table: Table,
    previous: Previous,
}

impl Context {
    pub(super) fn speaker(&self) -> Option<&Address> {
        self.speaker.as_ref().map(|speaker| &speaker.address)
    }
}

/// The sender of messages, and its link.
#[derive(Debug)]
struct Speaker {
    address: Address,
    from: Incarnation,
    number: u64,
    echo: u64,
    /// The number of the next message.
    sequence: u64,
}

/// Reads one body. After an error its context is of no use.
pub(super) struct BodyReader<'a> {
    left: &'a [u8],
    length: usize,
    context: &'a mut Context,
    format: u8,
    /// What the sender said of its formats when the connection was made.
    theirs: Formats,
}

impl<'a> BodyReader<'a> {
    pub(super) fn new(body: &'a [u8], context: &'a mut Context, (format, theirs): (u8, Formats)) -> Self {
        Self { left: body, length: body.len(), context, format, theirs }
    }

    /// How many bytes have been read.
    pub(super) fn at(&self) -> usize {
        self.length - self.left.len()
    }

    /// Hands over the messages one by one, with the sender's address, and says how many there were.
    pub(super) fn messages(&mut self, mut each: impl FnMut(&Address, Message)) -> Result<(Address, usize)> {
        let (address, from, number, echo) = self.speaker()?;
        if self.left.is_empty() {
            return Err(Damage::Empty);
        }
        let mut count = 0;
        while !self.left.is_empty() {
            let body = self.body()?;
            let sequence = self.next_sequence()?;
            each(&address, Message { from, number, echo, sequence, body });
            count += 1;
        }
        Ok((address, count))
    }

    fn speaker(&mut self) -> Result<(Address, Incarnation, u64, u64)> {
        let text = self.blob()?;
        if !text.is_empty() {
            let address = address(text)?;
            *self.context = Context::default();
            let (from, number, echo) = (self.incarnation()?, self.varint()?, self.varint()?);
            let speaker = Speaker { address, from, number, echo, sequence: self.varint()? };
            self.context.previous.incarnation = speaker.from.0;
            self.context.speaker = Some(speaker);
        } else if self.context.table.len() >= TABLE_PLACES_FULL {
            return Err(Damage::Speaker);
        }
        let Speaker { address, from, number, echo, .. } = self.context.speaker.as_ref().ok_or(Damage::Speaker)?;
        Ok((address.clone(), *from, *number, *echo))
    }

    fn next_sequence(&mut self) -> Result<u64> {
        let speaker = self.context.speaker.as_mut().ok_or(Damage::Speaker)?;
        let sequence = speaker.sequence;
        speaker.sequence = sequence.wrapping_add(1);
        Ok(sequence)
    }

    fn body(&mut self) -> Result<Body> {
        let lead = self.byte()?;
        let marks = lead & !kind::MASK;
        let marks_of = |allowed: u8| if marks & !allowed == 0 { Ok(()) } else { Err(Damage::Kind(lead)) };
        match lead & kind::MASK {
            kind::PUSH => marks_of(kind::NEXT | kind::TICK).and_then(|()| self.push(marks)),
            kind::STATUS => {
                marks_of(kind::DIGEST | kind::LEAVING | kind::SAME_VIEW | kind::SAME_DIGEST | kind::NOT_READY)?;
                self.status(marks)
            }
            kind::HELLO => marks_of(0).and_then(|()| self.hello()),
            kind::VIEW => marks_of(0).and_then(|()| Ok(Body::View(self.records()?))),
            kind::PULL => {
                marks_of(0)?;
                Ok(Body::Pull { id: self.varint()?, vector: Arc::new(self.vector()?) })
            }
            kind::SUPPLY => marks_of(kind::LAST | kind::CONTENT_MASK).and_then(|()| self.supply(lead)),
            kind::TAKEN => {
                marks_of(0)?;
                Ok(Body::Taken { id: self.varint()?, frame: self.small()? })
            }
            _ => self.seldom(lead),
        }
    }

    /// A message of the kind whose marks tell which it is.
    fn seldom(&mut self, lead: u8) -> Result<Body> {
        match lead {
            kind::ASK => self.ask(),
            kind::ANSWER => Ok(Body::LostReply { round: self.varint()?, held: Box::new(self.vector()?) }),
            kind::PROBE => Ok(Body::Probe { address: address(self.blob()?)? }),
            kind::VOUCH => Ok(Body::Vouch { address: address(self.blob()?)? }),
            kind::WANT => self.want(),
            kind::PIECE => self.piece(),
            kind::ANNOUNCE => self.announce(),
            _ => Err(Damage::Kind(lead)),
        }
    }

    fn ask(&mut self) -> Result<Body> {
        let round = self.varint()?;
        let incarnations = self.list(INCARNATION_BYTES_MIN, Self::incarnation)?;
        if incarnations.is_empty() {
            return Err(Damage::NoneAsked);
        }
        Ok(Body::LostQuery(Box::new(LostQuery { round, incarnations, events: self.vector()? })))
    }

    fn push(&mut self, marks: u8) -> Result<Body> {
        let made = self.time()?;
        let op = self.op(marks & kind::NEXT != 0, |reader| reader.pushed_stamp(marks & kind::TICK != 0))?;
        Ok(Body::Push { op, made })
    }

    /// A moment on the sender's monotonic clock.
    fn time(&mut self) -> Result<Time> {
        let time = differing(self.context.previous.time, self.varint()?);
        self.context.previous.time = time;
        Ok(Time(time))
    }

    fn status(&mut self, marks: u8) -> Result<Body> {
        let Previous { time, wall, view_hash, digest, .. } = self.context.previous;
        let sent = self.time()?;
        let wall = differing(wall.wrapping_add(sent.0.wrapping_sub(time)), self.varint()?);
        let vector = Arc::new(self.vector()?);
        let received = self.varint()?;
        let view_hash = self.hash(view_hash, marks & kind::SAME_VIEW != 0)?;
        let same_digest = marks & kind::SAME_DIGEST != 0;
        let digest = if marks & kind::DIGEST != 0 {
            Some(self.hash(digest, same_digest)?)
        } else if same_digest {
            return Err(Damage::Hash);
        } else {
            None
        };
        let previous = &mut self.context.previous;
        previous.wall = wall;
        previous.view_hash = Some(view_hash);
        previous.digest = digest.or(previous.digest);
        let (leaving, ready) = (marks & kind::LEAVING != 0, marks & kind::NOT_READY == 0);
        Ok(Body::Status(Box::new(Status {
            sent,
            wall: Wall(wall),
            vector,
            received,
            leaving,
            ready,
            view_hash,
            digest,
        })))
    }

    /// A hash that may be left out, and must be, where it is the last one said.
    fn hash(&mut self, last: Option<u64>, same: bool) -> Result<u64> {
        if same {
            return last.ok_or(Damage::Hash);
        }
        let hash = u64::from_be_bytes(self.array()?);
        if last == Some(hash) { Err(Damage::Hash) } else { Ok(hash) }
    }

    fn supply(&mut self, lead: u8) -> Result<Body> {
        let (id, frame) = (self.varint()?, self.small()?);
        let content = match lead & kind::CONTENT_MASK {
            kind::OPS => Content::Ops(self.list(OP_BYTES_MIN, Self::supplied)?),
            kind::OP => Content::Op(self.outlined()?),
            kind::VERSION => Content::Version(Box::new(self.snapshot_entry_outlined()?), self.outline()?),
            kind::VERSIONS => Content::Versions(self.list(SNAPSHOT_ENTRY_BYTES_MIN, Self::snapshot_entry)?),
            kind::RETIRED => Content::Retired(self.retired()?),
            kind::STATE => Content::State(Box::new(Coverage {
                vector: self.vector()?,
                deletes: self.vector()?,
                retired: self.retired()?,
                clock: self.stamp()?,
            })),
            _ => return Err(Damage::Kind(lead)),
        };
        Ok(Body::Supply(Box::new(Supply { id, frame, content, last: lead & kind::LAST != 0 })))
    }

    fn supplied(&mut self) -> Result<Arc<Op>> {
        match self.byte()? {
            0 => self.op(false, Self::stamp),
            1 => self.op(true, Self::stamp),
            other => Err(Damage::Choice(other)),
        }
    }

    fn op(&mut self, next: bool, stamp: impl FnOnce(&mut Self) -> Result<Hlc>) -> Result<Arc<Op>> {
        let dot = self.op_dot(next)?;
        let hlc = stamp(self)?;
        let shape = self.byte()?;
        let superseded_count = self.shape_count(shape >> shape::SUPERSEDED_SHIFT)?;
        let deps_count = self.shape_count(shape)?;
        let effect = self.effect(shape, dot)?;
        self.check_count(superseded_count.saturating_add(deps_count), ENTRY_BYTES_MIN)?;
        if superseded_count > 0 && matches!(effect, Effect::Batch(_)) {
            return Err(Damage::Choice(shape)); // its changes say what they supersede
        }
        let superseded = self.superseded(superseded_count, dot)?;
        let deps = match deps_count {
            0 => Deps::default(),
            count => self.entries(count, |reader| reader.related(dot))?.into(),
        };
        Ok(Arc::new(Op { dot, hlc, effect, superseded, deps }))
    }

    /// One of a shape's two counts, from the low bits of `bits`.
    fn shape_count(&mut self, bits: u8) -> Result<usize> {
        let count = bits & shape::COUNT_MAX;
        let more = if count == shape::COUNT_MAX { self.size()? } else { 0 };
        Ok(more.saturating_add(usize::from(count)))
    }

    fn effect(&mut self, shape: u8, own: Dot) -> Result<Effect> {
        match shape & shape::EFFECT_MASK {
            shape::PUT => Ok(Effect::Put { key: self.key()?, value: self.value()? }),
            shape::DELETE => Ok(Effect::Delete { key: self.key()? }),
            shape::MORE if self.format >= Formats::BATCH => self.batch_or_erasure(own),
            shape::RETIRE => Ok(Effect::Retire { incarnation: self.incarnation()?, through: self.counter()? }),
            _ => Err(Damage::Choice(shape)),
        }
    }

    fn op_dot(&mut self, next: bool) -> Result<Dot> {
        let Previous { incarnation, counter, .. } = self.context.previous;
        let following = counter.checked_add(1).map(|counter| Dot { incarnation: Incarnation(incarnation), counter });
        let dot = if next {
            following.ok_or(Damage::Counter)?
        } else {
            let dot = self.dot()?;
            if Some(dot) == following {
                return Err(Damage::Dot);
            }
            dot
        };
        self.context.previous.incarnation = dot.incarnation.0;
        self.context.previous.counter = dot.counter;
        Ok(dot)
    }

    /// A dot that an operation supersedes or depends on.
    fn related(&mut self, own: Dot) -> Result<(Incarnation, u64)> {
        let incarnation = self.incarnation()?;
        let number = self.varint()?;
        let counter = if incarnation == own.incarnation { own.counter.wrapping_sub(number) } else { number };
        if counter == 0 { Err(Damage::Counter) } else { Ok((incarnation, counter)) }
    }

    fn snapshot_entry(&mut self) -> Result<SnapshotEntry> {
        let choice = self.byte()?;
        let key = self.key()?;
        let version = match choice & !snapshot_entry::FRESH {
            snapshot_entry::NONE => None,
            snapshot_entry::KNOWN => Some(Version::Known(self.dot()?)),
            snapshot_entry::WHOLE => {
                Some(Version::Whole(Sibling { dot: self.dot()?, hlc: self.stamp()?, value: self.value()? }))
            }
            _ => return Err(Damage::Choice(choice)),
        };
        Ok(SnapshotEntry { key, fresh: choice & snapshot_entry::FRESH != 0, version })
    }

    /// Records of retired incarnations, which must come sorted.
    fn retired(&mut self) -> Result<Vec<(Incarnation, Retirement)>> {
        let mut last = None;
        self.list(RETIRED_BYTES_MIN, |reader| {
            let incarnation = reader.incarnation()?;
            if last.is_some_and(|last| last >= incarnation) {
                return Err(Damage::Order);
            }
            last = Some(incarnation);
            Ok((incarnation, Retirement { through: reader.counter()?, dot: reader.dot()? }))
        })
    }

    fn vector(&mut self) -> Result<VersionVector> {
        let count = self.size()?;
        self.check_count(count, ENTRY_BYTES_MIN)?;
        self.entries(count, |reader| Ok((reader.incarnation()?, reader.counter()?)))
    }

    /// A vector of so many entries, which must come sorted.
    fn entries(
        &mut self,
        count: usize,
        entry: impl Fn(&mut Self) -> Result<(Incarnation, u64)>,
    ) -> Result<VersionVector> {
        let mut vector = VersionVector::new();
        let mut last = None;
        for _ in 0..count {
            let (incarnation, counter) = entry(self)?;
            if last.is_some_and(|last| last >= incarnation) {
                return Err(Damage::Order);
            }
            last = Some(incarnation);
            vector.raise(incarnation, counter);
        }
        Ok(vector)
    }

    fn records(&mut self) -> Result<Arc<[MemberRecord]>> {
        Ok(self.list(RECORD_BYTES_MIN, Self::record)?.into())
    }

    fn record(&mut self) -> Result<MemberRecord> {
        let address = address(self.blob()?)?;
        let counter = self.varint()?;
        let newest = match self.byte()? {
            0 => None,
            choice @ (1 | 2) => Some(Presence { incarnation: self.incarnation()?, up: choice == 2 }),
            other => return Err(Damage::Choice(other)),
        };
        Ok(MemberRecord { address, generation: counter, newest })
    }

    fn list<T>(&mut self, bytes_min: usize, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.size()?;
        self.check_count(count, bytes_min)?;
        let mut items = Vec::with_capacity(count.min(ROOM_MAX));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn check_count(&self, count: usize, bytes_min: usize) -> Result<()> {
        if count > self.left.len() / bytes_min { Err(Damage::Short) } else { Ok(()) }
    }

    fn incarnation(&mut self) -> Result<Incarnation> {
        let place = self.size()?;
        if let Some(incarnation) = self.context.table.at(place) {
            return Ok(incarnation);
        }
        let incarnation = Incarnation(u64::from_be_bytes(self.array()?));
        if place != self.context.table.len() || self.context.table.find(incarnation).is_some() {
            return Err(Damage::Incarnation);
        }
        self.context.table.push(incarnation);
        Ok(incarnation)
    }

    fn dot(&mut self) -> Result<Dot> {
        Ok(Dot { incarnation: self.incarnation()?, counter: self.counter()? })
    }

    fn counter(&mut self) -> Result<u64> {
        match self.varint()? {
            0 => Err(Damage::Counter),
            counter => Ok(counter),
        }
    }

    /// The stamp of a pushed operation, which is left out where it is the next one.
    fn pushed_stamp(&mut self, ticks: bool) -> Result<Hlc> {
        let next = self.context.previous.hlc.wrapping_add(1);
        if ticks {
            return self.note_stamp(Hlc(next));
        }
        let hlc = self.stamp()?;
        if hlc.0 == next { Err(Damage::Tick) } else { Ok(hlc) }
    }

    fn stamp(&mut self) -> Result<Hlc> {
        let difference = self.varint()?;
        self.note_stamp(Hlc(differing(self.context.previous.hlc, difference)))
    }

    fn note_stamp(&mut self, hlc: Hlc) -> Result<Hlc> {
        if hlc >= Hlc::LIMIT {
            return Err(Damage::Stamp(hlc));
        }
        self.context.previous.hlc = hlc.0;
        Ok(hlc)
    }

    fn key(&mut self) -> Result<Key> {
        let text = core::str::from_utf8(self.blob()?).map_err(|_| Damage::Key)?;
        Key::new(text).map_err(|_| Damage::Key)
    }

    fn value(&mut self) -> Result<Value> {
        Ok(Value::new(self.blob()?))
    }

    fn blob(&mut self) -> Result<&'a [u8]> {
        let length = self.size()?;
        let (head, rest) = self.left.split_at_checked(length).ok_or(Damage::Short)?;
        self.left = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.left.split_first_chunk::<N>().ok_or(Damage::Short)?;
        self.left = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8> {
        let (&head, rest) = self.left.split_first().ok_or(Damage::Short)?;
        self.left = rest;
        Ok(head)
    }

    /// A number of bytes or things. What does not fit the machine is more than there can be.
    fn size(&mut self) -> Result<usize> {
        usize::try_from(self.varint()?).map_err(|_| Damage::Short)
    }

    fn small(&mut self) -> Result<u32> {
        u32::try_from(self.varint()?).map_err(|_| Damage::Number)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 || shift > 0 && byte == 0 {
                return Err(Damage::Number); // does not fit 64 bits, or could have been shorter
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damage::Number)
    }
}

/// An address in the one form that an [`Address`] prints.
fn address(text: &[u8]) -> Result<Address> {
    let text = core::str::from_utf8(text).map_err(|_| Damage::Address)?;
    let address = Address::parse(text).map_err(|_| Damage::Address)?;
    if address.as_str() == text { Ok(address) } else { Err(Damage::Address) }
}
