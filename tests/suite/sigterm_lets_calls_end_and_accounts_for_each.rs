//! C7: the real program is told to stop, once, twice, and while another wants its folder.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Row;

use crate::support::exchange::{Callee, Exchange};
use crate::support::hooks::Hooks;
use crate::support::program::{Site, eventually, text};
use crate::webhook_receiver::{Receiver, status};

/// Places a call; its id.
async fn place(site: &Site, hook: &str, number: &str) -> String {
    let answer = site.post("/makecall", json!({ "number": number, "webhookUrl": hook })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["callId"].as_str().unwrap().to_owned()
}

/// What is written of a call: status, reason, and how many bytes of recording, if it is complete.
async fn row(site: &Site, call: &str) -> (String, String, Option<i64>) {
    let mut database = site.database().await;
    let query = "SELECT c.status, c.end_reason, r.bytes FROM calls c LEFT JOIN recordings r \
                 ON r.call = c.id AND r.finished_at IS NOT NULL AND r.partial IS NULL \
                 WHERE c.call_id = $1";
    let row = sqlx::query(query).bind(call).fetch_one(&mut database).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

/// Nothing is left in the data folder that would not be there after an init, but for recordings.
fn nothing_is_left_over(site: &Site) {
    let names = fs::read_dir(site.path("data")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in names {
        let known = ["kaphila.db", "lock", "recordings", "tts", "journal"];
        assert!(known.contains(&name.as_str()), "{name} is left over");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rings_and_talks_goes_on_and_nothing_new_begins() {
    let exchange = Exchange::start("127.0.0.12").await;
    let mut hooks = Hooks::start().await;
    let site = Site::with_trunks(&[exchange.address]).await;
    let mut serving = site.serve(&[]).await;
    let (talking, ringing) = (Callee::Answers.number(1), Callee::Rings.number(2));
    let first = place(&site, hooks.url(), &talking).await;
    let second = place(&site, hooks.url(), &ringing).await;
    hooks.expect(&first, "call.answered").await;

    serving.terminate();
    eventually(5, "503 DRAINING", async || {
        let body = json!({ "number": "15550", "webhookUrl": hooks.url() });
        let answer = site.post("/makecall", body).await;
        answer.status == 503 && {
            answer.is_refused(503, "DRAINING");
            true
        }
    })
    .await;
    assert_eq!(site.get("/calls").await.json()["activeCalls"], 2);
    let ready = crate::support::http::request(site.admin, "GET /ready", "", None).await.unwrap();
    assert_eq!((ready.status, ready.body.as_str()), (503, "draining\n"));
    exchange.answer(&ringing).await;
    hooks.expect(&second, "call.answered").await;
    // Commands still work.
    let gather = json!({ "callId": first, "numDigits": 1, "text": "Press a key" });
    assert_eq!(site.post("/gather", gather).await.status, 200);
    exchange.press(&talking, 5, 1).await;
    let digits = hooks.expect(&first, "gather.complete").await;
    assert_eq!(digits["digits"], "5");
    assert!(!serving.has_ended());

    exchange.hang_up(&talking).await;
    exchange.hang_up(&ringing).await;
    let ended = Instant::now();
    assert_eq!(serving.ends(Duration::from_secs(10)).await.code(), Some(0));
    println!("ended {:?} after the last call", ended.elapsed());
    nothing_is_left_over(&site);
    for call in [&first, &second] {
        let ended = hooks.expect(call, "call.ended").await;
        assert_eq!(ended["endReason"], "normal_hangup");
        let (status, _, bytes) = row(&site, call).await;
        assert_eq!(status, "completed");
        assert!(bytes.unwrap() > 44);
    }
    hooks.are_whole();
    site.books_are_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_end_of_the_drain_the_rest_are_hung_up() {
    let exchange = Exchange::start("127.0.0.13").await;
    let mut hooks = Hooks::start().await;
    let site = Site::with_trunks(&[exchange.address]).await;
    let mut serving = site.serve(&["--drain", "1s"]).await;
    let mut calls = Vec::new();
    for n in 0..20 {
        let callee = [Callee::Answers, Callee::Rings][n % 2];
        calls.push((callee, place(&site, hooks.url(), &callee.number(n)).await));
    }
    for (callee, call) in &calls {
        if *callee == Callee::Answers {
            hooks.expect(call, "recording.started").await;
        }
    }
    serving.terminate();
    let told = Instant::now();
    assert_eq!(serving.ends(Duration::from_secs(10)).await.code(), Some(0));
    println!("20 calls cut: ended {:?} after SIGTERM with --drain 1s", told.elapsed());
    assert!(told.elapsed() > Duration::from_secs(1));
    nothing_is_left_over(&site);
    for leg in exchange.legs() {
        let told = if leg.callee == Callee::Answers { &leg.byes } else { &leg.cancels };
        assert!(!told.is_empty() && leg.over.is_some(), "{} was left alone", leg.number);
    }
    for (callee, call) in &calls {
        let ended = hooks.expect(call, "call.ended").await;
        assert_eq!(ended["endReason"], "server_shutdown");
        let (status, reason, bytes) = row(&site, call).await;
        let answered = *callee == Callee::Answers;
        assert_eq!(status, if answered { "completed" } else { "failed" });
        assert_eq!(reason, "server_shutdown");
        assert_eq!(bytes.is_some_and(|bytes| bytes > 44), answered, "its recording is whole");
    }
    hooks.are_whole();
    site.books_are_right().await;
}

/// Whatever the far ends do: carriers that answer nothing, a receiver that hangs, a customer who
/// holds a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_one_ends_at_once() {
    let exchange = Exchange::start("127.0.0.14").await;
    let hanging =
        Receiver::start(Arc::new(|_| (Duration::from_secs(60), status("200 OK").1))).await;
    let site = Site::with_trunks(&[exchange.address]).await;
    let mut serving = site.serve(&["--drain", "60s"]).await;
    let silent = place(&site, &hanging.url, &Callee::FallsSilent.number(1)).await;
    let ringing = place(&site, &hanging.url, &Callee::Rings.number(2)).await;
    eventually(5, "the answer", || {
        let leg = exchange.leg(&Callee::FallsSilent.number(1)).unwrap();
        std::future::ready(!leg.acks.is_empty())
    })
    .await;
    let (port, key) = (site.http, site.key.clone());
    // Nobody answers this one: its client waits for ten seconds.
    let body = json!({ "number": Callee::IsDead.number(3), "webhookUrl": hanging.url });
    let waiting = tokio::spawn(async move {
        crate::support::http::request(port, "POST /makecall", &key, Some(&body)).await
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    serving.terminate();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!serving.has_ended(), "it drains");
    serving.terminate();
    let told = Instant::now();
    assert_eq!(serving.ends(Duration::from_secs(5)).await.code(), Some(0));
    println!("ended {:?} after the second SIGTERM", told.elapsed());
    for (call, status) in [(&silent, "completed"), (&ringing, "failed")] {
        let (found, reason, _) = row(&site, call).await;
        assert_eq!((found.as_str(), reason.as_str()), (status, "server_shutdown"));
    }
    let answer = waiting.await.unwrap().map(|answer| answer.json()["status"].clone());
    assert_eq!(answer.ok(), Some(Value::from("failed")), "its client was told");
    // What was not delivered waits for the next start.
    let mut database = site.database().await;
    let query = "SELECT COUNT(*) FROM outbox WHERE event = 'call.ended' AND state = 'pending'";
    let waiting: i64 = sqlx::query_scalar(query).fetch_one(&mut database).await.unwrap();
    assert_eq!(waiting, 3);
    site.books_are_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_folder_is_refused() {
    let mut site = Site::with_trunks(&[]).await;
    let port = site.http;
    let serving = site.serve(&[]).await;
    let other = Site::new().await;
    site.set("KAPHILA_HTTP_LISTEN", format!("127.0.0.1:{}", other.http));
    site.set("KAPHILA_ADMIN_LISTEN", format!("127.0.0.1:{}", other.admin));
    site.set("KAPHILA_SIP_UDP", other.sip.to_string());
    let output = site.kaphila(&["serve"]).await;
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("another kaphila serves from"), "{error}");
    assert!(error.contains(&site.path("data").display().to_string()), "{error}");
    let health = crate::support::http::request(port, "GET /health", "", None).await.unwrap();
    assert_eq!(health.status, 200, "the first one is unharmed");
    let trace = site.kaphila(&["trace", "1.1"]).await;
    assert_eq!(trace.status.code(), Some(3), "its control socket too: {}", text(&trace.stderr));

    // A taken port is told by name, and changes nothing.
    let mut third = Site::new().await;
    third.set("KAPHILA_HTTP_LISTEN", format!("127.0.0.1:{port}"));
    let output = third.kaphila(&["serve"]).await;
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{error}");
    serving.kill().await;
}
