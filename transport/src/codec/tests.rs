//! Round trips, golden bytes, damage.

mod formats;

use super::*;
use hence_core::{
    Address, Body, Content, Coverage, Dot, Dots, Effect, Hello, Incarnation, Key, KeyChange, LostQuery, MemberRecord,
    Message, Op, Outline, Outlined, Presence, Retirement, Sibling, SnapshotEntry, Status, Supply, Time, Value, Version,
    VersionVector, Wall,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const HERE: ClusterTag = ClusterTag(0xfeed_beef);

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

fn here() -> Address {
    address("10.10.0.2:8090")
}

fn written(messages: &[Message]) -> Vec<u8> {
    let mut writer = FrameWriter::new(HERE, here());
    let mut memo = OpMemo::new();
    messages.iter().for_each(|message| writer.push(message, &mut memo).expect("fits"));
    let mut bytes = Vec::new();
    let pending = writer.take(&mut bytes);
    assert_eq!(pending.messages, messages.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<Frame>, CodecError> {
    let mut reader = FrameReader::new(HERE).stated(Formats::RELEASED);
    reader.feed(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn read_messages(bytes: &[u8]) -> Vec<Message> {
    read(bytes).expect("whole frames").into_iter().flat_map(|frame| frame.messages).collect()
}

/// What waits goes over the connection.
fn passed(writer: &mut FrameWriter, reader: &mut FrameReader) -> Vec<Message> {
    let mut bytes = Vec::new();
    writer.take(&mut bytes);
    reader.feed(&bytes);
    let mut messages = Vec::new();
    while let Some(frame) = reader.next_frame().expect("whole frames") {
        assert_eq!(frame.from, here());
        messages.extend(frame.messages);
    }
    messages
}

/// A frame around this body, with a right head.
fn framed(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    let check = length.iter().fold(LENGTH_CHECK, |check, byte| check ^ byte);
    let mut bytes = vec![MAGIC[0], MAGIC[1], VERSION, check];
    bytes.extend_from_slice(&HERE.0.to_be_bytes());
    bytes.extend_from_slice(&length);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes);
    hasher.update(body);
    bytes.extend_from_slice(&hasher.finalize().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

// What proptest makes.

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, any::<u16>().prop_map(u64::from), any::<u64>()]
}

fn counter() -> impl Strategy<Value = u64> {
    number().prop_map(|n| n.max(1))
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    prop_oneof![3 => (0..4_u64).prop_map(Incarnation), 1 => any::<u64>().prop_map(Incarnation)]
}

fn dot() -> impl Strategy<Value = Dot> {
    (incarnation(), counter()).prop_map(|(incarnation, counter)| Dot { incarnation, counter })
}

fn vector() -> impl Strategy<Value = VersionVector> {
    proptest::collection::vec((incarnation(), counter()), 0..40).prop_map(VersionVector::from_entries)
}

fn hlc() -> impl Strategy<Value = Hlc> {
    number().prop_map(|n| Hlc(n % Hlc::LIMIT.0))
}

fn key() -> impl Strategy<Value = Key> {
    proptest::collection::vec(any::<char>(), 1..=50)
        .prop_map(|chars| Key::new(&chars.into_iter().collect::<String>()).expect("1 to 50 characters"))
}

fn value() -> impl Strategy<Value = Value> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..2_000);
    bytes.prop_map(|bytes| Value::new(&bytes))
}

/// Sorted by key, none twice: what every honest replica says.
fn batch() -> impl Strategy<Value = Effect> {
    let change = (proptest::option::of(value()), proptest::collection::vec(dot(), 0..10));
    proptest::collection::btree_map(key(), change, 2..6).prop_map(|changes| {
        let change =
            |(key, (value, superseded)): (_, (_, Vec<Dot>))| KeyChange { key, value, superseded: superseded.into() };
        Effect::Batch(changes.into_iter().map(change).collect())
    })
}

fn op() -> impl Strategy<Value = Arc<Op>> {
    let effect = prop_oneof![
        (key(), value()).prop_map(|(key, value)| Effect::Put { key, value }),
        key().prop_map(|key| Effect::Delete { key }),
        (incarnation(), counter()).prop_map(|(incarnation, through)| Effect::Retire { incarnation, through }),
        batch(),
    ];
    // The counts that have a byte of their own begin at seven.
    let superseded = proptest::collection::vec(dot(), 0..10);
    let few = proptest::collection::vec((incarnation(), counter()), 0..10).prop_map(VersionVector::from_entries);
    (dot(), hlc(), effect, superseded, prop_oneof![few, vector()]).prop_map(|(dot, hlc, effect, superseded, deps)| {
        let superseded = if matches!(effect, Effect::Batch(_)) { Dots::new() } else { superseded.into() };
        Arc::new(Op { dot, hlc, effect, superseded, deps: deps.into() })
    })
}

fn host() -> impl Strategy<Value = Address> {
    prop_oneof![
        (any::<[u8; 4]>(), 1..=u16::MAX).prop_map(|([a, b, c, d], port)| format!("{a}.{b}.{c}.{d}:{port}")),
        (any::<[u16; 2]>(), 1..=u16::MAX).prop_map(|([a, b], port)| format!("[fe80::{a:x}:{b:x}]:{port}")),
        ("[a-z][a-z0-9_]{0,20}", 1..=u16::MAX).prop_map(|(name, port)| format!("{name}.example:{port}")),
    ]
    .prop_map(|text| address(&text))
}

fn records() -> impl Strategy<Value = Arc<[MemberRecord]>> {
    let newest = (incarnation(), any::<bool>()).prop_map(|(incarnation, up)| Presence { incarnation, up });
    let record = (host(), number(), proptest::option::of(newest));
    let record = record.prop_map(|(address, counter, newest)| MemberRecord { address, generation: counter, newest });
    proptest::collection::vec(record, 0..6).prop_map(Into::into)
}

fn snapshot_entry() -> impl Strategy<Value = SnapshotEntry> {
    let sibling = (dot(), hlc(), value()).prop_map(|(dot, hlc, value)| Sibling { dot, hlc, value });
    let version = prop_oneof![
        Just(None),
        dot().prop_map(|dot| Some(Version::Known(dot))),
        sibling.prop_map(|sibling| Some(Version::Whole(sibling))),
    ];
    (key(), any::<bool>(), version).prop_map(|(key, fresh, version)| SnapshotEntry { key, fresh, version })
}

fn retired() -> impl Strategy<Value = Vec<(Incarnation, Retirement)>> {
    let record = (counter(), dot()).prop_map(|(through, dot)| Retirement { through, dot });
    let records = proptest::collection::vec((incarnation(), record), 0..30);
    records.prop_map(|records| records.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect())
}

fn outline() -> impl Strategy<Value = Outline> {
    (number(), any::<u32>()).prop_map(|(bytes, check)| Outline { bytes, check })
}

fn outlined() -> impl Strategy<Value = Outlined> {
    (op(), key(), outline()).prop_map(|(op, key, outline)| {
        let effect = Effect::Put { key, value: Value::new(&[]) };
        Outlined { op: Arc::new(Op { effect, ..Op::clone(&op) }), outline }
    })
}

fn outlined_version() -> impl Strategy<Value = Content> {
    (key(), any::<bool>(), dot(), hlc(), outline()).prop_map(|(key, fresh, dot, hlc, outline)| {
        let version = Some(Version::Whole(Sibling { dot, hlc, value: Value::new(&[]) }));
        Content::Version(Box::new(SnapshotEntry { key, fresh, version }), outline)
    })
}

fn coverage() -> impl Strategy<Value = Box<Coverage>> {
    (vector(), vector(), retired(), hlc())
        .prop_map(|(vector, deletes, retired, clock)| Box::new(Coverage { vector, deletes, retired, clock }))
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        proptest::collection::vec(op(), 0..6).prop_map(Content::Ops),
        outlined().prop_map(Content::Op),
        outlined_version(),
        proptest::collection::vec(snapshot_entry(), 0..8).prop_map(Content::Versions),
        retired().prop_map(Content::Retired),
        coverage().prop_map(Content::State),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (number(), number(), vector(), records()).prop_map(|(sent, wall, vector, view)| {
            let (sent, wall, vector, formats) = (Time(sent), Wall(wall), Arc::new(vector), Formats::RELEASED);
            Body::Hello(Box::new(Hello { sent, wall, vector, view, formats }))
        }),
        (number(), number(), vector(), number(), any::<u64>(), any::<Option<u64>>(), any::<[bool; 2]>()).prop_map(
            |(sent, wall, vector, received, view_hash, digest, [leaving, ready])| {
                let vector = Arc::new(vector);
                let (sent, wall) = (Time(sent), Wall(wall));
                Body::Status(Box::new(Status { sent, wall, vector, received, leaving, ready, view_hash, digest }))
            }
        ),
        (op(), number()).prop_map(|(op, made)| Body::Push { op, made: Time(made) }),
        (op(), number()).prop_map(|(op, made)| Body::Push { op, made: Time(made) }),
        (outlined(), number()).prop_map(|(op, made)| Body::Announce { op, made: Time(made) }),
        (dot(), number(), any::<u32>()).prop_map(|(dot, offset, bytes)| Body::Want { dot, offset, bytes }),
        (dot(), number(), value()).prop_map(|(dot, offset, bytes)| Body::Piece { dot, offset, bytes }),
        records().prop_map(Body::View),
        (number(), vector()).prop_map(|(id, vector)| Body::Pull { id, vector: Arc::new(vector) }),
        (number(), any::<u32>(), content(), any::<bool>())
            .prop_map(|(id, frame, content, last)| { Body::Supply(Box::new(Supply { id, frame, content, last })) }),
        (number(), any::<u32>()).prop_map(|(id, frame)| Body::Taken { id, frame }),
        (number(), proptest::collection::vec(incarnation(), 1..8), vector()).prop_map(
            |(round, incarnations, events)| Body::LostQuery(Box::new(LostQuery { round, incarnations, events }))
        ),
        (number(), vector()).prop_map(|(round, held)| Body::LostReply { round, held: Box::new(held) }),
        host().prop_map(|address| Body::Probe { address }),
        host().prop_map(|address| Body::Vouch { address }),
    ]
}

/// Messages as they come in one connection: the link changes now and then, operations run on.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let step = (body(), 0..4_u8, incarnation(), number(), number());
    proptest::collection::vec(step, 1..12).prop_map(|steps| {
        let mut link = (Incarnation(1), 1, 1);
        let (mut last, mut sequence) = (0, 0);
        let turn = |(mut body, choice, from, number, echo)| {
            if choice == 0 {
                link = (from, number, echo);
                (last, sequence) = (0, 0);
            } else {
                sequence += if choice == 1 { 3 } else { 1 }; // some were lost
            }
            if let (Body::Push { op, .. }, 2..) = (&mut body, choice) {
                last += 1;
                Arc::make_mut(op).dot = Dot { incarnation: link.0, counter: last };
            }
            Message { from: link.0, number: link.1, echo: link.2, sequence, body }
        };
        steps.into_iter().map(turn).collect()
    })
}

