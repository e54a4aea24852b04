//! Every final answer but a 2xx gets its ACK (RFC 3261 §17.1.1.3), also after the leg is gone.

use crate::ladder::{Ladder, STRANGER};

#[test]
fn a_repeated_486_gets_an_ack_each_time() {
    let mut ladder = Ladder::new();
    ladder.call();
    let invite = ladder.expect("INVITE");
    let busy = invite.reply_with("486 Busy Here", "far", "Reason: Q.850;cause=17\r\n", "");
    ladder.send(&busy);
    ladder.tells(&["refused 486 (17)", "closed"]);
    let ack = ladder.expect("ACK sip:004912345@192.0.2.9 SIP/2.0");
    assert_eq!(ack.header("Via"), invite.header("Via"));
    assert_eq!(ack.header("CSeq"), "10 ACK");
    for _ in 0..7 {
        ladder.after(4_000);
        ladder.send(&busy);
        ladder.expect("ACK");
    }
    ladder.tells(&[]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_refusal_of_a_forgotten_invite_is_acked_for_a_trunk_and_for_nobody_else() {
    let mut ladder = Ladder::new();
    let refusal = "SIP/2.0 486 Busy Here\r\n\
        Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKold;rport=5060\r\n\
        From: <sip:1000@192.0.2.1>;tag=old\r\nTo: <sip:bob@192.0.2.9>;tag=far\r\n\
        Call-ID: old\r\nCSeq: 3 INVITE\r\nContent-Length: 0\r\n\r\n";
    ladder.send_from(STRANGER, refusal);
    ladder.expect_nothing();
    ladder.send(refusal);
    let ack = ladder.expect("ACK sip:bob@192.0.2.9 SIP/2.0");
    assert_eq!(ack.branch(), "z9hG4bKold");
    assert_eq!(ack.header("CSeq"), "3 ACK");
    ladder.ends_with_nothing_left();
}

#[test]
fn a_refusal_tells_where_else_and_when() {
    let mut ladder = Ladder::new();
    let leg = ladder.endpoint.invite(ladder.now, crate::ladder::invite_spec()).unwrap();
    while ladder.endpoint.poll_event().is_some() {}
    let sent = ladder.endpoint.poll_transmit().unwrap();
    let invite = crate::ladder::Message(String::from_utf8(sent.data.to_vec()).unwrap());
    let headers = "Contact: <sip:a@192.0.2.9>;q=0.25, <sip:b@192.0.2.9>;q=0.9\r\n\
        Contact: <sip:c@192.0.2.9>, <sip:d@192.0.2.9>;q=often\r\nRetry-After: 30 (busy)\r\n";
    let moved = invite.reply_with("302 Moved Temporarily", "far", headers, "");
    let carrier = crate::ladder::address(crate::ladder::CARRIER);
    let local = kaphila_sip::endpoint::LocalId(0);
    ladder.endpoint.handle_datagram(ladder.now, local, carrier, moved.as_bytes());
    let refused = std::iter::from_fn(|| ladder.endpoint.poll_event()).find_map(|event| {
        use kaphila_sip::invite::LegEvent::Refused;
        match event {
            kaphila_sip::endpoint::Event::Leg(id, Refused { retry_after, contacts, .. }) => {
                assert_eq!(id, leg);
                Some((retry_after, contacts))
            }
            _ => None,
        }
    });
    let (retry_after, contacts) = refused.unwrap();
    assert_eq!(retry_after, Some(std::time::Duration::from_secs(30)));
    let contacts: Vec<String> = contacts.iter().map(ToString::to_string).collect();
    // RFC 3261 §8.1.3.4: by q, which is 1 where none is said.
    assert_eq!(contacts, ["c", "d", "b", "a"].map(|user| format!("sip:{user}@192.0.2.9")));
}
