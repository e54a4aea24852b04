//! Registration (RFC 3261 §10): granted, refreshed, refused, moved and taken back, on a virtual
//! clock.

use std::sync::Arc;

use kaphila_sip::auth::Credentials;
use kaphila_sip::endpoint::{Advertised, LocalId, RegistrationId};
use kaphila_sip::message::{NameAddr, Transport};
use kaphila_sip::register::RegisterSpec;

use crate::digest::{PASSWORD, check, parameter};
use crate::ladder::{CARRIER, Ladder, Message, STRANGER, address, uri};

const OTHER: &str = "192.0.2.10:5060";

/// The first REGISTERs of many trunks are spread over this long.
const SPREAD: u64 = 500;

fn spec() -> RegisterSpec {
    RegisterSpec {
        registrar: uri("sip:carrier.example"),
        aor: NameAddr::from(uri("sip:alice@carrier.example")),
        contact_user: "alice".to_owned(),
        remotes: vec![address(CARRIER), address(OTHER)],
        transport: Transport::Udp,
        tls_name: None,
        credentials: Some(Arc::new(Credentials {
            username: "alice".to_owned(),
            password: PASSWORD.to_owned(),
            realm: None,
            destinations: vec![address(CARRIER).ip().into(), address(OTHER).ip().into()],
        })),
        expires: 3_600,
    }
}

fn register(ladder: &mut Ladder) -> (RegistrationId, Message) {
    let mut id = None;
    ladder.command(|endpoint, now| id = Some(endpoint.register(now, spec())));
    ladder.after(SPREAD);
    (id.unwrap(), ladder.expect("REGISTER sip:carrier.example SIP/2.0"))
}

fn registered(granted: &str) -> (Ladder, RegistrationId, Message) {
    let mut ladder = Ladder::new();
    let (id, request) = register(&mut ladder);
    ladder.send(&request.reply_with("200 OK", "r", granted, ""));
    ladder.tells(&["registered"]);
    (ladder, id, request)
}

/// Lets time pass until something is sent; how long it took, in seconds.
fn until_sent(ladder: &mut Ladder) -> u64 {
    let start = ladder.now;
    while ladder.is_silent() {
        let at = ladder.endpoint.poll_timeout().expect("nothing will be sent");
        ladder.after(u64::try_from((at - ladder.now).as_millis()).unwrap() + 1);
    }
    (ladder.now - start).as_secs()
}

/// §10.2: what a REGISTER has.
#[test]
fn a_register_names_the_registrar_the_account_and_our_contact() {
    let mut ladder = Ladder::new();
    let (_, request) = register(&mut ladder);
    assert!(request.header("From").starts_with("<sip:alice@carrier.example>;tag="));
    assert_eq!(request.header("To"), "<sip:alice@carrier.example>");
    assert_eq!(request.all("Contact"), ["<sip:alice@192.0.2.1:5060>"]);
    assert_eq!(request.header("Expires"), "3600");
    assert!(request.header("Via").contains(";rport"));
    ladder.tells(&[]);
}

/// §10.2.4, §10.3: the expiry is that of our Contact among all, the header's, or the one asked for.
#[test]
fn it_is_refreshed_before_what_was_granted_ends() {
    let ours = "<sip:alice@192.0.2.1:5060>";
    let others = "<sip:alice@198.51.100.1:5060>;expires=10, <sip:bob@192.0.2.1:5060>;expires=20";
    for (granted, seconds) in [
        (format!("Contact: {others}, {ours};expires=600\r\nExpires: 100\r\n"), 600),
        (format!("Contact: {ours};q=0.5;expires=100;x=\"a,b\"\r\n"), 100),
        (format!("m: {ours}\r\nExpires: 1200\r\n"), 1_200),
        (format!("Contact: {ours}\r\n"), 3_600),
        (String::new(), 3_600),
        ("Contact: <sip:alice@10.0.0.1:1234>;expires=300\r\n".to_owned(), 300),
        (format!("Contact: {ours};expires=60\r\n"), 60),
    ] {
        let (mut ladder, _, request) = registered(&granted);
        let after = until_sent(&mut ladder);
        assert!(after < seconds - (seconds / 10).min(30).min(seconds / 2), "{granted}: {after}");
        assert!(after >= seconds * 9 / 20 - 1, "{granted}: {after} is too soon");
        let refresh = ladder.expect("REGISTER");
        assert_eq!(refresh.header("Call-ID"), request.header("Call-ID"));
        assert_eq!(refresh.cseq(), request.cseq() + 1);
        assert_eq!(refresh.all("Contact"), [ours]);
        ladder.tells(&[]);
    }
}

