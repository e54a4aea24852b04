//! Offers in a running session: hold, resume, another address, codec or number (RFC 3264 §8).

use kaphila_media::sdp::{Codec, Direction, SdpError};

use crate::sdp_support::{body, callee, lines};

const CALL: [&str; 2] = ["m=audio 4000 RTP/AVP 0 101", "a=rtpmap:101 telephone-event/8000"];

#[test]
fn hold_is_understood_in_all_its_forms() {
    for (hold, ours) in [
        (&["c=IN IP4 0.0.0.0"][..], Direction::RecvOnly),
        (&["c=IN IP4 0.0.0.0", "a=sendonly"], Direction::RecvOnly),
        (&["c=IN IP4 0.0.0.0", "a=recvonly"], Direction::Inactive),
        (&["c=IN IP4 0.0.0.0", "a=inactive"], Direction::Inactive),
        (&["a=sendonly"], Direction::RecvOnly),
        (&["a=inactive"], Direction::Inactive),
    ] {
        let mut callee = callee();
        callee.handle_offer(&body(&CALL)).unwrap();
        let (answer, held) = callee.handle_offer(&body(&[&CALL[..], hold].concat())).unwrap();
        assert_eq!(held.direction, ours, "{hold:?}");
        assert!(held.is_held(), "{hold:?}");
        assert_eq!(lines(&answer).last(), Some(&format!("a={}", ours.name())));
        let (_, resumed) = callee.handle_offer(&body(&CALL)).unwrap();
        assert!(!resumed.is_held(), "{hold:?}");
    }
}

#[test]
fn the_id_is_constant_and_the_version_grows_by_one_on_a_change_only() {
    let mut callee = callee();
    let mut origin = |offer: &[&str]| {
        let (answer, _) = callee.handle_offer(&body(offer)).unwrap();
        lines(&answer)[1].clone()
    };
    let hold = [&CALL[..], &["a=sendonly"]].concat();
    assert_eq!(origin(&CALL), "o=- 21 1 IN IP4 198.51.100.7");
    assert_eq!(origin(&CALL), "o=- 21 1 IN IP4 198.51.100.7");
    assert_eq!(origin(&hold), "o=- 21 2 IN IP4 198.51.100.7");
    assert_eq!(origin(&hold), "o=- 21 2 IN IP4 198.51.100.7");
    assert_eq!(origin(&CALL), "o=- 21 3 IN IP4 198.51.100.7");
    // A new address of the peer changes nothing in what we say.
    let moved = ["m=audio 5000 RTP/AVP 0 101", CALL[1]];
    assert_eq!(origin(&moved), "o=- 21 3 IN IP4 198.51.100.7");
    // An offer of our own says more than the answer did.
    assert_eq!(lines(&callee.offer())[1], "o=- 21 4 IN IP4 198.51.100.7");
}

#[test]
fn another_codec_is_answered_with_that_codec() {
    let mut callee = callee();
    callee.handle_offer(&body(&CALL)).unwrap();
    let (answer, agreed) = callee.handle_offer(&body(&["m=audio 4000 RTP/AVP 8"])).unwrap();
    assert_eq!((agreed.send, agreed.send_pt), (Codec::Pcma, 8));
    assert!(lines(&answer).contains(&"m=audio 10000 RTP/AVP 8".to_owned()));
    // Packets on their way still decode.
    assert_eq!(agreed.codec(0), Some(Codec::Pcmu));
}

#[test]
fn the_same_codec_under_a_new_number_is_followed() {
    let mut callee = callee();
    callee.handle_offer(&body(&CALL)).unwrap();
    let (_, agreed) = callee
        .handle_offer(&body(&[
            "m=audio 4000 RTP/AVP 97 98",
            "a=rtpmap:97 PCMU/8000",
            "a=rtpmap:98 telephone-event/8000",
        ]))
        .unwrap();
    assert_eq!((agreed.send, agreed.send_pt), (Codec::Pcmu, 97));
    assert_eq!(agreed.event_send.unwrap().pt, 98);
    // Our own offer keeps to what the peer uses.
    assert!(lines(&callee.offer()).contains(&"m=audio 10000 RTP/AVP 97 8 98".to_owned()));
}

#[test]
fn a_number_never_changes_its_meaning() {
    let mut callee = callee();
    callee.handle_offer(&body(&CALL)).unwrap();
    // 101 was the telephone-event: as a codec it is not taken …
    let (_, agreed) = callee
        .handle_offer(&body(&["m=audio 4000 RTP/AVP 101 8", "a=rtpmap:101 PCMU/8000"]))
        .unwrap();
    assert_eq!(agreed.send_pt, 8);
    assert_eq!(agreed.codec(101), None);
    assert!(agreed.event(101).is_some());
    // … and where nothing else is offered, the offer is refused.
    let only = body(&["m=audio 4000 RTP/AVP 101", "a=rtpmap:101 PCMU/8000"]);
    assert_eq!(callee.handle_offer(&only), Err(SdpError::NoCommonCodec));
    assert_eq!(callee.agreed(), Some(&agreed));
}

#[test]
fn our_event_number_avoids_what_the_peer_uses_otherwise() {
    let mut callee = callee();
    callee.handle_offer(&body(&["m=audio 4000 RTP/AVP 101", "a=rtpmap:101 PCMU/8000"])).unwrap();
    let offer = lines(&callee.offer());
    assert!(offer.contains(&"m=audio 10000 RTP/AVP 101 8 96".to_owned()));
    assert!(offer.contains(&"a=rtpmap:96 telephone-event/8000".to_owned()));
}
