//! One source, one timestamp line with the wall clock, whatever plays and however late we are.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use kaphila_media::record::Channels;
use kaphila_media::sdp::Direction;
use kaphila_media::session::{Command, Digits, MediaEvent, PlaybackId};

use crate::session_support::{End, Pair, address, agreed, fields, sine};

fn finished(id: u64, played_ms: u64, completed: bool) -> MediaEvent {
    MediaEvent::PlaybackFinished { id: PlaybackId(id), played_ms, completed }
}

#[test]
fn silence_playback_digits_and_stops_leave_timestamps_linear_and_packets_unique() {
    let mut pair = Pair::new(Instant::now());
    pair.run(Duration::from_millis(200));
    pair.first.play(pair.now, 1, &[500; 4000]);
    pair.first.play(pair.now, 2, &[900; 1234]);
    pair.run(Duration::from_millis(300));
    let digits = Digits::try_from("12").unwrap();
    pair.first.command(pair.now, Command::SendDigits { digits, duration_ms: 100, gap_ms: 100 });
    pair.run(Duration::from_millis(1500));
    pair.first.play(pair.now, 3, &[500; 80_000]);
    pair.run(Duration::from_millis(100));
    pair.first.command(pair.now, Command::StopPlayback(None));
    pair.run(Duration::from_millis(200));

    let packets: Vec<_> = pair.first.rtp().map(|(at, data)| (at, data.to_vec())).collect();
    let (first_at, first) = packets[0].clone();
    let ssrc = first[8..12].to_vec();
    let (kind, sequence, timestamp, _) = fields(&first);
    assert_eq!(kind & 0x80, 0x80, "the first packet begins a talkspurt");
    let mut seen = HashSet::new();
    for (i, (at, packet)) in packets.iter().enumerate() {
        let (kind, seq, ts, _) = fields(packet);
        assert_eq!(seq, sequence.wrapping_add(i as u16));
        assert_eq!(packet[8..12], ssrc);
        assert!(seen.insert((seq, ts)));
        if kind & 0x7f == 0 {
            let passed = at.duration_since(first_at).as_millis() as u32 * 8;
            assert_eq!(ts, timestamp.wrapping_add(passed), "packet {i}");
            assert_eq!(kind & 0x80 != 0, i == 0, "packet {i}");
        }
    }
    let finishes: Vec<_> = pair
        .first
        .events
        .iter()
        .filter(|e| matches!(e, MediaEvent::PlaybackFinished { .. }))
        .cloned()
        .collect();
    assert_eq!(finishes, [finished(1, 500, true), finished(2, 154, true), finished(3, 100, false)]);
}

#[test]
fn a_late_tick_skips_and_never_bursts() {
    let start = Instant::now();
    let mut end = End::answered(start, address("192.0.2.1:4000"), address("192.0.2.9:5000"), 3);
    let audio: Vec<i16> = (0..16_000).map(|i| sine(500.0, 8000.0, i)).collect();
    end.play(start, 1, &audio);
    let mut at = Vec::new();
    // On time, 3 ms late, 2 s late, 30 s late.
    for ms in (0..200).step_by(20).chain([203, 220, 2240, 2260, 32_280, 32_300]) {
        let sent = end.tick(start + Duration::from_millis(ms));
        let rtp = sent.iter().filter(|(_, to, _)| to.port() == 5000).count();
        assert_eq!(rtp, 1, "at {ms} ms");
        at.push(ms);
    }
    let packets: Vec<_> = end.rtp().map(|(_, data)| fields(data)).collect();
    let (_, sequence, timestamp, _) = packets[0];
    for (i, (kind, seq, ts, _)) in packets.iter().enumerate() {
        let slot = at[i] / 20 * 160;
        assert_eq!(
            (*seq, *ts),
            (sequence.wrapping_add(i as u16), timestamp.wrapping_add(slot as u32))
        );
        let skipped = [0, 2240, 32_280].contains(&at[i]);
        assert_eq!(kind & 0x80 != 0, skipped, "marker at {} ms", at[i]);
    }
    // The audio itself goes on where it was.
    let mut encoded = [0; 160];
    kaphila_media::codec::Codec::Pcmu.encode(&audio[12 * 160..13 * 160], &mut encoded);
    assert_eq!(packets[12].3, encoded);
}

