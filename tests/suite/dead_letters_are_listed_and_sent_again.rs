//! `kaphila webhooks`: what a receiver did not take is kept, listed, and sent again on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::exchange::{Callee, Exchange};
use crate::support::program::{Site, eventually, text};
use crate::webhook_receiver::{Receiver, status};

async fn listed(site: &Site, words: &[&str]) -> Vec<Value> {
    let words: Vec<&str> = ["webhooks", "list", "--json"].iter().chain(words).copied().collect();
    serde_json::from_str(&site.done(&words).await).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_same_id_in_their_order() {
    let exchange = Exchange::start("127.0.0.43").await;
    let mut site = Site::new().await;
    // The first pause is longer than an event is kept trying.
    site.set("KAPHILA_WEBHOOKS_RETRY", "25h");
    site.add_trunks(&[exchange.address]).await;
    let works = Arc::new(AtomicBool::new(false));
    let seen_working = works.clone();
    let receiver = Receiver::start(Arc::new(move |_| {
        status(if works.load(Ordering::SeqCst) { "200 OK" } else { "410 Gone" })
    }))
    .await;
    let _serving = site.serve(&[]).await;
    let secret = "token=4711";
    let url = format!("{}?{secret}", receiver.url);
    let body = json!({ "number": Callee::Busy.number(1), "webhookUrl": url });
    let call = site.post("/makecall", body).await.json()["callId"].as_str().unwrap().to_owned();
    // call.initiated and call.ended, each refused once, in their order.
    eventually(10, "two dead letters", async || listed(&site, &["--dead"]).await.len() == 2).await;
    let refused = receiver.seen();
    assert_eq!(refused.iter().map(|it| it.event().1).collect::<Vec<_>>(), [1, 2]);
    for letter in listed(&site, &["--dead"]).await {
        let state = (&letter["callId"], &letter["state"], &letter["attempts"]);
        assert_eq!(state, (&json!(call), &json!("dead"), &json!(1)));
        assert!(letter["lastError"].as_str().unwrap().contains("410"), "{letter}");
        assert_eq!(letter.get("payload"), None);
    }
    let table = site.done(&["webhooks", "list", "--dead"]).await;
    assert!(table.contains(&format!("{call}/1")) && table.contains("call.ended"), "{table}");

    seen_working.store(true, Ordering::SeqCst);
    let asked = Instant::now();
    let first = refused[0].header("webhook-id").to_owned();
    let second = format!("{call}/2");
    let replayed = site.done(&["webhooks", "replay", "--json", &first, &second]).await;
    let replayed: Value = serde_json::from_str(&replayed).unwrap();
    assert_eq!(replayed["queued"], json!([format!("{call}/1"), second]));
    let all = receiver.expect(4).await;
    assert!(asked.elapsed().as_secs() < 3, "{:?}", asked.elapsed());
    for (before, again) in refused.iter().zip(&all[2..]) {
        assert_eq!(again.header("webhook-id"), before.header("webhook-id"));
        assert_eq!(again.body, before.body);
    }
    let are_done = async || {
        let states = listed(&site, &[]).await;
        states.iter().all(|it| it["state"] == "delivered" && !it["deliveredAt"].is_null())
    };
    eventually(5, "both delivered", are_done).await;
    assert_eq!(listed(&site, &["--dead"]).await, Vec::<Value>::new());

    for (id, status, says) in [
        ("17.999/1", 3, "17.999/1 not found"),
        (&format!("{call}/9") as &str, 3, "not found"),
        ("nonsense", 2, "<callId>/<sequenceNumber>"),
    ] {
        let output = site.kaphila(&["webhooks", "replay", id]).await;
        assert_eq!(output.status.code(), Some(status), "{id}");
        assert!(text(&output.stderr).contains(says), "{id}: {}", text(&output.stderr));
    }
    // One more, though it was delivered: a receiver that lost it may have it again.
    site.done(&["webhooks", "replay", &first]).await;
    let all = receiver.expect(5).await;
    assert_eq!(all[4].header("webhook-id"), first);
}
