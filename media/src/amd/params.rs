//! The detector's settings and their ranges.

use std::str::FromStr;

use super::Status;

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
