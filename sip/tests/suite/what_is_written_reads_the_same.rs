//! Random messages: reading what was written gives the same message, and random or damaged octets
//! never do more than be refused.

use kaphila_sip::message::{
    CSeq, HeaderName, HeaderValue, Host, Message, Method, NameAddr, Params, Request, Response,
    Scheme, Transport, Uri, Via,
};
use kaphila_sip::wire::{Input, fuzz_wire, parse_datagram};
use proptest::prelude::*;

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,9}(\\.[a-z]{2,5}){0,2}".prop_map(Host::Name),
        any::<[u8; 4]>().prop_map(|octets| Host::V4(octets.into())),
        any::<[u8; 16]>().prop_map(|octets| Host::V6(octets.into())),
    ]
}

fn params() -> impl Strategy<Value = Params> {
    let value = prop::option::of(prop_oneof!["[a-zA-Z0-9.!%*_+`'~-]{1,8}", "[0-9]{1,5}"]);
    prop::collection::vec(("[a-z]{1,6}", value), 0..4).prop_map(|list| {
        let mut params = Params::new();
        for (name, value) in list {
            match value {
                Some(value) => params.set(&name, &value),
                None => params.set_flag(&name),
            }
        }
        params
    })
}

fn uri() -> impl Strategy<Value = Uri> {
    let sip = (
        prop_oneof![Just(Scheme::Sip), Just(Scheme::Sips)],
        prop::option::of("\\PC{1,12}"),
        host(),
        prop::option::of(1_u16..),
        params(),
    )
        .prop_map(|(scheme, user, host, port, params)| Uri {
            scheme,
            params,
            ..Uri::sip(user.as_deref(), host, port)
        });
    let tel = ("[+]?[0-9]{1,15}", params()).prop_map(|(number, params)| Uri {
        params,
        ..Uri::parse(&format!("tel:{number}")).unwrap()
    });
    prop_oneof![4 => sip, 1 => tel]
}

fn name_addr() -> impl Strategy<Value = NameAddr> {
    (prop::option::of("\\PC{0,12}"), uri(), params()).prop_map(|(display, uri, params)| NameAddr {
        display,
        uri,
        params,
    })
}

fn via() -> impl Strategy<Value = Via> {
    let transport = prop_oneof![Just(Transport::Udp), Just(Transport::Tcp), Just(Transport::Wss)];
    (transport, host(), prop::option::of(1_u16..), params())
        .prop_map(|(transport, host, port, params)| Via { transport, host, port, params })
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof!["INVITE|ACK|BYE|CANCEL|OPTIONS|UPDATE", "[A-Za-z0-9.!%*_+`'~-]{1,12}"]
        .prop_map(|text| Method::parse(&text).unwrap())
}

fn message() -> impl Strategy<Value = Message> {
    let start = prop_oneof![
        (method(), uri()).prop_map(Ok),
        (100_u16..700, "\\PC{0,20}", method()).prop_map(Err)
    ];
    let fields = (prop::collection::vec(via(), 1..4), name_addr(), name_addr(), 0..0x8000_0000_u32);
    let more = prop::collection::vec(("X-[a-z]{1,8}", "\\PC{0,30}"), 0..6);
    (start, fields, more, prop::collection::vec(any::<u8>(), 0..40)).prop_map(
        |(start, (vias, from, to, seq), more, body)| {
            let (mut message, method) = match start {
                Ok((method, uri)) => (Message::Request(Request::new(method.clone(), uri)), method),
                Err((status, reason, method)) => {
                    let reason = reason.trim().to_owned();
                    (Message::Response(Response { reason, ..Response::new(status) }), method)
                }
            };
            let (headers, bytes) = match &mut message {
                Message::Request(request) => (&mut request.headers, &mut request.body),
                Message::Response(response) => (&mut response.headers, &mut response.body),
            };
            for via in vias {
                headers.push(HeaderName::VIA, via);
            }
            headers.push(HeaderName::FROM, from);
            headers.push(HeaderName::TO, to);
            headers.push(HeaderName::CALL_ID, HeaderValue::from_static("a@b"));
            headers.push(HeaderName::CSEQ, CSeq { seq, method });
            for (name, value) in more {
                let value = HeaderValue::try_from(value).unwrap();
                headers.push(HeaderName::parse(&name).unwrap(), value);
            }
            *bytes = body.into();
            message
        },
    )
}

proptest! {
    #[test]
    fn a_message(message in message()) {
        let written = message.to_bytes();
        let read = parse_datagram(&written);
        prop_assert_eq!(&read, &Ok(Input::Message(message)), "{:?}", written);
        fuzz_wire(&written);
    }

    #[test]
    fn typed_values(address in name_addr(), via in via()) {
        let again = NameAddr::parse(&address.to_string());
        prop_assert_eq!(again.as_ref(), Ok(&address));
        prop_assert!(address.uri.equivalent(&again.unwrap().uri));
        prop_assert_eq!(Via::parse(&via.to_string()), Ok(via));
    }

    #[test]
    fn random_octets(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_wire(&bytes);
    }

    #[test]
    fn a_damaged_message(message in message(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        let mut bytes = message.to_bytes().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            if byte < 0x40 { bytes.remove(at); } else { bytes[at] = byte; }
            if bytes.is_empty() { break; }
        }
        fuzz_wire(&bytes);
    }
}
