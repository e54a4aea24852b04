//! Hang-ups from either side at every stage of a call.

use serde_json::json;

use super::ladder::{Ladder, Sdp};
use super::node::Node;
use super::sipp::Sipp;

#[tokio::test(flavor = "multi_thread")]
async fn ringing_it_is_cancelled() {
    let ladder = Ladder::invited()
        .answer("100 Trying")
        .answer("180 Ringing")
        .expect("CANCEL")
        .reply("200 OK")
        .answer("487 Request Terminated")
        .expect("ACK");
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.command("/hangup", json!({ "callId": call })).await;
    let end = node.event(&call, "call.ended").await;
    let told = (&end["status"], &end["endReason"], &end["hangupCause"], &end["endedBy"]);
    assert_eq!(told, (&"canceled".into(), &"canceled".into(), &"16".into(), &"api".into()));
    carrier.finish().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ring_timeout_cancels_too() {
    let ladder = Ladder::invited()
        .answer("180 Ringing")
        .expect("CANCEL")
        .reply("200 OK")
        .answer("487 Request Terminated")
        .expect("ACK");
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place_with(json!({ "number": "14155550100", "ringTimeout": 1 })).await;
    let end = node.event(&call, "call.ended").await;
    let told = (&end["status"], &end["endReason"], &end["hangupCause"], &end["sipStatus"]);
    assert_eq!(told, (&"no-answer".into(), &"no_answer".into(), &"19".into(), &487.into()));
    carrier.finish().await;
    node.stop().await;
}

/// The telephone is picked up in the moment of the CANCEL: ACK, BYE, and nothing is charged.
#[tokio::test(flavor = "multi_thread")]
async fn a_200_that_crosses_the_cancel_is_hung_up() {
    for answer_to_cancel in ["200 OK", "481 Call/Transaction Does Not Exist"] {
        let ladder = Ladder::invited()
            .answer("180 Ringing")
            .expect("CANCEL")
            .reply(answer_to_cancel)
            .answer_sdp("200 OK", Sdp::at(0))
            .expect("ACK")
            .hung_up();
        let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
        let node = Node::start(&[carrier.address]).await;
        let call = node.place("14155550100").await;
        node.command("/hangup", json!({ "callId": call })).await;
        let end = node.event(&call, "call.ended").await;
        assert_eq!((&end["status"], &end["wasAnswered"]), (&"canceled".into(), &false.into()));
        carrier.finish().await;
        assert_eq!(node.credits().await, 1_000);
        node.stop().await;
    }
}

/// Hung up before the carrier has said anything: CANCEL must wait for its first word (RFC 3261
/// §9.1).
#[tokio::test(flavor = "multi_thread")]
async fn before_any_word_the_cancel_waits_for_one() {
    let ladder = Ladder::invited()
        .pause(1_500)
        .answer("180 Ringing")
        .expect("CANCEL")
        .reply("200 OK")
        .answer("487 Request Terminated")
        .expect("ACK");
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let placing = node.make_call("14155550100");
    let hanging_up = async {
        let call = node.first_call().await;
        node.command("/hangup", json!({ "callId": call })).await;
        node.event(&call, "call.ended").await
    };
    let ((_, answer), end) = tokio::join!(placing, hanging_up);
    assert_eq!(answer["status"], "canceled", "{answer}");
    assert_eq!((&end["status"], &end["sipStatus"]), (&"canceled".into(), &json!(null)));
    carrier.finish().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bye_tells_its_reason() {
    let reason = "Reason: Q.850 ;cause=31 ;text=\"Normal, unspecified\"\n";
    let ladder = Ladder::invited()
        .accept(Sdp::at(0))
        .request("BYE", reason, "")
        .expect_answer(200, "CSeq: *1 BYE");
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    let end = node.event(&call, "call.ended").await;
    let told = (&end["status"], &end["endReason"], &end["hangupCause"], &end["endedBy"]);
    let wanted = ("completed", "normal_hangup", "31", "callee");
    assert_eq!(told, (&wanted.0.into(), &wanted.1.into(), &wanted.2.into(), &wanted.3.into()));
    carrier.finish().await;
    assert_eq!(node.credits().await, 999);
    node.stop().await;
}

/// Both hang up at once: each BYE is answered.
#[tokio::test(flavor = "multi_thread")]
async fn byes_that_cross_are_both_answered() {
    let ladder = Ladder::invited()
        .accept(Sdp::at(0))
        .expect_and_keep("BYE")
        .request("BYE", "", "")
        .expect_answer(200, "CSeq: *1 BYE")
        .answer_kept("200 OK");
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "recording.started").await;
    node.command("/hangup", json!({ "callId": call })).await;
    assert_eq!(node.event(&call, "call.ended").await["endReason"], "api_hangup");
    carrier.finish().await;
    node.stop().await;
}
