//! Which connection a message takes, and what becomes of a call whose connection is lost
//! (RFC 3261 §18, RFC 5923).

use kaphila_sip::endpoint::{Advertised, ConnectionId, LocalId, OptionsSpec};
use kaphila_sip::invite::{Identity, InviteSpec};
use kaphila_sip::message::{NameAddr, Transport};

use crate::ladder::{
    CARRIER, LOCAL_TCP, LOCAL_TLS, Ladder, Message, OFFER, STRANGER, address, invite_spec, uri,
};

fn spec(number: u64, transport: Transport, tls_name: Option<&str>) -> InviteSpec {
    let mut rng: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(number);
    InviteSpec {
        identity: Identity::generate(&mut rng),
        transport,
        tls_name: tls_name.map(str::to_owned),
        ..invite_spec()
    }
}

fn call(ladder: &mut Ladder, number: u64, transport: Transport, name: Option<&str>) -> Message {
    ladder.command(|endpoint, now| {
        endpoint.invite(now, spec(number, transport, name)).unwrap();
    });
    ladder.expect("INVITE")
}

/// A call over a connection that is open.
fn call_on(ladder: &mut Ladder) -> (Message, ConnectionId) {
    let invite = call(ladder, 1, Transport::Tcp, None);
    let connection = ladder.dialled().connection;
    assert_eq!(ladder.over, Some(connection));
    ladder.connect(connection);
    (invite, connection)
}

#[test]
fn via_and_contact_name_the_transport() {
    let mut ladder = Ladder::with_connections();
    let tcp = call(&mut ladder, 1, Transport::Tcp, None);
    assert!(tcp.header("Via").starts_with("SIP/2.0/TCP 192.0.2.1:5062;branch="), "{tcp:?}");
    assert_eq!(tcp.header("Contact"), "<sip:192.0.2.1:5062;transport=tcp>");
    assert_eq!(ladder.dialled().transport, Transport::Tcp);
    let tls = call(&mut ladder, 2, Transport::Tls, Some("carrier.example"));
    assert!(tls.header("Via").starts_with("SIP/2.0/TLS 192.0.2.1:5061;branch="), "{tls:?}");
    assert_eq!(tls.header("Contact"), "<sip:192.0.2.1:5061;transport=tls>");
    let dial = ladder.dialled();
    assert_eq!((dial.transport, dial.name.as_deref()), (Transport::Tls, Some("carrier.example")));
    // §8.1.1.8: a sips: Request-URI asks for a sips: Contact.
    ladder.command(|endpoint, now| {
        let sips = InviteSpec {
            request_uri: uri("sips:123@carrier.example"),
            ..spec(3, Transport::Tls, Some("carrier.example"))
        };
        endpoint.invite(now, sips).unwrap();
    });
    assert_eq!(ladder.expect("INVITE sips:").header("Contact"), "<sips:192.0.2.1:5061>");
}

#[test]
fn without_a_listener_the_contact_is_where_udp_is_heard() {
    let mut ladder = Ladder::new();
    let us = address("192.0.2.1:5060");
    ladder.endpoint.add_dialling(LOCAL_TCP, Transport::Tcp, us, Advertised::Fixed(us));
    let invite = call(&mut ladder, 1, Transport::Tcp, None);
    assert!(invite.header("Via").starts_with("SIP/2.0/TCP 192.0.2.1:5060;"), "{invite:?}");
    assert_eq!(invite.header("Contact"), "<sip:192.0.2.1:5060>");
}

#[test]
fn of_two_sockets_the_one_on_the_route_is_taken() {
    let mut ladder = Ladder::new();
    let other = address("198.51.100.1:5060");
    ladder.endpoint.add_local(LocalId(7), Transport::Udp, other, Advertised::Fixed(other));
    ladder.endpoint.set_routing(Box::new(move |_| other.ip()));
    let invite = call(&mut ladder, 1, Transport::Udp, None);
    assert!(invite.header("Via").starts_with("SIP/2.0/UDP 198.51.100.1:5060;"), "{invite:?}");
}

