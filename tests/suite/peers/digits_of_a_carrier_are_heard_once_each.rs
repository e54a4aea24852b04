//! Key presses as a telephone once sent them, played by SIPp from the captures that come with it.

use super::capture;
use super::ladder::{Ladder, Sdp};
use super::node::Node;
use super::sipp::Sipp;

#[tokio::test(flavor = "multi_thread")]
async fn from_the_captures_of_every_key() {
    if !capture::can_be_played() {
        return;
    }
    let mut ladder = Ladder::invited().accept(Sdp::at(0)).pause(100);
    for key in ["1", "2", "3", "4", "5", "6", "7", "8", "9", "star", "0", "pound"] {
        let Some(file) = capture::of_key(key) else { return };
        ladder = ladder.play(&file).pause(350);
    }
    let Some(carrier) = Sipp::carrier(&ladder.bye(), 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "call.ended").await;
    carrier.finish().await;
    let events = node.events(&call);
    let presses = events.iter().filter(|event| event["event"] == "dtmf.received");
    let digits: String = presses.clone().map(|event| event["digit"].as_str().unwrap()).collect();
    assert_eq!(digits, "123456789*0#");
    assert!(presses.clone().all(|event| event["method"] == "rfc4733"));
    node.stop().await;
}
