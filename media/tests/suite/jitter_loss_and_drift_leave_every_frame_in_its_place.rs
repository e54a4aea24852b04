//! M9: jitter up to 60 ms, 5 % loss, reordering, and a sender's clock off by 200 ppm for an hour.

use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use kaphila_media::codec::Codec;
use kaphila_media::record::Channels;
use kaphila_media::session::{Channel, Command};

use crate::session_support::{End, Random, address, rtp, sine, steepest};

/// Runs `frames` of a far end whose clock is off by `ppm` and whose audio is `audio(position)`,
/// recorded. What is played back is of the left, theirs, and the end it was recorded at.
fn record(frames: i64, ppm: i64, seed: u64, audio: impl Fn(i64) -> i16) -> End {
    let start = Instant::now();
    let peer = address("192.0.2.9:5000");
    let mut end = End::answered(start, address("192.0.2.1:4000"), peer, 9);
    end.keep_sent = false;
    end.record(start, Channels::Mono);
    let mut random = Random(seed);
    let mut flights: BinaryHeap<std::cmp::Reverse<(u64, i64)>> = BinaryHeap::new();
    let mut payload = [0; 160];
    let mut next = 0;
    for frame in 0..frames {
        let tick = 20_000 * frame as u64;
        // Their frame `n` is sent at n × 20 ms of their clock.
        let sent = |n: i64| ((20_000 * n) as f64 * (1.0 + ppm as f64 * 1e-6)) as u64;
        while sent(next) <= tick {
            // The first second brings no loss, or there were nothing to start with.
            if next < 50 || !random.chance(5) {
                flights.push(std::cmp::Reverse((sent(next) + random.below(60_001), next)));
            }
            next += 1;
        }
        while let Some(std::cmp::Reverse((at, n))) = flights.peek().copied() {
            if at > tick {
                break;
            }
            flights.pop();
            let samples: Vec<_> = (n * 160..(n + 1) * 160).map(&audio).collect();
            Codec::Pcma.encode(&samples, &mut payload);
            let timestamp = (n * 160 - 16_000) as u32;
            let packet = rtp(8, (n + 65_000) as u16, timestamp, 7, &payload);
            end.handle(start + Duration::from_micros(at), Channel::Rtp, peer, &packet);
        }
        end.tick(start + Duration::from_micros(tick));
    }
    let now = start + Duration::from_millis(20 * frames as u64);
    end.command(now, Command::Close);
    end.tick(now);
    end
}

#[test]
fn an_hour_of_drift_and_jitter_drops_nothing_and_moves_nothing() {
    const FRAMES: i64 = 3600 * 50;
    // A burst of 200 ms each 5 s of their clock.
    let audio = |at: i64| if at % 40_000 < 1600 { sine(1000.0, 8000.0, at) } else { 0 };
    for ppm in [-200, 200] {
        let end = record(FRAMES, ppm, 200, audio);
        let counters = end.session.counters();
        assert_eq!((counters.late, counters.astray), (0, 0), "{ppm} ppm");
        let (mut quiet, mut found) = (8000, Vec::new());
        for (at, sample) in end.recorded.iter().enumerate() {
            quiet = if sample.abs() < 1000 { quiet + 1 } else { 0 };
            if quiet == 0 && found.last().is_none_or(|last| at - last > 20_000) {
                found.push(at);
            }
        }
        // Each burst where their clock had it, which is ppm away from ours; a lost first frame
        // moves what we find by 20 ms, so the median of nine neighbours is taken.
        let off: Vec<f64> = found
            .iter()
            .map(|at| {
                let n = (*at as f64 / 40_000.0).round();
                *at as f64 - n * 40_000.0 * (1.0 + ppm as f64 * 1e-6)
            })
            .collect();
        assert!(off.len() >= 719, "{} bursts", off.len());
        let median = |nine: &[f64]| {
            let mut nine = nine.to_vec();
            nine.sort_by(f64::total_cmp);
            nine[4]
        };
        let worst = off.windows(9).map(|nine| median(nine).abs()).fold(0.0, f64::max);
        println!("M9: {ppm} ppm: worst burst {worst:.1} samples off of {}", off.len());
        assert!(worst <= 80.0, "{ppm} ppm: {worst} samples off");
    }
}

