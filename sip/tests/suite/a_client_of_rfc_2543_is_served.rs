//! RFC 3261 §17.2.3: a branch without the magic cookie says nothing; a repetition and an ACK are
//! then known by Request-URI, From, Call-ID, CSeq and Via.

use crate::ladder::{GIVE_UP, Ladder, Message, OFFER, far_invite};
use kaphila_sip::invite::Body;

fn old_invite() -> String {
    far_invite(OFFER).replace("branch=z9hG4bKin1", "branch=1")
}

/// The ACK of an old client: as the INVITE, with the To tag of the answer.
fn old_ack(answer: &Message) -> String {
    format!(
        "ACK sip:4930@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=1;rport\r\n\
         Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: in-1\r\nCSeq: 1 ACK\r\n\
         Content-Length: 0\r\n\r\n",
        answer.header("From"),
        answer.header("To"),
    )
}

#[test]
fn its_repeated_invite_is_one_call_and_its_ack_ends_the_refusal() {
    let mut ladder = Ladder::new();
    ladder.send(&old_invite());
    ladder.send(&old_invite());
    assert_eq!(ladder.legs.len(), 1);
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.reject(now, leg, 486));
    let busy = ladder.expect("486 Busy Here");
    ladder.send(&old_invite());
    ladder.expect("486 Busy Here");
    ladder.send(&old_ack(&busy));
    ladder.after(GIVE_UP);
    ladder.expect_nothing();
    ladder.ends_with_nothing_left();
}

/// RFC 6026 §7.1: the ACK of a 2xx that comes with the INVITE's branch goes to the call.
#[test]
fn its_ack_of_a_200_confirms_the_call() {
    let mut ladder = Ladder::new();
    ladder.send(&old_invite());
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.accept(now, leg, Body::sdp("v=0\r\n")));
    let ok = ladder.expect("200 OK");
    ladder.send(&old_ack(&ok));
    ladder.tells(&["confirmed"]);
    ladder.after(GIVE_UP);
    ladder.expect_nothing();
    ladder.hang_up(leg);
    ladder.expect("BYE");
    ladder.ends_with_nothing_left();
}
