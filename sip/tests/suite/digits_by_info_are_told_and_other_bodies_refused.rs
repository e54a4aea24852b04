//! INFO as the third way for a digit (`reference.md` §5), in both directions.

use crate::ladder::Ladder;
use bytes::Bytes;
use kaphila_sip::invite::Body;

#[test]
fn a_digit_is_told_and_gets_200() {
    let mut ladder = Ladder::new();
    let (_, invite) = ladder.answered_call();
    let relay = "Content-Type: application/dtmf-relay\r\n";
    let digit = invite.far_request("INFO", 1, "far", relay, "Signal=5\r\nDuration=160\r\n");
    ladder.send(&digit);
    ladder.expect("200 OK");
    ladder.send(&digit); // its answer was lost: the digit counts once
    ladder.expect("200 OK");
    ladder.send(&invite.far_request("INFO", 2, "far", "Content-Type: application/dtmf\r\n", "#"));
    ladder.expect("200 OK");
    ladder.tells(&["digit 5 Some(160)", "digit # None"]);
}

#[test]
fn another_body_gets_415_and_a_bad_one_400() {
    let mut ladder = Ladder::new();
    let (_, invite) = ladder.answered_call();
    let kind = "Content-Type: application/media_control+xml\r\n";
    ladder.send(&invite.far_request("INFO", 1, "far", kind, "<x/>"));
    assert!(ladder.expect("415").has("Accept"));
    let relay = "Content-Type: application/dtmf-relay\r\n";
    ladder.send(&invite.far_request("INFO", 2, "far", relay, "Signal=flash\r\n"));
    ladder.expect("400");
    ladder.send(&invite.far_request("INFO", 3, "far", "", ""));
    ladder.expect("200 OK"); // a keep-alive
    ladder.tells(&[]);
}

fn info() -> Body {
    Body {
        content_type: "application/dtmf-relay".to_owned(),
        bytes: Bytes::from_static(b"Signal=1\r\nDuration=100\r\n"),
    }
}

#[test]
fn we_send_a_digit() {
    let mut ladder = Ladder::new();
    let (leg, _) = ladder.answered_call();
    ladder.command(|endpoint, now| endpoint.info(now, leg, info()));
    let sent = ladder.expect("INFO sip:bob@192.0.2.9 SIP/2.0");
    assert_eq!(sent.header("CSeq"), "11 INFO");
    assert_eq!(sent.header("Content-Type"), "application/dtmf-relay");
    assert_eq!(sent.body(), "Signal=1\r\nDuration=100\r\n");
    ladder.send(&sent.reply("415 Unsupported Media Type", "far", ""));
    ladder.tells(&[]); // a refusal of the digit is none of the call
    ladder.hang_up(leg);
    assert_eq!(ladder.expect("BYE").header("CSeq"), "12 BYE");
}

#[test]
fn a_dialog_that_the_far_end_has_lost_ends_the_leg() {
    for status in ["481 Call/Transaction Does Not Exist", "408 Request Timeout"] {
        let mut ladder = Ladder::new();
        let (leg, _) = ladder.answered_call();
        ladder.command(|endpoint, now| endpoint.info(now, leg, info()));
        let sent = ladder.expect("INFO");
        ladder.send(&sent.reply(status, "far", ""));
        ladder.tells(&["lost"]);
        let bye = ladder.expect("BYE");
        ladder.send(&bye.reply("481 Call/Transaction Does Not Exist", "far", ""));
        ladder.tells(&["closed"]);
        ladder.ends_with_nothing_left();
    }
}

#[test]
fn silence_to_a_request_in_the_dialog_ends_the_leg() {
    let mut ladder = Ladder::new();
    let (leg, _) = ladder.answered_call();
    ladder.command(|endpoint, now| endpoint.info(now, leg, info()));
    ladder.after(crate::ladder::GIVE_UP);
    ladder.tells(&["lost"]);
    ladder.ends_with_nothing_left();
}
