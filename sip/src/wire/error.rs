//! Why bytes were refused, and what may be answered.
#![warn(clippy::indexing_slicing)]

use crate::error::{FieldError, ParseError};
use crate::message::{Headers, Method, Response};
use std::net::SocketAddr;

/// What is wrong. Blame: who sent it, or who tampers with what others send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// Longer than [`MAX_MESSAGE`](crate::limits::MAX_MESSAGE) or
    /// [`MAX_HEAD`](crate::limits::MAX_HEAD).
    #[error("message too large")]
    TooLarge,
    /// More header fields than [`MAX_HEADER_FIELDS`](crate::limits::MAX_HEADER_FIELDS).
    #[error("too many header fields")]
    TooManyFields,
    /// No empty line ends the head: cut off, or no SIP.
    #[error("no end of the header fields")]
    Unfinished,
    /// The first line is neither a request line nor a status line.
    #[error("bad start line: {0}")]
    StartLine(ParseError),
    /// Another version than SIP/2.0.
    #[error("not SIP/2.0")]
    Version,
    /// Content-Length is no number, or two values differ: where the message ends is unknown.
    #[error("bad Content-Length")]
    ContentLength,
    /// A message on a stream without Content-Length (RFC 3261 §18.3).
    #[error("no Content-Length on a stream")]
    NoContentLength,
    /// Content-Length promises more than the datagram holds (RFC 3261 §18.3).
    #[error("body shorter than Content-Length")]
    ShortBody,
    /// A line of a stream ends in a bare LF: another reader might see other messages in it.
    #[error("bare LF on a stream")]
    BareLf,
    /// A header field that every message must have is missing, repeated or bad.
    #[error("{0}")]
    Field(FieldError),
    /// The method in CSeq is another than the request's (RFC 3261 §8.1.1.5).
    #[error("CSeq names another method")]
    CSeqMethod,
}

/// A refused message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct Error {
    /// What is wrong with it.
    pub kind: ErrorKind,
    /// What could be told of a request, so that it can be answered.
    request: Option<Box<(Method, Headers)>>,
}

impl Error {
    pub(super) fn of_request(kind: ErrorKind, method: Method, headers: Headers) -> Self {
        Self { kind, request: Some(Box::new((method, headers))) }
    }

    /// Method of the refused request; `None` if it was a response or nothing could be told.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        self.request.as_deref().map(|(method, _)| method)
    }

    /// The stateless answer, to be sent to where the request came from: 400, 505 or 513. None for
    /// an ACK, for what was no request, and for one whose Via cannot be told.
    #[must_use]
    pub fn reply(&self, remote: SocketAddr) -> Option<Response> {
        let (method, headers) = self.request.as_deref()?;
        if *method == Method::Ack || !headers.has(&crate::message::HeaderName::VIA) {
            return None;
        }
        let status = match self.kind {
            ErrorKind::Version => 505,
            ErrorKind::TooLarge | ErrorKind::TooManyFields => 513,
            _ => 400,
        };
        let mut response = Response::to_headers(headers, status);
        if status == 400 {
            response.reason = format!("Bad Request ({self})");
        }
        response.headers.note_source(remote);
        Some(response)
    }

    /// Whether a stream cannot be read on: nobody knows where its next message begins.
    #[must_use]
    pub const fn ends_stream(&self) -> bool {
        !matches!(self.kind, ErrorKind::Field(_) | ErrorKind::CSeqMethod | ErrorKind::Version)
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, request: None }
    }
}
