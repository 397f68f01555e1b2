//! Tokens from clients: nothing panics, and one that is taken means the same after it was given out again.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hence_core::{ClusterTag, Token};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        decode(text);
    }
    // No fuzzer guesses a checksum.
    let checksum = crc32fast::hash(bytes).to_be_bytes();
    decode(&URL_SAFE_NO_PAD.encode([bytes, &checksum].concat()));
});

fn decode(text: &str) {
    let cluster = ClusterTag::of("hence");
    if let Ok(token) = Token::decode(text, cluster, 8 << 10) {
        assert_eq!(token.encode(cluster), text, "a token has one text");
    }
}
