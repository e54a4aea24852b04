//! One connection of TCP or TLS: opened or taken, read into messages, written from a queue, kept
//! alive, and closed when the far end is slow.
//!
//! It knows where messages end and how long they may take. It refuses to know what they mean: they
//! go to the driver, whose queue the connection waits for, so that a far end which sends more than
//! is handled is slowed down by TCP.
#![allow(clippy::disallowed_methods, reason = "a driver: reads the clock")]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use super::dial::{Opened, Opening};
use crate::endpoint::ConnectionId;
use crate::limits::{
    CLOSE_TIMEOUT, PING_INTERVAL, PONG_TIMEOUT, READ_SIZE, STRANGER_TIMEOUT, UNFINISHED_TIMEOUT,
    WRITE_TIMEOUT,
};
use crate::message::Message;
use crate::wire::{self, Input, StreamParser};

/// What a connection tells the driver.
#[derive(Debug)]
pub(super) enum Heard {
    /// The one that was dialled is open.
    Open,
    /// A message, or why it was refused, and its octets.
    Message(Box<Result<Message, wire::Error>>, Bytes),
    /// A ping or a pong.
    KeepAlive,
    /// It is closed; the last word.
    Closed(String),
}

/// What a connection's task has from the driver.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// Whose far end is no trunk: it does not last.
    pub(super) is_strangers: bool,
    /// We opened it: we keep it alive.
    pub(super) is_ours: bool,
    pub(super) heard: mpsc::Sender<(ConnectionId, Heard)>,
    /// What is to be written. Once the driver has dropped its end, what is left is written and the
    /// connection closed.
    pub(super) queue: mpsc::Receiver<Bytes>,
    /// Octets in the queue.
    pub(super) queued: Arc<AtomicUsize>,
}

const PING: Bytes = Bytes::from_static(b"\r\n\r\n");
const PONG: Bytes = Bytes::from_static(b"\r\n");

impl Connection {
    /// Opens it and carries it to its end.
    pub(super) async fn dial(self, opening: Opening) {
        let (id, heard) = (self.id, self.heard.clone());
        let why = match opening.open().await {
            Ok(opened) => {
                let _ = heard.send((id, Heard::Open)).await;
                match opened {
                    Opened::Tcp(stream) => self.carry(stream).await,
                    Opened::Tls(stream) => self.carry(*stream).await,
                }
            }
            Err(why) => why,
        };
        let _ = heard.send((id, Heard::Closed(why))).await;
    }

    /// Carries one that was accepted, over TLS after its handshake.
    pub(super) async fn accept(self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let (id, heard) = (self.id, self.heard.clone());
        let why = match tls {
            None => self.carry(stream).await,
            Some(acceptor) => match timeout(UNFINISHED_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => self.carry(stream).await,
                Ok(Err(error)) => format!("TLS: {error}"),
                Err(_) => "TLS: the handshake took too long".to_owned(),
            },
        };
        let _ = heard.send((id, Heard::Closed(why))).await;
    }

    /// Reads and writes until either ends; why.
    async fn carry<S: AsyncRead + AsyncWrite>(self, stream: S) -> String {
        let (reader, writer) = tokio::io::split(stream);
        let (pinged, answer) = (Notify::new(), Notify::new());
        let read = Reader {
            id: self.id,
            heard: &self.heard,
            ends_at: self.is_strangers.then(|| Instant::now() + STRANGER_TIMEOUT),
            parser: StreamParser::new(),
            began: None,
            pong_due: None,
            has_ponged: false,
            pinged: &pinged,
            answer: &answer,
        };
        let write = write(writer, self.queue, &self.queued, self.is_ours, &pinged, &answer);
        tokio::select! {
            why = read.run(reader) => why,
            why = write => why,
        }
    }
}

