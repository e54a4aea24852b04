//! Clients that are slow, greedy or many are refused within bounds; others are served meanwhile.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use kaphila::http::serve::{Limits, Listener};
use kaphila::http::tls::Tls;
use kaphila::store::Millis;
use kaphila::tls::Files;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::api::{Api, send};
use crate::support::http::{converse, request};
use crate::support::program::Site;
use crate::support::server::Server;

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener with short bounds; its port.
async fn listen(limits: Limits, tls: Option<Tls>) -> (u16, CancellationToken) {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = listener.with_limits(limits).with_tls(tls.map(Into::into));
    let (port, stop) = (listener.address.port(), CancellationToken::new());
    let router = Router::new().route("/", get(|| async { "here" })).route("/long", get(long));
    let router = router.route("/pieces", get(pieces));
    tokio::spawn(listener.serve(router, stop.clone()));
    (port, stop)
}

/// An answer of 64 MiB.
async fn long() -> Vec<u8> {
    vec![b'x'; 64 << 20]
}

/// As much, in pieces that are made as they are taken.
async fn pieces() -> axum::body::Body {
    let piece = || Ok::<_, std::convert::Infallible>(vec![b'x'; 64 << 10]);
    let pieces = futures_util::stream::iter(std::iter::repeat_with(piece).take(1 << 10));
    axum::body::Body::from_stream(pieces)
}

/// Asks for them.
const PIECES: &[u8] = b"GET /pieces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A connection whose kernel takes no more than a few KiB that nobody has read.
async fn connect_small(port: u16) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    socket.connect(([127, 0, 0, 1], port).into()).await.unwrap()
}

fn short() -> Limits {
    let second = Duration::from_secs(1);
    Limits { header_time: second, handshake_time: second, unread_time: second, ..Limits::default() }
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// Reads to the end of the connection, which must come; what came, and after how long.
async fn until_closed(mut stream: impl AsyncRead + Unpin) -> (String, Duration) {
    let began = Instant::now();
    let mut all = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it is never closed");
    (String::from_utf8_lossy(&all).into_owned(), began.elapsed())
}

async fn is_served(port: u16) {
    let began = Instant::now();
    let answer = request(port, "GET /", "", None).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "here"));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_or_half_a_header_is_closed_in_time() {
    let (port, stop) = listen(short(), None).await;
    let silent = connect(port).await;
    let mut half = connect(port).await;
    half.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    // One byte at a time, each well within the time.
    let (mut read, mut write) = connect(port).await.into_split();
    let drip = tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    });
    is_served(port).await;
    for stream in [silent, half] {
        let (_, took) = until_closed(stream).await;
        assert!(took < Duration::from_secs(4), "{took:?}");
    }
    let mut rest = Vec::new();
    let _ =
        timeout(Duration::from_secs(4), read.read_to_end(&mut rest)).await.expect("it is closed");
    timeout(PATIENCE, drip).await.expect("the dripper is told so").unwrap();
    // A connection that is kept ends when nothing is asked any more.
    let mut kept = connect(port).await;
    kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let (answer, took) = until_closed(kept).await;
    assert!(answer.ends_with("here") && took < Duration::from_secs(4), "{answer} {took:?}");
    is_served(port).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_house_makes_room_for_who_has_something_to_say() {
    let limits = Limits { connections: 20, ..Limits::default() };
    let (port, stop) = listen(limits, None).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(connect(port).await);
        if idle.len() % 20 == 0 {
            is_served(port).await;
        }
    }
    // The longest idle were closed for it, at once and not after the half minute.
    for stream in idle.drain(..60) {
        let (_, took) = until_closed(stream).await;
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_are_bounded_in_number_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = Files { cert: folder.path().join("c.pem"), key: folder.path().join("k.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let tls = Tls::open(files, Millis::wall_clock()).unwrap();
    let limits = Limits { handshakes: 10, header_time: PATIENCE, ..short() };
    let (port, stop) = listen(limits, Some(tls)).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_der(made.cert.der()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
    let url = format!("https://localhost:{port}/");
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(connect(port).await);
    }
    let began = Instant::now();
    assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "here");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    for (n, stream) in silent.into_iter().enumerate() {
        let (_, took) = until_closed(stream).await;
        assert!(took < Duration::from_secs(3), "{n}: {took:?}");
    }
    // Rubbish, and HTTP without TLS, end their own connection.
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16; 200], &[0; 5]] {
        let mut stream = connect(port).await;
        stream.write_all(bytes).await.unwrap();
        let (answer, took) = until_closed(stream).await;
        assert!(!answer.contains("here") && took < Duration::from_secs(3), "{answer} {took:?}");
    }
    assert_eq!(client.get(&url).send().await.unwrap().text().await.unwrap(), "here");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_nobody_reads_is_given_up() {
    let (port, stop) = listen(short(), None).await;
    let mut stream = connect(port).await;
    stream.write_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // Not a byte is read for longer than that; the kernel's buffers hold a part.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (answer, took) = until_closed(stream).await;
    assert!(answer.len() < 64 << 20 && took < Duration::from_secs(4), "{} {took:?}", answer.len());
    is_served(port).await;
    stop.cancel();
}

