//! Offers of the kinds that telephones and SBCs send, and our answer to each (RFC 3264 §6).

use kaphila_media::sdp::{Capabilities, Codec, Direction, EventFormat, Negotiation, SdpError};

use crate::sdp_support::{body, callee, lines};

#[test]
fn the_first_codec_of_the_offer_that_is_ours_is_answered_alone() {
    let offer = body(&[
        "m=audio 23672 RTP/AVP 18 8 0 101",
        "a=rtpmap:18 G729/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
    ]);
    let (answer, agreed) = callee().handle_offer(&offer).unwrap();
    assert_eq!((agreed.send, agreed.send_pt), (Codec::Pcma, 8));
    assert_eq!(agreed.remote, "192.0.2.10:23672".parse().unwrap());
    assert_eq!(agreed.remote_rtcp, "192.0.2.10:23673".parse().unwrap());
    // The peer may switch to the other without asking.
    assert_eq!(agreed.codec(0), Some(Codec::Pcmu));
    assert_eq!(agreed.codec(18), None);
    assert_eq!(
        lines(&answer),
        [
            "v=0",
            "o=- 21 1 IN IP4 198.51.100.7",
            "s=-",
            "c=IN IP4 198.51.100.7",
            "t=0 0",
            "m=audio 10000 RTP/AVP 8 101",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-16",
            "a=ptime:20",
            "a=sendrecv",
        ]
    );
}

#[test]
fn telephone_event_first_in_the_list_is_not_the_codec() {
    let offer = body(&[
        "m=audio 5040 RTP/AVP 101 96 0",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtpmap:96 SPEEX/-1",
    ]);
    let (_, agreed) = callee().handle_offer(&offer).unwrap();
    assert_eq!(agreed.send, Codec::Pcmu);
    assert_eq!(agreed.event_send.unwrap().pt, 101);
}

#[test]
fn of_several_event_clocks_the_codecs_own_is_answered() {
    let offer = body(&[
        "m=audio 7078 RTP/AVP 96 0 101 99 100",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:101 telephone-event/48000",
        "a=rtpmap:99 telephone-event/16000",
        "a=rtpmap:100 telephone-event/8000",
    ]);
    let (answer, agreed) = callee().handle_offer(&offer).unwrap();
    let event = EventFormat { pt: 100, clock: 8_000 };
    assert_eq!(agreed.event_send, Some(event));
    assert!(lines(&answer).contains(&"m=audio 10000 RTP/AVP 0 100".to_owned()));
    // Should one of the others come all the same, it is read by its own clock.
    assert_eq!(agreed.event(101).unwrap().clock, 48_000);
}

#[test]
fn names_match_in_any_case_and_static_types_need_no_rtpmap() {
    let offer = body(&["m=audio 4000 RTP/AVP 97", "a=rtpmap:97 pcma/8000/1"]);
    let (_, agreed) = callee().handle_offer(&offer).unwrap();
    assert_eq!((agreed.send, agreed.send_pt), (Codec::Pcma, 97));
    let (_, agreed) = callee().handle_offer(&body(&["m=audio 4000 RTP/AVP 0"])).unwrap();
    assert_eq!(agreed.send_pt, 0);
    assert_eq!(agreed.event_send, None);
}

#[test]
fn every_direction_is_mirrored() {
    for (theirs, ours) in [
        ("a=sendrecv", Direction::SendRecv),
        ("a=sendonly", Direction::RecvOnly),
        ("a=recvonly", Direction::SendOnly),
        ("a=inactive", Direction::Inactive),
        ("a=direction:passive", Direction::SendRecv),
        ("a=label", Direction::SendRecv),
    ] {
        let (answer, agreed) =
            callee().handle_offer(&body(&["m=audio 4000 RTP/AVP 0", theirs])).unwrap();
        assert_eq!(agreed.direction, ours, "{theirs}");
        let line = format!("a={}", ours.name());
        assert_eq!(lines(&answer).last(), Some(&line), "{theirs}");
    }
}

#[test]
fn what_the_session_level_says_holds_unless_the_stream_says_otherwise() {
    let offer = body(&[
        "a=sendonly",
        "a=ptime:30",
        "m=audio 4000 RTP/AVP 0",
        "c=IN IP4 192.0.2.99",
        "a=inactive",
    ]);
    let (_, agreed) = callee().handle_offer(&offer).unwrap();
    assert_eq!(agreed.remote, "192.0.2.99:4000".parse().unwrap());
    assert_eq!(agreed.direction, Direction::Inactive);
    assert_eq!(agreed.ptime_ms, 30);
}

