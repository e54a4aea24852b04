//! Carriers that call: SIPp's own caller and the scenarios of `tests/sipp`.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::node::Node;
use super::own_address;
use super::sipp::Sipp;

const NUMBER: &str = "4930901820";

/// A server with a carrier's trunk, and its number.
async fn site(answer: &str) -> (Node, IpAddr) {
    let carrier = own_address();
    let node = Node::start(&[SocketAddr::new(carrier, 5060)]).await;
    node.add_number(NUMBER, answer).await;
    (node, carrier)
}

/// What a call's customer is told, by name.
fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

/// One call by a scenario, to its end; its `call.ended`.
async fn one(node: &Node, carrier: IpAddr, scenario: &str) -> Option<Value> {
    let sipp = Sipp::caller(carrier, node.sip, scenario, NUMBER, 1)?;
    let call = node.incoming(0).await["callId"].as_str().unwrap().to_owned();
    let end = node.event(&call, "call.ended").await;
    sipp.finish().await;
    Some(end)
}

#[tokio::test(flavor = "multi_thread")]
async fn sipps_own_caller_is_answered() {
    let (node, carrier) = site("on").await;
    let Some(sipp) = Sipp::caller(carrier, node.sip, "uac", NUMBER, 3) else { return };
    sipp.finish().await;
    for nth in 0..3 {
        let incoming = node.incoming(nth).await;
        let call = incoming["callId"].as_str().unwrap();
        assert_eq!(
            (&incoming["direction"], &incoming["status"]),
            (&json!("inbound"), &json!("ringing"))
        );
        assert_eq!((&incoming["to"], &incoming["trunk"]), (&json!(NUMBER), &json!("trunk-0")));
        // SIPp calls itself `sipp`, which is no number.
        assert_eq!((&incoming["number"], &incoming["from"]), (&json!("anonymous"), &Value::Null));
        let end = node.event(call, "call.ended").await;
        assert_eq!(
            (&end["status"], &end["endReason"], &end["endedBy"]),
            (&json!("completed"), &json!("normal_hangup"), &json!("caller"))
        );
        assert_eq!((&end["sipStatus"], &end["direction"]), (&json!(200), &json!("inbound")));
        let events = node.events(call);
        let sequence: Vec<_> =
            events.iter().map(|it| it["sequenceNumber"].as_i64().unwrap()).collect();
        assert_eq!(sequence, (1..=events.len() as i64).collect::<Vec<_>>());
        assert_eq!(
            names(&events),
            [
                "call.incoming",
                "call.answered",
                "recording.started",
                "recording.completed",
                "call.ended"
            ]
        );
    }
    assert_eq!(node.credits().await, 1_000, "calls that come in cost nothing");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_played_to_and_hung_up_as_any_call() {
    let (node, carrier) = site("on").await;
    let Some(sipp) = Sipp::caller(carrier, node.sip, "caller_is_hung_up", NUMBER, 1) else {
        return;
    };
    let call = node.incoming(0).await["callId"].as_str().unwrap().to_owned();
    let answered = node.event(&call, "call.answered").await;
    assert_eq!(
        (&answered["number"], &answered["callerId"]),
        (&json!("14155550100"), &json!("14155550100"))
    );
    let calls: Value = serde_json::from_slice(&node.get("/calls").await).unwrap();
    assert_eq!(calls["calls"][0]["direction"], "inbound");
    assert_eq!(
        (&calls["calls"][0]["to"], &calls["calls"][0]["number"]),
        (&json!(NUMBER), &json!("14155550100"))
    );
    node.command("/voice", json!({ "callId": call, "text": "Good morning" })).await;
    node.event(&call, "tts.played").await;
    node.command("/hangup", json!({ "callId": call })).await;
    let end = node.event(&call, "call.ended").await;
    assert_eq!((&end["status"], &end["endReason"]), (&json!("completed"), &json!("api_hangup")));
    assert!(end["quality"]["packetsSent"].as_u64().unwrap() > 10, "{end}");
    sipp.finish().await;
    let trace = node.trace(&call).await;
    assert!(trace.contains("INVITE") && trace.contains("180 Ringing"), "{trace}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_answers_when_it_likes() {
    let (node, carrier) = site("off").await;
    let Some(sipp) = Sipp::caller(carrier, node.sip, "caller_hangs_up", NUMBER, 1) else { return };
    let call = node.incoming(0).await["callId"].as_str().unwrap().to_owned();
    let early = node.refused("/voice", json!({ "callId": call, "text": "Hello" })).await;
    assert_eq!(early["code"], "CALL_NOT_ANSWERED");
    let answer = node.command("/answer", json!({ "callId": call })).await;
    assert_eq!((&answer["success"], &answer["callId"]), (&json!(true), &json!(call)));
    node.event(&call, "call.answered").await;
    let again = node.refused("/answer", json!({ "callId": call })).await;
    assert_eq!(again["code"], "CALL_NOT_RINGING");
    let end = node.event(&call, "call.ended").await;
    assert_eq!((&end["status"], &end["callDuration"]), (&json!("completed"), &json!(1)));
    sipp.finish().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_declines() {
    let (node, carrier) = site("off").await;
    let Some(sipp) = Sipp::caller(carrier, node.sip, "caller_is_declined", NUMBER, 1) else {
        return;
    };
    let call = node.incoming(0).await["callId"].as_str().unwrap().to_owned();
    node.command("/hangup", json!({ "callId": call })).await;
    let end = node.event(&call, "call.ended").await;
    assert_eq!(
        (&end["status"], &end["endReason"], &end["sipStatus"]),
        (&json!("failed"), &json!("rejected"), &json!(603))
    );
    sipp.finish().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_gives_up() {
    let (node, carrier) = site("off").await;
    let Some(end) = one(&node, carrier, "caller_cancels").await else { return };
    assert_eq!(
        (&end["status"], &end["endReason"], &end["endedBy"]),
        (&json!("canceled"), &json!("canceled"), &json!("caller"))
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_comes_in_our_answer_where_the_invite_has_none() {
    let (node, carrier) = site("on").await;
    let Some(end) = one(&node, carrier, "caller_offers_late").await else { return };
    assert_eq!(end["status"], "completed");
    assert!(end["quality"]["packetsSent"].as_u64().unwrap() > 10, "{end}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_that_is_lost_is_waited_for() {
    let (node, carrier) = site("on").await;
    let Some(end) = one(&node, carrier, "caller_loses_its_ack").await else { return };
    assert_eq!(end["status"], "completed");
    node.stop().await;
}

/// 64 × T1 pass, of a T1 of 100 ms.
#[tokio::test(flavor = "multi_thread")]
async fn an_ack_that_never_comes_ends_the_call() {
    let carrier = own_address();
    let node =
        Node::start_with(&[format!("sip:{carrier}:5060")], false, "timer_t1_ms = 100\n").await;
    node.add_number(NUMBER, "on").await;
    let Some(end) = one(&node, carrier, "caller_does_not_ack").await else { return };
    assert_eq!((&end["status"], &end["endReason"]), (&json!("failed"), &json!("trunk_failure")));
    assert_eq!(end["wasAnswered"], false);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused() {
    let (node, carrier) = site("on").await;
    let Some(nobody) = Sipp::caller(carrier, node.sip, "caller_of_nobody", "4930111", 1) else {
        return;
    };
    nobody.finish().await;
    let mute = "caller_speaks_nothing_known";
    Sipp::caller(carrier, node.sip, mute, NUMBER, 1).unwrap().finish().await;
    let incoming = node.incoming(0).await;
    let end = node.event(incoming["callId"].as_str().unwrap(), "call.ended").await;
    assert_eq!((&end["status"], &end["sipStatus"]), (&json!("failed"), &json!(488)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_ringing_is_reliable_where_it_requires_that() {
    let (node, carrier) = site("off").await;
    let Some(end) = one(&node, carrier, "caller_requires_100rel").await else { return };
    assert_eq!((&end["status"], &end["endedBy"]), (&json!("canceled"), &json!("caller")), "{end}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_session_is_refreshed_and_one_too_short_is_refused() {
    let (node, carrier) = site("on").await;
    let Some(end) = one(&node, carrier, "caller_refreshes").await else { return };
    assert_eq!(end["endReason"], "normal_hangup");
    let sipp = Sipp::caller(carrier, node.sip, "caller_wants_short_sessions", NUMBER, 1).unwrap();
    sipp.finish().await;
    node.stop().await;
}
