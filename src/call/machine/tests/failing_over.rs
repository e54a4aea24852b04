//! What follows an INVITE that failed: the next server, contact or trunk, or the end.

use std::time::Duration;

use kaphila_sip::invite::{Failure, LegEvent};
use serde_json::{Value, json};

use super::super::*;
use super::ladder::{Ladder, setup};

/// A telephone rang: whatever the trunk says then, nothing is tried again.
const RANG_AND_FAILED: [&str; 5] = [
    "placed ringing a 1",
    "close media",
    "ended",
    "row failed trunk_failure 41 by carrier",
    "call.ended",
];

#[test]
fn a_trunk_that_fails_is_followed_by_the_next() {
    for status in [400, 402, 403, 405, 408, 415, 422, 481, 483, 500, 503, 504, 513, 499, 599] {
        let mut call = Ladder::dialled(setup());
        call.refused(status);
        call.expect(&["row dialled b", "dial 1 b"]);
        call.provisional(183);
        call.expect(&["placed ringing b 2"]);
    }
}

/// RFC 3263 §4.3: 503, silence and a fault of the transport lead to the next server; what another
/// server said would be no different there.
#[test]
fn a_trunks_next_server_is_tried_where_one_is_out_of_order() {
    let several = || {
        let mut setup = setup();
        setup.trunks[0].ways = 3;
        setup
    };
    let mut call = Ladder::dialled(several());
    call.refused_with(503, None, Some(Duration::from_secs(9)), &[]);
    call.expect(&["row dialled a", "dial 1 a way 1"]);
    call.silence();
    call.expect(&["row dialled a", "dial 2 a way 2"]);
    call.sip(LegEvent::NoAnswer(Failure::Transport("refused".to_owned())));
    call.expect(&["row dialled b", "dial 3 b"]);
    call.provisional(183);
    call.expect(&["placed ringing b 2"]);

    let mut call = Ladder::dialled(several());
    for (leg, way) in [(1, 1), (2, 2)] {
        call.refused(503);
        call.expect(&["row dialled a", &format!("dial {leg} a way {way}")]);
    }
    call.refused_with(503, None, Some(Duration::from_secs(9)), &[]);
    call.expect(&["rest a 9", "row dialled b", "dial 3 b"]);

    let mut call = Ladder::dialled(several());
    call.refused(500);
    call.expect(&["row dialled b", "dial 1 b"]);

    let mut call = Ladder::dialled(several());
    call.provisional(180);
    call.refused(503);
    call.expect(&RANG_AND_FAILED);
}

/// RFC 3261 §8.1.3.4: the contacts of a redirect are tried in turn, those that are the trunk's own.
#[test]
fn the_contacts_of_a_redirect_are_tried_one_after_the_other() {
    let moved = ["sip:one@192.0.2.9", "sip:far@198.51.100.1", "sip:two@192.0.2.9:5070"];
    let mut call = Ladder::dialled(setup());
    call.refused_with(302, None, None, &moved);
    call.expect(&["row dialled a", "dial 1 a to sip:one@192.0.2.9"]);
    call.refused(503);
    call.expect(&["row dialled a", "dial 2 a to sip:two@192.0.2.9:5070"]);
    call.silence();
    call.expect(&["row dialled b", "dial 3 b"]);

    // What the callee said is final, and one telephone never rings twice.
    let mut call = Ladder::dialled(setup());
    call.refused_with(302, None, None, &moved);
    call.expect(&["row dialled a", "dial 1 a to sip:one@192.0.2.9"]);
    call.provisional(180);
    call.refused(503);
    call.expect(&RANG_AND_FAILED);
}

/// What the trunk itself sent on is the trunk's own affair.
#[test]
fn the_server_that_a_redirect_named_has_no_next_one() {
    let mut setup = setup();
    setup.trunks[0].ways = 2;
    let mut call = Ladder::dialled(setup);
    call.refused_with(302, None, None, &["sip:other@192.0.2.9"]);
    call.expect(&["row dialled a", "dial 1 a to sip:other@192.0.2.9"]);
    call.refused(503);
    call.expect(&["row dialled b", "dial 2 b"]);
}

