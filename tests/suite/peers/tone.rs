//! Sines: made, and measured in what was heard.

use std::f64::consts::TAU;
use std::path::Path;

/// Samples a second.
pub(super) const RATE: u32 = 8_000;

/// Writes a mono WAV with a sine.
pub(super) fn write(file: &Path, hertz: f64, amplitude: f64, seconds: u32) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(file, spec).unwrap();
    for at in 0..seconds * RATE {
        let phase = TAU * hertz * f64::from(at) / f64::from(RATE);
        writer.write_sample((amplitude * phase.sin()).round() as i16).unwrap();
    }
    writer.finalize().unwrap();
}

/// The samples of a mono WAV of 8 kHz.
pub(super) fn read(bytes: &[u8]) -> Vec<i16> {
    let reader = hound::WavReader::new(bytes).unwrap();
    let spec = reader.spec();
    assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (RATE, 1, 16));
    reader.into_samples::<i16>().map(Result::unwrap).collect()
}

/// The amplitude of the sine of `hertz` in `samples` (Goertzel, Hann window).
pub(super) fn amplitude(samples: &[i16], hertz: f64) -> f64 {
    let (mut one, mut two) = (0.0, 0.0);
    let turn = 2.0 * (TAU * hertz / f64::from(RATE)).cos();
    for (at, sample) in samples.iter().enumerate() {
        let window = 0.5 - 0.5 * (TAU * at as f64 / samples.len() as f64).cos();
        (one, two) = (f64::from(*sample) * window + turn * one - two, one);
    }
    // Half of the energy is at the negative frequency; a Hann window's mean is one half.
    let power = one * one + two * two - turn * one * two;
    4.0 * power.max(0.0).sqrt() / samples.len() as f64
}

/// The frequency within 10 Hz of `about` at which `samples` are loudest, to a tenth of a hertz.
pub(super) fn frequency(samples: &[i16], about: f64) -> f64 {
    let candidates = (-100..=100).map(|tenth| about + f64::from(tenth) / 10.0);
    candidates.max_by(|a, b| amplitude(samples, *a).total_cmp(&amplitude(samples, *b))).unwrap()
}

/// Decibels from `expected` to `measured`.
pub(super) fn decibels(measured: f64, expected: f64) -> f64 {
    20.0 * (measured / expected).log10()
}

#[test]
fn a_sine_is_measured_as_it_was_made() {
    let file = tempfile::NamedTempFile::new().unwrap();
    write(file.path(), 1_003.3, 5_000.0, 2);
    let samples = read(&std::fs::read(file.path()).unwrap());
    assert!((amplitude(&samples, 1_003.3) - 5_000.0).abs() < 10.0);
    assert!((frequency(&samples, 1_000.0) - 1_003.3).abs() < 0.11);
    assert!(amplitude(&samples, 440.0) < 1.0);
}
