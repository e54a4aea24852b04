//! Keys heard as tones in the audio (ITU-T Q.23, Q.24).
//!
//! It knows samples of 8 kHz and when a row and a column of the keypad sound together long enough,
//! pure enough and at the right pitch to be a finger. It refuses to know RTP, and other ways in.
//! Start at [`Detector::push`].
//!
//! ```text
//!  samples ─► correlator ─1 ms─► window of 16 ms ─► trail of the last 64 ms ─► press
//!              8 waves            strongest row and column     long? pure? in tune?
//! ```
//!
//! A tone's length is the time in which the window's amplitude is over half of its peak: exact to
//! a step, whatever the level. Its pitch is how far its phase turns in 8 ms, which tells ±1.5 %
//! from ±3.5 % in a tone of 40 ms.
#![warn(clippy::indexing_slicing)]

mod correlate;
mod generate;
mod trail;

use correlate::{Correlator, PIECE, Phasors, Piece, RATE};
pub use generate::sample;
use trail::{Moment, Pair, Press, Tone, Trail};

/// Samples of a step: 2 ms of 8 kHz.
const STEP: usize = 16;
/// Steps of a window: 16 ms.
const WINDOW: usize = 8;
/// Pieces of a step and of a window.
const STEP_PIECES: usize = STEP / PIECE;
const PIECES: usize = WINDOW * STEP_PIECES;
/// The weights of a window's pieces: Hamming's window, 1 − [`TAPER`] · cos. With equal ones a
/// twelfth of a tone's amplitude is in the other's, which may be 8 dB weaker.
const WEIGHTS: [f32; PIECES] = [
    0.164_516, 0.291_711, 0.526_736, 0.833_812, 1.166_188, 1.473_264, 1.708_289, 1.835_484,
    1.835_484, 1.708_289, 1.473_264, 1.166_188, 0.833_812, 0.526_736, 0.291_711, 0.164_516,
];
/// 0.46 ÷ 0.54.
const TAPER: f32 = 0.852;
/// Steps over which the turn of a phase is measured: 8 ms, unambiguous up to ±62 Hz.
const LAG: usize = 4;
/// Milliseconds of a step.
const STEP_MS: u64 = 1000 * STEP as u64 / RATE as u64;
/// Milliseconds by which a window's amplitude follows the sound: half of it.
const BEHIND_MS: u64 = WINDOW as u64 * STEP_MS / 2;

/// Steps of silence that let a key go: 24 ms, between a lost packet and the shortest pause.
const RELEASE: u32 = 12;
/// Steps of other sound that let it go: 60 ms.
const DROWNED: u32 = 30;
/// Steps after a release in which the same key, [`ECHO`] times weaker, is its echo: 100 ms.
const ECHO_STEPS: u64 = 50;
/// 12 dB.
const ECHO: f32 = 16.0;

/// The mean square of a sine of 0 dBm0: full scale is 3.17 dBm0 (ITU-T G.711 §2, G.100.1).
const DBM0: f32 = 32768.0 * 32768.0 / 2.0 / 2.075;
/// The least power of a tone that is looked at: −40 dBm0.
const FAINTEST: f32 = DBM0 * 1e-4;

/// The part of a window's power that its strongest row and column make at least, to be looked at.
/// A tone 1.5 % beside its frequency loses a fifth in the window.
const ROUGHLY: f32 = 0.3;
/// How many times stronger than the other one of them may be.
const ONE_SIDED: f32 = 25.0;

/// What a [`Detector`] hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A key is down for sure.
    Pressed {
        /// The key.
        digit: char,
        /// When its tone began, in ms since the detector's first sample.
        start_ms: u64,
        /// How long it has sounded by now, in ms.
        duration_ms: u32,
    },
    /// It was let go.
    Released {
        /// The key.
        digit: char,
        /// When its tone ended, in ms since the detector's first sample.
        end_ms: u64,
    },
}

/// A key that is down.
#[derive(Clone, Copy, Debug)]
struct Down {
    pair: Pair,
    /// Power of its row and of its column at their strongest.
    peak: (f32, f32),
    /// Steps of silence since it sounded, and of other sound.
    silent: u32,
    drowned: u32,
}

impl Down {
    /// Takes the next moment in. True where the key is let go with it.
    fn handle_moment(&mut self, moment: &Moment) -> bool {
        if moment.pair == Some(self.pair) && moment.sounds(self.peak) {
            (self.silent, self.drowned) = (0, 0);
            // Follows a tone that fades, as one does through a microphone.
            let follow = |peak: f32, now: f32| now.max(peak * 0.99);
            let (row, column) = (moment.row.power, moment.column.power);
            self.peak = (follow(self.peak.0, row), follow(self.peak.1, column));
        } else if moment.is_quiet(self.peak) {
            self.silent += 1;
        } else {
            self.drowned += 1;
        }
        self.silent >= RELEASE || self.silent + self.drowned >= DROWNED
    }
}

/// The key that was let go last.
#[derive(Clone, Copy, Debug)]
struct Last {
    pair: Pair,
    peak: (f32, f32),
    /// The step at which it was.
    at: u64,
}

impl Last {
    /// Whether a press at step `now` is this key, thrown back by the line.
    fn is_echoed(&self, press: &Press, now: u64) -> bool {
        press.pair == self.pair
            && now.saturating_sub(self.at) < ECHO_STEPS
            && (press.peak.0 + press.peak.1) * ECHO < self.peak.0 + self.peak.1
    }
}