#[test]
fn a_long_pause_of_ours_is_silence_of_that_length_in_the_recording() {
    let start = Instant::now();
    let mut end = End::answered(start, address("192.0.2.1:4000"), address("192.0.2.9:5000"), 3);
    end.record(start, Channels::Dual);
    for ms in (0..1000).step_by(20).chain((31_000..32_000).step_by(20)) {
        end.tick(start + Duration::from_millis(ms));
    }
    let now = start + Duration::from_secs(32);
    end.command(now, Command::Close);
    end.tick(now);
    assert_eq!(end.recorded.len(), 2 * 32 * 8000);
}

#[test]
fn a_channel_playback_is_heard_and_not_recorded() {
    let mut pair = Pair::new(Instant::now());
    pair.first.record(pair.now, Channels::Dual);
    pair.second.record(pair.now, Channels::Dual);
    let audio = vec![4000; 8000].into();
    let id = PlaybackId(1);
    pair.first.command(pair.now, Command::Play { id, audio, in_recording: false });
    pair.run(Duration::from_secs(2));
    let right = |recorded: &[i16]| recorded.iter().skip(1).step_by(2).any(|s| s.abs() > 100);
    let left = |recorded: &[i16]| recorded.iter().step_by(2).any(|s| s.abs() > 3000);
    assert!(!right(&pair.first.recorded));
    assert!(left(&pair.second.recorded));
}

#[test]
fn stopping_one_playback_leaves_the_others() {
    let mut pair = Pair::new(Instant::now());
    for id in 1..4 {
        pair.first.play(pair.now, id, &[100; 800]);
    }
    pair.first.command(pair.now, Command::StopPlayback(Some(PlaybackId(2))));
    pair.run(Duration::from_millis(400));
    let started = |id| MediaEvent::PlaybackStarted { id: PlaybackId(id) };
    assert_eq!(
        pair.first.events,
        [
            finished(2, 0, false),
            started(1),
            finished(1, 100, true),
            started(3),
            finished(3, 100, true)
        ]
    );
}

#[test]
fn nothing_is_sent_before_the_answer_nor_to_nowhere() {
    let start = Instant::now();
    let peer = address("192.0.2.9:5000");
    let mut end = End::open(start, address("192.0.2.1:4000"), peer, 3);
    let at = |ms| start + Duration::from_millis(ms);
    end.tick(at(0));
    end.connect(at(10), agreed(peer));
    for i in 1..50 {
        end.tick(at(20 * i));
    }
    assert!(end.sent.is_empty());
    end.command(at(1000), Command::Answered);
    assert_eq!(end.tick(at(1000)).len(), 1);
    let mut nowhere = agreed(address("0.0.0.0:0"));
    nowhere.direction = Direction::SendRecv;
    end.peer = address("127.0.0.1:1");
    end.connect(at(1010), nowhere);
    assert!(end.tick(at(1020)).is_empty());
}

#[test]
fn packets_of_every_agreed_length_are_that_far_apart() {
    for ptime_ms in [10, 20, 30, 40, 60] {
        let mut pair = Pair::new(Instant::now());
        let mut to_second = agreed(pair.second.address);
        to_second.ptime_ms = ptime_ms;
        pair.first.connect(pair.now, to_second);
        pair.run(Duration::from_secs(6));
        let packets: Vec<_> = pair.first.rtp().map(|(at, data)| (at, data.to_vec())).collect();
        assert_eq!(packets.len(), 6000 / usize::from(ptime_ms), "{ptime_ms} ms");
        let samples = usize::from(ptime_ms) * 8;
        for pair in packets.windows(2) {
            let gap = pair[1].0 - pair[0].0;
            assert_eq!(gap, Duration::from_millis(ptime_ms.into()));
            let ahead = fields(&pair[1].1).2.wrapping_sub(fields(&pair[0].1).2);
            assert_eq!((ahead as usize, fields(&pair[1].1).3.len()), (samples, samples));
        }
    }
}
