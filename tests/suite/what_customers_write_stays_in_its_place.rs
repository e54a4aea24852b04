//! R7: whatever text comes as number, caller id, file name or metadata is refused, or stands on the
//! wire exactly as it was meant: no header, path or host of the customer's. A million texts with
//! much of what could do harm, always the same ones.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kaphila::call::{PromptError, Prompts as _};
use kaphila::number::Number;
use kaphila::prompts::LocalPrompts;
use kaphila::store::{Millis, Trunk, TrunkId, TrunkSettings};
use kaphila::trunk::target::Target;
use kaphila::tts::Speech;
use kaphila_sip::endpoint::{Advertised, Endpoint, EndpointConfig, LocalId};
use kaphila_sip::invite::{Body, Identity, InviteSpec};
use kaphila_sip::message::Transport;
use kaphila_sip::net::resolve::{Route, Way};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::Method;
use rsip::prelude::{HeadersExt as _, ToTypedHeader as _};
use serde_json::{Map, Value, json};

use crate::support::api::{Api, send};
use crate::support::carrier::{Carrier, Message};
use crate::support::server::Server;

const SEED: u64 = 0x5245_4e43;

/// Pairs of number and caller id, and file names: 10⁶ texts in all.
const PAIRS: usize = 150_000;
const NAMES: usize = 700_000;

// --- Texts ---

const HARMFUL: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\t",
    "\r\nVia: SIP/2.0/UDP evil.example\r\n",
    "\r\n\r\nINVITE sip:9@evil.example SIP/2.0\r\n",
    "@evil.example",
    ";maddr=192.0.2.66",
    "?Route=%3Csip:evil.example%3E",
    "%0d%0aX:y",
    "%40",
    "<sip:9@evil.example>",
    ">",
    "\"",
    ";",
    "@",
    ":",
    "?",
    "%",
    "/",
    "!",
    "_",
    "\\",
    ":5060",
    ";tag=1",
    "tel:",
    "sip:",
    ",",
    "&",
    "=",
    "१२३",
    "３",
    "\u{200b}",
    "\u{202e}",
    "é",
    "x",
];

/// Text that is mostly a number as people write them, often with something in it that is none.
fn near_number(rng: &mut StdRng) -> String {
    let mut text = ["", "", "+", "00", " +", "("][rng.random_range(0..6)].to_owned();
    for _ in 0..rng.random_range(1..18) {
        match rng.random_range(0..40) {
            0..4 => text.push([' ', '-', '.', '(', ')'][rng.random_range(0..5)]),
            4 => text.push(['*', '#', '+'][rng.random_range(0..3)]),
            5 => text += HARMFUL[rng.random_range(0..HARMFUL.len())],
            6 if rng.random_range(0..4) == 0 => text.push(rng.random()),
            _ => text.push(char::from(b'0' + rng.random_range(0..10))),
        }
    }
    text
}

const NAME_PIECES: &[&str] = &[
    "custom",
    "welcome",
    "secret",
    "out",
    "up",
    "/",
    "/",
    "/",
    "..",
    "../",
    ".",
    "./",
    "//",
    "sound:",
    "\\",
    "\0",
    "%2e%2e%2f",
    "%00",
    ".wav",
    "\r\n",
    " ",
    "~",
    "etc/passwd",
    "file:///",
    "é",
];

fn near_name(rng: &mut StdRng, outside: &Path) -> String {
    let mut name = match rng.random_range(0..8) {
        0 => "sound:".to_owned(),
        1 => format!("{}/", outside.display()),
        2 => "custom/".to_owned(),
        _ => String::new(),
    };
    for _ in 0..rng.random_range(1..5) {
        match rng.random_range(0..20) {
            0 => name.push(rng.random()),
            _ => name += NAME_PIECES[rng.random_range(0..NAME_PIECES.len())],
        }
    }
    name
}

// --- Numbers and caller ids ---