#[test]
fn the_end_of_the_list_is_origination_failed_with_the_last_cause() {
    let mut call = Ladder::dialled(setup());
    call.refused(403);
    call.expect(&["row dialled b", "dial 1 b"]);
    call.at(300);
    call.refused_with(503, Some(34), None, &[]);
    call.expect(&[
        "close media",
        "ended",
        "origination failed a b",
        "row failed trunk_failure 34 by carrier",
        "call.ended",
    ]);
    let event = call.event("call.ended");
    assert_eq!(event["endReason"], "trunk_failure");
    assert_eq!(event["hangupCause"], "34", "the Reason header's");
    assert_eq!(event["wasAnswered"], false);
    assert_eq!((&event["callDuration"], &event["duration"]), (&json!(0), &json!(0)));
    assert_eq!(event["sipStatus"], 503);
    assert_eq!(event["sipReason"], "Reason 503");
    assert_eq!(event["endedBy"], "carrier");
    assert_eq!(event["quality"], Value::Null);
    assert_eq!(
        event["attempts"],
        json!([
            {"trunk": "a", "status": 403, "reason": "Reason 403", "provisionalMs": null, "finalMs": 0},
            {"trunk": "b", "status": 503, "reason": "Reason 503", "provisionalMs": null, "finalMs": 300},
        ])
    );
    assert!(call.machine.is_over());
}

#[test]
fn an_answer_of_the_callee_is_final_on_every_trunk() {
    for (status, row) in [
        (404, "row failed invalid_number 1 by carrier"),
        (410, "row failed invalid_number 22 by carrier"),
        (480, "row no-answer no_answer 18 by callee"),
        (484, "row failed invalid_number 28 by carrier"),
        (486, "row busy busy 17 by callee"),
        (487, "row failed rejected 31 by carrier"),
        (600, "row busy busy 17 by callee"),
        (603, "row failed rejected 21 by callee"),
        (607, "row failed rejected 21 by callee"),
    ] {
        let mut call = Ladder::dialled(setup());
        call.refused(status);
        let end = row.split(' ').nth(1).unwrap();
        let placed = format!("placed {end} a 1");
        call.expect(&["close media", "ended", placed.as_str(), row, "call.ended"]);
    }
}

#[test]
fn one_telephone_never_rings_twice() {
    for (status, row) in [
        (500, "row failed trunk_failure 41 by carrier"),
        (408, "row no-answer no_answer 18 by callee"),
        (480, "row no-answer no_answer 19 by callee"),
        (488, "row failed rejected 88 by carrier"),
        (302, "row failed trunk_failure 127 by carrier"),
    ] {
        let mut call = Ladder::dialled(setup());
        call.provisional(180);
        call.expect(&["placed ringing a 1"]);
        call.refused_with(status, None, None, &["sip:other@192.0.2.9"]);
        call.expect(&["close media", "ended", row, "call.ended"]);
    }
    let mut call = Ladder::dialled(setup());
    call.provisional(183);
    call.silence();
    call.expect(&[
        "placed ringing a 1",
        "close media",
        "ended",
        "row no-answer no_answer 18 by callee",
        "call.ended",
    ]);
}

#[test]
fn a_redirect_within_the_trunk_is_followed_five_times() {
    let mut call = Ladder::dialled(setup());
    for hop in 1..=5 {
        call.refused_with(302, None, None, &["sip:x@198.51.100.1", "sip:other@192.0.2.9:5070"]);
        let line = format!("dial {hop} a to sip:other@192.0.2.9:5070");
        call.expect(&["row dialled a", line.as_str()]);
    }
    call.refused_with(302, None, None, &["sip:other@192.0.2.9:5070"]);
    call.expect(&["row dialled b", "dial 6 b"]);
}

