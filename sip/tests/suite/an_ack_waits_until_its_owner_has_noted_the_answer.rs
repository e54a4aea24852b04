//! `hold_ack`: the ACK of an answer waits for the owner, for a while, and goes before anything else
//! in the dialog. Until then the far end repeats its 200, should this process die.

use std::time::Duration;

use kaphila_sip::endpoint::EndpointConfig;
use kaphila_sip::invite::LegId;

use crate::ladder::{Ladder, Message, OFFER};

/// Answered, and the ACK is held for 400 ms.
fn answered() -> (Ladder, LegId, Message) {
    let hold_ack = Duration::from_millis(400);
    let mut ladder = Ladder::with(EndpointConfig { hold_ack, ..EndpointConfig::default() });
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    ladder.tells(&["answered with a body"]);
    ladder.expect_nothing();
    (ladder, leg, invite)
}

fn ends(mut ladder: Ladder, leg: LegId) {
    ladder.hang_up(leg);
    let bye = ladder.expect("BYE");
    ladder.send(&bye.reply("200 OK", "far", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn it_goes_once_the_owner_says_so() {
    let (mut ladder, leg, invite) = answered();
    ladder.after(3);
    ladder.command(|endpoint, now| endpoint.acknowledge(now, leg));
    ladder.expect("ACK sip:bob@192.0.2.9");
    ladder.command(|endpoint, now| endpoint.acknowledge(now, leg));
    ladder.after(500);
    ladder.expect_nothing();
    ladder.send(&invite.reply("200 OK", "far", OFFER)); // it was lost
    ladder.expect("ACK");
    ends(ladder, leg);
}

#[test]
fn it_goes_by_itself_when_the_owner_says_nothing() {
    let (mut ladder, leg, _) = answered();
    ladder.after(399);
    ladder.expect_nothing();
    ladder.after(1);
    ladder.expect("ACK");
    ladder.after(1_000);
    ladder.expect_nothing();
    ends(ladder, leg);
}

#[test]
fn a_repeated_200_gets_it_and_is_no_fork() {
    let (mut ladder, leg, invite) = answered();
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    ladder.expect("ACK");
    ladder.after(500);
    ladder.expect_nothing();
    ends(ladder, leg);
}

#[test]
fn a_hang_up_sends_it_before_the_bye() {
    let (mut ladder, leg, _) = answered();
    ladder.hang_up(leg);
    ladder.expect("ACK");
    let bye = ladder.expect("BYE");
    ladder.send(&bye.reply("200 OK", "far", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_fork_that_answers_meanwhile_is_dismissed_as_ever() {
    let (mut ladder, leg, invite) = answered();
    ladder.send(&invite.reply("200 OK", "other", OFFER));
    ladder.expect("ACK");
    let bye = ladder.expect("BYE");
    ladder.send(&bye.reply("200 OK", "other", ""));
    ladder.command(|endpoint, now| endpoint.acknowledge(now, leg));
    ladder.expect("ACK");
    ends(ladder, leg);
}
