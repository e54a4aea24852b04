//! Calls that came from a trunk: rung, answered or refused, and confirmed by their ACK.

use kaphila_sip::invite::{Body, Ended as SipEnded, LegEvent};
use serde_json::json;

use super::super::*;
use super::ladder::{ANSWER, Ladder, USELESS, incoming};

/// Rung for a customer that answers itself.
fn ringing() -> Ladder {
    let mut call = Ladder::new(incoming(Some(ANSWER), false));
    call.input(Input::Start);
    call.expect(&["ring 0"]);
    call
}

/// Answered, not confirmed.
fn accepting() -> Ladder {
    let mut call = Ladder::new(incoming(Some(ANSWER), true));
    call.input(Input::Start);
    call.expect(&["ring 0", "connect 0 PCMU sendrecv", "accept 0"]);
    call
}

#[test]
fn a_call_is_answered_at_once_and_is_up_with_its_ack() {
    let mut call = accepting();
    assert_eq!(call.machine.view().status, Status::Ringing);
    call.at(40);
    call.sip(LegEvent::Confirmed);
    call.expect(&["media Answered", "row answered", "call.answered"]);
    assert!(call.answered[0].dialog.contains("call-id: abc"));
    let event = call.event("call.answered");
    assert_eq!(event["direction"], "inbound");
    assert_eq!((&event["number"], &event["from"]), (&json!("14155550100"), &json!("14155550100")));
    assert_eq!((&event["to"], &event["callerId"]), (&json!("4930901820"), &json!("14155550100")));
    assert_eq!(event["trunk"], "a");
    call.at(5_100);
    call.bye();
    call.media_closed();
    call.expect(&[
        "close media",
        "ended",
        "row completed normal_hangup 16 by caller",
        "call.ended",
    ]);
    let event = call.event("call.ended");
    assert_eq!((&event["callDuration"], &event["sipStatus"]), (&json!(5), &json!(200)));
    assert_eq!(event["attempts"], json!([]));
    assert_eq!(call.placed(), 0);
}

#[test]
fn a_customer_answers_by_itself_once() {
    let mut call = ringing();
    call.say("too early");
    call.expect(&["reply NotAnswered"]);
    call.command(Command::Answer);
    call.expect(&["connect 0 PCMU sendrecv", "accept 0", "reply done"]);
    call.command(Command::Answer);
    call.expect(&["reply NotRinging"]);
    call.sip(LegEvent::Confirmed);
    call.expect(&["media Answered", "row answered", "call.answered"]);
    call.command(Command::Answer);
    call.expect(&["reply NotRinging"]);
}

#[test]
fn a_call_that_we_placed_has_nothing_to_answer() {
    let mut call = Ladder::dialled(super::ladder::setup());
    call.command(Command::Answer);
    call.expect(&["reply NotRinging"]);
}

#[test]
fn a_hang_up_while_it_rings_declines() {
    let mut call = ringing();
    call.hang_up();
    call.expect(&[
        "refuse 0 603",
        "close media",
        "ended",
        "row failed rejected 21 by api",
        "call.ended",
        "reply done",
    ]);
    assert_eq!(call.event("call.ended")["sipStatus"], 603);
    assert!(call.machine.is_over());
}

#[test]
fn a_caller_gives_up() {
    for event in [LegEvent::Cancelled { q850: None }, LegEvent::Ended(SipEnded::Far { q850: None })]
    {
        let mut call = ringing();
        call.sip(event);
        call.expect(&["close media", "ended", "row canceled canceled 16 by caller", "call.ended"]);
        assert_eq!(call.event("call.ended")["sipStatus"], 487);
    }
}

#[test]
fn nobody_answers_for_a_minute() {
    let mut call = ringing();
    call.at(59_999);
    call.expect(&[]);
    call.at(60_000);
    call.expect(&[
        "refuse 0 480",
        "close media",
        "ended",
        "row no-answer no_answer 19 by system",
        "call.ended",
    ]);
}

/// `semantics.md`: no ACK: BYE (the endpoint's), `failed`/`trunk_failure`.
#[test]
fn an_answer_that_is_never_acknowledged_is_no_call() {
    let mut call = accepting();
    call.at(32_000);
    call.sip(LegEvent::Ended(SipEnded::NoAck));
    call.expect(&["close media", "ended", "row failed trunk_failure 102 by carrier", "call.ended"]);
    assert_eq!(call.event("call.ended")["wasAnswered"], false);
}

#[test]
fn a_bye_that_overtakes_the_ack_ends_an_answered_call() {
    let mut call = accepting();
    call.bye();
    call.media_closed();
    call.expect(&[
        "media Answered",
        "row answered",
        "call.answered",
        "close media",
        "ended",
        "row completed normal_hangup 16 by caller",
        "call.ended",
    ]);
}

#[test]
fn a_hang_up_before_the_ack_waits_for_it_below() {
    let mut call = accepting();
    call.hang_up();
    call.expect(&[
        "hang up 0 cause 21",
        "close media",
        "ended",
        "row failed rejected 21 by api",
        "call.ended",
        "reply done",
    ]);
}

#[test]
fn an_offer_that_we_cannot_speak_is_refused_before_it_rings() {
    let mut call = Ladder::new(incoming(Some(USELESS), false));
    call.input(Input::Start);
    call.expect(&[
        "refuse 0 488",
        "close media",
        "ended",
        "row failed rejected 88 by system",
        "call.ended",
    ]);
}

/// RFC 3261 §13.2.1: an INVITE without an offer gets ours in the 200, and answers in its ACK.
#[test]
fn an_invite_without_an_offer_is_answered_with_ours() {
    let mut call = Ladder::new(incoming(None, true));
    call.input(Input::Start);
    call.expect(&["ring 0", "accept 0"]);
    call.sip(LegEvent::OfferAnswered { body: Some(Body::sdp(ANSWER)) });
    call.sip(LegEvent::Confirmed);
    call.expect(&["connect 0 PCMU sendrecv", "media Answered", "row answered", "call.answered"]);
}

#[test]
fn an_ack_without_the_answer_ends_the_call() {
    for body in [None, Some(Body::sdp(USELESS))] {
        let mut call = Ladder::new(incoming(None, true));
        call.input(Input::Start);
        call.said_clear();
        call.sip(LegEvent::OfferAnswered { body });
        call.sip(LegEvent::Confirmed);
        call.expect(&[
            "hang up 0 cause 88",
            "close media",
            "ended",
            "row failed rejected 88 by system",
            "call.ended",
        ]);
    }
}

#[test]
fn a_shutdown_refuses_what_rings_and_hangs_up_what_is_up() {
    let mut call = ringing();
    call.input(Input::Shutdown);
    call.expect(&[
        "refuse 0 503",
        "close media",
        "ended",
        "row failed server_shutdown 41 by system",
        "call.ended",
    ]);
    let mut call = accepting();
    call.sip(LegEvent::Confirmed);
    call.said_clear();
    call.input(Input::Shutdown);
    call.media_closed();
    call.expect(&[
        "hang up 0 cause 41",
        "close media",
        "ended",
        "row completed server_shutdown 41 by system",
        "call.ended",
    ]);
}

#[test]
fn it_is_recorded_and_its_keys_are_heard_as_on_any_call() {
    let setup = Setup { record: true, ..incoming(Some(ANSWER), true) };
    let mut call = Ladder::new(setup);
    call.input(Input::Start);
    call.said_clear();
    call.sip(LegEvent::Confirmed);
    call.recording_started();
    call.digit('4');
    let names = call.event_names();
    assert_eq!(names, ["call.answered", "recording.started", "dtmf.received"]);
}
