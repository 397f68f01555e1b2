//! Bytes from a peer: nothing panics, and what is read can be written again.

#![no_main]

use hence_core::{Address, Body, ClusterTag, Incarnation, Message};
use hence_transport::codec::{FrameReader, FrameWriter, HEAD_BYTES, OpMemo};
use std::sync::LazyLock;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    // No fuzzer guesses a checksum.
    read(&framed(bytes));
});

fn read(bytes: &[u8]) {
    let mut reader = FrameReader::new(ClusterTag::of("hence"));
    reader.feed(bytes);
    while let Ok(Some(frame)) = reader.next_frame() {
        let (mut writer, mut memo) = (FrameWriter::new(ClusterTag::of("hence"), frame.from), OpMemo::new());
        for message in &frame.messages {
            writer.push(message, &mut memo).expect("it fitted a frame before");
        }
    }
}

/// A frame of ours, whose head is a pattern: two bytes of magic, version, check of the length, cluster, length, checksum.
static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let address = Address::parse("a:1").expect("an address");
    let mut writer = FrameWriter::new(ClusterTag::of("hence"), address);
    let body = Body::Taken { id: 1, frame: 0 };
    let message = Message { from: Incarnation(1), number: 1, echo: 1, sequence: 0, body };
    writer.push(&message, &mut OpMemo::new()).expect("it is small");
    let mut bytes = Vec::new();
    writer.take(&mut bytes);
    bytes
});

fn framed(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    let check = SAMPLE[8..12].iter().chain(&length).fold(SAMPLE[3], |check, byte| check ^ byte);
    let mut bytes = SAMPLE[..HEAD_BYTES].to_vec();
    bytes[3] = check;
    bytes[8..12].copy_from_slice(&length);
    let checksum = crc32fast::hash(&[&bytes[..12], body].concat());
    bytes[12..HEAD_BYTES].copy_from_slice(&checksum.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}