#[test]
fn one_connection_carries_all_calls_to_an_address_and_name() {
    let mut ladder = Ladder::with_connections();
    let first = call(&mut ladder, 1, Transport::Tls, Some("a.example"));
    let a = ladder.dialled().connection;
    call(&mut ladder, 2, Transport::Tls, Some("a.example"));
    assert_eq!((ladder.dials.len(), ladder.over), (0, Some(a)));
    // It has proved one name: for another there is another.
    call(&mut ladder, 3, Transport::Tls, Some("b.example"));
    let b = ladder.dialled().connection;
    assert_eq!(ladder.over, Some(b));
    assert_ne!(a, b);
    // Without a name it is the address that is to be proved.
    call(&mut ladder, 4, Transport::Tls, None);
    assert_eq!(ladder.dialled().name.as_deref(), Some("192.0.2.9"));

    ladder.connect(a);
    ladder.send_over(a, &first.reply("200 OK", "far", OFFER));
    let ack = ladder.expect("ACK");
    assert!(ack.header("Via").starts_with("SIP/2.0/TLS "));
    assert_eq!((ladder.over, ladder.dials.len()), (Some(a), 0));
}

#[test]
fn nothing_is_repeated_on_a_connection() {
    let mut ladder = Ladder::with_connections();
    call_on(&mut ladder);
    ladder.after(3_900);
    ladder.expect_nothing();
    ladder.after(200);
    ladder.tells(&["no answer"]);
}

#[test]
fn a_connection_that_cannot_be_opened_is_told_at_once() {
    let mut ladder = Ladder::with_connections();
    call(&mut ladder, 1, Transport::Tcp, None);
    let dial = ladder.dialled();
    ladder.disconnect(dial.connection);
    ladder.tells(&["not delivered", "closed"]);
    assert!(ladder.dials.is_empty(), "not tried again");
    ladder.ends_with_nothing_left();
}

#[test]
fn an_invite_whose_new_connection_is_lost_before_any_answer_fails_at_once() {
    let mut ladder = Ladder::with_connections();
    let (_, connection) = call_on(&mut ladder);
    ladder.disconnect(connection);
    ladder.tells(&["not delivered", "closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_request_on_a_connection_that_had_stood_is_sent_once_more() {
    let mut ladder = Ladder::with_connections();
    let (first, connection) = call_on(&mut ladder);
    ladder.send_over(connection, &first.reply("180 Ringing", "far", ""));
    let second = call(&mut ladder, 2, Transport::Tcp, None);
    assert_eq!(ladder.over, Some(connection));
    ladder.tells(&["180"]);
    // The far end had closed it as the INVITE was written.
    ladder.disconnect(connection);
    let again = ladder.expect("INVITE");
    assert_eq!(again.0, second.0, "the same transaction");
    let new = ladder.dialled().connection;
    assert_eq!(ladder.over, Some(new));
    ladder.tells(&[]);
    ladder.connect(new);
    ladder.disconnect(new);
    ladder.tells(&["not delivered", "closed"]);
    assert!(ladder.dials.is_empty(), "once");
}

#[test]
fn a_call_that_rings_is_answered_over_another_connection() {
    let mut ladder = Ladder::with_connections();
    let (invite, connection) = call_on(&mut ladder);
    ladder.send_over(connection, &invite.reply("180 Ringing", "far", ""));
    ladder.disconnect(connection);
    ladder.tells(&["180"]);
    let came = ladder.endpoint.handle_accepted(LOCAL_TCP, address("192.0.2.9:40000"));
    ladder.send_over(came, &invite.reply("200 OK", "far", OFFER));
    ladder.tells(&["answered with a body"]);
    ladder.expect("ACK");
    assert_eq!(ladder.dialled().remote, address(CARRIER), "where its Contact is");
    // Its BYE may come as it likes, too.
    ladder.send_over(came, &invite.far_request("BYE", 1, "far", "", ""));
    ladder.expect_to("192.0.2.9:40000", "200");
    assert_eq!(ladder.over, Some(came));
    ladder.tells(&["ended by far end", "closed"]);
}

fn came_in(ladder: &mut Ladder, contact: &str) -> (ConnectionId, String) {
    let connection = ladder.endpoint.handle_accepted(LOCAL_TCP, address("192.0.2.9:40000"));
    let invite = format!(
        "INVITE sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9:5070;branch=z9hG4bKx\r\n\
         From: <sip:a@192.0.2.9>;tag=far\r\nTo: <sip:100@192.0.2.1>\r\nCall-ID: in-1\r\n\
         CSeq: 1 INVITE\r\nContact: <{contact}>\r\nContent-Length: 0\r\n\r\n"
    );
    ladder.send_over(connection, &invite);
    (connection, invite)
}

fn take(ladder: &mut Ladder) {
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| {
        endpoint.accept(now, leg, kaphila_sip::invite::Body::sdp(OFFER));
    });
}

#[test]
fn answers_go_over_the_connection_that_asked_or_to_where_its_via_listens() {
    let mut ladder = Ladder::with_connections();
    let (connection, _) = came_in(&mut ladder, "sip:a@192.0.2.9:5070;transport=tcp");
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.ring(now, leg, None));
    let ringing = ladder.expect_to("192.0.2.9:40000", "180");
    assert_eq!(ladder.over, Some(connection));
    assert_eq!(ringing.header("Contact"), "<sip:192.0.2.1:5062;transport=tcp>");
    ladder.disconnect(connection);
    take(&mut ladder);
    // §18.2.2: the source's address, the port of the Via.
    ladder.expect_to("192.0.2.9:5070", "200");
    let dial = ladder.dialled();
    assert_eq!((dial.remote, ladder.over), (address("192.0.2.9:5070"), Some(dial.connection)));
}

