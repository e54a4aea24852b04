//! Delivery over real sockets (quality R9 in small); times are the schedule's own tests.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kaphila::store::{CallRef, Millis, Store};
use kaphila::webhook::guard::Policy;
use kaphila::webhook::{Deliverer, Options, sign};

use crate::store_fixture::{Database, call, event, key};
use crate::webhook_receiver::{Receiver, Seen, status};

pub(crate) fn options() -> Options {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Options {
        policy: Policy { allow_http: true, allow_private: true },
        timeout: Duration::from_millis(500),
        retry: vec![Duration::from_millis(50); 200],
        ..Options::default()
    }
}

/// Places a call whose events go to `url`, at the present time.
async fn place(store: &Store, auth: &kaphila::store::Authenticated, url: &str) -> CallRef {
    let mut new = call(Some(url));
    new.now = Millis::wall_clock();
    store.place(auth, new, |_| event(1, "call.initiated")).await.unwrap().call
}

async fn append(store: &Store, call: &CallRef, sequence: i64) {
    let events = vec![event(sequence, "dtmf.received")];
    store.append_events(call, Millis::wall_clock(), events).await.unwrap();
}

/// Asserts that first sightings of each call's events are 1, 2, 3 … `last`.
fn in_order(seen: &[Seen], last: i64) {
    let mut firsts: HashMap<i64, Vec<i64>> = HashMap::new();
    for (call, sequence) in seen.iter().map(Seen::event) {
        let of_call = firsts.entry(call).or_default();
        if !of_call.contains(&sequence) {
            of_call.push(sequence);
        }
    }
    for (call, firsts) in firsts {
        assert_eq!(firsts, (1..=last).collect::<Vec<_>>(), "call {call}");
    }
}

