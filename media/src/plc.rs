//! Concealment: what is heard where audio is missing, without a click at either end.
//!
//! It knows the last 40 ms that were heard. It refuses to know packets and why audio is missing.
//! Start at [`Concealer::conceal`]. In the manner of G.711 Appendix I: the last pitch period is
//! repeated, fading out from 10 to 60 ms; where audio comes back it fades in over what is left.

/// Samples remembered: the longest period and the stretch that is compared.
const HISTORY: usize = 320;
/// Periods searched: 200 Hz down to 66 Hz, the pitch of voices.
const PERIODS: std::ops::RangeInclusive<usize> = 40..=120;
/// The stretch that is compared for a period.
const COMPARED: usize = 160;
/// Missing samples at full level, then the end of the fade: 10 ms and 60 ms.
const FULL: usize = 80;
const SILENT: usize = 480;
/// Samples over which audio that comes back fades in: 5 ms.
const FADE_IN: usize = 40;

/// The concealment of one stream.
#[derive(Clone, Debug)]
pub struct Concealer {
    history: [i16; HISTORY],
    /// The period that is repeated, its end blended into its beginning.
    cycle: [f32; *PERIODS.end()],
    period: usize,
    /// What must be added at the start to begin where the audio ended.
    step: f32,
    /// Samples missing so far; 0 while audio flows.
    missing: usize,
    /// Samples since audio came back, up to [`FADE_IN`].
    back: usize,
}

impl Default for Concealer {
    fn default() -> Self {
        Self {
            history: [0; HISTORY],
            cycle: [0.0; *PERIODS.end()],
            period: *PERIODS.start(),
            step: 0.0,
            // As after a long silence: nothing to conceal with.
            missing: SILENT,
            back: FADE_IN,
        }
    }
}

impl Concealer {
    /// Audio that came. It is blended in place where some was missing before.
    pub fn pass(&mut self, audio: &mut [i16]) {
        if self.missing > 0 && self.back == FADE_IN {
            self.back = 0;
        }
        let mut rest = audio.iter_mut();
        while self.back < FADE_IN {
            let Some(sample) = rest.next() else { break };
            let gain = (self.back + 1) as f32 / (FADE_IN + 1) as f32;
            let concealed = self.next_concealed();
            *sample = (f32::from(*sample) * gain + concealed * (1.0 - gain)) as i16;
            self.back += 1;
        }
        if self.back == FADE_IN {
            self.missing = 0;
        }
        self.remember(audio);
    }

    /// Audio is missing: fills `audio` with what may have been there, fading to silence.
    pub fn conceal(&mut self, audio: &mut [i16]) {
        // Missing again while it was coming back: what is heard now is neither the one nor the
        // other, so begin anew from it.
        if self.missing == 0 || self.back < FADE_IN {
            self.missing = 0;
            self.back = FADE_IN;
            self.begin();
        }
        for sample in audio.iter_mut() {
            *sample = self.next_concealed() as i16;
        }
        self.remember(audio);
    }

    /// True where nothing is left of what was heard: silence may be made longer or shorter unheard.
    pub fn is_silent(&self) -> bool {
        self.missing >= SILENT && self.back == FADE_IN
    }

    fn next_concealed(&mut self) -> f32 {
        let i = self.missing;
        self.missing = (i + 1).min(SILENT);
        if i >= SILENT {
            return 0.0;
        }
        let cycle = self.cycle.get(i % self.period).copied().unwrap_or(0.0);
        let step = self.step * (1.0 - (i + 1) as f32 / FADE_IN as f32).max(0.0);
        let fade = i.saturating_sub(FULL) as f32 / (SILENT - FULL) as f32;
        ((cycle + step) * (1.0 - fade)).clamp(-32768.0, 32767.0)
    }

    /// Finds the period and prepares its cycle.
    fn begin(&mut self) {
        self.period = self.find_period();
        let period = self.period;
        let at = |i: usize| f32::from(self.history.get(i).copied().unwrap_or(0));
        let from = HISTORY - period;
        let blend = period / 4;
        for (i, sample) in self.cycle.iter_mut().take(period).enumerate() {
            // The last quarter turns into what came before the first sample, so that the cycle
            // closes.
            let into = (i + blend + 1).saturating_sub(period) as f32 / blend as f32;
            *sample = at(from + i) * (1.0 - into) + at(from + i - period) * into;
        }
        self.step = at(HISTORY - 1) - at(from - 1);
    }

