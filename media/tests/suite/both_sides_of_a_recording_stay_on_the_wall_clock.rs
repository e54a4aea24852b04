//! M8: an hour of two-way audio with loss; marks of both sides stand where the wall clock had them.

use std::time::{Duration, Instant};

use kaphila_media::codec::Codec;
use kaphila_media::record::Channels;
use kaphila_media::session::{Channel, Command, PlaybackId};

use crate::session_support::{End, Random, address, rtp, sine};

const HOUR: i64 = 3600 * 50;
/// A mark each 10 s, five frames long.
const EVERY: i64 = 500;
const MARK: i64 = 5;

/// Sample positions at which marks begin on one channel of an interleaved recording.
fn marks(recorded: &[i16], channel: usize) -> Vec<i64> {
    let mut begins = Vec::new();
    let mut quiet = i64::MAX / 2;
    for (at, sample) in recorded.iter().skip(channel).step_by(2).enumerate() {
        if sample.abs() < 1000 {
            quiet += 1;
        } else {
            if quiet > 4000 {
                begins.push(at as i64);
            }
            quiet = 0;
        }
    }
    begins
}

#[test]
fn an_hour_with_five_per_cent_loss_is_aligned_within_20_ms() {
    let start = Instant::now();
    let at = |ms: i64| start + Duration::from_millis(ms as u64);
    let peer = address("192.0.2.9:5000");
    let mut end = End::answered(start, address("192.0.2.1:4000"), peer, 8);
    end.keep_sent = false;
    end.record(start, Channels::Dual);
    let mut random = Random(8);
    let mark: std::sync::Arc<[i16]> =
        (0..MARK * 160).map(|i| sine(1000.0, 8000.0, i)).collect::<Vec<_>>().into();
    let mut payload = [0xff; 160];
    for frame in 0..HOUR {
        let now = at(20 * frame);
        let marked = frame % EVERY < MARK;
        // The frame that begins a mark is not lost: there would be nothing to measure.
        if frame % EVERY == 0 || !random.chance(5) {
            if marked {
                let from = (frame % EVERY) * 160;
                let audio: Vec<_> = (from..from + 160).map(|i| sine(1000.0, 8000.0, i)).collect();
                Codec::Pcmu.encode(&audio, &mut payload);
            } else {
                payload = [0xff; 160];
            }
            let packet = rtp(0, frame as u16, (frame * 160) as u32, 7, &payload);
            end.handle(now, Channel::Rtp, peer, &packet);
        }
        if frame % EVERY == 0 {
            let audio = std::sync::Arc::clone(&mark);
            let id = PlaybackId(frame as u64);
            end.command(now, Command::Play { id, audio, in_recording: true });
        }
        end.tick(now);
    }
    let closed = at(20 * HOUR);
    end.command(closed, Command::Close);
    end.tick(closed);

    let length = end.recorded.len() as i64 / 2;
    assert!((length - HOUR * 160).abs() <= 800, "{length} samples in an hour");
    for channel in [0, 1] {
        let found = marks(&end.recorded, channel);
        assert_eq!(found.len() as i64, HOUR / EVERY, "channel {channel}");
        let off = |(i, begin): (usize, &i64)| begin - i as i64 * EVERY * 160;
        let worst = found.iter().enumerate().map(off).max_by_key(|off| off.abs()).unwrap();
        println!(
            "M8: channel {channel}: worst mark {worst} samples off of an hour's {}",
            found.len()
        );
        assert!(worst.abs() <= 160, "channel {channel}: {worst} samples off");
    }
    let counters = end.session.counters();
    assert_eq!((counters.late, counters.astray), (0, 0));
}

#[test]
fn silence_suppression_leaves_gaps_of_the_exact_length() {
    let start = Instant::now();
    let peer = address("192.0.2.9:5000");
    let mut end = End::answered(start, address("192.0.2.1:4000"), peer, 8);
    end.record(start, Channels::Mono);
    let mut sequence = 100_u16;
    let mut payload = [0; 160];
    for frame in 0..500_i64 {
        let now = start + Duration::from_millis(20 * frame as u64);
        // Talks for 10 frames of every 50. No marker, and the sequence knows no gaps.
        if frame % 50 < 10 {
            let audio: Vec<_> = (0..160).map(|i| sine(500.0, 8000.0, i)).collect();
            Codec::Pcmu.encode(&audio, &mut payload);
            let packet = rtp(0, sequence, (frame * 160) as u32, 7, &payload);
            end.handle(now, Channel::Rtp, peer, &packet);
            sequence = sequence.wrapping_add(1);
        }
        end.tick(now);
    }
    let now = start + Duration::from_secs(10);
    end.command(now, Command::Close);
    end.tick(now);
    let energy = |frame: usize| {
        let frame = &end.recorded[frame * 160..(frame + 1) * 160];
        frame.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / 160.0
    };
    assert_eq!(end.recorded.len(), 500 * 160);
    for frame in 0..500 {
        match frame % 50 {
            // What is concealed after the last packet fades out in 60 ms.
            0..10 => assert!(energy(frame) > 1e7, "frame {frame} is audio"),
            10..14 => {}
            _ => assert!(energy(frame) < 100.0, "frame {frame} is silence"),
        }
    }
}
