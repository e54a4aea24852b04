//! Failover by status and by silence, round robin, and the end of the list.

use std::time::Duration;

use kaphila::call::{PlaceOutcome, Status};

use crate::support::carrier::Carrier;
use crate::support::server::{Server, placed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_status_and_the_next_call_begins_with_the_other_trunk() {
    let mut first = Carrier::on("127.0.0.1").await;
    let mut second = Carrier::on("127.0.0.2").await;
    let mut server = Server::start(&[&first, &second], 5).await;
    let answer = server.place(server.request());
    let invite = first.expect("INVITE").await;
    first.answer(&invite, "503 Service Unavailable", "", "").await;
    first.expect("ACK").await;
    let invite = second.expect("INVITE").await;
    second.answer(&invite, "180 Ringing", "", "").await;
    let call = placed(answer.await.unwrap().unwrap());
    assert_eq!((call.status, call.trunk_attempts), (Status::Ringing, 2));
    assert_eq!(call.trunk, "trunk-1");
    second.answer(&invite, "480 Temporarily Unavailable", "", "").await;
    second.expect("ACK").await;
    server.event("call.initiated").await;
    let ended = server.event("call.ended").await;
    assert_eq!((&ended["status"], &ended["hangupCause"]), (&"no-answer".into(), &"19".into()));
    assert_eq!(ended["attempts"][0]["status"], 503);
    assert_eq!(ended["attempts"][1]["status"], 480);

    let answer = server.place(server.request());
    let invite = second.expect("INVITE").await;
    second.answer(&invite, "404 Not Found", "", "").await;
    second.expect("ACK").await;
    assert_eq!(placed(answer.await.unwrap().unwrap()).status, Status::Failed);
    server.ends_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_silence_until_the_list_ends() {
    let mut first = Carrier::on("127.0.0.1").await;
    let mut second = Carrier::on("127.0.0.2").await;
    let quick = |settings: &mut kaphila::call::Settings| {
        settings.no_answer_timeout = Duration::from_millis(300);
    };
    let mut server = Server::with(&[&first, &second], 5, quick).await;
    let answer = server.place(server.request());
    first.expect("INVITE").await;
    let invite = second.expect("INVITE").await;
    second.answer(&invite, "500 Server Error", "", "").await;
    second.expect("ACK").await;
    let answer = answer.await.unwrap().unwrap();
    let PlaceOutcome::Failed { attempted_trunks, total_trunks, .. } = answer.outcome else {
        panic!("{:?}", answer.outcome)
    };
    assert_eq!((attempted_trunks, total_trunks), (vec!["trunk-0".into(), "trunk-1".into()], 2));
    server.event("call.initiated").await;
    let ended = server.event("call.ended").await;
    assert_eq!(ended["attempts"][0]["status"], serde_json::Value::Null);
    assert_eq!((&ended["endReason"], &ended["sipStatus"]), (&"trunk_failure".into(), &500.into()));
    // The first one answers late: it is told that nobody wants it any more.
    assert_eq!(server.account().await.credits, 5);
}
