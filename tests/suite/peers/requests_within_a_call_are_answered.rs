//! What a carrier asks for within a call, and beside one.

use std::time::Duration;

use serde_json::json;

use super::ladder::{Ladder, Sdp};
use super::node::Node;
use super::own_address;
use super::rtp::{Ear, Packet};
use super::sipp::Sipp;

/// Longest silence of the wire, and the samples that the timestamps moved on over it.
fn longest_pause(packets: &[Packet]) -> (Duration, u32) {
    let pauses = packets
        .windows(2)
        .map(|two| (two[1].at - two[0].at, two[1].timestamp.wrapping_sub(two[0].timestamp)));
    pauses.max().unwrap()
}

/// Hold, resume and a new codec, by re-INVITE and by UPDATE: one stream throughout.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_held_resumed_and_its_codec_changed() {
    type Offer = fn(Ladder, Sdp, &str) -> Ladder;
    for (offer, name) in [(Ladder::reinvite as Offer, "INVITE"), (Ladder::update, "UPDATE")] {
        let ip = own_address();
        let ear = Ear::at(ip).await;
        let talk = Sdp::at(ear.port);
        let hold = Sdp { direction: "sendonly", version: 2, ..talk };
        let resume = Sdp { version: 3, ..talk };
        let other_codec = Sdp { version: 4, codecs: "8", ..talk };
        let ladder = Ladder::invited().accept(talk).pause(400);
        let ladder = offer(ladder, hold, "a=recvonly").pause(800);
        let ladder = offer(ladder, resume, "a=sendrecv").pause(400);
        let ladder = offer(ladder, other_codec, "m=audio [0-9]+ RTP/AVP 8 101").pause(400).bye();
        let Some(carrier) = Sipp::carrier_at(ip, &ladder, 1).await else { return };
        let node = Node::start(&[carrier.address]).await;
        let call = node.place("14155550100").await;
        let end = node.event(&call, "call.ended").await;
        assert_eq!(end["endReason"], "normal_hangup", "{name}");
        carrier.finish().await;

        let heard = ear.heard();
        let (first, last) = (heard[0], heard[heard.len() - 1]);
        assert_eq!((first.payload_type, last.payload_type), (0, 8), "{name}");
        for two in heard.windows(2) {
            assert_eq!(two[1].ssrc, first.ssrc, "{name}: one SSRC a leg for life");
            assert_eq!(two[1].sequence, two[0].sequence.wrapping_add(1), "{name}: one sequence");
        }
        let (pause, samples) = longest_pause(&heard);
        assert!(pause > Duration::from_millis(500), "{name}: RTP while held: {pause:?}");
        let told = Duration::from_micros(u64::from(samples) * 125);
        let off = told.abs_diff(pause);
        assert!(off < Duration::from_millis(150), "{name}: {told:?} in a pause of {pause:?}");
        node.stop().await;
    }
}

/// A carrier that refreshes its sessions without an offer: ours has every codec again, and what it
/// answers in its ACK holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_reinvite_without_an_offer_gets_ours() {
    let ip = own_address();
    let ear = Ear::at(ip).await;
    let talk = Sdp::at(ear.port);
    let other_codec = Sdp { version: 2, codecs: "8", ..talk };
    let ladder = Ladder::invited()
        .accept(talk)
        .pause(300)
        .reinvite_without_offer(other_codec, "m=audio [0-9]+ RTP/AVP 0 8 101")
        .pause(500)
        .bye();
    let Some(carrier) = Sipp::carrier_at(ip, &ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    let end = node.event(&call, "call.ended").await;
    assert_eq!(end["endReason"], "normal_hangup");
    carrier.finish().await;
    let heard = ear.heard();
    assert_eq!((heard[0].payload_type, heard[heard.len() - 1].payload_type), (0, 8));
    node.stop().await;
}

/// An offer with nothing in it that we speak is 488, and the call goes on as it was.
#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_cannot_be_taken_leaves_the_call_as_it_was() {
    let ip = own_address();
    let ear = Ear::at(ip).await;
    let talk = Sdp::at(ear.port);
    let g729 = Sdp { codecs: "18", version: 2, ..talk };
    let ladder = Ladder::invited()
        .accept(talk)
        .reinvite_refused(g729, 488)
        .pause(400)
        .reinvite(Sdp { version: 3, ..talk }, "m=audio [0-9]+ RTP/AVP 0 101")
        .hung_up();
    let Some(carrier) = Sipp::carrier_at(ip, &ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "recording.started").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    node.command("/hangup", json!({ "callId": call })).await;
    node.event(&call, "call.ended").await;
    carrier.finish().await;
    assert!(ear.heard().iter().all(|packet| packet.payload_type == 0));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_else_has_its_answer() {
    let relay = "Content-Type: application/dtmf-relay\n";
    let ladder = Ladder::invited()
        .accept(Sdp::at(0))
        .request("OPTIONS", "", "")
        .expect_answer(200, "Allow: *[A-Z, ]*UPDATE")
        .request("INFO", relay, "Signal=7\nDuration=160\n")
        .expect_answer(200, "INFO")
        .request("INFO", relay, "Signal=#\nDuration=160\n")
        .expect_answer(200, "INFO")
        .request("INFO", "Content-Type: application/dtmf\n", "3")
        .expect_answer(200, "INFO")
        .request("INFO", "Content-Type: application/x-unheard-of\n", "7")
        .expect_answer(415, "Accept: ")
        .request("UPDATE", "Contact: <sip:far@[local_ip]:[local_port]>\n", "")
        .expect_answer(200, "UPDATE")
        .request("MESSAGE", "Content-Type: text/plain\n", "hello")
        .expect_answer(405, "Allow: ")
        .request("FROBNICATE", "", "")
        .expect_answer(501, "FROBNICATE")
        .bye();
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "call.ended").await;
    let events = node.events(&call);
    let pressed: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "dtmf.received")
        .map(|event| (event["digit"].as_str().unwrap(), event["method"].as_str().unwrap()))
        .collect();
    assert_eq!(pressed, [("7", "info"), ("#", "info"), ("3", "info")]);
    carrier.finish().await;
    node.stop().await;
}

/// Outside of calls: OPTIONS is a trunk's question whether we live.
#[tokio::test(flavor = "multi_thread")]
async fn beside_a_call_too() {
    let ip = own_address();
    let Some(carrier) =
        Sipp::carrier_at(ip, &Ladder::invited().answer("486 Busy").expect("ACK"), 1).await
    else {
        return;
    };
    let node = Node::start(&[carrier.address]).await;
    let asked = [
        ("OPTIONS", "", 200, "Accept: *application/sdp"),
        ("OPTIONS", "Require: nonsense\n", 420, "Unsupported: *nonsense"),
        ("BYE", "", 481, "BYE"),
        ("SUBSCRIBE", "Event: presence\n", 405, "Allow: "),
        ("FROBNICATE", "", 501, "FROBNICATE"),
    ];
    for (method, more, status, pattern) in asked {
        let ladder = Ladder::asking(method, more).expect_answer(status, pattern);
        Sipp::client(ip, node.sip, &ladder).unwrap().finish().await;
    }
    node.make_call("14155550100").await;
    carrier.finish().await;
    node.stop().await;
}
