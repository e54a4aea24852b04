//! Digest (RFC 3261 §22, RFC 8760): who is answered, how often, and with what.

use kaphila_sip::auth::{Authenticator, Credentials, Refusal};
use kaphila_sip::message::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use std::net::IpAddr;

const TRUNK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));

fn authenticator() -> Authenticator {
    Authenticator::new(Credentials {
        username: "acme".into(),
        password: "secret".into(),
        realm: None,
        destinations: vec![TRUNK],
    })
}

fn invite() -> Request {
    Request::new(Method::Invite, Uri::parse("sip:+12125551212@carrier.example.com").unwrap())
}

fn asked(status: u16, challenges: &[&str]) -> Response {
    let name = match status {
        407 => HeaderName::PROXY_AUTHENTICATE,
        _ => HeaderName::WWW_AUTHENTICATE,
    };
    let mut response = Response::new(status);
    for challenge in challenges {
        response.headers.push(name.clone(), HeaderValue::try_from(*challenge).unwrap());
    }
    response
}

fn sent(request: &Request) -> &str {
    request.headers.get(&HeaderName::AUTHORIZATION).unwrap_or_default()
}

#[test]
fn a_challenge_is_answered_with_all_it_asks_for() {
    let (mut authenticator, mut request) = (authenticator(), invite());
    authenticator.authorize(&mut request, "c0");
    assert!(request.headers.is_empty(), "nothing before anybody asked");
    let challenge =
        "Digest realm=\"carrier, \\\"inc\\\"\", nonce=\"n1\", qop=\"auth\", opaque=\"o\"";
    authenticator.answer(&asked(401, &[challenge]), TRUNK, &mut request, "c1").unwrap();
    // By another implementation of the formula of RFC 7616 §3.4.1.
    assert_eq!(
        sent(&request),
        "Digest username=\"acme\", realm=\"carrier, \\\"inc\\\"\", nonce=\"n1\", \
         uri=\"sip:+12125551212@carrier.example.com\", \
         response=\"e51318bd045741fa2b94baf8c6bbf87e\", opaque=\"o\", qop=auth, \
         nc=00000001, cnonce=\"c1\""
    );
    // The next request uses the nonce again, with the next count (§22.3).
    let mut bye = Request::new(Method::Bye, invite().uri);
    authenticator.authorize(&mut bye, "c2");
    assert!(sent(&bye).contains("nc=00000002, cnonce=\"c2\""), "{}", sent(&bye));
}

#[test]
fn a_proxy_gets_its_own_header() {
    let mut request = invite();
    let challenge = asked(407, &["Digest realm=\"r\",nonce=\"n\""]);
    authenticator().answer(&challenge, TRUNK, &mut request, "c").unwrap();
    let value = request.headers.get(&HeaderName::PROXY_AUTHORIZATION).unwrap();
    assert!(!value.contains("qop") && !value.contains("cnonce") && !value.contains("algorithm"));
}

#[test]
fn a_stranger_or_another_realm_gets_nothing() {
    let mut authenticator = authenticator();
    let challenge = asked(401, &["Digest realm=\"r\", nonce=\"n\""]);
    let stranger = IpAddr::from([198, 51, 100, 1]);
    let mut request = invite();
    let refused = authenticator.answer(&challenge, stranger, &mut request, "c");
    assert_eq!(refused, Err(Refusal::Stranger(stranger)));
    assert_eq!(request, invite());
    let mapped = "::ffff:192.0.2.10".parse().unwrap();
    assert_eq!(authenticator.answer(&challenge, mapped, &mut request, "c"), Ok(()));
    // The first realm of the trunk is the only one.
    let mut request = invite();
    authenticator.authorize(&mut request, "c");
    let before = request.clone();
    let other = asked(401, &["Digest realm=\"R\", nonce=\"n\""]);
    assert_eq!(authenticator.answer(&other, TRUNK, &mut request, "c"), Err(Refusal::Realm));
    assert_eq!(request, before);
}

#[test]
fn the_strongest_that_we_know_is_taken() {
    let md5 = "Digest realm=\"r\", nonce=\"1\", algorithm=MD5, qop=\"auth\"";
    let sha = "Digest realm=\"r\", nonce=\"2\", algorithm=SHA-256, qop=\"auth-int,auth\"";
    let unknown = "Digest realm=\"r\", nonce=\"3\", algorithm=SHA3-512";
    let basic = "Basic realm=\"r\"";
    let foreign = "Digest realm=\"x\", nonce=\"4\", algorithm=SHA-512-256";
    let taken = |challenges: &[&str]| {
        let mut authenticator = Authenticator::new(Credentials {
            username: "u".into(),
            password: "p".into(),
            realm: Some("r".into()),
            destinations: vec![TRUNK],
        });
        let mut request = invite();
        authenticator.answer(&asked(401, challenges), TRUNK, &mut request, "c")?;
        Ok(sent(&request).to_owned())
    };
    let answer = taken(&[unknown, md5, basic, foreign, sha]).unwrap();
    assert!(answer.contains("nonce=\"2\"") && answer.contains("algorithm=SHA-256, qop=auth,"));
    assert!(taken(&[md5, unknown]).unwrap().contains("algorithm=MD5"));
    assert_eq!(taken(&[unknown, basic]), Err(Refusal::Unknown));
    assert_eq!(taken(&[foreign]), Err(Refusal::Realm));
    assert_eq!(taken(&["Digest realm=\"r\", nonce=\"n\", qop=\"odd\""]), Err(Refusal::Unknown));
    assert_eq!(taken(&["Digest realm=\"r\""]), Err(Refusal::Unknown));
    assert_eq!(taken(&[]), Err(Refusal::Unknown));
}

#[test]
fn nobody_is_answered_for_ever() {
    let plain = asked(401, &["Digest realm=\"r\", nonce=\"n\""]);
    let stale = asked(401, &["Digest realm=\"r\", nonce=\"m\", stale=TRUE"]);
    let mut request = invite();
    // Our answer is not taken: the password is wrong.
    let mut once = authenticator();
    assert_eq!(once.answer(&plain, TRUNK, &mut request, "c"), Ok(()));
    assert_eq!(once.answer(&plain, TRUNK, &mut request, "c"), Err(Refusal::Refused));
    // A stale nonce may be renewed once.
    let mut twice = authenticator();
    assert_eq!(twice.answer(&plain, TRUNK, &mut request, "c"), Ok(()));
    assert_eq!(twice.answer(&stale, TRUNK, &mut request, "c"), Ok(()));
    assert!(sent(&request).contains("nonce=\"m\""));
    assert_eq!(twice.answer(&stale, TRUNK, &mut request, "c"), Err(Refusal::Refused));
    // The next request starts anew: its nonce may have run out unnamed.
    twice.authorize(&mut request, "c");
    assert_eq!(twice.answer(&plain, TRUNK, &mut request, "c"), Ok(()));
    assert_eq!(request.headers.len(), 1, "one answer, not one a try");
}

#[test]
fn the_password_is_never_printed() {
    assert!(!format!("{:?}", authenticator()).contains("secret"));
}
