//! Round trips, golden bytes, damage.

use super::*;
use hence_core::{
    Address, Body, Content, Coverage, Dot, Effect, Hello, Incarnation, Key, Life, Message, Op, Row, Sibling, Siblings,
    Status, Supply, Time, Value, VersionVector, Wall,
};
use proptest::prelude::*;
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
    let mut reader = FrameReader::new(HERE);
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

fn op() -> impl Strategy<Value = Arc<Op>> {
    let effect = prop_oneof![value().prop_map(Effect::Put), Just(Effect::Delete)];
    let superseded = proptest::collection::vec(dot(), 0..10);
    (dot(), hlc(), key(), effect, superseded, vector())
        .prop_map(|(dot, hlc, key, effect, superseded, deps)| Arc::new(Op { dot, hlc, key, effect, superseded, deps }))
}

fn host() -> impl Strategy<Value = Address> {
    prop_oneof![
        (any::<[u8; 4]>(), 1..=u16::MAX).prop_map(|([a, b, c, d], port)| format!("{a}.{b}.{c}.{d}:{port}")),
        (any::<[u16; 2]>(), 1..=u16::MAX).prop_map(|([a, b], port)| format!("[fe80::{a:x}:{b:x}]:{port}")),
        ("[a-z][a-z0-9_]{0,20}", 1..=u16::MAX).prop_map(|(name, port)| format!("{name}.example:{port}")),
    ]
    .prop_map(|text| address(&text))
}

fn rows() -> impl Strategy<Value = Arc<[Row]>> {
    let life = (incarnation(), any::<bool>()).prop_map(|(incarnation, up)| Life { incarnation, up });
    let row = (host(), number(), proptest::option::of(life));
    let row = row.prop_map(|(address, counter, life)| Row { address, counter, life });
    proptest::collection::vec(row, 0..6).prop_map(Into::into)
}

fn versioned_key() -> impl Strategy<Value = (Key, Siblings)> {
    let sibling = (dot(), hlc(), value()).prop_map(|(dot, hlc, value)| Sibling { dot, hlc, value });
    let siblings = proptest::collection::vec(sibling, 0..5).prop_map(|list| list.into_iter().collect());
    (key(), siblings)
}

fn content() -> impl Strategy<Value = Content> {
    let coverage = (vector(), vector(), hlc());
    prop_oneof![
        proptest::collection::vec(op(), 0..6).prop_map(Content::Ops),
        proptest::collection::vec(versioned_key(), 0..4).prop_map(Content::Keys),
        coverage.prop_map(|(vector, deletes, clock)| Content::State(Box::new(Coverage { vector, deletes, clock }))),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (number(), number(), vector(), rows()).prop_map(|(sent, wall, vector, view)| {
            Body::Hello(Box::new(Hello { sent: Time(sent), wall: Wall(wall), vector: Arc::new(vector), view }))
        }),
        (number(), number(), vector(), number(), any::<u64>(), any::<u64>()).prop_map(
            |(sent, wall, vector, received, view_hash, digest)| {
                let vector = Arc::new(vector);
                let (sent, wall) = (Time(sent), Wall(wall));
                Body::Status(Box::new(Status { sent, wall, vector, received, view_hash, digest }))
            }
        ),
        (op(), number()).prop_map(|(op, made)| Body::Push { op, made: Time(made) }),
        (op(), number()).prop_map(|(op, made)| Body::Push { op, made: Time(made) }),
        rows().prop_map(Body::View),
        (number(), vector()).prop_map(|(id, vector)| Body::Pull { id, vector: Arc::new(vector) }),
        (number(), any::<u32>(), content(), any::<bool>())
            .prop_map(|(id, frame, content, last)| { Body::Supply(Box::new(Supply { id, frame, content, last })) }),
        (number(), any::<u32>()).prop_map(|(id, frame)| Body::Taken { id, frame }),
    ]
}

