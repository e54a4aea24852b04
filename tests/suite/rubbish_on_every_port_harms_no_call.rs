//! Rubbish at the ports of the real program, by its trunk and by strangers, with calls up: they go
//! on, no state is kept, and counters tell.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::json;
use tokio::net::UdpSocket;

use crate::support::exchange::{Callee, Exchange};
use crate::support::hooks::Hooks;
use crate::support::http;
use crate::support::program::Site;

/// Datagrams of each kind.
const SPRAY: usize = 2_000;

/// Messages that are nearly SIP.
const NEARLY: &[&str] = &[
    "INVITE sip:1@127.0.0.1 SIP/2.0\r\n\r\n",
    "SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n",
    "SIP/2.0 999999 X\r\nVia: SIP/2.0/UDP x\r\n\r\n",
    "BYE sip:1@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 1.2.3.4;branch=z9hG4bK1\r\nFrom: <sip:a@b>\r\n\
     To: <sip:a@b>;tag=1\r\nCall-ID: \r\nCSeq: -1 BYE\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "OPTIONS sip:1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK2;rport\r\nFrom: <sip:a@b>;tag=1\r\n\
     To: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 0\r\nContent-Length: 0\r\n\r\n",
    "\0\r\n\r\n",
    "\r\n",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_and_counters_grow() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let exchange = Exchange::start("127.0.0.23").await;
    let mut hooks = Hooks::start().await;
    let site = Site::with_trunks(&[exchange.address]).await;
    let mut serving = site.serve(&[]).await;
    let numbers = [Callee::Answers.number(1), Callee::Answers.number(2)];
    let mut calls = Vec::new();
    for number in &numbers {
        let body = json!({ "number": number, "webhookUrl": hooks.url() });
        let call = site.post("/makecall", body).await.json()["callId"].as_str().unwrap().to_owned();
        hooks.expect(&call, "recording.started").await;
        calls.push(call);
    }
    let before = (
        site.metric("kaphila_sip_malformed_total").await,
        site.metric("kaphila_sip_received_total").await,
        site.metric("kaphila_media_received_total").await,
    );

    spray_sip(&site, &exchange, &mut random).await;
    spray_rtp(&exchange, &numbers, &mut random).await;
    spray_http(&site, &mut random).await;

    assert!(!serving.has_ended());
    assert!(site.metric("kaphila_sip_malformed_total").await > before.0);
    assert!(site.metric("kaphila_sip_received_total").await > before.1);
    assert!(site.metric("kaphila_media_received_total").await > before.2);
    assert_eq!(site.metric("kaphila_media_panics_total").await, 0.0);
    // What its own trunk asks for is refused, and waits for its ACK; strangers leave nothing.
    assert_eq!(site.metric("kaphila_calls_active").await, 2.0);
    let legs = site.metric("kaphila_sip_legs").await;
    assert!(legs <= 2.0 + (SPRAY / 3) as f64, "{legs}: state is kept of strangers");
    for (n, (call, number)) in calls.iter().zip(&numbers).enumerate() {
        assert!(!hooks.names(call).contains(&"dtmf.received"), "a stranger pressed a key");
        exchange.press(number, 3, 2 + n as u16).await;
        hooks.expect(call, "dtmf.received").await;
        let voice = json!({ "callId": call, "text": "Hello" });
        assert_eq!(site.post("/voice", voice).await.status, 200);
        hooks.expect(call, "tts.played").await;
        exchange.hang_up(number).await;
        let ended = hooks.expect(call, "call.ended").await;
        assert_eq!(ended["endReason"], "normal_hangup");
    }
    hooks.are_whole();
    serving.terminate();
    assert!(serving.ends(Duration::from_secs(10)).await.success());
    site.books_are_right().await;
}

async fn spray_sip(site: &Site, exchange: &Exchange, random: &mut StdRng) {
    let stranger = UdpSocket::bind("127.0.0.24:0").await.unwrap();
    let to = site.sip;
    let invite = exchange.legs()[0].invite.clone();
    for n in 0..SPRAY {
        let mut bytes = match n % 3 {
            0 => noise(random, 1_400),
            1 => NEARLY[n / 3 % NEARLY.len()].as_bytes().to_vec(),
            // A message of a real call, some bytes of it changed.
            _ => {
                let mut bytes = invite.to_string().into_bytes();
                for _ in 0..random.random_range(1..8) {
                    let at = random.random_range(0..bytes.len());
                    bytes[at] = random.random();
                }
                bytes
            }
        };
        bytes.truncate(1_400);
        exchange.send(&bytes, to).await;
        stranger.send_to(&bytes, to).await.unwrap();
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// At the calls' media ports, with headers of RTP, of RTCP and of neither; also key presses.
async fn spray_rtp(exchange: &Exchange, numbers: &[String], random: &mut StdRng) {
    let stranger = UdpSocket::bind("127.0.0.24:0").await.unwrap();
    for n in 0..SPRAY {
        let to = exchange.leg(&numbers[n % numbers.len()]).unwrap().invite.media();
        let mut bytes = noise(random, 400);
        if let [first, second, ..] = &mut bytes[..] {
            *first = 0x80 | *first & 0x3F;
            *second = [0, 101, 200, 201, 203, *second][n % 6];
        }
        stranger.send_to(&bytes, to).await.unwrap();
        let control = std::net::SocketAddr::new(to.ip(), to.port() + 1);
        stranger.send_to(&bytes, control).await.unwrap();
    }
}

async fn spray_http(site: &Site, random: &mut StdRng) {
    let deep = "[".repeat(100_000);
    let bodies =
        ["", "{", "null", "[1]", "{\"number\": 1e999}", "{\"number\": {}}", "\u{0}", &deep];
    for body in bodies {
        let text = format!(
            "POST /makecall HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            site.key,
            body.len()
        );
        let answer = http::converse(site.http, text.as_bytes()).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400"), "{body:.40}: {answer}");
        assert!(answer.contains("\"success\":false"), "{answer}");
    }
    for _ in 0..50 {
        let bytes = [&noise(random, 2_000)[..], b"\r\n\r\n"].concat();
        for port in [site.http, site.admin] {
            // Whatever it says, it says it and closes, or is closed by the other side.
            let talk = http::converse(port, &bytes);
            let _ = tokio::time::timeout(Duration::from_millis(50), talk).await;
        }
    }
    assert_eq!(site.get("/health").await.status, 200);
}

fn noise(random: &mut StdRng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(1..most)];
    random.fill_bytes(&mut bytes);
    bytes
}
