//! RFC 3261 §15: a callee waits for the ACK of its 200 before its BYE. All ACKs may be lost and a
//! re-INVITE come in their place: it proves that the 200 came, and the BYE goes out.

use crate::ladder::{Ladder, OFFER, far_invite, in_call};
use kaphila_sip::invite::Body;

#[test]
fn the_bye_goes_out_and_the_re_invite_gets_487() {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite(OFFER));
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.accept(now, leg, Body::sdp("v=0\r\n")));
    let ok = ladder.expect("200 OK");
    ladder.hang_up(leg);
    ladder.expect_nothing();
    ladder.send(&in_call(&ok, "UPDATE", 2, "", OFFER)); // proves less: it may have crossed
    ladder.expect("491 Request Pending");
    ladder.send(&in_call(&ok, "INVITE", 3, "", OFFER));
    ladder.expect("487 Request Terminated");
    let bye = ladder.expect("BYE");
    ladder.send(&bye.reply("200 OK", "alice", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}
