//! The tone of a key (ITU-T Q.23), as we send it.

use std::f64::consts::TAU;

use super::correlate::FREQUENCIES;

/// Amplitude of the row, −10 dBm0, and of the column, −8 dBm0: a line takes more of high tones
/// (ETSI ES 201 235-2 §4.2 has 2 dB between them).
const ROW: f64 = 7_194.0;
const COLUMN: f64 = 9_056.0;

/// Samples a second.
const RATE: f64 = 8000.0;

/// Samples at both ends in which the tone comes and goes, against clicks: 2 ms.
const EDGE: f64 = 16.0;

/// Rows and columns of the event codes 0–15 (RFC 4733 §3.2): places in [`FREQUENCIES`].
const PLACES: [(usize, usize); 16] = [
    (3, 5),
    (0, 4),
    (0, 5),
    (0, 6),
    (1, 4),
    (1, 5),
    (1, 6),
    (2, 4),
    (2, 5),
    (2, 6),
    (3, 4),
    (3, 6),
    (0, 7),
    (1, 7),
    (2, 7),
    (3, 7),
];

/// Sample `at` of the tone of an event code, `length` samples long. Silent for what is no key.
pub fn sample(code: u8, at: u32, length: u32) -> i16 {
    let Some(&(row, column)) = PLACES.get(usize::from(code)) else { return 0 };
    let wave = |place: usize, amplitude: f64| {
        let hertz = f64::from(FREQUENCIES.get(place).copied().unwrap_or(0.0));
        amplitude * (TAU * hertz * f64::from(at) / RATE).sin()
    };
    let (from, to) = (f64::from(at) + 0.5, f64::from(length.saturating_sub(at)) - 0.5);
    let edge = (from.min(to) / EDGE).clamp(0.0, 1.0);
    ((wave(row, ROW) + wave(column, COLUMN)) * edge).round() as i16
}
