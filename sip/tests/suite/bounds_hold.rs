//! Every bound of `limits` is where it says: one less is taken, one more is refused.

use kaphila_sip::limits::{
    MAX_HEAD, MAX_HEADER_FIELDS, MAX_HEADER_NAME, MAX_LIST_VALUES, MAX_MESSAGE, MAX_PARAMS,
};
use kaphila_sip::message::{HeaderName, NameAddr, Params};
use kaphila_sip::wire::{ErrorKind, Input, StreamParser, parse_datagram};

const HEAD: &str = "INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
    From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n";

fn kind(bytes: &[u8]) -> Option<ErrorKind> {
    parse_datagram(bytes).err().map(|error| error.kind)
}

#[test]
fn octets_of_a_message() {
    let message = |length| {
        let head = format!("{HEAD}\r\n");
        [head.as_bytes(), &vec![b'x'; length - head.len()]].concat()
    };
    assert_eq!(kind(&message(MAX_MESSAGE)), None);
    assert_eq!(kind(&message(MAX_MESSAGE + 1)), Some(ErrorKind::TooLarge));
}

#[test]
fn octets_of_a_head() {
    let message = |length| {
        let filler = "x".repeat(length - HEAD.len() - "Subject: \r\n".len());
        format!("{HEAD}Subject: {filler}\r\n\r\n").into_bytes()
    };
    assert_eq!(kind(&message(MAX_HEAD)), None);
    assert_eq!(kind(&message(MAX_HEAD + 1)), Some(ErrorKind::TooLarge));
}

#[test]
fn header_fields() {
    let message = |fields| format!("{HEAD}{}\r\n", "Subject: x\r\n".repeat(fields - 5));
    assert_eq!(kind(message(MAX_HEADER_FIELDS).as_bytes()), None);
    let error = parse_datagram(message(MAX_HEADER_FIELDS + 1).as_bytes()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooManyFields);
    assert_eq!(error.reply(([192, 0, 2, 1], 5060).into()).unwrap().status, 513);
}

#[test]
fn values_of_a_list() {
    let message = |values| {
        format!("{HEAD}Route: {}\r\n\r\n", vec!["<sip:p.example.com;lr>"; values].join(","))
    };
    let routes = |text: String| match parse_datagram(text.as_bytes()) {
        Ok(Input::Message(message)) => message.headers().routes().map(|routes| routes.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(routes(message(MAX_LIST_VALUES)), Ok(MAX_LIST_VALUES));
    assert!(routes(message(MAX_LIST_VALUES + 1)).is_err());
}

#[test]
fn names_and_parameters() {
    assert!(HeaderName::parse(&"x".repeat(MAX_HEADER_NAME)).is_ok());
    assert!(HeaderName::parse(&"x".repeat(MAX_HEADER_NAME + 1)).is_err());
    assert!(Params::parse(&";a=b".repeat(MAX_PARAMS)).is_ok());
    assert!(Params::parse(&";a=b".repeat(MAX_PARAMS + 1)).is_err());
    assert!(NameAddr::parse(&format!("<sip:h>{}", ";a".repeat(MAX_PARAMS + 1))).is_err());
}

#[test]
fn a_stream_holds_no_more_than_a_message() {
    let mut stream = StreamParser::new();
    let mut taken = 0;
    let error = loop {
        let pushed = stream.push(&[b'x'; 1024]).and_then(|()| stream.poll());
        match pushed {
            Ok(None) => taken += 1024,
            Ok(Some(_)) => panic!("nothing was sent"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::TooLarge);
    assert!(error.ends_stream());
    assert!(taken <= MAX_MESSAGE);
    assert!(stream.push(b"x").is_err(), "it stays ended");
}
