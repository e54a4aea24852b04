//! The plain call (RFC 3261 §13, §15): what goes over the wire, byte by byte where it matters.

use crate::ladder::{GIVE_UP, Ladder, OFFER};

#[test]
fn the_invite_says_what_rfc_3261_8_1_1_asks() {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE sip:004912345@192.0.2.9 SIP/2.0");
    assert_eq!(invite.header("Via"), "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKours;rport");
    assert_eq!(invite.header("Max-Forwards"), "70");
    assert_eq!(invite.header("From"), "<sip:1000@192.0.2.1>;tag=our-tag");
    assert_eq!(invite.header("To"), "<sip:004912345@192.0.2.9>");
    assert_eq!(invite.header("Call-ID"), "call-1");
    assert_eq!(invite.header("CSeq"), "10 INVITE");
    assert_eq!(invite.header("Contact"), "<sip:192.0.2.1:5060>");
    assert_eq!(invite.header("Allow"), "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO");
    assert_eq!(invite.header("Content-Type"), "application/sdp");
    assert_eq!(invite.header("Supported"), "100rel, timer");
    assert_eq!(invite.header("Session-Expires"), "1800");
    assert!(!invite.has("Require"), "nothing is demanded");
    assert_eq!(invite.body(), "v=0\r\n");
}

#[test]
fn provisionals_in_any_order_are_told_and_we_hang_up() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("183 Session Progress", "far", OFFER));
    ladder.send(&invite.reply("100 Trying", "", ""));
    ladder.send(&invite.reply("100 Trying", "", ""));
    ladder.send(&invite.reply("180 Ringing", "", ""));
    ladder.send(&invite.reply("183 Session Progress", "other", ""));
    ladder.tells(&["183 with a body", "trying", "180", "183"]);
    ladder.after(20_000); // rings on: a provisional came, so that no timer runs
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    ladder.tells(&["answered with a body"]);
    let ack = ladder.expect("ACK sip:bob@192.0.2.9 SIP/2.0");
    assert_eq!(ack.header("CSeq"), "10 ACK");
    assert_eq!(ack.header("To"), "<sip:004912345@192.0.2.9>;tag=far");
    assert_ne!(ack.branch(), invite.branch(), "the ACK of a 2xx is a transaction of its own");

    ladder.hang_up(leg);
    let bye = ladder.expect("BYE sip:bob@192.0.2.9 SIP/2.0");
    assert_eq!(bye.header("CSeq"), "11 BYE");
    assert_eq!(bye.header("From"), "<sip:1000@192.0.2.1>;tag=our-tag");
    assert_eq!(bye.header("To"), "<sip:004912345@192.0.2.9>;tag=far");
    ladder.tells(&[]);
    ladder.send(&bye.reply("200 OK", "far", ""));
    ladder.tells(&["closed"]);
    ladder.expect_nothing();
    ladder.ends_with_nothing_left();
}

#[test]
fn the_far_end_hangs_up_and_says_why() {
    let mut ladder = Ladder::new();
    let (_, invite) = ladder.answered_call();
    let reason = "Reason: SIP ;cause=200, Q.850;cause=16;text=\"Normal\"\r\n";
    let bye = invite.far_request("BYE", 1, "far", reason, "");
    ladder.send(&bye);
    ladder.tells(&["ended by far end (16)", "closed"]);
    let ok = ladder.expect("200 OK");
    assert_eq!(ok.header("CSeq"), "1 BYE");
    ladder.send(&bye);
    ladder.expect("200 OK"); // its repetition (RFC 3261 §17.2.2)
    ladder.tells(&[]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_bye_that_nobody_answers_ends_at_timer_f() {
    let mut ladder = Ladder::new();
    let (leg, _) = ladder.answered_call();
    ladder.hang_up(leg);
    ladder.after(GIVE_UP - 1);
    ladder.tells(&[]);
    assert_eq!(ladder.lose(), 11, "at 0, 0.5, 1.5, 3.5 s and each 4 s up to 31.5 s");
    ladder.after(1);
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn the_ladder_shows_every_arrow_and_what_is_repeated() {
    let mut ladder = Ladder::new();
    let (_, invite) = ladder.answered_call();
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    ladder.send(&invite.far_request("BYE", 1, "far", "", ""));
    let expected = [
        "-> INVITE 10",
        "<- 200 OK 10",
        "-> ACK 10",
        "<- 200 OK 10 again",
        "-> ACK 10 again",
        "<- BYE 1",
        "-> 200 OK 1",
    ];
    assert_eq!(ladder.rows, expected);
    ladder.ends_with_nothing_left();
}
