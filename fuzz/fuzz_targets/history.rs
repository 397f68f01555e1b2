//! Files of histories in every format that is read: a history that is read can be written, and nothing panics.

#![no_main]

use hence_checker::format::{self, Format};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for asked in [None, Some(Format::Json), Some(Format::Plume), Some(Format::Edn)] {
        if let Ok(history) = format::read(bytes, asked) {
            format::write(&history, Format::Json, &mut Vec::new()).expect("JSON has words for all");
        }
    }
});