/// What the specification makes of a text: separators and one leading `+` or `00` away, then 3 to
/// 15 digits, `*` or `#`; `None` is a 400.
fn meant(text: &str) -> Option<String> {
    let kept = text.replace([' ', '-', '.', '(', ')'], "");
    let mut digits = kept.strip_prefix('+').unwrap_or(&kept);
    // "000" is a number, and an emergency number too.
    while let [b'0', b'0', _, _, ..] = digits.as_bytes() {
        digits = &digits[2..];
    }
    let known = digits.bytes().all(|byte| b"0123456789*#".contains(&byte));
    (known && (3..=15).contains(&digits.len())).then(|| digits.to_owned())
}

/// The INVITE that goes to a trunk of each kind.
fn invite(target: &Target, number: &Number, caller: &Number) -> String {
    let addressing = target.addressing(number, Some(caller.as_str()), None);
    let spec = InviteSpec {
        identity: Identity {
            call_id: "call".into(),
            from_tag: "tag".into(),
            branch: "z9hG4bKbranch".into(),
            cseq: 1,
        },
        request_uri: addressing.request_uri,
        from: addressing.from,
        to: addressing.to,
        remote: target.remote,
        transport: target.transport,
        tls_name: target.tls_name.clone(),
        large_over_tcp: false,
        headers: addressing.headers,
        body: Some(Body::sdp("v=0\r\n")),
        no_answer_timeout: Duration::from_secs(4),
        peers: target.peers.clone(),
        credentials: target.credentials.clone(),
    };
    let mut endpoint = Endpoint::new(EndpointConfig::default());
    let ours: SocketAddr = ([127, 0, 0, 1], 5_060).into();
    endpoint.add_local(LocalId(0), Transport::Udp, ours, Advertised::Fixed(ours));
    endpoint.invite(Instant::now(), spec).unwrap();
    let sent = endpoint.poll_transmit().unwrap();
    assert_eq!(sent.remote, target.remote);
    String::from_utf8(sent.data.to_vec()).unwrap()
}

fn target(identity: &str) -> Target {
    let mut settings = TrunkSettings::new("t", "sip:127.0.0.2:5070");
    settings.identity = identity.to_owned();
    let (created_at, updated_at) = (Millis(0), Millis(0));
    let trunk = Trunk { id: TrunkId(1), settings, disabled: false, created_at, updated_at };
    let way = Way { remote: ([127, 0, 0, 2], 5_070).into(), transport: Transport::Udp };
    Target::at(&trunk, Route::of([way])).unwrap()
}

/// As a digit string stands in the user part of a URI (RFC 3261 §25.1: `*` may, `#` may not).
fn escaped(digits: &str) -> String {
    digits.replace('#', "%23")
}

#[test]
fn numbers_and_caller_ids_are_refused_or_dialled_as_meant() {
    // The message by hand but for what is not the customer's: the same for every call.
    let plain = |text: &str| Number::parse(text).unwrap();
    let targets = ["none", "pai", "rpid"].map(target);
    let templates = [&targets[0], &targets[1], &targets[2]]
        .map(|target| invite(target, &plain("5550001"), &plain("5550002")));
    assert_eq!(templates[1].matches("5550002").count(), 2, "{}", templates[1]);
    assert!(templates[1].contains("\r\nP-Asserted-Identity: <sip:5550002@127.0.0.1>\r\n"));
    assert!(templates[2].contains("\r\nRemote-Party-ID: <sip:5550002@127.0.0.1>;party="));

    let mut rng = StdRng::seed_from_u64(SEED);
    let (mut refused, mut dialled) = (0, 0);
    for at in 0..PAIRS {
        let texts = [near_number(&mut rng), near_number(&mut rng)];
        let parsed = texts.each_ref().map(|text| Number::parse(text).ok());
        for (text, parsed) in texts.iter().zip(&parsed) {
            let parsed = parsed.as_ref().map(Number::as_str);
            assert_eq!(parsed, meant(text).as_deref(), "{text:?}");
        }
        let [Some(number), Some(caller)] = parsed else {
            refused += 1;
            continue;
        };
        dialled += 1;
        let (target, template) = (&targets[at % 3], &templates[at % 3]);
        let sent = invite(target, &number, &caller);
        let [to, from] = [&number, &caller].map(|it| escaped(it.as_str()));
        let expected = template.replace("5550001", &to).replace("5550002", &from);
        assert_eq!(sent, expected, "{texts:?}");
        if dialled % 16 == 0 {
            second_opinion(&sent, &format!("00{to}"), &from);
        }
    }
    println!("R7: {PAIRS} pairs of number and caller id: {refused} refused, {dialled} dialled");
    assert!(refused > PAIRS / 5 && dialled > PAIRS / 5);
}

