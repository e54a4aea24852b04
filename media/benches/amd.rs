//! The detector alone: how many calls' worth of real time one core carries.
//!
//! One iteration is one frame of 20 ms, so a core carries 20 ms ÷ time calls at once.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    reason = "criterion's macro makes the function; only the clock makes an Instant"
)]

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kaphila_media::amd::{Detector, Params};

fn amd(criterion: &mut Criterion) {
    let voice: Vec<i16> = (0..160).map(|n| (n * 7_919 % 20_000) as i16 - 10_000).collect();
    let silence = vec![10i16; 160];
    let start = Instant::now();
    let mut group = criterion.benchmark_group("amd");
    group.throughput(Throughput::Elements(1));
    group.bench_function("classic, a frame of 20 ms", |bencher| {
        let mut detector = Detector::new(start, Params::default());
        let mut frames = 0;
        bencher.iter(|| {
            // Ever a new call: 400 ms of voice, then silence, and after 5 s the next.
            frames = (frames + 1) % 250;
            if frames == 0 {
                detector = Detector::new(start, Params::default());
            }
            let frame = if frames < 20 { &voice } else { &silence };
            black_box(detector.handle_frame(black_box(frame)))
        });
    });
    group.finish();
}

criterion_group!(benches, amd);
criterion_main!(benches);
