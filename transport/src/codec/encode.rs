//! Messages into bytes. Encoding is total and does not judge: whoever decodes does.

use super::table::Table;
use super::{Previous, difference, kind, push_varint, shape};
use hence_core::{Body, Content, Dot, Effect, Hello, Incarnation, Message, Op, Row, Status, Supply, VersionVector};
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
    /// The body's beginning: who speaks.
    pub(super) fn sender(&mut self, address: &str, message: &Message) {
        self.text(address);
        self.incarnation(message.from);
        self.varint(message.number);
        self.varint(message.echo);
        *self.previous = Previous { incarnation: message.from.0, ..Previous::default() };
    }

    pub(super) fn body(&mut self, body: &Body, memo: &mut OpMemo) {
        match body {
            Body::Hello(hello) => self.hello(hello),
            Body::Status(status) => self.status(status),
            Body::Push { op, made } => {
                let next = self.is_next(op.dot);
                self.byte(kind::PUSH | if next { kind::NEXT } else { 0 });
                self.varint(difference(self.previous.made, made.0));
                self.previous.made = made.0;
                self.stamped(op, next);
                memo.copy(op, self);
            }
            Body::View(rows) => {
                self.byte(kind::VIEW);
                self.rows(rows);
            }
            Body::Pull { id, vector } => {
                self.byte(kind::PULL);
                self.varint(*id);
                self.vector(vector);
            }
            Body::Supply(supply) => self.supply(supply),
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
        self.rows(&hello.view);
    }

    fn status(&mut self, status: &Status) {
        self.byte(kind::STATUS);
        self.varint(status.sent.0);
        self.varint(status.wall.0);
        self.vector(&status.vector);
        self.varint(status.received);
        self.bytes(&status.view_hash.to_be_bytes());
        self.bytes(&status.digest.to_be_bytes());
    }

    fn supply(&mut self, supply: &Supply) {
        let content = match &supply.content {
            Content::Ops(_) => kind::OPS,
            Content::Keys(_) => kind::KEYS,
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
            Content::Keys(keys) => {
                self.varint(keys.len() as u64);
                for (key, siblings) in keys {
                    self.text(key.as_str());
                    self.varint(siblings.len() as u64);
                    for sibling in siblings {
                        self.incarnation(sibling.dot.incarnation);
                        self.varint(sibling.dot.counter);
                        self.stamp(sibling.hlc.0);
                        self.blob(sibling.value.as_bytes());
                    }
                }
            }
            Content::State(coverage) => {
                self.vector(&coverage.vector);
                self.vector(&coverage.deletes);
                self.stamp(coverage.clock.0);
            }
        }
    }

    fn supplied(&mut self, op: &Op) {
        let next = self.is_next(op.dot);
        self.byte(u8::from(next));
        self.stamped(op, next);
        put_content(op, self);
    }

    fn is_next(&self, dot: Dot) -> bool {
        let Previous { incarnation, counter, .. } = *self.previous;
        dot.incarnation.0 == incarnation && Some(dot.counter) == counter.checked_add(1)
    }

    /// The part of an operation that is told as a difference to what the frame holds before it.
    fn stamped(&mut self, op: &Op, next: bool) {
        if !next {
            self.incarnation(op.dot.incarnation);
            self.varint(op.dot.counter);
        }
        self.previous.incarnation = op.dot.incarnation.0;
        self.previous.counter = op.dot.counter;
        self.stamp(op.hlc.0);
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

    fn rows(&mut self, rows: &[Row]) {
        self.varint(rows.len() as u64);
        for row in rows {
            self.text(row.address.as_str());
            self.varint(row.counter);
            match row.life {
                None => self.byte(0),
                Some(life) => {
                    self.byte(if life.up { 2 } else { 1 });
                    self.incarnation(life.incarnation);
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.blob(text.as_bytes());
    }

    fn blob(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.bytes(bytes);
    }
}

/// What an operation holds beside its dot and stamp. It depends on nothing but the operation.
fn put_content(op: &Op, sink: &mut impl Sink) {
    let superseded = op.superseded.len().min(shape::SUPERSEDED_MAX);
    let deps = op.deps.len().min(shape::DEPS_MAX);
    let delete = if op.is_delete() { shape::DELETE } else { 0 };
    sink.byte(delete | ((superseded as u8) << shape::SUPERSEDED_SHIFT) | deps as u8);
    if superseded == shape::SUPERSEDED_MAX {
        sink.varint((op.superseded.len() - superseded) as u64);
    }
    if deps == shape::DEPS_MAX {
        sink.varint((op.deps.len() - deps) as u64);
    }
    sink.varint(op.key.as_str().len() as u64);
    sink.bytes(op.key.as_str().as_bytes());
    match &op.effect {
        Effect::Put(value) => {
            sink.varint(value.as_bytes().len() as u64);
            sink.bytes(value.as_bytes());
        }
        Effect::Delete => {}
    }
    let dots = op.superseded.iter().map(|dot| (dot.incarnation, dot.counter));
    for (incarnation, counter) in dots.chain(op.deps.entries()) {
        sink.incarnation(incarnation);
        // Of the same life it is often one of the last few writes, so the distance is the shorter name.
        let own = incarnation == op.dot.incarnation;
        sink.varint(if own { difference(counter, op.dot.counter) } else { counter });
    }
}

/// The encodings of the operations that were pushed last, ready to be copied for the next peer.
///
/// It holds at most [`Self::OPS_MAX`] operations whose values have at most [`Self::VALUE_BYTES_MAX`] bytes.
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
    pub const OPS_MAX: usize = 256;

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
        if matches!(&op.effect, Effect::Put(value) if value.as_bytes().len() > Self::VALUE_BYTES_MAX) {
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