    /// The shift at which the history resembles itself most.
    fn find_period(&self) -> usize {
        let recent = self.history.get(HISTORY - COMPARED..).unwrap_or(&[]);
        let score = |period: usize| {
            let from = HISTORY - COMPARED - period;
            let shifted = self.history.get(from..from + COMPARED).unwrap_or(&[]);
            let (mut product, mut energy) = (0.0_f32, 1.0_f32);
            for (a, b) in recent.iter().zip(shifted) {
                product += f32::from(*a) * f32::from(*b);
                energy += f32::from(*b) * f32::from(*b);
            }
            product / energy.sqrt()
        };
        let mut best = (*PERIODS.start(), f32::MIN);
        for period in PERIODS {
            let score = score(period);
            if score > best.1 {
                best = (period, score);
            }
        }
        best.0
    }

    fn remember(&mut self, audio: &[i16]) {
        let len = audio.len().min(HISTORY);
        self.history.copy_within(len.., 0);
        let newest = audio.get(audio.len() - len..).unwrap_or(&[]);
        if let Some(place) = self.history.get_mut(HISTORY - len..) {
            place.copy_from_slice(newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(from: usize, len: usize) -> Vec<i16> {
        let at = |i: usize| (i as f64 * std::f64::consts::TAU * 150.0 / 8000.0).sin() * 8000.0;
        (from..from + len).map(|i| at(i) as i16).collect()
    }

    /// The largest step between two samples next to each other.
    fn steepest(audio: &[i16]) -> i32 {
        audio.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap()
    }

    #[test]
    fn a_lost_frame_is_filled_at_level_and_without_a_click() {
        for lost in [160, 320, 480, 800] {
            let mut concealer = Concealer::default();
            let mut heard = sine(0, 640);
            concealer.pass(&mut heard);
            let mut gap = vec![0; lost];
            concealer.conceal(&mut gap);
            let mut after = sine(640 + lost, 320);
            concealer.pass(&mut after);
            let level = gap[..80].iter().map(|s| i32::from(*s).abs()).max().unwrap();
            assert!(level > 7000, "{level}");
            heard.extend(gap);
            heard.extend(after);
            let click = steepest(&heard[300..]);
            assert!(click < 2 * steepest(&sine(0, 640)), "{lost} lost: a step of {click}");
        }
    }

    #[test]
    fn a_snippet_between_two_gaps_makes_no_click() {
        for snippet in 1..60 {
            let mut concealer = Concealer::default();
            let mut heard = sine(0, 640);
            concealer.pass(&mut heard);
            for gap in [300, 200] {
                let mut missing = vec![0; gap];
                concealer.conceal(&mut missing);
                heard.extend(missing);
                let mut back = sine(heard.len() + 17, snippet);
                concealer.pass(&mut back);
                heard.extend(back);
            }
            let click = steepest(&heard[300..]);
            assert!(click < 2 * steepest(&sine(0, 640)), "{snippet}: a step of {click}");
        }
    }

    #[test]
    fn a_long_gap_ends_in_silence() {
        let mut concealer = Concealer::default();
        concealer.pass(&mut sine(0, 640));
        let mut gap = vec![1; 640];
        concealer.conceal(&mut gap);
        assert!(concealer.is_silent());
        assert!(gap[480..].iter().all(|s| *s == 0));
    }

    #[test]
    fn audio_without_gaps_passes_untouched() {
        let mut concealer = Concealer::default();
        concealer.conceal(&mut [0; 160]);
        // The very first samples fade in over nothing; all the rest is as it came.
        concealer.pass(&mut [0; 160]);
        for i in 0..10 {
            let audio = sine(160 * i, 160);
            let mut out = audio.clone();
            concealer.pass(&mut out);
            assert_eq!(out, audio);
        }
    }
}
