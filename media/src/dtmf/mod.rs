//! Digits: what a key press is, whatever its way in, and the strings of digits that we send.
//!
//! It knows the sixteen keys, the three ways in which a press arrives, and that one press seen two
//! ways counts once. It refuses to know packets (that is [`event`]), audio (that is [`tone`]) and
//! how digits go out (that is [`send`]). Start at [`Presses::handle`].

pub mod event;
pub mod send;
pub mod tone;

use std::fmt;
use std::time::{Duration, Instant};

/// Digits of one [`Digits`], `w` included: more than any number or code that is dialled.
pub const MAX_DIGITS: usize = 64;

/// Pause for each `w` of a [`Digits`].
pub const WAIT: Duration = Duration::from_millis(500);

/// Within this of the last sign of a press, the same digit by another method is the same press: an
/// INFO is sent when the key is let go and may need a retransmission of SIP (T1 = 500 ms).
const SAME_PRESS: Duration = Duration::from_millis(1000);

/// Within this of the last sign of a press its key is down: longer than an event's packets are
/// apart, shorter than a pause and the delay with which a tone is heard.
const HELD: Duration = Duration::from_millis(60);

/// Within this of our tone the same one is its echo: the longest way there and back.
const ECHO: Duration = Duration::from_millis(1000);

/// Presses that are remembered for [`SAME_PRESS`]: eight a second are faster than any thumb.
const REMEMBERED: usize = 8;

/// The keys in the order of their event codes, 0–15 (RFC 4733 §3.2).
const KEYS: [char; 16] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

/// The key of an event code; `None` for what is not a digit (RFC 4733 §3.2).
pub fn key(code: u8) -> Option<char> {
    KEYS.get(usize::from(code)).copied()
}

/// The event code of a key (`0`–`9`, `*`, `#`, `A`–`D`, small letters too).
pub fn code(key: char) -> Option<u8> {
    let key = key.to_ascii_uppercase();
    KEYS.iter().position(|k| *k == key).and_then(|i| u8::try_from(i).ok())
}

/// The way in which a press was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigitMethod {
    /// A telephone-event (RFC 4733).
    Rfc4733,
    /// A tone in the audio (ITU-T Q.23).
    Inband,
    /// A SIP INFO (RFC 6086, legacy use).
    Info,
}

impl DigitMethod {
    /// The name of the API: `rfc4733`, `inband`, `info`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rfc4733 => "rfc4733",
            Self::Inband => "inband",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for DigitMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which ways in are listened to, beside INFO, which counts always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Listening {
    /// Telephone-events; tones where those were not agreed.
    #[default]
    Auto,
    /// Telephone-events and tones at once.
    Both,
    /// Telephone-events alone.
    Rfc4733,
    /// Tones alone; telephone-events are neither offered nor taken.
    Inband,
}

impl Listening {
    /// Whether telephone-events are offered and taken.
    pub fn takes_events(self) -> bool {
        self != Self::Inband
    }

    /// Whether tones are listened for, where telephone-events were agreed or not.
    pub fn hears_tones(self, events_agreed: bool) -> bool {
        match self {
            Self::Auto => !events_agreed,
            Self::Both | Self::Inband => true,
            Self::Rfc4733 => false,
        }
    }
}

/// A string of digits to send: 1 to [`MAX_DIGITS`] of `0`–`9`, `*`, `#`, `A`–`D` and `w`, which
/// waits half a second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digits(String);

/// Why a text is not a [`Digits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigitsError {
    /// Nothing to send.
    #[error("no digit given")]
    Empty,
    /// More than [`MAX_DIGITS`].
    #[error("more than {MAX_DIGITS} digits")]
    TooMany,
    /// Something else than a key or `w`.
    #[error("{0:?} is not a digit: 0-9, *, #, A-D, w (a pause)")]
    NotADigit(char),
}

impl TryFrom<&str> for Digits {
    type Error = DigitsError;

