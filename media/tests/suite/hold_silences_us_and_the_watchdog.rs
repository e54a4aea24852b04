//! A held call sends nothing, plays nothing, is not watched, and goes on afterwards.

use std::time::{Duration, Instant};

use kaphila_media::sdp::Direction;
use kaphila_media::session::{Channel, Command, MediaEvent, PlaybackId};

use crate::session_support::{End, Pair, address, agreed, fields, rtp};

fn held(pair: &mut Pair, direction: Direction) {
    let mut to_second = agreed(pair.second.address);
    to_second.direction = direction;
    pair.first.connect(pair.now, to_second);
}

#[test]
fn playback_pauses_in_a_hold_and_goes_on_after_it_on_the_same_line() {
    for direction in [Direction::Inactive, Direction::RecvOnly] {
        let mut pair = Pair::new(Instant::now());
        let audio: Vec<i16> = (0..8000).map(|i| i * 2).collect();
        pair.first.play(pair.now, 1, &audio);
        pair.run(Duration::from_millis(400));
        held(&mut pair, direction);
        let before = pair.first.rtp().count();
        pair.run(Duration::from_secs(300));
        assert_eq!(pair.first.rtp().count(), before, "{direction:?}");
        held(&mut pair, Direction::SendRecv);
        pair.run(Duration::from_secs(1));
        let packets: Vec<_> = pair.first.rtp().map(|(at, data)| (at, data.to_vec())).collect();
        let (at, first) = &packets[0];
        let (resumed_at, resumed) = &packets[before];
        let passed = resumed_at.duration_since(*at).as_millis() as u32 * 8;
        let (kind, sequence, timestamp, payload) = fields(resumed);
        assert_eq!(timestamp, fields(first).2.wrapping_add(passed));
        assert_eq!(sequence, fields(first).1.wrapping_add(before as u16));
        assert_eq!(kind, 0x80, "a talkspurt begins");
        let mut expected = [0; 160];
        kaphila_media::codec::Codec::Pcmu.encode(&audio[before * 160..][..160], &mut expected);
        assert_eq!(payload, expected);
        let finished =
            MediaEvent::PlaybackFinished { id: PlaybackId(1), played_ms: 1000, completed: true };
        assert!(pair.first.events.contains(&finished));
        assert!(!pair.first.events.contains(&MediaEvent::RtpTimeout));
    }
}

#[test]
fn the_watchdog_counts_from_the_answer_and_from_the_last_packet() {
    let start = Instant::now();
    let at = |secs: u64| start + Duration::from_secs(secs);
    let peer = address("192.0.2.9:5000");
    let mut end = End::open(start, address("192.0.2.1:4000"), peer, 3);
    end.connect(start, agreed(peer));
    let told = |end: &End| end.events.iter().filter(|e| **e == MediaEvent::RtpTimeout).count();
    // Ringing for two minutes is no time-out.
    end.tick(at(120));
    end.command(at(120), Command::Answered);
    end.tick(at(179));
    assert_eq!(told(&end), 0);
    end.handle(at(179), Channel::Rtp, peer, &rtp(0, 1, 0, 7, &[0xff; 160]));
    end.tick(at(238));
    assert_eq!(told(&end), 0);
    // A stranger's packet is none.
    let stranger = address("198.51.100.1:5000");
    end.handle(at(238), Channel::Rtp, stranger, &rtp(0, 2, 0, 7, &[0xff; 160]));
    for secs in 239..400 {
        end.tick(at(secs));
    }
    assert_eq!(told(&end), 1);
    // Once more only after something came again.
    end.handle(at(400), Channel::Rtp, peer, &rtp(0, 3, 0, 7, &[0xff; 160]));
    end.tick(at(459));
    assert_eq!(told(&end), 1);
    end.tick(at(461));
    assert_eq!(told(&end), 2);
}

#[test]
fn a_hold_stops_the_watchdog_and_its_end_starts_it_anew() {
    let mut pair = Pair::new(Instant::now());
    (pair.first.keep_sent, pair.second.keep_sent) = (false, false);
    pair.network = Box::new(|_| vec![]);
    pair.run(Duration::from_secs(59));
    held(&mut pair, Direction::RecvOnly);
    pair.run(Duration::from_secs(300));
    held(&mut pair, Direction::SendRecv);
    pair.run(Duration::from_secs(59));
    assert!(!pair.first.events.contains(&MediaEvent::RtpTimeout));
    pair.run(Duration::from_secs(2));
    assert!(pair.first.events.contains(&MediaEvent::RtpTimeout));
}

/// RFC 3264 §5.1: who only receives sends no RTP, and has not fallen silent for that.
#[test]
fn a_far_end_that_only_listens_is_not_watched() {
    let mut pair = Pair::new(Instant::now());
    (pair.first.keep_sent, pair.second.keep_sent) = (false, false);
    pair.network = Box::new(|_| vec![]);
    held(&mut pair, Direction::SendOnly);
    pair.run(Duration::from_secs(300));
    assert!(!pair.first.events.contains(&MediaEvent::RtpTimeout));
    held(&mut pair, Direction::SendRecv);
    pair.run(Duration::from_secs(61));
    assert!(pair.first.events.contains(&MediaEvent::RtpTimeout));
}
