//! Every seed of the fuzz targets of this crate, run as a test.

use std::fs;
use std::path::PathBuf;

use kaphila_media::{play, sdp};

#[test]
fn of_sdp() {
    run("sdp", sdp::fuzz_sdp);
}

#[test]
fn of_wav() {
    run("wav", play::fuzz_wav);
}

fn run(target: &str, body: impl Fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let seeds = fs::read_dir(folder.join(target)).unwrap();
    let seeds: Vec<_> = seeds.map(|seed| fs::read(seed.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| body(seed));
}
