//! C5: another process holds the database of the real program for some seconds.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection, Executor};

use crate::support::exchange::{Callee, Exchange};
use crate::support::hooks::Hooks;
use crate::support::http;
use crate::support::program::{Site, eventually};

async fn ready(site: &Site) -> u16 {
    http::request(site.admin, "GET /ready", "", None).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_calls_survive_new_ones_are_refused_and_nothing_is_lost() {
    let exchange = Exchange::start("127.0.0.22").await;
    let mut hooks = Hooks::start().await;
    let site = Site::with_trunks(&[exchange.address]).await;
    let mut serving = site.serve(&[]).await;
    let [talking, leaving, ringing] =
        [Callee::Answers.number(1), Callee::Answers.number(2), Callee::Rings.number(3)];
    let mut calls = Vec::new();
    for number in [&talking, &leaving, &ringing] {
        let body = json!({ "number": number, "webhookUrl": hooks.url() });
        calls
            .push(site.post("/makecall", body).await.json()["callId"].as_str().unwrap().to_owned());
    }
    for call in &calls[..2] {
        hooks.expect(call, "recording.started").await;
    }
    assert_eq!(ready(&site).await, 200);

    let mut other = site.database().await;
    // The server writes a heartbeat every second: the lock may have to be waited for.
    other.execute("PRAGMA busy_timeout = 5000").await.unwrap();
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    let taken = Instant::now();
    let refusals = (0..10).map(async |n| {
        let body = json!({ "number": Callee::Answers.number(10 + n), "webhookUrl": hooks.url() });
        let answer = site.post("/makecall", body).await;
        answer.is_refused(503, "DATABASE_UNAVAILABLE");
        assert!(answer.took < Duration::from_secs(1), "{:?}", answer.took);
        answer.took
    });
    let took = futures_util::future::join_all(refusals).await;
    println!("refused after at most {:?}", took.iter().max().unwrap());
    assert_eq!(ready(&site).await, 503);
    assert_eq!(exchange.legs().len(), 3, "none of them was dialled");

    // Meanwhile one presses a key, one hangs up, one answers; and each side knows.
    exchange.press(&talking, 7, 1).await;
    exchange.hang_up(&leaving).await;
    exchange.answer(&ringing).await;
    eventually(5, "the ACK", || {
        std::future::ready(!exchange.leg(&ringing).unwrap().acks.is_empty())
    })
    .await;
    eventually(5, "the end of one call", async || {
        site.get("/calls").await.json()["activeCalls"] == 2
    })
    .await;
    // A call is hung up all the same.
    let hang_up = site.post("/hangup", json!({ "callId": calls[2] })).await;
    assert_eq!(hang_up.status, 200, "{hang_up:?}");
    eventually(5, "the BYE", || {
        std::future::ready(!exchange.leg(&ringing).unwrap().byes.is_empty())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(4).saturating_sub(taken.elapsed())).await;
    other.execute("ROLLBACK").await.unwrap();
    let back = Instant::now();

    let digit = hooks.expect(&calls[0], "dtmf.received").await;
    assert_eq!(digit["digit"], "7");
    let ended = hooks.expect(&calls[1], "call.ended").await;
    assert_eq!(
        (&ended["endReason"], &ended["status"]),
        (&json!("normal_hangup"), &json!("completed"))
    );
    hooks.expect(&calls[2], "call.answered").await;
    println!("all was told {:?} after the database was back", back.elapsed());
    eventually(5, "ready again", async || ready(&site).await == 200).await;
    let body = json!({ "number": Callee::HangsUp.number(20), "webhookUrl": hooks.url() });
    let after = site.post("/makecall", body).await;
    assert_eq!(after.status, 200, "{after:?}");
    site.post("/hangup", json!({ "callId": calls[0] })).await;
    hooks.expect(&calls[0], "call.ended").await;
    let ended = hooks.expect(&calls[2], "call.ended").await;
    assert_eq!(
        (&ended["endReason"], &ended["status"]),
        (&json!("api_hangup"), &json!("completed"))
    );
    hooks.expect(after.json()["callId"].as_str().unwrap(), "call.ended").await;
    hooks.are_whole();
    other.close().await.unwrap();
    serving.terminate();
    assert!(serving.ends(Duration::from_secs(10)).await.success());
    site.books_are_right().await;
}
