//! A trunk with an account: SIPp's own check of digest, and Kamailio as registrar and proxy.

use kaphila::store::{Password, TrunkSettings};
use serde_json::{Value, json};

use super::kamailio::{Kamailio, PASSWORD, USERNAME};
use super::ladder::{DESCRIBED, Ladder, Sdp};
use super::node::Node;
use super::own_address;
use super::sipp::Sipp;

fn account(uri: String, register: bool) -> TrunkSettings {
    TrunkSettings {
        username: Some(USERNAME.to_owned()),
        password: Some(Password::new(PASSWORD)),
        register,
        qualify_secs: 0,
        ..TrunkSettings::new("trunk-0", uri)
    }
}

async fn registration(node: &Node) -> Value {
    let trunk: Value =
        serde_json::from_str(&node.operate(&["trunk", "show", "trunk-0", "--json"]).await).unwrap();
    assert_eq!(trunk["password"], "***");
    trunk["registration"].clone()
}

/// SIPp verifies the INVITE and, asked anew, the BYE.
#[tokio::test(flavor = "multi_thread")]
async fn sipp_takes_the_proof_of_invite_and_bye() {
    let ladder = Ladder::invited()
        .challenge("INVITE", "first", USERNAME, PASSWORD)
        .accept(Sdp::at(0))
        .expect("BYE")
        .challenge("BYE", "second", USERNAME, PASSWORD)
        .reply("200 OK");
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let node =
        Node::with_trunks(vec![account(format!("sip:{}", carrier.address), false)], false, "")
            .await;
    let call = node.place("14155550100").await;
    node.event(&call, "recording.started").await;
    node.command("/hangup", json!({ "callId": call })).await;
    let ended = node.event(&call, "call.ended").await;
    assert_eq!(ended["attempts"].as_array().unwrap().len(), 1, "a challenge is no attempt");
    carrier.finish().await;
    node.stop().await;
}

/// Endless challenges: `trunk_failure` with cause 21, after two INVITEs.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_ends_the_call() {
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\n";
    let ladder = Ladder::invited()
        .answer_with("401 Unauthorized", challenge, "")
        .expect("ACK")
        .expect_and_keep("INVITE")
        .answer_kept_with("401 Unauthorized", challenge)
        .expect("ACK");
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let node =
        Node::with_trunks(vec![account(format!("sip:{}", carrier.address), false)], false, "")
            .await;
    let (status, answer) = node.make_call("14155550100").await;
    assert_eq!((status, &answer["code"]), (500, &json!("ORIGINATION_FAILED")), "{answer}");
    carrier.finish().await;
    assert!(node.log().contains("does not take our credentials"), "{}", node.log());
    node.stop().await;
}

/// Registered, called through with proof, held by the far end along the route, hung up along the
/// reversed route with a proof of its own, unregistered.
#[tokio::test(flavor = "multi_thread")]
async fn kamailio_registers_us_and_carries_our_calls() {
    for algorithm in ["MD5", "SHA-256"] {
        let gateway = own_address();
        let Some(kamailio) = Kamailio::start(gateway, algorithm).await else { return };
        let route = format!("Route: <sip:{};lr>\n{DESCRIBED}", kamailio.address.ip());
        let held = Sdp { version: 2, direction: "sendonly", ..Sdp::at(0) };
        let ladder = Ladder::invited()
            .and_in_it("Record-Route: <sip:")
            .answer_routed(Sdp::at(0))
            .expect("ACK")
            .reinvite_with(&route, held, "a=recvonly")
            .expect("BYE")
            .reply("200 OK");
        let Some(carrier) = Sipp::carrier_at(gateway, &ladder, 1).await else { return };
        let node =
            Node::with_trunks(vec![account(format!("sip:{}", kamailio.address), true)], false, "")
                .await;
        kamailio.says("REGISTER by alice for alice at <sip:alice@").await;
        kamailio.says("expires 3600").await;
        while registration(&node).await != "registered" {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(node.metrics().await.contains("kaphila_trunk_registered{trunk=\"trunk-0\"} 1"));
        let tested = node.operate(&["trunk", "test", "trunk-0"]).await;
        assert!(tested.contains("answered OPTIONS with 200"), "{tested}");
        kamailio.says("OPTIONS proved by alice").await;

        let call = node.place("14155550100").await;
        node.event(&call, "recording.started").await;
        kamailio.says("INVITE proved by alice").await;
        kamailio.says("INVITE by its route to sip:").await;
        node.command("/hangup", json!({ "callId": call })).await;
        node.event(&call, "call.ended").await;
        carrier.finish().await;
        kamailio.says("BYE challenged").await;
        kamailio.says("BYE proved by alice").await;
        kamailio.says("BYE by its route to sip:far@").await;
        node.stop().await;
        kamailio.says("expires 0").await;
    }
}
