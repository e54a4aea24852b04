//! Design rule 8, S7, S8: who may send what. A stranger gets at most one stateless answer, never
//! longer than its request; nothing is kept, nothing of a call is touched.

use crate::ladder::{Ladder, OFFER, STRANGER, far_invite};
use kaphila_sip::endpoint::Stats;

#[test]
fn a_strangers_invite_and_options_get_403_and_nothing_is_kept() {
    let mut ladder = Ladder::new();
    for request in [
        far_invite(OFFER),
        far_invite("").replace("INVITE", "OPTIONS"),
        far_invite("").replace("INVITE", "REGISTER"),
        far_invite("").replace("INVITE", "CANCEL"),
    ] {
        ladder.send_from(STRANGER, &request);
        let answer = ladder.expect_to(STRANGER, "403 Forbidden");
        assert!(answer.0.len() <= request.len());
        assert!(!answer.has("Server") && !answer.has("Allow"), "says nothing of us");
        ladder.expect_nothing();
    }
    assert!(ladder.calls.is_empty());
    assert_eq!(ladder.endpoint.stats(), Stats::default());
    assert_eq!(ladder.endpoint.counters().strangers, 4);
}

#[test]
fn a_request_too_short_to_be_answered_within_its_length_gets_nothing() {
    let mut ladder = Ladder::new();
    ladder.send_from(
        STRANGER,
        "OPTIONS sip:a SIP/2.0\r\nv:SIP/2.0/UDP a;branch=z9hG4bK1\r\nf:<sip:b>;tag=1\r\nt:<sip:a>\r\n\
         i:1\r\nCSeq:1 OPTIONS\r\n\r\n",
    );
    ladder.expect_nothing();
    assert_eq!(ladder.endpoint.counters().strangers, 1);
}

#[test]
fn rubbish_gets_nothing() {
    let mut ladder = Ladder::new();
    for rubbish in ["x", "\0\0\0\0", "INVITE\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "\r\n\r\n"] {
        ladder.send_from(STRANGER, rubbish);
    }
    ladder.send_from(STRANGER, &far_invite("").replace("CSeq: 1 INVITE\r\n", ""));
    ladder.expect_nothing();
    assert_eq!(ladder.endpoint.stats(), Stats::default());
}

#[test]
fn an_ack_is_never_answered() {
    let mut ladder = Ladder::new();
    for from in [STRANGER, crate::ladder::CARRIER] {
        ladder.send_from(from, &far_invite("").replace("INVITE", "ACK"));
    }
    ladder.expect_nothing();
}

#[test]
fn requests_in_a_dialog_from_a_foreign_address_do_nothing() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    for (cseq, method) in [(1, "BYE"), (2, "INVITE"), (3, "UPDATE"), (4, "INFO")] {
        let request = invite.far_request_from(STRANGER, method, cseq, "far", "", OFFER);
        ladder.send_from(STRANGER, &request);
        ladder.expect_to(STRANGER, "403 Forbidden");
    }
    ladder.tells(&[]);
    ladder.hang_up(leg);
    ladder.expect("BYE"); // the call lived
}

#[test]
fn requests_in_a_dialog_with_a_wrong_tag_do_nothing() {
    let mut ladder = Ladder::new();
    let (leg, invite) = ladder.answered_call();
    ladder.send(&invite.far_request("BYE", 1, "wrong", "", ""));
    ladder.expect("481");
    ladder.send(&invite.far_request("BYE", 2, "far", "", "").replace("our-tag", "other-tag"));
    ladder.expect("481");
    ladder.send(&invite.far_request("BYE", 3, "far", "", "").replace("call-1", "call-2"));
    ladder.expect("481");
    ladder.tells(&[]);
    ladder.hang_up(leg);
    ladder.expect("BYE");
}

#[test]
fn another_address_with_the_branch_of_a_request_does_nothing() {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite(OFFER));
    let leg = ladder.legs[0];
    ladder.send_from(STRANGER, &far_invite(OFFER));
    ladder.expect_nothing(); // the transaction is not theirs
    let cancel = far_invite("").replace("INVITE", "CANCEL");
    ladder.send_from(STRANGER, &cancel);
    ladder.expect_to(STRANGER, "403 Forbidden");
    ladder.tells(&[]);
    ladder.command(|endpoint, now| endpoint.ring(now, leg, None));
    ladder.expect("180 Ringing");
}

#[test]
fn twenty_thousand_requests_leave_nothing() {
    let mut ladder = Ladder::new();
    for number in 0..20_000 {
        let request = far_invite(OFFER).replace("z9hG4bKin1", &format!("z9hG4bK{number}"));
        ladder.send_from(STRANGER, &request);
    }
    assert_eq!(ladder.lose(), 20_000);
    assert_eq!(ladder.endpoint.stats(), Stats::default());
    assert_eq!(ladder.endpoint.poll_timeout(), None);
}
