//! Digest (RFC 3261 §22, RFC 8760): who is answered, how often, and with what.

use kaphila_sip::auth::{Authenticator, Credentials, Refusal, Tries};
use kaphila_sip::message::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use std::net::IpAddr;

const TRUNK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));

fn authenticator() -> Authenticator {
    Authenticator::new(Credentials {
        username: "acme".into(),
        password: "secret".into(),
        realm: None,
        destinations: vec![TRUNK.into()],
    })
}

/// A 401 or 407 to a request that was not challenged yet.
fn answer(
    authenticator: &mut Authenticator,
    response: &Response,
    from: IpAddr,
    request: &mut Request,
    cnonce: &str,
) -> Result<(), Refusal> {
    authenticator.answer(response, from, request, &mut Tries::default(), cnonce)
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
    authenticator.authorize(&mut request, TRUNK, "c0");
    assert!(request.headers.is_empty(), "nothing before anybody asked");
    let challenge =
        "Digest realm=\"carrier, \\\"inc\\\"\", nonce=\"n1\", qop=\"auth\", opaque=\"o\"";
    answer(&mut authenticator, &asked(401, &[challenge]), TRUNK, &mut request, "c1").unwrap();
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
    authenticator.authorize(&mut bye, TRUNK, "c2");
    assert!(sent(&bye).contains("nc=00000002, cnonce=\"c2\""), "{}", sent(&bye));
    // To nobody else.
    let mut elsewhere = Request::new(Method::Bye, invite().uri);
    authenticator.authorize(&mut elsewhere, IpAddr::from([198, 51, 100, 1]), "c3");
    assert!(elsewhere.headers.is_empty());
}

/// RFC 7616 §3.5, RFC 7615: with the nonce for the next request the count begins anew.
#[test]
fn the_next_nonce_is_taken_from_the_trunk_alone() {
    let (mut authenticator, mut request) = (authenticator(), invite());
    let challenge = asked(407, &["Digest realm=\"r\", nonce=\"n1\", qop=\"auth\""]);
    answer(&mut authenticator, &challenge, TRUNK, &mut request, "c").unwrap();
    let mut ok = Response::new(200);
    let info = HeaderValue::try_from("nextnonce=\"n2\", qop=auth, nc=00000001").unwrap();
    ok.headers.push(HeaderName::parse("proxy-authentication-info").unwrap(), info);
    let proof = |authenticator: &mut Authenticator| {
        let mut bye = Request::new(Method::Bye, invite().uri);
        authenticator.authorize(&mut bye, TRUNK, "c");
        bye.headers.get(&HeaderName::PROXY_AUTHORIZATION).unwrap().to_owned()
    };
    authenticator.learn(&ok, IpAddr::from([198, 51, 100, 1]));
    assert!(proof(&mut authenticator).contains("nonce=\"n1\""));
    authenticator.learn(&ok, TRUNK);
    let next = proof(&mut authenticator);
    assert!(next.contains("nonce=\"n2\"") && next.contains("nc=00000001"), "{next}");
}

/// RFC 7616 §3.4.2: the session's key is made of the first answer's nonces.
#[test]
fn a_session_keeps_its_cnonce() {
    let (mut authenticator, mut request) = (authenticator(), invite());
    let challenge = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256-sess";
    answer(&mut authenticator, &asked(401, &[challenge]), TRUNK, &mut request, "c1").unwrap();
    let mut bye = Request::new(Method::Bye, invite().uri);
    authenticator.authorize(&mut bye, TRUNK, "c2");
    assert!(sent(&bye).contains("nc=00000002, cnonce=\"c1\""), "{}", sent(&bye));
}

/// A proxy asks, then the user agent behind it; or the proxy has gathered both (§22.3).
#[test]
fn a_proxy_and_the_user_agent_behind_it_are_both_answered() {
    let proxy = asked(407, &["Digest realm=\"proxy\", nonce=\"p\""]);
    let agent = asked(401, &["Digest realm=\"agent\", nonce=\"a\""]);
    let is_proved = |request: &Request| {
        sent(request).contains("realm=\"agent\"")
            && (request.headers.get(&HeaderName::PROXY_AUTHORIZATION))
                .is_some_and(|value| value.contains("realm=\"proxy\""))
    };
    let (mut authenticator, mut request) = (authenticator(), invite());
    let mut tries = Tries::default();
    for challenge in [&proxy, &agent] {
        authenticator.answer(challenge, TRUNK, &mut request, &mut tries, "c").unwrap();
    }
    assert!(is_proved(&request));
    let again = authenticator.answer(&proxy, TRUNK, &mut request, &mut tries, "c");
    assert_eq!(again, Err(Refusal::Refused));
    let mut both = agent.clone();
    for (name, value) in proxy.headers.iter() {
        both.headers.push(name.clone(), value.clone());
    }
    let mut request = invite();
    answer(&mut self::authenticator(), &both, TRUNK, &mut request, "c").unwrap();
    assert!(is_proved(&request));
}

