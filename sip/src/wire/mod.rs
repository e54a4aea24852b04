//! Bytes to messages: the only code that touches raw input.
//!
//! Knows framing, line ends, folding, compact names, bad UTF-8 and the bounds of
//! [`limits`](crate::limits). Refuses to know what a message is for. What comes out has a readable
//! top Via, From, To, Call-ID and CSeq, each of the last four once; every other header field is
//! looked at only when somebody asks for it. Start at [`parse_datagram`].
#![warn(clippy::indexing_slicing)]

mod check;
mod error;
mod head;
mod stream;

pub use error::{Error, ErrorKind};
pub use stream::StreamParser;

use crate::limits::MAX_MESSAGE;
use crate::message::Message;
use bytes::Bytes;
use head::Head;

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "made once for each message and taken apart at once")]
pub enum Input {
    /// Two empty lines: the sender waits for one back on a stream (RFC 5626 §4.4.1).
    Ping,
    /// An empty line, or the zero octets that some telephones send: only to keep a binding alive.
    Pong,
    /// A message.
    Message(Message),
}

/// Reads one datagram. Octets behind the end that Content-Length gives are ignored; without a
/// Content-Length the body reaches to the end (RFC 3261 §18.3).
///
/// # Errors
/// If it is no message that we take; [`Error::reply`] has the answer, where one is due.
pub fn parse_datagram(data: &[u8]) -> Result<Input, Error> {
    if let Some(keep_alive) = keep_alive(data) {
        return Ok(keep_alive);
    }
    if data.len() > MAX_MESSAGE {
        return Err(ErrorKind::TooLarge.into());
    }
    let data = skip_empty_lines(data);
    let (head, body) = head::split(data).ok_or(ErrorKind::Unfinished)?;
    let head = Head::parse(head)?;
    let length = match head.content_length {
        Some(length) if length > body.len() => return Err(head.refuse(ErrorKind::ShortBody)),
        Some(length) => length,
        None => body.len(),
    };
    let body = body.get(..length).unwrap_or_default();
    head.into_message(Bytes::copy_from_slice(body)).map(Input::Message)
}

/// Whether there is nothing but empty lines or zero octets.
fn keep_alive(data: &[u8]) -> Option<Input> {
    match data {
        b"\r\n\r\n" => Some(Input::Ping),
        data if data.iter().all(|byte| matches!(byte, b'\r' | b'\n' | b' ' | 0)) => {
            Some(Input::Pong)
        }
        _ => None,
    }
}

/// Empty lines before a message are to be ignored (RFC 3261 §7.5).
fn skip_empty_lines(data: &[u8]) -> &[u8] {
    let start = data.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(data.len());
    data.get(start..).unwrap_or_default()
}

/// What the fuzz target runs: whatever is read must be written so that it reads the same.
///
/// # Panics
/// If it is not: that is a finding.
#[allow(clippy::panic, clippy::expect_used, reason = "a fuzz target reports by a panic")]
pub fn fuzz_wire(data: &[u8]) {
    let mut stream = StreamParser::new();
    if stream.push(data).is_ok() {
        while let Ok(Some(_)) = stream.poll() {}
    }
    match parse_datagram(data) {
        Ok(Input::Message(message)) => {
            touch(&message);
            let written = message.to_bytes();
            match parse_datagram(&written) {
                Ok(Input::Message(again)) => assert_eq!(again, message, "read, written, read"),
                other => panic!("written as {written:?}, read as {other:?}"),
            }
        }
        Ok(Input::Ping | Input::Pong) => {}
        Err(error) => {
            if let Some(reply) = error.reply(([192, 0, 2, 1], 5060).into()) {
                let _ = parse_datagram(&reply.to_bytes());
            }
        }
    }
}

/// Reads every typed value, and what it prints as once more.
#[allow(clippy::expect_used, reason = "a fuzz target reports by a panic")]
fn touch(message: &Message) {
    use crate::message::{Described, NameAddr, Uri, Via, session_description};
    let headers = message.headers();
    let addresses = [headers.from(), headers.to(), headers.contact()];
    for address in addresses.into_iter().flatten() {
        let again = NameAddr::parse(&address.to_string()).expect("an address printed reads back");
        assert_eq!(again, address);
        assert!(address.uri.equivalent(&again.uri));
        let _ = (address.uri.user_text(), address.uri.socket_addr(), address.tag());
    }
    for via in headers.all(&crate::message::HeaderName::VIA, Via::parse).unwrap_or_default() {
        assert_eq!(Via::parse(&via.to_string()).as_ref(), Ok(&via));
        let _ = (via.received(), via.rport(), via.branch());
    }
    let described = session_description(headers.content_type(), message.body());
    if let Described::By(sdp) = described {
        assert!(sdp.len() <= message.body().len(), "a part is no longer than the whole");
    }
    if let Message::Request(request) = message {
        assert_eq!(Uri::parse(&request.uri.to_string()).as_ref(), Ok(&request.uri));
        let mut copy = request.clone();
        copy.headers.note_source(([192, 0, 2, 1], 5060).into());
        let mut response = crate::message::Response::to_request(&copy, 200, "");
        response.set_to_tag("tag");
        assert!(parse_datagram(&response.to_bytes()).is_ok(), "an answer to {request:?}");
    }
    let _ = (headers.record_routes(), headers.routes(), headers.retry_after());
    let _ = (crate::reason::q850(headers), headers.content_type());
}
