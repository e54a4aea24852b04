//! What comes before the answer is told and not recorded; AMD's clock is the answer's.

use std::time::{Duration, Instant};

use kaphila_media::amd::{Cause, Params, Status, Verdict};
use kaphila_media::codec::Codec;
use kaphila_media::record::Channels;
use kaphila_media::session::{Channel, Command, MediaEvent};

use crate::session_support::{End, address, agreed, rtp, sine};

/// A call whose far end sends what `loud` says, frame by frame; answered at `answer` ms.
fn call(answer: i64, end_at: i64, sends: impl Fn(i64) -> bool, loud: impl Fn(i64) -> bool) -> End {
    call_off_beat(0, answer, end_at, sends, loud)
}

/// The same with packets that come `after` ms after our own slots.
fn call_off_beat(
    after: i64,
    answer: i64,
    end_at: i64,
    sends: impl Fn(i64) -> bool,
    loud: impl Fn(i64) -> bool,
) -> End {
    let start = Instant::now();
    let at = |ms: i64| start + Duration::from_millis(ms as u64);
    let peer = address("192.0.2.9:5000");
    let mut end = End::open(start, address("192.0.2.1:4000"), peer, 5);
    end.connect(start, agreed(peer));
    end.command(start, Command::StartAmd(Params::default()));
    end.record(start, Channels::Mono);
    let voice: Vec<_> = (0..160).map(|i| sine(500.0, 8000.0, i)).collect();
    let mut payload = [0; 160];
    Codec::Pcmu.encode(&voice, &mut payload);
    for ms in (0..end_at).step_by(20) {
        if ms == answer {
            end.command(at(ms), Command::Answered);
        }
        if after > 0 {
            end.tick(at(ms));
        }
        if sends(ms) {
            let payload = if loud(ms) { payload } else { [0xff; 160] };
            let frame = ms / 20;
            let packet = rtp(0, frame as u16, (frame * 160) as u32, 7, &payload);
            end.handle(at(ms + after), Channel::Rtp, peer, &packet);
        }
        if after == 0 {
            end.tick(at(ms));
        }
    }
    end.command(at(end_at), Command::Close);
    end.tick(at(end_at));
    end
}

fn verdict(end: &End) -> Verdict {
    let verdict = |event: &MediaEvent| match event {
        MediaEvent::Amd(verdict) => Some(*verdict),
        _ => None,
    };
    end.events.iter().find_map(verdict).unwrap()
}

#[test]
fn thirty_seconds_of_ringback_count_neither_as_words_nor_as_time_and_are_not_recorded() {
    let ringback = |ms: i64| ms % 5000 < 1000;
    // Answered at 30 s: 300 ms of silence, "hello" of 500 ms, silence.
    let loud =
        |ms: i64| if ms < 30_000 { ringback(ms) } else { (300..800).contains(&(ms - 30_000)) };
    let end = call(30_000, 35_000, |_| true, loud);
    assert_eq!(end.events[0], MediaEvent::EarlyMedia);
    let verdict = verdict(&end);
    assert_eq!((verdict.status, verdict.cause), (Status::Human, Cause::Human));
    assert_eq!(verdict.decided_ms, 1600);
    assert_eq!(end.recorded.len(), 5 * 8000);
    let loud: usize = end.recorded.iter().filter(|s| s.abs() > 4000).count();
    assert!((2000..3000).contains(&loud), "500 ms of voice: {loud}");
}

/// `reference.md` §3 is exact to the frame, wherever our clock stands in the sender's frames: 80 ms
/// are no word, and 1480 ms no greeting.
#[test]
fn the_senders_frames_count_not_our_slots() {
    for after in 0..20 {
        let click = call_off_beat(after, 0, 4_000, |_| true, |ms| (200..280).contains(&ms));
        let seen = verdict(&click);
        assert_eq!((seen.cause, seen.decided_ms), (Cause::InitialSilence, 2_780), "{after}");
        let greeting = call_off_beat(after, 0, 4_000, |_| true, |ms| (200..1_680).contains(&ms));
        let seen = verdict(&greeting);
        assert_eq!((seen.cause, seen.decided_ms), (Cause::Human, 2_480), "{after}");
    }
}

#[test]
fn a_call_without_any_packet_has_no_audio() {
    let end = call(1000, 8000, |_| false, |_| false);
    let verdict = verdict(&end);
    assert_eq!((verdict.status, verdict.cause), (Status::Unknown, Cause::NoAudio));
    assert_eq!(end.recorded.len(), 7 * 8000);
    assert!(!end.events.contains(&MediaEvent::EarlyMedia));
}

#[test]
fn a_hang_up_before_the_verdict_is_one() {
    let end = call(0, 1000, |_| true, |ms| ms >= 400);
    let verdict = verdict(&end);
    assert_eq!((verdict.status, verdict.cause), (Status::NotSure, Cause::Hangup));
    let MediaEvent::Closed(quality) = end.events.last().unwrap() else { panic!() };
    assert_eq!((quality.codec, quality.received, quality.sent), (Some(Codec::Pcmu), 50, 50));
}

#[test]
fn a_recording_started_and_stopped_within_the_call_is_that_long_to_the_sample() {
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut end = End::answered(start, address("192.0.2.1:4000"), address("192.0.2.9:5000"), 5);
    for ms in 0..3000 {
        if ms == 503 {
            end.record(at(ms), Channels::Mono);
        }
        if ms == 2111 {
            end.command(at(ms), Command::StopRecording);
        }
        if ms % 20 == 0 {
            end.tick(at(ms));
        }
    }
    assert_eq!(end.recorded.len(), (2111 - 503) * 8);
}
