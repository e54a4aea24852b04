//! A second opinion: rsip's reading of single values that it reads well (host names, known methods
//! and transports).

use kaphila_sip::message::{CSeq, NameAddr, Uri, Via};
use rsip::headers::ToTypedHeader;
use rsip::headers::UntypedHeader;

#[test]
fn uris() {
    for text in [
        "sip:bob@biloxi.com",
        "sip:+12125551212@gw.example.com:5062;user=phone",
        "sips:atlanta.com",
    ] {
        let (ours, theirs) = (Uri::parse(text).unwrap(), rsip::Uri::try_from(text).unwrap());
        assert_eq!(ours.host.to_string(), theirs.host_with_port.host.to_string());
        assert_eq!(ours.port, theirs.host_with_port.port.as_ref().map(|port| *port.value()));
        assert_eq!(ours.user, theirs.auth.as_ref().map(|auth| auth.user.clone()));
        assert_eq!(ours.to_string(), theirs.to_string());
    }
}

#[test]
fn from_via_and_cseq() {
    let text = "\"A. Bell\" <sip:a.bell@example.com>;tag=qwe";
    let (ours, theirs) =
        (NameAddr::parse(text).unwrap(), rsip::headers::From::new(text).typed().unwrap());
    assert_eq!(ours.tag().unwrap(), theirs.tag().unwrap().value());
    assert_eq!(ours.uri.to_string(), theirs.uri.to_string());

    let text = "SIP/2.0/UDP pc33.atlanta.com:5066;branch=z9hG4bKnashds8;received=192.0.2.1";
    let (ours, theirs) =
        (Via::parse(text).unwrap(), rsip::headers::Via::new(text).typed().unwrap());
    assert_eq!(ours.branch().unwrap(), theirs.branch().unwrap().value());
    assert_eq!(ours.received(), theirs.received().unwrap());
    assert_eq!(ours.transport.to_string(), theirs.transport.to_string());

    let text = "4711 INVITE";
    let (ours, theirs) =
        (CSeq::parse(text).unwrap(), rsip::headers::CSeq::new(text).typed().unwrap());
    assert_eq!((ours.seq, ours.method.to_string()), (theirs.seq, theirs.method.to_string()));
}
