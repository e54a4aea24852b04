//! Connections of TCP that cost and give nothing: thousands of them, half-open ones, messages that
//! never end, far ends that do not read. Calls beside them go on.
#![allow(clippy::disallowed_methods, reason = "trunks ask again and again, in real time")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use kaphila_sip::endpoint::{EndpointConfig, Network, OptionsSpec};
use kaphila_sip::limits::MAX_ACCEPTED;
use kaphila_sip::message::{NameAddr, Transport, Uri};
use kaphila_sip::net::{Sip, SipConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

/// Trunks are at 127.0.1.x, anybody else is a stranger.
fn listening() -> (Sip, SocketAddr) {
    listening_for(MAX_ACCEPTED)
}

fn listening_for(max_connections: usize) -> (Sip, SocketAddr) {
    let config = SipConfig {
        endpoint: EndpointConfig { seed: 1, ..EndpointConfig::default() },
        udp: Vec::new(),
        max_connections,
        tcp: vec![([127, 0, 0, 1], 0).into()],
        trusted: vec!["127.0.1.0/24".parse::<Network>().unwrap()],
        ..SipConfig::default()
    };
    let (sip, _) = Sip::start(config).unwrap();
    let address = sip.local_addrs()[0];
    (sip, address)
}

async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(from)), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

fn options(number: usize) -> String {
    format!(
        "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.1.1;branch=z9hG4bK{number}\r\n\
         From: <sip:o@127.0.1.1>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: o{number}\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A trunk gets its answer, in time.
async fn serves(to: SocketAddr, from: [u8; 4]) {
    let mut stream = connect(from, to).await;
    let start = Instant::now();
    stream.write_all(options(0).as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    let read = tokio::time::timeout(Duration::from_secs(2), stream.read_exact(&mut answer)).await;
    read.expect("an answer in time").unwrap();
    assert_eq!(&answer, b"SIP/2.0 200 OK\r", "after {:?}", start.elapsed());
}

/// How many connections this machine lets a test hold, both ends of each in this process.
fn possible(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX).min(2 * wanted + 1_000);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }).unwrap();
    let possible = wanted.min((most - 1_000) / 2);
    if possible < wanted {
        println!("{possible} connections instead of {wanted}: the limit of open files is {most}");
    }
    possible
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_are_held_and_trunks_served_beside_them() {
    let (sip, to) = listening();
    let wanted = possible(10_000);
    let start = Instant::now();
    let mut held = Vec::new();
    for number in 0..wanted {
        // A hundred of each stranger, and each begins a message that it will never end.
        let [.., middle, low] = (number / 100).to_be_bytes();
        let mut stream = connect([127, 1, middle, low], to).await;
        stream.write_all(b"INVITE sip:").await.unwrap();
        held.push(stream);
        if number % 1_000 == 999 {
            serves(to, [127, 0, 1, 1]).await;
        }
    }
    let opened = start.elapsed();
    // Full or not: a trunk has room.
    serves(to, [127, 0, 1, 2]).await;
    // A stranger's next one beyond its hundred is closed without a word.
    let mut one_more = connect([127, 1, 0, 0], to).await;
    let mut octet = [0; 1];
    let closed = tokio::time::timeout(Duration::from_secs(5), one_more.read(&mut octet)).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    let last = Instant::now();
    for mut stream in held {
        let closed = tokio::time::timeout(Duration::from_secs(15), stream.read(&mut octet)).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    }
    let took = last.elapsed();
    assert!(took < Duration::from_secs(14), "all closed after {took:?}, opened in {opened:?}");
    serves(to, [127, 0, 1, 3]).await;
    // Closed connections leave nothing.
    let mut left = usize::MAX;
    for _ in 0..100 {
        left = sip.counters().await.unwrap().1.connections;
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(left, 0);
    sip.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_takes_the_place_of_the_oldest_stranger() {
    let (sip, to) = listening_for(3);
    let mut strangers = Vec::new();
    for number in 0..3 {
        strangers.push(connect([127, 1, 1, number], to).await);
    }
    let mut octet = [0; 1];
    // Full: another stranger is closed, a trunk is not.
    let mut late = connect([127, 1, 1, 9], to).await;
    assert!(matches!(late.read(&mut octet).await, Ok(0) | Err(_)));
    serves(to, [127, 0, 1, 1]).await;
    assert!(matches!(strangers[0].read(&mut octet).await, Ok(0) | Err(_)));
    let still_open = tokio::time::timeout(Duration::from_millis(50), strangers[1].read(&mut octet));
    assert!(still_open.await.is_err());
    assert_eq!(sip.counters().await.unwrap().0.refused_connections, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_that_asks_and_does_not_read_loses_its_connection_alone() {
    let (sip, to) = listening();
    let mut greedy = connect([127, 0, 1, 1], to).await;
    let all: String = (0..2_000).map(options).collect();
    let flood = async { while greedy.write_all(all.as_bytes()).await.is_ok() {} };
    let calm = async {
        loop {
            serves(to, [127, 0, 1, 2]).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), async {
        tokio::select! {
            () = flood => {}
            () = calm => {}
        }
    });
    ended.await.expect("closed in time");
    let (counters, _) = sip.counters().await.unwrap();
    assert!(counters.stateless_replies > 1_000, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_loses_the_framing_is_answered_and_closed() {
    let (_sip, to) = listening();
    let lies = [
        (options(1).replace("Content-Length: 0", "Content-Length: 99999999"), "513"),
        (options(2).replace("Content-Length: 0\r\n", ""), "400"),
        (options(3).replace("Content-Length: 0", "Content-Length: -1"), "400"),
    ];
    for (text, status) in lies {
        let mut stream = connect([127, 0, 1, 1], to).await;
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer));
        read.await.expect("closed").unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("SIP/2.0 {status}")), "{text}: {answer}");
    }
    // A stranger gets nothing but its end.
    let mut stream = connect([127, 1, 1, 1], to).await;
    stream.write_all(options(2).replace("Content-Length: 0\r\n", "").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer));
    read.await.expect("closed").unwrap();
    assert_eq!(answer, b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_and_a_stranger_asks_once() {
    let (sip, to) = listening();
    let mut trunk = connect([127, 0, 1, 1], to).await;
    for _ in 0..3 {
        trunk.write_all(b"\r\n\r\n").await.unwrap();
        let mut pong = [0; 2];
        trunk.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"\r\n");
    }
    let mut stranger = connect([127, 1, 1, 1], to).await;
    let long = options(1).replace("CSeq", &format!("X-Long: {}\r\nCSeq", "x".repeat(200)));
    stranger.write_all(format!("{long}{long}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stranger.read_to_end(&mut answer));
    let _ = read.await.expect("closed"); // reset where the second was not read
    let answer = String::from_utf8_lossy(&answer);
    assert_eq!(answer.matches("SIP/2.0 403").count(), 1, "{answer}");
    assert_eq!(sip.counters().await.unwrap().0.keep_alives, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn options_over_a_connection_get_an_answer() {
    let (sip, to) = listening();
    sip.set_trusted(vec![Network::ANY_V4]).await.unwrap();
    let spec = OptionsSpec {
        credentials: None,
        uri: Uri::at(None, to),
        from: NameAddr::from(Uri::at(Some("k"), to)),
        remote: to,
        transport: Transport::Tcp,
        tls_name: None,
        timeout: Duration::from_secs(2),
    };
    assert_eq!(sip.options(spec).await.unwrap(), Ok(200), "from itself");
}
