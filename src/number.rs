//! Telephone numbers as they may go onto the wire.
//!
//! It knows the cleaning rules and the shape that cannot leave the user part of a SIP URI. It
//! refuses to know trunks, prefixes and who may dial what. Start at [`Number::parse`].

use std::fmt;

/// The longest number (E.164 §6.1).
pub const MAX_DIGITS: usize = 15;
/// The shortest number that is dialled.
pub const MIN_DIGITS: usize = 3;
/// More text than this is refused unread: a number with separators is never longer.
const MAX_TEXT: usize = 64;

/// A cleaned number: 3–15 characters out of `0-9`, `*` and `#`.
///
/// `*` and `#` are let through here because only a trunk can say whether it takes them
/// ([`has_star_or_hash`](Self::has_star_or_hash)); everything else is refused, never escaped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(String);

/// Why a text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Nothing but separators.
    #[error("is empty")]
    Empty,
    /// Fewer than [`MIN_DIGITS`] or more than [`MAX_DIGITS`].
    #[error("must have {MIN_DIGITS} to {MAX_DIGITS} digits")]
    Length,
    /// A character that is no digit and no separator.
    #[error("must be digits, with an optional leading + and separators")]
    Character,
}

impl Number {
    /// Cleans `text`: strips the separators (space, `-`, `.`, parentheses), then the
    /// leading `+` and `00`, and keeps 3–15 digits. No country's code begins with 0, so `+00` and
    /// `0000` say no more than `+`: a list of denied prefixes is not passed by saying it twice.
    ///
    /// # Errors
    /// [`NumberError`] where something else is in it or the length is wrong.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        if text.len() > MAX_TEXT {
            return Err(NumberError::Length);
        }
        let kept: String =
            text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
        let mut digits = kept.strip_prefix('+').unwrap_or(&kept);
        // "000" is a number of its own (and an emergency number), not a prefix and a "0".
        while let Some(rest) = digits.strip_prefix("00").filter(|_| digits.len() > MIN_DIGITS) {
            digits = rest;
        }
        if digits.is_empty() {
            return Err(NumberError::Empty);
        }
        if !digits.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#') {
            return Err(NumberError::Character);
        }
        if !(MIN_DIGITS..=MAX_DIGITS).contains(&digits.len()) {
            return Err(NumberError::Length);
        }
        Ok(Self(digits.to_owned()))
    }

    /// The cleaned characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only a trunk with `--allow-star-hash` takes it.
    #[must_use]
    pub fn has_star_or_hash(&self) -> bool {
        self.0.contains(['*', '#'])
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `digits` is denied or not allowed by lists of prefixes: an empty `allow` allows all, a
/// denied prefix wins.
#[must_use]
pub fn prefixes_permit(digits: &str, allow: &[String], deny: &[String]) -> bool {
    let begins = |list: &[String]| list.iter().any(|prefix| digits.starts_with(prefix.as_str()));
    (allow.is_empty() || begins(allow)) && !begins(deny)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cleans_what_people_write() {
        for (text, digits) in [
            ("14155550100", "14155550100"),
            ("+14155550100", "14155550100"),
            ("0014155550100", "14155550100"),
            ("+1 (415) 555-0100", "14155550100"),
            ("1.415.555.0100", "14155550100"),
            ("0 0 44 20", "4420"),
            ("+004490123456", "4490123456"),
            ("00004490123456", "4490123456"),
            ("+00112", "112"),
            ("0447700900123", "0447700900123"),
            ("112", "112"),
            ("000", "000"),
            ("*43#", "*43#"),
            ("123456789012345", "123456789012345"),
        ] {
            assert_eq!(Number::parse(text).map(|n| n.0).as_deref(), Ok(digits), "{text}");
        }
    }

    #[test]
    fn refuses_what_could_leave_the_user_part() {
        for text in [
            "",
            "+",
            "()",
            "12",
            "0012",
            "1234567890123456",
            "1415555@evil",
            "123;x=1",
            "123:5060",
            "123>",
            "12\r\n3",
            "123\0",
            "١٢٣٤",
            "123a",
            "++123",
            "1+23",
            "sip:123",
            "%31%32%33",
            "12３4",
            "+00441234x",
        ] {
            assert!(Number::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Number::parse(&" ".repeat(65)), Err(NumberError::Length));
    }

    #[test]
    fn a_denied_prefix_wins() {
        let list = |p: &[&str]| p.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(prefixes_permit("4420", &[], &[]));
        assert!(prefixes_permit("4420", &list(&["44"]), &[]));
        assert!(!prefixes_permit("4920", &list(&["44"]), &[]));
        assert!(!prefixes_permit("4490", &list(&["44"]), &list(&["449"])));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// R7: whatever comes in, what goes out is 3–15 digits that stood in it in that order.
        #[test]
        fn any_text_is_refused_or_exactly_its_digits(text in "[ -~\\r\\n\\x00é0-9+().-]{0,24}") {
            if let Ok(number) = Number::parse(&text) {
                let out = number.as_str();
                prop_assert!((MIN_DIGITS..=MAX_DIGITS).contains(&out.len()));
                prop_assert!(out.bytes().all(|b| b.is_ascii_digit() || b == b'*' || b == b'#'));
                let stripped: String =
                    text.chars().filter(|c| !" -.()+".contains(*c)).collect();
                let prefixed = format!("00{out}");
                prop_assert!(stripped == out || stripped == prefixed);
            }
        }

        /// The same with texts that are mostly numbers.
        #[test]
        fn near_numbers(text in "[+]?(00)?[0-9 ().-]{3,20}[;@:>\\r\\n]?") {
            if let Ok(number) = Number::parse(&text) {
                prop_assert!(!text.contains([';', '@', ':', '>', '\r', '\n']));
                prop_assert!(text.chars().filter(char::is_ascii_digit).collect::<String>()
                    .ends_with(number.as_str()));
            }
        }
    }
}