/// rsip reads who is called where by whom, and no header more than there should be.
fn second_opinion(sent: &str, to: &str, from: &str) {
    let read = rsip::Request::try_from(sent.as_bytes()).unwrap();
    let uri = |uri: &rsip::Uri| {
        assert!(uri.params.is_empty() && uri.headers.is_empty(), "{sent}");
        (uri.auth.as_ref().unwrap().user.clone(), uri.host_with_port.to_string())
    };
    let (to, from) = (to.to_owned(), from.to_owned());
    assert_eq!(uri(&read.uri), (to.clone(), "127.0.0.2:5070".to_owned()));
    let header = read.to_header().unwrap().typed().unwrap();
    assert_eq!(uri(&header.uri), (to, "127.0.0.2:5070".to_owned()));
    let header = read.from_header().unwrap().typed().unwrap();
    assert_eq!(uri(&header.uri), (from, "127.0.0.1".to_owned()));
    assert_eq!(header.tag().unwrap().value(), "tag");
    let headers = read.headers.iter().count();
    let lines = sent.split("\r\n\r\n").next().unwrap().split("\r\n").count();
    assert_eq!(headers, lines - 1, "{sent}");
    assert!((10..=14).contains(&headers), "{sent}");
    assert_eq!(read.headers.iter().filter(|it| matches!(it, rsip::Header::Via(_))).count(), 1);
    assert_eq!(read.body, b"v=0\r\n");
}

// --- File names ---

/// A WAV of ten samples of this level.
fn wav(path: &Path, level: i16) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    (0..10).for_each(|_| file.write_sample(level).unwrap());
    file.finalize().unwrap();
}

/// A name without what does not change the file that it means: empty parts and `.`.
fn plain_name(name: &str) -> String {
    let name = name.strip_prefix("sound:").unwrap_or(name);
    let parts: Vec<&str> = name.split('/').filter(|it| !it.is_empty() && *it != ".").collect();
    parts.join("/")
}

