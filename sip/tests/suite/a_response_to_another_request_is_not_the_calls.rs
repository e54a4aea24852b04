//! RFC 3261 §17.1.3: a response is known by the branch of the request it answers. One with our
//! Call-ID and tag alone, such as the 482 to a copy that somebody made on the way, ends nothing.

use crate::ladder::{Ladder, OFFER};

#[test]
fn a_refusal_of_another_branch() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("180 Ringing", "far", ""));
    ladder.tells(&["180"]);
    for status in ["482 Loop Detected", "200 OK", "180 Ringing"] {
        let other = invite.reply(status, "other", "").replace("z9hG4bKours", "z9hG4bKcopy");
        ladder.send(&other);
        ladder.expect_nothing();
        ladder.tells(&[]);
    }
    assert_eq!(ladder.endpoint.counters().stray_responses, 3);
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    ladder.expect("ACK");
    ladder.tells(&["answered with a body"]);
    ladder.send(&invite.reply("200 OK", "other", OFFER).replace("z9hG4bKours", "z9hG4bKcopy"));
    ladder.expect_nothing(); // nor is it a fork that answered later
    ladder.hang_up(leg);
    ladder.expect("BYE");
    ladder.ends_with_nothing_left();
}

/// The callee's tag in a From says that we sent a request which we did not send.
#[test]
fn an_answer_to_a_request_that_a_callee_never_sent() {
    let mut ladder = Ladder::new();
    ladder.send(&crate::ladder::far_invite(OFFER));
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.ring(now, leg, None));
    let ringing = ladder.expect("180 Ringing");
    ladder.send(&format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKwhose\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: in-1\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:alice@192.0.2.9>\r\nContent-Length: 0\r\n\r\n",
        ringing.header("To"),
        ringing.header("From"),
    ));
    ladder.expect_nothing();
    ladder.tells(&[]);
    ladder.hang_up(leg);
    ladder.expect("603 Decline");
    ladder.ends_with_nothing_left();
}
