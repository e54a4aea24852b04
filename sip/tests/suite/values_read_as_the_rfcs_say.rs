//! Typed values: what is read, what is refused, what is printed.

use kaphila_sip::message::{
    CSeq, HeaderName, HeaderValue, Headers, Host, Message, Method, NameAddr, Params, Request,
    Response, Scheme, Transport, Uri, Via, escape_user, is_media_type, retry_after,
};
use kaphila_sip::reason;
use kaphila_sip::wire::{Input, parse_datagram};
use std::time::Duration;

fn headers(fields: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.push(HeaderName::parse(name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    headers
}

#[test]
fn telephone_uris() {
    let uri = Uri::parse("tel:+1-201-555-0123;phone-context=example.com").unwrap();
    assert_eq!(uri.scheme, Scheme::Tel);
    assert_eq!(uri.user.as_deref(), Some("+1-201-555-0123"));
    assert_eq!(uri.host, Host::None);
    assert_eq!(uri.params.value("Phone-Context"), Some("example.com"));
    assert_eq!(uri.to_string(), "tel:+1-201-555-0123;phone-context=example.com");
    let from = NameAddr::parse("\"x\" <tel:+12015550123;a=b>;tag=t").unwrap();
    assert_eq!(from.tag(), Some("t"));
    for bad in ["tel:", "tel:;a=b", "tel:bob", "tel:1 2"] {
        assert!(Uri::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn user_parts_are_escaped_and_never_break_out() {
    // §25.1: unreserved and user-unreserved stand; all else is escaped.
    assert_eq!(escape_user("+49(0)30*#"), "+49(0)30*%23");
    assert_eq!(escape_user("a@b:c>d\r\n e%"), "a%40b%3Ac%3Ed%0D%0A%20e%25");
    let host = Host::parse("carrier.example.com").unwrap();
    let uri = Uri::sip(Some("1@evil.example>\r\nX: y"), host, Some(5062));
    assert_eq!(uri.to_string(), "sip:1%40evil.example%3E%0D%0AX%3A%20y@carrier.example.com:5062");
    assert_eq!(uri.user_text().unwrap(), "1@evil.example>\r\nX: y");
    // A field set by hand is held in its place all the same.
    let raw = Uri { user: Some("1@evil>\r\n%zz%41".into()), ..uri };
    assert_eq!(raw.to_string(), "sip:1%40evil%3E%0D%0A%25zz%41@carrier.example.com:5062");
    let raw = Uri { host: Host::Name("a b\r\n".into()), ..raw };
    assert!(raw.to_string().ends_with("@a%20b%0D%0A:5062"));
}

#[test]
fn addresses_with_and_without_brackets() {
    // §20.10: without <>, parameters are the header's.
    let bare = NameAddr::parse("sip:a@h;tag=5").unwrap();
    assert_eq!((bare.tag(), bare.uri.params.is_empty()), (Some("5"), true));
    let bracketed = NameAddr::parse("<sip:a@h;transport=tcp>").unwrap();
    assert_eq!((bracketed.tag(), bracketed.uri.params.value("transport")), (None, Some("tcp")));
    let odd = NameAddr::parse("\"a;b,<c> \\\"d\\\" \\\\\" <sip:a@h>;tag=1").unwrap();
    assert_eq!(odd.display.as_deref(), Some("a;b,<c> \"d\" \\"));
    assert_eq!(odd.to_string(), "\"a;b,<c> \\\"d\\\" \\\\\" <sip:a@h>;tag=1");
    for bad in [
        "",
        "*",
        "<sip:a@h",
        "sip:a@h>",
        "\"x <sip:a@h>",
        "<sip:a@h> x",
        "\"x\" sip:a@h",
        "x\"y\" <sip:a@h>",
        "sip:a@h,sip:b@h",
        "sip:a@h?x=y",
        "<>",
    ] {
        assert!(NameAddr::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn lists_split_at_commas_outside_quotes_and_brackets() {
    let headers = headers(&[
        ("Contact", "\"a, \\\" b\" <sip:a,c@h;x=1>;q=1 , <sip:b,c@h>"),
        ("Authorization", "Digest a=\"b\", c=d"),
        ("m", "sip:d@h,, "),
        ("X-Unknown", "a, b"),
    ]);
    let contacts: Vec<_> = headers.get_all(&HeaderName::CONTACT).collect();
    assert_eq!(contacts, ["\"a, \\\" b\" <sip:a,c@h;x=1>;q=1", "<sip:b,c@h>", "sip:d@h"]);
    assert_eq!(headers.get(&HeaderName::AUTHORIZATION), Some("Digest a=\"b\", c=d"));
    assert_eq!(headers.get(&HeaderName::parse("x-unknown").unwrap()), Some("a, b"));
    assert_eq!(headers.contacts().unwrap().len(), 3);
}

#[test]
fn vias() {
    let via =
        Via::parse("SIP/2.0/TLS [2001:db8::1]:5071;branch=z9hG4bK==;rport;received=192.0.2.4");
    let via = via.unwrap();
    assert_eq!((via.transport, via.port), (Transport::Tls, Some(5071)));
    assert_eq!(via.branch(), Some("z9hG4bK=="));
    assert!(via.asks_rport());
    assert_eq!(via.rport(), None);
    let via = Via::new(Transport::Udp, Host::V4([192, 0, 2, 1].into()), Some(5060), "z9hG4bKa");
    assert_eq!(via.to_string(), "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport");
    for bad in
        ["SIP/2.0/UDP", "SIP/3.0/UDP h", "HTTP/2.0/UDP h", "SIP/2.0/U(P h", "SIP/2.0/UDP h:x", ""]
    {
        assert!(Via::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_source_of_a_request_is_noted_in_its_top_via() {
    // RFC 3261 §18.2.1, RFC 3581 §4
    let noted = |via: &str, remote: &str| {
        let mut headers = headers(&[("Via", via)]);
        headers.note_source(remote.parse().unwrap());
        headers.iter().next().unwrap().1.as_str().to_owned()
    };
    assert_eq!(
        noted("SIP/2.0/UDP 192.0.2.1;branch=b", "192.0.2.1:9"),
        "SIP/2.0/UDP 192.0.2.1;branch=b"
    );
    assert_eq!(
        noted("SIP/2.0/UDP pc.example.com:5066;branch=b, SIP/2.0/TCP x", "[2001:db8::9]:7"),
        "SIP/2.0/UDP pc.example.com:5066;branch=b;received=2001:db8::9, SIP/2.0/TCP x"
    );
    assert_eq!(
        noted("SIP/2.0/UDP 10.1.1.1:4540;rport;branch=b", "192.0.2.1:9988"),
        "SIP/2.0/UDP 10.1.1.1:4540;rport=9988;branch=b;received=192.0.2.1"
    );
    let unknown = "SIP/2.0/QUIC h;branch=b";
    assert_eq!(noted(unknown, "192.0.2.1:9"), unknown);
}

#[test]
fn an_answer_copies_what_section_8_2_6_says() {
    let text = "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nv: SIP/2.0/UDP b\r\n\
        Max-Forwards: 70\r\nf: <sip:a@h>;tag=1\r\nt: sip:b@h;x=y\r\ni: c\r\nCSeq: 7 INVITE\r\n\
        Timestamp: 54\r\nRecord-Route: <sip:p;lr>\r\n\r\n";
    let Ok(Input::Message(Message::Request(request))) = parse_datagram(text.as_bytes()) else {
        panic!("refused")
    };
    let mut ringing = Response::to_request(&request, 180, "");
    ringing.set_to_tag("local");
    ringing.set_to_tag("never twice");
    assert_eq!(
        std::str::from_utf8(&ringing.to_bytes()).unwrap(),
        "SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nVia: SIP/2.0/UDP b\r\n\
         From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;x=y;tag=local\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let trying = Response::to_request(&request, 100, "Hold on");
    assert_eq!(
        (trying.reason.as_str(), trying.headers.has(&HeaderName::TIMESTAMP)),
        ("Hold on", true)
    );
}

#[test]
fn cseq_numbers() {
    assert_eq!(
        CSeq::parse(" 2147483647  INVITE").unwrap(),
        CSeq { seq: 0x7FFF_FFFF, method: Method::Invite }
    );
    for bad in ["", "1", "INVITE", "2147483648 INVITE", "1 IN VITE", "+1 INVITE", "1 a@b"] {
        assert!(CSeq::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(Method::parse("invite").unwrap().as_str(), "invite", "case matters");
    assert_ne!(Method::parse("invite").unwrap(), Method::Invite);
}

#[test]
fn q850_causes() {
    // RFC 3326 §2, RFC 6432
    let cause = |values: &[&str]| {
        reason::q850(&headers(&values.iter().map(|v| ("Reason", *v)).collect::<Vec<_>>()))
    };
    assert_eq!(cause(&["Q.850;cause=16;text=\"Terminated, so; what\""]), Some(16));
    assert_eq!(cause(&["SIP ;cause=600 ;text=\"Busy\", q.850 ; cause = 17"]), Some(17));
    assert_eq!(cause(&["SIP;cause=200", "Q.850;cause=\"31\""]), Some(31));
    for none in ["Q.850", "Q.850;cause=0", "Q.850;cause=128", "Q.850;cause=x", "SIP;cause=16", ""] {
        assert_eq!(cause(&[none]), None, "{none}");
    }
    assert_eq!(
        reason::q850_value(26, "answered \"elsewhere\"\r\n").as_str(),
        "Q.850;cause=26;text=\"answered \\\"elsewhere\\\"  \""
    );
}

#[test]
fn retry_after_and_media_types() {
    assert_eq!(retry_after("18000;duration=3600"), Ok(Duration::from_secs(18000)));
    assert_eq!(retry_after("120 (I'm in a meeting)"), Ok(Duration::from_secs(120)));
    for bad in ["", "949302838503028349304023988", "-1", "soon"] {
        assert!(retry_after(bad).is_err(), "{bad}");
    }
    assert!(is_media_type("Application/SDP ; charset=x", "application/sdp"));
    assert!(!is_media_type("application/sdpx", "application/sdp"));
}

#[test]
fn header_fields_are_edited_in_place() {
    let mut headers =
        headers(&[("Via", "a, b"), ("Subject", "s"), ("via", "c"), ("Allow", "INVITE, ACK")]);
    assert!(headers.lists(&HeaderName::ALLOW, "ack"));
    headers.replace_first(&HeaderName::VIA, HeaderValue::from_static("A"));
    assert_eq!(headers.get_all(&HeaderName::VIA).collect::<Vec<_>>(), ["A", "b", "c"]);
    headers.set(HeaderName::VIA, HeaderValue::from_static("one"));
    headers.prepend(HeaderName::ROUTE, HeaderValue::from_static("<sip:p;lr>"));
    let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Route", "Via", "Subject", "Allow"]);
    assert!(headers.remove(&HeaderName::SUBJECT));
    assert!(!headers.remove(&HeaderName::SUBJECT));
}

#[test]
fn parameters_are_found_in_any_case_and_edited() {
    let mut params = Params::parse(" Tag = 1 ; LR; text=\"a;\\\"b\"").unwrap();
    assert_eq!(params.value("tag"), Some("1"));
    assert_eq!(params.value("lr"), Some(""));
    assert_eq!(params.text("text").unwrap(), "a;\"b");
    params.set("tag", "2;evil=1\r\n");
    assert_eq!(params.to_string(), ";Tag=2%3Bevil%3D1%0D%0A;LR;text=\"a;\\\"b\"");
    assert!(params.remove("LR"));
    assert!(!params.has("lr"));
    for bad in ["=x", "a=b c", "a b", "a=\"b", "a=<", "a=\"b\"c"] {
        assert!(Params::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn content_length_is_the_writers_alone() {
    let mut request = Request::new(Method::Bye, Uri::parse("sip:b@h").unwrap());
    request.headers.push(HeaderName::CONTENT_LENGTH, 99);
    request.body = "abc".into();
    assert_eq!(&*request.to_bytes(), b"BYE sip:b@h SIP/2.0\r\nContent-Length: 3\r\n\r\nabc");
}

#[test]
fn keep_alives() {
    for (bytes, expected) in [
        ("\r\n\r\n", Input::Ping),
        ("\r\n", Input::Pong),
        ("", Input::Pong),
        ("\0\0\0\0", Input::Pong),
    ] {
        assert_eq!(parse_datagram(bytes.as_bytes()), Ok(expected));
    }
}