#[test]
fn streams_we_do_not_take_keep_their_place_with_port_0() {
    let offer = body(&[
        "m=application 9 TCP/MRCPv2 1",
        "a=setup:active",
        "m=image 53200 udptl t38",
        "m=audio 14238 RTP/AVP 0 8",
        "a=recvonly",
        "m=audio 14240 RTP/AVP 0",
        "m=video 5042 RTP/AVP 31 34",
    ]);
    let mut callee = callee();
    let (answer, agreed) = callee.handle_offer(&offer).unwrap();
    assert_eq!(agreed.direction, Direction::SendOnly);
    let streams = [
        "m=application 0 TCP/MRCPv2 1",
        "m=image 0 udptl t38",
        "m=audio 10000 RTP/AVP 0",
        "m=audio 0 RTP/AVP 0",
        "m=video 0 RTP/AVP 31",
    ];
    assert_eq!(streams_of(&answer), streams);
    // Our own offer later in the session keeps the places too (RFC 3264 §8).
    let again = streams_of(&callee.offer());
    assert_eq!(again[2], "m=audio 10000 RTP/AVP 0 8 101");
    assert_eq!([&again[..2], &again[3..]].concat(), [&streams[..2], &streams[3..]].concat());
}

#[test]
fn the_profile_is_mirrored_or_refused() {
    let (answer, _) = callee()
        .handle_offer(&body(&["m=audio 28936 RTP/AVPF 0", "a=rtcp-fb:* trr-int 1000"]))
        .unwrap();
    assert_eq!(streams_of(&answer), ["m=audio 10000 RTP/AVPF 0"]);
    for profile in ["RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF"] {
        let offer = body(&[&format!("m=audio 4000 {profile} 0")]);
        let refusal = callee().handle_offer(&offer).unwrap_err();
        assert_eq!(refusal, SdpError::Profile(profile.to_owned()));
    }
    // One stream for those who can, one for those who cannot.
    let both = body(&["m=audio 4000 RTP/SAVP 0", "m=audio 4002 RTP/AVP 0"]);
    let (answer, agreed) = callee().handle_offer(&both).unwrap();
    assert_eq!(agreed.remote.port(), 4002);
    assert_eq!(streams_of(&answer), ["m=audio 0 RTP/SAVP 0", "m=audio 10000 RTP/AVP 0"]);
}

#[test]
fn the_packet_length_is_the_peers_where_we_can_and_never_over_its_maximum() {
    for (attributes, ms) in [
        (&[][..], 20),
        (&["a=ptime:10"], 10),
        (&["a=ptime:30"], 30),
        (&["a=ptime:40"], 40),
        (&["a=ptime:60"], 60),
        (&["a=ptime:25"], 20),
        (&["a=ptime:0"], 20),
        (&["a=ptime:99999999999"], 20),
        (&["a=maxptime:150"], 20),
        (&["a=ptime:40", "a=maxptime:30"], 30),
        (&["a=maxptime:10"], 10),
        (&["a=maxptime:5"], 10),
        (&["a=maxptime:0"], 20),
    ] {
        let offer = body(&[&["m=audio 4000 RTP/AVP 0"][..], attributes].concat());
        let (answer, agreed) = callee().handle_offer(&offer).unwrap();
        assert_eq!(agreed.ptime_ms, ms, "{attributes:?}");
        assert!(lines(&answer).contains(&format!("a=ptime:{ms}")));
    }
}

#[test]
fn rtcp_goes_where_the_peer_says() {
    for (attribute, remote) in [
        ("a=rtcp:5000", "192.0.2.10:5000"),
        ("a=rtcp:5000 IN IP4 192.0.2.77", "192.0.2.77:5000"),
        ("a=rtcp:0", "192.0.2.10:4001"),
        ("a=rtcp:rubbish", "192.0.2.10:4001"),
    ] {
        let offer = body(&["m=audio 4000 RTP/AVP 0", attribute]);
        let (_, agreed) = callee().handle_offer(&offer).unwrap();
        assert_eq!(agreed.remote_rtcp, remote.parse().unwrap(), "{attribute}");
    }
}

