//! The access token of a service account: asked for once whoever waits, replaced when it is refused.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use wiremock::matchers::{header, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::speech::{NEURAL, SYNTHESIZE, spoken, wav, with_account};

fn granted(token: &str, life: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "access_token": token, "expires_in": life }))
}

/// Speech for whoever comes with this token, 401 for others.
async fn opened_by(server: &MockServer, token: &str) {
    Mock::given(path(SYNTHESIZE))
        .and(header("authorization", format!("Bearer {token}")))
        .respond_with(spoken())
        .mount(server)
        .await;
    Mock::given(path(SYNTHESIZE))
        .respond_with(ResponseTemplate::new(401))
        .with_priority(10)
        .mount(server)
        .await;
}

async fn asked(server: &MockServer, path: &str) -> usize {
    server.received_requests().await.unwrap().iter().filter(|it| it.url.path() == path).count()
}

#[tokio::test]
async fn and_all_who_wait_share_what_comes() {
    let hangs = granted("late", &json!(3_600)).set_delay(Duration::from_secs(60));
    for (answer, opens) in [
        (granted("good", &json!(3_600)).set_delay(Duration::from_millis(300)), true),
        (ResponseTemplate::new(500).set_delay(Duration::from_millis(300)), false),
        (hangs, false),
    ] {
        let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
        opened_by(&server, "good").await;
        Mock::given(path("/token")).respond_with(answer).mount(&server).await;
        let speech = with_account(&server, folder.path());
        let begun = Instant::now();
        let texts: Vec<String> = (1..=6).map(|n| format!("number {n}")).collect();
        let files = join_all(texts.iter().map(|text| speech.speak(text, NEURAL))).await;
        // One after the other they would take many times as long.
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
        for file in files {
            assert_eq!(std::fs::read(file.unwrap()).unwrap() == wav(), opens);
        }
        assert_eq!(asked(&server, "/token").await, 1);
        // It is the service that is at fault: it rests.
        speech.speak("number 7", NEURAL).await.unwrap();
        assert_eq!(asked(&server, SYNTHESIZE).await, if opens { 7 } else { 0 });
        assert_eq!(asked(&server, "/token").await, 1);
    }
}

#[tokio::test]
async fn and_again_when_it_is_refused() {
    for (second, opens) in [("new", true), ("old", false)] {
        let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
        opened_by(&server, "new").await;
        let first = granted("old", &json!(3_600));
        Mock::given(path("/token")).respond_with(first).up_to_n_times(1).mount(&server).await;
        Mock::given(path("/token"))
            .respond_with(granted(second, &json!(3_600)))
            .mount(&server)
            .await;
        let speech = with_account(&server, folder.path());
        for text in ["one", "two"] {
            let file = speech.speak(text, NEURAL).await.unwrap();
            assert_eq!(std::fs::read(file).unwrap() == wav(), opens);
        }
        assert_eq!(asked(&server, "/token").await, 2);
        // Twice for the first text; a second refusal is a fault of the service, which rests.
        assert_eq!(asked(&server, SYNTHESIZE).await, if opens { 3 } else { 2 });
    }
}

#[tokio::test]
async fn whatever_life_it_claims() {
    for life in [json!(-5), json!(0), json!(u64::MAX), json!(1e300), json!("3600"), Value::Null] {
        let (server, folder) = (MockServer::start().await, tempfile::tempdir().unwrap());
        opened_by(&server, "good").await;
        Mock::given(path("/token")).respond_with(granted("good", &life)).mount(&server).await;
        let speech = with_account(&server, folder.path());
        for text in ["one", "two"] {
            let file = speech.speak(text, NEURAL).await.unwrap();
            assert_eq!(std::fs::read(file).unwrap(), wav(), "{life}");
        }
    }
}