#[test]
fn a_proxy_gets_its_own_header() {
    let mut request = invite();
    let challenge = asked(407, &["Digest realm=\"r\",nonce=\"n\""]);
    answer(&mut authenticator(), &challenge, TRUNK, &mut request, "c").unwrap();
    let value = request.headers.get(&HeaderName::PROXY_AUTHORIZATION).unwrap();
    assert!(!value.contains("qop") && !value.contains("cnonce") && !value.contains("algorithm"));
}

#[test]
fn a_stranger_or_another_realm_gets_nothing() {
    let mut authenticator = authenticator();
    let challenge = asked(401, &["Digest realm=\"r\", nonce=\"n\""]);
    let stranger = IpAddr::from([198, 51, 100, 1]);
    let mut request = invite();
    let refused = answer(&mut authenticator, &challenge, stranger, &mut request, "c");
    assert_eq!(refused, Err(Refusal::Stranger(stranger)));
    assert_eq!(request, invite());
    let mapped = "::ffff:192.0.2.10".parse().unwrap();
    assert_eq!(answer(&mut authenticator, &challenge, mapped, &mut request, "c"), Ok(()));
    // The first realm that the trunk names to a request is the only one,
    let mut tries = Tries::default();
    let stale = asked(401, &["Digest realm=\"R\", nonce=\"n\", stale=true"]);
    assert_eq!(authenticator.answer(&challenge, TRUNK, &mut request, &mut tries, "c"), Ok(()));
    let before = request.clone();
    let other = authenticator.answer(&stale, TRUNK, &mut request, &mut tries, "c");
    assert_eq!(other, Err(Refusal::Realm));
    assert_eq!(request, before);
    // and the operator's is, where there is one.
    let mut strict = Authenticator::new(Credentials {
        username: "acme".into(),
        password: "secret".into(),
        realm: Some("r".into()),
        destinations: vec![TRUNK.into()],
    });
    let mut request = invite();
    let other = asked(401, &["Digest realm=\"R\", nonce=\"n\""]);
    assert_eq!(answer(&mut strict, &other, TRUNK, &mut request, "c"), Err(Refusal::Realm));
    assert_eq!(request, invite());
    assert_eq!(answer(&mut strict, &challenge, TRUNK, &mut request, "c"), Ok(()));
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
            destinations: vec![TRUNK.into()],
        });
        let mut request = invite();
        answer(&mut authenticator, &asked(401, challenges), TRUNK, &mut request, "c")?;
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
    let (mut once, mut tries) = (authenticator(), Tries::default());
    let mut ask = |response, request: &mut Request, tries: &mut Tries| {
        once.answer(response, TRUNK, request, tries, "c")
    };
    assert_eq!(ask(&plain, &mut request, &mut tries), Ok(()));
    assert_eq!(ask(&plain, &mut request, &mut tries), Err(Refusal::Refused));
    // A stale nonce may be renewed once.
    let (mut twice, mut tries) = (authenticator(), Tries::default());
    let mut ask = |response, request: &mut Request, tries: &mut Tries| {
        twice.answer(response, TRUNK, request, tries, "c")
    };
    assert_eq!(ask(&plain, &mut request, &mut tries), Ok(()));
    assert_eq!(ask(&stale, &mut request, &mut tries), Ok(()));
    assert!(sent(&request).contains("nonce=\"m\""));
    assert_eq!(ask(&stale, &mut request, &mut tries), Err(Refusal::Refused));
    // The next request starts anew: its nonce may have run out unnamed. One whose answer was
    // refused is sent without.
    let mut request = invite();
    twice.authorize(&mut request, TRUNK, "c");
    assert!(request.headers.is_empty());
    assert_eq!(answer(&mut twice, &plain, TRUNK, &mut request, "c"), Ok(()));
    assert_eq!(request.headers.len(), 1, "one answer, not one a try");
}

#[test]
fn the_password_is_never_printed() {
    assert!(!format!("{:?}", authenticator()).contains("secret"));
}
