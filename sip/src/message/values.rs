//! The small typed values: CSeq, Retry-After, media types.
#![warn(clippy::indexing_slicing)]

use super::{Method, lex};
use crate::error::ParseError;
use crate::limits::MAX_CSEQ;
use std::fmt;
use std::time::Duration;

/// `CSeq` (RFC 3261 §20.16).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Number of the request in its dialog, below 2^31.
    pub seq: u32,
    /// Its method.
    pub method: Method,
}

impl CSeq {
    /// Reads `314159 INVITE`.
    ///
    /// # Errors
    /// If the number is missing or 2^31 or more (§8.1.1.5), or the method is no token.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (seq, method) = lex::trim(text)
            .split_once([' ', '\t'])
            .ok_or(ParseError("CSeq needs a number and a method"))?;
        let seq = decimal(seq).filter(|seq| *seq <= MAX_CSEQ).ok_or(ParseError("bad number"))?;
        Ok(Self { seq, method: Method::parse(lex::trim(method))? })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.seq, self.method)
    }
}

/// Digits only: `u32::from_str` would take a `+` too.
pub(crate) fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The time of a `Retry-After` value (RFC 3261 §20.33): `120 (in a meeting);duration=60`.
///
/// # Errors
/// If it does not begin with a number of seconds below 2^32.
pub fn retry_after(text: &str) -> Result<Duration, ParseError> {
    let end = text.find([';', '(', ' ', '\t']).unwrap_or(text.len());
    let seconds = text.get(..end).filter(|digits| !digits.is_empty()).and_then(decimal);
    seconds.map(|s| Duration::from_secs(s.into())).ok_or(ParseError("bad number of seconds"))
}

/// Whether a Content-Type value names this media type, whatever its case and parameters.
#[must_use]
pub fn is_media_type(content_type: &str, media_type: &str) -> bool {
    let essence = content_type.split_once(';').map_or(content_type, |(essence, _)| essence);
    lex::trim(essence).eq_ignore_ascii_case(media_type)
}
