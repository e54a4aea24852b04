//! The lexical rules that the values share (RFC 3261 §25.1): tokens, quoting, escaping, and
//! splitting at a separator that stands outside quotes and angle brackets.
#![warn(clippy::indexing_slicing)]

use std::borrow::Cow;
use std::fmt;

/// `token`: letters, digits and `-.!%*_+`'~`.
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

/// Whether `text` is a token of at least one character.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether a character can begin something new wherever it stands: CR, LF, NUL.
pub(crate) const fn is_forbidden(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | 0)
}

/// Whether one of the bytes is forbidden; each is looked at, which is faster than stopping early.
pub(crate) fn has_forbidden(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | is_forbidden(byte))
}

/// Without the linear white space around it.
pub(crate) const fn trim(text: &str) -> &str {
    text.trim_ascii()
}

/// Text before and after the first `separator` outside quotes and `<>`.
pub(crate) fn split_once_outside(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = find_outside(text, separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Offset of the first `separator` outside quotes and `<>`. An unclosed quote or bracket reaches
/// to the end, so that nothing behind it is taken for a value of its own.
pub(crate) fn find_outside(text: &str, separator: u8) -> Option<usize> {
    let mut start = 0;
    loop {
        let rest = text.as_bytes().get(start..)?;
        let at = rest.iter().position(|b| *b == separator || *b == b'"' || *b == b'<')?;
        let opened = rest.get(at + 1..)?;
        let closed = match rest.get(at)? {
            b'"' => end_of_quote(opened)?,
            b'<' => opened.iter().position(|byte| *byte == b'>')?,
            _ => return Some(start + at),
        };
        start += at + 1 + closed + 1;
    }
}

/// Offset of the quote that ends what a quote before `inner` has begun.
fn end_of_quote(inner: &[u8]) -> Option<usize> {
    let mut escaped = false;
    inner.iter().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => *byte == b'"',
    })
}

/// The values between the separators, trimmed; empty ones are passed over.
pub(crate) struct Split<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

/// Splits at each `separator` outside quotes and `<>`.
pub(crate) const fn split_outside(text: &str, separator: u8) -> Split<'_> {
    Split { rest: Some(text), separator }
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let rest = self.rest.take()?;
            let value = match split_once_outside(rest, self.separator) {
                Some((value, rest)) => {
                    self.rest = Some(rest);
                    value
                }
                None => rest,
            };
            let value = trim(value);
            if !value.is_empty() {
                return Some(value);
            }
        }
    }
}

/// The text of a `quoted-string` and what follows its closing quote. `None` if `text` does not
/// begin with a quote or the quote is never closed.
pub(crate) fn quoted_string(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let inner = text.strip_prefix('"')?;
    let end = end_of_quote(inner.as_bytes())?;
    let (inner, rest) = (inner.get(..end)?, inner.get(end + 1..)?);
    Some((if inner.contains('\\') { unescape(inner).into() } else { inner.into() }, rest))
}

fn unescape(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => text.extend(chars.next()),
            char => text.push(char),
        }
    }
    text
}

/// Writes `text` as a `quoted-string`; CR, LF and NUL become spaces.
pub(crate) fn write_quoted(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for char in text.chars() {
        match char {
            '\r' | '\n' | '\0' => out.write_char(' ')?,
            '"' | '\\' | '\x01'..='\x1F' | '\x7F' => {
                out.write_char('\\')?;
                out.write_char(char)?;
            }
            char => out.write_char(char)?,
        }
    }
    out.write_char('"')
}

/// Writes text that is escaped already: what `allowed` refuses becomes `%XX`, and a `%` that
/// begins no escape becomes `%25`, so that nothing can break out of its place.
pub(crate) fn write_escaped(
    out: &mut impl fmt::Write,
    text: &str,
    allowed: fn(u8) -> bool,
) -> fmt::Result {
    if text.bytes().all(|byte| allowed(byte) && byte != b'%') {
        return out.write_str(text);
    }
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        let mut octets = [0; 4];
        let octets = char.encode_utf8(&mut octets);
        if octets.bytes().all(|byte| allowed(byte) && byte != b'%') || begins_escape(char, &chars) {
            out.write_str(octets)?;
        } else {
            octets.bytes().try_for_each(|byte| write!(out, "%{byte:02X}"))?;
        }
    }
    Ok(())
}

fn begins_escape(char: char, ahead: &std::str::Chars<'_>) -> bool {
    let mut ahead = ahead.clone();
    let mut is_digit = || ahead.next().is_some_and(|digit| digit.is_ascii_hexdigit());
    char == '%' && is_digit() && is_digit()
}

/// [`write_escaped`] into a string.
pub(crate) fn escaped(text: &str, allowed: fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    let _ = write_escaped(&mut escaped, text, allowed);
    escaped
}

/// Undoes `%XX`; an octet that makes no UTF-8 becomes U+FFFD.
pub(crate) fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return text.into();
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        match (byte, ahead.next().and_then(hex), ahead.next().and_then(hex)) {
            (b'%', Some(high), Some(low)) => {
                octets.push(high << 4 | low);
                bytes = ahead;
            }
            _ => octets.push(byte),
        }
    }
    String::from_utf8_lossy(&octets).into_owned().into()
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
