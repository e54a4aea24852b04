//! Revocation and rotation by the command line, as a running server takes them: within 2 s, the
//! old one for as long as its grace and no longer.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use kaphila::store::Millis;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::store_fixture::{Database, NOW, key};
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

/// To the millisecond: a day.
#[tokio::test]
async fn a_replaced_webhook_secret_signs_for_a_day() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 10).await;
        let signing = async |at: Millis| store.signing_secrets(auth.key, at).await.unwrap();
        assert_eq!(signing(NOW).await.as_slice(), std::slice::from_ref(&secrets.webhook_secret));
        let new = store.rotate_webhook_secret(&secrets.key_id, NOW).await.unwrap();
        let both = [new.clone(), secrets.webhook_secret.clone()];
        assert_eq!(*signing(NOW).await, both);
        assert_eq!(*signing(NOW.plus(Millis::DAY - 1)).await, both);
        assert_eq!(*signing(NOW.plus(2 * Millis::DAY)).await, [new]);
    }
}
