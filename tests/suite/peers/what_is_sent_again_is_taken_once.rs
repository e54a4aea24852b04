//! Messages that are lost, and messages that come twice.

use serde_json::json;

use super::ladder::{Ladder, Sdp};
use super::node::Node;
use super::sipp::Sipp;

/// A carrier whose first answers are lost on the way sees the INVITE again.
#[tokio::test(flavor = "multi_thread")]
async fn an_invite_is_sent_until_something_comes_back() {
    let slow = Ladder::invited().pause(1_800).accept(Sdp::at(0)).bye();
    let Some(carrier) = Sipp::carrier(&slow, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "call.answered").await;
    let trace = node.trace(&call).await;
    // At 0.5 and 1.5 s (RFC 3261 §17.1.1.2, timer A).
    let again = trace.lines().filter(|line| line.contains("INVITE") && line.contains("(again)"));
    assert_eq!(again.count(), 2, "{trace}");
    node.event(&call, "call.ended").await;
    carrier.finish().await;
    node.stop().await;
}

/// ACKs that the carrier does not get: it sends its 200 again, and each is acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn each_200_has_its_ack() {
    let ok = |ladder: Ladder| ladder.answer_sdp("200 OK", Sdp::at(0)).expect("ACK");
    let ladder = ok(ok(ok(ok(Ladder::invited().answer("180 Ringing"))))).hung_up();
    let Some(carrier) = Sipp::carrier(&ladder.seeing_repetitions(), 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "recording.started").await;
    node.command("/hangup", json!({ "callId": call })).await;
    node.event(&call, "call.ended").await;
    carrier.finish().await;
    let names: Vec<_> = node.events(&call).iter().map(|it| it["event"].clone()).collect();
    assert_eq!(names.iter().filter(|name| *name == "call.answered").count(), 1, "{names:?}");
    node.stop().await;
}

/// The same for a refusal; and the call has ended once (RFC 3261 §17.1.1.2, Completed).
#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_ack() {
    let no = |ladder: Ladder| ladder.answer("486 Busy Here").expect("ACK");
    let ladder = no(no(no(Ladder::invited().answer("180 Ringing"))));
    let Some(carrier) = Sipp::carrier(&ladder.seeing_repetitions(), 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    carrier.finish().await;
    node.event(&call, "call.ended").await;
    let names: Vec<_> = node.events(&call).iter().map(|it| it["event"].clone()).collect();
    assert_eq!(names, ["call.initiated", "call.ended"]);
    node.stop().await;
}

/// A BYE that comes again is answered again, long after the call.
#[tokio::test(flavor = "multi_thread")]
async fn each_bye_has_its_200() {
    let again = |ladder: Ladder| ladder.request_again("BYE").expect_answer(200, "CSeq: *1 BYE");
    let ladder = again(again(Ladder::invited().accept(Sdp::at(0)).bye()).pause(300));
    let Some(carrier) = Sipp::carrier(&ladder.seeing_repetitions(), 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    let end = node.event(&call, "call.ended").await;
    assert_eq!(end["endReason"], "normal_hangup");
    carrier.finish().await;
    node.stop().await;
}
