//! Whatever text of a customer or a peer gets into our messages, the number of header fields that
//! come out is the number that we put in.

use kaphila_sip::message::{
    CSeq, HeaderName, HeaderValue, Host, Message, Method, NameAddr, Params, Request, Response,
    Scheme, Transport, Uri, Via,
};
use kaphila_sip::reason;
use kaphila_sip::wire::{Input, parse_datagram};
use proptest::prelude::*;

/// Text with much of what could do harm.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\0".to_owned()),
        Just("\r\nVia: SIP/2.0/UDP evil\r\n\r\n".to_owned()),
        "[\"<>;,@:%?&=\\\\ \t]",
        "[a-z0-9]{1,5}",
        "\\PC",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

#[test]
fn values_with_line_ends_are_refused() {
    for bad in ["a\r\nb", "a\nb", "a\rb", "a\0b", "\r\n", "a\n"] {
        assert!(HeaderValue::try_from(bad).is_err(), "{bad:?}");
    }
    for bad in ["a b", "a:", "", "a\r\n", "ä"] {
        assert!(HeaderName::parse(bad).is_err(), "{bad:?}");
        assert!(Method::parse(bad).is_err(), "{bad:?}");
    }
    assert_eq!(HeaderValue::try_from("  a b ").unwrap().as_str(), "a b");
}

proptest! {
    #[test]
    fn in_whatever_field_it_stands(text in hostile()) {
        let host = Host::Name(text.clone());
        let uri = Uri {
            scheme: Scheme::Sip,
            user: Some(text.clone()),
            host: host.clone(),
            port: Some(5060),
            params: {
                let mut params = Params::new();
                params.set(&format!("x{text}"), &text);
                params
            },
            headers: Some(text.clone()),
        };
        let address = NameAddr { display: Some(text.clone()), uri: uri.clone(), params: Params::new() };
        let mut request = Request::new(Method::Invite, Uri::sip(Some(&text), Host::V4([192, 0, 2, 1].into()), None));
        request.uri.headers = Some(text.clone());
        request.headers.push(HeaderName::VIA, Via::new(Transport::Udp, Host::V4([192, 0, 2, 1].into()), None, &text));
        request.headers.push(HeaderName::FROM, NameAddr {
            display: Some(text.clone()),
            uri: Uri::sip(Some(&text), Host::V4([192, 0, 2, 1].into()), None),
            params: Params::new(),
        }.with_tag(&text));
        request.headers.push(HeaderName::TO, NameAddr::new(Uri::sip(Some(&text), Host::V4([192, 0, 2, 1].into()), None)));
        request.headers.push(HeaderName::CALL_ID, HeaderValue::from_static("c"));
        request.headers.push(HeaderName::CSEQ, CSeq { seq: 1, method: Method::Invite });
        request.headers.push(HeaderName::REASON, reason::q850_value(16, &text));
        request.headers.push(HeaderName::CONTACT, address);
        request.headers.push(HeaderName::REFER_TO, uri);
        request.headers.push(HeaderName::REPLACES, Via::new(Transport::Udp, host, None, "b"));
        let written = request.to_bytes();
        let parsed = parse_datagram(&written);
        let Ok(Input::Message(Message::Request(read))) = parsed else {
            panic!("{parsed:?} of {:?}", String::from_utf8_lossy(&written))
        };
        prop_assert_eq!(read.headers.len(), request.headers.len());
        prop_assert_eq!(read.headers.get_all(&HeaderName::VIA).count(), 1);
        prop_assert!(read.body.is_empty());
        prop_assert_eq!(read.uri.user_text().unwrap_or_default(), text.as_str());
        let clean = text.replace(['\r', '\n', '\0'], " ");
        prop_assert_eq!(read.from().unwrap().display, Some(clean));
        prop_assert_eq!(reason::q850(&read.headers), Some(16));

        let mut response = Response::to_request(&request, 486, &text);
        response.set_to_tag(&text);
        let Ok(Input::Message(Message::Response(read))) = parse_datagram(&response.to_bytes()) else {
            panic!("refused: {:?}", response.to_bytes())
        };
        prop_assert_eq!(read.headers.len(), 5);
        prop_assert!(read.body.is_empty());
    }
}
