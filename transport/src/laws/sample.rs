//! Messages of every kind, each a little different from all before it.

use hence_core::{
    Address, Body, Content, Coverage, Dot, Dots, Effect, Formats, Hello, Hlc, Incarnation, Key, KeyChange, LostQuery,
    MemberRecord, Message, Op, Outline, Outlined, Presence, Retirement, Sibling, SnapshotEntry, Status, Supply, Time,
    Value, Version, VersionVector, Wall,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module. The same seed gives the same messages.
#[derive(Debug)]
pub(super) struct Samples {
    random: ChaCha8Rng,
    serial: u64,
}

impl Samples {
    /// Kinds of message that [`Self::of_kind`] tells apart; beyond, they repeat.
    pub(super) const KINDS: usize = 20;

    pub(super) fn new(seed: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), serial: 0 }
    }

    /// A hello that opens a link.
    pub(super) fn opening(&mut self) -> Message {
        let body = self.hello();
        Message { echo: 0, ..self.message(body) }
    }

    /// A push of a value of about so many bytes.
    pub(super) fn push(&mut self, value_bytes: usize) -> Message {
        let body = Body::Push { op: self.op(value_bytes), made: Time(self.number()) };
        self.message(body)
    }

    /// A message that does not open a link, of any kind.
    pub(super) fn any(&mut self, value_bytes: usize) -> Message {
        let kind = 1 + self.below(Self::KINDS as u64 - 1) as usize;
        self.of_kind(kind, value_bytes)
    }

    /// A message of this kind. Kind 0 opens a link.
    pub(super) fn of_kind(&mut self, kind: usize, value_bytes: usize) -> Message {
        let body = match kind % Self::KINDS {
            0 => return self.opening(),
            1 => self.hello(),
            2 => self.status(),
            3 => Body::View(self.records()),
            4 => Body::Pull { id: self.number(), vector: Arc::new(self.vector()) },
            5 => {
                let count = self.below(5);
                let ops = (0..count).map(|_| self.op(value_bytes)).collect();
                self.supply(Content::Ops(ops))
            }
            6 => {
                let count = self.below(5);
                let versions = (0..count).map(|_| self.snapshot_entry(value_bytes)).collect();
                self.supply(Content::Versions(versions))
            }
            7 => {
                let (vector, deletes, retired, clock) = (self.vector(), self.vector(), self.retired(), self.hlc());
                self.supply(Content::State(Box::new(Coverage { vector, deletes, retired, clock })))
            }
            8 => {
                let records = self.retired();
                self.supply(Content::Retired(records))
            }
            9 => self.ask(),
            10 => Body::LostReply { round: self.number(), held: Box::new(self.vector()) },
            11 => Body::Probe { address: self.address() },
            12 => Body::Vouch { address: self.address() },
            13 => Body::Taken { id: self.number(), frame: self.below(1 << 32) as u32 },
            14 => Body::Want { dot: self.dot(), offset: self.number(), bytes: self.below(1 << 32) as u32 },
            15 => Body::Piece { dot: self.dot(), offset: self.number(), bytes: self.value(value_bytes.min(64 << 10)) },
            16 => Body::Announce { op: self.outlined(), made: Time(self.number()) },
            17 => {
                let op = self.outlined();
                self.supply(Content::Op(op))
            }
            18 => {
                let (dot, hlc, outline) = (self.dot(), self.hlc(), self.outline());
                let version = Some(Version::Whole(Sibling { dot, hlc, value: Value::new(&[]) }));
                let snapshot_entry = SnapshotEntry { key: self.key(), fresh: self.below(2) == 0, version };
                self.supply(Content::Version(Box::new(snapshot_entry), outline))
            }
            _ => return self.push(value_bytes),
        };
        self.message(body)
    }

    /// So many random bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.random.fill_bytes(&mut bytes);
        bytes
    }

    fn message(&mut self, body: Body) -> Message {
        // A few neighbours share their numbers, as the messages of one link do.
        self.serial += 1;
        let link = 1 + self.serial / 8;
        Message { from: Incarnation(link), number: link, echo: 1 + link % 3, sequence: self.serial % 8, body }
    }

    fn hello(&mut self) -> Body {
        let (sent, wall) = (Time(self.number()), Wall(self.number()));
        let (vector, view, formats) = (Arc::new(self.vector()), self.records(), Formats::RELEASED);
        Body::Hello(Box::new(Hello { sent, wall, vector, view, formats }))
    }

    fn status(&mut self) -> Body {
        Body::Status(Box::new(Status {
            sent: Time(self.number()),
            wall: Wall(self.number()),
            vector: Arc::new(self.vector()),
            received: self.number(),
            leaving: self.below(2) == 0,
            ready: self.below(2) == 0,
            view_hash: self.number(),
            digest: (self.below(4) > 0).then(|| self.number()),
        }))
    }

    fn ask(&mut self) -> Body {
        let count = 1 + self.below(4);
        let incarnations = (0..count).map(|_| self.incarnation()).collect();
        Body::LostQuery(Box::new(LostQuery { round: self.number(), incarnations, events: self.vector() }))
    }

    fn supply(&mut self, content: Content) -> Body {
        let (id, frame, last) = (self.number(), self.below(1 << 20) as u32, self.below(2) == 0);
        Body::Supply(Box::new(Supply { id, frame, content, last }))
    }

    fn outlined(&mut self) -> Outlined {
        let outline = self.outline();
        let op = Op::clone(&self.op(1_000));
        let effect = Effect::Put { key: self.key(), value: Value::new(&[]) };
        Outlined { op: Arc::new(Op { effect, ..op }), outline }
    }

    fn outline(&mut self) -> Outline {
        Outline { bytes: self.number(), check: self.below(1 << 32) as u32 }
    }

    fn op(&mut self, value_bytes: usize) -> Arc<Op> {
        // A caller that asks for a large value gets one.
        let choice = if value_bytes < 1_000 { self.below(6) } else { 2 };
        let effect = match choice {
            0 => Effect::Delete { key: self.key() },
            1 => Effect::Retire { incarnation: self.incarnation(), through: self.counter() },
            3 => return self.batch(value_bytes),
            _ => Effect::Put { key: self.key(), value: self.value(value_bytes) },
        };
        let count = self.below(4);
        let superseded = (0..count).map(|_| self.dot()).collect();
        Arc::new(Op { dot: self.dot(), hlc: self.hlc(), effect, superseded, deps: self.vector().into() })
    }

    /// Two changes or more, sorted by key, none twice: what every honest replica says.
    fn batch(&mut self, value_bytes: usize) -> Arc<Op> {
        let count = 2 + self.below(4);
        let mut change = |n: u64| KeyChange {
            key: Key::new(&format!("{n}{}", self.key().as_str().chars().take(40).collect::<String>())).expect("short"),
            value: (self.below(3) > 0).then(|| self.value(value_bytes)),
            superseded: (0..self.below(4)).map(|_| self.dot()).collect(),
        };
        let effect = Effect::Batch((0..count).map(&mut change).collect());
        Arc::new(Op { dot: self.dot(), hlc: self.hlc(), effect, superseded: Dots::new(), deps: self.vector().into() })
    }

    fn snapshot_entry(&mut self, value_bytes: usize) -> SnapshotEntry {
        let version = match self.below(4) {
            0 => None,
            1 => Some(Version::Known(self.dot())),
            _ => Some(Version::Whole(Sibling { dot: self.dot(), hlc: self.hlc(), value: self.value(value_bytes) })),
        };
        SnapshotEntry { key: self.key(), fresh: self.below(2) == 0, version }
    }

    /// Sorted, no incarnation twice: what every honest replica says.
    fn retired(&mut self) -> Vec<(Incarnation, Retirement)> {
        let count = self.below(4);
        let record = |_| (self.incarnation(), Retirement { through: self.counter(), dot: self.dot() });
        (0..count).map(record).collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    fn records(&mut self) -> Arc<[MemberRecord]> {
        let count = 1 + self.below(4);
        (0..count)
            .map(|_| {
                let address = self.address();
                let newest =
                    (self.below(3) > 0).then(|| Presence { incarnation: self.incarnation(), up: self.below(2) == 0 });
                MemberRecord { address, generation: self.below(5), newest }
            })
            .collect()
    }

    fn address(&mut self) -> Address {
        let text = format!("10.{}.{}.1:{}", self.below(256), self.below(256), 1 + self.below(65_535));
        Address::parse(&text).expect("an IPv4 address and a port")
    }

    fn vector(&mut self) -> VersionVector {
        let count = self.below(5);
        VersionVector::from_entries((0..count).map(|_| (self.incarnation(), self.counter())))
    }

    fn dot(&mut self) -> Dot {
        Dot { incarnation: self.incarnation(), counter: self.counter() }
    }

    fn counter(&mut self) -> u64 {
        1 + self.number() / 2
    }

    fn incarnation(&mut self) -> Incarnation {
        Incarnation(self.below(6) << 40 | 7)
    }

    fn hlc(&mut self) -> Hlc {
        Hlc(self.number() % Hlc::LIMIT.0)
    }

    fn key(&mut self) -> Key {
        let chars = ["a", "ö", "語", "🦀", "/", " "];
        let count = 1 + self.below(Key::CHARS_MAX as u64);
        let text: String = (0..count).map(|_| chars[self.below(chars.len() as u64) as usize]).collect();
        Key::new(&text).expect("1 to 50 characters")
    }

    /// About so many bytes; exactly, where they are many.
    fn value(&mut self, bytes: usize) -> Value {
        let count = if bytes < 1_000 { self.below(bytes as u64 + 1) as usize } else { bytes };
        Value::new(&self.bytes(count))
    }

    /// Small ones and large ones.
    fn number(&mut self) -> u64 {
        let bits = self.below(64);
        self.random.next_u64() >> bits
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.next_u64() % limit
    }
}
