//! Glare: both sides hang up at once (RFC 3261 §15.1).

use crate::ladder::Ladder;

#[test]
fn their_bye_gets_200_while_ours_is_out() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    ladder.hang_up(leg);
    let bye = ladder.expect("BYE");
    ladder.send(&invite.far_request("BYE", 1, "far", "", ""));
    ladder.expect("200 OK");
    ladder.tells(&["closed"]);
    ladder.send(&bye.reply("481 Call/Transaction Does Not Exist", "far", ""));
    ladder.expect_nothing();
    ladder.tells(&[]);
    ladder.ends_with_nothing_left();
}

#[test]
fn other_requests_after_our_bye_find_no_dialog() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    ladder.hang_up(leg);
    ladder.expect("BYE");
    ladder.send(&invite.far_request("INVITE", 1, "far", "", "v=0\r\n"));
    ladder.expect("481");
    ladder.send(&invite.far_request("ACK", 1, "far", "", ""));
    ladder.tells(&[]);
}

#[test]
fn a_bye_that_overtakes_its_200_is_answered_once_the_200_is_there() {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    let bye = invite.far_request("BYE", 1, "far", "", "");
    ladder.send(&bye);
    ladder.expect_nothing();
    ladder.send(&invite.reply("200 OK", "far", "v=0\r\n"));
    ladder.expect("ACK");
    ladder.send(&bye); // at T1, as every request that got no answer
    ladder.expect("200 OK");
    ladder.tells(&["answered with a body", "ended by far end", "closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_bye_in_an_early_dialog_ends_the_call_and_cancels_the_invite() {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("180 Ringing", "far", ""));
    ladder.send(&invite.far_request("BYE", 1, "far", "", ""));
    ladder.expect("200 OK");
    let cancel = ladder.expect("CANCEL");
    ladder.send(&cancel.reply("200 OK", "far", ""));
    ladder.send(&invite.reply("487 Request Terminated", "far", ""));
    ladder.expect("ACK");
    ladder.tells(&["180", "ended by far end", "closed"]);
    ladder.ends_with_nothing_left();
}
