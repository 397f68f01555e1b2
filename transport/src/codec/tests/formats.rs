//! Formats: the golden frames of every released one, and two that talk to each other.

use super::*;
use std::path::PathBuf;

fn golden(format: u8) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/frames/{format}.txt"))
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hexadecimal")).collect()
}

/// One message of each kind that this format has a word for.
fn said_in(format: u8) -> Vec<(&'static str, Message)> {
    let batches = [("push of a batch", push_of(batch())), ("supply of a batch", supply_of(batch()))];
    let new = batches.into_iter().filter(|_| format >= Formats::BATCH);
    one_of_each().into_iter().chain(new).collect()
}

fn push_of(op: Op) -> Message {
    message(Body::Push { op: Arc::new(op), made: Time(2_000_000) })
}

fn supply_of(op: Op) -> Message {
    let content = Content::Ops(vec![put(4, "x", b"1"), Arc::new(op), put(6, "x", b"2")]);
    message(Body::Supply(Box::new(Supply { id: 7, frame: 1, content, last: false })))
}

/// Two puts and a delete.
fn batch() -> Op {
    let change = |key, value: Option<&[u8]>, superseded: &[Dot]| KeyChange {
        key: Key::new(key).expect("a key"),
        value: value.map(Value::new),
        superseded: superseded.iter().copied().collect(),
    };
    let many: Vec<Dot> = (1..=8).map(|counter| dot_of(B, counter)).collect();
    let changes = [change("x", Some(b"1"), &[dot_of(A, 4)]), change("y", None, &many), change("z", Some(b"1"), &[])];
    Op { effect: Effect::Batch(changes.into()), superseded: Dots::new(), ..(*put(5, "x", b"")).clone() }
}

/// The messages of [`said_in`], each in a frame of its own and then all on one connection.
fn written_in(format: u8) -> Vec<(&'static str, String)> {
    let mut frames = Vec::new();
    let writer = || FrameWriter::new(HERE, here()).speaking(format);
    let mut memo = OpMemo::new();
    let mut write = |name: &'static str, writer: &mut FrameWriter, message: &Message| {
        let mut bytes = Vec::new();
        writer.push(message, &mut memo).expect("it fits, and every format has a word for it");
        writer.take(&mut bytes);
        frames.push((name, hex(&bytes)));
    };
    said_in(format).iter().for_each(|&(name, ref message)| write(name, &mut writer(), message));
    let mut one = writer();
    for ((_, message), sequence) in said_in(format).into_iter().zip(0..) {
        write("on one connection", &mut one, &Message { sequence, ..message });
    }
    frames
}

/// Every released format is pinned, for ever: its frames are written as they were, and say what they said.
#[test]
fn golden_frames() {
    for format in Formats::RELEASED.lowest..=Formats::RELEASED.highest {
        let present = written_in(format);
        let text = std::fs::read_to_string(golden(format)).unwrap_or_default();
        let golden: Vec<(&str, String)> =
            text.lines().filter_map(|line| line.split_once(": ")).map(|(name, hex)| (name, hex.into())).collect();
        let lines: String = present.iter().map(|(name, hex)| format!("{name}: {hex}\n")).collect();
        assert_eq!(golden, present, "tests/frames/{format}.txt would be\n{lines}");

        let stated = || FrameReader::new(HERE).speaking(Formats::only(format)).stated(Formats::RELEASED);
        let mut one = stated();
        let messages: Vec<Message> = said_in(format).into_iter().map(|(_, message)| message).collect();
        let numbered = messages.iter().cloned().zip(0..).map(|(message, sequence)| Message { sequence, ..message });
        for (at, ((name, hex), message)) in golden.iter().zip(messages.iter().cloned().chain(numbered)).enumerate() {
            let mut alone = stated();
            let reader = if at < messages.len() { &mut alone } else { &mut one };
            reader.feed(&unhex(hex));
            let frame = reader.next_frame().expect("a frame that was good once").expect("a whole one");
            assert_eq!((frame.from, frame.messages), (here(), vec![message]), "format {format}: {name}");
        }
    }
}