proptest! {
    #[test]
    fn round_trip(messages in messages()) {
        let bytes = written(&messages);
        prop_assert_eq!(read_messages(&bytes), messages);
    }

    /// However a stream is cut, the same frames come out of it, and never one too early.
    #[test]
    fn a_stream_may_be_cut_anywhere(messages in messages(), cuts in proptest::collection::vec(1..700_usize, 1..40)) {
        let bytes = written(&messages);
        let (mut reader, mut found, mut left) = (FrameReader::new(HERE).stated(Formats::RELEASED), Vec::new(), &bytes[..]);
        for cut in cuts.into_iter().cycle() {
            let (head, rest) = left.split_at(cut.min(left.len()));
            left = rest;
            reader.buffer().extend_from_slice(head);
            while let Some(frame) = reader.next_frame().expect("undamaged") {
                prop_assert_eq!(&frame.from, &here());
                found.extend(frame.messages);
            }
            if left.is_empty() {
                break;
            }
        }
        prop_assert!(reader.is_between_frames());
        prop_assert_eq!(found, messages);
    }

    /// Frames of one connection go on from each other, whatever went in between them, and a new connection begins anew.
    #[test]
    fn frames_go_on_from_each_other(
        messages in messages(),
        steps in proptest::collection::vec((1..4_usize, 0..6_u8), 1..12),
    ) {
        let (mut writer, mut reader) = (FrameWriter::new(HERE, here()), FrameReader::new(HERE).stated(Formats::RELEASED));
        let mut memo = OpMemo::new();
        let mut left = &messages[..];
        for (count, choice) in steps.into_iter().cycle() {
            let (some, rest) = left.split_at(count.min(left.len()));
            left = rest;
            some.iter().for_each(|message| writer.push(message, &mut memo).expect("fits"));
            if choice == 0 {
                writer.clear();
                reader = FrameReader::new(HERE).stated(Formats::RELEASED);
            } else {
                prop_assert_eq!(&passed(&mut writer, &mut reader)[..], some);
            }
            if left.is_empty() {
                break;
            }
        }
    }

    /// A frame that goes on from another, changed and given a right checksum again. Nothing panics, and what is
    /// accepted is what an encoder writes there.
    #[test]
    fn changed_bodies_that_go_on(
        first in body(),
        second in body(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u8, any::<u8>()), 0..4),
    ) {
        let (first, second) = (numbered(0, first), numbered(1, second));
        let mut memo = OpMemo::new();
        let mut began = || {
            let (mut writer, mut reader) = (FrameWriter::new(HERE, here()), FrameReader::new(HERE).stated(Formats::RELEASED));
            writer.push(&first, &mut memo).expect("fits");
            passed(&mut writer, &mut reader);
            (writer, reader)
        };
        let ((mut writer, _), (mut again, mut reader)) = (began(), began());
        let mut bytes = Vec::new();
        writer.push(&second, &mut memo).expect("fits");
        writer.take(&mut bytes);
        let mut body = bytes[HEAD_BYTES..].to_vec();
        prop_assert_eq!(body[0], 0);
        for (at, bit, byte) in changes {
            // Whether it goes on is not changed.
            let at = 1 + at.index(body.len() - 1);
            body[at] = if byte < 64 { byte } else { body[at] ^ 1 << bit };
        }
        let bytes = framed(&body);
        reader.feed(&bytes);
        match reader.next_frame() {
            Ok(frame) => {
                let frame = frame.expect("it is whole");
                frame.messages.iter().for_each(|message| again.push(message, &mut memo).expect("fits"));
                let mut found = Vec::new();
                again.take(&mut found);
                prop_assert_eq!(found, bytes);
            }
            Err(error) => prop_assert!(matches!(error, CodecError::Body { .. }), "{:?}", error),
        }
    }

    #[test]
    fn any_changed_bit_is_refused(messages in messages(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = written(&messages);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let before = read(&bytes);
        prop_assert!(before.is_err(), "byte {} bit {}: {:?}", at, bit, before);
    }

    /// Arbitrary bodies with a right checksum: no panic, and what is accepted is what an encoder writes.
    #[test]
    fn arbitrary_bodies(
        body in proptest::collection::vec(prop_oneof![0..9_u8, any::<u8>()], 0..200),
        sender in any::<bool>(),
    ) {
        let mut whole = Vec::new();
        if sender {
            whole.extend_from_slice(b"\x05a.b:1\0\0\0\0\0\0\0\0\x07\x01\x02\x00");
        }
        whole.extend_from_slice(&body);
        check_canonical(&framed(&whole))?;
    }

    /// The same, with a first byte that begins a message, so that every kind's fields meet arbitrary bytes.
    #[test]
    fn arbitrary_messages(
        lead in 0..0x80_u8,
        rest in proptest::collection::vec(prop_oneof![3 => 0..4_u8, 1 => any::<u8>()], 0..40),
    ) {
        check_canonical(&framed(&[b"\x05a.b:1\0\0\0\0\0\0\0\0\x07\x01\x02\x00", &[lead][..], &rest].concat()))?;
    }

    /// One real message of one kind, changed in a few places and given a right checksum again: the same.
    #[test]
    fn changed_messages_of_each_kind(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0..8_u8, any::<u8>()), 1..4),
    ) {
        let all = one_of_each();
        let mut body = written(&[all[which.index(all.len())].1.clone()])[HEAD_BYTES..].to_vec();
        for (at, bit, byte) in changes {
            let at = at.index(body.len());
            // Mostly a small change, which most of the body survives.
            body[at] = if byte < 64 { byte } else { body[at] ^ 1 << bit };
        }
        check_canonical(&framed(&body))?;
    }

    /// Real frames, changed and given a right checksum again: the same.
    #[test]
    fn changed_bodies(
        messages in messages(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let frame = read(&written(&messages)).expect("whole").swap_remove(0);
        let mut body = written(&frame.messages)[HEAD_BYTES..].to_vec();
        for (at, byte, how) in changes {
            let at = at.index(body.len());
            match how {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => body.truncate(at.max(1)),
            }
        }
        check_canonical(&framed(&body))?;
    }

    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut reader = FrameReader::new(HERE).stated(Formats::RELEASED);
        reader.feed(&bytes);
        if let Err(error) = reader.next_frame() {
            prop_assert_eq!(reader.next_frame(), Err(error));
            prop_assert!(reader.is_between_frames());
        }
    }
}

