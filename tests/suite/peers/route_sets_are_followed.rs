//! A carrier whose proxy stays in the call by Record-Route (RFC 3261 §12.2.1.1).

use serde_json::json;

use super::ladder::{Ladder, Sdp};
use super::node::Node;
use super::sipp::Sipp;

/// The telephone's own address is one that nothing of ours can reach: only the route leads there.
const BEHIND: &str = "sip:desk@127.255.255.254:9";

fn routed(route: &str) -> String {
    format!("Record-Route: {route}\nContact: <{BEHIND}>\nContent-Type: application/sdp\n")
}

/// ACK and BYE go to the proxy, with the telephone in the Request-URI and the routes reversed.
#[tokio::test(flavor = "multi_thread")]
async fn ack_and_bye_go_by_the_reversed_route() {
    let route = "<sip:far-side.example.net;lr>, <sip:[local_ip]:[local_port];lr>";
    let route_back = "Route: *<sip:[0-9.:]+;lr>[^<]*<sip:far-side.example.net;lr>";
    let uri = |method: &str| format!("{method} {BEHIND} SIP/2.0");
    let ladder = Ladder::invited()
        .answer_with("200 OK", &routed(route), &Sdp::at(0).text())
        .expect_with("ACK", &uri("ACK"))
        .expect_with("BYE", route_back)
        .reply("200 OK");
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "recording.started").await;
    node.command("/hangup", json!({ "callId": call })).await;
    node.event(&call, "call.ended").await;
    carrier.finish().await;
    node.stop().await;
}

/// A re-INVITE with a new Contact moves the call; the route stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_contact_is_the_new_target() {
    let new = "Contact: <sip:moved@[local_ip]:[local_port]>\nContent-Type: application/sdp\n";
    let ladder = Ladder::invited()
        .answer_sdp("200 OK", Sdp::at(0))
        .expect_with("ACK", "ACK sip:far@")
        .reinvite_with(new, Sdp { version: 2, ..Sdp::at(0) }, "a=sendrecv")
        .expect_with("BYE", "BYE sip:moved@")
        .reply("200 OK");
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "recording.started").await;
    // The re-INVITE may come a moment after the answer.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    node.command("/hangup", json!({ "callId": call })).await;
    node.event(&call, "call.ended").await;
    carrier.finish().await;
    node.stop().await;
}
