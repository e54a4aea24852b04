//! RFC 3261 §18.1.1: above 1 300 bytes a request goes over TCP, each by itself, and by UDP where
//! TCP cannot be had.

use kaphila_sip::invite::{Body, InviteSpec};

use crate::ladder::{Ladder, Message, OFFER, invite_spec};

fn call(ladder: &mut Ladder, octets: usize, large_over_tcp: bool) -> Message {
    let spec =
        InviteSpec { body: Some(Body::sdp("x".repeat(octets))), large_over_tcp, ..invite_spec() };
    ladder.command(|endpoint, now| {
        endpoint.invite(now, spec).unwrap();
    });
    ladder.expect("INVITE")
}

#[test]
fn a_large_invite_and_all_of_its_transaction_go_over_tcp() {
    let mut ladder = Ladder::with_connections();
    let invite = call(&mut ladder, 1_300, true);
    assert!(invite.header("Via").starts_with("SIP/2.0/TCP 192.0.2.1:5062;"), "{invite:?}");
    assert_eq!(invite.header("Contact"), "<sip:192.0.2.1:5060>", "the call itself is UDP's");
    let connection = ladder.dialled().connection;
    ladder.connect(connection);
    ladder.after(3_000);
    ladder.expect_nothing(); // no repetitions on a reliable transport
    ladder.send_over(connection, &invite.reply("180 Ringing", "far", ""));
    let leg = kaphila_sip::invite::LegId(1);
    ladder.hang_up(leg);
    // §9.1: the CANCEL goes where the INVITE went, with its Via.
    let cancel = ladder.expect("CANCEL");
    assert_eq!((cancel.header("Via"), ladder.over), (invite.header("Via"), Some(connection)));
    ladder.send_over(connection, &cancel.reply("200 OK", "far", ""));
    ladder.send_over(connection, &invite.reply("487 Request Terminated", "far", ""));
    ladder.expect("ACK");
    assert_eq!(ladder.over, Some(connection));
    ladder.disconnect(connection);
    ladder.ends_with_nothing_left();
}

#[test]
fn the_answered_call_goes_on_by_udp() {
    let mut ladder = Ladder::with_connections();
    let invite = call(&mut ladder, 1_300, true);
    let connection = ladder.dialled().connection;
    ladder.connect(connection);
    ladder.send_over(connection, &invite.reply("200 OK", "far", OFFER));
    let ack = ladder.expect("ACK");
    assert!(ack.header("Via").starts_with("SIP/2.0/UDP "), "{ack:?}");
    assert_eq!(ladder.over, None);
}

#[test]
fn where_tcp_is_refused_it_goes_by_udp_and_the_next_one_tries_tcp_again() {
    let mut ladder = Ladder::with_connections();
    let over_tcp = call(&mut ladder, 1_300, true);
    let dial = ladder.dialled();
    assert!(dial.within.as_secs() <= 1, "UDP is there to fall back on");
    ladder.disconnect(dial.connection);
    let by_udp = ladder.expect("INVITE");
    assert!(by_udp.header("Via").starts_with("SIP/2.0/UDP 192.0.2.1:5060;"), "{by_udp:?}");
    assert_eq!(by_udp.branch(), over_tcp.branch());
    assert_eq!(ladder.over, None);
    ladder.after(500);
    ladder.expect("INVITE"); // by UDP it is repeated
    ladder.tells(&[]);
    ladder.send(&by_udp.reply("180 Ringing", "far", ""));
    ladder.hang_up(kaphila_sip::invite::LegId(1));
    let cancel = ladder.expect("CANCEL");
    assert_eq!(cancel.header("Via"), by_udp.header("Via"));
    ladder.send(&cancel.reply("200 OK", "far", ""));
    ladder.send(&by_udp.reply("487 Request Terminated", "far", ""));
    ladder.expect("ACK");
    ladder.after(100_000);
    call(&mut ladder, 1_300, true);
    assert!(ladder.over.is_some());
    assert_eq!(ladder.endpoint.counters().large_over_tcp, 2);
}

#[test]
fn silence_on_tcp_is_silence() {
    let mut ladder = Ladder::with_connections();
    call(&mut ladder, 1_300, true);
    let connection = ladder.dialled().connection;
    ladder.connect(connection);
    ladder.disconnect(connection);
    ladder.tells(&["not delivered", "closed"]);
    ladder.expect_nothing(); // it was taken: nobody is called twice
}

#[test]
fn a_small_one_and_one_to_a_trunk_that_insists_on_udp_go_by_udp() {
    for (octets, large_over_tcp) in [(200, true), (1_300, false)] {
        let mut ladder = Ladder::with_connections();
        let invite = call(&mut ladder, octets, large_over_tcp);
        assert!(invite.header("Via").starts_with("SIP/2.0/UDP "), "{invite:?}");
        let large = u64::from(!large_over_tcp);
        assert_eq!(ladder.endpoint.counters().large_over_udp, large);
    }
}
