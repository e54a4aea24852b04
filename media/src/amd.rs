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

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Samples in a millisecond: everything here is at 8 kHz.
const SAMPLES_PER_MS: u64 = 8;

/// How long after a HUMAN verdict a greeting that goes on still corrects it.
const REVISION_WINDOW: Duration = Duration::from_secs(10);

/// How the detector decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Lengths of speech and silence, exactly as the module's table.
    #[default]
    Classic,
}

impl FromStr for Mode {
    type Err = ParamError;

    fn from_str(name: &str) -> Result<Self, ParamError> {
        match name {
            "classic" => Ok(Self::Classic),
            "enhanced" => Err(ParamError::NotBuilt("enhanced")),
            _ => Err(ParamError::UnknownMode),
        }
    }
}

/// The detector's settings; lengths are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// How the detector decides.
    pub mode: Mode,
    /// Silence before any word of at least this → `INITIALSILENCE`. Default 2500.
    pub initial_silence: u32,
    /// Voice in all of at least this → `MACHINE`. Default 1500.
    pub greeting: u32,
    /// Silence of at least this after a word → `HUMAN`. Default 800.
    pub after_greeting_silence: u32,
    /// Without a verdict until then, by audio or by the clock → `NOTSURE`. Default 5000.
    pub total_analysis_time: u32,
    /// A voiced run of at least this is a word. Default 100.
    pub min_word_length: u32,
    /// Silence of at least this ends a word. Default 50.
    pub between_words_silence: u32,
    /// More words than this → `MACHINE`. Default 2.
    pub maximum_number_of_words: u32,
    /// A voiced run of at least this → `MACHINE`. Default 5000.
    pub maximum_word_length: u32,
    /// A frame whose mean |sample| is below this is silent, 0–32767. Default 256.
    pub silence_threshold: u16,
    /// What a line that stays silent counts as. Default [`Status::Human`]: a person who waits.
    pub initial_silence_status: Status,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            mode: Mode::Classic,
            initial_silence: 2_500,
            greeting: 1_500,
            after_greeting_silence: 800,
            total_analysis_time: 5_000,
            min_word_length: 100,
            between_words_silence: 50,
            maximum_number_of_words: 2,
            maximum_word_length: 5_000,
            silence_threshold: 256,
            initial_silence_status: Status::Human,
        }
    }
}

impl Params {
    /// The longest time that any setting may ask for, in ms: a verdict after a minute serves nobody.
    pub const MAX_MS: u32 = 60_000;

    /// Whether every setting is within its range; the error names the first that is not.
    ///
    /// # Errors
    /// A length of 0 or over [`Self::MAX_MS`], a threshold over 32767.
    pub fn check(&self) -> Result<(), ParamError> {
        let lengths = [
            ("initial_silence", self.initial_silence),
            ("greeting", self.greeting),
            ("after_greeting_silence", self.after_greeting_silence),
            ("total_analysis_time", self.total_analysis_time),
            ("min_word_length", self.min_word_length),
            ("between_words_silence", self.between_words_silence),
            ("maximum_word_length", self.maximum_word_length),
        ];
        if let Some((name, _)) =
            lengths.into_iter().find(|(_, ms)| !(1..=Self::MAX_MS).contains(ms))
        {
            let max = Self::MAX_MS;
            return Err(ParamError::OutOfRange { name, min: 1, max });
        }
        if self.silence_threshold > i16::MAX as u16 {
            return Err(ParamError::OutOfRange {
                name: "silence_threshold",
                min: 0,
                max: i16::MAX as u32,
            });
        }
        Ok(())
    }
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamError {
    /// A number out of its range.
    #[error("{name} must be {min} to {max}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// The least it may be.
        min: u32,
        /// The most it may be.
        max: u32,
    },
    /// A mode that is planned and not built.
    #[error("amd mode {0:?} is not built yet; use \"classic\"")]
    NotBuilt(&'static str),
    /// A mode that does not exist.
    #[error("unknown amd mode; there is \"classic\"")]
    UnknownMode,
    /// A status that does not exist.
    #[error("unknown amd status; there are HUMAN, MACHINE, NOTSURE and UNKNOWN")]
    UnknownStatus,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// A person.
    Human,
    /// An answering machine or another recording.
    Machine,
    /// The analysis ended without a decision.
    NotSure,
    /// No audio at all arrived.
    Unknown,
}

impl Status {
    /// Every status there is.
    pub const ALL: [Self; 4] = [Self::Human, Self::Machine, Self::NotSure, Self::Unknown];

