//! Trunks that refuse or say nothing, and callees that fall silent, against the real program.

use std::time::Duration;

use serde_json::json;

use crate::support::exchange::{Callee, Exchange};
use crate::support::hooks::Hooks;
use crate::support::program::Site;

/// A port that nobody listens on.
fn refused() -> std::net::SocketAddr {
    std::net::UdpSocket::bind("127.0.0.15:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_refuses_is_told_by_icmp() {
    let mut hooks = Hooks::start().await;
    let site = Site::with_trunks(&[refused(), refused()]).await;
    let _serving = site.serve(&[]).await;
    let body = json!({ "number": Callee::Answers.number(1), "webhookUrl": hooks.url() });
    let answer = site.post("/makecall", body).await;
    assert_eq!(answer.status, 500, "{answer:?}");
    let told = answer.json();
    assert_eq!(told["code"], "ORIGINATION_FAILED");
    assert_eq!(told["attemptedTrunks"], json!(["trunk-0", "trunk-1"]));
    assert!(answer.took < Duration::from_secs(2), "{:?}", answer.took);
    let ended = hooks.expect(told["callId"].as_str().unwrap(), "call.ended").await;
    assert_eq!(ended["endReason"], "trunk_failure");
    hooks.are_whole();
    site.books_are_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_that_says_nothing_is_given_four_seconds() {
    let dead = Exchange::start("127.0.0.16").await;
    let mut hooks = Hooks::start().await;
    let site = Site::with_trunks(&[dead.address, refused()]).await;
    let _serving = site.serve(&[]).await;
    let number = Callee::IsDead.number(1);
    let answer =
        site.post("/makecall", json!({ "number": number, "webhookUrl": hooks.url() })).await;
    let told = answer.json();
    assert_eq!((answer.status, &told["code"]), (500, &json!("ORIGINATION_FAILED")), "{answer:?}");
    assert!((4..6).contains(&answer.took.as_secs()), "{:?}", answer.took);
    hooks.expect(told["callId"].as_str().unwrap(), "call.ended").await;
    site.books_are_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_answered_within_ten_seconds_whatever_happens() {
    let dead = Exchange::start("127.0.0.17").await;
    let others = [Exchange::start("127.0.0.18").await, Exchange::start("127.0.0.19").await];
    let mut hooks = Hooks::start().await;
    let trunks = [dead.address, others[0].address, others[1].address];
    let site = Site::with_trunks(&trunks).await;
    let _serving = site.serve(&[]).await;
    let number = Callee::IsDead.number(1);
    let answer =
        site.post("/makecall", json!({ "number": number, "webhookUrl": hooks.url() })).await;
    let told = answer.json();
    assert_eq!((answer.status, &told["status"]), (200, &json!("ringing")), "{answer:?}");
    assert!((10..11).contains(&answer.took.as_secs()), "{:?}", answer.took);
    // Failover goes on in the background, and fails.
    let ended = hooks.expect(told["callId"].as_str().unwrap(), "call.ended").await;
    assert_eq!(ended["endReason"], "trunk_failure");
    assert_eq!(ended["attempts"].as_array().unwrap().len(), 3);
    site.books_are_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answered_call_without_rtp_ends_media_timeout() {
    let exchange = Exchange::start("127.0.0.20").await;
    let mut hooks = Hooks::start().await;
    let mut site = Site::with_trunks(&[exchange.address]).await;
    site.set("KAPHILA_MEDIA_RTP_TIMEOUT", "2s");
    let _serving = site.serve(&[]).await;
    let number = Callee::Answers.number(1);
    let answer =
        site.post("/makecall", json!({ "number": number, "webhookUrl": hooks.url() })).await;
    let call = answer.json()["callId"].as_str().unwrap().to_owned();
    let ended = hooks.expect(&call, "call.ended").await;
    let found =
        (&ended["status"], &ended["endReason"], &ended["hangupCause"], &ended["callDuration"]);
    let expected = (json!("completed"), json!("media_timeout"), json!("44"), json!(2));
    assert_eq!(found, (&expected.0, &expected.1, &expected.2, &expected.3));
    assert_eq!(exchange.leg(&number).unwrap().byes.len(), 1);
    hooks.are_whole();
    site.books_are_right().await;
}
