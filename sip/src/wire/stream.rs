//! Messages out of a stream (RFC 3261 §18.3, RFC 5626 §4.4.1): TCP and TLS.
//!
//! Knows where a message ends and holds the octets until then, within bounds. Refuses to know the
//! connection. Start at [`StreamParser`].
#![warn(clippy::indexing_slicing)]

use super::error::{Error, ErrorKind};
use super::head::Head;
use super::{Input, keep_alive, skip_empty_lines};
use crate::limits::{MAX_MESSAGE, MAX_STREAM_HEAD};
use bytes::{Buf, Bytes, BytesMut};

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Octets of a message: its head, with the empty line that ends it, and its body.
struct Framed {
    head: usize,
    body: usize,
}

/// Frames one connection's octets. [`StreamParser::push`] what was read, then
/// [`StreamParser::poll`] until it has no more.
#[derive(Default)]
pub struct StreamParser {
    buffer: BytesMut,
    /// Octets of the buffer in which the end of the head was looked for in vain.
    searched: usize,
    /// A head whose body has not come yet, the octets of both, and how many there must be.
    head: Option<(Head, Framed)>,
    taken: Bytes,
    pong_is_due: bool,
    /// Set by an error after which nothing can be read.
    ended: bool,
}

impl StreamParser {
    /// A parser that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read from the connection.
    ///
    /// # Errors
    /// If more is held than one message may have, or the stream has ended in an error: close it.
    pub fn push(&mut self, data: &[u8]) -> Result<(), Error> {
        if self.ended || self.buffer.len() + data.len() > 2 * MAX_MESSAGE {
            self.ended = true;
            return Err(ErrorKind::TooLarge.into());
        }
        self.buffer.extend_from_slice(data);
        Ok(())
    }

    /// The next message or keep-alive; `None` if it has not come whole.
    ///
    /// # Errors
    /// If a message is refused. If [`Error::ends_stream`], answer and close; else go on.
    pub fn poll(&mut self) -> Result<Option<Input>, Error> {
        if self.ended {
            return Ok(None);
        }
        let polled = self.poll_head().and_then(|input| match input {
            Some(input) => Ok(Some(input)),
            None => self.poll_body(),
        });
        self.ended = matches!(&polled, Err(error) if error.ends_stream());
        polled
    }

    /// The octets of the message that was given out or refused last.
    pub fn taken(&mut self) -> Bytes {
        std::mem::take(&mut self.taken)
    }

    /// We have sent a ping: a single empty line is its answer and need not wait for what follows.
    pub fn expect_pong(&mut self) {
        self.pong_is_due = true;
    }

    /// Whether a message has begun and not ended: how long that may last is the driver's to say.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.head.is_some() || !skip_empty_lines(&self.buffer).is_empty()
    }

    fn poll_head(&mut self) -> Result<Option<Input>, Error> {
        if self.head.is_some() {
            return Ok(None);
        }
        if let Some(input) = self.poll_keep_alive() {
            return Ok(Some(input));
        }
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(at) = unsearched.windows(END_OF_HEAD.len()).position(|four| four == END_OF_HEAD)
        else {
            self.searched = self.buffer.len().saturating_sub(END_OF_HEAD.len() - 1);
            let too_large = self.buffer.len() > MAX_STREAM_HEAD;
            return if too_large { Err(ErrorKind::TooLarge.into()) } else { Ok(None) };
        };
        let length = self.searched + at + END_OF_HEAD.len();
        self.searched = 0;
        match read_head(self.buffer.get(..length).unwrap_or_default()) {
            Ok((head, body)) => {
                self.head = Some((head, Framed { head: length, body }));
                Ok(None)
            }
            Err(error) => {
                self.taken = self.buffer.split_to(length).freeze();
                Err(error)
            }
        }
    }

    /// Empty lines before a message: two are a ping, one is the answer to ours.
    fn poll_keep_alive(&mut self) -> Option<Input> {
        let empty = self.buffer.len() - skip_empty_lines(&self.buffer).len();
        let lines = self.buffer.get(..empty.min(END_OF_HEAD.len()))?;
        let lines = if self.pong_is_due && lines.starts_with(b"\r\n") {
            b"\r\n"
        } else if lines.starts_with(END_OF_HEAD) {
            END_OF_HEAD
        } else if lines.starts_with(b"\r\n") && (self.buffer.len() > 2 && empty < 3) {
            b"\r\n"
        } else {
            return None;
        };
        self.pong_is_due = false;
        self.buffer.advance(lines.len());
        self.searched = 0;
        keep_alive(lines)
    }

    fn poll_body(&mut self) -> Result<Option<Input>, Error> {
        match self.head.take() {
            Some((head, framed)) if self.buffer.len() >= framed.head + framed.body => {
                self.taken = self.buffer.split_to(framed.head + framed.body).freeze();
                // Copied: a body that is kept must not keep the whole buffer.
                let body = self.taken.get(framed.head..).unwrap_or_default();
                let body = Bytes::copy_from_slice(body);
                head.into_message(body).map(|message| Some(Input::Message(message)))
            }
            head => {
                self.head = head;
                Ok(None)
            }
        }
    }
}

/// A head with the empty line that ends it, and how many octets of body follow.
fn read_head(bytes: &[u8]) -> Result<(Head, usize), Error> {
    let bytes = bytes.get(..bytes.len().saturating_sub(2)).unwrap_or_default();
    let head = Head::parse(bytes)?;
    if has_bare_lf(bytes) {
        return Err(head.refuse(ErrorKind::BareLf));
    }
    match head.content_length {
        Some(length) if bytes.len() + length > MAX_MESSAGE => Err(head.refuse(ErrorKind::TooLarge)),
        Some(length) => Ok((head, length)),
        None => Err(head.refuse(ErrorKind::NoContentLength)),
    }
}

fn has_bare_lf(bytes: &[u8]) -> bool {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.into_iter().any(|line| line.ends_with(b"\n") && !line.ends_with(b"\r\n"))
}
