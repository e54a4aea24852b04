//! What the fuzzer found worth keeping, and a few thousand inputs of its kind.

use std::time::Instant;

use kaphila_media::session::fuzz_rtp;

use crate::session_support::Random;

#[test]
fn the_seeds_of_the_fuzzer_pass() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/rtp");
    let Ok(entries) = std::fs::read_dir(seeds) else { return };
    let mut count = 0;
    for entry in entries {
        fuzz_rtp(Instant::now(), &std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "{seeds} is empty");
}

#[test]
fn random_inputs_pass() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let len = random.below(2000);
        let mut data: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        // Make some of it look like packets.
        for at in (0..data.len().saturating_sub(40)).step_by(40) {
            data[at] &= 0x0f;
            data[at + 1] = 30;
            data[at + 2] = 0x80;
            data[at + 3] = [0, 8, 101, 200][random.below(4) as usize];
        }
        fuzz_rtp(Instant::now(), &data);
    }
}
