//! Framing on TCP and TLS (RFC 3261 §18.3): however the octets are cut, the same comes out.

use kaphila_sip::message::{Message, Method};
use kaphila_sip::wire::{ErrorKind, Input, StreamParser};

fn message(method: &str, body: &str) -> String {
    format!(
        "{method} sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1\r\n\
         From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: c1\r\n\
         CSeq: 1 {method}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn read(chunks: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<Result<Input, ErrorKind>> {
    let mut stream = StreamParser::new();
    let mut read = Vec::new();
    for chunk in chunks {
        if let Err(error) = stream.push(chunk.as_ref()) {
            read.push(Err(error.kind));
            break;
        }
        loop {
            match stream.poll() {
                Ok(Some(input)) => read.push(Ok(input)),
                Ok(None) => break,
                Err(error) if error.ends_stream() => {
                    read.push(Err(error.kind));
                    return read;
                }
                Err(error) => read.push(Err(error.kind)),
            }
        }
    }
    read
}

#[test]
fn one_octet_at_a_time_or_all_at_once() {
    let text = format!(
        "\r\n\r\n{}{}\r\n\r\n{}",
        message("INVITE", "v=0\r\n\r\nabc"),
        message("ACK", ""),
        message("BYE", "x")
    );
    let at_once = read([text.as_bytes()]);
    let methods: Vec<_> = at_once
        .iter()
        .map(|input| match input {
            Ok(Input::Message(Message::Request(request))) => Some(request.method.clone()),
            Ok(Input::Ping) => None,
            other => panic!("{other:?}"),
        })
        .collect();
    use Method::{Ack, Bye, Invite};
    assert_eq!(methods, [None, Some(Invite), Some(Ack), None, Some(Bye)]);
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(read(text.as_bytes().chunks(size)), at_once, "{size} octets at a time");
    }
}

#[test]
fn one_empty_line_is_a_pong() {
    let read = read([format!("\r\n{}", message("BYE", ""))]);
    assert_eq!(read[0], Ok(Input::Pong));
    assert!(matches!(&read[1], Ok(Input::Message(_))));
}

#[test]
fn a_message_that_is_refused_leaves_the_next_whole() {
    let bad = message("BYE", "body").replace("Call-ID: c1\r\n", "");
    let read = read([bad + &message("ACK", "")]);
    assert!(matches!(read[0], Err(ErrorKind::Field(_))));
    assert!(matches!(&read[1], Ok(Input::Message(_))));
}

#[test]
fn what_loses_the_framing_ends_the_stream() {
    let cases = [
        (message("BYE", "").replace("Content-Length: 0\r\n", ""), ErrorKind::NoContentLength),
        (message("BYE", "").replace("Length: 0", "Length: -1"), ErrorKind::ContentLength),
        (message("BYE", "").replace("Length: 0", "Length: 70000"), ErrorKind::TooLarge),
        (message("BYE", "").replace("Call-ID: c1\r\n", "Call-ID: c1\n"), ErrorKind::BareLf),
    ];
    for (text, kind) in cases {
        assert_eq!(read([text + &message("ACK", "")]), [Err(kind)]);
    }
}
