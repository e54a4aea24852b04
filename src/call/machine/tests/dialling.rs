//! From the first INVITE to an answer or the end of the trunk list.

use std::time::Duration;

use kaphila_media::session::MediaEvent;
use kaphila_sip::invite::{Failure, LegEvent};
use serde_json::{Value, json};

use super::super::*;
use super::ladder::{ANSWER, Ladder, USELESS, setup};
use crate::store::Millis;

const ANSWERED: [&str; 4] =
    ["connect 0 PCMU sendrecv", "media Answered", "row answered", "call.answered"];

#[test]
fn a_call_that_is_answered() {
    let mut call = Ladder::dialled(setup());
    call.at(100);
    call.sip(LegEvent::Trying);
    call.expect(&[]);
    call.at(500);
    call.provisional(180);
    call.expect(&["placed ringing a 1"]);
    call.at(5_000);
    call.ok();
    call.expect(&ANSWERED);
    assert_eq!(call.machine.status, Status::Answered);
    assert_eq!(call.answered[0].at, Millis(1_700_000_005_000));
    assert_eq!(call.answered[0].trunk.as_deref(), Some("a"));
    let event = call.event("call.answered");
    assert_eq!(event["amd"], Value::Null);
    assert_eq!(event["trunk"], "a");
    assert_eq!(event["answeredAt"], "2023-11-14T22:13:25.000Z");
    assert_eq!(event["status"], "answered");
    assert_eq!(event["sequenceNumber"], 2, "call.initiated was the first");
}

#[test]
fn makecall_answers_answered_when_the_200_comes_first() {
    let mut call = Ladder::dialled(setup());
    call.ok();
    call.expect(&[
        "connect 0 PCMU sendrecv",
        "media Answered",
        "row answered",
        "placed answered a 1",
        "call.answered",
    ]);
}

#[test]
fn makecall_answers_a_second_after_the_first_100() {
    let mut call = Ladder::dialled(setup());
    call.at(200);
    call.sip(LegEvent::Trying);
    call.at(1_199);
    call.expect(&[]);
    call.at(1_200);
    call.expect(&["placed ringing a 1"]);
    call.provisional(180);
    call.expect(&[]);
}

#[test]
fn makecall_answers_within_ten_seconds_whatever_happens() {
    let mut call = Ladder::dialled(setup());
    call.at(4_000);
    call.silence();
    call.expect(&["row dialled b", "dial 1 b"]);
    call.at(9_999);
    call.expect(&[]);
    call.at(10_000);
    call.expect(&["placed ringing b 2"]);
    // Failover goes on in the background after that.
    call.refused(503);
    call.expect(&["close media", "ended", "row failed trunk_failure 41 by carrier", "call.ended"]);
}

#[test]
fn a_second_100_does_not_start_the_clock_anew() {
    let mut call = Ladder::dialled(setup());
    call.sip(LegEvent::Trying);
    call.at(900);
    call.refused(500);
    call.sip(LegEvent::Trying);
    call.expect(&["row dialled b", "dial 1 b"]);
    call.at(1_000);
    call.expect(&["placed ringing b 2"]);
}

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
    call.expect(&[
        "placed ringing a 1",
        "close media",
        "ended",
        "row failed trunk_failure 41 by carrier",
        "call.ended",
    ]);
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
    call.expect(&[
        "placed ringing a 1",
        "close media",
        "ended",
        "row failed trunk_failure 41 by carrier",
        "call.ended",
    ]);
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
fn a_488_is_tried_once_more_with_the_other_codecs() {
    let mut call = Ladder::dialled(setup());
    call.refused(488);
    call.expect(&["row dialled a", "dial 1 a"]);
    assert_eq!(call.machine.legs[1].codecs, [Codec::Pcma, Codec::Pcmu]);
    call.refused(606);
    call.expect(&[
        "close media",
        "ended",
        "placed failed a 1",
        "row failed rejected 88 by carrier",
        "call.ended",
    ]);
}