/// Messages as they come in one connection: the link changes now and then, operations run on.
fn messages() -> impl Strategy<Value = Vec<Message>> {
    let step = (body(), 0..4_u8, incarnation(), number(), number());
    proptest::collection::vec(step, 1..12).prop_map(|steps| {
        let mut link = (Incarnation(1), 1, 1);
        let mut last = 0;
        let turn = |(mut body, choice, from, number, echo)| {
            if choice == 0 {
                link = (from, number, echo);
                last = 0;
            }
            if let (Body::Push { op, .. }, 2..) = (&mut body, choice) {
                last += 1;
                Arc::make_mut(op).dot = Dot { incarnation: link.0, counter: last };
            }
            Message { from: link.0, number: link.1, echo: link.2, body }
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
        let (mut reader, mut found, mut left) = (FrameReader::new(HERE), Vec::new(), &bytes[..]);
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
            whole.extend_from_slice(b"\x05a.b:1\0\0\0\0\0\0\0\0\x07\x01\x02");
        }
        whole.extend_from_slice(&body);
        check_canonical(&framed(&whole))?;
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
        let mut reader = FrameReader::new(HERE);
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
        key: Key::new(key).expect("a key"),
        effect: Effect::Put(Value::new(value)),
        superseded: vec![dot_of(A, counter - 1), dot_of(B, 9)],
        deps: VersionVector::from_entries([(A, counter - 1), (B, 300)]),
    })
}

fn message(body: Body) -> Message {
    Message { from: A, number: 5, echo: 6, body }
}

fn rows_of_three() -> Arc<[Row]> {
    let life = |incarnation, up| Some(Life { incarnation, up });
    Arc::new([
        Row { address: here(), counter: 1, life: life(A, true) },
        Row { address: address("10.10.0.3:8090"), counter: 2, life: life(B, false) },
        Row { address: address("carol:8090"), counter: 0, life: None },
    ])
}

fn one_of_each() -> Vec<(&'static str, Message)> {
    let vector = VersionVector::from_entries([(A, 3), (B, 300)]);
    let shared = Arc::new(vector.clone());
    let (sent, wall) = (Time(1_000_000), Wall(1_700_000_000_000_000));
    let supply = |content, last| Body::Supply(Box::new(Supply { id: 7, frame: 1, content, last }));
    let siblings = [(B, 4, 90), (A, 2, 80)].map(|(incarnation, counter, hlc)| Sibling {
        dot: dot_of(incarnation, counter),
        hlc: Hlc(hlc),
        value: Value::new(b"true"),
    });
    let delete = Op { effect: Effect::Delete, superseded: Vec::new(), ..(*put(5, "x", b"")).clone() };
    let coverage = Coverage { vector: vector.clone(), deletes: VersionVector::new(), clock: Hlc(99) };
    let hello = Hello { sent, wall, vector: Arc::clone(&shared), view: rows_of_three() };
    let status =
        Status { sent, wall, vector: Arc::clone(&shared), received: 17, view_hash: 0x1122, digest: 0x3344_5566 };
    [
        ("hello", Body::Hello(Box::new(hello))),
        ("status", Body::Status(Box::new(status))),
        ("push", Body::Push { op: put(4, "x", b"1"), made: Time(2_000_000) }),
        ("view", Body::View(rows_of_three())),
        ("pull", Body::Pull { id: 7, vector: shared }),
        ("supply of operations", supply(Content::Ops(vec![put(4, "x", b"1"), Arc::new(delete)]), false)),
        (
            "supply of keys",
            supply(Content::Keys(vec![(Key::new("x").expect("a key"), siblings.into_iter().collect())]), false),
        ),
        ("supply of a state", supply(Content::State(Box::new(coverage)), true)),
        ("taken", Body::Taken { id: 7, frame: 1 }),
    ]
    .map(|(name, body)| (name, message(body)))
    .into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The format is pinned: a change of these bytes is a change of [`VERSION`].
#[test]
fn golden_frames() {
    let golden: Vec<(&str, String)> = include_str!("golden.txt")
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(n, h)| (n, h.into()))
        .collect();
    let present: Vec<(&str, String)> =
        one_of_each().into_iter().map(|(name, message)| (name, hex(&written(&[message])))).collect();
    let lines: String = present.iter().map(|(name, hex)| format!("{name}: {hex}\n")).collect();
    assert_eq!(golden, present, "golden.txt would be\n{lines}");
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
    let (_, message) = one_of_each().pop().expect("nine");
    let bytes = written(&[message]);
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        read(&changed).expect_err("changed")
    };
    assert_eq!(with(0, b'G'), CodecError::Magic { byte: b'G' });
    assert_eq!(with(1, b'E'), CodecError::Magic { byte: b'E' });
    assert_eq!(with(2, 2), CodecError::Version(2));
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

