//! Parameters (`;name=value`) of a URI or of a header value.
//!
//! Knows their text as it stands on the wire and how to find one in it. Refuses to know what any
//! of them means. Start at [`Params::value`].
#![warn(clippy::indexing_slicing)]

use super::lex;
use crate::error::ParseError;
use crate::limits::MAX_PARAMS;
use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Parameters in their order, without the white space between them. Names are found in any case
/// (RFC 3261 §7.3.1); where a name stands twice the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Params(String);

impl Params {
    /// No parameters.
    #[must_use]
    pub const fn new() -> Self {
        Self(String::new())
    }

    /// Reads `;a=b;c`, with or without the first semicolon; empty parameters are passed over.
    ///
    /// # Errors
    /// If there are too many, or one has a name or value that cannot stand in a parameter.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut params = Self(String::with_capacity(text.len() + 1));
        for (count, param) in lex::split_outside(text, b';').enumerate() {
            if count == MAX_PARAMS {
                return Err(ParseError("too many parameters"));
            }
            let (name, value) = match param.split_once('=') {
                Some((name, value)) => (lex::trim(name), Some(lex::trim(value))),
                None => (param, None),
            };
            if !is_name(name) {
                return Err(ParseError("bad parameter name"));
            }
            if !value.is_none_or(is_value) {
                return Err(ParseError("bad parameter value"));
            }
            params.append(name, value);
        }
        Ok(params)
    }

    /// Value of a parameter: `None` if there is no such parameter, `Some("")` if it has no value.
    /// A quoted value is returned with its quotes; see [`Params::text`].
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.unwrap_or_default())
    }

    /// Like [`Params::value`], without the quotes and backslashes of a quoted value.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.value(name)
            .map(|value| lex::quoted_string(value).map_or(value.into(), |(text, _)| text))
    }

    /// Whether there is such a parameter, with or without a value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        lex::split_outside(&self.0, b';').map(|param| match param.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (param, None),
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets a parameter to a value, in its old place or at the end. A character that cannot
    /// stand there is escaped as `%XX`.
    pub fn set(&mut self, name: &str, value: &str) {
        self.replace(name, Some(&lex::escaped(value, is_value_byte)));
    }

    /// Sets a parameter of a header (not of a URI) to a quoted text.
    pub fn set_quoted(&mut self, name: &str, text: &str) {
        let mut quoted = String::with_capacity(text.len() + 2);
        let _ = lex::write_quoted(&mut quoted, text);
        self.replace(name, Some(&quoted));
    }

    /// Sets a parameter without a value, such as `lr`.
    pub fn set_flag(&mut self, name: &str) {
        self.replace(name, None);
    }

    /// Removes a parameter; true if it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let mut rest = Self::new();
        for (other, value) in self.iter().filter(|(other, _)| !other.eq_ignore_ascii_case(name)) {
            rest.append(other, value);
        }
        let removed = rest != *self;
        *self = rest;
        removed
    }

    fn replace(&mut self, name: &str, value: Option<&str>) {
        let escaped = lex::escaped(name, lex::is_token_byte);
        if !self.has(&escaped) {
            return self.append(&escaped, value);
        }
        let mut changed = Self::new();
        for (other, old) in self.iter() {
            let same = other.eq_ignore_ascii_case(&escaped);
            changed.append(other, if same { value } else { old });
        }
        *self = changed;
    }

    fn append(&mut self, name: &str, value: Option<&str>) {
        let _ = write!(self.0, ";{name}");
        if let Some(value) = value {
            let _ = write!(self.0, "={value}");
        }
    }
}

/// Header parameters have tokens for names; URI parameters also `[]/:&$`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| lex::is_token_byte(b) || b"[]/:&$()".contains(&b))
}

/// A quoted string, or anything without white space and what ends a parameter. Wider than `token`
/// and `paramchar`: hosts, IPv6 without brackets (RFC 5118 §4.5), base64, UTF-8 are all seen.
fn is_value(value: &str) -> bool {
    match lex::quoted_string(value) {
        Some((_, rest)) => rest.is_empty() && !value.bytes().any(lex::is_forbidden),
        None => value
            .bytes()
            .all(|b| !b.is_ascii() || b.is_ascii_graphic() && !b"\";,<>\\".contains(&b)),
    }
}

fn is_value_byte(byte: u8) -> bool {
    lex::is_token_byte(byte) || b"[]/:&$()".contains(&byte)
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
