//! One connection against a far end at the other end of a pipe, on a clock that jumps.

use std::time::Duration;

use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::task::JoinHandle;

use super::*;

const OPTIONS: &str = "OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKx\r\n\
     From: <sip:b@192.0.2.9>;tag=1\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\
     Content-Length: 4\r\n\r\nbody";

struct Pipe {
    far: DuplexStream,
    queue: mpsc::Sender<Bytes>,
    heard: mpsc::Receiver<(ConnectionId, Heard)>,
    task: JoinHandle<String>,
}

/// A pipe that holds `octets` each way.
fn pipe(octets: usize, is_ours: bool, is_strangers: bool) -> Pipe {
    let (near, far) = tokio::io::duplex(octets);
    let (heard, heard_queue) = mpsc::channel(16);
    let (queue, waiting) = mpsc::channel(16);
    let queued = Arc::new(AtomicUsize::new(1 << 20));
    let id = ConnectionId(1);
    let connection = Connection { id, is_strangers, is_ours, heard, queue: waiting, queued };
    Pipe { far, queue, heard: heard_queue, task: tokio::spawn(connection.carry(near)) }
}

impl Pipe {
    async fn write(&mut self, octets: impl AsRef<[u8]>) {
        self.far.write_all(octets.as_ref()).await.unwrap();
    }

    async fn read(&mut self) -> Vec<u8> {
        let mut octets = vec![0; 64];
        let length = self.far.read(&mut octets).await.unwrap();
        octets.truncate(length);
        octets
    }

    /// The next message's octets.
    async fn message(&mut self) -> Bytes {
        loop {
            match self.heard.recv().await.unwrap().1 {
                Heard::Message(message, data) => {
                    assert!(message.is_ok(), "{message:?}");
                    return data;
                }
                Heard::KeepAlive => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// How long it lasts from now on, and why it ends.
async fn ends(pipe: Pipe) -> (Duration, String) {
    let start = Instant::now();
    let why = pipe.task.await.unwrap();
    (start.elapsed(), why)
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs()
}

#[tokio::test(start_paused = true)]
async fn messages_come_whole_with_their_octets_however_they_are_cut() {
    let mut pipe = pipe(1 << 16, false, false);
    pipe.write(format!("\r\n\r\n{OPTIONS}")).await;
    assert_eq!(pipe.message().await, OPTIONS);
    assert_eq!(pipe.read().await, b"\r\n", "RFC 5626 §4.4.1: a pong for a ping");
    for octet in OPTIONS.bytes() {
        pipe.write([octet]).await;
    }
    assert_eq!(pipe.message().await, OPTIONS);
}

#[tokio::test(start_paused = true)]
async fn a_message_has_ten_seconds_however_its_octets_trickle() {
    let mut pipe = pipe(1 << 16, false, false);
    tokio::time::sleep(Duration::from_secs(3_000)).await; // silence between messages may last
    assert!(!pipe.task.is_finished());
    let start = Instant::now();
    for octet in OPTIONS.bytes() {
        if pipe.far.write_all(&[octet]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(seconds(start.elapsed()), 10);
    assert_eq!(pipe.task.await.unwrap(), "nothing whole came in time");
}

#[tokio::test(start_paused = true)]
async fn a_content_length_that_lies_is_waited_for_ten_seconds() {
    let mut pipe = pipe(1 << 16, false, false);
    pipe.write(OPTIONS.replace("Length: 4", "Length: 400")).await;
    let (lasted, why) = ends(pipe).await;
    assert_eq!((seconds(lasted), why.as_str()), (10, "nothing whole came in time"));
}

#[tokio::test(start_paused = true)]
async fn one_message_after_the_other_gets_its_own_ten_seconds() {
    let mut pipe = pipe(1 << 16, false, false);
    let (head, tail) = OPTIONS.split_at(100);
    pipe.write(head).await;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(9)).await;
        pipe.write(format!("{tail}{head}")).await;
        assert_eq!(pipe.message().await, OPTIONS);
    }
}

#[tokio::test(start_paused = true)]
async fn a_strangers_lasts_ten_seconds_whatever_it_sends() {
    let mut pipe = pipe(1 << 16, false, true);
    let start = Instant::now();
    while pipe.far.write_all(b"\r\n\r\n").await.is_ok() {
        while pipe.heard.try_recv().is_ok() {}
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(seconds(start.elapsed()), 10);
}

#[tokio::test(start_paused = true)]
async fn ours_is_kept_alive_and_a_far_end_that_had_ponged_is_missed() {
    let mut pipe = pipe(1 << 16, true, false);
    let start = Instant::now();
    for round in 1..=3 {
        assert_eq!(pipe.read().await, b"\r\n\r\n");
        assert_eq!(seconds(start.elapsed()), 90 * round);
        pipe.write("\r\n").await;
        assert!(matches!(pipe.heard.recv().await.unwrap().1, Heard::KeepAlive));
    }
    assert_eq!(pipe.read().await, b"\r\n\r\n");
    let (lasted, _) = ends(pipe).await;
    assert_eq!(seconds(lasted), 10);
}

#[tokio::test(start_paused = true)]
async fn a_far_end_that_never_pongs_is_not_missed() {
    let mut pipe = pipe(1 << 16, true, false);
    for _ in 0..5 {
        assert_eq!(pipe.read().await, b"\r\n\r\n");
    }
    assert!(!pipe.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_closed_after_ten_seconds() {
    let pipe = pipe(64, false, false);
    for _ in 0..8 {
        pipe.queue.send(Bytes::from_static(&[b'x'; 64])).await.unwrap();
    }
    let (lasted, why) = ends(pipe).await;
    assert_eq!((seconds(lasted), why.as_str()), (10, "the far end does not read"));
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_is_written_before_it_is_closed() {
    let mut pipe = pipe(1 << 16, false, false);
    pipe.queue.send(Bytes::from_static(b"last words")).await.unwrap();
    let (closed, _) = mpsc::channel(1);
    drop(std::mem::replace(&mut pipe.queue, closed));
    assert_eq!(pipe.read().await, b"last words");
    assert_eq!(pipe.read().await, b"");
    assert_eq!(pipe.task.await.unwrap(), "closed");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_sip_ends_it() {
    let mut pipe = pipe(1 << 16, false, false);
    pipe.write("GET / HTTP/1.1\r\nHost: here\r\n\r\n").await;
    let (_, Heard::Message(message, data)) = pipe.heard.recv().await.unwrap() else { panic!() };
    assert!(message.unwrap_err().ends_stream());
    assert!(data.starts_with(b"GET / "));
    let (lasted, why) = ends(pipe).await;
    assert!(lasted <= CLOSE_TIMEOUT + Duration::from_millis(1) && why == "no SIP", "{why}");
}
