//! The caller's own mistakes: refused before a byte is sent.

use crate::ladder::{Ladder, invite_spec};
use kaphila_sip::endpoint::InviteError;
use kaphila_sip::message::{HeaderName, HeaderValue};

#[test]
fn headers_of_the_stack_and_an_identity_in_use() {
    let mut ladder = Ladder::new();
    for name in [HeaderName::VIA, HeaderName::CONTACT, HeaderName::CONTENT_LENGTH] {
        let mut spec = invite_spec();
        spec.headers.push((name, HeaderValue::from_static("x")));
        let refused = ladder.endpoint.invite(ladder.now, spec);
        assert!(matches!(refused, Err(InviteError::ReservedHeader(_))));
    }
    let mut spec = invite_spec();
    spec.identity.call_id = "a\r\nb: c".to_owned();
    let refused = ladder.endpoint.invite(ladder.now, spec);
    assert!(matches!(refused, Err(InviteError::Unusable(_))));
    ladder.expect_nothing();
    ladder.call();
    ladder.expect("INVITE");
    let refused = ladder.endpoint.invite(ladder.now, invite_spec());
    assert_eq!(refused, Err(InviteError::IdentityInUse));
    ladder.expect_nothing();
}

#[test]
fn further_headers_are_sent_as_given() {
    let mut ladder = Ladder::new();
    let mut spec = invite_spec();
    let name = HeaderName::parse("P-Asserted-Identity").unwrap();
    spec.headers.push((name, HeaderValue::from_static("<sip:+49@192.0.2.1>")));
    ladder.command(|endpoint, now| {
        endpoint.invite(now, spec).unwrap();
    });
    let invite = ladder.expect("INVITE");
    assert_eq!(invite.header("P-Asserted-Identity"), "<sip:+49@192.0.2.1>");
}