    fn try_from(text: &str) -> Result<Self, DigitsError> {
        if text.is_empty() {
            return Err(DigitsError::Empty);
        }
        if text.chars().count() > MAX_DIGITS {
            return Err(DigitsError::TooMany);
        }
        match text.chars().find(|c| code(*c).is_none() && !matches!(c, 'w' | 'W')) {
            Some(c) => Err(DigitsError::NotADigit(c)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl Digits {
    /// The digits as they were given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The event codes in order; `None` is a pause of [`WAIT`].
    pub fn codes(&self) -> impl Iterator<Item = Option<u8>> + '_ {
        self.0.chars().map(code)
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One press, as remembered to know it again when it comes by another way.
#[derive(Clone, Copy, Debug)]
struct Press {
    digit: char,
    method: DigitMethod,
    last_seen: Instant,
    /// The same press has been seen by another method too.
    paired: bool,
}

impl Press {
    fn is_held(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_seen) < HELD
    }
}

/// Makes one press of what came by several ways, and none of what we sent ourselves.
#[derive(Debug, Default)]
pub struct Presses {
    recent: [Option<Press>; REMEMBERED],
    next: usize,
    /// The keys that we sent as tones, and when last: a line throws them back.
    sent: [Option<Instant>; KEYS.len()],
}

impl Presses {
    /// A press has begun. True where it is new, false where it was seen by another method already.
    pub fn handle(&mut self, now: Instant, digit: char, method: DigitMethod) -> bool {
        if method == DigitMethod::Inband && self.is_echo(now, digit) {
            return false;
        }
        let is_down = |p: &&Press| p.method != method && p.is_held(now);
        let held = self.recent.iter().flatten().filter(|p| p.digit == digit).find(is_down);
        if held.is_some_and(|press| press.paired) {
            return false;
        }
        let twin = self.recent.iter_mut().flatten().find(|p| {
            p.digit == digit
                && p.method != method
                && !p.paired
                && now.saturating_duration_since(p.last_seen) < SAME_PRESS
        });
        if let Some(twin) = twin {
            twin.paired = true;
            return false;
        }
        if let Some(slot) = self.recent.get_mut(self.next) {
            *slot = Some(Press { digit, method, last_seen: now, paired: false });
        }
        self.next = (self.next + 1) % REMEMBERED;
        true
    }

    /// We send this key as a tone.
    pub fn handle_sent(&mut self, now: Instant, digit: char) {
        let place = code(digit).and_then(|code| self.sent.get_mut(usize::from(code)));
        if let Some(sent) = place {
            *sent = Some(now);
        }
    }

    fn is_echo(&self, now: Instant, digit: char) -> bool {
        let sent = code(digit).and_then(|code| self.sent.get(usize::from(code)).copied().flatten());
        sent.is_some_and(|at| now.saturating_duration_since(at) < ECHO)
    }

    /// The press of this method goes on: the key is still down.
    pub fn handle_continued(&mut self, now: Instant, digit: char, method: DigitMethod) {
        let same = |p: &&mut Press| p.digit == digit && p.method == method;
        let latest = self.recent.iter_mut().flatten().filter(same).max_by_key(|p| p.last_seen);
        if let Some(press) = latest {
            press.last_seen = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_seen_two_ways_counts_once_and_a_second_press_counts_again() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut presses = Presses::default();
        assert!(presses.handle(at(0), '1', DigitMethod::Rfc4733));
        assert!(!presses.handle(at(30), '1', DigitMethod::Info));
        // The same key again, seen two ways again.
        assert!(presses.handle(at(250), '1', DigitMethod::Rfc4733));
        assert!(!presses.handle(at(280), '1', DigitMethod::Info));
        // By one way only, twice.
        assert!(presses.handle(at(500), '2', DigitMethod::Info));
        assert!(presses.handle(at(600), '2', DigitMethod::Info));
        // Another digit is another press.
        assert!(presses.handle(at(610), '3', DigitMethod::Rfc4733));
    }

    #[test]
    fn an_info_after_a_long_press_is_that_press() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut presses = Presses::default();
        assert!(presses.handle(at(0), '5', DigitMethod::Rfc4733));
        for ms in (50..3000).step_by(50) {
            presses.handle_continued(at(ms), '5', DigitMethod::Rfc4733);
        }
        assert!(!presses.handle(at(3100), '5', DigitMethod::Info));
        assert!(presses.handle(at(4600), '5', DigitMethod::Info));
    }

    #[test]
    fn digits_are_checked_when_made() {
        assert_eq!(Digits::try_from(""), Err(DigitsError::Empty));
        assert_eq!(Digits::try_from("12x"), Err(DigitsError::NotADigit('x')));
        assert_eq!(Digits::try_from("1".repeat(65).as_str()), Err(DigitsError::TooMany));
        let digits = Digits::try_from("1w#d").unwrap();
        assert_eq!(digits.codes().collect::<Vec<_>>(), [Some(1), None, Some(11), Some(15)]);
    }

    #[test]
    fn keys_have_the_codes_of_rfc_4733_section_3_2() {
        assert_eq!(
            (code('0'), code('9'), code('*'), code('#')),
            (Some(0), Some(9), Some(10), Some(11))
        );
        assert_eq!((code('a'), code('D'), code('E')), (Some(12), Some(15), None));
        assert_eq!((key(15), key(16)), (Some('D'), None));
    }
}
