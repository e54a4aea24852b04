//! While nobody listens what comes is not decoded; a recording that begins then, twice, has what
//! came since in its place and nothing of before.

use std::time::{Duration, Instant};

use kaphila_media::codec::Codec;
use kaphila_media::record::Channels;
use kaphila_media::session::{Channel, Command};

use crate::session_support::{End, address, rtp};

/// What the far end says in its frame `n`: one level a second.
fn level(n: i64) -> i16 {
    (n / 50 % 20) as i16 * 1000 + 1000
}

#[test]
fn what_is_recorded_is_what_came_since() {
    let start = Instant::now();
    let at = |n: i64| start + Duration::from_millis(20 * n as u64);
    let peer = address("192.0.2.9:5000");
    let mut end = End::answered(start, address("192.0.2.1:4000"), peer, 8);
    let mut payload = [0; 160];
    for n in 0..1500 {
        match n {
            500 | 1000 => end.record(at(n), Channels::Dual),
            600 | 1100 => end.command(at(n), Command::StopRecording),
            _ => {}
        }
        Codec::Pcmu.encode(&[level(n); 160], &mut payload);
        end.handle(at(n), Channel::Rtp, peer, &rtp(0, n as u16, n as u32 * 160, 7, &payload));
        end.tick(at(n));
    }
    // 2 s each, from second 10 and from second 20 on: levels 11 000, 12 000, then 1000, 2000.
    let theirs: Vec<i16> = end.recorded.iter().step_by(2).copied().collect();
    assert_eq!(theirs.len(), 2 * 16_000);
    // Within a frame of each edge, where audio fades in or a packet is cut by the beginning.
    for (second, expect) in [11_000, 12_000, 1000, 2000].into_iter().enumerate() {
        let from = second * 8000;
        let off = |sample: &&i16| (i32::from(**sample) - expect).abs() > 300;
        let wrong = theirs[from + 160..from + 7840].iter().filter(off).count();
        assert_eq!(wrong, 0, "second {second}");
    }
}
