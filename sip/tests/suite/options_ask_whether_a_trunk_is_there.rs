//! OPTIONS of ours (RFC 3261 §11.1): any answer counts, silence ends at the time that was given.

use std::time::Duration;

use crate::ladder::{CARRIER, Ladder, Message, address, uri};
use kaphila_sip::endpoint::{InviteError, OptionsSpec};
use kaphila_sip::invite::Failure;
use kaphila_sip::message::{NameAddr, Transport};

fn spec() -> OptionsSpec {
    OptionsSpec {
        uri: uri("sip:192.0.2.9"),
        from: NameAddr::from(uri("sip:kaphila@192.0.2.1")),
        remote: address(CARRIER),
        transport: Transport::Udp,
        tls_name: None,
        timeout: Duration::from_secs(4),
        credentials: None,
    }
}

fn asked() -> (Ladder, Message) {
    let mut ladder = Ladder::new();
    ladder.command(|endpoint, now| {
        endpoint.options(now, spec()).unwrap();
    });
    let options = ladder.expect("OPTIONS sip:192.0.2.9 SIP/2.0");
    (ladder, options)
}

#[test]
fn an_answer_of_any_kind_is_told() {
    for (status, code) in [("200 OK", 200), ("404 Not Found", 404), ("503 Unavailable", 503)] {
        let (mut ladder, options) = asked();
        ladder.send(&options.reply(status, "x", ""));
        assert_eq!(ladder.options.len(), 1);
        assert_eq!(ladder.options[0].1, Ok(code));
        ladder.ends_with_nothing_left();
    }
}

#[test]
fn silence_and_an_undeliverable_one_are_told() {
    let (mut ladder, _) = asked();
    ladder.after(3_999);
    assert!(ladder.options.is_empty());
    ladder.after(1);
    assert_eq!(ladder.options[0].1, Err(Failure::Timeout));
    assert_eq!(ladder.lose(), 3, "repeated at 0.5, 1.5 and 3.5 s, then no more");
    ladder.after(30_000);
    ladder.expect_nothing();

    let (mut ladder, _) = asked();
    ladder.command(|endpoint, now| {
        endpoint.handle_transport_error(now, address(CARRIER), "connection refused");
    });
    assert!(matches!(ladder.options[0].1, Err(Failure::Transport(_))));
    ladder.ends_with_nothing_left();
}

#[test]
fn what_cannot_be_sent_is_refused_by_name() {
    let mut ladder = Ladder::new();
    let tcp = OptionsSpec { transport: Transport::Tcp, ..spec() };
    let refused = ladder.endpoint.options(ladder.now, tcp);
    assert!(matches!(refused, Err(InviteError::NoLocal { .. })));
    let v6 = OptionsSpec { remote: address("[2001:db8::9]:5060"), ..spec() };
    let refused = ladder.endpoint.options(ladder.now, v6);
    assert!(matches!(refused, Err(InviteError::NoLocal { .. })));
}