#[test]
fn concealment_and_drift_make_no_click() {
    let amplitude = 8000.0;
    let tone = |at: i64| sine(200.0, amplitude, at);
    let slope = f64::from(steepest(&(0..8000).map(tone).collect::<Vec<_>>()));
    for ppm in [-200, 0, 200] {
        let end = record(5 * 60 * 50, ppm, 42, tone);
        let heard = &end.recorded[8000..end.recorded.len() - 8000];
        let step = f64::from(steepest(heard));
        println!("M9: {ppm} ppm: steepest step {:.2} of the tone's own", step / slope);
        assert!(step < 2.0 * slope, "{ppm} ppm: a step of {step}, the tone's own is {slope}");
        let loudest = heard.iter().map(|s| s.abs()).max().unwrap();
        assert!(loudest < 9000, "{loudest}");
    }
}

/// A sender that stands still for 160 ms, and then sends what it owes `gap` ms apart, is not a
/// slower path: what it says once it has caught up is in its place, at its pitch.
#[test]
fn a_sender_that_stutters_is_back_in_its_place() {
    for gap in [0, 5, 10, 13] {
        let start = Instant::now();
        let at = |ms: i64| start + Duration::from_millis(ms as u64);
        let peer = address("192.0.2.9:5000");
        let mut end = End::answered(start, address("192.0.2.1:4000"), peer, 9);
        end.record(start, Channels::Mono);
        let burst = 1_600 * 8..1_800 * 8;
        let audio = |at: i64| if burst.contains(&at) { sine(1000.0, 8000.0, at) } else { 50 };
        // Frame 50 is due at 1 s; the last of those that wait is sent when it is due.
        let sent = |n: i64| (20 * n).max(if n < 50 { 0 } else { 1_160 + (n - 50) * gap });
        let (mut payload, mut next) = ([0; 160], 0);
        for ms in 0..2_500 {
            while sent(next) <= ms {
                let samples: Vec<_> = (next * 160..(next + 1) * 160).map(audio).collect();
                Codec::Pcma.encode(&samples, &mut payload);
                let packet = rtp(8, next as u16, (next * 160) as u32, 7, &payload);
                end.handle(at(ms), Channel::Rtp, peer, &packet);
                next += 1;
            }
            if ms % 20 == 0 {
                end.tick(at(ms));
            }
        }
        let loud = |sample: &i16| sample.abs() > 2_000;
        let first = end.recorded.iter().position(loud).unwrap() as i64;
        let last = end.recorded.iter().rposition(loud).unwrap() as i64;
        for (found, expected) in [(first, burst.start), (last, burst.end)] {
            assert!((found - expected).abs() < 160, "{gap} ms: {found}, not {expected}");
        }
        assert!((last - first - 1_600).abs() < 10, "{gap} ms: {} samples", last - first);
    }
}

#[test]
fn without_jitter_and_loss_audio_passes_untouched() {
    let start = Instant::now();
    let peer = address("192.0.2.9:5000");
    let mut end = End::answered(start, address("192.0.2.1:4000"), peer, 9);
    end.record(start, Channels::Mono);
    let mut expected = Vec::new();
    for frame in 0..500_i64 {
        let now = start + Duration::from_millis(20 * frame as u64);
        let samples: Vec<_> =
            (frame * 160..(frame + 1) * 160).map(|i| sine(440.0, 5e3, i)).collect();
        let mut payload = [0; 160];
        Codec::Pcmu.encode(&samples, &mut payload);
        let mut decoded = [0; 160];
        Codec::Pcmu.decode(&payload, &mut decoded);
        expected.extend(decoded);
        let packet = rtp(0, frame as u16, (frame * 160) as u32, 7, &payload);
        end.handle(now, Channel::Rtp, peer, &packet);
        end.tick(now);
    }
    let now = start + Duration::from_secs(10);
    end.command(now, Command::Close);
    end.tick(now);
    // But for the 5 ms in which it fades in.
    assert_eq!(end.recorded[40..], expected[40..]);
}

