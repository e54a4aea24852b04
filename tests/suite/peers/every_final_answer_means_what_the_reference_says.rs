//! Every class of final answer, from SIPp: status, reason, cause, and whether the next trunk is
//! tried.

use std::net::SocketAddr;

use futures_util::future::join_all;
use serde_json::Value;

use super::ladder::{Ladder, Sdp};
use super::node::Node;
use super::own_address;
use super::sipp::Sipp;

/// What comes after a final answer that came before any ringing.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    NextTrunk,
    OtherCodecs,
    TheEnd,
}
use Then::{NextTrunk, OtherCodecs, TheEnd};

type Row = (&'static [u16], u8, &'static str, &'static str, Then);

/// The table of final answers, by hand.
#[rustfmt::skip]
const BEFORE_RINGING: &[Row] = &[
    (&[400],                          41, "failed",    "trunk_failure",  NextTrunk),
    (&[401, 407],                     21, "failed",    "trunk_failure",  NextTrunk),
    (&[402, 403],                     21, "failed",    "rejected",       NextTrunk),
    (&[404, 485, 604],                 1, "failed",    "invalid_number", TheEnd),
    (&[405],                          63, "failed",    "trunk_failure",  NextTrunk),
    (&[406, 415],                     79, "failed",    "trunk_failure",  NextTrunk),
    (&[408],                         102, "failed",    "trunk_failure",  NextTrunk),
    (&[410],                          22, "failed",    "invalid_number", TheEnd),
    (&[413, 414, 416, 420, 421, 423, 430], 127, "failed", "trunk_failure", NextTrunk),
    (&[480],                          18, "no-answer", "no_answer",      TheEnd),
    (&[481, 491],                     41, "failed",    "trunk_failure",  NextTrunk),
    (&[482, 483],                     25, "failed",    "trunk_failure",  NextTrunk),
    (&[484],                          28, "failed",    "invalid_number", TheEnd),
    (&[486, 600],                     17, "busy",      "busy",           TheEnd),
    (&[487],                          31, "failed",    "rejected",       TheEnd),
    (&[488, 606],                     88, "failed",    "rejected",       OtherCodecs),
    (&[500, 503],                     41, "failed",    "trunk_failure",  NextTrunk),
    (&[501],                          79, "failed",    "trunk_failure",  NextTrunk),
    (&[502],                          38, "failed",    "trunk_failure",  NextTrunk),
    (&[504],                         102, "failed",    "trunk_failure",  NextTrunk),
    (&[505, 513],                    127, "failed",    "trunk_failure",  NextTrunk),
    (&[603, 607, 608],                21, "failed",    "rejected",       TheEnd),
    (&[418, 499],                    127, "failed",    "trunk_failure",  NextTrunk),
    (&[580, 599],                     41, "failed",    "trunk_failure",  NextTrunk),
    (&[605, 699],                     21, "failed",    "rejected",       TheEnd),
    // Without a Contact there is nothing to follow.
    (&[300, 302],                    127, "failed",    "trunk_failure",  NextTrunk),
];

/// What a 180 before it changes; everything else stays, and nothing is ever tried again.
const AFTER_RINGING: &[(u16, u8, &str, &str)] =
    &[(408, 18, "no-answer", "no_answer"), (480, 19, "no-answer", "no_answer")];

/// The number whose last digits tell the carrier what to answer.
fn number(code: u16) -> String {
    format!("14155550{code}")
}

fn rows() -> impl Iterator<Item = (u16, u8, &'static str, &'static str, Then)> {
    BEFORE_RINGING.iter().flat_map(|(codes, cause, status, reason, then)| {
        codes.iter().map(move |code| (*code, *cause, *status, *reason, *then))
    })
}

fn codes() -> Vec<u16> {
    rows().map(|(code, ..)| code).collect()
}

fn assert_end(event: &Value, code: u16, cause: u8, status: &str, reason: &str) {
    let told = (&event["hangupCause"], &event["status"], &event["endReason"], &event["sipStatus"]);
    assert_eq!(
        (told.0.as_str(), told.1.as_str(), told.2.as_str(), told.3.as_u64()),
        (Some(&*cause.to_string()), Some(status), Some(reason), Some(u64::from(code))),
        "{event:#}"
    );
    assert_eq!(event["wasAnswered"], false, "{event:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_ringing() {
    let invites = rows().map(|(.., then)| if then == TheEnd { 1 } else { 2 }).sum();
    let refusal = Ladder::invited().answer("100 Trying").answer_as_dialled(&codes()).expect("ACK");
    let Some(carrier) = Sipp::carrier(&refusal, invites).await else { return };
    // Two trunks of one carrier, which says the same on both.
    let node = Node::start(&[carrier.address, carrier.address]).await;
    join_all(rows().map(async |(code, cause, status, reason, then)| {
        let (http, answer) = node.make_call(&number(code)).await;
        match then {
            NextTrunk => {
                assert_eq!(
                    (http, &answer["code"]),
                    (500, &"ORIGINATION_FAILED".into()),
                    "{answer}"
                );
                assert_eq!(answer["attemptedTrunks"].as_array().unwrap().len(), 2, "{answer}");
            }
            OtherCodecs | TheEnd => {
                assert_eq!((http, &answer["status"]), (200, &status.into()), "{answer}");
                assert_eq!(answer["endReason"], reason);
            }
        }
        let end = node.event(answer["callId"].as_str().unwrap(), "call.ended").await;
        assert_end(&end, code, cause, status, reason);
        let trunks: Vec<_> =
            end["attempts"].as_array().unwrap().iter().map(|it| &it["trunk"]).collect();
        match then {
            NextTrunk => assert!(trunks.len() == 2 && trunks[0] != trunks[1], "{end:#}"),
            OtherCodecs => assert!(trunks.len() == 2 && trunks[0] == trunks[1], "{end:#}"),
            TheEnd => assert_eq!(trunks.len(), 1, "{end:#}"),
        }
    }))
    .await;
    carrier.finish().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ringing_nothing_is_tried_again() {
    let refusal = Ladder::invited().answer("180 Ringing").answer_as_dialled(&codes()).expect("ACK");
    let Some(carrier) = Sipp::carrier(&refusal, rows().count()).await else { return };
    let node = Node::start(&[carrier.address, carrier.address]).await;
    join_all(rows().map(async |(code, cause, status, reason, _)| {
        let changed = AFTER_RINGING.iter().find(|(other, ..)| *other == code);
        let (_, cause, status, reason) = *changed.unwrap_or(&(code, cause, status, reason));
        let call = node.place(&number(code)).await;
        let end = node.event(&call, "call.ended").await;
        assert_end(&end, code, cause, status, reason);
        assert_eq!(end["attempts"].as_array().unwrap().len(), 1, "{end:#}");
    }))
    .await;
    carrier.finish().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reason_header_changes_the_cause_and_nothing_else() {
    let reason = "Reason: SIP;cause=503, Q.850;cause=34;text=\"No circuit\"\n";
    let refusal = Ladder::invited().answer_with("503 Unavailable", reason, "").expect("ACK");
    let Some(carrier) = Sipp::carrier(&refusal, 2).await else { return };
    let node = Node::start(&[carrier.address, carrier.address]).await;
    let (http, answer) = node.make_call("14155550100").await;
    assert_eq!(http, 500, "{answer}");
    let end = node.event(answer["callId"].as_str().unwrap(), "call.ended").await;
    assert_end(&end, 503, 34, "failed", "trunk_failure");
    carrier.finish().await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_asks_for_rest_is_not_called_until_then() {
    let busy = Ladder::invited().answer_with("503 Full", "Retry-After: 60\n", "").expect("ACK");
    let Some(tired) = Sipp::carrier(&busy, 1).await else { return };
    let refusal = Ladder::invited().answer("486 Busy Here").expect("ACK");
    let Some(fresh) = Sipp::carrier(&refusal, 3).await else { return };
    let node = Node::start(&[tired.address, fresh.address]).await;
    for attempts in [2, 1, 1] {
        let (_, answer) = node.make_call("14155550100").await;
        let end = node.event(answer["callId"].as_str().unwrap(), "call.ended").await;
        assert_end(&end, 486, 17, "busy", "busy");
        assert_eq!(end["attempts"].as_array().unwrap().len(), attempts, "{end:#}");
    }
    tired.finish().await;
    fresh.finish().await;
    node.stop().await;
}

/// A carrier that only ever redirects: the first INVITE and five hops.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed_five_times() {
    let moved = "Contact: <sip:desk.7@[local_ip]:[local_port]>\n";
    let redirect = Ladder::invited().answer_with("302 Moved", moved, "").expect("ACK");
    let Some(carrier) = Sipp::carrier(&redirect, 6).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let (http, answer) = node.make_call("14155550100").await;
    assert_eq!(http, 500, "{answer}");
    let end = node.event(answer["callId"].as_str().unwrap(), "call.ended").await;
    assert_end(&end, 302, 127, "failed", "trunk_failure");
    assert_eq!(end["attempts"].as_array().unwrap().len(), 6, "{end:#}");
    carrier.finish().await;
    node.stop().await;
}

/// To another port of the same trunk, by the Contact with the highest q that is the trunk's.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_leads_to_who_answers() {
    let ip = own_address();
    let desk = SocketAddr::new(ip, 5_064);
    let moved = format!(
        "Contact: <sip:else@192.0.2.1>;q=1.0, <sip:cellar@{ip}:9>;q=0.1, <sip:desk.7@{desk}>;q=0.9\n"
    );
    let redirect = Ladder::invited().answer_with("302 Moved", &moved, "").expect("ACK");
    let Some(carrier) = Sipp::carrier_at(ip, &redirect, 1).await else { return };
    let answer =
        Ladder::invited().and_in_it(&format!("INVITE sip:desk.7@{desk} ")).accept(Sdp::at(0)).bye();
    let Some(other) = Sipp::carrier_on(desk, &answer, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    let end = node.event(&call, "call.ended").await;
    assert_eq!((&end["status"], &end["endReason"]), (&"completed".into(), &"normal_hangup".into()));
    let attempts: Vec<_> =
        end["attempts"].as_array().unwrap().iter().map(|it| &it["status"]).collect();
    assert_eq!(attempts, [302, 200]);
    carrier.finish().await;
    other.finish().await;
    node.stop().await;
}
