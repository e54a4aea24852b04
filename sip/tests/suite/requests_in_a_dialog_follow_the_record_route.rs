//! Route sets (RFC 3261 §12.1, §12.2.1.1, §16.12.1): reversed for the caller, as they stand for the
//! callee, loose and strict.

use crate::ladder::{CARRIER, Ladder, OFFER, far_invite_with, in_call};
use kaphila_sip::invite::Body;

const OUTER: &str = "192.0.2.20:5060";
const INNER: &str = "192.0.2.30:5080";

#[test]
fn a_callers_requests_go_the_record_route_backwards() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    let headers = "Record-Route: <sip:192.0.2.30:5080;lr;x=1>\r\n\
                   Record-Route: <sip:192.0.2.20;lr>\r\n\
                   Contact: <sip:bob@198.51.100.4:5090>\r\n";
    ladder.send(&invite.reply_with("200 OK", "far", headers, OFFER));
    let ack = ladder.expect_to(OUTER, "ACK sip:bob@198.51.100.4:5090 SIP/2.0");
    assert_eq!(ack.all("Route"), ["<sip:192.0.2.20;lr>", "<sip:192.0.2.30:5080;lr;x=1>"]);
    ladder.hang_up(leg);
    let bye = ladder.expect_to(OUTER, "BYE sip:bob@198.51.100.4:5090 SIP/2.0");
    assert_eq!(bye.all("Route"), ["<sip:192.0.2.20;lr>", "<sip:192.0.2.30:5080;lr;x=1>"]);
}

#[test]
fn a_strict_router_gets_itself_in_the_request_uri_and_the_target_last() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    let headers = "Record-Route: <sip:192.0.2.20;lr>, <sip:strict@192.0.2.30:5080;x=1>\r\n\
                   Contact: <sip:bob@198.51.100.4:5090>\r\n";
    ladder.send(&invite.reply_with("200 OK", "far", headers, OFFER));
    ladder.expect_to(INNER, "ACK sip:strict@192.0.2.30:5080;x=1 SIP/2.0");
    ladder.hang_up(leg);
    let bye = ladder.expect_to(INNER, "BYE sip:strict@192.0.2.30:5080;x=1 SIP/2.0");
    assert_eq!(bye.all("Route"), ["<sip:192.0.2.20;lr>", "<sip:bob@198.51.100.4:5090>"]);
}

#[test]
fn the_route_set_is_that_of_the_200_and_hosts_of_it_may_send_requests() {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    let early = "Record-Route: <sip:192.0.2.99;lr>\r\nContact: <sip:bob@192.0.2.9>\r\n";
    ladder.send(&invite.reply_with("180 Ringing", "far", early, ""));
    let headers = "Record-Route: <sip:192.0.2.20;lr>\r\nContact: <sip:bob@192.0.2.9>\r\n";
    ladder.send(&invite.reply_with("200 OK", "far", headers, OFFER));
    ladder.expect_to(OUTER, "ACK");
    ladder.tells(&["180", "answered with a body"]);
    ladder.send_from(OUTER, &invite.far_request_from(OUTER, "BYE", 1, "far", "", ""));
    ladder.expect_to(OUTER, "200 OK");
    ladder.tells(&["ended by far end", "closed"]);
}

#[test]
fn a_callees_requests_go_the_record_route_as_it_stands() {
    let mut ladder = Ladder::new();
    let routes = "Record-Route: <sip:192.0.2.20;lr>\r\nRecord-Route: <sip:192.0.2.30:5080;lr>\r\n";
    ladder.send(&far_invite_with(routes, OFFER));
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.ring(now, leg, None));
    let ringing = ladder.expect("180 Ringing");
    assert_eq!(ringing.all("Record-Route"), ["<sip:192.0.2.20;lr>", "<sip:192.0.2.30:5080;lr>"]);
    ladder.command(|endpoint, now| endpoint.accept(now, leg, Body::sdp("v=0\r\n")));
    let ok = ladder.expect("200 OK");
    assert_eq!(ok.all("Record-Route"), ["<sip:192.0.2.20;lr>", "<sip:192.0.2.30:5080;lr>"]);
    ladder.send_from(CARRIER, &in_call(&ok, "ACK", 1, "", ""));
    ladder.hang_up(leg);
    let bye = ladder.expect_to(OUTER, "BYE sip:alice@192.0.2.9:5060 SIP/2.0");
    assert_eq!(bye.all("Route"), ["<sip:192.0.2.20;lr>", "<sip:192.0.2.30:5080;lr>"]);
}

#[test]
fn a_private_contact_behind_a_nat_is_answered_where_it_came_from() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    let contact = "Contact: <sip:bob@10.0.0.5:5062>\r\n";
    ladder.send(&invite.reply_with("200 OK", "far", contact, OFFER));
    ladder.expect_to(CARRIER, "ACK sip:bob@10.0.0.5:5062 SIP/2.0");
    ladder.hang_up(leg);
    ladder.expect_to(CARRIER, "BYE sip:bob@10.0.0.5:5062 SIP/2.0");
}

#[test]
fn a_contact_by_name_is_answered_where_the_call_went() {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    let contact = "Contact: <sip:bob@pbx.example.com>\r\n";
    ladder.send(&invite.reply_with("200 OK", "far", contact, OFFER));
    ladder.expect_to(CARRIER, "ACK sip:bob@pbx.example.com SIP/2.0");
}

/// RFC 3261 §19.1.1, table 1: headers and `method` of a Contact may not stand in a Request-URI.
#[test]
fn what_a_contact_may_hold_and_a_request_uri_may_not_is_left_out() {
    let mut ladder = Ladder::new();
    let leg = ladder.call();
    let invite = ladder.expect("INVITE");
    let headers = "Contact: <sip:bob@192.0.2.9;method=INFO;x=1?Subject=hi>\r\n";
    ladder.send(&invite.reply_with("200 OK", "far", headers, OFFER));
    ladder.expect_to(CARRIER, "ACK sip:bob@192.0.2.9;x=1 SIP/2.0");
    ladder.hang_up(leg);
    ladder.expect_to(CARRIER, "BYE sip:bob@192.0.2.9;x=1 SIP/2.0");
}

/// The ladder is printed on terminals.
#[test]
fn what_the_far_end_writes_cannot_steer_the_terminal_that_shows_it() {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("180 \u{1b}[2JRinging", "far", ""));
    assert_eq!(ladder.rows.last().map(String::as_str), Some("<- 180 [2JRinging 10"));
}