fn erasure() -> Message {
    let key = Key::new("x").expect("a key");
    let op = Op { effect: Effect::Erase { key }, superseded: Dots::new(), ..(*put(4, "x", b"")).clone() };
    message(Body::Push { op: Arc::new(op), made: Time(2_000_000) })
}

fn hello(formats: Formats) -> Message {
    let (sent, wall) = (Time(1), Wall(2));
    let hello = Hello { sent, wall, vector: Arc::new(VersionVector::new()), view: records_of_three(), formats };
    message(Body::Hello(Box::new(hello)))
}

#[test]
fn the_format_for_tests_changes_the_hello_and_adds_a_word() {
    let frames = |format| written_in(format).into_iter();
    let body = |hex: &str| hex[2 * HEAD_BYTES..].to_owned();
    for ((name, old), (_, new)) in frames(VERSION).zip(frames(Formats::TEST)) {
        let same = body(&old) == body(&new);
        assert!(
            same || new.ends_with("0405") && (name == "hello" || name == "on one connection"),
            "{name}\n{old}\n{new}"
        );
        assert_eq!((&old[4..6], &new[4..6]), ("05", "06"), "{name}");
    }
    let mut writer = FrameWriter::new(HERE, here());
    let (needs, speaks) = (Formats::TEST, VERSION);
    assert_eq!(writer.push(&erasure(), &mut OpMemo::new()), Err(Unsaid::Format { needs, speaks }));
    assert!(writer.is_empty());
    let mut writer = writer.speaking(Formats::TEST);
    let mut reader = FrameReader::new(HERE).speaking(Formats::WITH_TEST);
    let said = [hello(Formats::WITH_TEST), erasure(), hello(Formats::only(Formats::TEST))];
    said.iter().for_each(|message| writer.push(message, &mut OpMemo::new()).expect("it has a word for it"));
    assert_eq!(passed(&mut writer, &mut reader), said);
}

#[test]
fn a_connection_is_of_one_format() {
    let (old, new) = ([written(&[hello(Formats::RELEASED)])], [VERSION, Formats::TEST]);
    let [mut first, mut second] = new.map(|format| FrameWriter::new(HERE, here()).speaking(format));
    let mut bytes = Vec::new();
    for writer in [&mut first, &mut second] {
        writer.push(&hello(Formats::RELEASED), &mut OpMemo::new()).expect("it has a word for it");
        writer.take(&mut bytes);
    }
    let mut reader = FrameReader::new(HERE).speaking(Formats::WITH_TEST);
    reader.feed(&bytes);
    assert!(matches!(reader.next_frame(), Ok(Some(_))));
    let ours = Formats::only(VERSION);
    assert_eq!(reader.next_frame(), Err(CodecError::Version { format: Formats::TEST, ours }));
    let mut reader = FrameReader::new(HERE).speaking(Formats::only(Formats::TEST));
    reader.feed(&old[0]);
    assert!(matches!(reader.next_frame(), Err(CodecError::Version { format: VERSION, .. })));
}

#[test]
fn the_formats_in_a_hello_are_some() {
    let mut writer = FrameWriter::new(HERE, here()).speaking(Formats::TEST);
    for (lowest, highest) in [(0, 6), (7, 9), (1, 5), (6, 5)] {
        writer.push(&hello(Formats { lowest, highest }), &mut OpMemo::new()).expect("encoding does not judge");
        let mut bytes = Vec::new();
        writer.take(&mut bytes);
        let mut reader = FrameReader::new(HERE).speaking(Formats::WITH_TEST);
        reader.feed(&bytes);
        let error = reader.next_frame().expect_err("no honest sender says so");
        assert!(matches!(error, CodecError::Body { damage: Damage::Formats, .. }), "{error}");
        writer.clear();
    }
}

