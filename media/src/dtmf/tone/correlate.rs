//! How much of each of the eight frequencies is in 1 ms of audio, and what else is there.
//!
//! It knows samples and the frequencies of the keypad. It refuses to know what a key press is.
//! Start at [`Correlator::push`].
//!
//! The dial tones of most countries lie below 490 Hz and may stay while a key is pressed: a
//! high-pass takes them away first, and what it took is counted by itself.
#![warn(clippy::indexing_slicing)]

use std::array::from_fn;
use std::f32::consts::TAU;
use std::sync::LazyLock;

/// Samples of a piece: 1 ms of 8 kHz. A window whose weights go by pieces of 2 ms would hear tones
/// 440 Hz apart in each other's place.
pub(super) const PIECE: usize = 8;

/// Samples a second.
pub(super) const RATE: f32 = 8000.0;

/// Rows and columns of the keypad in Hz (ITU-T Q.23 §6).
pub(super) const FREQUENCIES: [f32; 8] =
    [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];

/// Pieces after which each frequency, a whole number of Hz, is where it began: one second.
const PERIOD: u32 = 1000;

/// A complex number for each frequency; first all real parts, so that they are counted together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phasors {
    pub(super) re: [f32; 8],
    pub(super) im: [f32; 8],
}

impl Phasors {
    /// Adds those of another stretch, `weight` times.
    fn add(&mut self, other: &Self, weight: f32) {
        self.re.iter_mut().zip(other.re).for_each(|(sum, part)| *sum += weight * part);
        self.im.iter_mut().zip(other.im).for_each(|(sum, part)| *sum += weight * part);
    }

    /// The product with the conjugate of `before`, at one frequency: its angle is how far the
    /// phase has gone on.
    pub(super) fn turned(&self, before: &Self, at: usize) -> (f32, f32) {
        let (re, im) = self.at(at);
        let (re_before, im_before) = before.at(at);
        (re * re_before + im * im_before, im * re_before - re * im_before)
    }

    /// Both parts at one frequency.
    pub(super) fn at(&self, at: usize) -> (f32, f32) {
        let part = |parts: &[f32; 8]| parts.get(at).copied().unwrap_or(0.0);
        (part(&self.re), part(&self.im))
    }

    /// The product with `other`, a frequency each.
    fn times(&self, other: &Self) -> Self {
        let one = |i: usize| {
            let ((a, b), (c, d)) = (self.at(i), other.at(i));
            (a * c - b * d, a * d + b * c)
        };
        Self { re: from_fn(|i| one(i).0), im: from_fn(|i| one(i).1) }
    }
}

/// What 1 ms of audio holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece {
    /// The correlation with each frequency, all of one phase over time.
    pub(super) tones: Phasors,
    /// Sum of the squares above the dial tones.
    pub(super) energy: f32,
    /// The same before the high-pass.
    pub(super) whole: f32,
}

impl Piece {
    /// Adds another, `weight` times.
    pub(super) fn add(&mut self, other: &Self, weight: f32) {
        self.tones.add(&other.tones, weight);
        self.energy += weight * other.energy;
        self.whole += weight * other.whole;
    }
}

/// One period of each frequency's wave over a piece, and how far it turns within one.
struct Waves {
    samples: [Phasors; PIECE],
    turn: Phasors,
}

static WAVES: LazyLock<Waves> = LazyLock::new(|| {
    let at = |n: usize| Phasors {
        re: FREQUENCIES.map(|f| (TAU * f * n as f32 / RATE).cos()),
        im: FREQUENCIES.map(|f| -(TAU * f * n as f32 / RATE).sin()),
    };
    Waves { samples: from_fn(at), turn: at(PIECE) }
});

/// A section of the high-pass: b0, b1, b2, a1, a2.
type Section = [f32; 5];

/// Elliptic, fourth order, 0.5 dB above 640 Hz, 30 dB below 490 Hz.
const HIGH_PASS: [Section; 2] = [
    [0.556_345_74, -1.095_691_5, 0.556_345_74, -1.104_712_2, 0.419_691_8],
    [1.0, -1.869_092_4, 1.0, -1.680_934_3, 0.904_358_5],
];

/// Cuts audio into pieces and measures each.
#[derive(Clone, Debug)]
pub(super) struct Correlator {
    waves: &'static Waves,
    delays: [[f32; 2]; 2],
    /// The piece under way, and its samples so far.
    sums: Piece,
    len: usize,
    /// How far each frequency has turned at the beginning of the piece, and pieces in this period.
    turned: Phasors,
    pieces: u32,
}

impl std::fmt::Debug for Waves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waves")
    }
}

/// No turn yet.
const UNTURNED: Phasors = Phasors { re: [1.0; 8], im: [0.0; 8] };

impl Default for Correlator {
    fn default() -> Self {
        Self {
            waves: LazyLock::force(&WAVES),
            delays: [[0.0; 2]; 2],
            sums: Piece::default(),
            len: 0,
            turned: UNTURNED,
            pieces: 0,
        }
    }
}

impl Correlator {
    /// Adds audio; `each` gets the pieces that are complete.
    pub(super) fn push(&mut self, audio: &[i16], mut each: impl FnMut(Piece)) {
        let mut rest = audio;
        while let Some((part, after)) = rest.split_at_checked(PIECE - self.len) {
            self.gather(part);
            each(self.finish());
            rest = after;
        }
        self.gather(rest);
    }

    fn gather(&mut self, part: &[i16]) {
        let waves = self.waves.samples.get(self.len..).unwrap_or_default();
        let mut sums = self.sums;
        for (sample, wave) in part.iter().zip(waves) {
            let sample = f32::from(*sample);
            sums.whole += sample * sample;
            let high = self.pass(sample);
            sums.energy += high * high;
            sums.tones.re.iter_mut().zip(wave.re).for_each(|(sum, wave)| *sum += high * wave);
            sums.tones.im.iter_mut().zip(wave.im).for_each(|(sum, wave)| *sum += high * wave);
        }
        self.sums = sums;
        self.len += part.len();
    }

    fn finish(&mut self) -> Piece {
        let mut piece = std::mem::take(&mut self.sums);
        piece.tones = piece.tones.times(&self.turned);
        self.len = 0;
        self.pieces = (self.pieces + 1) % PERIOD;
        // Rounding never adds up: after a second all begins exactly anew.
        self.turned = match self.pieces {
            0 => UNTURNED,
            _ => self.turned.times(&self.waves.turn),
        };
        piece
    }

    /// The high-pass, in transposed direct form II. The tiny offset keeps its tail in silence
    /// from becoming subnormal, which is slow.
    fn pass(&mut self, sample: f32) -> f32 {
        let mut value = sample + 1e-9;
        for ([b0, b1, b2, a1, a2], [first, second]) in
            HIGH_PASS.into_iter().zip(self.delays.iter_mut())
        {
            let out = b0 * value + *first;
            *first = b1 * value - a1 * out + *second;
            *second = b2 * value - a2 * out;
            value = out;
        }
        value
    }
}