    /// The status as the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Human => "HUMAN",
            Self::Machine => "MACHINE",
            Self::NotSure => "NOTSURE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Status {
    type Err = ParamError;

    fn from_str(name: &str) -> Result<Self, ParamError> {
        let mut all = Self::ALL.into_iter();
        all.find(|status| status.name().eq_ignore_ascii_case(name)).ok_or(ParamError::UnknownStatus)
    }
}

/// What led to a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Nothing was said for `initial_silence`.
    InitialSilence,
    /// A short greeting and then silence.
    Human,
    /// More voice than a person's greeting has.
    LongGreeting,
    /// More words than a person's greeting has.
    MaxWords,
    /// Voice without a pause.
    MaxWordLength,
    /// The analysis time is over.
    TooLong,
    /// The analysis time is over and no audio came.
    NoAudio,
    /// The call ended first.
    Hangup,
}

impl Cause {
    /// Every cause that this detector gives.
    pub const ALL: [Self; 8] = [
        Self::InitialSilence,
        Self::Human,
        Self::LongGreeting,
        Self::MaxWords,
        Self::MaxWordLength,
        Self::TooLong,
        Self::NoAudio,
        Self::Hangup,
    ];

    /// The cause as the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InitialSilence => "INITIALSILENCE",
            Self::Human => "HUMAN",
            Self::LongGreeting => "LONGGREETING",
            Self::MaxWords => "MAXWORDS",
            Self::MaxWordLength => "MAXWORDLENGTH",
            Self::TooLong => "TOOLONG",
            Self::NoAudio => "NOAUDIO",
            Self::Hangup => "HANGUP",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The measurements at the moment of a verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// What the deciding rule measured: ms, or words for [`Cause::MaxWords`].
    pub measured: u32,
    /// The limit it reached, in the same unit; `None` for rules without one.
    pub limit: Option<u32>,
    /// The silence just then, in ms.
    pub silence_ms: u32,
    /// The voiced run just then, in ms.
    pub run_ms: u32,
    /// All voice so far, in ms.
    pub total_voice_ms: u32,
    /// The words so far.
    pub words: u32,
}

/// What the detector found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Who answered.
    pub status: Status,
    /// What led to it.
    pub cause: Cause,
    /// How likely `status` is right, 0–1.
    pub confidence: f32,
    /// When it was decided, in ms of audio from the start; of the clock where no audio decided.
    pub decided_ms: u32,
    /// The measurements behind it.
    pub figures: Figures,
    /// Whether it takes back an earlier verdict.
    pub revised: bool,
}

impl fmt::Display for Verdict {
    /// Cause and figures, for logs: `HUMAN 800-800`, `TOOLONG 5000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cause, self.figures.measured)?;
        match self.figures.limit {
            Some(limit) => write!(f, "-{limit}"),
            None => Ok(()),
        }
    }
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
            confidence: confidence(cause, revised),
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

/// How often the classic mode is right, by what decided: the shares among 694 labelled clips of
/// people, machines, tones and announcements. A silent line is right whoever it is.
fn confidence(cause: Cause, revised: bool) -> f32 {
    match cause {
        Cause::InitialSilence => 0.9,
        Cause::LongGreeting if revised => 0.9,
        Cause::Human | Cause::LongGreeting | Cause::MaxWords | Cause::MaxWordLength => 0.7,
        Cause::TooLong | Cause::NoAudio | Cause::Hangup => 0.0,
    }
}

fn samples(ms: u32) -> u64 {
    u64::from(ms) * SAMPLES_PER_MS
}

fn ms(samples: u64) -> u32 {
    u32::try_from(samples / SAMPLES_PER_MS).unwrap_or(u32::MAX)
}
