//! IPv6: brackets in URIs, none in SDP, and the same call.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::json;

use super::ladder::{Ladder, Sdp};
use super::node::Node;
use super::rtp::Ear;
use super::sipp::Sipp;

#[tokio::test(flavor = "multi_thread")]
async fn is_a_call_like_any_other() {
    let ip = IpAddr::from(Ipv6Addr::LOCALHOST);
    if std::net::UdpSocket::bind((ip, 0)).is_err() {
        return println!("skipped: no IPv6 on this machine");
    }
    let ear = Ear::at(ip).await;
    let ladder = Ladder::invited()
        .and_in_it("Via: SIP/2.0/UDP \\[::1\\]:[0-9]+;")
        .and_in_it("Contact: <sip:\\[::1\\]:[0-9]+>")
        .and_in_it("c=IN IP6 ::1")
        .accept(Sdp::at(ear.port))
        .reinvite(Sdp { version: 2, ..Sdp::at(ear.port) }, "c=IN IP6 ::1")
        .hung_up();
    let Some(carrier) = Sipp::carrier_at(ip, &ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "call.answered").await;
    ear.hears().await;
    node.command("/hangup", json!({ "callId": call })).await;
    let end = node.event(&call, "call.ended").await;
    assert_eq!((&end["status"], &end["hangupCause"]), (&"completed".into(), &"16".into()));
    carrier.finish().await;
    node.stop().await;
}
