//! re-INVITE and UPDATE from the far end (RFC 3261 §14.2, RFC 3311 §5.2): hold, another codec,
//! another address; refused, repeated, crossing.

use crate::ladder::{CARRIER, GIVE_UP, Ladder, Message, OFFER};
use kaphila_sip::invite::{Body, LegId};

fn answer(ladder: &mut Ladder, leg: LegId, answer: Result<Body, u16>) {
    ladder.command(|endpoint, now| endpoint.answer_offer(now, leg, answer));
}

fn sdp(text: &'static str) -> Result<Body, u16> {
    Ok(Body::sdp(text))
}

/// A re-INVITE, its 200 and ACK.
fn re_invited(ladder: &mut Ladder, leg: LegId, invite: &Message, cseq: u32) {
    ladder.send(&invite.far_request("INVITE", cseq, "far", "", OFFER));
    ladder.tells(&["INVITE offers with a body"]);
    answer(ladder, leg, sdp("v=0\r\n"));
    let ok = ladder.expect("200 OK");
    assert_eq!(ok.header("CSeq"), format!("{cseq} INVITE"));
    assert_eq!(ok.header("Contact"), "<sip:192.0.2.1:5060>");
    ladder.send(&invite.far_request("ACK", cseq, "far", "", ""));
    ladder.tells(&[]);
}

#[test]
fn hold_and_resume() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    re_invited(&mut ladder, leg, &invite, 1);
    re_invited(&mut ladder, leg, &invite, 2);
    ladder.after(GIVE_UP);
    ladder.expect_nothing();
    ladder.hang_up(leg);
    ladder.expect("BYE");
    ladder.ends_with_nothing_left();
}

#[test]
fn a_refused_offer_leaves_the_call_as_it_was() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    let moved =
        invite.far_request("INVITE", 1, "far", "", OFFER).replace("bob@192.0.2.9", "b@192.0.2.44");
    ladder.send(&moved);
    answer(&mut ladder, leg, Err(488));
    ladder.expect("488 Not Acceptable Here");
    ladder.tells(&["INVITE offers with a body"]);
    ladder.hang_up(leg);
    ladder.expect("BYE sip:bob@192.0.2.9 SIP/2.0"); // the old target too
}

#[test]
fn an_accepted_offer_moves_the_target() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    let moved =
        invite.far_request("INVITE", 1, "far", "", OFFER).replace("bob@192.0.2.9", "b@192.0.2.44");
    ladder.send(&moved);
    answer(&mut ladder, leg, sdp("v=0\r\n"));
    ladder.expect("200 OK");
    ladder.send_from("192.0.2.44:5060", &invite.far_request("ACK", 1, "far", "", ""));
    ladder.hang_up(leg);
    ladder.expect_to("192.0.2.44:5060", "BYE sip:b@192.0.2.44:5060 SIP/2.0");
}

#[test]
fn an_empty_re_invite_gets_our_offer_and_the_ack_brings_the_answer() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    ladder.send(&invite.far_request("INVITE", 1, "far", "", ""));
    ladder.tells(&["INVITE offers"]);
    answer(&mut ladder, leg, sdp("v=7\r\n"));
    assert_eq!(ladder.expect("200 OK").body(), "v=7\r\n");
    // Our offer is open: an UPDATE with one of theirs is glare.
    ladder.send(&invite.far_request("UPDATE", 2, "far", "", OFFER));
    ladder.expect("491 Request Pending");
    ladder.send(&invite.far_request("ACK", 1, "far", "", OFFER));
    ladder.tells(&["offer answered with a body"]);
}

#[test]
fn a_repeated_re_invite_is_told_once_and_answered_the_same() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    let again = invite.far_request("INVITE", 1, "far", "", OFFER);
    ladder.send(&again);
    ladder.after(200);
    ladder.expect("100 Trying");
    ladder.send(&again);
    ladder.expect("100 Trying");
    answer(&mut ladder, leg, sdp("v=0\r\n"));
    let ok = ladder.expect("200 OK");
    ladder.send(&again); // absorbed: the 200 is repeated by its own timer (RFC 6026 §7.1)
    ladder.expect_nothing();
    ladder.after(500);
    assert_eq!(ladder.expect("200 OK").0, ok.0);
    ladder.tells(&["INVITE offers with a body"]);
}

#[test]
fn a_re_invite_whose_200_is_never_acked_ends_the_call() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    ladder.send(&invite.far_request("INVITE", 1, "far", "", OFFER));
    answer(&mut ladder, leg, sdp("v=0\r\n"));
    ladder.after(GIVE_UP);
    ladder.tells(&["INVITE offers with a body", "no ACK"]);
    assert_eq!(ladder.take_starts().last().unwrap(), "BYE sip:bob@192.0.2.9:5060 SIP/2.0");
}

