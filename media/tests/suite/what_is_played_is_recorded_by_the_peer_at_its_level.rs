//! M7: a sine through play, RTP, the peer's session and its recording.

use std::time::{Duration, Instant};

use kaphila_media::codec::Codec;
use kaphila_media::record::Channels;
use kaphila_media::session::Command;

use crate::session_support::{Pair, agreed, fit, sine, steepest};

const FREQUENCY: f64 = 1004.0;

fn record_a_sine(codec: Codec, amplitude: f64, ptime_ms: u8) -> Vec<i16> {
    let mut pair = Pair::new(Instant::now());
    let mut to_second = agreed(pair.second.address);
    (to_second.send, to_second.ptime_ms) = (codec, ptime_ms);
    to_second.send_pt = codec.static_pt().unwrap();
    pair.first.connect(pair.now, to_second);
    pair.second.record(pair.now, Channels::Mono);
    let audio: Vec<i16> = (0..16_000).map(|at| sine(FREQUENCY, amplitude, at)).collect();
    pair.first.play(pair.now, 1, &audio);
    pair.run(Duration::from_secs(3));
    pair.second.command(pair.now, Command::Close);
    pair.run(Duration::from_millis(20));
    std::mem::take(&mut pair.second.recorded)
}

#[test]
fn level_and_noise_are_those_of_g_711() {
    for codec in Codec::ALL {
        for amplitude in [8000.0, 2000.0] {
            let recorded = record_a_sine(codec, amplitude, 20);
            let begin = recorded.iter().position(|s| s.abs() > 100).unwrap();
            // 5 ms of fading in, and the end, are left out.
            let (level, noise) = fit(&recorded[begin + 80..begin + 15_900], FREQUENCY);
            let off = 20.0 * (level / amplitude).log10();
            println!("M7: {codec:?} at {amplitude}: {off:+.3} dB, SNR {noise:.1} dB");
            assert!(off.abs() < 0.2, "{codec:?} at {amplitude}: {off:.2} dB off");
            assert!(noise >= 35.0, "{codec:?} at {amplitude}: {noise:.1} dB");
            let whole: Vec<i16> = (0..8000).map(|at| sine(FREQUENCY, amplitude, at)).collect();
            let step = steepest(&recorded[begin..begin + 15_900]);
            assert!(f64::from(step) < 1.1 * f64::from(steepest(&whole)), "a click of {step}");
        }
    }
}

#[test]
fn every_packet_length_carries_the_whole_sound() {
    for ptime_ms in [10, 20, 30, 40, 60] {
        let mut pair_run = record_a_sine(Codec::Pcma, 8000.0, ptime_ms);
        let begin = pair_run.iter().position(|s| s.abs() > 100).unwrap();
        let heard = pair_run.split_off(begin);
        let (_, noise) = fit(&heard[80..15_900], FREQUENCY);
        println!("M7: packets of {ptime_ms} ms: SNR {noise:.1} dB");
        assert!(noise >= 35.0, "{ptime_ms} ms: {noise:.1} dB");
        assert!(heard[16_100..].iter().all(|s| s.abs() <= 8), "{ptime_ms} ms: nothing after");
    }
}
