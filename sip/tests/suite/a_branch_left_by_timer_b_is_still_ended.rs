//! A trunk that is silent until its timer B has been left; what it does late must neither ring nor
//! talk to nobody: for 64 × T1 a late provisional is cancelled, a late 2xx gets ACK and BYE.

use crate::ladder::{GIVE_UP, Ladder, Message, OFFER};

fn left_by_timer_b() -> (Ladder, Message) {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.after(4_000);
    assert_eq!(ladder.lose(), 3, "repeated at 0.5, 1.5 and 3.5 s");
    ladder.tells(&["no answer"]);
    (ladder, invite)
}

#[test]
fn a_late_180_is_cancelled() {
    let (mut ladder, invite) = left_by_timer_b();
    ladder.send(&invite.reply("180 Ringing", "far", ""));
    let cancel = ladder.expect("CANCEL");
    assert_eq!(cancel.branch(), invite.branch());
    ladder.send(&cancel.reply("200 OK", "far", ""));
    ladder.send(&invite.reply("487 Request Terminated", "far", ""));
    let ack = ladder.expect("ACK sip:004912345@192.0.2.9");
    assert_eq!(ack.branch(), invite.branch());
    assert_eq!(ack.header("To"), "<sip:004912345@192.0.2.9>;tag=far");
    ladder.tells(&["closed"]);
    ladder.send(&invite.reply("487 Request Terminated", "far", "")); // that ACK was lost
    ladder.expect("ACK");
    ladder.ends_with_nothing_left();
}

#[test]
fn a_late_200_gets_ack_and_bye() {
    let (mut ladder, invite) = left_by_timer_b();
    ladder.after(20_000);
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    ladder.expect("ACK");
    let bye = ladder.expect("BYE");
    ladder.send(&bye.reply("200 OK", "far", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_late_refusal_gets_its_ack() {
    let (mut ladder, invite) = left_by_timer_b();
    ladder.send(&invite.reply("503 Service Unavailable", "far", ""));
    ladder.expect("ACK");
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn without_an_answer_it_is_over_after_64_t1() {
    let (mut ladder, _) = left_by_timer_b();
    ladder.after(GIVE_UP - 1);
    ladder.tells(&[]);
    ladder.after(1);
    ladder.tells(&["closed"]);
    ladder.expect_nothing();
    ladder.ends_with_nothing_left();
}

#[test]
fn what_cannot_be_delivered_is_over_at_once() {
    let mut ladder = Ladder::new();
    ladder.call();
    ladder.expect("INVITE");
    let carrier = crate::ladder::address(crate::ladder::CARRIER);
    ladder.command(|endpoint, now| endpoint.handle_transport_error(now, carrier, "refused"));
    ladder.tells(&["not delivered", "closed"]);
    ladder.ends_with_nothing_left();
}
