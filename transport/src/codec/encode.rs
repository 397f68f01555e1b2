//! Messages into bytes. Encoding is total and does not judge: the decoder does.

use super::table::Table;
use super::{Previous, difference, kind, push_varint, shape, snapshot_entry};
use hence_core::{
    Body, Content, Dot, Effect, Formats, Hello, Incarnation, KeyChange, LostQuery, MemberRecord, Message, Op, Outline,
    Outlined, Retirement, SnapshotEntry, Status, Supply, Version, VersionVector,
};
use std::sync::Arc;

/// Where bytes go. Incarnations are apart, because what stands for one depends on the frame.
trait Sink {
    fn byte(&mut self, byte: u8);
    fn bytes(&mut self, bytes: &[u8]);
    fn varint(&mut self, number: u64);
    fn incarnation(&mut self, incarnation: Incarnation);
}

/// The body of the frame that is being written.
pub(super) struct BodyWriter<'a> {
    pub(super) bytes: &'a mut Vec<u8>,
    pub(super) table: &'a mut Table,
    pub(super) previous: &'a mut Previous,
    pub(super) format: u8,
}

impl Sink for BodyWriter<'_> {
    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn varint(&mut self, number: u64) {
        push_varint(self.bytes, number);
    }

    fn incarnation(&mut self, incarnation: Incarnation) {
        match self.table.find(incarnation) {
            Some(place) => push_varint(self.bytes, place as u64),
            None => {
                push_varint(self.bytes, self.table.len() as u64);
                self.bytes.extend_from_slice(&incarnation.0.to_be_bytes());
                self.table.push(incarnation);
            }
        }
    }
}