/// Trunks that were set up together do not come together.
#[test]
fn refreshes_are_spread() {
    let mut ladder = Ladder::new();
    let mut requests = Vec::new();
    for _ in 0..20 {
        ladder.command(|endpoint, now| {
            endpoint.register(now, spec());
        });
    }
    ladder.after(SPREAD);
    for _ in 0..20 {
        requests.push(ladder.expect("REGISTER"));
    }
    for request in &requests {
        ladder.send(&request.reply_with("200 OK", "r", "Expires: 3600\r\n", ""));
    }
    let mut times = Vec::new();
    let start = ladder.now;
    for _ in 0..20 {
        until_sent(&mut ladder);
        let request = ladder.expect("REGISTER");
        times.push((ladder.now - start).as_secs());
        ladder.send(&request.reply_with("200 OK", "r", "Expires: 3600\r\n", ""));
    }
    assert!(times[19] - times[0] > 120, "{times:?}");
}

#[test]
fn a_challenge_is_answered_and_its_nonce_used_again() {
    let mut ladder = Ladder::new();
    let (id, request) = register(&mut ladder);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    ladder.send(&request.reply_with("401 Unauthorized", "r", challenge, ""));
    let again = ladder.expect("REGISTER");
    check(&again, "Authorization");
    assert_eq!(again.cseq(), request.cseq() + 1);
    assert_eq!(again.header("Call-ID"), request.header("Call-ID"));
    ladder.send(&again.reply_with("200 OK", "r", "Expires: 60\r\n", ""));
    ladder.tells(&["registered"]);
    until_sent(&mut ladder);
    let refresh = ladder.expect("REGISTER");
    assert_eq!(refresh.cseq(), again.cseq() + 1);
    assert_eq!(parameter(&check(&refresh, "Authorization"), "nc"), "00000002");
    // A wrong password: it is said once, and not asked for every minute.
    ladder.send(&refresh.reply_with("401 Unauthorized", "r", challenge, ""));
    let again = ladder.expect("REGISTER");
    ladder.send(&again.reply_with("401 Unauthorized", "r", challenge, ""));
    ladder.tells(&["refused 401"]);
    assert!(until_sent(&mut ladder) >= 450);
    ladder.command(|endpoint, now| endpoint.unregister(now, id));
}

#[test]
fn a_strangers_challenge_is_not_answered() {
    let mut ladder = Ladder::new();
    let (_, request) = register(&mut ladder);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    ladder.send_from(STRANGER, &request.reply_with("401 Unauthorized", "r", challenge, ""));
    ladder.expect_nothing();
    ladder.tells(&["refused 401"]);
}

/// §10.2.8: 423 names the least that the registrar takes.
#[test]
fn an_interval_too_brief_is_raised_but_not_for_ever() {
    let mut ladder = Ladder::new();
    let (_, mut request) = register(&mut ladder);
    for least in ["4000", "5000"] {
        let min = format!("Min-Expires: {least}\r\n");
        ladder.send(&request.reply_with("423 Interval Too Brief", "r", &min, ""));
        request = ladder.expect("REGISTER");
        assert_eq!(request.header("Expires"), least);
    }
    ladder.send(&request.reply_with("423 Interval Too Brief", "r", "Min-Expires: 6000\r\n", ""));
    ladder.expect_nothing();
    ladder.tells(&["refused 423"]);

    for nonsense in ["", "Min-Expires: 60\r\n", "Min-Expires: 4000000000\r\n"] {
        let mut ladder = Ladder::new();
        let (_, request) = register(&mut ladder);
        ladder.send(&request.reply_with("423 Interval Too Brief", "r", nonsense, ""));
        ladder.expect_nothing();
        ladder.tells(&["refused 423"]);
    }
}