fn check_canonical(bytes: &[u8]) -> Result<(), TestCaseError> {
    match read(bytes) {
        Ok(frames) => {
            prop_assert_eq!(frames.len(), 1);
            let mut writer = FrameWriter::new(HERE, frames[0].from.clone());
            let mut memo = OpMemo::new();
            frames[0].messages.iter().for_each(|message| writer.push(message, &mut memo).expect("fits"));
            let mut again = Vec::new();
            writer.take(&mut again);
            prop_assert_eq!(again, bytes);
        }
        Err(error) => prop_assert!(matches!(error, CodecError::Body { .. }), "{:?}", error),
    }
    Ok(())
}

// One message of each kind, and what it looks like.

const A: Incarnation = Incarnation(0x0000_0100_0000_000a);
const B: Incarnation = Incarnation(0x0000_0200_0000_000b);

fn dot_of(incarnation: Incarnation, counter: u64) -> Dot {
    Dot { incarnation, counter }
}

fn put(counter: u64, key: &str, value: &[u8]) -> Arc<Op> {
    Arc::new(Op {
        dot: dot_of(A, counter),
        hlc: Hlc((1_700_000_000_000 << 16) + counter),
        effect: Effect::Put { key: Key::new(key).expect("a key"), value: Value::new(value) },
        superseded: [dot_of(A, counter - 1), dot_of(B, 9)].into_iter().collect(),
        deps: VersionVector::from_entries([(A, counter - 1), (B, 300)]).into(),
    })
}