#[test]
fn our_requests_go_back_over_it_while_it_lives_else_to_the_contact() {
    for is_lost in [false, true] {
        let mut ladder = Ladder::with_connections();
        let (connection, invite) = came_in(&mut ladder, "sip:a@192.0.2.9:5071;transport=tcp");
        take(&mut ladder);
        let ok = ladder.expect_to("192.0.2.9:40000", "200");
        let ack = invite
            .replace("INVITE", "ACK")
            .replace("z9hG4bKx", "z9hG4bKy")
            .replace("To: <sip:100@192.0.2.1>", &format!("To: {}", ok.header("To")));
        ladder.send_over(connection, &ack);
        ladder.tells(&["offer answered", "confirmed"]);
        if is_lost {
            ladder.disconnect(connection);
        }
        let leg = ladder.legs[0];
        ladder.hang_up(leg);
        let remote = if is_lost { "192.0.2.9:5071" } else { "192.0.2.9:40000" };
        ladder.expect_to(remote, "BYE sip:a@192.0.2.9:5071;transport=tcp");
        assert_eq!(ladder.over == Some(connection), !is_lost);
    }
}

#[test]
fn a_next_hop_is_reached_over_what_it_asks_for() {
    // Contact, then where the ACK goes; the call is over TCP to 192.0.2.9:5060.
    for (contact, to, via) in [
        ("sip:b@192.0.2.9:5060;transport=tcp", CARRIER, "TCP"),
        // Left out: the connection that the far end was reached by.
        ("sip:b@192.0.2.9:49152", CARRIER, "TCP"),
        ("sip:b@192.0.2.10:5080;transport=tcp", "192.0.2.10:5080", "TCP"),
        ("sip:b@192.0.2.10;transport=udp", "192.0.2.10:5060", "UDP"),
        ("sip:b@192.0.2.10;transport=tls", "192.0.2.10:5061", "TLS"),
        ("sips:b@192.0.2.10", "192.0.2.10:5061", "TLS"),
        ("sip:b@192.0.2.10;transport=sctp", CARRIER, "TCP"),
        ("sip:b@host.example;transport=udp", CARRIER, "TCP"),
        ("sip:b@10.0.0.9:5060;transport=udp", CARRIER, "TCP"),
    ] {
        let mut ladder = Ladder::with_connections();
        let (invite, connection) = call_on(&mut ladder);
        let answer =
            invite.reply_with("200 OK", "far", &format!("Contact: <{contact}>\r\n"), OFFER);
        ladder.send_over(connection, &answer);
        let ack = ladder.expect_to(to, "ACK");
        assert!(ack.header("Via").starts_with(&format!("SIP/2.0/{via} ")), "{contact}: {ack:?}");
    }
}

