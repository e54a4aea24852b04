//! A hang-up before the answer (RFC 3261 §9.1): no CANCEL before a provisional, then one, however
//! far the call had come.

use crate::ladder::{GIVE_UP, Ladder, OFFER};
use kaphila_sip::reason;

#[test]
fn hang_up_before_any_answer_waits_and_cancels_at_the_100() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    let busy_reason = reason::q850_value(16, "");
    ladder.command(|endpoint, now| endpoint.hang_up(now, leg, Some(busy_reason)));
    ladder.expect_nothing();
    ladder.after(600); // the INVITE goes on: the far end may ring without our knowing
    ladder.expect("INVITE");
    ladder.send(&invite.reply("100 Trying", "", ""));
    let cancel = ladder.expect("CANCEL sip:004912345@192.0.2.9 SIP/2.0");
    assert_eq!(cancel.header("Via"), invite.header("Via"), "hop by hop the INVITE's");
    assert_eq!(cancel.header("CSeq"), "10 CANCEL");
    assert_eq!(cancel.header("To"), invite.header("To"), "without a tag");
    assert_eq!(cancel.header("Reason"), "Q.850;cause=16");
    ladder.send(&invite.reply("180 Ringing", "far", ""));
    ladder.expect_nothing(); // one CANCEL is enough
    ladder.send(&cancel.reply("200 OK", "far", ""));
    ladder.tells(&[]);
    ladder.send(&invite.reply("487 Request Terminated", "far", ""));
    ladder.expect("ACK");
    ladder.tells(&["refused 487", "closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn hang_up_at_100_180_and_183_with_a_tag_cancels_at_once() {
    for (status, tag) in [("100 Trying", ""), ("180 Ringing", ""), ("183 Progress", "early")] {
        let mut ladder = Ladder::new();
        let leg = ladder.call();
        let invite = ladder.expect("INVITE");
        ladder.send(&invite.reply(status, tag, ""));
        ladder.hang_up(leg);
        let cancel = ladder.expect("CANCEL");
        assert!(!cancel.header("To").contains("tag="), "{status}: the INVITE's To");
        ladder.send(&cancel.reply("200 OK", "x", ""));
        ladder.send(&invite.reply("487 Request Terminated", tag, ""));
        let ack = ladder.expect("ACK");
        assert_eq!(ack.branch(), invite.branch());
        ladder.ends_with_nothing_left();
    }
}

#[test]
fn hang_up_that_nothing_answers_ends_within_64_t1() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    ladder.hang_up(leg);
    ladder.after(4_000);
    ladder.tells(&["no answer"]);
    let starts = ladder.take_starts();
    assert!(starts.iter().all(|start| start.starts_with("INVITE")), "{starts:?}");
    ladder.after(GIVE_UP - 4_000 - 1);
    ladder.tells(&[]);
    ladder.after(1);
    ladder.tells(&["closed"]);
    ladder.expect_nothing();
    ladder.ends_with_nothing_left();
}

#[test]
fn a_cancel_that_is_never_followed_by_a_final_answer_is_given_up_after_64_t1() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("180 Ringing", "far", OFFER));
    ladder.after(10_000);
    ladder.hang_up(leg);
    let cancel = ladder.expect("CANCEL");
    ladder.send(&cancel.reply("200 OK", "far", ""));
    ladder.tells(&["180 with a body"]);
    ladder.after(GIVE_UP);
    ladder.tells(&["no answer", "closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_second_hang_up_sends_nothing() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("180 Ringing", "far", ""));
    ladder.hang_up(leg);
    ladder.expect("CANCEL");
    ladder.hang_up(leg);
    ladder.expect_nothing();
    assert_eq!(ladder.endpoint.counters().late_commands, 1);
}
