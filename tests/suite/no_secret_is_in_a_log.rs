//! A server that logs everything it can, through everything that has to do with a secret: none of
//! them is in its log, and no digit that a person typed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::exchange::{Callee, Exchange};
use crate::support::hooks::Hooks;
use crate::support::http;
use crate::support::program::{Site, eventually, text};
use crate::support::speech;

const GOOGLE_KEY: &str = "AIzaSyTheKeyThatOpensSpeech";
const TOKEN: &str = "token-of-the-receiver";
const PASSWORD: &str = "password-of-the-trunk";
const TYPED: &str = "47110815";
const SENT: &str = "86420975";

async fn json_of(site: &Site, words: &[&str]) -> Value {
    serde_json::from_str(&site.done(words).await).unwrap()
}

/// The same key over HTTP/2, whose library logs frames.
async fn ask_by_http_2(site: &Site, key: &str) -> u16 {
    // The first test of the program installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let url = format!("http://127.0.0.1:{}/api/me", site.http);
    client.get(url).bearer_auth(key).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_finest_level() {
    let google = MockServer::start().await;
    // Google repeats the key so.
    let words = format!("Consumer 'api_key:{GOOGLE_KEY}' has been suspended.");
    let refusal = json!({ "error": { "message": words } });
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(403).set_body_json(refusal))
        .expect(1)
        .mount(&google)
        .await;
    let carrier = Exchange::start("127.0.0.1").await;
    let mut site = Site::with_trunks(&[carrier.address]).await;
    std::fs::write(site.path("google.key"), GOOGLE_KEY).unwrap();
    site.set("KAPHILA_TTS_GOOGLE_API_KEY_FILE", site.path("google.key").display().to_string());
    site.set("KAPHILA_TTS_GOOGLE_ENDPOINT", google.uri());
    site.set("RUST_LOG", "trace");
    // A trunk with an account that registers, at the exchange, which knows no REGISTER.
    std::fs::write(site.path("trunk.secret"), PASSWORD).unwrap();
    let (uri, file) = (format!("sip:{}", carrier.address), site.path("trunk.secret"));
    let account = ["--username", "alice", "--register", "--password-file"];
    let add = ["trunk", "add", "account", "--uri", &uri];
    site.done(&[&add[..], &account, &[&file.display().to_string()]].concat()).await;
    let mut hooks = Hooks::start().await;
    let id = site.key_id.as_str();
    let mut serving = site.serve(&[]).await;

    // Keys: right, wrong, as a password, over HTTP/2; replaced while in use.
    let wrong = "ak_0123456789012345678901234567890123456789";
    assert_eq!(http::request(site.http, "GET /api/me", wrong, None).await.unwrap().status, 401);
    let password = STANDARD.encode(format!("user:{}", site.key));
    let basic = format!(
        "GET /api/me HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {password}\r\n\
         Connection: close\r\n\r\n"
    );
    let answer = http::converse(site.http, basic.as_bytes()).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    assert_eq!(ask_by_http_2(&site, &site.key).await, 200);
    let rotated = json_of(&site, &["key", "rotate", id, "--grace", "1h"]).await;
    let rotated = rotated["key"].as_str().unwrap();
    assert_eq!(ask_by_http_2(&site, rotated).await, 200);
    let webhook = json_of(&site, &["key", "rotate-webhook", id]).await;
    let webhook = webhook["webhookSecret"].as_str().unwrap();

    // A call with speech, digits in and out, webhooks that arrive.
    let number = Callee::Answers.number(1);
    let url = format!("{}?{TOKEN}", hooks.url());
    let placed = site.post("/makecall", json!({ "number": number, "webhookUrl": url })).await;
    let call = placed.json()["callId"].as_str().unwrap().to_owned();
    hooks.expect(&call, "call.answered").await;
    let text = json!({ "callId": call, "text": "Please type your PIN" });
    assert_eq!(site.post("/voice", text).await.status, 200);
    hooks.expect(&call, "tts.played").await;
    let gather =
        json!({ "callId": call, "text": "Now", "numDigits": TYPED.len(), "timeout": 60_000 });
    assert_eq!(site.post("/gather", gather).await.status, 200);
    hooks.expect(&call, "gather.started").await;
    for (n, digit) in (1..).zip(TYPED.bytes()) {
        carrier.press(&number, digit - b'0', n).await;
    }
    assert_eq!(hooks.expect(&call, "gather.complete").await["digits"], TYPED);
    let send = json!({ "callId": call, "digits": SENT, "durationMs": 40, "gapMs": 40 });
    assert_eq!(site.post("/dtmf", send).await.status, 200);
    hooks.expect(&call, "dtmf.sent").await;
    assert_eq!(site.post("/hangup", json!({ "callId": call })).await.status, 200);
    hooks.expect(&call, "call.ended").await;

    // And webhooks that do not.
    let nobody = format!("http://127.0.0.1:9/{TOKEN}?{TOKEN}");
    let busy = json!({ "number": Callee::Busy.number(2), "webhookUrl": nobody });
    assert_eq!(site.post("/makecall", busy).await.status, 200);
    let log = || std::fs::read_to_string(site.path("serve.log")).unwrap();
    eventually(5, "the failure in the log", async || log().contains("webhook failed")).await;
    serving.terminate();
    assert!(serving.ends(std::time::Duration::from_secs(30)).await.success());

    let mut database = site.database().await;
    let (now, old): (String, String) = sqlx::query_as(
        "SELECT webhook_secret, secret FROM api_keys k JOIN old_webhook_secrets ON api_key = k.id",
    )
    .fetch_one(&mut database)
    .await
    .unwrap();
    assert_eq!(now, webhook);
    let log = log();
    assert!(log.matches("\"TRACE\"").count() > 100, "it says little");
    assert!(log.contains("Google Cloud does not speak"), "it was asked");
    let bare = |secret: &str| secret.split_once('_').unwrap().1.to_owned();
    for secret in [
        bare(&site.key),
        bare(rotated),
        bare(wrong),
        password,
        bare(&now),
        bare(&old),
        GOOGLE_KEY.to_owned(),
        TOKEN.to_owned(),
        PASSWORD.to_owned(),
        // Whole, and as far as they came.
        TYPED[..7].to_owned(),
        SENT[..7].to_owned(),
    ] {
        // A time has six digits that come as they like.
        let untimed =
            |line: &&str| line.split_once("Z\",").map_or(*line, |(_, it)| it).contains(&secret);
        let line = log.lines().find(untimed);
        assert_eq!(line, None, "{secret} is in the log");
    }
    // One at a time they would have a name.
    let named = log.lines().find(|line| line.contains("\"digit") || line.contains("digit="));
    assert_eq!(named, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_of_a_service_account() {
    const ACCESS: &str = "ya29.TheTokenThatOpensSpeech";
    let google = MockServer::start().await;
    let granted = json!({ "access_token": ACCESS, "expires_in": 3_600 });
    let granted = ResponseTemplate::new(200).set_body_json(granted);
    Mock::given(path("/token")).respond_with(granted).mount(&google).await;
    let words = format!("Bearer {ACCESS} was taken back");
    let refusal =
        ResponseTemplate::new(401).set_body_json(json!({ "error": { "message": words } }));
    Mock::given(path(speech::SYNTHESIZE)).respond_with(refusal).mount(&google).await;

    let carrier = Exchange::start("127.0.0.1").await;
    let mut site = Site::with_trunks(&[carrier.address]).await;
    let account = speech::account(site.folder(), &format!("{}/token", google.uri()));
    site.set("KAPHILA_TTS_GOOGLE_CREDENTIALS_FILE", account.display().to_string());
    site.set("KAPHILA_TTS_GOOGLE_ENDPOINT", google.uri());
    site.set("RUST_LOG", "trace");
    let mut hooks = Hooks::start().await;
    let mut serving = site.serve(&[]).await;
    let number = Callee::Answers.number(1);
    let placed = site.post("/makecall", json!({ "number": number, "webhookUrl": hooks.url() }));
    let call = placed.await.json()["callId"].as_str().unwrap().to_owned();
    hooks.expect(&call, "call.answered").await;
    let voice = json!({ "callId": call, "text": "Please hold" });
    assert_eq!(site.post("/voice", voice).await.status, 200);
    hooks.expect(&call, "tts.played").await;
    assert_eq!(site.post("/hangup", json!({ "callId": call })).await.status, 200);
    hooks.expect(&call, "call.ended").await;
    serving.terminate();
    assert!(serving.ends(std::time::Duration::from_secs(30)).await.success());
    let check = site.kaphila(&["check"]).await;

    let log = std::fs::read_to_string(site.path("serve.log")).unwrap();
    let told = format!("{log}{}{}", text(&check.stdout), text(&check.stderr));
    assert!(log.contains("Google Cloud does not speak"), "it was asked");
    assert!(told.contains("*** was taken back"), "its words are told");
    let asked = google.received_requests().await.unwrap();
    let form = &asked.iter().find(|it| it.url.path() == "/token").unwrap().body;
    let (_, assertion) = std::str::from_utf8(form).unwrap().rsplit_once('=').unwrap();
    let key = std::fs::read_to_string(site.path("private.pem")).unwrap();
    let lines = key.lines().filter(|line| !line.starts_with('-')).chain([ACCESS, assertion]);
    for secret in lines {
        let line = told.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
}
