//! In-band digits over RTP, through loss, jitter and G.711; and beside telephone-events.

use std::time::{Duration, Instant};

use kaphila_media::dtmf::tone;
use kaphila_media::sdp::Agreed;
use kaphila_media::session::{Command, DigitMethod, Digits, Listening, MediaEvent};

use crate::session_support::{End, Pair, Random, agreed};

const ALL: &str = "0123456789*#ABCD";

/// What is agreed where the far end takes no telephone-events.
fn no_events(end: &End) -> Agreed {
    let all = agreed(end.peer);
    Agreed { event_send: None, event_receive: [].into_iter().collect(), ..all }
}

/// Two ends that have agreed on audio alone.
fn pair() -> Pair {
    let mut pair = Pair::new(Instant::now());
    for end in [&mut pair.first, &mut pair.second] {
        let agreed = no_events(end);
        end.connect(pair.now, agreed);
    }
    pair
}

fn dial(pair: &mut Pair, digits: &str) {
    let digits = Digits::try_from(digits).unwrap();
    let command = Command::SendDigits { digits, duration_ms: 100, gap_ms: 60 };
    pair.first.command(pair.now, command);
}

/// 100 ms of the tone of an event code.
fn tone_of(code: u8) -> Vec<i16> {
    (0..800).map(|at| tone::sample(code, at, 800)).collect()
}

fn methods(end: &End) -> Vec<DigitMethod> {
    let method = |event: &MediaEvent| match event {
        MediaEvent::Digit { method, .. } => Some(*method),
        _ => None,
    };
    end.events.iter().filter_map(method).collect()
}

#[test]
fn every_key_is_heard_once_where_no_events_were_agreed() {
    let mut pair = pair();
    dial(&mut pair, ALL);
    pair.run(Duration::from_secs(4));
    assert_eq!(pair.second.digits(), ALL);
    assert!(methods(&pair.second).iter().all(|method| *method == DigitMethod::Inband));
    assert_eq!(pair.first.digits(), "");
    let digits = Digits::try_from(ALL).unwrap();
    assert!(pair.first.events.contains(&MediaEvent::DigitsSent { digits, completed: true }));
}

#[test]
fn the_loss_of_any_one_packet_neither_splits_nor_joins_keys() {
    for lost in 0..60 {
        let mut random = Random(lost);
        let mut pair = pair();
        let mut count = 0;
        // 40 ms of jitter. Twenty packets each way go first, then the keys.
        pair.network = Box::new(move |_| {
            count += 1;
            let delay = Duration::from_millis(random.below(40));
            if count == 40 + lost { vec![] } else { vec![delay] }
        });
        pair.run(Duration::from_millis(400));
        dial(&mut pair, "7788");
        pair.run(Duration::from_secs(1));
        assert_eq!(pair.second.digits(), "7788", "packet {lost} lost");
    }
}

#[test]
fn our_own_tones_thrown_back_by_the_line_are_no_keys_of_the_far_end() {
    let mut pair = pair();
    // The far end plays back what it is sent, at once and at full level: the worst of lines.
    dial(&mut pair, "147");
    let mut heard_back = 0;
    for _ in 0..100 {
        let tones: Vec<_> = pair.first.tick(pair.now);
        for (channel, _, data) in tones {
            heard_back += 1;
            let peer = pair.first.peer;
            pair.first.handle(pair.now, channel, peer, &data);
        }
        pair.now += Duration::from_millis(20);
    }
    assert!(heard_back > 90);
    assert_eq!(pair.first.digits(), "");
}

#[test]
fn a_press_that_comes_as_event_and_as_tone_is_one() {
    let now = Instant::now();
    let mut pair = Pair::new(now);
    let (address, peer) = (pair.second.address, pair.second.peer);
    pair.second = End::listening(now, address, peer, 2, Listening::Both);
    pair.second.connect(now, agreed(pair.second.peer));
    pair.second.command(now, Command::Answered);
    // The first end sends events; a gateway adds the tone in the audio.
    let tone = tone_of(5);
    pair.run(Duration::from_millis(100));
    for _ in 0..3 {
        let digits = Digits::try_from("5").unwrap();
        pair.first.command(pair.now, Command::SendDigits { digits, duration_ms: 40, gap_ms: 40 });
        pair.run(Duration::from_millis(60));
        pair.first.play(pair.now, 1, &tone);
        pair.run(Duration::from_millis(540));
    }
    assert_eq!(pair.second.digits(), "555");
    // Another key in the audio alone is heard too.
    let tone = tone_of(9);
    pair.first.play(pair.now, 2, &tone);
    pair.run(Duration::from_millis(500));
    assert_eq!(pair.second.digits(), "5559");
    let events = [DigitMethod::Rfc4733; 3];
    assert_eq!(methods(&pair.second), [&events[..], &[DigitMethod::Inband]].concat());
}

#[test]
fn tones_are_not_listened_for_where_events_were_agreed() {
    let mut pair = Pair::new(Instant::now());
    let tone = tone_of(5);
    pair.first.play(pair.now, 1, &tone);
    pair.run(Duration::from_millis(500));
    assert_eq!(pair.second.digits(), "");
    // The far end takes its events back in mid-call: from then on its tones count.
    let agreed = no_events(&pair.second);
    pair.second.connect(pair.now, agreed);
    pair.first.play(pair.now, 2, &tone);
    pair.run(Duration::from_millis(500));
    assert_eq!(pair.second.digits(), "5");
}

#[test]
fn a_recording_has_none_of_the_digits_we_send() {
    let mut pair = pair();
    pair.first.record(pair.now, kaphila_media::record::Channels::Mono);
    dial(&mut pair, "1234");
    pair.run(Duration::from_secs(1));
    pair.first.command(pair.now, Command::Close);
    pair.run(Duration::from_millis(40));
    assert!(pair.first.recorded.len() > 4000);
    assert!(pair.first.recorded.iter().all(|sample| sample.abs() < 16));
}
