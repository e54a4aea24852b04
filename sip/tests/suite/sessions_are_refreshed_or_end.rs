//! RFC 4028: session timers, whoever refreshes, and the glare of refreshes (RFC 3261 §14.1).

use kaphila_sip::invite::Body;

use crate::ladder::{Ladder, Message, OFFER, far_invite_with, in_call};

const MINUTE: u64 = 60_000;

/// A call of ours, answered with these headers.
fn answered(headers: &str) -> (Ladder, Message) {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    assert_eq!(invite.header("Session-Expires"), "1800");
    assert!(!invite.has("Min-SE"), "90 s is the least by itself (§5)");
    let headers = format!("Contact: <sip:bob@192.0.2.9>\r\n{headers}");
    ladder.send(&invite.reply_with("200 OK", "far", &headers, OFFER));
    ladder.expect("ACK");
    ladder.tells(&["answered with a body"]);
    (ladder, invite)
}

#[test]
fn ours_by_update_where_the_far_end_takes_it() {
    let headers = "Session-Expires: 600;refresher=uac\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n";
    let (mut ladder, _) = answered(headers);
    for at in 0..3 {
        ladder.after(5 * MINUTE - 1);
        ladder.expect_nothing();
        ladder.after(1);
        let update = ladder.expect("UPDATE sip:bob@192.0.2.9 SIP/2.0");
        assert_eq!(update.header("Session-Expires"), "600;refresher=uac");
        assert_eq!(update.header("Supported"), "100rel, timer");
        assert_eq!(update.header("CSeq"), format!("{} UPDATE", 11 + at));
        assert_eq!(update.header("Contact"), "<sip:192.0.2.1:5060>");
        assert_eq!(update.body(), "", "nothing is offered");
        let agreed = "Session-Expires: 600;refresher=uac\r\n";
        ladder.send(&update.reply_with("200 OK", "far", agreed, ""));
    }
    // It grows silent: 408 by timer F, and the call is over.
    ladder.after(5 * MINUTE);
    ladder.after(32_000);
    assert!(ladder.take_starts().contains(&"BYE sip:bob@192.0.2.9 SIP/2.0".to_owned()));
    ladder.tells(&["lost"]);
}

#[test]
fn ours_by_a_re_invite_with_the_description_as_it_was() {
    let (mut ladder, invite) = answered("Session-Expires: 90;refresher=uac\r\nAllow: INVITE\r\n");
    ladder.after(45_000);
    let again = ladder.expect("INVITE sip:bob@192.0.2.9 SIP/2.0");
    assert_eq!(again.body(), invite.body());
    assert_eq!(again.header("CSeq"), "11 INVITE");
    assert_eq!(again.header("To"), "<sip:004912345@192.0.2.9>;tag=far");
    let agreed = "Contact: <sip:bob@192.0.2.10>\r\nSession-Expires: 90;refresher=uac\r\n";
    let ok = again.reply_with("200 OK", "far", agreed, OFFER);
    ladder.send(&ok);
    let target = "192.0.2.10:5060"; // it moved
    assert_eq!(ladder.expect_to(target, "ACK").header("CSeq"), "11 ACK");
    ladder.send(&ok);
    assert_eq!(ladder.expect_to(target, "ACK").header("CSeq"), "11 ACK", "its repetition");
    ladder.after(40_000);
    ladder.send(&ok);
    assert_eq!(ladder.expect_to(target, "ACK").header("CSeq"), "11 ACK", "its transaction is gone");
    ladder.tells(&[]);
    ladder.after(5_000);
    ladder.expect_to(target, "INVITE sip:bob@192.0.2.10");
}