#[test]
fn ipv6_addresses_stand_bare_and_brackets_are_forgiven() {
    for address in ["2001:db8::10", "[2001:db8::10]"] {
        let offer = format!(
            "v=0\r\no=- 1 1 IN IP6 2001:db8::10\r\ns=-\r\nc=IN IP6 {address}\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP 0\r\n"
        );
        let local = "[2001:db8::7]:10000".parse().unwrap();
        let mut callee = Negotiation::new(Capabilities::default(), local, 42);
        let (answer, agreed) = callee.handle_offer(offer.as_bytes()).unwrap();
        assert_eq!(agreed.remote, "[2001:db8::10]:4000".parse().unwrap());
        assert!(lines(&answer).contains(&"c=IN IP6 2001:db8::7".to_owned()));
        assert!(lines(&answer).contains(&"o=- 21 1 IN IP6 2001:db8::7".to_owned()));
    }
}

#[test]
fn line_ends_strange_numbers_and_broken_text_are_forgiven() {
    let offer = b"\n v=0\no=x 5772550679930491611 99999999999999999999999 IN IP4 192.0.2.10\n\
        s=Caf\xE9\nc=IN IP4 192.0.2.10\nb=CT:99980\nt=4058038202 0\nq?\n\
        m=audio 4000/2 RTP/AVP 0 300 x\na=X-fax\na=rtpmap:\na=rtpmap:0 PCMU/8000\na=ptime:30";
    let (_, agreed) = callee().handle_offer(offer).unwrap();
    assert_eq!(agreed.send, Codec::Pcmu);
    // The last line counts without an end.
    assert_eq!(agreed.ptime_ms, 30);
}

#[test]
fn what_cannot_be_taken_is_refused_by_name_and_the_old_session_stays() {
    let many = vec!["m=video 1 RTP/AVP 31"; 17];
    let cases: [(Vec<u8>, SdpError); 9] = [
        (Vec::new(), SdpError::NoAudio),
        (body(&["m=audio 0 RTP/AVP 0"]), SdpError::NoAudio),
        (
            body(&["m=audio 4000 RTP/AVP 18 101", "a=rtpmap:101 telephone-event/8000"]),
            SdpError::NoCommonCodec,
        ),
        (body(&["m=audio"]), SdpError::Syntax("m= line too short")),
        (body(&["m=audio 70000 RTP/AVP 0"]), SdpError::Syntax("m= line without a port")),
        (body(&many), SdpError::TooLarge("number of m= lines")),
        (vec![b'x'; 16 * 1024 + 1], SdpError::TooLarge("body")),
        (
            body(&["m=audio 4000 RTP/AVP 0", "c=IN IP4 media.example.net"]),
            SdpError::Address("IN IP4 media.example.net".to_owned()),
        ),
        (
            body(&["m=audio 4000 RTP/AVP 0", "c=IN IP4 224.2.1.1/127"]),
            SdpError::Address("IN IP4 224.2.1.1/127".to_owned()),
        ),
    ];
    let mut callee = callee();
    let (before, agreed) = callee.handle_offer(&body(&["m=audio 4000 RTP/AVP 0"])).unwrap();
    for (offer, refusal) in cases {
        assert_eq!(callee.handle_offer(&offer), Err(refusal));
        assert_eq!(callee.agreed(), Some(&agreed));
    }
    let (after, _) = callee.handle_offer(&body(&["m=audio 4000 RTP/AVP 0"])).unwrap();
    assert_eq!(after, before);
}

#[test]
fn without_telephone_event_among_our_capabilities_none_is_answered() {
    let capabilities = Capabilities { telephone_event: false, ..Capabilities::default() };
    let mut callee = Negotiation::new(capabilities, "198.51.100.7:10000".parse().unwrap(), 42);
    let offer = body(&["m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000"]);
    let (answer, agreed) = callee.handle_offer(&offer).unwrap();
    assert_eq!(agreed.event_send, None);
    assert_eq!(streams_of(&answer), ["m=audio 10000 RTP/AVP 0"]);
}

fn streams_of(body: &[u8]) -> Vec<String> {
    let streams = lines(body).into_iter();
    streams.filter(|line| line.starts_with("m=")).collect()
}
