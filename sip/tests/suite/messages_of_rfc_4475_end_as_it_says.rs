//! The traps of RFC 4475 and RFC 5118, each in a short message of our own, and the archived
//! messages themselves where the test kit is at hand.

use kaphila_sip::error::{FieldError, ParseError};
use kaphila_sip::message::{Host, Message, Method, Request, Response, Scheme};
use kaphila_sip::wire::{Error, ErrorKind, Input, parse_datagram};
use std::path::Path;

fn request(text: &str) -> Request {
    match parse_datagram(text.as_bytes()) {
        Ok(Input::Message(Message::Request(request))) => request,
        other => panic!("no request: {other:?} of {text}"),
    }
}

fn response(text: &str) -> Response {
    match parse_datagram(text.as_bytes()) {
        Ok(Input::Message(Message::Response(response))) => response,
        other => panic!("no response: {other:?} of {text}"),
    }
}

fn refused(text: &str) -> Error {
    parse_datagram(text.as_bytes()).expect_err(text)
}

/// A usual request whose first line and further header fields are given.
fn with(first: &str, fields: &str) -> String {
    let method = first.split(' ').next().unwrap();
    format!(
        "{first}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@example.com>;tag=1\r\n\
         To: <sip:b@example.com>\r\nCall-ID: c1\r\nCSeq: 1 {method}\r\n{fields}\r\n"
    )
}

#[test]
fn folding_case_and_white_space_are_no_hindrance() {
    // §3.1.1.1
    let text = "INVITE sip:v@chair.example.com;unknown SIP/2.0\r\nTO :\r\n \
        sip:v@chair.example.com ;   tag    = 19n\r\n\
        from   : \"J R \\\\\\\"\"       <sip:j@example.com>\r\n  ;\r\n  tag = 98as\r\n\
        MaX-fOrWaRdS: 0068\r\nCall-ID: w.n@192.0.2.1\r\nContent-Length   : 3\r\n\
        cseq: 0009\r\n  INVITE\r\nVia  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390s\r\ns :\r\n\
        NewFangled:   value\r\n more of it\r\nOdd: ;;,,;;,;\r\n\
        v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9  ,\r\n \
        SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK3\r\n\
        m:\"Quoted \\\"\\\"\" <sip:j@example.com> ; newparam =\r\n      newvalue ;\r\n  q = 0.33\r\n\r\nv=0";
    let request = request(text);
    let headers = &request.headers;
    assert_eq!(request.to().unwrap().tag(), Some("19n"));
    assert_eq!(request.from().unwrap().display.as_deref(), Some("J R \\\""));
    assert_eq!(request.from().unwrap().tag(), Some("98as"));
    assert_eq!(request.cseq().unwrap().seq, 9);
    assert_eq!(&*request.body, b"v=0");
    assert_eq!(request.via().unwrap().branch(), Some("390s"));
    let vias: Vec<_> = headers.get_all(&"Via".into_name()).collect();
    assert_eq!(vias.len(), 3);
    assert!(vias[2].starts_with("SIP  /    2.0   / UDP"));
    assert_eq!(headers.get(&"newfangled".into_name()), Some("value more of it"));
    assert_eq!(headers.get(&"Subject".into_name()), Some(""));
    let contact = request.contact().unwrap();
    assert_eq!(contact.params.value("newparam"), Some("newvalue"));
    assert_eq!(contact.params.value("q"), Some("0.33"));
}

trait IntoName {
    fn into_name(self) -> kaphila_sip::message::HeaderName;
}

impl IntoName for &str {
    fn into_name(self) -> kaphila_sip::message::HeaderName {
        kaphila_sip::message::HeaderName::parse(self).unwrap()
    }
}

