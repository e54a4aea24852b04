//! What a process that was killed left behind is ended by the next one (design rule 7, C2), from
//! what was stored at the placing and at the answer.

use crate::ladder::{CARRIER, Ladder, OFFER, address, identity, invite_spec};
use kaphila_sip::dialog::DialogState;
use kaphila_sip::invite::Orphan;
use kaphila_sip::message::Transport;

fn early() -> Orphan {
    let spec = invite_spec();
    Orphan::Early {
        identity: identity(),
        request_uri: spec.request_uri,
        from: spec.from,
        to: spec.to,
        remote: address(CARRIER),
        transport: Transport::Udp,
        tls_name: None,
    }
}

#[test]
fn a_leg_that_was_ringing_gets_the_cancel_of_its_invite() {
    let mut before = Ladder::new();
    before.call();
    let invite = before.expect("INVITE");

    let mut after = Ladder::new();
    after.command(|endpoint, now| {
        endpoint.end_orphan(now, early(), None).unwrap();
    });
    let cancel = after.expect("CANCEL sip:004912345@192.0.2.9 SIP/2.0");
    for name in ["Via", "From", "To", "Call-ID"] {
        assert_eq!(cancel.header(name), invite.header(name), "{name}");
    }
    assert_eq!(cancel.header("CSeq"), "10 CANCEL");
    after.send(&cancel.reply("200 OK", "far", ""));
    after.send(&invite.reply("487 Request Terminated", "far", ""));
    let ack = after.expect("ACK sip:004912345@192.0.2.9");
    assert_eq!(ack.branch(), invite.branch());
    after.tells(&["closed"]);
    after.ends_with_nothing_left();
}

#[test]
fn a_leg_that_answers_meanwhile_gets_ack_and_bye() {
    let mut before = Ladder::new();
    before.call();
    let invite = before.expect("INVITE");

    let mut after = Ladder::new();
    after.command(|endpoint, now| {
        endpoint.end_orphan(now, early(), None).unwrap();
    });
    let cancel = after.expect("CANCEL");
    after.send(&invite.reply("200 OK", "far", OFFER));
    after.expect("ACK");
    let bye = after.expect("BYE");
    assert!(bye.header("To").ends_with("tag=far"));
    after.send(&cancel.reply("481 Call/Transaction Does Not Exist", "far", ""));
    after.send(&bye.reply("200 OK", "far", ""));
    after.tells(&["closed"]);
    after.ends_with_nothing_left();
}

#[test]
fn a_leg_that_was_answered_gets_bye_along_its_routes() {
    let mut before = Ladder::new();
    before.call();
    let invite = before.expect("INVITE");
    let headers = "Record-Route: <sip:192.0.2.30:5080;lr>, <sip:192.0.2.20;lr>\r\n\
                   Contact: <sip:bob@198.51.100.4:5090>\r\n";
    let ok = invite.reply_with("200 OK", "far", headers, OFFER);
    before.send(&ok);
    let text = before.answers[0].clone();

    let dialog: DialogState = text.parse().unwrap();
    assert_eq!(dialog.to_string(), text);
    let mut after = Ladder::new();
    after.command(|endpoint, now| {
        endpoint.end_orphan(now, Orphan::Confirmed { dialog }, None).unwrap();
    });
    let bye = after.expect_to("192.0.2.20:5060", "BYE sip:bob@198.51.100.4:5090 SIP/2.0");
    assert_eq!(bye.all("Route"), ["<sip:192.0.2.20;lr>", "<sip:192.0.2.30:5080;lr>"]);
    assert_eq!(bye.header("From"), "<sip:1000@192.0.2.1>;tag=our-tag");
    assert_eq!(bye.header("To"), "<sip:004912345@192.0.2.9>;tag=far");
    assert!(bye.cseq() > 11, "with a margin for what was sent since");
    after.send_from("192.0.2.20:5060", &bye.reply("200 OK", "far", ""));
    after.tells(&["closed"]);
    after.ends_with_nothing_left();
}

#[test]
fn a_200_repeated_to_the_new_process_gets_ack_and_bye() {
    let mut before = Ladder::new();
    before.call();
    let invite = before.expect("INVITE");
    let ok = invite.reply("200 OK", "far", OFFER);
    before.send(&ok);
    let dialog: DialogState = before.answers[0].parse().unwrap();

    let mut after = Ladder::new();
    after.command(|endpoint, now| {
        endpoint.end_orphan(now, Orphan::Confirmed { dialog }, None).unwrap();
    });
    let bye = after.expect("BYE");
    after.send(&ok); // the process was killed before its ACK
    assert_eq!(after.expect("ACK").header("CSeq"), "10 ACK");
    after.lose();
    after.send(&bye.reply("200 OK", "far", ""));
    after.tells(&["closed"]);
    after.ends_with_nothing_left();
}

/// A trunk that was left for another one before the crash: nothing of its INVITE is stored, but
/// each of its provisionals holds what a CANCEL needs.
#[test]
fn a_telephone_that_rings_for_nobody_is_cancelled() {
    let mut before = Ladder::new();
    before.call();
    let invite = before.expect("INVITE");

    let mut after = Ladder::new();
    after.send(&invite.reply("180 Ringing", "far", ""));
    let cancel = after.expect("CANCEL");
    for name in ["Via", "From", "To", "Call-ID"] {
        assert_eq!(cancel.header(name), invite.header(name), "{name}");
    }
    assert_eq!(cancel.header("CSeq"), "10 CANCEL");
    after.send(&invite.reply("180 Ringing", "far", ""));
    after.expect_nothing();
    after.send(&cancel.reply("200 OK", "far", ""));
    after.send(&invite.reply("487 Request Terminated", "far", ""));
    assert_eq!(after.expect("ACK").branch(), invite.branch());
    after.tells(&[]);
    after.ends_with_nothing_left();
}

#[test]
fn a_provisional_from_a_stranger_cancels_nothing() {
    let mut before = Ladder::new();
    before.call();
    let invite = before.expect("INVITE");

    let mut after = Ladder::new();
    after.send_from(crate::ladder::STRANGER, &invite.reply("180 Ringing", "far", ""));
    after.expect_nothing();
    after.ends_with_nothing_left();
}

#[test]
fn a_stored_dialog_that_is_damaged_is_refused() {
    for text in ["", "call-id: x\n", "kaphila"] {
        assert!(text.parse::<DialogState>().is_err());
    }
}
