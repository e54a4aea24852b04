//! Each seed of the fuzz target, a past finding or a shape worth starting from, run once more.

use std::path::Path;

#[test]
fn sip_wire() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/sip_wire");
    let mut run = 0;
    for entry in std::fs::read_dir(seeds).expect("fuzz/seeds/sip_wire is part of the repository") {
        kaphila_sip::wire::fuzz_wire(&std::fs::read(entry.unwrap().path()).unwrap());
        run += 1;
    }
    assert!(run > 0);
}
