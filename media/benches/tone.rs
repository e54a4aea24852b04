//! The keys' tones alone: how many calls' worth of real time one core carries.
//!
//! One iteration is one frame of 20 ms, so a core carries 20 ms ÷ time calls at once.
#![allow(missing_docs, reason = "criterion's macro makes the function")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kaphila_media::dtmf::tone::{Detector, sample};

fn tone(criterion: &mut Criterion) {
    let noise: Vec<i16> = (0..8000).map(|n| (n * 7_919 % 20_000) as i16 - 10_000).collect();
    let mut keys = vec![0; 8000];
    for (code, second) in (0..).zip(keys.chunks_mut(1600)) {
        for (at, place) in (0..800).zip(second) {
            *place = sample(code, at, 800);
        }
    }
    let mut group = criterion.benchmark_group("tone");
    group.throughput(Throughput::Elements(1));
    for (name, audio) in [("noise, a frame of 20 ms", noise), ("keys, a frame of 20 ms", keys)] {
        group.bench_function(name, |bencher| {
            let mut detector = Detector::default();
            let mut frames = audio.chunks_exact(160).cycle();
            bencher.iter(|| {
                let frame = frames.next().unwrap_or_default();
                detector.push(black_box(frame), |heard| {
                    black_box(heard);
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, tone);
criterion_main!(benches);
