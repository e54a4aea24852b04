//! Start line and header fields: lines, folding, names, values (RFC 3261 §7.1 to §7.3).
#![warn(clippy::indexing_slicing)]

use super::check;
use super::error::{Error, ErrorKind};
use crate::error::ParseError;
use crate::limits::{MAX_HEAD, MAX_HEADER_FIELDS};
use crate::message::{
    HeaderName, HeaderValue, Headers, Message, Method, Request, Response, Uri, decimal, trim,
};
use bytes::Bytes;
use std::borrow::Cow;

/// Header fields of a usual INVITE, for which room is made at once.
const USUAL_FIELDS: usize = 20;

/// The head of a message, its framing already known.
pub(super) struct Head {
    start: StartLine,
    headers: Headers,
    /// Octets of the body, if Content-Length is there.
    pub(super) content_length: Option<usize>,
}

enum StartLine {
    Request(Method, Uri),
    Response(u16, String),
    /// Some request whose first line is wrong; its method may be told.
    Bad(ErrorKind, Option<Method>),
}

/// Head and body: the head ends before the first empty line. A line of a datagram may end in a
/// bare LF: a datagram has an end of its own, and nobody reads it behind us.
pub(super) fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut line = 0;
    loop {
        let rest = data.get(line..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        if matches!(rest.get(..end), Some(b"" | b"\r")) {
            return Some((data.get(..line)?, data.get(line + end + 1..)?));
        }
        line += end + 1;
    }
}

impl Head {
    /// Reads a head, without the empty line that ends it.
    pub(super) fn parse(head: &[u8]) -> Result<Self, Error> {
        if head.len() > MAX_HEAD {
            return Err(ErrorKind::TooLarge.into());
        }
        let text = readable(head);
        let (first, fields) = text.split_once('\n').unwrap_or((&text, ""));
        let start = StartLine::parse(first.strip_suffix('\r').unwrap_or(first));
        let mut parsed =
            Self { start, headers: Headers::with_capacity(USUAL_FIELDS), content_length: None };
        match parsed.read_fields(fields) {
            Ok(()) => Ok(parsed),
            Err(kind) => Err(parsed.refuse(kind)),
        }
    }

    fn read_fields(&mut self, fields: &str) -> Result<(), ErrorKind> {
        let mut length_is_bad = false;
        for (count, line) in unfolded(fields).enumerate() {
            if count == MAX_HEADER_FIELDS {
                return Err(ErrorKind::TooManyFields);
            }
            // A line that is no header field is no reason to refuse the others.
            let Some((name, value)) = line.split_once(':') else { continue };
            let Ok(name) = HeaderName::parse(name.trim_end_matches([' ', '\t'])) else { continue };
            if name == HeaderName::CONTENT_LENGTH {
                let length = decimal(trim(value)).and_then(|length| usize::try_from(length).ok());
                let differs = self.content_length.is_some() && self.content_length != length;
                length_is_bad |= differs || length.is_none();
                self.content_length = length;
                continue;
            }
            self.headers.push(name, HeaderValue::cleaned(value));
        }
        // Only now, so that the answer has all that could be read.
        if length_is_bad { Err(ErrorKind::ContentLength) } else { Ok(()) }
    }

    /// The message, if it has what every message must have.
    pub(super) fn into_message(self, body: Bytes) -> Result<Message, Error> {
        let method = match &self.start {
            StartLine::Request(method, _) => Some(method),
            StartLine::Response(..) => None,
            StartLine::Bad(kind, _) => {
                let kind = *kind;
                return Err(self.refuse(kind));
            }
        };
        if let Err(kind) = check::mandatory(&self.headers, method) {
            return Err(self.refuse(kind));
        }
        let headers = self.headers;
        match self.start {
            StartLine::Request(method, uri) => Ok(Request { method, uri, headers, body }.into()),
            StartLine::Response(status, reason) => {
                Ok(Response { status, reason, headers, body }.into())
            }
            StartLine::Bad(kind, _) => Err(kind.into()),
        }
    }

    /// The error, with what an answer needs.
    pub(super) fn refuse(self, kind: ErrorKind) -> Error {
        match self.start {
            StartLine::Request(method, _) => Error::of_request(kind, method, self.headers),
            // What is wrong with the first line matters more than what follows it.
            StartLine::Bad(kind, Some(method)) => Error::of_request(kind, method, self.headers),
            StartLine::Bad(kind, None) => kind.into(),
            StartLine::Response(..) => kind.into(),
        }
    }
}

impl StartLine {
    fn parse(line: &str) -> Self {
        let is_response = line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("SIP/"));
        let parsed = if is_response { Self::response(line) } else { Self::request(line) };
        parsed.unwrap_or_else(|kind| Self::Bad(kind, if is_response { None } else { told(line) }))
    }

    fn request(line: &str) -> Result<Self, ErrorKind> {
        let bad = |why| ErrorKind::StartLine(ParseError(why));
        let mut words = line.split(' ');
        let (Some(method), Some(uri), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad("not three words"));
        };
        check_version(version)?;
        let method = Method::parse(method).map_err(ErrorKind::StartLine)?;
        Ok(Self::Request(method, Uri::parse(uri).map_err(ErrorKind::StartLine)?))
    }

    fn response(line: &str) -> Result<Self, ErrorKind> {
        let (version, rest) = line.split_once(' ').unwrap_or((line, ""));
        check_version(version)?;
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let status = (status.len() == 3).then(|| decimal(status)).flatten();
        let status = status.and_then(|status| u16::try_from(status).ok());
        match status.filter(|status| (100..700).contains(status)) {
            Some(status) => {
                // As the writer writes it: a bare CR would not survive.
                let reason = reason.replace(|c: char| c.is_ascii_control(), " ");
                Ok(Self::Response(status, trim(&reason).to_owned()))
            }
            None => Err(ErrorKind::StartLine(ParseError("bad status code"))),
        }
    }
}

/// The method of what looks like a request, for its answer.
fn told(line: &str) -> Option<Method> {
    let version = line.trim_end().rsplit(' ').next()?;
    version.get(..4).filter(|start| start.eq_ignore_ascii_case("SIP/"))?;
    Method::parse(line.split(' ').next()?).ok()
}

fn check_version(version: &str) -> Result<(), ErrorKind> {
    match version {
        version if version.eq_ignore_ascii_case("SIP/2.0") => Ok(()),
        version if version.get(..4).is_some_and(|v| v.eq_ignore_ascii_case("SIP/")) => {
            Err(ErrorKind::Version)
        }
        _ => Err(ErrorKind::StartLine(ParseError("no SIP version"))),
    }
}

/// The head as text: octets that are no UTF-8, and NUL, read as U+FFFD. That harms only the field
/// they stand in, and only if somebody needs it.
fn readable(head: &[u8]) -> Cow<'_, str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(head),
    };
    if text.contains('\0') { text.replace('\0', "\u{FFFD}").into() } else { text }
}

/// Lines, with those that begin with white space joined to the one before by a space (§7.3.1).
fn unfolded(fields: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut lines =
        fields.split_terminator('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)).peekable();
    std::iter::from_fn(move || {
        let mut line = Cow::Borrowed(lines.next()?);
        while let Some(more) = lines.next_if(|next| next.starts_with([' ', '\t'])) {
            let folded = line.to_mut();
            folded.truncate(folded.trim_end_matches([' ', '\t']).len());
            folded.push(' ');
            folded.push_str(trim(more));
        }
        Some(line)
    })
}