/// A byte now and then keeps the kernel's own time-out away; 16 KiB a second it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_taken_in_a_trickle_is_given_up() {
    let (port, stop) = listen(short(), None).await;
    let mut stream = connect_small(port).await;
    stream.write_all(PIECES).await.unwrap();
    // What was on its way when it was given up is still read.
    let trickle = async {
        while stream.read_exact(&mut [0; 100]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, trickle).await.expect("a trickle holds its place");
    is_served(port).await;
    stop.cancel();
}

/// Reads the rest of an answer of [`pieces`], which must all come: of one that is given up the
/// kernel still brings what it has.
async fn the_rest_comes(mut stream: TcpStream, taken: usize) {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end").unwrap();
    assert!(taken + rest.len() > 64 << 20, "given up after {taken} and {} bytes", rest.len());
}

/// What the kernel keeps for a client would hide for seconds that it goes on reading.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_with_large_buffers_is_kept() {
    let (port, stop) = listen(short(), None).await;
    let mut stream = connect(port).await;
    stream.write_all(PIECES).await.unwrap();
    let mut buffer = vec![0; 16 << 10];
    let (began, mut taken) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(8) {
        stream.read_exact(&mut buffer).await.unwrap();
        taken += buffer.len();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    the_rest_comes(stream, taken).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_full_house_who_takes_nothing_gives_way_to_who_has_something_to_say() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let (port, stop) = listen(limits, None).await;
    let mut buffer = vec![0; 512 << 10];
    let mut ask = async || {
        let mut stream = connect_small(port).await;
        stream.write_all(PIECES).await.unwrap();
        // The answer has begun.
        stream.read_exact(&mut buffer[..9]).await.unwrap();
        stream
    };
    let (mut honest, stalled) = (ask().await, ask().await);
    let mut taken = 9;
    for _ in 0..3 {
        honest.read_exact(&mut buffer).await.unwrap();
        taken += buffer.len();
        is_served(port).await;
    }
    the_rest_comes(honest, taken).await;
    let (_, took) = until_closed(stalled).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    stop.cancel();
}