#[test]
fn every_token_character_is_taken() {
    // §3.1.1.2
    let method = "!odd-Method019_*+`.%indeed'~";
    let text = with(
        &format!("{method} sip:1_u~(to-be!sure)&isn't+it$/?,;;*:&p$w~d@example.com SIP/2.0"),
        "",
    )
    .replace("To: <", "To: \"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\" <")
    .replace("From: <", "From: token1~` t2'+_ <");
    let request = request(&text);
    assert_eq!(request.method.as_str(), method);
    assert!(request.uri.user.as_deref().unwrap().ends_with(";;*:&p$w~d"));
    assert_eq!(request.uri.host, Host::Name("example.com".into()));
    assert_eq!(request.from().unwrap().display.as_deref(), Some("token1~` t2'+_"));
    assert_eq!(request.to().unwrap().display.as_deref(), Some("BEL:\u{7} NUL:\u{FFFD} DEL:\u{7f}"));
}

#[test]
fn escapes_stay_what_they_are() {
    // §3.1.1.3, §3.1.1.4
    let request = request(&with(
        "OPTIONS sip:sips%3Auser%40example.com@example.net SIP/2.0",
        "Contact: <sip:cal%6Cer@h.example.net;%6C%72;n%61me=v%25>, <sip:%00@h>, <sip:%00%00@h>\r\n",
    ));
    assert_eq!(request.uri.scheme, Scheme::Sip);
    assert_eq!(request.uri.user_text().unwrap(), "sips:user@example.com");
    let contacts = request.contacts().unwrap();
    assert_eq!(contacts[0].uri.to_string(), "sip:cal%6Cer@h.example.net;%6C%72;n%61me=v%25");
    assert_eq!(contacts[1].uri.user_text().unwrap(), "\0");
    assert!(!contacts[1].uri.equivalent(&contacts[2].uri));
    // §3.1.1.5: a method and a header name know no escapes.
    let odd = with("RE%47IST%45R sip:example.com SIP/2.0", "C%6Fntact: <sip:x@example.com>\r\n");
    let odd = self::request(&odd);
    assert!(matches!(odd.method, Method::Other(_)));
    assert!(odd.contact().is_err());
}

#[test]
fn a_display_name_may_touch_the_bracket() {
    // §3.1.1.6
    let text = with("OPTIONS sip:u@example.com SIP/2.0", "").replace("From: <", "From: caller<");
    assert_eq!(request(&text).from().unwrap().display.as_deref(), Some("caller"));
}

#[test]
fn what_follows_the_body_in_a_datagram_is_ignored() {
    // §3.1.1.8
    let text = with("REGISTER sip:example.com SIP/2.0", "l: 2\r\n") + "abINVITE sip:x SIP/2.0\r\n";
    assert_eq!(&*request(&text).body, b"ab");
}

#[test]
fn a_user_part_may_hold_semicolons() {
    // §3.1.1.9
    let uri = request(&with("OPTIONS sip:user;par=u%40e@example.com SIP/2.0", "")).uri;
    assert_eq!(uri.user.as_deref(), Some("user;par=u%40e"));
    assert!(uri.params.is_empty());
}

#[test]
fn transports_we_do_not_know_are_no_hindrance() {
    // §3.1.1.10
    let text = with(
        "OPTIONS sip:u@example.com SIP/2.0",
        "Via: SIP/2.0/SCTP t2;branch=z9hG4bK2, SIP/2.0/UNKNOWN t4;branch=z9hG4bK3\r\n",
    );
    assert_eq!(request(&text).headers.get_all(&"v".into_name()).count(), 3);
}

