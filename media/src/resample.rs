//! Audio of any rate → 8 kHz, for sound files: a whole file at a time, its length and place kept.
//!
//! It knows rubato's FFT resampler and how to take its delay away. It refuses to know where samples
//! come from. Start at [`To8k`].
#![warn(clippy::indexing_slicing)]

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler};

/// The rate of everything inside Kaphila's media plane, in Hz.
pub const RATE: u32 = 8_000;

/// The rates that can be brought to 8 kHz.
pub const RATES: std::ops::RangeInclusive<u32> = 1_000..=192_000;

/// The filter's length as a part of a second: longer is steeper. With 1/20 s a tone loses 0.15 dB at
/// 3.8 kHz, and of one above 4 kHz nothing is left in 16 bits (measured from 16, 44.1 and 48 kHz).
const FILTERS_PER_SECOND: u32 = 20;

/// Brings one file's samples to 8 kHz and 16 bits: `push` as they come, then `finish`.
pub struct To8k {
    /// `None`: they are at 8 kHz already.
    filter: Option<Filter>,
    rate: u32,
    taken: u64,
    output: Vec<i16>,
}

struct Filter {
    fft: Fft<f32>,
    /// Input that does not fill a chunk yet.
    input: Vec<f32>,
    chunk: Vec<f32>,
}

impl To8k {
    /// A converter from `rate`, in Hz; `None` where it is not one of [`RATES`].
    pub fn new(rate: u32) -> Option<Self> {
        if !RATES.contains(&rate) {
            return None;
        }
        let filter = match rate {
            RATE => None,
            _ => Some(Filter::new(rate)?),
        };
        Some(Self { filter, rate, taken: 0, output: Vec::new() })
    }

    /// Takes samples on the scale of 16 bits (±32768).
    pub fn push(&mut self, samples: &[f32]) {
        self.taken += samples.len() as u64;
        match &mut self.filter {
            None => self.output.extend(samples.iter().copied().map(to_i16)),
            Some(filter) => filter.push(samples, &mut self.output),
        }
    }

    /// How many samples it has taken so far are at 8 kHz.
    pub fn len(&self) -> usize {
        let rate = u64::from(self.rate);
        let exact = (self.taken * u64::from(RATE) + rate / 2) / rate;
        usize::try_from(exact).unwrap_or(usize::MAX)
    }

    /// Whether it has taken nothing.
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// The whole at 8 kHz, as long as what went in.
    pub fn finish(mut self) -> Vec<i16> {
        let length = self.len();
        if let Some(filter) = &mut self.filter {
            let delay = filter.fft.output_delay();
            while self.output.len() < delay + length {
                let missing = filter.fft.input_frames_next() - filter.input.len();
                filter.push(&vec![0.0; missing], &mut self.output);
            }
            self.output.drain(..delay);
        }
        self.output.truncate(length);
        self.output
    }
}

impl Filter {
    fn new(rate: u32) -> Option<Self> {
        let (from, to) = (rate as usize, RATE as usize);
        let chunk = (rate / FILTERS_PER_SECOND) as usize;
        let fft = Fft::new(from, to, chunk, 1, FixedSync::Both).ok()?;
        let chunk = vec![0.0; fft.output_frames_max()];
        Some(Self { fft, input: Vec::new(), chunk })
    }

    fn push(&mut self, samples: &[f32], output: &mut Vec<i16>) {
        self.input.extend_from_slice(samples);
        let needed = self.fft.input_frames_next();
        let whole = self.input.len() / needed * needed;
        for input in self.input.chunks_exact(needed) {
            let frames = self.chunk.len();
            let (Ok(input), Ok(mut chunk)) = (
                SequentialSlice::new(input, 1, needed),
                SequentialSlice::new_mut(&mut self.chunk, 1, frames),
            ) else {
                continue;
            };
            // Both are as large as it asks for, so it does not fail; were it to, the part is dropped.
            let done = self.fft.process_into_buffer(&input, &mut chunk, None);
            let written = done.map_or(0, |(_, written)| written);
            output.extend(self.chunk.iter().take(written).copied().map(to_i16));
        }
        self.input.drain(..whole);
    }
}

fn to_i16(sample: f32) -> i16 {
    // `as` saturates, and takes NaN as 0.
    sample.round() as i16
}
