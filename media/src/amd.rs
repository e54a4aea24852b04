//! The answering machine detector, classic mode: who answered, told from the lengths of speech and
//! silence alone.
//!
//! It knows 8 kHz linear frames from the answer on, and the clock. It refuses to know where frames
//! come from and what a verdict leads to. Start at [`Detector`].
//!
//! A frame is silent when its mean |sample| is under the threshold. For each frame, in this order:
//!
//! ```text
//! time-out                                                          → NOTSURE  TOOLONG
//! silent:  silence ≥ between_words_silence: the word ends, run = 0
//!          no word yet, silence ≥ initial_silence                   → (setting) INITIALSILENCE
//!          a word before, silence ≥ after_greeting_silence          → HUMAN    HUMAN
//! voiced:  run and total_voice grow
//!          run ≥ min_word_length after a silence: one word more
//!          run ≥ maximum_word_length                                → MACHINE  MAXWORDLENGTH
//!          words > maximum_number_of_words                          → MACHINE  MAXWORDS
//!          total_voice ≥ greeting                                   → MACHINE  LONGGREETING
//!          run ≥ min_word_length: from here on there was a word
//! ```
#![warn(clippy::indexing_slicing)]

mod framer;
mod params;
mod verdict;

use std::time::{Duration, Instant};

pub use framer::{FRAME, Framer};
pub use params::{Mode, ParamError, Params};
pub use verdict::{Cause, Figures, Status, Verdict};

/// Samples in a millisecond: everything here is at 8 kHz.
const SAMPLES_PER_MS: u64 = 8;

/// How long after a HUMAN verdict a greeting that goes on still corrects it.
const REVISION_WINDOW: Duration = Duration::from_secs(10);

/// The verdicts on a recording whose first sample is the answer and whose end is a hang-up: one,
/// and the revision if there is one. `start` is any instant.
pub fn analyse(start: Instant, params: Params, samples: &[i16]) -> Vec<Verdict> {
    let mut detector = Detector::new(start, params);
    let frames = samples.chunks(FRAME);
    let mut verdicts: Vec<_> = frames.filter_map(|f| detector.handle_frame(f)).collect();
    let end = start + Duration::from_millis(samples.len() as u64 / SAMPLES_PER_MS);
    verdicts.extend(detector.handle_hangup(end));
    verdicts
}

/// The detector of one call, from the answer on.
///
/// Feed it every frame from the first audio on, with silence where packets are missing (a sender
/// that suppresses silence is silent then). While nothing has come yet, feed nothing and call
/// [`Self::handle_timeout`] at [`Self::poll_timeout`]. It gives at most one verdict and after that
/// at most one that is `revised`: keep feeding it. It allocates nothing.
#[derive(Clone, Debug)]
pub struct Detector {
    params: Params,
    started: Instant,
    /// All lengths in samples.
    heard: u64,
    silence: u64,
    run: u64,
    total_voice: u64,
    words: u32,
    in_word: bool,
    greeting_begun: bool,
    phase: Phase,
}

/// What the detector still waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The verdict.
    Deciding,
    /// A greeting that goes on after HUMAN; `voice` since the last pause, `until` in samples.
    Watching { voice: u64, until: u64 },
    /// Nothing more.
    Done,
}

impl Detector {
    /// A detector whose clock starts `now`, at the answer.
    pub fn new(now: Instant, params: Params) -> Self {
        Self {
            params,
            started: now,
            heard: 0,
            silence: 0,
            run: 0,
            total_voice: 0,
            words: 0,
            in_word: true,
            greeting_begun: false,
            phase: Phase::Deciding,
        }
    }

    /// Whether the verdict has been given.
    pub fn is_decided(&self) -> bool {
        self.phase != Phase::Deciding
    }

    /// Takes a frame of any length; an empty one is nothing.
    pub fn handle_frame(&mut self, frame: &[i16]) -> Option<Verdict> {
        if frame.is_empty() || self.phase == Phase::Done {
            return None;
        }
        let length = frame.len() as u64;
        self.heard += length;
        let sum: u64 = frame.iter().map(|s| u64::from(s.unsigned_abs())).sum();
        let silent = sum / length < u64::from(self.params.silence_threshold);
        self.silence = if silent { self.silence + length } else { 0 };
        match self.phase {
            Phase::Deciding => self.decide(length, silent),
            Phase::Watching { voice, until } => {
                let voice = if silent { voice } else { voice + length };
                self.watch(voice, until)
            }
            Phase::Done => None,
        }
    }