/// Bodies that have a right checksum and a wrong content.
#[test]
fn bodies_that_no_encoder_writes() {
    const SENDER: &[u8] = b"\x05a.b:1\0\0\0\0\0\0\0\0\x07\x01\x02";
    let empty_head = SENDER.len();
    let cases: &[(&[u8], usize, Damage)] = &[
        (b"", 0, Damage::Empty),
        (b"\x07", 1, Damage::Kind(7)),
        (b"\x0e\x01\x01", 1, Damage::Kind(0x0e)),
        (b"\x35\x01\x01", 3, Damage::Kind(0x35)),
        (b"\x06\x81\x00\x01", 3, Damage::Number),
        (b"\x06\x01\x80\x80\x80\x80\x10", 7, Damage::Number),
        (b"\x06\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x01", 11, Damage::Number),
        (b"\x06\x01", 2, Damage::Short),
        (b"\x04\x01\x7f", 3, Damage::Short),
        (b"\x04\x01\x02\x00\x01\x00\x02", 7, Damage::Order),
        (b"\x04\x01\x01\x00\x00", 5, Damage::Counter),
        (b"\x04\x01\x01\x02\0\0\0\0\0\0\0\x09\x01", 12, Damage::Incarnation),
        (b"\x04\x01\x01\x01\0\0\0\0\0\0\0\x07\x01", 12, Damage::Incarnation),
        // A push: the next dot spelled out, counter 0, a stamp beyond all, a key too long, a dot before 1.
        (b"\x02\x00\x00\x01\x00\x00\x01x\x00", 4, Damage::Dot),
        (b"\x02\x00\x00\x00\x00\x00\x01x\x00", 4, Damage::Counter),
        (b"\x0a\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x00\x01x\x00", 12, Damage::Stamp(Hlc(1 << 62))),
        (b"\x0a\x00\x00\x00\x01\xff\x00", 6, Damage::Key),
        (b"\x0a\x00\x00\x00\x00\x00", 5, Damage::Key),
        (b"\x0a\x00\x00\x10\x01x\x00\x00\x02", 9, Damage::Counter),
        (b"\x0a\x00\x00\x70\x7f\x01x\x00\x00\x00", 8, Damage::Short),
        // A row of the view: no address, upper case, no such state of life.
        (b"\x03\x01\x04nope\x00\x00", 7, Damage::Address),
        (b"\x03\x01\x05A.b:1\x00\x00", 8, Damage::Address),
        (b"\x03\x01\x05a.b:1\x00\x03", 10, Damage::Choice(3)),
        // Keys: the same version twice, and versions in the wrong order.
        (b"\x15\x01\x00\x01\x01x\x02\x00\x01\x02\x00\x00\x01\x00\x00", 15, Damage::Order),
        (b"\x15\x01\x00\x01\x01x\x02\x00\x01\x00\x00\x00\x02\x02\x00", 15, Damage::Order),
        (b"\x05\x01\x00\x01\x02\x00\x00\x01x\x00", 5, Damage::Choice(2)),
    ];
    for &(rest, at, damage) in cases {
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
    const SENDER: &[u8] = b"\x05a.b:1\0\0\0\0\0\0\0\0\x07\x01\x02";
    let many = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
    for lead in [&b"\x03"[..], b"\x04\x01", b"\x05\x01\x01", b"\x15\x01\x01", b"\x25\x01\x01", b"\x0a\x00\x00\x70"] {
        let found = read(&framed(&[SENDER, lead, many, b"\x01x\x00"].concat()));
        assert!(matches!(found, Err(CodecError::Body { damage: Damage::Short, .. })), "{}: {found:?}", hex(lead));
    }
    // A length that the limit allows, but no bytes: the reader makes room for little more than what came.
    let mut head = written(&[message(Body::Taken { id: 1, frame: 1 })]);
    head.truncate(HEAD_BYTES);
    head[8..12].copy_from_slice(&(FRAME_BYTES_MAX as u32).to_be_bytes());
    head[3] = head[8..12].iter().fold(LENGTH_CHECK, |check, byte| check ^ byte);
    let mut reader = FrameReader::new(HERE);
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
    assert!(refused.bytes > 5_000 && refused.bytes_max == 4_096);
    // What did not fit leaves no trace, and what fits only alone goes into a frame of its own.
    let large = push(4_020, 3);
    writer.push(&large, &mut memo).expect("fits alone");
    writer.push(&small, &mut memo).expect("fits");
    let mut bytes = Vec::new();
    assert_eq!(writer.take(&mut bytes), Pending { frames: 3, messages: 3 });
    assert_eq!(read_messages(&bytes), vec![small.clone(), large, small]);
    assert!(writer.is_empty());
}

/// Ten thousand lives, as after ten thousand restarts, in one frame; and what did not fit leaves no trace.
#[test]
fn large_tables() {
    let vector = |lives: std::ops::Range<u64>| {
        Arc::new(VersionVector::from_entries(lives.map(|n| (Incarnation(n << 40), n + 1))))
    };
    let pull = |lives| message(Body::Pull { id: 1, vector: vector(lives) });
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

#[test]
fn the_greatest_operation_that_a_client_can_make_fits() {
    let op = message(Body::Push { op: put(2, "x", &vec![b'1'; 8 << 20]), made: Time(0) });
    assert_eq!(read_messages(&written(std::slice::from_ref(&op))), vec![op]);
}

#[test]
fn an_operation_is_encoded_once_for_all_peers() {
    let mut memo = OpMemo::new();
    let mut writers: Vec<FrameWriter> = (0..5).map(|_| FrameWriter::new(HERE, here())).collect();
    // The peers' frames have different tables: each has heard of another life first.
    for (at, writer) in writers.iter_mut().enumerate() {
        let vector = Arc::new(VersionVector::from_entries((0..at as u64).map(|n| (Incarnation(n + 1), 1))));
        writer.push(&message(Body::Pull { id: 1, vector }), &mut memo).expect("fits");
    }
    for counter in 2..50 {
        let push = message(Body::Push { op: put(counter, "key", b"12345"), made: Time(counter) });
        writers.iter_mut().for_each(|writer| writer.push(&push, &mut memo).expect("fits"));
        for writer in &mut writers {
            let mut bytes = Vec::new();
            writer.take(&mut bytes);
            assert_eq!(read_messages(&bytes).last(), Some(&push));
        }
    }
    assert_eq!(memo.encoded(), 48);
    // Another operation at the same place in memory is another operation.
    for counter in 2..600 {
        let push = message(Body::Push { op: put(counter, "k", &[b'1'; 9]), made: Time(0) });
        let mut bytes = Vec::new();
        writers[0].push(&push, &mut memo).expect("fits");
        writers[0].take(&mut bytes);
        assert_eq!(read_messages(&bytes), vec![push]);
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
                    key: Key::new(&key).expect("a key"),
                    effect: Effect::Put(Value::new(&value)),
                    superseded,
                    deps,
                };
                message(Body::Push { op: Arc::new(op), made: Time(3_600_000_000 + 100 * n) })
            })
            .collect();
        (written(&messages).len() - data) as f64 / batch as f64
    };
    let [one, eight, many] = [1, 8, 64].map(overhead);
    println!("bytes of overhead per pushed operation: {one:.1} alone, {eight:.1} in 8, {many:.1} in 64");
    assert!(one < 96.0 && eight < 26.0 && many < 18.0, "{one} {eight} {many}");
}