/// What sounds, made into presses.
#[derive(Clone, Debug, Default)]
struct Keys {
    trail: Trail,
    down: Option<Down>,
    last: Option<Last>,
    steps: u64,
}

/// Hears the keys in one stream of audio. It allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Detector {
    correlator: Correlator,
    ring: Ring,
    keys: Keys,
}

/// The pieces of the window, and the windows of the last 8 ms.
#[derive(Clone, Debug, Default)]
struct Ring {
    pieces: [Piece; PIECES],
    windows: [Phasors; LAG],
    at: usize,
}

impl Ring {
    /// A piece more. Where it ends a step: the window that ends with it, and the one 8 ms before.
    fn push(&mut self, piece: Piece) -> Option<(Piece, Phasors)> {
        if let Some(place) = self.pieces.get_mut(self.at) {
            *place = piece;
        }
        self.at = (self.at + 1) % PIECES;
        if !self.at.is_multiple_of(STEP_PIECES) {
            return None;
        }
        let (new, old) = self.pieces.split_at_checked(self.at)?;
        let mut window = Piece::default();
        for (piece, weight) in old.iter().chain(new).zip(WEIGHTS) {
            window.add(piece, weight);
        }
        let place = self.windows.get_mut(self.at / STEP_PIECES % LAG)?;
        let before = std::mem::replace(place, window.tones);
        Some((window, before))
    }
}

impl Detector {
    /// The key that is down.
    pub fn down(&self) -> Option<char> {
        self.keys.down.and_then(|down| down.pair.digit())
    }

    /// Adds audio; `heard` gets what it tells, in its order.
    pub fn push(&mut self, audio: &[i16], mut heard: impl FnMut(Heard)) {
        let Self { correlator, ring, keys } = self;
        correlator.push(audio, |piece| {
            if let Some((window, before)) = ring.push(piece) {
                keys.handle_moment(look(&window, &before), &mut heard);
            }
        });
    }
}

impl Keys {
    fn handle_moment(&mut self, moment: Moment, heard: &mut impl FnMut(Heard)) {
        self.steps += 1;
        self.trail.push(moment);
        if let Some(down) = &mut self.down
            && down.handle_moment(&moment)
        {
            let quiet = u64::from(down.silent + down.drowned);
            self.release(quiet, heard);
        }
        let Some(press) = moment.pair.and_then(|_| self.trail.press()) else { return };
        let is_known = self.down.is_some_and(|down| down.pair == press.pair)
            || self.last.is_some_and(|last| last.is_echoed(&press, self.steps));
        if !is_known {
            self.release(press.steps as u64, heard);
            self.press(press, heard);
        }
    }

    /// Tells that the key which is down was let go `steps` ago.
    fn release(&mut self, steps: u64, heard: &mut impl FnMut(Heard)) {
        let Some(Down { pair, peak, .. }) = self.down.take() else { return };
        self.last = Some(Last { pair, peak, at: self.steps });
        if let Some(digit) = pair.digit() {
            heard(Heard::Released { digit, end_ms: self.ms_ago(steps) });
        }
    }

    fn press(&mut self, Press { pair, peak, steps }: Press, heard: &mut impl FnMut(Heard)) {
        self.down = Some(Down { pair, peak, silent: 0, drowned: 0 });
        if let Some(digit) = pair.digit() {
            let duration_ms = steps as u32 * STEP_MS as u32;
            heard(Heard::Pressed { digit, start_ms: self.ms_ago(steps as u64), duration_ms });
        }
    }

    /// When the sound was that the window held `steps` ago, in ms of the stream.
    fn ms_ago(&self, steps: u64) -> u64 {
        (self.steps.saturating_sub(steps) * STEP_MS).saturating_sub(BEHIND_MS)
    }
}

/// The strongest row and column of a window.
fn look(window: &Piece, before: &Phasors) -> Moment {
    let samples = (WINDOW * STEP) as f32;
    let energy = window.energy / samples;
    let below = (window.whole / samples - energy).max(0.0);
    let nothing = Moment { energy, below, ..Moment::default() };
    if energy < FAINTEST {
        return nothing;
    }
    let power = |phasors: &Phasors, at: usize| {
        let (re, im) = phasors.at(at);
        2.0 * (re * re + im * im) / (samples * samples)
    };
    let strongest = |range: std::ops::Range<usize>| {
        range
            .map(|at| (at, power(&window.tones, at)))
            .fold((0, 0.0), |best, one| if one.1 > best.1 { one } else { best })
    };
    let ((row, row_power), (column, column_power)) = (strongest(0..4), strongest(4..8));
    let is_worth = row_power.min(column_power) >= FAINTEST
        && row_power + column_power >= ROUGHLY * energy
        && row_power <= ONE_SIDED * column_power
        && column_power <= ONE_SIDED * row_power;
    if !is_worth {
        return nothing;
    }
    let tone = |at: usize, now: f32| {
        let (re, im) = window.tones.turned(before, at);
        let scale = 2.0 / (samples * samples);
        let turn_length = (now * power(before, at)).sqrt();
        Tone { power: now, turn: (re * scale, im * scale), turn_length }
    };
    Moment {
        pair: Some(Pair { row, column }),
        row: tone(row, row_power),
        column: tone(column, column_power),
        ..nothing
    }
}

#[cfg(test)]
mod tests;
