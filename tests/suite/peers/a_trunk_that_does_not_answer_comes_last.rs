//! Trunks are asked whether they are there (OPTIONS) and judged by their calls; those that do not
//! answer are tried after the others.

use std::net::{SocketAddr, UdpSocket};

use kaphila::store::TrunkSettings;
use serde_json::Value;

use super::baresip::Baresip;
use super::ladder::Ladder;
use super::node::Node;
use super::own_address;
use super::sipp::Sipp;
use crate::support::program::eventually;

const NUMBER: &str = "14155550100";

async fn busy(calls: usize) -> Option<Sipp> {
    Sipp::carrier(&Ladder::invited().answer("486 Busy Here").expect("ACK"), calls).await
}

/// What `kaphila trunk list` says of the first trunk.
async fn reachable(node: &Node) -> Value {
    let listed = node.operate(&["trunk", "list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed[0]["reachable"].clone()
}

async fn becomes(node: &Node, expected: bool) {
    eventually(30, &format!("the trunk's being reachable is {expected}"), || async move {
        reachable(node).await == expected
    })
    .await;
}

/// The trunks of a call's INVITEs, in order.
async fn tried(node: &Node) -> Vec<String> {
    let (_, answer) = node.make_call(NUMBER).await;
    let call = answer["callId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let end = node.event(&call, "call.ended").await;
    let attempts = end["attempts"].as_array().unwrap().iter();
    attempts.map(|attempt| attempt["trunk"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_asked_in_vain() {
    let ip = own_address();
    let telephone = || Baresip::start_at(ip, "00", "PCMU", (1_000.0, 6_000.0), None);
    let Some(there) = telephone().await else { return };
    let Some(other) = busy(2).await else { return };
    let trunk = |name: &str, at: SocketAddr, qualify_secs| TrunkSettings {
        qualify_secs,
        ..TrunkSettings::new(name, format!("sip:{at}"))
    };
    let asked = trunk("trunk-0", there.address, 1);
    let spare = trunk("trunk-1", other.address, 0);
    let node = Node::with_trunks(vec![asked, spare], false, "").await;
    becomes(&node, true).await;

    drop(there);
    becomes(&node, false).await;
    let metrics = node.metrics().await;
    assert!(metrics.contains("kaphila_trunk_reachable{trunk=\"trunk-0\"} 0"), "{metrics}");
    assert!(!metrics.contains("kaphila_trunk_reachable{trunk=\"trunk-1\"}"), "it is not asked");
    for _ in 0..2 {
        assert_eq!(tried(&node).await, ["trunk-1"]);
    }
    other.finish().await;
    assert_eq!(node.log().matches("a trunk is not reachable").count(), 1, "{}", node.log());

    let _back = telephone().await.unwrap();
    becomes(&node, true).await;
    node.stop().await;
}

/// What was found of a trunk as it was says nothing of it as it is.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_changed_begins_anew() {
    let closed = UdpSocket::bind((own_address(), 0)).unwrap();
    let dead = format!("sip:{}", closed.local_addr().unwrap());
    drop(closed);
    let asked = TrunkSettings { qualify_secs: 1, ..TrunkSettings::new("trunk-0", &dead) };
    let node = Node::with_trunks(vec![asked], false, "").await;
    becomes(&node, false).await;
    node.operate(&["trunk", "add", "trunk-0", "--uri", &dead, "--qualify", "0"]).await;
    eventually(10, "nothing is known of it", || async { reachable(&node).await.is_null() }).await;
    node.stop().await;
}

/// Nobody asks this one: its calls tell. It is alone at its address, and its port is closed.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_calls_found_silent() {
    let closed = UdpSocket::bind((own_address(), 0)).unwrap();
    let dead = closed.local_addr().unwrap();
    drop(closed);
    let Some(other) = busy(6).await else { return };
    let trunks = [format!("sip:{dead}"), format!("sip:{}", other.address)];
    let node = Node::start_with(&trunks, false, "").await;
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(tried(&node).await.join(" "));
    }
    // Round robin: each other call begins with the dead one, until it has failed twice.
    let both = "trunk-0 trunk-1";
    assert_eq!(all, [both, "trunk-1", both, "trunk-1", "trunk-1", "trunk-1"]);
    other.finish().await;
    assert_eq!(reachable(&node).await, false);
    node.stop().await;
}
