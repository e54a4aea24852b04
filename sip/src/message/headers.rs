//! The header fields of a message.
//!
//! An ordered list; a field keeps its text, and values are read only when asked for, so that a bad
//! one that nobody asks for does no harm. Start at [`Headers::get`] for text, [`Headers::via`] and
//! its neighbours for typed values.
#![warn(clippy::indexing_slicing)]

use super::{CSeq, HeaderName, HeaderValue, NameAddr, Transport, Via, lex, values};
use crate::error::{FieldError, ParseError};
use crate::limits::MAX_LIST_VALUES;
use std::net::SocketAddr;
use std::time::Duration;

/// Header fields in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

/// Whether a list of tokens names this one, whatever its case: Require, Supported, Allow.
pub(crate) fn has_token(headers: &Headers, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).any(|value| value.trim().eq_ignore_ascii_case(token))
}

impl Headers {
    /// No header fields.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn with_capacity(fields: usize) -> Self {
        Self(Vec::with_capacity(fields))
    }

    /// The first value of this name: up to the first comma where the header is a list.
    #[must_use]
    pub fn get(&self, name: &HeaderName) -> Option<&str> {
        self.get_all(name).next()
    }

    /// Each value of this name in its order, over all its fields; where the header is a list, it is
    /// split at the commas that stand outside quotes and `<>` (RFC 3261 §7.3.1).
    pub fn get_all<'a, 'n>(
        &'a self,
        name: &'n HeaderName,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        let is_list = name.is_list();
        self.fields(name).flat_map(move |value| {
            let (list, one) = if is_list {
                (Some(lex::split_outside(value, b',')), None)
            } else {
                (None, Some(value))
            };
            list.into_iter().flatten().chain(one)
        })
    }

    /// The text of each field of this name, lists unsplit.
    fn fields<'a, 'n>(
        &'a self,
        name: &'n HeaderName,
    ) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether there is such a field.
    #[must_use]
    pub fn has(&self, name: &HeaderName) -> bool {
        self.fields(name).next().is_some()
    }

    /// Whether a list such as Supported, Require or Allow names this token, in any case.
    #[must_use]
    pub fn lists(&self, name: &HeaderName, token: &str) -> bool {
        self.get_all(name).any(|value| value.eq_ignore_ascii_case(token))
    }

    /// The fields in their order, lists unsplit.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: HeaderName, value: impl Into<HeaderValue>) {
        self.0.push((name, value.into()));
    }

    /// Adds a field before all others: a Via or a Route.
    pub fn prepend(&mut self, name: HeaderName, value: impl Into<HeaderValue>) {
        self.0.insert(0, (name, value.into()));
    }

    /// Puts one field in place of all of this name, where the first of them was.
    pub fn set(&mut self, name: HeaderName, value: impl Into<HeaderValue>) {
        let at = self.0.iter().position(|(other, _)| *other == name).unwrap_or(self.0.len());
        self.remove(&name);
        self.0.insert(at.min(self.0.len()), (name, value.into()));
    }

    /// Removes all fields of this name; true if there was one.
    pub fn remove(&mut self, name: &HeaderName) -> bool {
        let before = self.0.len();
        self.0.retain(|(other, _)| other != name);
        self.0.len() != before
    }

    /// Puts `value` in place of the first value of this name, and leaves those that follow it.
    pub fn replace_first(&mut self, name: &HeaderName, value: impl Into<HeaderValue>) {
        let Some((_, field)) = self.0.iter_mut().find(|(other, _)| other == name) else {
            return self.push(name.clone(), value);
        };
        let value = value.into();
        *field = match lex::split_once_outside(field.as_str(), b',').filter(|_| name.is_list()) {
            Some((_, rest)) => {
                HeaderValue::cleaned(&format!("{}, {}", value.as_str(), lex::trim(rest)))
            }
            None => value,
        };
    }

    /// The top Via.
    ///
    /// # Errors
    /// If there is none or it is bad.
    pub fn via(&self) -> Result<Via, FieldError> {
        self.first(&HeaderName::VIA, Via::parse)
    }

    /// `Call-ID`, as it stands.
    ///
    /// # Errors
    /// If there is none or it is empty.
    pub fn call_id(&self) -> Result<&str, FieldError> {
        self.get(&HeaderName::CALL_ID)
            .filter(|id| !id.is_empty())
            .ok_or(FieldError::Missing(HeaderName::CALL_ID.static_str()))
    }

    /// `CSeq`.
    ///
    /// # Errors
    /// If there is none or it is bad.
    pub fn cseq(&self) -> Result<CSeq, FieldError> {
        self.first(&HeaderName::CSEQ, CSeq::parse)
    }

    /// `From`.
    ///
    /// # Errors
    /// If there is none or it is bad.
    pub fn from(&self) -> Result<NameAddr, FieldError> {
        self.first(&HeaderName::FROM, NameAddr::parse)
    }

    /// `To`.
    ///
    /// # Errors
    /// If there is none or it is bad.
    pub fn to(&self) -> Result<NameAddr, FieldError> {
        self.first(&HeaderName::TO, NameAddr::parse)
    }

    /// The first `Contact`; `*` is an error, since it names nobody.
    ///
    /// # Errors
    /// If there is none or it is bad.
    pub fn contact(&self) -> Result<NameAddr, FieldError> {
        self.first(&HeaderName::CONTACT, NameAddr::parse)
    }

    /// Every `Contact`.
    ///
    /// # Errors
    /// If one is bad or there are too many.
    pub fn contacts(&self) -> Result<Vec<NameAddr>, FieldError> {
        self.all(&HeaderName::CONTACT, NameAddr::parse)
    }

    /// Every `Record-Route`, top first.
    ///
    /// # Errors
    /// If one is bad or there are too many: a route set must be whole (RFC 3261 §12.1).
    pub fn record_routes(&self) -> Result<Vec<NameAddr>, FieldError> {
        self.all(&HeaderName::RECORD_ROUTE, NameAddr::parse)
    }

    /// Every `Route`, top first.
    ///
    /// # Errors
    /// If one is bad or there are too many.
    pub fn routes(&self) -> Result<Vec<NameAddr>, FieldError> {
        self.all(&HeaderName::ROUTE, NameAddr::parse)
    }

    /// `Content-Type`, as it stands; see [`is_media_type`](super::is_media_type).
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.get(&HeaderName::CONTENT_TYPE)
    }

    /// The time of `Retry-After`; a bad one counts as none.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.get(&HeaderName::RETRY_AFTER).and_then(|value| values::retry_after(value).ok())
    }

    /// Writes down where a request came from: `received` and `rport` in its top Via
    /// (RFC 3261 §18.2.1, RFC 3581 §4). A Via that cannot be read, or names a transport that we do
    /// not know, stays as it is.
    pub fn note_source(&mut self, remote: SocketAddr) {
        let Ok(mut via) = self.via() else { return };
        let asks_rport = via.asks_rport();
        let ip = remote.ip().to_canonical();
        if via.transport == Transport::Other || (!asks_rport && via.host.ip() == Some(ip)) {
            return;
        }
        if asks_rport {
            via.params.set("rport", &remote.port().to_string());
        }
        via.params.set("received", &ip.to_string());
        self.replace_first(&HeaderName::VIA, via);
    }

    pub(crate) fn first<T>(
        &self,
        name: &HeaderName,
        parse: fn(&str) -> Result<T, ParseError>,
    ) -> Result<T, FieldError> {
        let value = self.get(name).ok_or(FieldError::Missing(name.static_str()))?;
        parse(value).map_err(|problem| FieldError::Bad { name: name.static_str(), problem })
    }

    pub(crate) fn all<T>(
        &self,
        name: &HeaderName,
        parse: fn(&str) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, FieldError> {
        let bad = |problem| FieldError::Bad { name: name.static_str(), problem };
        let mut all = Vec::new();
        for value in self.get_all(name) {
            if all.len() == MAX_LIST_VALUES {
                return Err(bad(ParseError("too many values")));
            }
            all.push(parse(value).map_err(bad)?);
        }
        Ok(all)
    }
}