#[tokio::test]
async fn file_names_are_refused_or_a_sound_of_the_folder() {
    let outside = tempfile::tempdir().unwrap();
    let sounds = outside.path().join("sounds");
    let inside = [("welcome", 1_000), ("custom/welcome", 2_000), ("custom/up", 3_000)];
    for (name, level) in inside {
        wav(&sounds.join(format!("{name}.wav")), level);
    }
    for name in ["secret.wav", "welcome.wav", "custom/welcome.wav", "custom/secret.wav"] {
        wav(&outside.path().join(name), 30_000);
    }
    std::os::unix::fs::symlink(outside.path(), sounds.join("out")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.wav"), sounds.join("secret.wav"))
        .unwrap();
    let speech =
        Speech::open(&outside.path().join("tts"), 1 << 20, kaphila::tts::Online::default())
            .unwrap();
    let prompts = LocalPrompts::new(&sounds, speech);

    let mut rng = StdRng::seed_from_u64(SEED);
    let (mut bad, mut missing, mut played) = (0, 0, 0);
    for at in 0..NAMES {
        // Every few are exactly right.
        let name = match at % 50 {
            0 => inside[rng.random_range(0..3)].0.to_owned(),
            _ => near_name(&mut rng, outside.path()),
        };
        match prompts.sound(&name).await {
            Ok(audio) => {
                played += 1;
                let plain = plain_name(&name);
                let (_, level) =
                    inside.iter().find(|(known, _)| *known == plain).unwrap_or_else(|| {
                        panic!("{name:?} is none of the folder's and was played: {:?}", audio[0])
                    });
                assert_eq!(audio.as_ref(), [*level; 10], "{name:?}");
            }
            Err(PromptError::Bad(_)) => bad += 1,
            Err(PromptError::NotFound) => missing += 1,
            Err(other) => panic!("{name:?}: {other}"),
        }
    }
    println!("R7: {NAMES} names of files: {bad} bad, {missing} missing, {played} played");
    assert!(bad > NAMES / 5 && missing > NAMES / 100 && played > NAMES / 50);
}

// --- The same over HTTP ---

fn text(rng: &mut StdRng) -> String {
    let mut text = String::new();
    for _ in 0..rng.random_range(0..6) {
        match rng.random_range(0..3) {
            0 => text += HARMFUL[rng.random_range(0..HARMFUL.len())],
            1 => text += NAME_PIECES[rng.random_range(0..NAME_PIECES.len())],
            _ => text.push(rng.random()),
        }
    }
    text
}

/// Metadata and members that nobody knows come back as they were sent, and reach no carrier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_comes_back_as_it_was_sent_and_reaches_no_carrier() {
    /// Ports rest for a while after a call: a server of the tests has ten.
    const CALLS: usize = 8;
    let mut carrier = Carrier::on("127.0.0.1").await;
    let mut server = Server::start(&[&carrier], 1_000).await;
    let api = Api::of(&server).await.another(&server, 1_000, 100_000, &["trunk-0"]).await;
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut shapes = Vec::new();
    for _ in 0..CALLS {
        let members = (0..rng.random_range(0..20)).map(|_| {
            let value = match rng.random_range(0..3) {
                0 => json!({ text(&mut rng): [text(&mut rng), null] }),
                1 => json!(rng.random::<i64>()),
                _ => json!(text(&mut rng)),
            };
            (text(&mut rng), value)
        });
        let metadata = Value::Object(Map::from_iter(members.collect::<Vec<_>>()));
        let mut body = json!({ "number": "14155550100", "webhookUrl": "http://127.0.0.1:1/",
                               "metadata": metadata });
        let unknown = text(&mut rng);
        if body.get(&unknown).is_none() {
            body[format!("x{unknown}")] = json!(text(&mut rng));
        }
        let placing = tokio::spawn({
            let api = api.clone();
            async move { api.post("/makecall", body).await }
        });
        let sent = carrier.expect("INVITE").await;
        let initiated = server.event("call.initiated").await;
        assert_eq!(initiated["metadata"], metadata);
        carrier.answer(&sent, "486 Busy Here", "", "").await;
        carrier.expect("ACK").await;
        let ended = server.event("call.ended").await;
        assert_eq!(ended["metadata"], metadata);
        let reply = placing.await.unwrap();
        assert_eq!(reply.body["metadata"], metadata, "{:#}", reply.body);
        shapes.push(shape(&sent));
    }
    shapes.dedup();
    assert_eq!(shapes.len(), 1, "{shapes:#?}");
    api.stop();
    server.ends_clean().await;
}

/// An INVITE without what is made anew for every call.
fn shape(invite: &Message) -> String {
    let text = invite.to_string();
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let names = ["Via", "From", "Call-ID", "CSeq", "Content-Length"];
    names.iter().fold(head.to_owned(), |head, name| head.replace(invite.header(name), ""))
}

/// A recording is found by its row: no name reaches another file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_of_a_recording_reaches_a_file_that_is_none() {
    let carrier = Carrier::on("127.0.0.1").await;
    let server = Server::start(&[&carrier], 5).await;
    let api = Api::of(&server).await;
    wav(&server.folder.path().join("custom/secret.wav"), 30_000);
    wav(&server.folder.path().join("welcome.wav"), 30_000);
    let mut rng = StdRng::seed_from_u64(SEED);
    let outside: Arc<Path> = server.folder.path().into();
    let tries = (0..500).map(|_| {
        let name = near_name(&mut rng, &outside);
        let name = name.strip_suffix(".wav").unwrap_or(&name);
        let escaped =
            |text: String| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
        let path = format!("/recordings/file/{}/download", escaped(format!("{name}.wav")));
        let api = api.clone();
        async move {
            let reply = send(api.request(Method::GET, &path)).await;
            assert!([400, 404].contains(&reply.status.as_u16()), "{path}: {reply:?}");
            assert_eq!(reply.body["success"], false);
        }
    });
    join_all(tries.collect::<Vec<_>>()).await;
    api.stop();
    server.ends_clean().await;
}
