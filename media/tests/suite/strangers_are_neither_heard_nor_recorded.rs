//! "RTP we take": a spray from elsewhere reaches neither the recording nor the digits nor the far
//! end's address; what is malformed is counted.

use std::time::{Duration, Instant};

use kaphila_media::record::Channels;
use kaphila_media::session::{Channel, Command};

use crate::session_support::{EVENTS, End, address, agreed, rtp};

#[test]
fn a_spray_after_the_latch_gains_nothing() {
    let start = Instant::now();
    let peer = address("203.0.113.9:5000");
    let mut end = End::answered(start, address("192.0.2.1:4000"), peer, 4);
    end.record(start, Channels::Mono);
    for i in 0..500_u32 {
        let now = start + Duration::from_millis(u64::from(i) * 20);
        // Silence from the far end; noise and digits from two strangers, one at its address.
        end.handle(now, Channel::Rtp, peer, &rtp(0, i as u16, i * 160, 7, &[0xff; 160]));
        for from in ["198.51.100.66:5000", "203.0.113.9:5002"].map(address) {
            end.handle(now, Channel::Rtp, from, &rtp(0, i as u16, i * 160, 7, &[0x80; 160]));
            let press = [5, 0x0a, 0, 160];
            end.handle(now, Channel::Rtp, from, &rtp(EVENTS, i as u16, i * 1600, 7, &press));
        }
        for (_, to, _) in end.tick(now) {
            assert_eq!(to.ip(), peer.ip());
            assert!([5000, 5001].contains(&to.port()));
        }
    }
    let now = start + Duration::from_secs(10);
    end.command(now, Command::Close);
    end.tick(now);
    assert_eq!(end.recorded.len(), 80_000);
    assert!(end.recorded.iter().all(|s| s.abs() < 10));
    assert_eq!(end.digits(), "");
    assert_eq!(end.session.counters().strangers, 2000);
}

#[test]
fn packets_go_to_the_port_that_the_far_end_sends_from() {
    let start = Instant::now();
    let at = |i: u64| start + Duration::from_millis(i * 20);
    let (said, real) = (address("203.0.113.9:5000"), address("203.0.113.9:61000"));
    let mut end = End::answered(start, address("192.0.2.1:4000"), said, 4);
    assert_eq!(end.tick(at(0))[0].1, said);
    for i in 1..6 {
        let packet = rtp(0, i as u16, i as u32 * 160, 7, &[0xff; 160]);
        end.handle(at(i), Channel::Rtp, real, &packet);
    }
    assert_eq!(end.tick(at(6))[0].1, real);
    assert_eq!(end.session.sole_source(at(6)), Some(real));
    assert_eq!(end.session.counters().probes, 2);
}

#[test]
fn a_type_that_was_not_agreed_cannot_latch_and_rubbish_is_counted() {
    let now = Instant::now();
    let peer = address("203.0.113.9:5000");
    let mut end = End::open(now, address("192.0.2.1:4000"), peer, 4);
    end.handle(now, Channel::Rtp, peer, &rtp(0, 1, 1, 7, &[0xff; 160]));
    assert_eq!(end.session.counters().unconnected, 1);
    end.connect(now, agreed(peer));
    for i in 0..9 {
        let from = address("203.0.113.9:61000");
        end.handle(now, Channel::Rtp, from, &rtp(18, i, 1, 7, &[0; 20]));
    }
    for bad in [&[][..], &[0x80; 11], &[0; 100], &[0xff; 100]] {
        end.handle(now, Channel::Rtp, peer, bad);
        end.handle(now, Channel::Rtcp, peer, bad);
    }
    end.handle(now, Channel::Rtcp, address("198.51.100.1:5001"), &[0x80, 201, 0, 1, 0, 0, 0, 1]);
    end.handle(now, Channel::Rtp, peer, &rtp(0, 1, 1, 7, &[0; 1601]));
    let counters = end.session.counters();
    assert_eq!(counters.unknown_type, 9);
    assert_eq!((counters.malformed, counters.rtcp_malformed), (4, 4));
    assert_eq!((counters.rtcp_strangers, counters.astray), (1, 1));
    assert_eq!(end.session.sole_source(now), Some(peer));
}
