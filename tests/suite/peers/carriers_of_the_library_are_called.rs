//! Carriers that are called: each scenario `tests/sipp/carrier_*`.

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::node::Node;
use super::own_address;
use super::sipp::Sipp;
use crate::support::program::eventually;

/// Who ends a call.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    Carrier,
    /// `/hangup` once it is answered.
    Us,
    /// `/hangup` while it rings.
    UsRinging,
}

/// Scenario, who ends the call, and how: `endReason`, Q.850 cause (RFC 3398 §8.2.6.1).
const LIBRARY: &[(&str, Ends, &str, &str)] = &[
    ("carrier_hangs_up", Ends::Carrier, "normal_hangup", "16"),
    ("carrier_is_hung_up", Ends::Us, "api_hangup", "16"),
    ("carrier_is_cancelled", Ends::UsRinging, "canceled", "16"),
    ("carrier_answers_a_cancelled_call", Ends::UsRinging, "canceled", "16"),
    ("carrier_repeats_its_200", Ends::Carrier, "normal_hangup", "16"),
    ("carrier_rings_in_every_order", Ends::Carrier, "normal_hangup", "16"),
    ("carrier_rings_reliably", Ends::Us, "api_hangup", "16"),
    ("carrier_wants_longer_sessions", Ends::Us, "api_hangup", "16"),
    ("carrier_refreshes", Ends::Us, "api_hangup", "16"),
    ("carrier_holds", Ends::Carrier, "normal_hangup", "16"),
    ("carrier_forks", Ends::Carrier, "normal_hangup", "16"),
];

/// One call by a scenario, to its end.
async fn plays((scenario, ends, reason, cause): (&str, Ends, &str, &str)) {
    let Some(carrier) = Sipp::called(own_address(), scenario).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    if ends == Ends::Us {
        node.event(&call, "call.answered").await;
        if scenario == "carrier_refreshes" {
            eventually(5, "a refresh", async || node.trace(&call).await.contains("UPDATE")).await;
        }
    }
    if ends != Ends::Carrier {
        node.command("/hangup", json!({ "callId": call })).await;
    }
    let end = node.event(&call, "call.ended").await;
    let told = (&end["endReason"], &end["hangupCause"]);
    assert_eq!(told, (&json!(reason), &json!(cause)), "{scenario}");
    carrier.finish().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_every_ladder_comes_to_its_end() {
    let calls = LIBRARY.iter().map(|one| plays(*one));
    stream::iter(calls).buffer_unordered(4).collect::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_each_refusal_means_what_it_says() {
    for (scenario, reason) in [
        ("carrier_is_busy", "busy"),
        ("carrier_knows_no_such_number", "invalid_number"),
        ("carrier_declines", "rejected"),
        ("carrier_does_not_pick_up", "no_answer"),
    ] {
        let Some(carrier) = Sipp::called(own_address(), scenario).await else { return };
        let node = Node::start(&[carrier.address]).await;
        let (_, answer) = node.make_call("14155550100").await;
        let call = answer["callId"].as_str().unwrap();
        let end = node.event(call, "call.ended").await;
        assert_eq!(end["endReason"], reason, "{scenario}");
        carrier.finish().await;
        node.stop().await;
    }
}
