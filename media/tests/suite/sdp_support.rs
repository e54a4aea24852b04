//! What the tests of session descriptions share.

use kaphila_media::sdp::{Capabilities, Negotiation};

/// A body of 192.0.2.10 with these lines after its session part.
pub(crate) fn body(lines: &[&str]) -> Vec<u8> {
    let session = ["v=0", "o=peer 1 1 IN IP4 192.0.2.10", "s=call", "c=IN IP4 192.0.2.10", "t=0 0"];
    let mut text = [&session[..], lines].concat().join("\r\n");
    text.push_str("\r\n");
    text.into_bytes()
}

/// Our side, at 198.51.100.7:10000; its `o=` id is 21.
pub(crate) fn callee() -> Negotiation {
    let local = "198.51.100.7:10000".parse().unwrap();
    Negotiation::new(Capabilities::default(), local, 42)
}

/// The lines of a body of ours, each of which must end with CRLF.
pub(crate) fn lines(body: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(body).unwrap();
    assert!(text.ends_with("\r\n"));
    let lines = text.split_terminator("\r\n").map(str::to_owned);
    lines.inspect(|line| assert!(!line.contains(['\r', '\n']))).collect()
}
