//! RFC 3262: reliable provisionals, as the caller and as the callee.

use kaphila_sip::invite::Body;

use crate::ladder::{GIVE_UP, Ladder, Message, OFFER, far_invite_with, in_call};

/// A reliable provisional with this number.
fn reliable(invite: &Message, status: &str, tag: &str, rseq: &str, body: &str) -> String {
    let headers = format!("Contact: <sip:bob@192.0.2.9>\r\nRequire: 100rel\r\nRSeq: {rseq}\r\n");
    invite.reply_with(status, tag, &headers, body)
}

#[test]
fn each_is_pracked_once_in_its_order_and_the_call_goes_on() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    assert_eq!(invite.header("Supported"), "100rel, timer");
    ladder.send(&reliable(&invite, "183 Session Progress", "far", "988789", OFFER));
    let prack = ladder.expect("PRACK sip:bob@192.0.2.9 SIP/2.0");
    assert_eq!(prack.header("RAck"), "988789 10 INVITE", "RFC 3262 §7.2");
    assert_eq!(prack.header("CSeq"), "11 PRACK");
    assert_eq!(prack.header("To"), "<sip:004912345@192.0.2.9>;tag=far");
    assert!(!prack.has("Content-Type"));
    ladder.tells(&["183 with a body"]);
    // Again, before its PRACK came: nothing new; the PRACK repeats itself.
    ladder.send(&reliable(&invite, "183 Session Progress", "far", "988789", OFFER));
    ladder.expect_nothing();
    ladder.after(500);
    assert_eq!(ladder.expect("PRACK").0, prack.0);
    ladder.send(&prack.reply("200 OK", "far", ""));
    // One is missing: not taken (§4).
    ladder.send(&reliable(&invite, "180 Ringing", "far", "988791", ""));
    ladder.expect_nothing();
    ladder.tells(&[]);
    ladder.send(&reliable(&invite, "180 Ringing", "far", "988790", ""));
    let second = ladder.expect("PRACK");
    assert_eq!((second.header("RAck"), second.cseq()), ("988790 10 INVITE".to_owned(), 12));
    ladder.send(&second.reply("200 OK", "far", ""));
    // A fork counts for itself.
    ladder.send(&reliable(&invite, "180 Ringing", "other", "1", ""));
    let other = ladder.expect("PRACK");
    assert_eq!((other.header("RAck"), other.cseq()), ("1 10 INVITE".to_owned(), 11));
    ladder.send(&other.reply("200 OK", "other", ""));
    ladder.tells(&["180", "180"]);
    ladder.send(&invite.reply("200 OK", "far", ""));
    assert_eq!(ladder.expect("ACK").header("CSeq"), "10 ACK", "that of the INVITE");
    ladder.tells(&["answered"]);
    ladder.hang_up(leg);
    let bye = ladder.expect("BYE");
    assert_eq!(bye.header("CSeq"), "13 BYE", "above every PRACK of the dialog");
    ladder.send(&bye.reply("200 OK", "far", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

/// RFC 3311 §5.1: once our offer has its answer, the far end may make one of its own.
#[test]
fn an_early_session_is_changed_by_update() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("183 Session Progress", "far", OFFER));
    ladder.send(&invite.far_request("UPDATE", 1, "far", "", OFFER));
    ladder.expect("491"); // an unreliable answer is none yet
    ladder.send(&reliable(&invite, "183 Session Progress", "far", "1", OFFER));
    let prack = ladder.expect("PRACK");
    ladder.send(&prack.reply("200 OK", "far", ""));
    ladder.send(&invite.far_request("UPDATE", 2, "far", "", OFFER));
    ladder.tells(&["183 with a body", "183 with a body", "UPDATE offers with a body"]);
    ladder.send(&invite.far_request("UPDATE", 3, "far", "", OFFER));
    assert!(ladder.expect("500").header("Retry-After").parse::<u32>().is_ok_and(|it| it <= 10));
    ladder.command(|endpoint, now| endpoint.answer_offer(now, leg, Ok(Body::sdp("v=7\r\n"))));
    let ok = ladder.expect("200 OK");
    assert_eq!((ok.header("CSeq").as_str(), ok.body()), ("2 UPDATE", "v=7\r\n"));
    // One that is not answered when the call ends gets 487.
    ladder.send(&invite.far_request("UPDATE", 4, "far", "", OFFER));
    ladder.hang_up(leg);
    assert_eq!(ladder.expect("487").header("CSeq"), "4 UPDATE");
    ladder.expect("CANCEL");
    ladder.tells(&["UPDATE offers with a body"]);
}

#[test]
fn an_early_offer_is_answered_after_the_answer() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&reliable(&invite, "183 Session Progress", "far", "1", OFFER));
    let prack = ladder.expect("PRACK");
    ladder.send(&prack.reply("200 OK", "far", ""));
    ladder.send(&invite.far_request("UPDATE", 1, "far", "", OFFER));
    ladder.send(&invite.reply("200 OK", "far", ""));
    ladder.expect("ACK");
    ladder.command(|endpoint, now| endpoint.answer_offer(now, leg, Ok(Body::sdp("v=7\r\n"))));
    assert_eq!(ladder.expect("200 OK").header("CSeq"), "1 UPDATE");
    ladder.tells(&["183 with a body", "UPDATE offers with a body", "answered"]);
}

