//! A receiver of webhooks that answers as told and remembers what it saw.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map_or("", |(_, value)| value)
    }

    /// Call and sequence number, from `webhook-id: msg_<seconds>-<n>_<sequence>`.
    pub(crate) fn event(&self) -> (i64, i64) {
        let (call, sequence) = self.header("webhook-id").rsplit_once('_').unwrap();
        let (_, call) = call.rsplit_once('-').unwrap();
        (call.parse().unwrap(), sequence.parse().unwrap())
    }
}

/// How to answer the n-th request (from 0).
pub(crate) type Answer = Arc<dyn Fn(usize) -> (Duration, String) + Send + Sync>;

pub(crate) struct Receiver {
    pub(crate) url: String,
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// An answer without a body, at once.
pub(crate) fn status(status: &str) -> (Duration, String) {
    (Duration::ZERO, format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"))
}

impl Receiver {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone(), log.clone()));
            }
        });
        Self { url: format!("http://127.0.0.1:{port}/hook"), port, seen }
    }

    pub(crate) async fn ok() -> Self {
        Self::start(Arc::new(|_| status("200 OK"))).await
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What came after the first `n`.
    pub(crate) fn seen_after(&self, n: usize) -> Vec<Seen> {
        self.seen.lock().unwrap()[n..].to_vec()
    }

    /// Waits until `n` requests have come; what they were.
    pub(crate) async fn expect(&self, n: usize) -> Vec<Seen> {
        for _ in 0..1_000 {
            if self.seen.lock().unwrap().len() >= n {
                return self.seen();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} of {n} webhooks came in 10 s", self.seen().len());
    }
}

async fn serve(stream: TcpStream, answer: Answer, log: Arc<Mutex<Vec<Seen>>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await.ok()?;
            let Some((name, value)) = header.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut seen = Seen { line: line.trim().to_owned(), headers, body: String::new() };
        let mut body = vec![0; seen.header("content-length").parse().unwrap_or(0)];
        stream.read_exact(&mut body).await.ok()?;
        seen.body = String::from_utf8(body).unwrap();
        let n = {
            let mut log = log.lock().unwrap();
            log.push(seen);
            log.len() - 1
        };
        let (pause, text) = answer(n);
        tokio::time::sleep(pause).await;
        stream.write_all(text.as_bytes()).await.ok()?;
    }
}
