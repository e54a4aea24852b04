//! `"Display name" <uri>;params`: the value of From, To, Contact, Route and their like
//! (RFC 3261 §20.10).
#![warn(clippy::indexing_slicing)]

use super::{Params, Uri, lex};
use crate::error::ParseError;
use std::fmt;
use std::str::FromStr;

/// A URI with a display name and header parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameAddr {
    /// The display name as plain text, without quotes and backslashes.
    pub display: Option<String>,
    /// Whom it names.
    pub uri: Uri,
    /// Parameters of the header (those behind `>`), not of the URI.
    pub params: Params,
}

impl NameAddr {
    /// Only a URI.
    #[must_use]
    pub const fn new(uri: Uri) -> Self {
        Self { display: None, uri, params: Params::new() }
    }

    /// Reads `name-addr` or `addr-spec` with parameters. Without `<>`, parameters are the
    /// header's, and a `?` or a comma in the URI is an error (§20.10).
    ///
    /// # Errors
    /// If a quote or `<` is not closed, the URI is bad, or something else follows it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = lex::trim(text);
        let (display, rest) = match lex::quoted_string(text) {
            Some((display, rest)) => (Some(display.into_owned()), lex::trim(rest)),
            None if text.starts_with('"') => return Err(ParseError("unclosed quote")),
            None => match text.find('<') {
                Some(angle) => {
                    let (display, rest) = text.split_at(angle);
                    if display.contains('"') {
                        return Err(ParseError("quote inside a display name"));
                    }
                    (Some(lex::trim(display)).filter(|d| !d.is_empty()).map(str::to_owned), rest)
                }
                None => return Self::parse_addr_spec(text),
            },
        };
        let (uri, rest) = rest
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .ok_or(ParseError("URI not in <>"))?;
        Ok(Self { display, uri: Uri::parse(lex::trim(uri))?, params: parse_rest(lex::trim(rest))? })
    }

    fn parse_addr_spec(text: &str) -> Result<Self, ParseError> {
        let (uri, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        if uri.contains(['?', ',']) {
            return Err(ParseError("URI with ? or , not in <>"));
        }
        Ok(Self { display: None, uri: Uri::parse(lex::trim(uri))?, params: parse_rest(rest)? })
    }

    /// The `tag` parameter (§19.3).
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.params.value("tag").filter(|tag| !tag.is_empty())
    }

    /// With this tag.
    #[must_use]
    pub fn with_tag(mut self, tag: &str) -> Self {
        self.params.set("tag", tag);
        self
    }
}

fn parse_rest(rest: &str) -> Result<Params, ParseError> {
    if rest.is_empty() || rest.starts_with(';') {
        Params::parse(rest)
    } else {
        Err(ParseError("text behind the URI"))
    }
}

impl From<Uri> for NameAddr {
    fn from(uri: Uri) -> Self {
        Self::new(uri)
    }
}

impl FromStr for NameAddr {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            lex::write_quoted(f, display)?;
            f.write_str(" ")?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}
