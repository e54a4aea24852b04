//! The answer that crosses our CANCEL, or comes before one could be sent: ACK, then BYE
//! (RFC 3261 §9.1, §15). Nobody is told that the call was answered.

use crate::ladder::{Ladder, OFFER};

#[test]
fn a_200_that_crosses_the_cancel() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("180 Ringing", "far", ""));
    ladder.hang_up(leg);
    let cancel = ladder.expect("CANCEL");
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    let ack = ladder.expect("ACK sip:bob@192.0.2.9");
    assert_eq!(ack.header("CSeq"), "10 ACK");
    let bye = ladder.expect("BYE sip:bob@192.0.2.9");
    assert_eq!(bye.header("CSeq"), "11 BYE");
    ladder.send(&cancel.reply("200 OK", "far", ""));
    ladder.tells(&["180"]);
    ladder.send(&invite.reply("200 OK", "far", OFFER)); // the ACK was lost
    ladder.expect("ACK");
    ladder.expect_nothing();
    ladder.send(&bye.reply("200 OK", "far", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_200_as_the_first_answer_after_a_hang_up() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.hang_up(leg);
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    ladder.expect("ACK");
    let bye = ladder.expect("BYE");
    ladder.send(&bye.reply("200 OK", "far", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn an_orphan_200_of_an_invite_nobody_remembers() {
    let mut ladder = Ladder::new();
    ladder.send(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKold;rport=5060\r\n\
         From: <sip:1000@192.0.2.1>;tag=old\r\nTo: <sip:bob@192.0.2.9>;tag=far\r\n\
         Call-ID: old\r\nCSeq: 3 INVITE\r\nContact: <sip:bob@192.0.2.9:5060>\r\n\
         Content-Length: 0\r\n\r\n",
    );
    assert_eq!(ladder.expect("ACK").header("CSeq"), "3 ACK");
    let bye = ladder.expect("BYE");
    assert_eq!(bye.header("CSeq"), "4 BYE");
    ladder.send(&bye.reply("200 OK", "far", ""));
    ladder.tells(&[]);
    assert_eq!(ladder.endpoint.counters().stray_answers, 1);
    ladder.ends_with_nothing_left();
}

#[test]
fn an_orphan_200_from_a_stranger_is_ignored() {
    let mut ladder = Ladder::new();
    ladder.send_from(
        crate::ladder::STRANGER,
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKold;rport=5060\r\n\
         From: <sip:1000@192.0.2.1>;tag=old\r\nTo: <sip:bob@192.0.2.9>;tag=far\r\n\
         Call-ID: old\r\nCSeq: 3 INVITE\r\nContact: <sip:bob@192.0.2.9:5060>\r\n\
         Content-Length: 0\r\n\r\n",
    );
    ladder.expect_nothing();
    ladder.ends_with_nothing_left();
}