/// What is granted without a time is no registration.
#[test]
fn an_expiry_of_nothing_is_no_registration() {
    let mut ladder = Ladder::new();
    let (_, request) = register(&mut ladder);
    let nothing = "Contact: <sip:alice@192.0.2.1:5060>;expires=0\r\n";
    ladder.send(&request.reply_with("200 OK", "r", nothing, ""));
    let next = ladder.expect_to(OTHER, "REGISTER");
    ladder.send_from(OTHER, &next.reply_with("200 OK", "r", nothing, ""));
    ladder.tells(&["unreachable: an expiry of 0 was granted"]);
}

#[test]
fn a_dead_registrar_gives_way_to_its_next_address() {
    let mut ladder = Ladder::new();
    register(&mut ladder);
    ladder.after(8_000);
    ladder.lose();
    ladder.after(500);
    let next = ladder.expect_to(OTHER, "REGISTER");
    ladder.send_from(OTHER, &next.reply_with("200 OK", "r", "Expires: 600\r\n", ""));
    ladder.tells(&["registered"]);
    // There it stays.
    until_sent(&mut ladder);
    ladder.expect_to(OTHER, "REGISTER");

    for failure in ["503 Service Unavailable", "500 Server Error", "408 Request Timeout"] {
        let mut ladder = Ladder::new();
        let (_, request) = register(&mut ladder);
        ladder.send(&request.reply(failure, "r", ""));
        ladder.expect_to(OTHER, "REGISTER");
    }
    let mut ladder = Ladder::new();
    register(&mut ladder);
    ladder.command(|endpoint, now| {
        endpoint.handle_transport_error(now, address(CARRIER), "connection refused");
    });
    ladder.expect_to(OTHER, "REGISTER");
}

/// RFC 5626 §4.5: with pauses that double, to a bound; and it comes back by itself.
#[test]
fn an_outage_is_outlived_without_a_flood() {
    let mut ladder = Ladder::new();
    let (_, request) = register(&mut ladder);
    ladder.send(&request.reply("503 Service Unavailable", "r", ""));
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let other = ladder.expect_to(OTHER, "REGISTER");
        ladder.send_from(OTHER, &other.reply("503 Service Unavailable", "r", ""));
        pauses.push(until_sent(&mut ladder));
        let request = ladder.expect("REGISTER");
        ladder.send(&request.reply("503 Service Unavailable", "r", ""));
    }
    ladder.tells(&["unreachable: 503 Service Unavailable"]);
    assert!(pauses[0] <= 4 && (4..=16).contains(&pauses[2]), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= 300) && pauses[9] >= 150, "{pauses:?}");
    let other = ladder.expect_to(OTHER, "REGISTER");
    ladder.send_from(OTHER, &other.reply_with("200 OK", "r", "Expires: 600\r\n", ""));
    ladder.tells(&["registered"]);
}

#[test]
fn a_retry_after_is_kept_to() {
    let mut ladder = Ladder::new();
    let (_, request) = register(&mut ladder);
    ladder.send(&request.reply("503 Service Unavailable", "r", ""));
    let other = ladder.expect_to(OTHER, "REGISTER");
    let later = "Retry-After: 120\r\n";
    ladder.send_from(OTHER, &other.reply_with("503 Service Unavailable", "r", later, ""));
    assert_eq!(until_sent(&mut ladder), 120);
}

/// What was granted holds to its end, though refreshes fail; then it is told.
#[test]
fn a_failing_refresh_ends_the_registration_at_its_end() {
    let (mut ladder, ..) = registered("Expires: 600\r\n");
    let start = ladder.now;
    loop {
        until_sent(&mut ladder);
        ladder.lose();
        if (ladder.now - start).as_secs() >= 600 {
            break;
        }
        ladder.tells(&[]);
    }
    ladder.tells(&["unreachable: no answer within 8 s"]);
}