#[test]
fn a_dialog_that_nobody_wants_is_left_above_its_pracks() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&reliable(&invite, "180 Ringing", "far", "7", ""));
    let prack = ladder.expect("PRACK");
    ladder.send(&prack.reply("200 OK", "far", ""));
    ladder.hang_up(leg);
    let cancel = ladder.expect("CANCEL");
    ladder.send(&invite.reply("200 OK", "far", OFFER)); // it crossed the CANCEL
    assert_eq!(ladder.expect("ACK").cseq(), 10);
    let bye = ladder.expect("BYE");
    assert_eq!(bye.cseq(), 12);
    ladder.send(&cancel.reply("200 OK", "far", ""));
    ladder.send(&bye.reply("200 OK", "far", ""));
    ladder.tells(&["180", "closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_prack_that_fails_leaves_the_call_to_its_answer() {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&reliable(&invite, "180 Ringing", "far", "7", ""));
    let prack = ladder.expect("PRACK");
    ladder.send(&prack.reply("481 Call/Transaction Does Not Exist", "far", ""));
    ladder.send(&invite.reply("486 Busy Here", "far", ""));
    ladder.expect("ACK");
    ladder.tells(&["180", "refused 486", "closed"]);
    ladder.ends_with_nothing_left();
}

/// A caller that requires reliable provisionals hears 180 from us.
fn ringing(body: Option<&str>) -> (Ladder, Message) {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite_with("Require: 100rel\r\n", OFFER));
    let leg = ladder.legs[0];
    let body = body.map(|body| Body::sdp(body.to_owned()));
    ladder.command(|endpoint, now| endpoint.ring(now, leg, body));
    let provisional = ladder.expect("18");
    assert_eq!(provisional.header("Require"), "100rel");
    (ladder, provisional)
}

fn rack(provisional: &Message) -> String {
    let rseq: u32 = provisional.header("RSeq").parse().unwrap();
    assert!((1..1 << 31).contains(&rseq), "RFC 3262 §7.1: {rseq}");
    format!("RAck: {rseq} 1 INVITE\r\n")
}

#[test]
fn where_the_caller_requires_it_ours_are_repeated_until_their_prack() {
    let (mut ladder, ringing) = ringing(None);
    ladder.after(1_499);
    assert_eq!(ladder.expect("180").0, ringing.0, "at 0.5 s");
    ladder.after(1);
    assert_eq!(ladder.expect("180").0, ringing.0, "at 1.5 s: T1 doubles");
    ladder.send(&in_call(&ringing, "PRACK", 2, "RAck: 1 9 INVITE\r\n", ""));
    ladder.expect("481"); // it is of no provisional of ours
    ladder.send(&in_call(&ringing, "PRACK", 3, &rack(&ringing), ""));
    ladder.expect("200 OK");
    ladder.after(10_000);
    ladder.expect_nothing();
    let leg = ladder.legs[0];
    // The next has the next number.
    ladder.command(|endpoint, now| endpoint.ring(now, leg, Some(Body::sdp("v=0\r\n"))));
    let second = ladder.expect("183");
    let number = |it: &Message| it.header("RSeq").parse::<u32>().unwrap();
    assert_eq!(number(&second), number(&ringing) + 1);
    // It describes the session: the 200 waits for its PRACK (§5).
    ladder.command(|endpoint, now| endpoint.accept(now, leg, Body::sdp("v=1\r\n")));
    ladder.expect_nothing();
    ladder.send(&in_call(&ringing, "PRACK", 4, &rack(&second), ""));
    assert_eq!(ladder.expect("200 OK").header("CSeq"), "4 PRACK");
    let ok = ladder.expect("200 OK");
    assert_eq!((ok.header("CSeq").as_str(), ok.body()), ("1 INVITE", "v=1\r\n"));
    ladder.send(&in_call(&ok, "ACK", 1, "", ""));
    ladder.send(&in_call(&ok, "BYE", 5, "", ""));
    ladder.expect("200 OK");
    ladder.tells(&["confirmed", "ended by far end", "closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn an_answer_does_not_wait_for_the_prack_of_a_mere_ringing() {
    let (mut ladder, ringing) = ringing(None);
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.accept(now, leg, Body::sdp("v=1\r\n")));
    let ok = ladder.expect("200 OK");
    ladder.send(&in_call(&ok, "PRACK", 2, &rack(&ringing), ""));
    assert_eq!(ladder.expect("200 OK").header("CSeq"), "2 PRACK", "late, and right");
    ladder.send(&in_call(&ok, "ACK", 1, "", ""));
    ladder.send(&in_call(&ok, "BYE", 3, "", ""));
    ladder.expect("200 OK");
    ladder.tells(&["confirmed", "ended by far end", "closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn without_a_prack_the_call_is_refused() {
    let (mut ladder, _) = ringing(Some("v=0\r\n"));
    ladder.after(GIVE_UP - 1);
    ladder.tells(&[]);
    assert_eq!(ladder.lose(), 6, "at 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s");
    ladder.after(1);
    let refusal = ladder.expect("504");
    ladder.send(&in_call(&refusal, "ACK", 1, "", ""));
    ladder.tells(&["no ACK"]);
}
