//! The callee's side (RFC 3261 §13.3): 100, 180 or 183, 200 with its repetitions, refusals, CANCEL.

use crate::ladder::{GIVE_UP, Ladder, Message, OFFER, far_invite, in_call};
use kaphila_sip::invite::Body;

fn accepted() -> (Ladder, Message) {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite(OFFER));
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.accept(now, leg, Body::sdp("v=0\r\n")));
    let ok = ladder.expect("200 OK");
    (ladder, ok)
}

#[test]
fn it_is_told_rings_and_is_accepted() {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite(OFFER));
    ladder.expect_nothing();
    let call = &ladder.calls[0];
    assert_eq!(call.request_uri.to_string(), "sip:4930@192.0.2.1");
    assert_eq!(call.from.uri.to_string(), "sip:alice@192.0.2.9");
    assert_eq!(call.body.as_ref().unwrap().bytes, OFFER.as_bytes());
    ladder.after(200);
    assert!(!ladder.expect("100 Trying").header("To").contains("tag="));
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.ring(now, leg, None));
    let ringing = ladder.expect("180 Ringing");
    assert!(ringing.header("To").contains(";tag="));
    assert_eq!(ringing.header("Contact"), "<sip:192.0.2.1:5060>");
    assert_eq!(
        ringing.header("Via"),
        "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKin1;rport=5060;received=192.0.2.9"
    );
    ladder.send(&far_invite(OFFER));
    assert_eq!(ladder.expect("180 Ringing").0, ringing.0, "the INVITE again: the latest answer");
    ladder.command(|endpoint, now| endpoint.ring(now, leg, Some(Body::sdp("v=0\r\n"))));
    assert_eq!(ladder.expect("183 Session Progress").body(), "v=0\r\n");
    ladder.command(|endpoint, now| endpoint.accept(now, leg, Body::sdp("v=1\r\n")));
    let ok = ladder.expect("200 OK");
    assert_eq!(ok.header("To"), ringing.header("To"), "one tag for all answers");
    assert_eq!(ok.header("Contact"), "<sip:192.0.2.1:5060>");
    assert_eq!(ok.header("Allow"), "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO");
    assert_eq!(ok.body(), "v=1\r\n");
    ladder.tells(&[]);
    ladder.send(&in_call(&ok, "ACK", 1, "", ""));
    ladder.tells(&["confirmed"]);
    // What it requires is not built, and it has left all the same.
    ladder.send(&in_call(&ok, "BYE", 2, "Require: gone\r\nContent-Encoding: gzip\r\n", "x"));
    ladder.expect("200 OK");
    ladder.tells(&["ended by far end", "closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_200_is_repeated_until_its_ack_and_ends_in_a_bye_without_one() {
    let (mut ladder, ok) = accepted();
    ladder.after(GIVE_UP - 1);
    let repeated = ladder.take_starts();
    assert_eq!(repeated, vec!["200 OK"; 10], "at 0.5, 1.5, 3.5 s and each 4 s up to 31.5 s");
    ladder.tells(&[]);
    ladder.after(1);
    ladder.tells(&["no ACK"]);
    let bye = ladder.expect("BYE sip:alice@192.0.2.9:5060 SIP/2.0");
    assert_eq!(bye.header("From"), ok.header("To"));
    assert_eq!(bye.header("To"), "\"A\" <sip:alice@192.0.2.9>;tag=alice");
    ladder.send(&bye.reply("200 OK", "alice", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_lost_ack_is_made_up_for_by_the_next_one() {
    let (mut ladder, ok) = accepted();
    ladder.after(500);
    assert_eq!(ladder.expect("200 OK").0, ok.0);
    ladder.send(&in_call(&ok, "ACK", 1, "", ""));
    ladder.tells(&["confirmed"]);
    ladder.after(GIVE_UP);
    ladder.expect_nothing();
    ladder.send(&in_call(&ok, "ACK", 1, "", "")); // one that took longer
    ladder.tells(&[]);
}

#[test]
fn the_callee_waits_for_the_ack_before_its_bye() {
    let (mut ladder, ok) = accepted();
    let leg = ladder.legs[0];
    ladder.hang_up(leg);
    ladder.expect_nothing();
    ladder.send(&in_call(&ok, "ACK", 1, "", ""));
    let bye = ladder.expect("BYE");
    ladder.send(&bye.reply("200 OK", "alice", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn an_invite_without_an_offer_gets_ours_and_the_ack_brings_the_answer() {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite(""));
    assert!(ladder.calls[0].body.is_none());
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.accept(now, leg, Body::sdp("v=0\r\n")));
    let ok = ladder.expect("200 OK");
    ladder.send(&in_call(&ok, "ACK", 1, "", OFFER));
    ladder.tells(&["offer answered with a body", "confirmed"]);
}

#[test]
fn a_refusal_is_repeated_until_its_ack() {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite(OFFER));
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.reject(now, leg, 486));
    let busy = ladder.expect("486 Busy Here");
    ladder.after(500);
    ladder.expect("486 Busy Here");
    ladder.tells(&[]);
    ladder.send(&format!(
        "ACK sip:4930@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKin1;rport\r\n\
         From: \"A\" <sip:alice@192.0.2.9>;tag=alice\r\nTo: {}\r\nCall-ID: in-1\r\nCSeq: 1 ACK\r\n\
         Content-Length: 0\r\n\r\n",
        busy.header("To")
    ));
    ladder.tells(&["closed"]);
    assert_eq!(ladder.rows.last().unwrap(), "<- ACK 1");
    ladder.after(GIVE_UP);
    ladder.expect_nothing();
    ladder.ends_with_nothing_left();
}

#[test]
fn hang_up_while_it_rings_declines() {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite(OFFER));
    let leg = ladder.legs[0];
    ladder.hang_up(leg);
    ladder.expect("603 Decline");
    ladder.tells(&[]);
    ladder.after(GIVE_UP); // no ACK comes: timer H
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

const CANCEL: &str = "CANCEL sip:4930@192.0.2.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKin1;rport\r\nMax-Forwards: 70\r\n\
    From: \"A\" <sip:alice@192.0.2.9>;tag=alice\r\nTo: <sip:4930@192.0.2.1>\r\nCall-ID: in-1\r\n\
    CSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n";

#[test]
fn the_callers_cancel_gets_200_and_the_invite_487() {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite(OFFER));
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.ring(now, leg, None));
    let ringing = ladder.expect("180 Ringing");
    ladder.send(CANCEL);
    let ok = ladder.expect("200 OK");
    assert_eq!(ok.header("CSeq"), "1 CANCEL");
    assert_eq!(ok.header("To"), ringing.header("To"), "RFC 3261 §9.2: the same tag");
    assert_eq!(ladder.expect("487 Request Terminated").header("CSeq"), "1 INVITE");
    ladder.tells(&["cancelled"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_cancel_that_crosses_our_200_changes_nothing() {
    let (mut ladder, ok) = accepted();
    ladder.send(CANCEL);
    assert_eq!(ladder.expect("200 OK").header("CSeq"), "1 CANCEL");
    ladder.expect_nothing();
    ladder.send(&in_call(&ok, "ACK", 1, "", ""));
    ladder.tells(&["confirmed"]);
    ladder.send(&in_call(&ok, "BYE", 2, "", ""));
    ladder.expect("200 OK");
    ladder.ends_with_nothing_left();
}

#[test]
fn a_cancel_of_nothing_gets_481() {
    let mut ladder = Ladder::new();
    ladder.send(CANCEL);
    ladder.expect("481");
    ladder.ends_with_nothing_left();
}

#[test]
fn a_bye_before_our_answer_ends_it() {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite(OFFER));
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.ring(now, leg, None));
    let ringing = ladder.expect("180 Ringing");
    ladder.send(&in_call(&ringing, "BYE", 2, "", ""));
    assert_eq!(ladder.expect("200 OK").header("CSeq"), "2 BYE");
    ladder.expect("487 Request Terminated");
    ladder.tells(&["ended by far end"]);
    ladder.ends_with_nothing_left();
}
