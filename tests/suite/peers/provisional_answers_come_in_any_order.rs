//! Provisional answers in every order that carriers are seen to send them in, and none at all.

use serde_json::json;

use super::ladder::{Ladder, Sdp};
use super::node::Node;
use super::own_address;
use super::rtp::Ear;
use super::sipp::Sipp;

/// What comes before the 200. `+` stands behind an answer with a description.
const ORDERS: &[&[&str]] = &[
    &[],
    &["100 Trying"],
    &["180 Ringing"],
    &["100 Trying", "180 Ringing", "183 Session Progress", "180 Ringing", "181 Forwarded"],
    &["100 Trying", "183 Session Progress+", "180 Ringing"],
    &["183 Session Progress+", "183 Session Progress+", "100 Trying"],
    &["182 Queued", "199 Early Dialog Terminated", "180 Ringing"],
    &["101 Unheard Of", "155 Also Unheard Of"],
];

#[tokio::test(flavor = "multi_thread")]
async fn and_the_call_is_answered_and_talks() {
    for order in ORDERS {
        let ip = own_address();
        let ear = Ear::at(ip).await;
        let mut ladder = Ladder::invited();
        for status in *order {
            ladder = match status.strip_suffix('+') {
                Some(status) => ladder.answer_sdp(status, Sdp::at(ear.port)),
                None => ladder.answer(status),
            };
        }
        ladder = ladder.answer_sdp("200 OK", Sdp::at(ear.port)).expect("ACK").hung_up();
        let Some(carrier) = Sipp::carrier_at(ip, &ladder, 1).await else { return };
        talks(carrier, ear, &format!("{order:?}")).await;
    }
}

/// A call is answered, talks and is hung up; nothing else is heard of it.
async fn talks(carrier: Sipp, ear: Ear, what: &str) {
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "call.answered").await;
    ear.hears().await;
    node.command("/hangup", json!({ "callId": call })).await;
    let end = node.event(&call, "call.ended").await;
    let told = (&end["status"], &end["endReason"], &end["hangupCause"]);
    assert_eq!(told, (&"completed".into(), &"api_hangup".into(), &"16".into()), "{what}");
    assert_eq!(end["attempts"].as_array().unwrap().len(), 1, "{what}");
    let names: Vec<_> = node.events(&call).iter().map(|it| it["event"].clone()).collect();
    assert_eq!(names[..2], ["call.initiated", "call.answered"], "{what}");
    carrier.finish().await;
    node.stop().await;
}

/// A SIP-I carrier: the description is one part of several.
#[tokio::test(flavor = "multi_thread")]
async fn and_with_isup_beside_the_description() {
    let ip = own_address();
    let ear = Ear::at(ip).await;
    let ladder = Ladder::invited()
        .answer_sip_i("183 Session Progress", Sdp::at(ear.port))
        .answer_sip_i("200 OK", Sdp::at(ear.port))
        .expect("ACK")
        .hung_up();
    let Some(carrier) = Sipp::carrier_at(ip, &ladder, 1).await else { return };
    talks(carrier, ear, "SIP-I").await;
}

/// The INVITE is forked: one telephone plays early media, another one is picked up (RFC 3261
/// §13.2.2.4).
#[tokio::test(flavor = "multi_thread")]
async fn and_who_answers_is_talked_to() {
    let ip = own_address();
    let (early, picked_up) = (Ear::at(ip).await, Ear::at(ip).await);
    let ladder = Ladder::invited()
        .answer_of("first", "183 Session Progress", Sdp::at(early.port))
        .answer_of("second", "180 Ringing", Sdp::at(picked_up.port))
        .answer_of("second", "200 OK", Sdp::at(picked_up.port))
        .expect_with("ACK", "To: .*tag=second")
        .expect_with("BYE", "To: .*tag=second")
        .reply("200 OK");
    let Some(carrier) = Sipp::carrier_at(ip, &ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "call.answered").await;
    picked_up.hears().await;
    node.command("/hangup", json!({ "callId": call })).await;
    node.event(&call, "call.ended").await;
    carrier.finish().await;
    assert_eq!(early.heard().len(), 0, "nothing is said before the answer");
    node.stop().await;
}

/// Four seconds without a word above 100, and the next trunk is tried. What the first one says
/// later is put right.
#[tokio::test(flavor = "multi_thread")]
async fn and_none_at_all_moves_on_to_the_next_trunk() {
    let late =
        Ladder::invited().pause(5_000).answer_sdp("200 OK", Sdp::at(0)).expect("ACK").hung_up();
    let Some(mute) = Sipp::carrier(&late, 1).await else { return };
    let Some(next) = Sipp::carrier(&Ladder::invited().accept(Sdp::at(0)).hung_up(), 1).await else {
        return;
    };
    let node = Node::start(&[mute.address, next.address]).await;
    let call = node.place("14155550100").await;
    let answered = node.event(&call, "call.answered").await;
    assert_eq!(answered["trunk"], "trunk-1");
    // ACK and BYE of the late 200, while the other leg talks on.
    mute.finish().await;
    node.command("/hangup", json!({ "callId": call })).await;
    let end = node.event(&call, "call.ended").await;
    assert_eq!(end["status"], "completed");
    let attempts = end["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2, "{end:#}");
    assert_eq!((&attempts[0]["trunk"], &attempts[0]["status"]), (&"trunk-0".into(), &json!(null)));
    assert_eq!((&attempts[1]["trunk"], &attempts[1]["status"]), (&"trunk-1".into(), &200.into()));
    next.finish().await;
    node.stop().await;
}