#[test]
fn an_offer_before_the_last_one_is_answered_gets_500_and_retry_after() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    ladder.send(&invite.far_request("INVITE", 1, "far", "", OFFER));
    for (cseq, method) in [(2, "INVITE"), (3, "UPDATE")] {
        ladder.send(&invite.far_request(method, cseq, "far", "", OFFER));
        let later: u32 = ladder.expect("500").header("Retry-After").parse().unwrap();
        assert!(later <= 10);
    }
    answer(&mut ladder, leg, sdp("v=0\r\n"));
    assert_eq!(ladder.expect("200 OK").header("CSeq"), "1 INVITE");
    ladder.tells(&["INVITE offers with a body"]);
}

#[test]
fn a_request_out_of_order_gets_500() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    re_invited(&mut ladder, leg, &invite, 5);
    ladder.send(&invite.far_request("INVITE", 4, "far", "", OFFER));
    ladder.expect("500");
    ladder.tells(&[]);
}

#[test]
fn update_refreshes_the_target_or_offers() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    let moved =
        invite.far_request("UPDATE", 1, "far", "", "").replace("bob@192.0.2.9", "b@192.0.2.44");
    ladder.send(&moved);
    assert_eq!(ladder.expect("200 OK").header("Contact"), "<sip:192.0.2.1:5060>");
    ladder.send_from(
        "192.0.2.44:5060",
        &invite.far_request_from("192.0.2.44:5060", "UPDATE", 2, "far", "", OFFER),
    );
    ladder.tells(&["UPDATE offers with a body"]);
    answer(&mut ladder, leg, sdp("v=3\r\n"));
    assert_eq!(ladder.expect_to("192.0.2.44:5060", "200 OK").body(), "v=3\r\n");
    ladder.after(GIVE_UP); // the 200 to an UPDATE waits for no ACK
    ladder.expect_nothing();
}

#[test]
fn update_and_re_invite_in_an_early_dialog_cross_our_offer() {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("183 Session Progress", "far", OFFER));
    ladder.send(&invite.far_request("UPDATE", 1, "far", "", OFFER));
    ladder.expect("491 Request Pending");
    ladder.send(&invite.far_request("UPDATE", 2, "far", "", ""));
    ladder.expect("200 OK");
    ladder.send(&invite.far_request("INVITE", 3, "far", "", OFFER));
    ladder.expect("491 Request Pending");
    ladder.tells(&["183 with a body"]);
}

#[test]
fn their_bye_ends_an_offer_we_have_not_answered() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    ladder.send(&invite.far_request("INVITE", 1, "far", "", OFFER));
    ladder.send(&invite.far_request("BYE", 2, "far", "", ""));
    assert_eq!(ladder.expect("200 OK").header("CSeq"), "2 BYE");
    assert_eq!(ladder.expect("487 Request Terminated").header("CSeq"), "1 INVITE");
    ladder.tells(&["INVITE offers with a body", "ended by far end", "closed"]);
    answer(&mut ladder, leg, sdp("v=0\r\n"));
    ladder.expect_nothing();
    ladder.ends_with_nothing_left();
}

#[test]
fn their_cancel_of_a_re_invite_ends_the_offer_and_not_the_call() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    let again = invite.far_request("INVITE", 1, "far", "", OFFER);
    ladder.send(&again);
    let branch = "z9hG4bKfar1INVITE";
    ladder
        .send(&invite.far_request("CANCEL", 1, "far", "", "").replace("z9hG4bKfar1CANCEL", branch));
    assert_eq!(ladder.expect("200 OK").header("CSeq"), "1 CANCEL");
    ladder.expect("487 Request Terminated");
    ladder.tells(&["INVITE offers with a body"]);
    answer(&mut ladder, leg, sdp("v=0\r\n"));
    ladder.expect_nothing();
    re_invited(&mut ladder, leg, &invite, 2);
    ladder.hang_up(leg);
    ladder.expect_to(CARRIER, "BYE");
}

#[test]
fn a_body_of_another_kind_is_refused() {
    let mut ladder = Ladder::new();
    let (_, invite) = ladder.answered_call();
    let kind = "Content-Type: application/isup\r\n";
    ladder.send(&invite.far_request("INVITE", 1, "far", kind, "x"));
    let refusal = ladder.expect("415 Unsupported Media Type");
    assert_eq!(
        refusal.header("Accept"),
        "application/sdp, multipart/mixed, application/dtmf-relay, application/dtmf"
    );
    ladder.tells(&[]);
}