impl BodyWriter<'_> {
    /// The beginning of a body that goes on from the one before.
    pub(super) fn same_sender(&mut self) {
        self.text("");
    }

    /// The beginning of one that begins anew: its sender.
    pub(super) fn sender(&mut self, address: &str, message: &Message) {
        self.table.truncate(0);
        self.text(address);
        self.incarnation(message.from);
        self.varint(message.number);
        self.varint(message.echo);
        self.varint(message.sequence);
        *self.previous = Previous { incarnation: message.from.0, ..Previous::default() };
    }

    pub(super) fn body(&mut self, body: &Body, memo: &mut OpMemo) {
        match body {
            Body::Hello(hello) => self.hello(hello),
            Body::Status(status) => self.status(status),
            Body::Push { op, made } => {
                let next = self.is_next(op.dot);
                let ticks = Some(op.hlc.0) == self.previous.hlc.checked_add(1);
                self.byte(kind::PUSH | if next { kind::NEXT } else { 0 } | if ticks { kind::TICK } else { 0 });
                self.time(made.0);
                self.named(op, next);
                if !ticks {
                    self.varint(difference(self.previous.hlc, op.hlc.0));
                }
                self.previous.hlc = op.hlc.0;
                memo.copy(op, self);
            }
            Body::Announce { op, made } => {
                self.byte(kind::ANNOUNCE);
                self.time(made.0);
                self.outlined(op);
            }
            Body::Want { dot, offset, bytes } => {
                self.byte(kind::WANT);
                self.dot(*dot);
                self.varint(*offset);
                self.varint(u64::from(*bytes));
            }
            Body::Piece { dot, offset, bytes } => {
                self.byte(kind::PIECE);
                self.dot(*dot);
                self.varint(*offset);
                self.blob(bytes.as_bytes());
            }
            Body::View(records) => {
                self.byte(kind::VIEW);
                self.records(records);
            }
            Body::Pull { id, vector } => {
                self.byte(kind::PULL);
                self.varint(*id);
                self.vector(vector);
            }
            Body::Supply(supply) => self.supply(supply),
            Body::LostQuery(query) => self.lost_query(query),
            Body::LostReply { round, held } => {
                self.byte(kind::ANSWER);
                self.varint(*round);
                self.vector(held);
            }
            Body::Probe { address } => {
                self.byte(kind::PROBE);
                self.text(address.as_str());
            }
            Body::Vouch { address } => {
                self.byte(kind::VOUCH);
                self.text(address.as_str());
            }
            Body::Taken { id, frame } => {
                self.byte(kind::TAKEN);
                self.varint(*id);
                self.varint(u64::from(*frame));
            }
        }
    }

    fn hello(&mut self, hello: &Hello) {
        self.byte(kind::HELLO);
        self.varint(hello.sent.0);
        self.varint(hello.wall.0);
        self.vector(&hello.vector);
        self.records(&hello.view);
        if self.format >= Formats::TEST {
            self.byte(hello.formats.lowest);
            self.byte(hello.formats.highest);
        }
    }

    fn status(&mut self, status: &Status) {
        let same_view = self.previous.view_hash == Some(status.view_hash);
        let same_digest = status.digest.is_some() && self.previous.digest == status.digest;
        let marks = [
            (status.digest.is_some(), kind::DIGEST),
            (status.leaving, kind::LEAVING),
            (same_view, kind::SAME_VIEW),
            (same_digest, kind::SAME_DIGEST),
            (!status.ready, kind::NOT_READY),
        ];
        self.byte(marks.iter().filter(|(set, _)| *set).fold(kind::STATUS, |lead, (_, mark)| lead | mark));
        // The two clocks of a machine go at about the same pace.
        let expected = self.previous.wall.wrapping_add(status.sent.0.wrapping_sub(self.previous.time));
        self.time(status.sent.0);
        self.varint(difference(expected, status.wall.0));
        self.vector(&status.vector);
        self.varint(status.received);
        if !same_view {
            self.bytes(&status.view_hash.to_be_bytes());
        }
        if let Some(digest) = status.digest.filter(|_| !same_digest) {
            self.bytes(&digest.to_be_bytes());
        }
        self.previous.wall = status.wall.0;
        self.previous.view_hash = Some(status.view_hash);
        self.previous.digest = status.digest.or(self.previous.digest);
    }

    /// A moment on the sender's monotonic clock.
    fn time(&mut self, time: u64) {
        self.varint(difference(self.previous.time, time));
        self.previous.time = time;
    }

    fn lost_query(&mut self, query: &LostQuery) {
        self.byte(kind::ASK);
        self.varint(query.round);
        self.varint(query.incarnations.len() as u64);
        query.incarnations.iter().for_each(|&incarnation| self.incarnation(incarnation));
        self.vector(&query.events);
    }

    fn supply(&mut self, supply: &Supply) {
        let content = match &supply.content {
            Content::Ops(_) => kind::OPS,
            Content::Op(_) => kind::OP,
            Content::Versions(_) => kind::VERSIONS,
            Content::Version(..) => kind::VERSION,
            Content::Retired(_) => kind::RETIRED,
            Content::State(_) => kind::STATE,
        };
        self.byte(kind::SUPPLY | content | if supply.last { kind::LAST } else { 0 });
        self.varint(supply.id);
        self.varint(u64::from(supply.frame));
        match &supply.content {
            Content::Ops(ops) => {
                self.varint(ops.len() as u64);
                ops.iter().for_each(|op| self.supplied(op));
            }
            Content::Op(op) => self.outlined(op),
            Content::Version(snapshot_entry, outline) => {
                self.snapshot_entry(snapshot_entry);
                self.outline(*outline);
            }
            Content::Versions(versions) => {
                self.varint(versions.len() as u64);
                versions.iter().for_each(|snapshot_entry| self.snapshot_entry(snapshot_entry));
            }
            Content::Retired(records) => self.retired(records),
            Content::State(coverage) => {
                self.vector(&coverage.vector);
                self.vector(&coverage.deletes);
                self.retired(&coverage.retired);
                self.stamp(coverage.clock.0);
            }
        }
    }

    fn supplied(&mut self, op: &Op) {
        let next = self.is_next(op.dot);
        self.byte(u8::from(next));
        self.named(op, next);
        self.stamp(op.hlc.0);
        put_content(op, self);
    }

    fn outlined(&mut self, outlined: &Outlined) {
        self.supplied(&outlined.op);
        self.outline(outlined.outline);
    }

    fn outline(&mut self, outline: Outline) {
        self.varint(outline.bytes);
        self.bytes(&outline.check.to_be_bytes());
    }

    fn snapshot_entry(&mut self, snapshot_entry: &SnapshotEntry) {
        let version = match &snapshot_entry.version {
            None => snapshot_entry::NONE,
            Some(Version::Known(_)) => snapshot_entry::KNOWN,
            Some(Version::Whole(_)) => snapshot_entry::WHOLE,
        };
        self.byte(version | if snapshot_entry.fresh { snapshot_entry::FRESH } else { 0 });
        self.text(snapshot_entry.key.as_str());
        let Some(version) = &snapshot_entry.version else { return };
        self.dot(version.dot());
        if let Version::Whole(sibling) = version {
            self.stamp(sibling.hlc.0);
            self.blob(sibling.value.as_bytes());
        }
    }

    fn retired(&mut self, records: &[(Incarnation, Retirement)]) {
        self.varint(records.len() as u64);
        for &(incarnation, record) in records {
            self.incarnation(incarnation);
            self.varint(record.through);
            self.dot(record.dot);
        }
    }

    fn is_next(&self, dot: Dot) -> bool {
        let Previous { incarnation, counter, .. } = *self.previous;
        dot.incarnation.0 == incarnation && Some(dot.counter) == counter.checked_add(1)
    }

    /// An operation's dot, unless it is the next one.
    fn named(&mut self, op: &Op, next: bool) {
        if !next {
            self.dot(op.dot);
        }
        self.previous.incarnation = op.dot.incarnation.0;
        self.previous.counter = op.dot.counter;
    }

    fn dot(&mut self, dot: Dot) {
        self.incarnation(dot.incarnation);
        self.varint(dot.counter);
    }

    fn stamp(&mut self, hlc: u64) {
        self.varint(difference(self.previous.hlc, hlc));
        self.previous.hlc = hlc;
    }

    fn vector(&mut self, vector: &VersionVector) {
        self.varint(vector.len() as u64);
        for (incarnation, counter) in vector.entries() {
            self.incarnation(incarnation);
            self.varint(counter);
        }
    }

    fn records(&mut self, records: &[MemberRecord]) {
        self.varint(records.len() as u64);
        for record in records {
            self.text(record.address.as_str());
            self.varint(record.generation);
            match record.newest {
                None => self.byte(0),
                Some(newest) => {
                    self.byte(if newest.up { 2 } else { 1 });
                    self.incarnation(newest.incarnation);
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.blob(text.as_bytes());
    }

    fn blob(&mut self, bytes: &[u8]) {
        put_blob(bytes, self);
    }
}

/// What an operation holds beside its dot and stamp. It depends on nothing but the operation: in every format that has
/// a word for it, it is the same.
fn put_content(op: &Op, sink: &mut impl Sink) {
    let count_max = usize::from(shape::COUNT_MAX);
    let [superseded, deps] = [op.superseded.len(), op.deps.len()].map(|count| count.min(count_max) as u8);
    let effect = match &op.effect {
        Effect::Put { .. } => shape::PUT,
        Effect::Delete { .. } => shape::DELETE,
        Effect::Retire { .. } => shape::RETIRE,
        Effect::Erase { .. } | Effect::Batch(_) => shape::MORE,
    };
    sink.byte(effect | superseded << shape::SUPERSEDED_SHIFT | deps);
    for count in [op.superseded.len(), op.deps.len()] {
        if let Some(more) = count.checked_sub(count_max) {
            sink.varint(more as u64);
        }
    }
    match &op.effect {
        Effect::Put { key, value } => {
            put_blob(key.as_str().as_bytes(), sink);
            put_blob(value.as_bytes(), sink);
        }
        Effect::Delete { key } => put_blob(key.as_str().as_bytes(), sink),
        Effect::Erase { key } => {
            sink.byte(shape::ERASE);
            put_blob(key.as_str().as_bytes(), sink);
        }
        Effect::Batch(changes) => {
            sink.byte(changes.len() as u8);
            changes.iter().for_each(|change| put_change(op.dot, change, sink));
        }
        Effect::Retire { incarnation, through } => {
            sink.incarnation(*incarnation);
            sink.varint(*through);
        }
    }
    let dots = op.superseded.iter().map(|dot| (dot.incarnation, dot.counter));
    dots.chain(op.deps.entries()).for_each(|related| put_related(op.dot, related, sink));
}

/// One change of the batch that has this dot.
fn put_change(own: Dot, change: &KeyChange, sink: &mut impl Sink) {
    let KeyChange { key, value, superseded } = change;
    let effect = if value.is_some() { shape::PUT } else { shape::DELETE };
    let count = superseded.len().min(usize::from(shape::COUNT_MAX));
    sink.byte(effect | (count as u8) << shape::SUPERSEDED_SHIFT);
    if let Some(more) = superseded.len().checked_sub(usize::from(shape::COUNT_MAX)) {
        sink.varint(more as u64);
    }
    put_blob(key.as_str().as_bytes(), sink);
    if let Some(value) = value {
        put_blob(value.as_bytes(), sink);
    }
    superseded.iter().for_each(|dot| put_related(own, (dot.incarnation, dot.counter), sink));
}

/// What the operation that has this dot supersedes or depends on.
fn put_related(own: Dot, (incarnation, counter): (Incarnation, u64), sink: &mut impl Sink) {
    sink.incarnation(incarnation);
    // Of the same incarnation it is often one of the last few writes, so the distance is the shorter name.
    sink.varint(if incarnation == own.incarnation { own.counter.wrapping_sub(counter) } else { counter });
}

fn put_blob(bytes: &[u8], sink: &mut impl Sink) {
    sink.varint(bytes.len() as u64);
    sink.bytes(bytes);
}

/// The encodings of the operations that were pushed last, ready to be copied for the next peer.
///
/// A new operation is pushed to all peers in a row, so a few places are enough, and more would only hold memory. It
/// holds at most [`Self::OPS_MAX`] operations whose values have at most [`Self::VALUE_BYTES_MAX`] bytes.
/// Larger ones are encoded anew for each peer: that is one copy of the value either way.
#[derive(Debug)]
pub struct OpMemo {
    entries: Vec<Option<Remembered>>,
    encoded: u64,
}

#[derive(Debug)]
struct Remembered {
    /// Held, so that its place in memory cannot become another operation's.
    op: Arc<Op>,
    content: Marked,
}

/// Bytes with incarnations to be put in between.
#[derive(Debug, Default)]
struct Marked {
    bytes: Vec<u8>,
    marks: Vec<(usize, Incarnation)>,
}

impl Sink for Marked {
    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn varint(&mut self, number: u64) {
        push_varint(&mut self.bytes, number);
    }

    fn incarnation(&mut self, incarnation: Incarnation) {
        self.marks.push((self.bytes.len(), incarnation));
    }
}

impl Default for OpMemo {
    fn default() -> Self {
        Self { entries: (0..Self::OPS_MAX).map(|_| None).collect(), encoded: 0 }
    }
}

impl OpMemo {
    /// Operations that it holds at most.
    pub const OPS_MAX: usize = 16;

    /// The longest value of an operation that it holds, in bytes.
    pub const VALUE_BYTES_MAX: usize = 1_024;

    /// A memo that holds nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How often an operation had to be encoded. Pushing one to all peers in a row raises it by one.
    #[must_use]
    pub const fn encoded(&self) -> u64 {
        self.encoded
    }

    fn copy(&mut self, op: &Arc<Op>, sink: &mut impl Sink) {
        let values = op.changes().filter_map(|change| change.value);
        if values.map(|value| value.as_bytes().len()).sum::<usize>() > Self::VALUE_BYTES_MAX {
            self.encoded += 1;
            return put_content(op, sink);
        }
        // Allocations are 16 bytes apart at least, and neighbours should not share an entry.
        let place = Arc::as_ptr(op) as usize >> 4;
        let entry = &mut self.entries[(place ^ (place >> 8)) % Self::OPS_MAX];
        let content = match entry {
            Some(known) if Arc::ptr_eq(&known.op, op) => &known.content,
            Some(_) | None => {
                self.encoded += 1;
                let mut content = entry.take().map(|old| old.content).unwrap_or_default();
                content.bytes.clear();
                content.marks.clear();
                put_content(op, &mut content);
                &entry.insert(Remembered { op: Arc::clone(op), content }).content
            }
        };
        let mut from = 0;
        for &(at, incarnation) in &content.marks {
            sink.bytes(&content.bytes[from..at]);
            sink.incarnation(incarnation);
            from = at;
        }
        sink.bytes(&content.bytes[from..]);
    }
}