/// Writes what is queued, answers pings, and pings where nothing was written for long.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Bytes>,
    queued: &AtomicUsize,
    is_ours: bool,
    pinged: &Notify,
    answer: &Notify,
) -> String {
    loop {
        let data = tokio::select! {
            biased;
            data = queue.recv() => match data {
                Some(data) => {
                    queued.fetch_sub(data.len(), Ordering::Relaxed);
                    data
                }
                None => {
                    let _ = timeout(CLOSE_TIMEOUT, writer.shutdown()).await;
                    return "closed".to_owned();
                }
            },
            () = answer.notified() => PONG,
            () = sleep(PING_INTERVAL), if is_ours => {
                pinged.notify_one();
                PING
            }
        };
        let written = async {
            writer.write_all(&data).await?;
            writer.flush().await
        };
        match timeout(WRITE_TIMEOUT, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "the far end does not read".to_owned(),
        }
    }
}

/// The reading half.
struct Reader<'a> {
    id: ConnectionId,
    heard: &'a mpsc::Sender<(ConnectionId, Heard)>,
    /// When a stranger's is closed whatever it sends.
    ends_at: Option<Instant>,
    parser: StreamParser,
    /// When the message began that has not come whole.
    began: Option<Instant>,
    pong_due: Option<Instant>,
    has_ponged: bool,
    pinged: &'a Notify,
    answer: &'a Notify,
}

impl Reader<'_> {
    async fn run(mut self, mut reader: impl AsyncRead + Unpin) -> String {
        loop {
            let unfinished = self.began.map(|began| began + UNFINISHED_TIMEOUT);
            let deadline = [self.ends_at, unfinished, self.pong_due].into_iter().flatten().min();
            let late = async {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let parser = &mut self.parser;
            tokio::select! {
                biased;
                () = late => return "nothing whole came in time".to_owned(),
                read = std::future::poll_fn(|cx| read_some(cx, &mut reader, parser)) => match read {
                    Ok(true) => {}
                    Ok(false) => return "closed by the far end".to_owned(),
                    Err(why) => return why,
                },
                () = self.pinged.notified() => {
                    self.parser.expect_pong();
                    self.pong_due = self.has_ponged.then(|| Instant::now() + PONG_TIMEOUT);
                    continue;
                }
            }
            self.pong_due = None; // whatever came, somebody is there
            if !self.tell_all().await {
                sleep(CLOSE_TIMEOUT).await; // the driver closes it once it has answered
                return "no SIP".to_owned();
            }
        }
    }

    /// Gives what is whole to the driver; false if nothing can be read any more.
    async fn tell_all(&mut self) -> bool {
        let mut is_new = false;
        loop {
            let heard = match self.parser.poll() {
                Ok(None) => break,
                Ok(Some(Input::Ping)) => {
                    self.answer.notify_one();
                    Heard::KeepAlive
                }
                Ok(Some(Input::Pong)) => {
                    self.has_ponged = true;
                    Heard::KeepAlive
                }
                Ok(Some(Input::Message(message))) => {
                    Heard::Message(Box::new(Ok(message)), self.parser.taken())
                }
                Err(error) => {
                    let ends = error.ends_stream();
                    let heard = Heard::Message(Box::new(Err(error)), self.parser.taken());
                    if self.heard.send((self.id, heard)).await.is_err() || ends {
                        return false;
                    }
                    is_new = true;
                    continue;
                }
            };
            is_new = true;
            if self.heard.send((self.id, heard)).await.is_err() {
                return false;
            }
        }
        // A message's time runs from its own first octet, however slowly the others come.
        let began = self.began.filter(|_| !is_new);
        self.began = self.parser.is_waiting().then(|| began.unwrap_or_else(Instant::now));
        true
    }
}

/// Reads what is there into the parser; false at the end of the stream. The buffer lives no longer
/// than that: ten thousand connections that are silent hold none.
fn read_some(
    cx: &mut Context<'_>,
    reader: &mut (impl AsyncRead + Unpin),
    parser: &mut StreamParser,
) -> Poll<Result<bool, String>> {
    let mut octets = [0; READ_SIZE];
    let mut buffer = ReadBuf::new(&mut octets);
    match ready!(Pin::new(reader).poll_read(cx, &mut buffer)) {
        // TLS that ends without saying so.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(false)),
        Err(error) => Poll::Ready(Err(error.to_string())),
        Ok(()) if buffer.filled().is_empty() => Poll::Ready(Ok(false)),
        Ok(()) => {
            let pushed = parser.push(buffer.filled());
            Poll::Ready(pushed.map(|()| true).map_err(|error| error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests;
