//! The product cannot name a mutant: none of the planted bugs of the simulator occurs in the binary of the server.

/// The names as the simulator's source lists them, so that the server's tests need not build the simulator.
fn names() -> Vec<&'static str> {
    let sources = [include_str!("../sim/src/mutants/mod.rs"), include_str!("../sim/src/mutants/harness.rs")];
    let quoted = |line: &'static str| line.split('"').nth(1);
    let is_name =
        |name: &&str| name.contains('-') && name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase());
    sources.iter().flat_map(|source| source.lines()).filter_map(quoted).filter(is_name).collect()
}

#[test]
fn the_product_names_no_mutant() {
    let names = names();
    assert!(names.len() >= 36 && names.contains(&"serve-uncovered") && names.contains(&"no-loss"), "{names:?}");
    let bytes = std::fs::read(env!("CARGO_BIN_EXE_hence")).expect("the binary");
    let occurs = |name: &&&str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    assert!(occurs(&&"hence"), "the binary's text can be searched");
    let named: Vec<_> = names.iter().filter(occurs).collect();
    assert!(named.is_empty(), "{named:?}");
}