fn message(body: Body) -> Message {
    numbered(0, body)
}

fn numbered(sequence: u64, body: Body) -> Message {
    Message { from: A, number: 5, echo: 6, sequence, body }
}

fn records_of_three() -> Arc<[MemberRecord]> {
    let newest = |incarnation, up| Some(Presence { incarnation, up });
    Arc::new([
        MemberRecord { address: here(), generation: 1, newest: newest(A, true) },
        MemberRecord { address: address("10.10.0.3:8090"), generation: 2, newest: newest(B, false) },
        MemberRecord { address: address("carol:8090"), generation: 0, newest: None },
    ])
}

fn one_of_each() -> Vec<(&'static str, Message)> {
    let vector = VersionVector::from_entries([(A, 3), (B, 300)]);
    let shared = Arc::new(vector.clone());
    let (sent, wall) = (Time(1_000_000), Wall(1_700_000_000_000_000));
    let supply = |content, last| Body::Supply(Box::new(Supply { id: 7, frame: 1, content, last }));
    let key = Key::new("x").expect("a key");
    let whole = Version::Whole(Sibling { dot: dot_of(B, 4), hlc: Hlc(90), value: Value::new(b"true") });
    let versions = vec![
        SnapshotEntry { key: key.clone(), fresh: true, version: Some(whole) },
        SnapshotEntry { key: key.clone(), fresh: false, version: Some(Version::Known(dot_of(A, 2))) },
        SnapshotEntry { key: Key::new("y").expect("a key"), fresh: true, version: None },
    ];
    let records = [(A, 40, dot_of(B, 6)), (B, 300, dot_of(A, 7))];
    let records = records.map(|(incarnation, through, dot)| (incarnation, Retirement { through, dot })).to_vec();
    let delete = Op { effect: Effect::Delete { key }, superseded: Dots::new(), ..(*put(5, "x", b"")).clone() };
    let retire = Op {
        effect: Effect::Retire { incarnation: B, through: 300 },
        superseded: Dots::new(),
        deps: VersionVector::from_entries([(B, 300)]).into(),
        ..(*put(4, "x", b"")).clone()
    };
    let push = |op| Body::Push { op, made: Time(2_000_000) };
    let coverage =
        Coverage { vector: vector.clone(), deletes: VersionVector::new(), retired: records.clone(), clock: Hlc(99) };
    let (view, formats) = (records_of_three(), Formats::RELEASED);
    let hello = Hello { sent, wall, vector: Arc::clone(&shared), view, formats };
    let status = Status {
        sent,
        wall,
        vector: Arc::clone(&shared),
        received: 17,
        leaving: false,
        ready: true,
        view_hash: 0x1122,
        digest: Some(0x3344_5566),
    };
    let merging = Status { digest: None, leaving: true, ..status.clone() };
    let ask = LostQuery { round: 8, incarnations: vec![B, A], events: vector.clone() };
    [
        ("hello", Body::Hello(Box::new(hello))),
        ("status", Body::Status(Box::new(status))),
        ("status without a digest", Body::Status(Box::new(merging))),
        ("push of a put", push(put(4, "x", b"1"))),
        ("push of a delete", push(Arc::new(delete.clone()))),
        ("push of a retirement", push(Arc::new(retire.clone()))),
        ("view", Body::View(records_of_three())),
        ("pull", Body::Pull { id: 7, vector: shared }),
        (
            "supply of operations",
            supply(Content::Ops(vec![put(4, "x", b"1"), Arc::new(delete), Arc::new(retire)]), false),
        ),
        ("supply of versions", supply(Content::Versions(versions), false)),
        ("supply of retired incarnations", supply(Content::Retired(records), false)),
        ("supply of a state", supply(Content::State(Box::new(coverage)), true)),
        ("ask", Body::LostQuery(Box::new(ask))),
        ("answer", Body::LostReply { round: 8, held: Box::new(vector) }),
        ("probe", Body::Probe { address: address("10.10.0.3:8090") }),
        ("vouch", Body::Vouch { address: address("[fe80::1]:8090") }),
    ]
    .into_iter()
    .chain(announced())
    .chain([("taken", Body::Taken { id: 7, frame: 1 })])
    .map(|(name, body)| (name, message(body)))
    .collect()
}

