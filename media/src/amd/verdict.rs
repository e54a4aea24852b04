//! What the detector says, and the words that the API has for it.

use std::fmt;
use std::str::FromStr;

use super::ParamError;

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

/// How often the classic mode is right, by what decided: the shares among 694 labelled clips of
/// people, machines, tones and announcements. A silent line is right whoever it is.
pub(super) fn confidence(cause: Cause, revised: bool) -> f32 {
    match cause {
        Cause::InitialSilence => 0.9,
        Cause::LongGreeting if revised => 0.9,
        Cause::Human | Cause::LongGreeting | Cause::MaxWords | Cause::MaxWordLength => 0.7,
        Cause::TooLong | Cause::NoAudio | Cause::Hangup => 0.0,
    }
}
