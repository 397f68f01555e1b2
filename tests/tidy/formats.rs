//! Formats of the protocol that were released stay as they are: their golden frames are on disk, and none is changed.
//!
//! The tests of the codec write and read these frames (`golden_frames`), so a change of a layout fails there. To make a
//! format for it, raise `Formats::RELEASED.highest`, add the file of that number, and its line here.

use super::root;
use hence_core::Formats;
use std::collections::BTreeMap;
use std::fs;

/// Each released format with the CRC-32 of the bytes of its golden frames. Their names in the file may change.
const FROZEN: &[(u8, u32)] = &[(4, 0x18f5_d72e), (5, 0x9c95_438e)];

#[test]
fn released_formats_are_frozen() {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root().join("tests/frames")).expect("the golden frames") {
        let path = entry.expect("an entry").path();
        let format: u8 =
            path.file_stem().and_then(|name| name.to_str()?.parse().ok()).expect("a file is named as its format");
        let text = fs::read_to_string(&path).expect("golden frames");
        let frames: String =
            text.lines().map(|line| line.split_once(": ").expect("a name and a frame").1.to_owned() + "\n").collect();
        found.insert(format, crc32fast::hash(frames.as_bytes()));
    }
    let frozen: BTreeMap<u8, u32> = FROZEN.iter().copied().collect();
    let released: Vec<u8> = (Formats::RELEASED.lowest..=Formats::RELEASED.highest).collect();
    assert_eq!(
        found.keys().copied().collect::<Vec<_>>(),
        released,
        "each released format has golden frames, and no other"
    );
    assert_eq!(
        found, frozen,
        "golden frames of a released format were changed, or those of a new one are not listed here"
    );
}
