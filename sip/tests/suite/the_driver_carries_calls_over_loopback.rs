//! The tokio driver: two stacks, or one and a far end written by hand, over real UDP sockets.

use std::net::SocketAddr;
use std::time::Duration;

use kaphila_sip::endpoint::{EndpointConfig, Network, OptionsSpec};
use kaphila_sip::invite::{Body, Ended, Failure, Identity, InviteSpec, LegEvent};
use kaphila_sip::message::{NameAddr, Transport, Uri};
use kaphila_sip::net::{Incoming, Sip, SipConfig};
use kaphila_sip::timer::TimerConfig;
use rand::SeedableRng;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

fn config(address: &str) -> SipConfig {
    SipConfig {
        endpoint: EndpointConfig { seed: 1, ..EndpointConfig::default() },
        udp: vec![address.parse().unwrap()],
        tcp: Vec::new(),
        dscp: 24,
        trusted: vec![Network::ANY_V4, Network::ANY_V6],
        ..SipConfig::default()
    }
}

fn spec(number: u64, from: SocketAddr, to: SocketAddr) -> InviteSpec {
    let mut rng = rand::rngs::StdRng::seed_from_u64(number);
    InviteSpec {
        identity: Identity::generate(&mut rng),
        request_uri: Uri::at(Some("00123"), to),
        from: NameAddr::from(Uri::at(Some("1000"), from)),
        to: NameAddr::from(Uri::at(Some("00123"), to)),
        remote: to,
        transport: Transport::Udp,
        tls_name: None,
        large_over_tcp: false,
        headers: Vec::new(),
        body: Some(Body::sdp("v=0\r\n")),
        no_answer_timeout: Duration::from_secs(4),
        peers: Vec::new(),
        credentials: None,
    }
}

/// The next event that is no ladder row.
async fn next(events: &mut mpsc::Receiver<LegEvent>) -> LegEvent {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv()).await;
        match event.expect("an event in time").expect("the leg lives") {
            LegEvent::Ladder(_) => {}
            event => return event,
        }
    }
}

async fn call_over(address: &str) {
    let (caller, _) = Sip::start(config(address)).unwrap();
    let (callee, mut incoming) = Sip::start(config(address)).unwrap();
    let (from, to) = (caller.local_addrs()[0], callee.local_addrs()[0]);
    let (sender, mut events) = mpsc::channel(64);
    let leg = caller.invite(spec(1, from, to), sender).await.unwrap();

    let Incoming { leg: there, call, events: mut far_events } = incoming.recv().await.unwrap();
    assert_eq!(call.source(), from.ip());
    callee.ring(there, None).await.unwrap();
    assert!(matches!(next(&mut events).await, LegEvent::Provisional { status: 180, .. }));
    callee.accept(there, Body::sdp("v=0\r\n")).await.unwrap();
    assert!(matches!(next(&mut events).await, LegEvent::Answered { .. }));
    assert!(matches!(next(&mut far_events).await, LegEvent::Confirmed));
    caller.hang_up(leg, None).await.unwrap();
    assert!(matches!(next(&mut far_events).await, LegEvent::Ended(Ended::Far { q850: None })));
    assert!(matches!(next(&mut far_events).await, LegEvent::Closed));
    assert!(matches!(next(&mut events).await, LegEvent::Closed));
    assert!(events.recv().await.is_none(), "closed is the last");
    caller.shutdown().await;
    callee.shutdown().await;
    assert!(caller.hang_up(leg, None).await.is_err(), "gone");
    UdpSocket::bind(from).await.expect("its port is free again");
}

#[tokio::test]
async fn a_whole_call_over_ipv4() {
    call_over("127.0.0.1:0").await;
}

#[tokio::test]
async fn a_whole_call_over_ipv6() {
    if UdpSocket::bind("[::1]:0").await.is_err() {
        return eprintln!("no IPv6 here");
    }
    call_over("[::1]:0").await;
}

#[tokio::test]
async fn a_socket_on_every_address_names_that_of_the_route() {
    let (sip, _) = Sip::start(config("0.0.0.0:0")).unwrap();
    let port = sip.local_addrs()[0].port();
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = carrier.local_addr().unwrap();
    let (sender, _events) = mpsc::channel(64);
    let from = SocketAddr::new([127, 0, 0, 1].into(), port);
    sip.invite(spec(2, from, to), sender).await.unwrap();
    let mut buffer = [0; 2_000];
    let (length, source) = carrier.recv_from(&mut buffer).await.unwrap();
    let invite = str::from_utf8(&buffer[..length]).unwrap();
    assert!(invite.contains(&format!("Via: SIP/2.0/UDP 127.0.0.1:{port};")), "{invite}");
    assert!(invite.contains(&format!("Contact: <sip:127.0.0.1:{port}>")), "{invite}");
    assert_eq!(source, from);
    sip.shutdown().await;
}

