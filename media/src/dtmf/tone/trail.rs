//! Whether what sounded in the last 64 ms is a key: long, pure and in tune.
//!
//! It knows the strongest row and column of each moment and their powers. It refuses to know
//! samples and what was told before. Start at [`Trail::press`].
#![warn(clippy::indexing_slicing)]

use std::f32::consts::{PI, TAU};
use std::ops::RangeInclusive;

use super::correlate::{FREQUENCIES, RATE};
use super::{LAG, STEP, TAPER, WINDOW};

/// Moments that are remembered.
const LENGTH: usize = 32;

/// Steps a tone sounds at least: 32 ms, between 23 (must not) and 40 (must).
const SHORTEST: usize = 16;
/// Steps after which more noise is let be: 46 ms.
const LONG: usize = 23;

/// Steps for which a tone may break off (ITU-T Q.24: 10 ms) and one for where they begin.
const BREAK: usize = 6;

/// The part of the power, dial tones apart, that both tones make at least.
const PURE: f32 = 0.89;
/// The same of a long tone.
const PURE_WHEN_LONG: f32 = 0.84;

/// How far a tone may be from its frequency: between 1.5 % (must) and 3.5 % (must not).
const TUNING: f32 = 0.018;
/// How evenly a phase turns at least; 1 is a sine without noise.
const STEADY: f32 = 0.97;

/// A tone's amplitude 8 ms ago over the present, where its turn counts: a window in which it begins
/// or ends has its middle elsewhere. And the part of its power that must lie in such windows.
const LEVEL: RangeInclusive<f32> = 0.85..=1.18;
const LEVEL_PART: f32 = 0.25;

/// The column's power over the row's, at most and at least: 4 dB over and 8 dB under, and 2.
const TWIST: (f32, f32) = (0.1, 4.0);

/// How much power below the keys' frequencies counts as such: dial tones may be as loud as the
/// keys, a voice is louder.
const BELOW: f32 = 0.1;

/// Where the pair 700 and 1500 Hz of signalling system R1 (ITU-T Q.322) is found, beside the key 3:
/// its column may be 1.5 % high, 1499.2 Hz.
const R1_ROW: RangeInclusive<f32> = 698.5..=701.5;
const R1_COLUMN: RangeInclusive<f32> = 1499.5..=1503.5;

/// A row and a column: places in [`FREQUENCIES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) row: usize,
    pub(super) column: usize,
}

/// The keypad, in rows.
const KEYPAD: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

impl Pair {
    /// The key.
    pub(super) fn digit(self) -> Option<char> {
        KEYPAD.get(self.row)?.get(self.column.checked_sub(4)?).copied()
    }
}

/// One tone of a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tone {
    /// Mean square within the window.
    pub(super) power: f32,
    /// How its phase turned in the last 8 ms; the length is both powers' mean.
    pub(super) turn: (f32, f32),
    /// That length, had it been a sine without noise.
    pub(super) turn_length: f32,
}

/// What the window holds at one step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moment {
    /// The strongest row and column, where they are worth looking at.
    pub(super) pair: Option<Pair>,
    pub(super) row: Tone,
    pub(super) column: Tone,
    /// Mean square above the dial tones.
    pub(super) energy: f32,
    /// Mean square below.
    pub(super) below: f32,
}

impl Moment {
    /// Both tones have at least half of the amplitude at their peak.
    pub(super) fn sounds(&self, (row, column): (f32, f32)) -> bool {
        self.row.power >= row * 0.25 && self.column.power >= column * 0.25
    }

    /// A quarter of the window and more is silent: none of it holds another sound as loud.
    fn is_weaker(&self, (row, column): (f32, f32)) -> bool {
        self.energy < (row + column) * 0.75
    }

    /// Half of the window and more is silent, by the peaks of what sounded.
    pub(super) fn is_quiet(&self, (row, column): (f32, f32)) -> bool {
        self.energy < (row + column) * 0.5
    }
}

/// A key that is down for sure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Press {
    pub(super) pair: Pair,
    /// Powers at their strongest.
    pub(super) peak: (f32, f32),
    /// For how many steps it has sounded.
    pub(super) steps: usize,
}

/// The last moments.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail {
    moments: [Moment; LENGTH],
    next: usize,
}

impl Trail {
    pub(super) fn push(&mut self, moment: Moment) {
        if let Some(place) = self.moments.get_mut(self.next) {
            *place = moment;
        }
        self.next = (self.next + 1) % LENGTH;
    }