#[test]
fn a_call_over_tls_stays_on_tls() {
    for (contact, to) in [
        ("sip:b@192.0.2.9:5060;transport=udp", "192.0.2.9:5060"),
        ("sip:b@192.0.2.10:5060;transport=tcp", "192.0.2.9:5060"),
        ("sip:b@192.0.2.10:5063;transport=tls", "192.0.2.10:5063"),
        ("sip:b@192.0.2.10", "192.0.2.10:5061"),
    ] {
        let mut ladder = Ladder::with_connections();
        let invite = call(&mut ladder, 1, Transport::Tls, Some("carrier.example"));
        let connection = ladder.dialled().connection;
        ladder.connect(connection);
        let answer =
            invite.reply_with("200 OK", "far", &format!("Contact: <{contact}>\r\n"), OFFER);
        ladder.send_over(connection, &answer);
        let ack = ladder.expect_to(to, "ACK");
        assert!(ack.header("Via").starts_with("SIP/2.0/TLS "), "{contact}: {ack:?}");
        // Whoever answers there has to prove that it is the carrier.
        assert!(ladder.dials.iter().all(|dial| dial.name.as_deref() == Some("carrier.example")));
    }
}

#[test]
fn a_stranger_gets_one_answer_and_its_connection_is_closed() {
    let mut ladder = Ladder::with_connections();
    let connection = ladder.endpoint.handle_accepted(LOCAL_TCP, address(STRANGER));
    let padding = "X-Padding: 0123456789012345678901234567890123456789012345678901234567890\r\n";
    let invite = crate::ladder::far_invite_with(padding, "").replace("/UDP", "/TCP");
    ladder.send_over(connection, &invite);
    ladder.expect_to(STRANGER, "403");
    assert!(ladder.is_last);
    ladder.disconnect(connection);
    // And once it is gone, it is not called back.
    ladder.send_over(connection, &invite);
    ladder.expect_nothing();
    assert!(ladder.dials.is_empty());
    ladder.ends_with_nothing_left();
}

#[test]
fn what_is_to_be_secure_must_have_come_over_tls() {
    for (local, status) in [(LOCAL_TCP, "416"), (LOCAL_TLS, "200")] {
        let mut ladder = Ladder::with_connections();
        let connection = ladder.endpoint.handle_accepted(local, address("192.0.2.9:40000"));
        ladder.send_over(
            connection,
            "OPTIONS sips:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.9;branch=z9hG4bKx\r\n\
             From: <sip:a@192.0.2.9>;tag=far\r\nTo: <sip:100@192.0.2.1>\r\nCall-ID: in-1\r\n\
             CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
        );
        ladder.expect_to("192.0.2.9:40000", status);
    }
}

#[test]
fn connections_of_calls_are_in_use() {
    let mut ladder = Ladder::with_connections();
    let (invite, connection) = call_on(&mut ladder);
    let (came, _) = came_in(&mut ladder, "sip:a@192.0.2.9:5070;transport=tcp");
    let idle = ladder.endpoint.handle_accepted(LOCAL_TCP, address("192.0.2.9:40001"));
    ladder.send_over(connection, &invite.reply("200 OK", "far", OFFER));
    let used = ladder.endpoint.connections_in_use();
    assert!(used.contains(&connection) && used.contains(&came) && !used.contains(&idle));
}

#[test]
fn options_over_tls_name_the_host() {
    let mut ladder = Ladder::with_connections();
    ladder.command(|endpoint, now| {
        let spec = OptionsSpec {
            credentials: None,
            uri: uri("sips:carrier.example"),
            from: NameAddr::from(uri("sip:k@192.0.2.1")),
            remote: address("192.0.2.9:5061"),
            transport: Transport::Tls,
            tls_name: Some("carrier.example".to_owned()),
            timeout: std::time::Duration::from_secs(4),
        };
        endpoint.options(now, spec).unwrap();
    });
    ladder.expect_to("192.0.2.9:5061", "OPTIONS sips:carrier.example SIP/2.0");
    let dial = ladder.dialled();
    assert_eq!(dial.name.as_deref(), Some("carrier.example"));
    ladder.disconnect(dial.connection);
    assert!(ladder.options[0].1.is_err());
    ladder.ends_with_nothing_left();
}