/// Changes that no honest replica sends, each beside the batch that it is made of.
#[test]
fn a_batch_is_as_one_is_made() {
    let damage = |change: &dyn Fn(&mut Vec<KeyChange>)| {
        let mut op = batch();
        let Effect::Batch(changes) = &op.effect else { panic!("a batch") };
        let mut changes = changes.to_vec();
        change(&mut changes);
        op.effect = Effect::Batch(changes.into());
        let mut reader = FrameReader::new(HERE);
        reader.feed(&written(&[push_of(op)]));
        match reader.next_frame() {
            Ok(_) => None,
            Err(CodecError::Body { damage, .. }) => Some(damage),
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(damage(&|_| {}), None);
    assert_eq!(damage(&|changes| changes.swap(0, 1)), Some(Damage::Order));
    assert_eq!(damage(&|changes| changes[1] = changes[0].clone()), Some(Damage::Order));
    assert_eq!(damage(&|changes| changes.truncate(1)), Some(Damage::Choice(1)));
    assert_eq!(damage(&|changes| changes.clear()), Some(Damage::Choice(0)));
    let with = |count: u8| {
        move |changes: &mut Vec<KeyChange>| {
            let key = |n| Key::new(&format!("k{n:03}")).expect("a key");
            *changes = (0..count).map(|n| KeyChange { key: key(n), value: None, superseded: Dots::new() }).collect();
        }
    };
    assert_eq!([damage(&with(64)), damage(&with(65))], [None, Some(Damage::Choice(65))]);
    let op = Op { superseded: [dot_of(A, 4)].into_iter().collect(), ..batch() };
    let mut reader = FrameReader::new(HERE);
    reader.feed(&written(&[push_of(op)]));
    assert!(matches!(reader.next_frame(), Err(CodecError::Body { damage: Damage::Choice(_), .. })));
}

#[test]
fn the_first_format_has_no_word_for_a_batch() {
    let old = Formats::RELEASED.lowest;
    let mut writer = FrameWriter::new(HERE, here()).speaking(old);
    let refused = Err(Unsaid::Format { needs: Formats::BATCH, speaks: old });
    assert_eq!(writer.push(&push_of(batch()), &mut OpMemo::new()), refused);
    assert_eq!(writer.push(&supply_of(batch()), &mut OpMemo::new()), refused);
}

/// What waits for a connection when it turns out which format that speaks.
#[test]
fn what_waits_is_written_anew() {
    let (ours, mut memo) = (Formats::WITH_TEST, OpMemo::new());
    let plain = said_in(VERSION).into_iter().filter(|(name, _)| *name != "hello").zip(0..);
    let plain = plain.map(|((_, message), sequence)| Message { sequence, ..message });
    let said: Vec<Message> = [hello(ours)].into_iter().chain(plain).collect();
    for (first, then) in [(VERSION, Formats::TEST), (Formats::TEST, VERSION), (VERSION, VERSION)] {
        let mut writer = FrameWriter::new(HERE, here()).speaking(first);
        said.iter().for_each(|message| writer.push(message, &mut memo).expect("every format has a word for it"));
        assert_eq!(writer.speak(then, ours, &mut memo), 0);
        let mut reader = FrameReader::new(HERE).speaking(Formats::only(then)).stated(ours);
        assert_eq!(passed(&mut writer, &mut reader), said, "{first} then {then}");
    }
    let mut writer = FrameWriter::new(HERE, here()).speaking(Formats::TEST);
    for message in [hello(ours), erasure(), hello(ours)] {
        writer.push(&message, &mut memo).expect("it has a word for it");
    }
    assert_eq!(writer.speak(VERSION, ours, &mut memo), 1, "the erasure is lost");
    let mut bytes = Vec::new();
    assert_eq!(writer.take(&mut bytes).messages, 2);
}