/// What has to do with values in pieces.
fn announced() -> [(&'static str, Body); 5] {
    let supply = |content| Body::Supply(Box::new(Supply { id: 7, frame: 1, content, last: false }));
    let op = Outlined::of(&put(5, "x", &[b'1'; 70_000])).expect("a put");
    let version = Some(Version::Whole(Sibling { dot: dot_of(B, 4), hlc: Hlc(90), value: Value::new(b"") }));
    let snapshot_entry = SnapshotEntry { key: Key::new("x").expect("a key"), fresh: true, version };
    [
        ("supply of an announced operation", supply(Content::Op(op.clone()))),
        ("supply of an announced version", supply(Content::Version(Box::new(snapshot_entry), op.outline))),
        ("announce", Body::Announce { op, made: Time(2_000_000) }),
        ("want", Body::Want { dot: dot_of(A, 5), offset: 16_384, bytes: 16_384 }),
        ("piece", Body::Piece { dot: dot_of(A, 5), offset: 16_384, bytes: Value::new(b"1111") }),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_single_changed_bit_and_every_cut_of_each_kind() {
    for (name, message) in one_of_each() {
        let bytes = written(&[message]);
        for at in 0..bytes.len() {
            assert_eq!(read(&bytes[..at]), Ok(Vec::new()), "{name} cut at {at}");
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1_u8 << bit;
                assert!(read(&changed).is_err(), "{name}, byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn what_is_refused_says_why() {
    let (_, message) = one_of_each().pop().expect("not empty");
    let bytes = written(&[message]);
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        read(&changed).expect_err("changed")
    };
    assert_eq!(with(0, b'G'), CodecError::Magic { byte: b'G' });
    assert_eq!(with(1, b'E'), CodecError::Magic { byte: b'E' });
    assert_eq!(with(2, 1), CodecError::Version { format: 1, ours: Formats::RELEASED });
    assert_eq!(with(4, 0), CodecError::Foreign(ClusterTag(0x00ed_beef)));
    assert!(matches!(with(8, 1), CodecError::Length(_)));
    assert!(matches!(with(20, 1), CodecError::Checksum { .. }));

    let mut huge = bytes.clone();
    huge[8..12].copy_from_slice(&[0x7f; 4]);
    huge[3] = LENGTH_CHECK;
    let bytes_max = FRAME_BYTES_MAX;
    assert_eq!(read(&huge), Err(CodecError::Oversize { bytes: 0x7f7f_7f7f, bytes_max }));
    // One byte is enough to tell that a stream is none of ours.
    assert_eq!(read(b"G"), Err(CodecError::Magic { byte: b'G' }));
    assert_eq!(read(&bytes[..3]), Ok(Vec::new()));
}

/// What follows a sender in a body that no encoder writes, where it is refused and why.
const WRONG_BODIES: &[(&[u8], usize, Damage)] = &[
    (b"", 0, Damage::Empty),
    (b"\x3f", 1, Damage::Kind(0x3f)),
    (b"\x47", 1, Damage::Kind(0x47)),
    (b"\xff", 1, Damage::Kind(0xff)),
    (b"\x09\0\0\0\0\0\0\0\0\0\0\0\0", 13, Damage::Short),
    // A hash left out that was never said; a digest that is none and the same.
    (b"\x21\0\0\0\0", 5, Damage::Hash),
    (b"\x49\0\0\0\0\0\0\0\0\0\0\0\0", 13, Damage::Hash),
    (b"\x41\0\0\0\0\0\0\0\0\0\0\0\0", 13, Damage::Hash),
    (b"\x0e\x01\x01", 1, Damage::Kind(0x0e)),
    (b"\x85\x01\x01", 1, Damage::Kind(0x85)),
    (b"\x65\x01\x01", 3, Damage::Kind(0x65)),
    // Announced: a value that is there, a delete, a version that is known, an outline cut off.
    (b"\x45\x01\x01\x01\x00\x00\x01x\x01y\x05\0\0\0\0", 10, Damage::Announced),
    (b"\x37\x00\x01\x00\x40\x01x\x05\0\0\0\0", 7, Damage::Announced),
    (b"\x55\x01\x01\x05\x01x\x00\x01\x05\0\0\0\0", 8, Damage::Announced),
    (b"\x37\x00\x01\x00\x00\x01x\x00\x05\0\0\0", 9, Damage::Short),
    // A piece longer than the frame, and a wish for one that is too long for any.
    (b"\x2f\x00\x01\x00\x7f\x00", 5, Damage::Short),
    (b"\x27\x00\x01\x00\x80\x80\x80\x80\x10", 9, Damage::Number),
    (b"\x06\x81\x00\x01", 3, Damage::Number),
    (b"\x06\x01\x80\x80\x80\x80\x10", 7, Damage::Number),
    (b"\x06\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x01", 11, Damage::Number),
    (b"\x06\x01", 2, Damage::Short),
    (b"\x04\x01\x7f", 3, Damage::Short),
    (b"\x04\x01\x02\x00\x01\x00\x02", 7, Damage::Order),
    (b"\x04\x01\x01\x00\x00", 5, Damage::Counter),
    (b"\x04\x01\x01\x02\0\0\0\0\0\0\0\x09\x01", 12, Damage::Incarnation),
    (b"\x04\x01\x01\x01\0\0\0\0\0\0\0\x07\x01", 12, Damage::Incarnation),
    // A push with one damage each: the next dot spelled out, counter 0, the next stamp spelled out, a stamp beyond all.
    // Others are a key too long and a dot before 1.
    (b"\x02\x00\x00\x01\x00\x00\x01x\x00", 4, Damage::Dot),
    (b"\x02\x00\x00\x00\x00\x00\x01x\x00", 4, Damage::Counter),
    (b"\x0a\x00\x02\x00\x01x\x00", 3, Damage::Tick),
    (b"\x0a\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x00\x01x\x00", 12, Damage::Stamp(Hlc(1 << 62))),
    (b"\x0a\x00\x00\x00\x01\xff\x00", 6, Damage::Key),
    (b"\x0a\x00\x00\x00\x00\x00", 5, Damage::Key),
    (b"\x0a\x00\x00\x08\x01x\x00\x00\x01", 9, Damage::Counter),
    (b"\x0a\x00\x00\x38\x7f\x01x\x00\x00\x00", 8, Damage::Short),
    (b"\x0a\x00\x00\x07\x7f\x01x\x00\x00\x00", 8, Damage::Short),
    (b"\x0a\x00\x00\x38\x80\x00\x01x\x00\x00\x00", 6, Damage::Number),
    // No such effect; a delete without a key; an incarnation that is over before its first write.
    (b"\x0a\x00\x00\xc0\x01x\x00", 5, Damage::Choice(1)),
    (b"\x0a\x00\x00\xc0\x00x\x00", 5, Damage::Choice(0)),
    (b"\x0a\x00\x00\x40\x00", 5, Damage::Key),
    (b"\x0a\x00\x00\x80\x00\x00", 6, Damage::Counter),
    (b"\x0a\x00\x00\x80\x02\0\0\0\0\0\0\0\x09\x01", 13, Damage::Incarnation),
    // A record of the view: no address, upper case, no such state of its process.
    (b"\x03\x01\x04nope\x00\x00", 7, Damage::Address),
    (b"\x03\x01\x05A.b:1\x00\x00", 8, Damage::Address),
    (b"\x03\x01\x05a.b:1\x00\x03", 10, Damage::Choice(3)),
    // Versions: neither known nor whole, no such mark, no key, counter 0, a stamp beyond all, cut off.
    (b"\x15\x01\x00\x01\x03\x01x\x00\x01", 7, Damage::Choice(3)),
    (b"\x15\x01\x00\x01\x08\x01x\x00\x01", 7, Damage::Choice(8)),
    (b"\x15\x01\x00\x01\x04\x00\x00", 6, Damage::Key),
    (b"\x15\x01\x00\x01\x01\x01x\x00\x00", 9, Damage::Counter),
    (b"\x15\x01\x00\x01\x02\x01x\x00\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x00", 19, Damage::Stamp(Hlc(1 << 62))),
    (b"\x15\x01\x00\x01\x02\x01x\x00\x01\x00", 10, Damage::Short),
    (b"\x15\x01\x00\x02\x00\x01x\x00\x01", 4, Damage::Short),
    // Retired incarnations: one twice, not sorted, through 0, by a dot 0, more than there can be.
    (b"\x35\x01\x00\x02\x00\x05\x00\x01\x00\x05\x00\x02", 9, Damage::Order),
    (b"\x35\x01\x00\x02\x00\x05\x00\x01\x01\0\0\0\0\0\0\0\x06\x05\x00\x02", 17, Damage::Order),
    (b"\x35\x01\x00\x01\x00\x00\x00\x01", 6, Damage::Counter),
    (b"\x35\x01\x00\x01\x00\x05\x00\x00", 8, Damage::Counter),
    (b"\x35\x01\x00\x02\x00\x05\x00\x01\x00\x05\x00", 4, Damage::Short),
    (b"\x25\x01\x00\x00\x00\x02\x00\x05\x00\x01\x00\x05\x00\x02\x00", 11, Damage::Order),
    (b"\x25\x01\x00\x00\x00\x01\x00\x00\x00\x01\x00", 8, Damage::Counter),
    // A question that asks no member, or about an event 0; an answer that is not sorted.
    (b"\x07\x01\x00\x00", 3, Damage::NoneAsked),
    (b"\x07\x01\x02\x00", 3, Damage::Short),
    (b"\x07\x01\x01\x00\x01\x00\x00", 7, Damage::Counter),
    (b"\x0f\x01\x01\x00\x00", 5, Damage::Counter),
    (b"\x0f\x01\x02\x00\x01\x00\x02", 7, Damage::Order),
    // Whose address is none, or is not written as an address prints.
    (b"\x17\x04nope", 6, Damage::Address),
    (b"\x17\x05A.b:1", 7, Damage::Address),
    (b"\x1f\x05A.b:1", 7, Damage::Address),
    (b"\x1f\x06a.b:01", 8, Damage::Address),
    (b"\x1f\x00", 2, Damage::Address),
    (b"\x05\x01\x00\x01\x02\x00\x00\x01x\x00", 5, Damage::Choice(2)),
];

/// Bodies that have a right checksum and a wrong content.
#[test]
fn bodies_that_no_encoder_writes() {
    const SENDER: &[u8] = b"\x05a.b:1\0\0\0\0\0\0\0\0\x07\x01\x02\x00";
    let empty_head = SENDER.len();
    for &(rest, at, damage) in WRONG_BODIES {
        let found = read(&framed(&[SENDER, rest].concat()));
        let at = at + empty_head;
        assert_eq!(found, Err(CodecError::Body { at, damage }), "{}", hex(rest));
    }
    let long = [&b"\x0a\x00\x00\x00\x33"[..], &[b'k'; 51], b"\x00"].concat();
    let found = read(&framed(&[SENDER, &long].concat()));
    assert!(matches!(found, Err(CodecError::Body { damage: Damage::Key, .. })), "{found:?}");
}

#[test]
fn counts_do_not_allocate() {
    // Each of these announces far more than is there. Were it believed, the machine would run out of memory.
    const SENDER: &[u8] = b"\x05a.b:1\0\0\0\0\0\0\0\0\x07\x01\x02\x00";
    let many = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
    let leads = [
        &b"\x03"[..],
        b"\x04\x01",
        b"\x05\x01\x01",
        b"\x15\x01\x01",
        b"\x25\x01\x01",
        b"\x25\x01\x01\x00",
        b"\x25\x01\x01\x00\x00",
        b"\x35\x01\x01",
        b"\x07\x01",
        b"\x07\x01\x01\x00",
        b"\x0f\x01",
        b"\x17",
        b"\x1f",
        b"\x2f\x00\x01\x00",
        b"\x0a\x00\x00\x38",
        b"\x0a\x00\x00\x07",
        b"\x0a\x00\x00\xb8",
    ];
    for lead in leads {
        let found = read(&framed(&[SENDER, lead, many, b"\x01x\x00"].concat()));
        assert!(matches!(found, Err(CodecError::Body { damage: Damage::Short, .. })), "{}: {found:?}", hex(lead));
    }
    // A length that the limit allows, but no bytes: the reader makes room for little more than what came.
    let mut head = written(&[message(Body::Taken { id: 1, frame: 1 })]);
    head.truncate(HEAD_BYTES);
    head[8..12].copy_from_slice(&(FRAME_BYTES_MAX as u32).to_be_bytes());
    head[3] = head[8..12].iter().fold(LENGTH_CHECK, |check, byte| check ^ byte);
    let mut reader = FrameReader::new(HERE).stated(Formats::RELEASED);
    reader.feed(&head);
    assert_eq!(reader.next_frame(), Ok(None));
    assert!(reader.buffer().capacity() < 256 << 10);
}

#[test]
fn a_message_is_never_split() {
    let mut memo = OpMemo::new();
    let mut writer = FrameWriter::new(HERE, here()).with_frame_bytes_max(4_096);
    let push = |bytes: usize, counter| message(Body::Push { op: put(counter, "x", &vec![b'1'; bytes]), made: Time(0) });
    let small = push(10, 2);
    writer.push(&small, &mut memo).expect("fits");
    let refused = writer.push(&push(5_000, 3), &mut memo).expect_err("too large");
    assert!(matches!(refused, Unsaid::Oversize { bytes: 5_001.., bytes_max: 4_096 }), "{refused}");
    // What did not fit leaves no trace, and what fits only alone goes into a frame of its own.
    let large = push(4_020, 3);
    writer.push(&large, &mut memo).expect("fits alone");
    writer.push(&small, &mut memo).expect("fits");
    let mut bytes = Vec::new();
    assert_eq!(writer.take(&mut bytes), Pending { frames: 3, messages: 3 });
    assert_eq!(read_messages(&bytes), vec![small.clone(), large, small]);
    assert!(writer.is_empty());
}

/// Ten thousand incarnations, as after ten thousand restarts, in one frame; and what did not fit leaves no trace.
#[test]
fn large_tables() {
    let vector = |incarnations: std::ops::Range<u64>| {
        Arc::new(VersionVector::from_entries(incarnations.map(|n| (Incarnation(n << 40), n + 1))))
    };
    let mut sequence = 0..;
    let mut pull =
        |incarnations| numbered(sequence.next().expect("endless"), Body::Pull { id: 1, vector: vector(incarnations) });
    let all = [pull(0..10), pull(5..40), pull(20..30), pull(0..10_000), pull(9_000..9_100)];
    assert_eq!(read_messages(&written(&all)), all);

    let mut writer = FrameWriter::new(HERE, here()).with_frame_bytes_max(2_000);
    let mut memo = OpMemo::new();
    let all = [pull(0..100), pull(100..200), pull(100..110), pull(0..20), pull(200..300), pull(20..100)];
    all.iter().for_each(|message| writer.push(message, &mut memo).expect("fits"));
    assert!(writer.push(&pull(0..1_000), &mut memo).is_err());
    let mut bytes = Vec::new();
    assert_eq!(writer.take(&mut bytes), Pending { frames: 3, messages: 6 });
    assert_eq!(read_messages(&bytes), all);
}

/// A table does not grow for ever: a full one ends with its frame, on both sides.
#[test]
fn a_full_table_begins_anew() {
    let pull = |incarnation: u64| {
        let vector = Arc::new(VersionVector::from_entries([(Incarnation(incarnation << 40), incarnation)]));
        numbered(incarnation, Body::Pull { id: incarnation, vector })
    };
    let (mut writer, mut reader) = (FrameWriter::new(HERE, here()), FrameReader::new(HERE).stated(Formats::RELEASED));
    let mut memo = OpMemo::new();
    let mut anew = Vec::new();
    for incarnation in 1..3 * TABLE_PLACES_FULL as u64 {
        let mut bytes = Vec::new();
        writer.push(&pull(incarnation), &mut memo).expect("fits");
        writer.take(&mut bytes);
        if bytes[HEAD_BYTES] != 0 {
            anew.push(incarnation);
        } else if anew.len() == 3 {
            break;
        }
        reader.feed(&bytes);
        assert_eq!(reader.next_frame().expect("undamaged").expect("whole").messages, vec![pull(incarnation)]);
    }
    // The sender has the first place.
    let full = TABLE_PLACES_FULL as u64;
    assert_eq!(anew, vec![1, full, 2 * full - 1]);

    // A peer that goes on nevertheless is refused.
    let mut reader = FrameReader::new(HERE).stated(Formats::RELEASED);
    let incarnations = (1..full).map(|incarnation| (Incarnation(incarnation << 40), 1));
    let all = message(Body::Pull { id: 1, vector: Arc::new(VersionVector::from_entries(incarnations)) });
    reader.feed(&written(&[all]));
    assert!(matches!(reader.next_frame(), Ok(Some(_))));
    reader.feed(&framed(b"\x00\x06\x01\x01"));
    assert_eq!(reader.next_frame(), Err(CodecError::Body { at: 1, damage: Damage::Speaker }));
}

/// What an idle replica says again and again takes few bytes.
#[test]
fn signs_of_life_are_short() {
    let (mut writer, mut memo) = (FrameWriter::new(HERE, here()), OpMemo::new());
    let vector = Arc::new(VersionVector::from_entries([(A, 70_000), (B, 300), (Incarnation(1 << 60), 5)]));
    let lengths = [0, 1, 2, 3].map(|turn| {
        let (sent, wall) = (Time(5_000_000 + turn * 200_007), Wall(1_700_000_000_000_000 + turn * 200_009));
        let (vector, view_hash, digest) = (vector.clone(), 77, Some(88));
        let status = Status { sent, wall, vector, received: 70_000, leaving: false, ready: true, view_hash, digest };
        writer.push(&numbered(turn, Body::Status(Box::new(status))), &mut memo).expect("fits");
        let mut bytes = Vec::new();
        writer.take(&mut bytes);
        bytes.len()
    });
    assert_eq!(lengths, [101, 35, 35, 35]);
}

#[test]
fn the_greatest_operation_that_a_client_can_make_fits() {
    let op = message(Body::Push { op: put(2, "x", &vec![b'1'; 8 << 20]), made: Time(0) });
    assert_eq!(read_messages(&written(std::slice::from_ref(&op))), vec![op]);
}

#[test]
fn an_operation_is_encoded_once_for_all_peers() {
    let mut memo = OpMemo::new();
    let mut writers: Vec<FrameWriter> = (0..5).map(|_| FrameWriter::new(HERE, here())).collect();
    // The peers' frames have different tables: each has heard of another incarnation first.
    for (at, writer) in writers.iter_mut().enumerate() {
        let vector = Arc::new(VersionVector::from_entries((0..at as u64).map(|n| (Incarnation(n + 1), 1))));
        writer.push(&message(Body::Pull { id: 1, vector }), &mut memo).expect("fits");
    }
    let mut readers: Vec<FrameReader> =
        writers.iter().map(|_| FrameReader::new(HERE).stated(Formats::RELEASED)).collect();
    for counter in 2..50 {
        let push = message(Body::Push { op: put(counter, "key", b"12345"), made: Time(counter) });
        writers.iter_mut().for_each(|writer| writer.push(&push, &mut memo).expect("fits"));
        for (writer, reader) in writers.iter_mut().zip(&mut readers) {
            assert_eq!(passed(writer, reader).last(), Some(&push));
        }
    }
    assert_eq!(memo.encoded(), 48);
    // Another operation at the same place in memory is another operation.
    for counter in 2..600 {
        let push = message(Body::Push { op: put(counter, "k", &[b'1'; 9]), made: Time(0) });
        writers[0].push(&push, &mut memo).expect("fits");
        assert_eq!(passed(&mut writers[0], &mut readers[0]), vec![push]);
    }
}

/// What an operation does and two counts up to six take one byte together, whatever it does.
#[test]
fn shape_of_an_operation() {
    let bytes = |effect: &Effect, superseded: u64, deps: u64| {
        let op = Op {
            dot: dot_of(A, 1),
            hlc: Hlc(0),
            effect: effect.clone(),
            superseded: (0..superseded).map(|_| dot_of(B, 1)).collect(),
            deps: VersionVector::from_entries((0..deps).map(|n| (Incarnation(n), 1))).into(),
        };
        let message = message(Body::Push { op: Arc::new(op), made: Time(0) });
        let length = written(std::slice::from_ref(&message)).len() as u64;
        assert_eq!(read_messages(&written(std::slice::from_ref(&message))), vec![message]);
        // A related dot takes two bytes; an incarnation that the frame has not mentioned yet eight more.
        let mentioned = matches!(effect, Effect::Retire { .. });
        length - 2 * superseded - 10 * deps - if superseded > 0 && !mentioned { 8 } else { 0 }
    };
    let key = Key::new("x").expect("a key");
    let (put, delete) = (Effect::Put { key: key.clone(), value: Value::new(b"1") }, Effect::Delete { key });
    for effect in [put, delete, Effect::Retire { incarnation: B, through: 1 }] {
        let least = bytes(&effect, 0, 0);
        for (superseded, deps) in (0..20).flat_map(|superseded| (0..20).map(move |deps| (superseded, deps))) {
            let more = u64::from(superseded >= 7) + u64::from(deps >= 7);
            assert_eq!(bytes(&effect, superseded, deps), least + more, "{effect:?} {superseded} {deps}");
        }
    }
}

/// The figure that the protocol asks for: 8 to 20 bytes per operation, and with its share of the frame under 22.
#[test]
fn overhead_of_a_push() {
    let overhead = |batch: u64| {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut step = || {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            random >> 33
        };
        let (base, others) = (1_000_000, [Incarnation(0x200_0000_0001), Incarnation(0x300_0000_0001)]);
        let mut data = 0;
        let messages: Vec<Message> = (0..batch)
            .map(|n| {
                let key = format!("key-{:05}", step() % 100_000);
                let value = vec![b'7'; 20];
                data += key.len() + value.len();
                // A third replaces an own write, a third another's; half the time another's write was seen since.
                let superseded = match step() % 3 {
                    0 => vec![dot_of(A, base + n - 1 - step() % 100_000)],
                    1 => vec![dot_of(others[(step() % 2) as usize], base - step() % 100_000)],
                    _ => Vec::new(),
                };
                let mut deps = VersionVector::new();
                superseded.iter().filter(|dot| dot.incarnation != A).for_each(|&dot| _ = deps.join_dot(dot));
                if step() % 2 == 0 {
                    deps.raise(others[(step() % 2) as usize], base + n);
                }
                let op = Op {
                    dot: dot_of(A, base + n),
                    hlc: Hlc(((1_700_000_000_000 + n / 10) << 16) | (n % 10)),
                    effect: Effect::Put { key: Key::new(&key).expect("a key"), value: Value::new(&value) },
                    superseded: superseded.into(),
                    deps: deps.into(),
                };
                numbered(n, Body::Push { op: Arc::new(op), made: Time(3_600_000_000 + 100 * n) })
            })
            .collect();
        (written(&messages).len() - data) as f64 / batch as f64
    };
    let [one, eight, many] = [1, 8, 64].map(overhead);
    println!("bytes of overhead per pushed operation: {one:.1} alone, {eight:.1} in 8, {many:.1} in 64");
    assert!(one < 96.0 && eight < 26.0 && many < 18.0, "{one} {eight} {many}");
}