#[tokio::test]
async fn a_webhook_is_what_the_contract_says_and_verifies() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 10).await;
        let receiver = Receiver::ok().await;
        let deliverer = Deliverer::start(store.clone(), options()).unwrap();
        let call = place(&store, &auth, &receiver.url).await;
        let seen = receiver.expect(1).await.remove(0);
        assert_eq!(seen.line, "POST /hook HTTP/1.1");
        assert_eq!(seen.header("content-type"), "application/json");
        assert_eq!(seen.header("user-agent"), "Kaphila-API-API/2.0");
        assert_eq!(seen.body, r#"{"sequenceNumber":1}"#);
        let id = format!("msg_{}_1", call.call_id().replace('.', "-"));
        assert_eq!(seen.header("webhook-id"), id);
        let timestamp: i64 = seen.header("webhook-timestamp").parse().unwrap();
        assert!((timestamp - Millis::wall_clock().unix_seconds()).abs() <= 2);
        let sign = |secrets: &[String]| sign::sign(secrets, &id, timestamp, &seen.body);
        assert_eq!(
            seen.header("webhook-signature"),
            sign(std::slice::from_ref(&secrets.webhook_secret))
        );

        let now = Millis::wall_clock();
        let new = store.rotate_webhook_secret(&secrets.key_id, now).await.unwrap();
        append(&store, &call, 2).await;
        let seen = receiver.expect(2).await.remove(1);
        let id = seen.header("webhook-id");
        let timestamp: i64 = seen.header("webhook-timestamp").parse().unwrap();
        let both = [new, secrets.webhook_secret.clone()];
        let both = sign::sign(&both, id, timestamp, &seen.body);
        assert_eq!(seen.header("webhook-signature"), both);
        deliverer.shutdown(Duration::from_secs(5)).await;
        assert!(store.deliveries(false).await.unwrap().iter().all(|d| d.state == "delivered"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_through_a_receiver_that_fails_now_and_then() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, _) = key(&store, 100).await;
        let receiver = Receiver::start(Arc::new(|n| match n % 7 {
            3 => status("503 Service Unavailable"),
            5 => (Duration::ZERO, String::new()),
            _ => status("204 No Content"),
        }));
        let receiver = receiver.await;
        let mut options = options();
        options.timeout = Duration::from_millis(200);
        let deliverer = Deliverer::start(store.clone(), options).unwrap();
        let mut calls = Vec::new();
        for _ in 0..20 {
            calls.push(place(&store, &auth, &receiver.url).await);
        }
        for sequence in 2..=8 {
            for call in &calls {
                append(&store, call, sequence).await;
            }
        }
        let done = async || {
            let all = store.deliveries(false).await.unwrap();
            all.iter().filter(|d| d.state == "delivered").count() == 160
        };
        let began = Instant::now();
        while !done().await {
            assert!(began.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        in_order(&receiver.seen(), 8);
        deliverer.shutdown(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn a_slow_receiver_harms_neither_calls_nor_other_keys() {
    let database = Database::sqlite();
    let store = database.open().await;
    let (slow, _) = key(&store, 1_000).await;
    let (other, _) = key(&store, 10).await;
    let hanging = Receiver::start(Arc::new(|_| (Duration::from_secs(60), String::new()))).await;
    let receiver = Receiver::ok().await;
    let deliverer = Deliverer::start(store.clone(), options()).unwrap();
    let began = Instant::now();
    for _ in 0..300 {
        place(&store, &slow, &hanging.url).await;
    }
    assert!(began.elapsed() < Duration::from_secs(5), "placing waits for nobody");
    let began = Instant::now();
    place(&store, &other, &receiver.url).await;
    receiver.expect(1).await;
    assert!(began.elapsed() < Duration::from_millis(400), "{:?}", began.elapsed());
    deliverer.shutdown(Duration::from_millis(10)).await;
}

/// The process dies (its runtime is dropped) while a receiver is down; another one goes on.
#[test]
fn after_a_crash_every_event_still_comes_first_attempts_in_order() {
    let database = Database::sqlite();
    let outside = tokio::runtime::Runtime::new().unwrap();
    let up = Arc::new(AtomicBool::new(false));
    let answer = up.clone();
    let receiver = outside.block_on(Receiver::start(Arc::new(move |n| {
        if answer.load(Ordering::Relaxed) || n % 3 == 0 {
            status("200 OK")
        } else {
            status("500 Internal Server Error")
        }
    })));
    let secrets = outside.block_on(async {
        let store = database.open().await;
        let secrets = key(&store, 100).await.1;
        store.close().await;
        secrets
    });
    for _ in 0..3 {
        let process = tokio::runtime::Runtime::new().unwrap();
        process.block_on(async {
            let store = database.open().await;
            let _deliverer = Deliverer::start(store.clone(), options()).unwrap();
            let auth = store.authenticate(&secrets.key, Millis::wall_clock()).await;
            let auth = auth.unwrap().unwrap();
            for _ in 0..10 {
                let call = place(&store, &auth, &receiver.url).await;
                append(&store, &call, 2).await;
                append(&store, &call, 3).await;
            }
        });
        process.shutdown_background();
    }
    up.store(true, Ordering::Relaxed);
    outside.block_on(async {
        let store = database.open().await;
        let _deliverer = Deliverer::start(store.clone(), options()).unwrap();
        let began = Instant::now();
        loop {
            let pending = store.deliveries(false).await.unwrap();
            assert_eq!(pending.len(), 90);
            if pending.iter().all(|delivery| delivery.state == "delivered") {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{pending:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        in_order(&receiver.seen(), 3);
    });
}

#[tokio::test]
async fn more_events_than_memory_takes_are_read_back_from_the_database() {
    let database = Database::sqlite();
    let store = database.open().await;
    let (auth, _) = key(&store, 10_000).await;
    let receiver = Receiver::ok().await;
    // Nobody takes the events until more have been committed than can be handed over.
    let mut places = Vec::new();
    for _ in 0..50 {
        places.push(place(&store, &auth, &receiver.url).await);
    }
    for sequence in 2..=100 {
        let appends = places.iter().map(|call| append(&store, call, sequence));
        futures_util::future::join_all(appends).await;
    }
    let deliverer = Deliverer::start(store.clone(), options()).unwrap();
    receiver.expect(5_000).await;
    in_order(&receiver.seen(), 100);
    deliverer.shutdown(Duration::from_secs(5)).await;
    assert_eq!(receiver.seen().len(), 5_000, "each once");
    assert!(store.due_events(Millis::wall_clock().plus(60_000), 10).await.unwrap().is_empty());
}