#[test]
fn theirs_and_its_absence_ends_the_call() {
    let (mut ladder, invite) = answered("Require: timer\r\nSession-Expires: 90;refresher=uas\r\n");
    ladder.after(50_000);
    let refresh = "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n";
    ladder.send(&invite.far_request("UPDATE", 1, "far", refresh, ""));
    let ok = ladder.expect("200 OK");
    assert_eq!(ok.header("Session-Expires"), "90;refresher=uac");
    assert_eq!(ok.header("Require"), "timer");
    // §10: a third of the interval before its end, 32 s at most.
    ladder.after(59_999);
    ladder.expect_nothing();
    ladder.after(1);
    let bye = ladder.expect("BYE");
    ladder.tells(&["session expired"]);
    ladder.send(&bye.reply("200 OK", "far", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn none_where_the_far_end_wants_none() {
    let (mut ladder, _) = answered("");
    ladder.after(120 * MINUTE);
    ladder.expect_nothing();
    ladder.tells(&[]);
}

#[test]
fn a_422_is_answered_with_its_min_se_on_the_same_trunk() {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    let refusal = invite.reply_with("422 Session Interval Too Small", "p", "Min-SE: 3600\r\n", "");
    ladder.send(&refusal);
    ladder.expect("ACK");
    let again = ladder.expect("INVITE");
    assert_eq!(again.header("Session-Expires"), "3600");
    assert_eq!(again.header("Min-SE"), "3600");
    assert_eq!(again.header("CSeq"), "11 INVITE");
    assert_eq!(again.header("Call-ID"), invite.header("Call-ID"));
    assert_ne!(again.branch(), invite.branch());
    // One that says nothing new is an answer.
    let refusal = again.reply_with("422 Session Interval Too Small", "p", "Min-SE: 3600\r\n", "");
    ladder.send(&refusal);
    ladder.expect("ACK");
    ladder.tells(&["refused 422", "closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_422_to_a_refresh_is_answered_at_once() {
    let headers = "Session-Expires: 90;refresher=uac\r\nAllow: UPDATE\r\n";
    let (mut ladder, _) = answered(headers);
    ladder.after(45_000);
    let update = ladder.expect("UPDATE");
    let refusal = update.reply_with("422 Session Interval Too Small", "far", "Min-SE: 120\r\n", "");
    ladder.send(&refusal);
    let again = ladder.expect("UPDATE");
    assert_eq!(again.header("Session-Expires"), "120;refresher=uac");
    assert_eq!((again.header("Min-SE").as_str(), again.cseq()), ("120", 12));
    let agreed = "Session-Expires: 120;refresher=uac\r\n";
    ladder.send(&again.reply_with("200 OK", "far", agreed, ""));
    ladder.after(60_000);
    ladder.expect("UPDATE");
    ladder.tells(&[]);
}

#[test]
fn an_update_that_is_not_known_is_followed_by_a_re_invite() {
    let headers = "Session-Expires: 90;refresher=uac\r\nAllow: UPDATE\r\n";
    let (mut ladder, _) = answered(headers);
    ladder.after(45_000);
    let update = ladder.expect("UPDATE");
    ladder.send(&update.reply("405 Method Not Allowed", "far", ""));
    assert_eq!(ladder.expect("INVITE").header("CSeq"), "12 INVITE");
}

#[test]
fn glare_waits_as_the_owner_of_the_call_id_and_the_far_ends_is_491() {
    let (mut ladder, invite) = answered("Session-Expires: 90;refresher=uac\r\nAllow: INVITE\r\n");
    ladder.after(45_000);
    let ours = ladder.expect("INVITE");
    ladder.send(&invite.far_request("INVITE", 1, "far", "", OFFER));
    let theirs = ladder.expect("491 Request Pending");
    let ack = invite.far_request("ACK", 1, "far", "", "");
    ladder.send(&ack.replace("z9hG4bKfar1ACK", "z9hG4bKfar1INVITE"));
    assert_eq!(theirs.header("CSeq"), "1 INVITE");
    ladder.send(&ours.reply("491 Request Pending", "far", ""));
    ladder.expect("ACK");
    ladder.after(2_099);
    ladder.expect_nothing();
    ladder.after(4_000 - 2_099);
    assert_eq!(ladder.expect("INVITE").header("CSeq"), "12 INVITE", "within 2.1 to 4 s");
    ladder.tells(&[]);
}

/// A call that came in with these headers, and our 200 to it.
fn accepted(headers: &str) -> (Ladder, Message) {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite_with(headers, OFFER));
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.accept(now, leg, Body::sdp("v=1\r\n")));
    let ok = ladder.expect("200 OK");
    ladder.send(&in_call(&ok, "ACK", 1, "", ""));
    ladder.tells(&["confirmed"]);
    (ladder, ok)
}

#[test]
fn a_caller_of_ours_refreshes_where_it_can() {
    let (mut ladder, ok) = accepted("Supported: timer\r\nSession-Expires: 300\r\n");
    assert_eq!(ok.header("Session-Expires"), "300;refresher=uac");
    assert_eq!(ok.header("Require"), "timer");
    ladder.after(100_000);
    let refresh = "Supported: timer\r\nSession-Expires: 300;refresher=uac\r\n";
    ladder.send(&in_call(&ok, "INVITE", 2, refresh, OFFER));
    ladder.tells(&["INVITE offers with a body"]);
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.answer_offer(now, leg, Ok(Body::sdp("v=1\r\n"))));
    assert_eq!(ladder.expect("200 OK").header("Session-Expires"), "300;refresher=uac");
    ladder.send(&in_call(&ok, "ACK", 2, "", ""));
    ladder.after(267_999);
    ladder.expect_nothing();
    ladder.after(1);
    ladder.expect("BYE");
    ladder.tells(&["session expired"]);
}

#[test]
fn else_we_do() {
    // A proxy asked for it, and the caller knows nothing of it.
    let (mut ladder, ok) = accepted("Session-Expires: 120\r\nAllow: INVITE\r\n");
    assert_eq!(ok.header("Session-Expires"), "120;refresher=uas");
    assert!(!ok.has("Require"));
    ladder.after(60_000);
    let refresh = ladder.expect("INVITE");
    assert_eq!(refresh.body(), "v=1\r\n");
    ladder.send(&refresh.reply("491 Request Pending", "", ""));
    ladder.expect("ACK");
    ladder.after(2_000); // 0 to 2 s: the Call-ID is theirs
    ladder.expect("INVITE");
}

#[test]
fn less_than_90_seconds_is_refused_with_what_we_take() {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite_with("Supported: timer\r\nSession-Expires: 60\r\n", OFFER));
    let refusal = ladder.expect("422 Session Interval Too Small");
    assert_eq!(refusal.header("Min-SE"), "90");
    assert!(ladder.calls.is_empty());

    let (mut ladder, invite) = answered("Session-Expires: 90;refresher=uac\r\n");
    let refresh = "Supported: timer\r\nSession-Expires: 30\r\n";
    ladder.send(&invite.far_request("UPDATE", 1, "far", refresh, ""));
    assert_eq!(ladder.expect("422").header("Min-SE"), "90");
}
