//! The far end repeats its 200 until an ACK arrives (RFC 3261 §13.2.2.4): every one is answered
//! with the same ACK, whatever has happened since.

use crate::ladder::{Ladder, OFFER};
use kaphila_sip::invite::Body;

#[test]
fn three_lost_acks_and_the_call_lives() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    let ok = invite.reply("200 OK", "far", OFFER);
    ladder.send(&ok);
    let first = ladder.expect("ACK");
    for pause in [500, 1_000, 2_000] {
        ladder.after(pause);
        ladder.send(&ok);
        assert_eq!(ladder.expect("ACK").0, first.0);
    }
    ladder.tells(&["answered with a body"]);
    ladder.hang_up(leg);
    ladder.expect("BYE");
    ladder.ends_with_nothing_left();
}

#[test]
fn after_a_later_re_invite_the_ack_is_still_that_of_the_first_one() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    ladder.send(&invite.far_request("INVITE", 5, "far", "", OFFER));
    ladder.tells(&["INVITE offers with a body"]);
    ladder.command(|endpoint, now| endpoint.answer_offer(now, leg, Ok(Body::sdp("v=0\r\n"))));
    ladder.expect("200 OK");
    ladder.send(&invite.far_request("ACK", 5, "far", "", ""));
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    let ack = ladder.expect("ACK");
    assert_eq!(ack.header("CSeq"), "10 ACK");
    ladder.expect_nothing();
}

#[test]
fn after_our_bye() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    ladder.hang_up(leg);
    let bye = ladder.expect("BYE");
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    ladder.expect("ACK");
    ladder.send(&bye.reply("200 OK", "far", ""));
    ladder.tells(&["closed"]);
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    ladder.expect("ACK");
    ladder.expect_nothing();
    ladder.ends_with_nothing_left();
}
