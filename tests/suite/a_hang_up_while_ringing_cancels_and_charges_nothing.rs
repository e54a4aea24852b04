//! `/hangup` before the answer: CANCEL, 487, ACK; the call is over at once.

use kaphila::call::{CommandError, EndReason, PlayTo, Prompt, Status};

use crate::support::carrier::Carrier;
use crate::support::server::{Server, placed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel() {
    let mut carrier = Carrier::on("127.0.0.1").await;
    let mut server = Server::start(&[&carrier], 1).await;
    let answer = server.place(server.request());
    let invite = carrier.expect("INVITE").await;
    carrier.answer(&invite, "180 Ringing", "", "").await;
    let call = placed(answer.await.unwrap().unwrap());
    let id = call.call_id.as_str();
    let prompt = Prompt::Text("Hello".to_owned());
    let refused = server.calls.play(&server.auth, id, prompt, PlayTo::Bridge).await;
    assert_eq!(refused, Err(CommandError::NotAnswered));

    server.calls.hang_up(&server.auth, id).await.unwrap();
    assert_eq!(server.calls.hang_up(&server.auth, id).await, Err(CommandError::NotFound));
    let cancel = carrier.expect("CANCEL").await;
    assert_eq!(cancel.header("Via"), invite.header("Via"), "RFC 3261 §9.1");
    carrier.answer(&cancel, "200 OK", "", "").await;
    carrier.answer(&invite, "487 Request Terminated", "", "").await;
    carrier.expect("ACK").await;
    server.event("call.initiated").await;
    let ended = server.event("call.ended").await;
    assert_eq!((&ended["status"], &ended["endedBy"]), (&"canceled".into(), &"api".into()));
    assert_eq!(ended["sipStatus"], serde_json::Value::Null, "it ended before the 487");
    assert_eq!(server.account().await.credits, 1);
    server.ends_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_200_that_crosses_the_cancel_gets_ack_and_bye_and_is_not_charged() {
    let mut carrier = Carrier::on("127.0.0.1").await;
    let mut server = Server::start(&[&carrier], 1).await;
    let answer = server.place(server.request());
    let invite = carrier.expect("INVITE").await;
    carrier.answer(&invite, "100 Trying", "", "").await;
    while server.calls.active(&server.auth).is_empty() {
        tokio::task::yield_now().await;
    }
    let id = server.calls.active(&server.auth)[0].call_id.clone();
    server.calls.hang_up(&server.auth, &id).await.unwrap();
    let call = placed(answer.await.unwrap().unwrap());
    assert_eq!(call.status, Status::Canceled);
    assert_eq!(call.end.unwrap().reason, EndReason::Canceled);
    carrier.expect("CANCEL").await;
    carrier.accept(&invite).await;
    carrier.expect("ACK").await;
    let bye = carrier.expect("BYE").await;
    carrier.answer(&bye, "200 OK", "", "").await;
    server.event("call.initiated").await;
    server.event("call.ended").await;
    assert_eq!(server.account().await.credits, 1, "not charged");
}
