//! What Google Cloud does with one text keeps it from no other; what is its own fault does.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kaphila::tts::google::{Credentials, Google, Settings};
use kaphila::tts::gtts::Gtts;
use kaphila::tts::{Online, Speech};
use serde_json::{Value, json};
use wiremock::matchers::{any, body_json, body_string_contains};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::speech::{NEURAL, install_tls, spoken, wav, with_key};

const HANGS: Duration = Duration::from_secs(60);

async fn is_from_google(speech: &Speech, text: &str) -> bool {
    std::fs::read(speech.speak(text, NEURAL).await.unwrap()).unwrap() == wav()
}

async fn asked(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

fn error(code: u16, error: Value) -> ResponseTemplate {
    ResponseTemplate::new(code).set_body_json(json!({ "error": error }))
}

/// Google with one answer for texts that hold "bad", speech for all others.
async fn google_that_answers(bad: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(body_string_contains("bad")).respond_with(bad).mount(&server).await;
    Mock::given(any()).respond_with(spoken()).with_priority(10).mount(&server).await;
    server
}

#[tokio::test]
async fn a_text_that_is_refused_rests_alone() {
    let voice = json!({ "message": "Voice 'x' does not exist", "status": "INVALID_ARGUMENT" });
    let ssml = json!({
        "message": "Invalid SSML",
        "status": "INVALID_ARGUMENT",
        "details": [{ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [] }],
    });
    let endless = json!({ "audioContent": "A".repeat(17 << 20) });
    for refusal in [
        error(400, voice),
        error(400, ssml),
        ResponseTemplate::new(400),
        ResponseTemplate::new(413),
        ResponseTemplate::new(200).set_body_json(endless),
    ] {
        let (server, folder) = (google_that_answers(refusal).await, tempfile::tempdir().unwrap());
        let speech = with_key(&server, folder.path());
        assert!(!is_from_google(&speech, "a bad text").await);
        assert!(is_from_google(&speech, "a good text").await);
        assert!(!is_from_google(&speech, "a bad text").await);
        assert!(!is_from_google(&speech, "a second bad text").await);
        assert!(is_from_google(&speech, "a second good text").await);
        assert_eq!(asked(&server).await, 4);
    }
}

#[tokio::test]
async fn a_key_that_is_none_and_a_quota_are_no_fault_of_a_text() {
    let invalid = json!({
        "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
        }],
    });
    let place = json!({ "message": "not from here", "status": "FAILED_PRECONDITION" });
    for fault in [
        error(400, invalid),
        error(400, place),
        error(401, json!({})),
        error(429, json!({ "status": "RESOURCE_EXHAUSTED" })).insert_header("retry-after", "90"),
    ] {
        let (server, folder) = (google_that_answers(fault).await, tempfile::tempdir().unwrap());
        let speech = with_key(&server, folder.path());
        assert!(!is_from_google(&speech, "a bad text").await);
        assert!(!is_from_google(&speech, "a good text").await);
        assert_eq!(asked(&server).await, 1);
    }
}

#[tokio::test]
async fn it_rests_for_as_long_as_it_asks() {
    let quota = error(429, json!({})).insert_header("retry-after", "1");
    let (server, folder) = (google_that_answers(quota).await, tempfile::tempdir().unwrap());
    let speech = with_key(&server, folder.path());
    let begun = Instant::now();
    assert!(!is_from_google(&speech, "a bad text").await);
    let mut n = 0;
    while !is_from_google(&speech, &format!("good {n}")).await {
        assert!(begun.elapsed() < Duration::from_secs(20), "it rests for more than a second");
        tokio::time::sleep(Duration::from_millis(100)).await;
        n += 1;
    }
    assert!(n > 0 && begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn nobody_listens_there() {
    let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
    let speech = with_key(&server, folder.path());
    drop(server);
    assert!(!is_from_google(&speech, "one").await);
    let why = speech.ask_services("two", NEURAL).await.remove(0).1.unwrap_err();
    assert!(why.contains("rests"), "{why}");
}

#[tokio::test]
async fn a_text_that_takes_long_is_said_here_and_the_next_by_google() {
    let slow = google_that_answers(spoken().set_delay(HANGS)).await;
    let folder = tempfile::tempdir().unwrap();
    let speech = with_key(&slow, folder.path());
    let begun = Instant::now();
    // Asked for twice at once: neither waits for more than one answer that does not come.
    let bad = || is_from_google(&speech, "a bad text");
    assert_eq!(tokio::join!(bad(), bad(), bad()), (false, false, false));
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert!(is_from_google(&speech, "a good text").await);
    assert!(!is_from_google(&speech, "a bad text").await);
    assert_eq!(asked(&slow).await, 2);
    // Several different ones are no accident.
    let texts = ["bad one", "bad two", "bad three"];
    let all = join_all(texts.iter().map(|text| is_from_google(&speech, text))).await;
    assert_eq!(all, [false; 3]);
    assert!(!is_from_google(&speech, "another good text").await);
    assert_eq!(asked(&slow).await, 5);
}

#[tokio::test]
async fn a_text_is_said_in_time_whatever_hangs() {
    let server = MockServer::start().await;
    let hangs = ResponseTemplate::new(200).set_delay(HANGS);
    Mock::given(any()).respond_with(hangs).mount(&server).await;
    install_tls();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "AIzaTest").unwrap();
    let settings = Settings { endpoint: server.uri(), credentials: Credentials::ApiKey(key) };
    let online = Online {
        google: Some(Google::new(&settings).unwrap()),
        gtts: Some(Gtts::new(&server.uri()).unwrap()),
    };
    let speech = Speech::open(&folder.path().join("cache"), 1 << 20, online).unwrap();
    let begun = Instant::now();
    speech.speak(&"Press one. ".repeat(40), NEURAL).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(14), "{:?}", begun.elapsed());
    assert!(asked(&server).await > 1, "both were asked");
}

#[tokio::test]
async fn what_nobody_can_say_is_not_sent() {
    let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
    let said = json!({
        "input": { "text": "-one two" },
        "voice": { "languageCode": "en-US", "name": NEURAL },
        "audioConfig": { "audioEncoding": "LINEAR16", "sampleRateHertz": 8000 },
    });
    Mock::given(body_json(said)).respond_with(spoken()).expect(1).mount(&server).await;
    let speech = with_key(&server, folder.path());
    assert!(is_from_google(&speech, "\u{1}-one\0two\u{7f}").await);
    // Nor does it keep a local engine from the rest.
    let local = Speech::open(folder.path(), 1 << 20, Online::default()).unwrap();
    let plain = local.speak("-one two", "it").await.unwrap();
    assert_eq!(local.speak("-one\0two", "it").await.unwrap(), plain);
}

#[tokio::test]
async fn the_key_in_its_words_is_not_repeated() {
    let words = "Permission denied: Consumer 'api_key:AIzaTest' has been suspended.\nSorry.";
    let denied = error(403, json!({ "message": format!("{words}{}", " ".repeat(5_000)) }));
    let (server, folder) = (google_that_answers(denied).await, tempfile::tempdir().unwrap());
    let speech = with_key(&server, folder.path());
    let why = speech.ask_services("bad", NEURAL).await.remove(0).1.unwrap_err();
    assert!(why.contains("'api_key:***' has been suspended. Sorry."), "{why}");
    assert!(!why.contains("AIza") && why.len() < 300, "{why}");
}
