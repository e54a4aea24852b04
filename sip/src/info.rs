//! Digits by INFO (RFC 6086 §1, legacy use): `application/dtmf-relay` and `application/dtmf`.
//!
//! It knows the two bodies and nothing of the dialog they travel in. Start at [`parse`].
#![warn(clippy::indexing_slicing)]

use crate::message::is_media_type;

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Press {
    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub digit: char,
    /// For how long, in milliseconds, if it says so.
    pub duration_ms: Option<u32>,
}

/// Why a body is no digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither of the two types: 415.
    #[error("not a type that carries digits")]
    UnknownType,
    /// One of them without a digit in it: 400.
    #[error("no digit in it")]
    BadBody,
}

/// Reads the body of an INFO.
///
/// # Errors
/// If it is of another type, or has no digit.
pub fn parse(content_type: &str, body: &[u8]) -> Result<Press, Refusal> {
    let is_relay = is_media_type(content_type, "application/dtmf-relay");
    if !is_relay && !is_media_type(content_type, "application/dtmf") {
        return Err(Refusal::UnknownType);
    }
    let text = str::from_utf8(body).map_err(|_| Refusal::BadBody)?;
    let signal = value(text, "Signal");
    let signal = if is_relay { signal } else { signal.or(Some(text)) }; // the digit alone
    let digit = signal.and_then(digit).ok_or(Refusal::BadBody)?;
    let duration_ms = value(text, "Duration").and_then(|duration| duration.parse().ok());
    Ok(Press { digit, duration_ms })
}

/// The value of a `Name=value` or `Name: value` line.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(['=', ':'])?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// One key; some gateways number `*`, `#`, `A`–`D` from 10 to 15, as RFC 4733 does.
fn digit(signal: &str) -> Option<char> {
    let signal = signal.trim();
    let mut letters = signal.chars();
    match (letters.next(), letters.next()) {
        (Some(one), None) => {
            let one = one.to_ascii_uppercase();
            matches!(one, '0'..='9' | '*' | '#' | 'A'..='D').then_some(one)
        }
        _ => ["10", "11", "12", "13", "14", "15"]
            .into_iter()
            .zip(['*', '#', 'A', 'B', 'C', 'D'])
            .find_map(|(number, digit)| (signal == number).then_some(digit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digit_of(kind: &str, body: &str) -> Result<(char, Option<u32>), Refusal> {
        parse(kind, body.as_bytes()).map(|press| (press.digit, press.duration_ms))
    }

    #[test]
    fn both_bodies_carry_every_digit() {
        let relay = "application/dtmf-relay";
        assert_eq!(digit_of(relay, "Signal=5\r\nDuration=160\r\n"), Ok(('5', Some(160))));
        assert_eq!(digit_of(relay, "Signal= *\r\nDuration= 250"), Ok(('*', Some(250))));
        assert_eq!(digit_of("Application/DTMF-Relay; x=y", "signal=#"), Ok(('#', None)));
        assert_eq!(digit_of(relay, "Signal=11\nDuration=x"), Ok(('#', None)));
        assert_eq!(digit_of("application/dtmf", "d"), Ok(('D', None)));
        assert_eq!(digit_of("application/dtmf", "Signal=0\r\n"), Ok(('0', None)));
    }

    #[test]
    fn what_is_no_digit_is_refused() {
        assert_eq!(digit_of("application/dtmf-relay", "5"), Err(Refusal::BadBody));
        assert_eq!(digit_of("application/dtmf-relay", "Signal=16"), Err(Refusal::BadBody));
        assert_eq!(digit_of("application/dtmf", "12 34"), Err(Refusal::BadBody));
        assert_eq!(digit_of("application/dtmf", ""), Err(Refusal::BadBody));
        assert_eq!(parse("application/dtmf", &[0xFF]), Err(Refusal::BadBody));
        assert_eq!(digit_of("application/sdp", "5"), Err(Refusal::UnknownType));
    }
}
