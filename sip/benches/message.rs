//! P14: reading an INVITE of a carrier (at most 10 µs) and building one of ours (at most 5 µs).

use criterion::{Criterion, criterion_group, criterion_main};
use kaphila_sip::message::{
    CSeq, HeaderName, HeaderValue, Host, Method, NameAddr, Request, Transport, Uri, Via,
};
use kaphila_sip::wire::{Input, parse_datagram};
use std::hint::black_box;

const SDP: &str = "v=0\r\no=- 20518 0 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
    m=audio 54400 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

const HEAD: &str = "INVITE sip:+12125551212@198.51.100.7:5060;transport=udp SIP/2.0\r\n\
    Record-Route: <sip:203.0.113.200;lr;ftag=gK0c>,<sip:10.0.0.2;r2=on;lr;ftag=gK0c>\r\n\
    Via: SIP/2.0/UDP 203.0.113.200;branch=z9hG4bKcydzigwkX;rport\r\n\
    Via: SIP/2.0/UDP 203.0.113.1:5060;rport=5060;received=203.0.113.1;branch=z9hG4bK0cB1c\r\n\
    From: \"+13035551111\" <sip:+13035551111@203.0.113.1;user=phone>;tag=gK0c2a\r\n\
    To: <sip:+12125551212@198.51.100.7;user=phone>\r\nCall-ID: 68721935_127446@203.0.113.1\r\n\
    CSeq: 28643 INVITE\r\nMax-Forwards: 68\r\n\
    Allow: INVITE,ACK,CANCEL,BYE,REGISTER,REFER,INFO,SUBSCRIBE,NOTIFY,PRACK,UPDATE,OPTIONS\r\n\
    Accept: application/sdp, application/isup, application/dtmf, application/dtmf-relay\r\n\
    Contact: \"+13035551111\" <sip:+13035551111@203.0.113.1:5060>\r\n\
    P-Asserted-Identity: \"+13035551111\" <sip:+13035551111@203.0.113.1:5060>\r\n\
    Supported: timer,100rel,precondition,replaces\r\nSession-Expires: 1800\r\nMin-SE: 90\r\n\
    User-Agent: Carrier SBC 9.2\r\nContent-Disposition: session; handling=required\r\n\
    Content-Type: application/sdp\r\n";

fn build() -> Request {
    let carrier = Host::Name("sip.carrier.example".into());
    let local = Host::V4([198, 51, 100, 7].into());
    let mut request =
        Request::new(Method::Invite, Uri::sip(Some("+12125551212"), carrier.clone(), Some(5060)));
    let headers = &mut request.headers;
    headers
        .push(HeaderName::VIA, Via::new(Transport::Udp, local.clone(), Some(5060), "z9hG4bKa1b2"));
    headers.push(HeaderName::MAX_FORWARDS, 70);
    let from = NameAddr::new(Uri::sip(Some("+13035551111"), local.clone(), None));
    headers.push(HeaderName::FROM, from.with_tag("f00d"));
    headers.push(HeaderName::TO, NameAddr::new(Uri::sip(Some("+12125551212"), carrier, None)));
    headers.push(HeaderName::CALL_ID, HeaderValue::from_static("0123456789abcdef"));
    headers.push(HeaderName::CSEQ, CSeq { seq: 1, method: Method::Invite });
    headers.push(HeaderName::CONTACT, NameAddr::new(Uri::sip(None, local, Some(5060))));
    headers.push(HeaderName::ALLOW, HeaderValue::from_static("INVITE, ACK, CANCEL, BYE, OPTIONS"));
    headers.push(HeaderName::SUPPORTED, HeaderValue::from_static("100rel, timer"));
    headers.push(HeaderName::USER_AGENT, HeaderValue::from_static("Kaphila"));
    headers.push(HeaderName::CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
    request.body = bytes::Bytes::from_static(SDP.as_bytes());
    request
}

fn message(c: &mut Criterion) {
    let invite = format!("{HEAD}Content-Length: {}\r\n\r\n{SDP}", SDP.len());
    assert!(matches!(parse_datagram(invite.as_bytes()), Ok(Input::Message(_))));
    c.bench_function("parse_invite", |b| b.iter(|| parse_datagram(black_box(invite.as_bytes()))));
    c.bench_function("build_invite", |b| b.iter(|| black_box(build()).to_bytes()));
}

criterion_group!(benches, message);
criterion_main!(benches);
