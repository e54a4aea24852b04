//! What is connected to is what was checked (quality R8).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kaphila::store::{Millis, Store};
use kaphila::webhook::guard::{Lookup, Policy};
use kaphila::webhook::{Deliverer, Options};

use crate::store_fixture::{Database, call, event, key};
use crate::webhook_receiver::{Receiver, status};
use crate::webhooks_arrive_in_order_whatever_fails::options;

/// A name server that gives one answer after the other, then the last one for ever.
fn names(answers: Vec<Vec<IpAddr>>) -> (Lookup, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let lookup: Lookup = Arc::new(move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        let answer = answers.get(n).or(answers.last()).cloned().unwrap_or_default();
        Box::pin(async move { Ok(answer) })
    });
    (lookup, asked)
}

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// TEST-NET is never routed, but it isn't public either; this one is ours to refuse.
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

async fn deliver_to(url: &str, options: Options) -> (Store, Deliverer, Database) {
    let database = Database::sqlite();
    let store = database.open().await;
    let (auth, _) = key(&store, 10).await;
    let deliverer = Deliverer::start(store.clone(), options).unwrap();
    let mut new = call(Some(url));
    new.now = Millis::wall_clock();
    store.place(&auth, new, |_| event(1, "call.initiated")).await.unwrap();
    (store, deliverer, database)
}

/// Waits until the delivery has failed `attempts` times; its last error.
async fn failed(store: &Store, attempts: i64) -> String {
    for _ in 0..500 {
        let delivery = store.deliveries(false).await.unwrap().remove(0);
        if delivery.attempts >= attempts {
            assert_eq!(delivery.state, "pending");
            return delivery.last_error.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not tried {attempts} times");
}

fn guarded(lookup: Lookup) -> Options {
    Options { policy: Policy { allow_http: true, allow_private: false }, lookup, ..options() }
}

#[tokio::test]
async fn a_name_of_ours_is_refused_at_each_attempt() {
    let receiver = Receiver::ok().await;
    let (lookup, asked) = names(vec![vec![HOME], vec![METADATA, HOME]]);
    let url = format!("http://evil.example:{}/hook", receiver.port);
    let (store, deliverer, _database) = deliver_to(&url, guarded(lookup)).await;
    let error = failed(&store, 3).await;
    assert!(error.contains("not a public address"), "{error}");
    assert!(asked.load(Ordering::Relaxed) >= 3, "asked anew each time");
    assert!(receiver.seen().is_empty());
    deliverer.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn a_name_that_turns_to_us_between_check_and_connection_gets_nothing() {
    // There is one look-up a connection and its answer is both checked and connected to, so the
    // second answer can't slip in behind the first one's check.
    let receiver = Receiver::ok().await;
    let public = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));
    let (lookup, _) = names(vec![vec![public, HOME], vec![HOME]]);
    let url = format!("http://rebind.example:{}/hook", receiver.port);
    let (store, deliverer, _database) = deliver_to(&url, guarded(lookup)).await;
    let error = failed(&store, 2).await;
    assert!(error.contains("not a public address"), "{error}");
    assert!(receiver.seen().is_empty());
    deliverer.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn a_literal_that_was_stored_before_the_rule_is_refused_at_delivery() {
    let receiver = Receiver::ok().await;
    for host in ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "user@127.1"] {
        let url = format!("http://{host}:{}/hook", receiver.port);
        let (lookup, asked) = names(vec![]);
        let (store, deliverer, _database) = deliver_to(&url, guarded(lookup)).await;
        let error = failed(&store, 1).await;
        assert!(error.contains("not a public address"), "{error}");
        assert_eq!(asked.load(Ordering::Relaxed), 0);
        deliverer.shutdown(Duration::ZERO).await;
    }
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn redirects_are_failures_and_not_followed() {
    let inner = Receiver::ok().await;
    let location = inner.url.clone();
    let outer = Receiver::start(Arc::new(move |_| {
        let (pause, _) = status("");
        let head = "HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\n";
        (pause, format!("{head}Location: {location}\r\n\r\n"))
    }));
    let outer = outer.await;
    let (store, deliverer, _database) = deliver_to(&outer.url, options()).await;
    assert_eq!(failed(&store, 2).await, "HTTP 307");
    assert!(inner.seen().is_empty());
    deliverer.shutdown(Duration::ZERO).await;
}
