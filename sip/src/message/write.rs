//! The one place that writes messages (RFC 3261 §7).
//!
//! Names are tokens and values have no CR, LF or NUL by their types; what is plain text in a
//! message (the reason phrase) is cleaned here. Content-Length is counted here and nowhere else.

use super::{HeaderName, Headers, Request, Response};
use bytes::Bytes;
use std::fmt::Write as _;

/// Room for a start line, an INVITE's header fields and SDP, so that the buffer grows seldom.
const USUAL_LINE: usize = 96;

impl Request {
    /// As it goes on the wire, with Content-Length.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = buffer(&self.headers, &self.body);
        let _ = write!(out, "{} {} SIP/2.0\r\n", self.method, self.uri);
        finish(out, &self.headers, &self.body)
    }
}

impl Response {
    /// As it goes on the wire, with Content-Length.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = buffer(&self.headers, &self.body);
        let _ = write!(out, "SIP/2.0 {:03} ", self.status);
        out.extend(self.reason.chars().map(|c| if c.is_ascii_control() { ' ' } else { c }));
        out.push_str("\r\n");
        finish(out, &self.headers, &self.body)
    }
}

fn buffer(headers: &Headers, body: &Bytes) -> String {
    let fields: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.as_str().len() + 4).sum();
    String::with_capacity(2 * USUAL_LINE + fields + body.len())
}

fn finish(mut out: String, headers: &Headers, body: &Bytes) -> Bytes {
    for (name, value) in headers.iter().filter(|(name, _)| **name != HeaderName::CONTENT_LENGTH) {
        out.push_str(name.as_str());
        out.push_str(": ");
        out.push_str(value.as_str());
        out.push_str("\r\n");
    }
    let _ = write!(out, "{}: {}\r\n\r\n", HeaderName::CONTENT_LENGTH, body.len());
    let mut out = out.into_bytes();
    out.extend_from_slice(body);
    out.into()
}