/// A far end of 20 ms frames of a tone; what it sends is up to each test.
struct Sender {
    end: End,
    start: Instant,
    peer: std::net::SocketAddr,
    payload: [u8; 160],
}

impl Sender {
    fn new() -> Self {
        let start = Instant::now();
        let peer = address("192.0.2.9:5000");
        let mut end = End::answered(start, address("192.0.2.1:4000"), peer, 9);
        end.record(start, Channels::Mono);
        let samples: Vec<_> = (0..160).map(|i| sine(500.0, 8000.0, i)).collect();
        let mut payload = [0; 160];
        Codec::Pcmu.encode(&samples, &mut payload);
        Self { end, start, peer, payload }
    }

    /// A packet at this time, then the slot's tick.
    fn frame(&mut self, ms: i64, sequence: u16, timestamp: u32, ssrc: u32) {
        let now = self.start + Duration::from_millis(ms as u64);
        let packet = rtp(0, sequence, timestamp, ssrc, &self.payload);
        self.end.handle(now, Channel::Rtp, self.peer, &packet);
        self.end.tick(now);
    }

    /// Frames of 20 ms in the recording that hold the tone.
    fn heard(&self) -> usize {
        let loud = |frame: &&[i16]| frame.iter().filter(|s| s.abs() > 4000).count() > 40;
        self.end.recorded.chunks_exact(160).filter(loud).count()
    }
}

#[test]
fn jumps_of_timestamp_and_new_sources_cost_three_frames_at_most() {
    let mut sender = Sender::new();
    for i in 0..100 {
        sender.frame(20 * i, i as u16, (i * 160) as u32, 7);
    }
    // The timestamp jumps, the sequence goes on.
    for i in 100..200 {
        sender.frame(20 * i, i as u16, (i * 160) as u32 ^ 0x8000_0000, 7);
    }
    // Another source, and everything else anew.
    for i in 200..300 {
        sender.frame(20 * i, (i * 7) as u16 ^ 0x5555, (i * 160) as u32 ^ 0x1234_0000, 8);
    }
    // Sequence and timestamp wrap.
    for i in 300..400_i64 {
        sender.frame(20 * i, (i + 65_136) as u16, (i * 160 - 56_000) as u32, 9);
    }
    for i in 400..410 {
        sender.frame(20 * i, 0, 0, 9);
    }
    let heard = sender.heard();
    assert!((380..=405).contains(&heard), "{heard} of 400 frames");
}

#[test]
fn a_path_that_becomes_slower_for_good_is_followed() {
    let mut sender = Sender::new();
    for i in 0..100 {
        sender.frame(20 * i, i as u16, (i * 160) as u32, 7);
    }
    for i in 100..300 {
        sender.frame(20 * i + 200, i as u16, (i * 160) as u32, 7);
    }
    assert!(sender.end.session.counters().late <= 4, "{:?}", sender.end.session.counters());
    assert!(sender.heard() >= 280, "{}", sender.heard());
}

#[test]
fn timestamps_that_stand_still_in_a_pause_are_followed() {
    let mut sender = Sender::new();
    let mut sequence = 0_u16;
    for talk in 0..10_i64 {
        for i in 0..50 {
            let timestamp = u32::from(sequence) * 160;
            sender.frame(talk * 1500 + 20 * i, sequence, timestamp, 7);
            sequence += 1;
        }
        for i in 50..75 {
            sender.end.tick(sender.start + Duration::from_millis((talk * 1500 + 20 * i) as u64));
        }
    }
    assert!(sender.heard() >= 465, "{} of 500 frames", sender.heard());
}