/// 403 and 404 last until somebody changes something: told once, and asked again now and then.
#[test]
fn a_lasting_refusal_is_told_once() {
    for status in [403, 404, 400, 603, 302] {
        let mut ladder = Ladder::new();
        let (_, mut request) = register(&mut ladder);
        for _ in 0..3 {
            ladder.send(&request.reply(&format!("{status} No"), "r", ""));
            ladder.expect_nothing();
            let pause = until_sent(&mut ladder);
            assert!((450..=600).contains(&pause), "{pause}");
            request = ladder.expect("REGISTER");
        }
        ladder.tells(&[&format!("refused {status}")]);
        ladder.send(&request.reply_with("200 OK", "r", "Expires: 600\r\n", ""));
        ladder.tells(&["registered"]);
    }
}

/// §10.2.2.
#[test]
fn unregistering_takes_the_contact_back_and_leaves_nothing() {
    let (mut ladder, id, request) = registered("Expires: 600\r\n");
    ladder.command(|endpoint, now| endpoint.unregister(now, id));
    let last = ladder.expect("REGISTER");
    assert_eq!((last.header("Expires"), last.cseq()), ("0".to_owned(), request.cseq() + 1));
    assert_eq!(last.all("Contact"), ["<sip:alice@192.0.2.1:5060>"]);
    ladder.send(&last.reply("200 OK", "r", ""));
    ladder.tells(&["ended"]);
    ladder.ends_with_nothing_left();

    // Nobody answers.
    let (mut ladder, id, _) = registered("Expires: 600\r\n");
    ladder.command(|endpoint, now| endpoint.unregister(now, id));
    ladder.after(4_000);
    ladder.tells(&["ended"]);
    ladder.lose();
    ladder.ends_with_nothing_left();

    // It never was registered.
    let mut ladder = Ladder::new();
    ladder.command(|endpoint, now| {
        let id = endpoint.register(now, spec());
        endpoint.unregister(now, id);
    });
    ladder.expect_nothing();
    ladder.tells(&["ended"]);
    ladder.ends_with_nothing_left();
}

/// An unregistering that is challenged is proved too.
#[test]
fn unregistering_answers_a_challenge() {
    let (mut ladder, id, _) = registered("Expires: 600\r\n");
    ladder.command(|endpoint, now| endpoint.unregister(now, id));
    let last = ladder.expect("REGISTER");
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    ladder.send(&last.reply_with("401 Unauthorized", "r", challenge, ""));
    let again = ladder.expect("REGISTER");
    check(&again, "Authorization");
    assert_eq!(again.header("Expires"), "0");
    ladder.send(&again.reply("200 OK", "r", ""));
    ladder.tells(&["ended"]);
    ladder.ends_with_nothing_left();
}

/// Our address, or the registrar's, has changed: registered anew at once, the old one taken back.
#[test]
fn a_new_address_replaces_the_old_one() {
    let (mut ladder, id, _) = registered("Expires: 600\r\n");
    let mut moved = Ladder::new();
    std::mem::swap(&mut moved, &mut ladder);
    // The same endpoint, whose socket advertises another address from now on.
    moved.endpoint.add_local(
        LocalId(0),
        Transport::Udp,
        address("192.0.2.1:5060"),
        Advertised::Fixed(address("192.0.2.77:5060")),
    );
    moved.command(|endpoint, now| {
        endpoint.readdress(now, id, vec![address(CARRIER)], spec().credentials);
    });
    let request = moved.expect("REGISTER");
    let contacts = ["<sip:alice@192.0.2.77:5060>", "<sip:alice@192.0.2.1:5060>;expires=0"];
    assert_eq!(request.all("Contact"), contacts);
    let granted = "Contact: <sip:alice@192.0.2.77:5060>;expires=600\r\n";
    moved.send(&request.reply_with("200 OK", "r", granted, ""));
    moved.tells(&[]);
    until_sent(&mut moved);
    assert_eq!(moved.expect("REGISTER").all("Contact"), ["<sip:alice@192.0.2.77:5060>"]);
}
