//! The `Reason` header field (RFC 3326; in responses RFC 6432).
//!
//! Knows how to find the Q.850 cause in it. Refuses to know what a cause means to a call. Start at
//! [`q850`].
#![warn(clippy::indexing_slicing)]

use crate::message::{HeaderName, HeaderValue, Headers, Params, decimal, trim};

/// The Q.850 cause, 1 to 127: the first `Q.850` value with a cause in that range.
#[must_use]
pub fn q850(headers: &Headers) -> Option<u8> {
    headers.get_all(&HeaderName::REASON).find_map(q850_of)
}

/// The value `Q.850;cause=…` for a Reason header field of ours, with a text for people.
#[must_use]
pub fn q850_value(cause: u8, text: &str) -> HeaderValue {
    let mut params = Params::new();
    params.set("cause", &cause.to_string());
    if !text.is_empty() {
        params.set_quoted("text", text);
    }
    HeaderValue::cleaned(&format!("Q.850{params}"))
}

fn q850_of(value: &str) -> Option<u8> {
    let (protocol, params) = value.split_once(';')?;
    if !trim(protocol).eq_ignore_ascii_case("Q.850") {
        return None;
    }
    let params = Params::parse(params).ok()?;
    let cause = decimal(&params.text("cause")?)?;
    u8::try_from(cause).ok().filter(|cause| (1..=127).contains(cause))
}
