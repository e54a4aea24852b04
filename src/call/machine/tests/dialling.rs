//! From the first INVITE to an answer or the end of the trunk list.

use kaphila_media::session::MediaEvent;
use kaphila_sip::invite::LegEvent;
use serde_json::Value;

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