#[test]
fn a_redirect_elsewhere_is_not_followed() {
    for contact in [
        "sip:x@198.51.100.1",
        "sips:x@192.0.2.9;transport=udp",
        "sip:192.0.2.9",
        "tel:+1415",
        "sip:x@192.0.2.9;transport=ws",
    ] {
        let mut call = Ladder::dialled(setup());
        call.refused_with(302, None, None, &[contact]);
        call.expect(&["row dialled b", "dial 1 b"]);
    }
}

#[test]
fn a_redirect_within_the_trunk_may_ask_for_another_transport() {
    for contact in ["sip:x@192.0.2.9;transport=tcp", "sips:x@192.0.2.9"] {
        let mut call = Ladder::dialled(setup());
        call.refused_with(302, None, None, &[contact]);
        call.expect(&["row dialled a", format!("dial 1 a to {contact}").as_str()]);
    }
}

#[test]
fn a_redirect_does_not_start_the_ring_timeout_again_but_a_failover_does() {
    let mut call = Ladder::dialled(setup());
    call.at(20_000);
    call.refused_with(302, None, None, &["sip:other@192.0.2.9"]);
    call.at(30_000);
    call.expect(&[
        "placed ringing a 1",
        "row dialled a",
        "dial 1 a to sip:other@192.0.2.9",
        "hang up 1 cause 19",
    ]);
    let mut call = Ladder::dialled(setup());
    call.at(20_000);
    call.refused(503);
    call.at(49_999);
    call.expect(&["placed ringing a 1", "row dialled b", "dial 1 b"]);
    call.at(50_000);
    call.expect(&["hang up 1 cause 19"]);
}

#[test]
fn a_503_with_retry_after_rests_the_trunk() {
    let mut call = Ladder::dialled(setup());
    call.refused_with(503, None, Some(Duration::from_secs(30)), &[]);
    call.expect(&["rest a 30", "row dialled b", "dial 1 b"]);
}

#[test]
fn a_challenge_that_cannot_be_solved_marks_the_trunk() {
    let mut call = Ladder::dialled(setup());
    call.refused(407);
    call.expect(&["unauthorized a", "row dialled b", "dial 1 b"]);
    call.refused(401);
    call.expect(&[
        "unauthorized b",
        "close media",
        "ended",
        "origination failed a b",
        "row failed trunk_failure 21 by carrier",
        "call.ended",
    ]);
}

#[test]
fn a_silent_trunk_is_followed_by_the_next_and_then_by_the_end() {
    let mut call = Ladder::dialled(setup());
    call.at(4_000);
    call.silence();
    call.expect(&["row dialled b", "dial 1 b"]);
    call.at(8_000);
    call.silence();
    call.expect(&[
        "close media",
        "ended",
        "origination failed a b",
        "row failed trunk_failure 102 by carrier",
        "call.ended",
    ]);
    assert_eq!(call.event("call.ended")["sipStatus"], Value::Null);
}

#[test]
fn a_transport_error_is_cause_38() {
    let mut call = Ladder::dialled(setup());
    call.sip(LegEvent::NoAnswer(Failure::Transport("refused".to_owned())));
    call.expect(&["row dialled b", "dial 1 b"]);
    call.input(Input::NotDialled(LegNo(1), NotDialled::Transport("no route".to_owned())));
    call.expect(&[
        "close media",
        "ended",
        "origination failed a b",
        "row failed trunk_failure 38 by carrier",
        "call.ended",
    ]);
}

#[test]
fn a_trunk_at_its_limit_is_skipped_and_is_no_attempt() {
    let mut call = Ladder::dialled(setup());
    call.refused(503);
    call.input(Input::NotDialled(LegNo(1), NotDialled::OverLimit));
    call.expect(&[
        "row dialled b",
        "dial 1 b",
        "close media",
        "ended",
        "origination failed a",
        "row failed trunk_failure 41 by carrier",
        "call.ended",
    ]);
    assert_eq!(call.event("call.ended")["attempts"].as_array().unwrap().len(), 1);
}
