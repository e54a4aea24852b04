//! Revocation and rotation by the command line, as a running server takes them: within 2 s, the
//! old one for as long as its grace and no longer.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kaphila::store::Millis;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::store_fixture::{Database, NOW, OLD_KEY, key};
use crate::support::exchange::{Callee, Exchange};
use crate::support::http;
use crate::support::program::Site;
use crate::webhook_receiver::{Receiver, Seen};

/// What a command changes reaches a running server within this.
const SOON: Duration = Duration::from_secs(2);

async fn status(site: &Site, key: &str) -> u16 {
    http::request(site.http, "GET /api/me", key, None).await.unwrap().status
}

/// Asks again and again, so that a key that is known stays known, until it opens nothing.
async fn dies(site: &Site, key: &str) -> Instant {
    let began = Instant::now();
    loop {
        match status(site, key).await {
            401 => return Instant::now(),
            200 => assert!(began.elapsed() < Duration::from_secs(10), "it does not die"),
            other => panic!("{other}"),
        }
    }
}

async fn run(site: &Site, words: &[&str]) -> Value {
    serde_json::from_str(&site.done(words).await).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys() {
    let site = Site::with_trunks(&[([127, 0, 0, 1], 9).into()]).await;
    let id = site.key_id.as_str();
    let _serving = site.serve(&[]).await;
    assert_eq!(status(&site, &site.key).await, 200);

    let rotated = run(&site, &["key", "rotate", id]).await;
    let done = Instant::now();
    let second = rotated["key"].as_str().unwrap();
    assert_eq!(status(&site, second).await, 200, "the new one opens at once");
    assert!(dies(&site, &site.key).await - done < SOON);

    let begun = Instant::now();
    let rotated = run(&site, &["key", "rotate", id, "--grace", "3s"]).await;
    let done = Instant::now();
    let third = rotated["key"].as_str().unwrap();
    assert_eq!(status(&site, third).await, 200);
    let died = dies(&site, second).await;
    let grace = Duration::from_secs(3);
    assert!(died - begun >= grace, "dead after {:?}, before its grace was over", died - begun);
    assert!(died - done < grace + SOON, "alive for {:?}", died - done);
    assert_eq!(status(&site, third).await, 200);

    site.done(&["key", "revoke", id]).await;
    let done = Instant::now();
    assert!(dies(&site, third).await - done < SOON);
    let call = json!({ "number": "14155550100" });
    let refused = http::request(site.http, "POST /makecall", third, Some(&call)).await.unwrap();
    assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("UNAUTHORIZED")));
    assert_eq!(status(&site, &site.key).await, 401);
}

/// The signatures of a webhook that `secret` has made.
fn made_by(secret: &str, seen: &Seen) -> usize {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let (id, time) = (seen.header("webhook-id"), seen.header("webhook-timestamp"));
    mac.update(format!("{id}.{time}.{}", seen.body).as_bytes());
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    seen.header("webhook-signature").split(' ').filter(|it| *it == expected).count()
}

fn signatures(seen: &Seen) -> usize {
    seen.header("webhook-signature").split(' ').count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_secrets() {
    let carrier = Exchange::of(Callee::Busy, "127.0.0.1").await;
    let site = Site::with_trunks(&[carrier.address]).await;
    let receiver = Receiver::ok().await;
    let made = run(
        &site,
        &["key", "create", "--name", "hooks", "--credits", "1000", "--trunk", "trunk-0"],
    )
    .await;
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let (id, key, first) = (text(&made, "keyId"), text(&made, "key"), text(&made, "webhookSecret"));
    let _serving = site.serve(&[]).await;
    let mut expected = 0;
    let mut call = async || {
        let body = json!({ "number": "14155550100", "webhookUrl": receiver.url });
        let answer = http::request(site.http, "POST /makecall", &key, Some(&body)).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        expected += 2; // call.initiated, call.ended
        let began = Instant::now();
        (receiver.expect(expected).await.pop().unwrap(), began)
    };
    let (seen, _) = call().await;
    assert_eq!((signatures(&seen), made_by(&first, &seen)), (1, 1));

    let rotated = run(&site, &["key", "rotate-webhook", &id]).await;
    let done = Instant::now();
    let second = text(&rotated, "webhookSecret");
    loop {
        let (seen, began) = call().await;
        assert_eq!(made_by(&first, &seen), 1, "the old one goes on signing");
        if made_by(&second, &seen) == 1 {
            assert_eq!(signatures(&seen), 2);
            break;
        }
        assert!(began - done < SOON, "the new one does not sign");
    }
}

/// To the millisecond: a day, however often they are replaced.
#[tokio::test]
async fn each_replaced_webhook_secret_signs_for_a_day() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 10).await;
        let id = secrets.key_id.as_str();
        let first = secrets.webhook_secret.as_str();
        // What was read is kept for a second by a running store.
        let signing = async |at: Millis| {
            let store = database.open().await;
            store.signing_secrets(auth.key, at).await.unwrap()
        };
        assert_eq!(signing(NOW).await.as_slice(), [first]);
        let second = store.rotate_webhook_secret(id, NOW).await.unwrap();
        assert_eq!(signing(NOW).await.as_slice(), [&second, first]);
        let later = NOW.plus(Millis::HOUR);
        let third = store.rotate_webhook_secret(id, later).await.unwrap();
        let all = [third.as_str(), second.as_str(), first];
        assert_eq!(signing(NOW.plus(Millis::DAY - 1)).await.as_slice(), all);
        assert_eq!(signing(NOW.plus(Millis::DAY)).await.as_slice(), &all[..2]);
        assert_eq!(signing(later.plus(Millis::DAY - 1)).await.as_slice(), &all[..2]);
        assert_eq!(signing(later.plus(Millis::DAY)).await.as_slice(), &all[..1]);
        // Then they are gone.
        store.prune(Millis::DAY, later.plus(Millis::DAY)).await.unwrap();
        assert_eq!(signing(NOW).await.as_slice(), &all[..1]);
        // More than a few at a time would be a header that nobody takes.
        for n in 1..=9 {
            store.rotate_webhook_secret(id, NOW.plus(n)).await.unwrap();
        }
        assert_eq!(signing(NOW).await.len(), 5);
    }
}

#[tokio::test]
async fn databases_of_earlier_versions_keep_the_secret_that_was_replaced() {
    for version in 1..=3 {
        for database in Database::all().await {
            database.make_version(version).await;
            let store = database.open().await;
            let auth = store.authenticate(OLD_KEY, NOW).await.unwrap().unwrap();
            let secrets = store.signing_secrets(auth.key, NOW).await.unwrap();
            assert_eq!(secrets.as_slice(), ["whsec_x", "whsec_old"]);
            let over = NOW.plus(Millis::HOUR);
            let secrets = store.signing_secrets(auth.key, over).await.unwrap();
            assert_eq!(secrets.as_slice(), ["whsec_x"]);
        }
    }
}
