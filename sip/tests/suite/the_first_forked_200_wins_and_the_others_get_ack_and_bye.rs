//! A proxy forked our INVITE and two telephones answered (RFC 3261 §13.2.2.4).

use crate::ladder::{Ladder, OFFER};

#[test]
fn two_answers_are_two_dialogs_and_one_call() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("180 Ringing", "one", ""));
    ladder.send(&invite.reply("180 Ringing", "two", ""));
    ladder.send(&invite.reply("200 OK", "two", OFFER));
    ladder.tells(&["180", "180", "answered with a body"]);
    assert!(ladder.expect("ACK").header("To").ends_with("tag=two"));

    let contact = "Contact: <sip:one@192.0.2.77:5070>\r\n";
    ladder.send(&invite.reply_with("200 OK", "one", contact, OFFER));
    let fork = "192.0.2.77:5070";
    let ack = ladder.expect_to(fork, "ACK sip:one@192.0.2.77:5070");
    assert!(ack.header("To").ends_with("tag=one"));
    let bye = ladder.expect_to(fork, "BYE sip:one@192.0.2.77:5070");
    assert!(bye.header("To").ends_with("tag=one"));
    assert_eq!(bye.header("CSeq"), "11 BYE");
    ladder.send_from(fork, &bye.reply("200 OK", "one", ""));
    ladder.tells(&[]);

    ladder.send(&invite.reply_with("200 OK", "one", contact, OFFER)); // its ACK was lost
    ladder.expect_to(fork, "ACK");
    ladder.expect_nothing(); // and no second BYE

    ladder.hang_up(leg);
    let bye = ladder.expect("BYE");
    assert!(bye.header("To").ends_with("tag=two"));
    ladder.send(&bye.reply("200 OK", "two", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_fork_that_answers_after_the_call_has_ended() {
    let mut ladder = Ladder::new();
    let (_, invite) = ladder.answered_call();
    ladder.send(&invite.far_request("BYE", 1, "far", "", ""));
    ladder.expect("200 OK");
    ladder.tells(&["ended by far end", "closed"]);
    ladder.send(&invite.reply("200 OK", "late", OFFER));
    assert!(ladder.expect("ACK").header("To").ends_with("tag=late"));
    assert!(ladder.expect("BYE").header("To").ends_with("tag=late"));
    ladder.ends_with_nothing_left();
}

#[test]
fn a_200_that_comes_after_a_refusal() {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("486 Busy Here", "one", ""));
    ladder.expect("ACK");
    ladder.tells(&["refused 486", "closed"]);
    ladder.send(&invite.reply("200 OK", "two", OFFER)); // RFC 3261 §16.7: proxies pass it on
    assert!(ladder.expect("ACK").header("To").ends_with("tag=two"));
    assert!(ladder.expect("BYE").header("To").ends_with("tag=two"));
    ladder.ends_with_nothing_left();
}