#[test]
fn the_other_codecs_are_those_that_were_not_offered() {
    let mut setup = setup();
    setup.trunks[0].codecs = vec![Codec::Pcmu];
    let mut call = Ladder::dialled(setup);
    call.refused(488);
    assert_eq!(call.machine.legs[1].codecs, [Codec::Pcma]);
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

#[test]
fn what_a_leg_left_behind_says_counts_no_more() {
    let mut call = Ladder::dialled(setup());
    call.silence();
    call.expect(&["row dialled b", "dial 1 b"]);
    let ringing = LegEvent::Provisional { status: 180, reason: String::new(), body: None };
    call.input(Input::Sip(LegNo(0), ringing));
    call.input(Input::Sip(LegNo(0), LegEvent::Closed));
    call.expect(&[]);
    call.refused(486);
    assert_eq!(call.ended[0].status, Status::Busy);
}

#[test]
fn the_ring_timeout_cancels_and_waits_for_the_487() {
    let mut call = Ladder::dialled(setup());
    call.provisional(180);
    call.at(30_000);
    call.expect(&["placed ringing a 1", "hang up 0 cause 19"]);
    call.at(30_050);
    call.refused(487);
    call.expect(&["close media", "ended", "row no-answer no_answer 19 by system", "call.ended"]);
    assert_eq!(call.event("call.ended")["sipStatus"], 487);
}

#[test]
fn a_ring_timeout_ends_the_call_even_if_no_487_comes() {
    let mut call = Ladder::dialled(setup());
    call.provisional(180);
    call.at(32_000);
    call.expect(&[
        "placed ringing a 1",
        "hang up 0 cause 19",
        "close media",
        "ended",
        "row no-answer no_answer 19 by system",
        "call.ended",
    ]);
    assert_eq!(call.event("call.ended")["sipStatus"], Value::Null);
}

#[test]
fn a_200_that_crosses_our_cancel_is_not_an_answer() {
    let mut call = Ladder::dialled(setup());
    call.provisional(180);
    call.at(30_000);
    // The endpoint acknowledges it and hangs up; the leg says only that it is over.
    call.sip(LegEvent::Closed);
    call.expect(&[
        "placed ringing a 1",
        "hang up 0 cause 19",
        "close media",
        "ended",
        "row no-answer no_answer 19 by system",
        "call.ended",
    ]);
    assert!(call.answered.is_empty(), "not charged");
}

#[test]
fn early_media_is_heard_and_the_200_may_leave_the_description_out() {
    let mut call = Ladder::dialled(setup());
    call.early(ANSWER);
    call.expect(&["placed ringing a 1", "connect 0 PCMU sendrecv"]);
    call.input(Input::Media(MediaEvent::EarlyMedia));
    call.expect(&[]);
    call.ok_with(None);
    call.expect(&ANSWERED);
}

#[test]
fn unusable_early_media_is_no_reason_to_give_up() {
    let mut call = Ladder::dialled(setup());
    call.early(USELESS);
    call.expect(&["placed ringing a 1"]);
    call.ok();
    call.expect(&ANSWERED);
}

#[test]
fn a_200_with_nothing_we_can_speak_is_hung_up() {
    for sdp in [None, Some(USELESS), Some("not SDP")] {
        let mut call = Ladder::dialled(setup());
        call.ok_with(sdp);
        call.expect(&[
            "hang up 0 cause 88",
            "close media",
            "ended",
            "placed failed a 1",
            "row failed rejected 88 by system",
            "call.ended",
        ]);
        assert!(call.answered.is_empty(), "not charged");
    }
}

#[test]
fn an_update_before_the_answer_is_answered() {
    let mut call = Ladder::dialled(setup());
    call.early(ANSWER);
    call.expect(&["placed ringing a 1", "connect 0 PCMU sendrecv"]);
    let offer = Some(kaphila_sip::invite::Body::sdp(ANSWER));
    call.sip(LegEvent::Offer { offer, method: kaphila_sip::message::Method::Update });
    call.expect(&["connect 0 PCMU sendrecv", "answer offer 0 sdp"]);
}

#[test]
fn the_trunks_caller_id_is_shown_where_there_is_no_other() {
    let mut setup = setup();
    setup.caller_id = None;
    setup.trunks[1].caller_id = Some("4420".to_owned());
    let mut call = Ladder::dialled(setup);
    call.refused(503);
    call.ok();
    assert_eq!(call.event("call.answered")["callerId"], "4420");
    assert_eq!(call.event("call.answered")["from"], "4420");
}

#[test]
fn the_ten_seconds_of_makecall_count_from_the_request() {
    let mut call = Ladder::new(setup());
    call.at(4_000); // finding the trunks took so long
    call.input(Input::Start);
    call.at(9_999);
    call.expect(&["dial 0 a"]);
    call.at(10_000);
    call.expect(&["placed ringing a 1"]);
}