/// RFC 9113 §5.2: a client says how much it takes, also nothing at all. PING (§6.7) is answered all
/// the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_http_2_client_that_takes_nothing_holds_nothing() {
    let limits = Limits { connections: 2, ..short() };
    let (port, stop) = listen(limits, None).await;
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS with SETTINGS_INITIAL_WINDOW_SIZE (4) = 0, §6.5.
    request.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    // HEADERS of stream 1, END_STREAM and END_HEADERS: RFC 7541 appendix A names 2 (:method GET),
    // 6 (:scheme http), 4 (:path) and 1 (:authority).
    request.extend([0, 0, 14, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x44, 7]);
    request.extend(b"/pieces");
    request.extend([0x41, 1, b'x']);
    let mut stalled = Vec::new();
    for pings in [0, 200] {
        let (read, mut write) = connect(port).await.into_split();
        write.write_all(&request).await.unwrap();
        stalled.push(tokio::spawn(until_closed(read)));
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(pings);
        tokio::spawn(async move {
            while write.write_all(&ping).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    for client in stalled {
        let (_, took) = client.await.unwrap();
        // A request that is refused would be closed at once.
        let expected = Duration::from_millis(900)..Duration::from_secs(5);
        assert!(expected.contains(&took), "held its place for {took:?}");
    }
    is_served(port).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_headers_are_refused_unread() {
    let (port, stop) = listen(Limits::default(), None).await;
    for head in [
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(10_000)),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100_000)),
    ] {
        let mut stream = connect(port).await;
        // It may hang up before it has heard all.
        let _ = stream.write_all(head.as_bytes()).await;
        let (answer, _) = until_closed(stream).await;
        let refused =
            ["HTTP/1.1 431 ", "HTTP/1.1 414 ", ""].iter().any(|it| answer.starts_with(it));
        assert!(refused && !answer.contains("here"), "{answer}");
    }
    let fits = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(12_000));
    let fits = fits.replace("Host: x", "Host: x\r\nConnection: close");
    let answer = String::from_utf8(converse(port, fits.as_bytes()).await.unwrap()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    is_served(port).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_compressed_and_lying_bodies() {
    let server = Server::start(&[], 5).await;
    let api = Api::of(&server).await;
    let path = "/makecall";
    for encoding in ["gzip", "br", "deflate, gzip", "identity, gzip"] {
        // A kilobyte of it is a gigabyte; not a byte is looked at.
        let request = api.request(Method::POST, path).header("content-encoding", encoding);
        let refused = send(request.body(vec![0x1F, 0x8B, 8, 0])).await;
        refused.refused(415, "UNSUPPORTED_ENCODING", "Content-Encoding");
        let stranger = api.bare(Method::POST, path).header("content-encoding", encoding);
        send(stranger.body("x")).await.refused(401, "UNAUTHORIZED", "");
    }
    let plain = api.request(Method::POST, path).header("content-encoding", "identity");
    send(plain.json(&json!({}))).await.refused(400, "INVALID_REQUEST", "number is required");

    let began = Instant::now();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 20\r\n\r\n{{\"number\":",
        server.key
    );
    let mut stream = connect(api.port()).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 4_096];
    let read = timeout(PATIENCE, stream.read(&mut answer)).await.expect("an answer").unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("BODY_TIMEOUT"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());

    // A body of no end: refused when it is over the limit, not at its end.
    let head = head.replace("Content-Length: 20", "Transfer-Encoding: chunked");
    let head = head.split_once("{\"").unwrap().0;
    let mut stream = connect(api.port()).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let mut sent = 0;
    while sent < 64 << 20 && stream.write_all(chunk.as_bytes()).await.is_ok() {
        sent += 0x10000;
    }
    assert!(sent < 64 << 20, "all of it was taken");
    // And one that says at once how long it is.
    let claims = head.replace("Transfer-Encoding: chunked", "Content-Length: 99999999999");
    let mut stream = connect(api.port()).await;
    stream.write_all(claims.as_bytes()).await.unwrap();
    let mut answer = [0; 4_096];
    let read = timeout(PATIENCE, stream.read(&mut answer)).await.expect("an answer").unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(server.account().await.total_calls, 0);
    api.stop();
    server.ends_clean().await;
}

/// A thousand half requests of 12 kB each, then a thousand bodies that nobody asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_within_bounds() {
    const CROWD: usize = 1_000;
    let site = Site::with_trunks(&[]).await;
    let mut serving = site.serve(&[]).await;
    let before = serving.resident_bytes();
    let head = format!("GET /health HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(12_000));
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut stream = connect(site.http).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        crowd.push(stream);
    }
    assert_eq!(site.get("/health").await.status, 200);
    let grown = serving.resident_bytes().saturating_sub(before);
    println!("{CROWD} half requests: {} kB each", grown / CROWD / 1_024);
    assert!(grown < CROWD * 64 * 1_024, "{grown} bytes");
    drop(crowd);
    let body = "x".repeat(200_000);
    let posts =
        format!("POST /makecall HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n{body}");
    for _ in 0..CROWD {
        let mut stream = connect(site.http).await;
        // Without a key it is refused before it is read.
        let _ = stream.write_all(posts.as_bytes()).await;
    }
    assert_eq!(site.get("/health").await.status, 200);
    let grown = serving.resident_bytes().saturating_sub(before);
    assert!(grown < CROWD * 64 * 1_024, "{grown} bytes");
    serving.terminate();
    assert!(serving.ends(Duration::from_secs(10)).await.success());
}