    /// Moments, latest first.
    fn latest(&self) -> impl Iterator<Item = &Moment> + Clone {
        let (new, old) = self.moments.split_at_checked(self.next).unwrap_or_default();
        new.iter().rev().chain(old.iter().rev())
    }

    /// The key that sounds now, if it has for long enough.
    pub(super) fn press(&self) -> Option<Press> {
        let pair = self.latest().next()?.pair?;
        let same = self.latest().take_while(|m| m.pair == Some(pair));
        let peak = same.clone().fold((0.0_f32, 0.0_f32), |(row, column), m| {
            (row.max(m.row.power), column.max(m.column.power))
        });
        let sounding = self.sounding(pair, peak);
        let steps = sounding.clone().last()?.0 + 1;
        let moments = sounding.map(|(_, moment)| moment);
        let long = [(SHORTEST, PURE), (LONG, PURE_WHEN_LONG)];
        let count = moments.clone().count();
        long.into_iter()
            .any(|(least, pure)| count >= least && is_key(pair, moments.clone().take(least), pure))
            .then_some(Press { pair, peak, steps })
    }

    /// The moments in which a pair sounds, latest first, each with its age. Short breaks are left
    /// out.
    fn sounding(
        &self,
        pair: Pair,
        peak: (f32, f32),
    ) -> impl Iterator<Item = (usize, &Moment)> + Clone {
        let mut broken = 0;
        let part = self.latest().enumerate().map_while(move |(age, moment)| {
            if moment.pair == Some(pair) && moment.sounds(peak) {
                broken = 0;
                return Some(Some((age, moment)));
            }
            broken += 1;
            (broken <= BREAK && moment.is_weaker(peak)).then_some(None)
        });
        part.flatten()
    }
}

/// A tone as it was measured.
struct Found {
    hz: f32,
    power: f32,
}

fn seconds(steps: usize) -> f32 {
    (steps * STEP) as f32 / RATE
}

/// Sums over moments.
#[derive(Default)]
struct Sums {
    turn: (f32, f32),
    length: f32,
    power: f32,
}

impl Sums {
    fn add(&mut self, tone: &Tone) {
        self.power += tone.power;
        let level = tone.turn_length / tone.power;
        if LEVEL.contains(&level) {
            self.turn = (self.turn.0 + tone.turn.0, self.turn.1 + tone.turn.1);
            self.length += tone.turn_length;
        }
    }

    /// The tone, if it is steady and near its frequency. What the window took from a tone
    /// beside its frequency is given back.
    fn in_tune(&self, at: usize) -> Option<Found> {
        let frequency = FREQUENCIES.get(at)?;
        let (re, im) = self.turn;
        let off = im.atan2(re) / (TAU * seconds(LAG));
        let is_steady =
            re.hypot(im) >= STEADY * self.length && self.length >= LEVEL_PART * self.power;
        if !is_steady || off.abs() > TUNING * frequency {
            return None;
        }
        let kept = kept(off * seconds(WINDOW));
        Some(Found { hz: frequency + off, power: self.power / (kept * kept) })
    }
}

/// The part of its amplitude that a tone keeps, which turns so often in a window against its
/// frequency's.
fn kept(turns: f32) -> f32 {
    let sinc = if turns.abs() < 1e-3 { 1.0 } else { (PI * turns).sin() / (PI * turns) };
    sinc * (1.0 + TAPER * turns * turns / (1.0 - turns * turns))
}

/// Whether these moments of a pair are one key.
fn is_key<'a>(pair: Pair, moments: impl Iterator<Item = &'a Moment>, pure: f32) -> bool {
    let (mut row, mut column, mut energy, mut below) = (Sums::default(), Sums::default(), 0.0, 0.0);
    for moment in moments {
        row.add(&moment.row);
        column.add(&moment.column);
        energy += moment.energy;
        below += moment.below;
    }
    let (Some(row), Some(column)) = (row.in_tune(pair.row), column.in_tune(pair.column)) else {
        return false;
    };
    let both = row.power + column.power;
    let is_r1 = R1_ROW.contains(&row.hz) && R1_COLUMN.contains(&column.hz);
    both >= pure * (energy + BELOW * below)
        && (TWIST.0..=TWIST.1).contains(&(column.power / row.power))
        && !is_r1
}