    /// The clock: decides when the analysis time is over, whatever audio came.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Verdict> {
        if self.is_decided() || self.poll_timeout().is_none_or(|due| now < due) {
            return None;
        }
        if self.heard > 0 {
            return self.conclude(Status::NotSure, Cause::TooLong, self.elapsed(now), None);
        }
        self.conclude(Status::Unknown, Cause::NoAudio, self.elapsed(now), None)
    }

    /// When [`Self::handle_timeout`] is due; `None` once the verdict is there.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let total = Duration::from_millis(u64::from(self.params.total_analysis_time));
        (!self.is_decided()).then_some(self.started + total)
    }

    /// The call ended: the verdict, if none was given yet. Nothing follows it.
    pub fn handle_hangup(&mut self, now: Instant) -> Option<Verdict> {
        let undecided = !self.is_decided();
        let verdict = undecided
            .then(|| self.conclude(Status::NotSure, Cause::Hangup, self.elapsed(now), None));
        self.phase = Phase::Done;
        verdict.flatten()
    }

    fn decide(&mut self, length: u64, silent: bool) -> Option<Verdict> {
        let p = self.params;
        if self.heard >= samples(p.total_analysis_time) {
            return self.conclude(Status::NotSure, Cause::TooLong, ms(self.heard), None);
        }
        if silent {
            return self.decide_silent();
        }
        self.run += length;
        self.total_voice += length;
        let is_word = self.run >= samples(p.min_word_length);
        if is_word && !self.in_word {
            self.in_word = true;
            self.words += 1;
        }
        if self.run >= samples(p.maximum_word_length) {
            let limit = Some(p.maximum_word_length);
            return self.conclude(Status::Machine, Cause::MaxWordLength, ms(self.run), limit);
        }
        if self.words > p.maximum_number_of_words {
            let limit = Some(p.maximum_number_of_words);
            return self.conclude(Status::Machine, Cause::MaxWords, self.words, limit);
        }
        if self.total_voice >= samples(p.greeting) {
            let voice = ms(self.total_voice);
            return self.conclude(Status::Machine, Cause::LongGreeting, voice, Some(p.greeting));
        }
        self.greeting_begun |= is_word;
        None
    }

    fn decide_silent(&mut self) -> Option<Verdict> {
        let p = self.params;
        if self.silence >= samples(p.between_words_silence) {
            self.in_word = false;
            self.run = 0;
        }
        let silence = ms(self.silence);
        if !self.greeting_begun && self.silence >= samples(p.initial_silence) {
            let limit = Some(p.initial_silence);
            return self.conclude(p.initial_silence_status, Cause::InitialSilence, silence, limit);
        }
        if self.greeting_begun && self.silence >= samples(p.after_greeting_silence) {
            let limit = Some(p.after_greeting_silence);
            return self.conclude(Status::Human, Cause::Human, silence, limit);
        }
        None
    }

    /// After HUMAN: twice a greeting's voice without a pause that would end a greeting is a
    /// recording that had only drawn breath.
    fn watch(&mut self, voice: u64, until: u64) -> Option<Verdict> {
        let p = self.params;
        let paused = self.silence >= samples(p.after_greeting_silence);
        let voice = if paused { 0 } else { voice };
        let limit = p.greeting.saturating_mul(2);
        if voice >= samples(limit) {
            self.total_voice += voice;
            return self.conclude(Status::Machine, Cause::LongGreeting, ms(voice), Some(limit));
        }
        self.phase = match self.heard {
            heard if heard >= until => Phase::Done,
            _ => Phase::Watching { voice, until },
        };
        None
    }

    fn conclude(
        &mut self,
        status: Status,
        cause: Cause,
        measured: u32,
        limit: Option<u32>,
    ) -> Option<Verdict> {
        let revised = self.is_decided();
        self.phase = match status {
            Status::Human if !revised => Phase::Watching {
                voice: 0,
                until: self.heard + samples(REVISION_WINDOW.as_millis() as u32),
            },
            _ => Phase::Done,
        };
        let decided_ms = match cause {
            Cause::NoAudio | Cause::Hangup | Cause::TooLong => measured,
            _ => ms(self.heard),
        };
        Some(Verdict {
            status,
            cause,
            confidence: verdict::confidence(cause, revised),
            decided_ms,
            figures: Figures {
                measured,
                limit,
                silence_ms: ms(self.silence),
                run_ms: ms(self.run),
                total_voice_ms: ms(self.total_voice),
                words: self.words,
            },
            revised,
        })
    }

    fn elapsed(&self, now: Instant) -> u32 {
        let elapsed = now.saturating_duration_since(self.started).as_millis();
        u32::try_from(elapsed).unwrap_or(u32::MAX)
    }
}

fn samples(ms: u32) -> u64 {
    u64::from(ms) * SAMPLES_PER_MS
}

fn ms(samples: u64) -> u32 {
    u32::try_from(samples / SAMPLES_PER_MS).unwrap_or(u32::MAX)
}