#[tokio::test]
async fn an_owner_that_goes_away_loses_the_leg() {
    let (sip, _) = Sip::start(config("127.0.0.1:0")).unwrap();
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = carrier.local_addr().unwrap();
    let (sender, events) = mpsc::channel(64);
    sip.invite(spec(3, sip.local_addrs()[0], to), sender).await.unwrap();
    let mut buffer = [0; 2_000];
    let (length, source) = carrier.recv_from(&mut buffer).await.unwrap();
    drop(events);
    let invite = crate::ladder::Message(str::from_utf8(&buffer[..length]).unwrap().to_owned());
    carrier.send_to(invite.reply("180 Ringing", "x", "").as_bytes(), source).await.unwrap();
    let (length, _) = carrier.recv_from(&mut buffer).await.unwrap();
    assert!(buffer[..length].starts_with(b"CANCEL "));
    sip.shutdown().await;
}

#[tokio::test]
async fn an_owner_that_does_not_read_keeps_its_events() {
    let (sip, _) = Sip::start(config("127.0.0.1:0")).unwrap();
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = carrier.local_addr().unwrap();
    let (sender, mut events) = mpsc::channel(1);
    sip.invite(spec(4, sip.local_addrs()[0], to), sender).await.unwrap();
    let mut buffer = [0; 2_000];
    let (length, source) = carrier.recv_from(&mut buffer).await.unwrap();
    let invite = crate::ladder::Message(str::from_utf8(&buffer[..length]).unwrap().to_owned());
    for status in ["180 Ringing", "183 Session Progress", "182 Queued", "486 Busy Here"] {
        carrier.send_to(invite.reply(status, "x", "").as_bytes(), source).await.unwrap();
    }
    carrier.recv_from(&mut buffer).await.unwrap(); // the ACK: all were handled
    for expected in [180, 183, 182] {
        let event = next(&mut events).await;
        assert!(matches!(event, LegEvent::Provisional { status, .. } if status == expected));
    }
    assert!(matches!(next(&mut events).await, LegEvent::Refused { status: 486, .. }));
    assert!(matches!(next(&mut events).await, LegEvent::Closed));
    sip.shutdown().await;
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_by_icmp_at_once() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(closed) = UdpSocket::bind(address).await else { continue };
        let to = closed.local_addr().unwrap();
        drop(closed);
        let (sip, _) = Sip::start(config(address)).unwrap();
        let (sender, mut events) = mpsc::channel(64);
        sip.invite(spec(5, sip.local_addrs()[0], to), sender).await.unwrap();
        let LegEvent::NoAnswer(Failure::Transport(reason)) = next(&mut events).await else {
            panic!("not told")
        };
        assert!(reason.to_lowercase().contains("refused"), "{reason}");
        assert!(matches!(next(&mut events).await, LegEvent::Closed));

        // The error is of that trunk alone: the next one's INVITE still goes out.
        let carrier = UdpSocket::bind(address).await.unwrap();
        let to = carrier.local_addr().unwrap();
        let (sender, _events) = mpsc::channel(64);
        sip.invite(spec(6, sip.local_addrs()[0], to), sender).await.unwrap();
        let mut buffer = [0; 2_000];
        let (length, _) = carrier.recv_from(&mut buffer).await.unwrap();
        assert!(buffer[..length].starts_with(b"INVITE "));
        sip.shutdown().await;
    }
}

#[tokio::test]
async fn options_get_an_answer_or_an_end() {
    let (asker, _) = Sip::start(config("127.0.0.1:0")).unwrap();
    let mut other = config("127.0.0.1:0");
    other.endpoint.timers = TimerConfig::default();
    let (asked, _) = Sip::start(other).unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let spec = |remote: SocketAddr| OptionsSpec {
        uri: Uri::at(None, remote),
        from: NameAddr::from(Uri::at(Some("k"), asker.local_addrs()[0])),
        remote,
        transport: Transport::Udp,
        tls_name: None,
        timeout: Duration::from_millis(200),
        credentials: None,
    };
    assert_eq!(asker.options(spec(asked.local_addrs()[0])).await.unwrap(), Ok(200));
    let silence = asker.options(spec(silent.local_addr().unwrap())).await.unwrap();
    assert_eq!(silence, Err(Failure::Timeout));
    let (counters, stats) = asked.counters().await.unwrap();
    assert_eq!((counters.stateless_replies, stats.legs), (1, 0));
}

#[tokio::test]
async fn an_address_in_use_is_told_by_name() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = Sip::start(config(&address.to_string())).unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