#[test]
fn a_binary_body_stays_as_it_is() {
    // §3.1.1.11
    let mut bytes = with("MESSAGE sip:u@example.com SIP/2.0", "l: 5\r\n").into_bytes();
    bytes.extend([0, 0xFF, b'\r', b'\n', 0x80]);
    match parse_datagram(&bytes) {
        Ok(Input::Message(message)) => assert_eq!(**message.body(), [0, 0xFF, 13, 10, 0x80]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reason_phrases_may_be_odd_or_empty() {
    // §3.1.1.12, §3.1.1.13
    let rest = with("INVITE", "");
    let rest = rest.strip_prefix("INVITE").unwrap();
    assert_eq!(response(&format!("SIP/2.0 200 = 2**3 но{rest}")).reason, "= 2**3 но");
    assert_eq!(response(&format!("SIP/2.0 100 {rest}")).status, 100);
    assert_eq!(response(&format!("SIP/2.0 100{rest}")).status, 100);
    // §3.1.2.19, §3.1.2.5: discarded, never wrapped; a response gets no answer.
    for bad in
        ["SIP/2.0 4294967301 x", "SIP/2.0 099 x", "SIP/2.0 700 x", "SIP/2.0 +20 x", "SIP/2.0"]
    {
        let error = refused(&format!("{bad}{rest}"));
        assert!(matches!(error.kind, ErrorKind::StartLine(_)), "{bad}: {error:?}");
        assert_eq!(error.reply(([192, 0, 2, 9], 5060).into()), None);
    }
    let large = format!("SIP/2.0 503 x{rest}").replace("CSeq: 1 ", "CSeq: 9292394834772304023312 ");
    assert!(matches!(refused(&large).kind, ErrorKind::Field(FieldError::Bad { name: "CSeq", .. })));
}

#[test]
fn bad_framing_is_refused() {
    // §3.1.2.2, §3.1.2.3, §3.3.9
    let first = "INVITE sip:u@example.com SIP/2.0";
    assert_eq!(refused(&(with(first, "l: 9999\r\n") + "abc")).kind, ErrorKind::ShortBody);
    for bad in ["-999", "1 2", "+3", "0x3", "", "99999999999999999999999999"] {
        let error = refused(&(with(first, &format!("Content-Length: {bad}\r\n")) + "abc"));
        assert_eq!(error.kind, ErrorKind::ContentLength, "{bad}");
        assert_eq!(error.reply(([192, 0, 2, 1], 5060).into()).unwrap().status, 400);
    }
    let two = with(first, "Content-Length: 3\r\nl: 2\r\n") + "abc";
    assert_eq!(refused(&two).kind, ErrorKind::ContentLength);
    let same = with(first, "Content-Length: 3\r\nl: 3\r\n") + "abc";
    assert_eq!(&*request(&same).body, b"abc");
}

#[test]
fn bad_first_lines_are_refused() {
    // §3.1.2.7 to §3.1.2.10, RFC 5118 §4.2
    for first in [
        "INVITE <sip:user@example.com> SIP/2.0",
        "INVITE sip:user@example.com; lr SIP/2.0",
        "INVITE  sip:user@example.com  SIP/2.0",
        "INVITE sip:user@example.com SIP/2.0  ",
        "INVITE sip:2001:db8::10 SIP/2.0",
        "INVITE sip:[2001:db8::10 SIP/2.0",
        "INVITE sip:u@ SIP/2.0",
        "INVITE sip:@example.com SIP/2.0",
        "INVITE sip:u@example.com:0 SIP/2.0",
        "INVITE sip:u@example.com:65536 SIP/2.0",
        "INVITE u@example.com SIP/2.0",
    ] {
        let error = refused(&with(first, ""));
        assert!(matches!(error.kind, ErrorKind::StartLine(_)), "{first}: {error:?}");
        assert_eq!(error.method(), Some(&Method::Invite));
        let reply = error.reply(([192, 0, 2, 7], 5070).into()).unwrap();
        assert_eq!(reply.status, 400);
        assert_eq!(reply.via().unwrap().received(), Some([192, 0, 2, 7].into()));
        assert_eq!(reply.cseq().unwrap().method, Method::Invite);
    }
    // §3.1.2.16
    let version = refused(&with("OPTIONS sip:u@example.com SIP/7.0", ""));
    assert_eq!(version.reply(([192, 0, 2, 7], 5070).into()).unwrap().status, 505);
    // No request by any reading: nobody is answered.
    for first in ["INVITE sip:u@example.com", "GET / HTTP/1.1", "0 0 SIP", "\u{1}"] {
        assert_eq!(refused(&with(first, "")).reply(([192, 0, 2, 7], 5070).into()), None, "{first}");
    }
}

#[test]
fn bad_fields_that_everybody_needs_are_refused_with_400() {
    let first = "OPTIONS sip:u@example.com SIP/2.0";
    let cases: [(&str, &str, &str); 10] = [
        // §3.1.2.1
        ("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "Via: SIP/2.0/UDP 192.0.2.1;;,;,,", "Via"),
        // §3.1.2.4
        ("CSeq: 1 ", "CSeq: 36893488147419103232 ", "CSeq"),
        ("CSeq: 1 ", "CSeq: 2147483648 ", "CSeq"),
        ("CSeq: 1 ", "CSeq: -1 ", "CSeq"),
        // §3.1.2.6
        ("To: <", "To: \"Mr. J. <", "To"),
        ("To: <sip:b@example.com>", "To: <sip:b@example.com", "To"),
        // §3.3.1
        ("To: <sip:b@example.com>\r\n", "", "To"),
        ("Call-ID: c1\r\n", "", "Call-ID"),
        ("Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n", "", "Via"),
        // §3.3.8
        ("Call-ID: c1\r\n", "Call-ID: c1\r\ni: c2\r\n", "Call-ID"),
    ];
    for (good, bad, named) in cases {
        let text = with(first, "");
        assert!(text.contains(good));
        let error = refused(&text.replace(good, bad));
        let ErrorKind::Field(field) = error.kind else { panic!("{bad}: {error:?}") };
        let (FieldError::Missing(name) | FieldError::Repeated(name) | FieldError::Bad { name, .. }) =
            field;
        assert_eq!(name, named);
        let reply = error.reply(([192, 0, 2, 1], 5060).into());
        let via_is_there = !(named == "Via" && bad.is_empty());
        assert_eq!(reply.map(|reply| reply.status), via_is_there.then_some(400));
    }
    // §3.1.2.17
    let error = refused(&with(first, "").replace("1 OPTIONS", "1 INVITE"));
    assert_eq!(error.kind, ErrorKind::CSeqMethod);
    // An ACK is never answered.
    let ack = refused(&with("ACK sip:u@example.com SIP/2.0", "").replace("CSeq: 1", "CSeq: x"));
    assert_eq!(ack.reply(([192, 0, 2, 1], 5060).into()), None);
}

#[test]
fn a_bad_field_that_nobody_asks_for_does_no_harm() {
    // §3.1.2.12, §3.1.2.13, §3.3.7; a line that is no header field; octets that are no UTF-8.
    let text = with(
        "OPTIONS sip:u@example.com SIP/2.0",
        "Date: Fri, 01 Jan 2010 16:00:00 EST\r\nContact: sip:u@example.com?Route=%3Csip:s%3E\r\n\
         Authorization: NoOneKnows x=y\r\nno colon here\r\n: no name\r\nbad name: x\r\nSubject: XX\r\n",
    );
    let mut bytes = text.into_bytes();
    let at = bytes.windows(2).position(|two| two == b"XX").unwrap();
    bytes[at..at + 2].copy_from_slice(&[0xFF, 0xC3]);
    let Ok(Input::Message(Message::Request(request))) = parse_datagram(&bytes) else {
        panic!("refused")
    };
    assert_eq!(request.headers.get(&"Subject".into_name()), Some("\u{FFFD}\u{FFFD}"));
    assert!(matches!(request.contact(), Err(FieldError::Bad { name: "Contact", .. })));
    assert_eq!(request.headers.len(), 9);
}

#[test]
fn leniency_where_it_is_safe() {
    let first = "OPTIONS sip:u@example.com SIP/2.0";
    // §3.1.2.14, §3.1.2.15
    let text =
        with(first, "").replace("To: <sip:b@example.com>", "To: \"W, T\" < sip:b@example.org >");
    assert_eq!(request(&text).to().unwrap().uri.host, Host::Name("example.org".into()));
    let text = with(first, "").replace("From: <", "From: Bell, Alexander <");
    assert_eq!(request(&text).from().unwrap().display.as_deref(), Some("Bell, Alexander"));
    // §3.4.1: no branch, no From tag, no Content-Length.
    let text = with(first, "").replace(";branch=z9hG4bK1", "").replace(";tag=1", "") + "body";
    let old = request(&text);
    assert_eq!((old.via().unwrap().branch(), old.from().unwrap().tag()), (None, None));
    assert_eq!(&*old.body, b"body");
    // Bare LF in a datagram.
    let bare = with(first, "l: 2\r\n").replace("\r\n", "\n") + "ab";
    assert_eq!(&*request(&bare).body, b"ab");
    // §3.1.2.11: read, never acted upon.
    let uri = request(&with("OPTIONS sip:u@example.com?Route=%3Csip:e%3E SIP/2.0", "")).uri;
    assert_eq!(uri.headers.as_deref(), Some("Route=%3Csip:e%3E"));
    // §3.3.2 to §3.3.4
    for (text, scheme) in
        [("nobodyKnows:opaque", "nobodyKnows"), ("soap.beep://192.0.2.1:3", "soap.beep")]
    {
        let uri = request(&with(&format!("OPTIONS {text} SIP/2.0"), "")).uri;
        assert_eq!(uri.scheme.to_string(), scheme);
        assert_eq!(uri.to_string(), text);
    }
    // Unfinished: no empty line.
    assert_eq!(refused(with(first, "").strip_suffix("\r\n").unwrap()).kind, ErrorKind::Unfinished);
}

#[test]
fn ipv6_is_read_where_it_stands() {
    // RFC 5118 §4.1, §4.3 to §4.5, §4.9, §4.10
    let host = |text: &str| request(&with(&format!("OPTIONS {text} SIP/2.0"), "")).uri;
    assert_eq!(host("sip:[2001:db8::10]").host, Host::V6("2001:db8::10".parse().unwrap()));
    let ambiguous = host("sip:[2001:db8::10:5070]");
    assert_eq!(ambiguous.host, Host::V6("2001:db8::10:5070".parse().unwrap()));
    assert_eq!(ambiguous.port, None);
    assert_eq!(host("sip:[2001:db8::10]:5070").port, Some(5070));
    assert_eq!(host("sip:u@[2001:db8:::192.0.2.1]").host, host("sip:u@[2001:db8::192.0.2.1]").host);
    for received in ["2001:db8::9:255", "[2001:db8::9:255]"] {
        let text = with("OPTIONS sip:u@example.com SIP/2.0", "")
            .replace("192.0.2.1;", &format!("[::ffff:192.0.2.10]:19823;received={received};"));
        let via = request(&text).via().unwrap();
        assert_eq!(via.host, Host::V6("::ffff:192.0.2.10".parse().unwrap()));
        assert_eq!(via.port, Some(19823));
        assert_eq!(via.received(), Some("2001:db8::9:255".parse().unwrap()));
    }
}

/// What becomes of each archived message: `None` reads, else what the error says.
const ARCHIVE: [(&str, Option<&str>); 49 + 12] = [
    ("rfc4475/wsinv.dat", None),
    ("rfc4475/intmeth.dat", None),
    ("rfc4475/esc01.dat", None),
    ("rfc4475/escnull.dat", None),
    ("rfc4475/esc02.dat", None),
    ("rfc4475/lwsdisp.dat", None),
    ("rfc4475/longreq.dat", None),
    ("rfc4475/dblreq.dat", None),
    ("rfc4475/semiuri.dat", None),
    ("rfc4475/transports.dat", None),
    ("rfc4475/mpart01.dat", None),
    ("rfc4475/unreason.dat", None),
    ("rfc4475/noreason.dat", None),
    ("rfc4475/badinv01.dat", Some("Via")),
    ("rfc4475/clerr.dat", Some("body shorter")),
    ("rfc4475/ncl.dat", Some("Content-Length")),
    ("rfc4475/scalar02.dat", Some("CSeq")),
    ("rfc4475/scalarlg.dat", Some("CSeq")),
    ("rfc4475/quotbal.dat", Some("To")),
    ("rfc4475/ltgtruri.dat", Some("start line")),
    ("rfc4475/lwsruri.dat", Some("start line")),
    ("rfc4475/lwsstart.dat", Some("start line")),
    ("rfc4475/trws.dat", Some("start line")),
    ("rfc4475/escruri.dat", None),
    ("rfc4475/baddate.dat", None),
    ("rfc4475/regbadct.dat", None),
    ("rfc4475/badaspec.dat", None),
    ("rfc4475/baddn.dat", Some("no end")),
    ("rfc4475/badvers.dat", Some("not SIP/2.0")),
    ("rfc4475/mismatch01.dat", Some("CSeq")),
    ("rfc4475/mismatch02.dat", Some("CSeq")),
    ("rfc4475/bigcode.dat", Some("start line")),
    ("rfc4475/badbranch.dat", None),
    ("rfc4475/insuf.dat", Some("From")),
    ("rfc4475/unkscm.dat", None),
    ("rfc4475/novelsc.dat", None),
    ("rfc4475/unksm2.dat", None),
    ("rfc4475/bext01.dat", None),
    ("rfc4475/invut.dat", None),
    ("rfc4475/regaut01.dat", None),
    ("rfc4475/multi01.dat", Some("more than one")),
    ("rfc4475/mcl01.dat", Some("Content-Length")),
    ("rfc4475/bcast.dat", None),
    ("rfc4475/zeromf.dat", None),
    ("rfc4475/cparam01.dat", None),
    ("rfc4475/cparam02.dat", None),
    ("rfc4475/regescrt.dat", None),
    ("rfc4475/sdp01.dat", None),
    ("rfc4475/inv2543.dat", None),
    ("rfc5118/ipv6-good.txt", None),
    ("rfc5118/ipv6-bad.txt", Some("start line")),
    ("rfc5118/port-ambiguous.txt", None),
    ("rfc5118/port-unambiguous.txt", None),
    ("rfc5118/via-received-param-with-delim.txt", None),
    ("rfc5118/via-received-param-no-delim.txt", None),
    ("rfc5118/ipv6-in-sdp.txt", None),
    ("rfc5118/mult-ip-in-header.txt", None),
    ("rfc5118/mult-ip-in-sdp.txt", None),
    ("rfc5118/ipv4-mapped-ipv6.txt", None),
    ("rfc5118/ipv6-bug-abnf-3-colons.txt", None),
    ("rfc5118/ipv6-correct-abnf-2-colons.txt", None),
];

#[test]
fn the_archived_messages() {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/testkit/sip");
    if !kit.is_dir() {
        eprintln!("skipped: {} messages, no test kit beside the repository", ARCHIVE.len());
        return;
    }
    for (name, expected) in ARCHIVE {
        let mut bytes = std::fs::read(kit.join(name)).unwrap();
        if name.starts_with("rfc5118") {
            bytes = mended(&String::from_utf8(bytes).unwrap()).into_bytes();
        }
        kaphila_sip::wire::fuzz_wire(&bytes);
        match (parse_datagram(&bytes), expected) {
            (Ok(Input::Message(_)), None) => {}
            (Err(error), Some(part)) => {
                assert!(error.to_string().contains(part), "{name}: {error}");
            }
            (other, expected) => panic!("{name}: {other:?}, expected {expected:?}"),
        }
    }
    for entry in std::fs::read_dir(kit.join("fuzz")).unwrap() {
        kaphila_sip::wire::fuzz_wire(&std::fs::read(entry.unwrap().path()).unwrap());
    }
}

/// The archive of RFC 5118 has bare LF, lacks some empty lines, and miscounts its bodies.
fn mended(text: &str) -> String {
    let text = text.replace('\n', "\r\n");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.trim_end(), ""));
    let counts_not = |line: &&str| !line.starts_with("Content-Length");
    let head: Vec<_> = head.split("\r\n").filter(counts_not).collect();
    format!("{}\r\nContent-Length: {}\r\n\r\n{body}", head.join("\r\n"), body.len())
}

#[test]
fn parse_errors_say_what_is_wrong() {
    let error =
        ErrorKind::Field(FieldError::Bad { name: "To", problem: ParseError("unclosed quote") });
    assert_eq!(error.to_string(), "bad To header field: unclosed quote");
}
