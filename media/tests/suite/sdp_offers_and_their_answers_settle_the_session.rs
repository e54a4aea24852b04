//! Our offer and what peers answer (RFC 3264 §5, §7).

use kaphila_media::sdp::{Capabilities, Codec, Direction, EventFormat, Negotiation, SdpError};

use crate::sdp_support::{body, callee as caller, lines};

#[test]
fn the_offer_names_all_we_can_and_is_small() {
    let offer = caller().offer();
    assert_eq!(
        lines(&offer),
        [
            "v=0",
            "o=- 21 1 IN IP4 198.51.100.7",
            "s=-",
            "c=IN IP4 198.51.100.7",
            "t=0 0",
            "m=audio 10000 RTP/AVP 0 8 101",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-16",
            "a=ptime:20",
            "a=sendrecv",
        ]
    );
    // An INVITE over 1300 bytes would have to change to TCP (RFC 3261 §18.1.1).
    assert!(offer.len() < 300);
}

#[test]
fn capabilities_shape_the_offer() {
    let capabilities =
        Capabilities { codecs: vec![Codec::Pcma], telephone_event: false, ptime_ms: 30 };
    let local = "198.51.100.7:10000".parse().unwrap();
    let offer = lines(&Negotiation::new(capabilities, local, 42).offer());
    assert_eq!(
        offer[5..],
        ["m=audio 10000 RTP/AVP 8", "a=rtpmap:8 PCMA/8000", "a=ptime:30", "a=sendrecv"]
    );
}

#[test]
fn an_answer_with_several_codecs_is_sent_its_first_and_may_send_any() {
    let mut caller = caller();
    caller.offer();
    let agreed = caller.handle_answer(&body(&["m=audio 4000 RTP/AVP 8 0"])).unwrap();
    assert_eq!((agreed.send, agreed.send_pt), (Codec::Pcma, 8));
    assert_eq!(agreed.codec(0), Some(Codec::Pcmu));
    assert_eq!(agreed.codec(8), Some(Codec::Pcma));
    assert_eq!(agreed.event_send, None);
}

#[test]
fn a_renumbered_event_is_sent_as_answered_and_taken_under_both_numbers() {
    let mut caller = caller();
    caller.offer();
    let agreed = caller
        .handle_answer(&body(&["m=audio 4000 RTP/AVP 0 96", "a=rtpmap:96 telephone-event/8000"]))
        .unwrap();
    let at = |pt| EventFormat { pt, clock: 8_000 };
    assert_eq!(agreed.event_send, Some(at(96)));
    assert_eq!(agreed.event(96), Some(at(96)));
    assert_eq!(agreed.event(101), Some(at(101)));
    assert_eq!(agreed.event(0), None);
}

#[test]
fn the_answers_direction_address_and_packet_length_hold() {
    let mut caller = caller();
    caller.offer();
    let agreed = caller
        .handle_answer(&body(&[
            "m=audio 6850 RTP/AVP 8 101",
            "c=IN IP4 192.0.2.33",
            "a=sendonly",
            "a=ptime:30",
            "a=rtpmap:101 telephone-event/8000",
        ]))
        .unwrap();
    assert_eq!(agreed.remote, "192.0.2.33:6850".parse().unwrap());
    assert_eq!(agreed.direction, Direction::RecvOnly);
    assert!(agreed.is_held());
    assert_eq!(agreed.ptime_ms, 30);
}

#[test]
fn a_183_and_the_200_after_it_both_answer_and_the_last_counts() {
    let mut caller = caller();
    caller.offer();
    caller.handle_answer(&body(&["m=audio 4000 RTP/AVP 0"])).unwrap();
    let agreed = caller.handle_answer(&body(&["m=audio 5000 RTP/AVP 8"])).unwrap();
    assert_eq!(agreed.remote.port(), 5000);
    assert_eq!(agreed.send, Codec::Pcma);
}

#[test]
fn an_answer_repeated_after_the_peers_own_offer_changes_nothing() {
    let mut caller = caller();
    caller.offer();
    caller.handle_answer(&body(&["m=audio 4000 RTP/AVP 0"])).unwrap();
    let (_, updated) = caller.handle_offer(&body(&["m=audio 6000 RTP/AVP 0"])).unwrap();
    let repeated = caller.handle_answer(&body(&["m=audio 4000 RTP/AVP 0"]));
    assert_eq!(repeated, Ok(updated));
}

#[test]
fn an_answer_cannot_give_an_offered_number_another_meaning() {
    let mut caller = caller();
    caller.offer();
    let agreed = caller
        .handle_answer(&body(&["m=audio 4000 RTP/AVP 101 8", "a=rtpmap:101 PCMU/8000"]))
        .unwrap();
    assert_eq!((agreed.send, agreed.send_pt), (Codec::Pcma, 8));
    assert_eq!(agreed.codec(101), None);
}

#[test]
fn an_answer_that_takes_nothing_is_an_error() {
    let mut caller = caller();
    assert_eq!(caller.handle_answer(b""), Err(SdpError::NotOffered));
    caller.offer();
    for (answer, refusal) in [
        (body(&["m=audio 0 RTP/AVP 0"]), SdpError::NoAudio),
        (body(&["m=audio 4000 RTP/AVP 18"]), SdpError::NoCommonCodec),
        (body(&["m=audio 8028 RTP/SAVP 0"]), SdpError::Profile("RTP/SAVP".to_owned())),
    ] {
        assert_eq!(caller.handle_answer(&answer), Err(refusal));
    }
    assert_eq!(caller.agreed(), None);
}
