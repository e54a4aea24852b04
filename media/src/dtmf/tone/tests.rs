//! The figures of ITU-T Q.24, on tones made here by the definition of Q.23 alone.

use std::f64::consts::TAU;

use super::{Detector, Heard};

const KEYS: &str = "123A456B789C*0#D";
const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

/// Amplitude of a sine of 0 dBm0.
const DBM0: f64 = 22_749.0;

/// How a key is pressed. Levels in dBm0, frequencies off in per cent, times in ms.
#[derive(Clone, Copy)]
struct Finger {
    levels: (f64, f64),
    off: (f64, f64),
    tone: usize,
    pause: usize,
    /// Silence in the middle of the tone.
    broken: usize,
}

const FINGER: Finger =
    Finger { levels: (-10.0, -10.0), off: (0.0, 0.0), tone: 50, pause: 50, broken: 0 };

impl Finger {
    /// 100 ms of silence, the keys, 100 ms of silence.
    fn press(self, keys: &str) -> Vec<i16> {
        let mut line = vec![0; 800];
        for (n, key) in keys.chars().enumerate() {
            let place = KEYS.find(key).unwrap();
            let hertz = |of: f64, off: f64| of * (1.0 + off / 100.0);
            let row = hertz(ROWS[place / 4], self.off.0);
            let column = hertz(COLUMNS[place % 4], self.off.1);
            let level = |dbm0: f64| DBM0 * 10_f64.powf(dbm0 / 20.0);
            let middle = self.tone * 4;
            let broken = middle - self.broken * 4..middle + self.broken * 4;
            for at in 0..self.tone * 8 {
                let phase = |hertz: f64| TAU * hertz * at as f64 / 8000.0 + n as f64;
                let sample = level(self.levels.0) * phase(row).sin()
                    + level(self.levels.1) * phase(column).sin();
                let sample = if broken.contains(&at) { 0.0 } else { sample };
                line.push(sample.clamp(-32_768.0, 32_767.0) as i16);
            }
            line.resize(line.len() + self.pause * 8, 0);
        }
        line.resize(line.len() + 800, 0);
        line
    }

    fn heard(self, keys: &str) -> String {
        digits(&self.press(keys))
    }
}

fn listen(line: &[i16], frame: usize) -> Vec<Heard> {
    let mut detector = Detector::default();
    let mut all = Vec::new();
    line.chunks(frame).for_each(|audio| detector.push(audio, |heard| all.push(heard)));
    all
}

fn digits(line: &[i16]) -> String {
    let pressed = |heard: Heard| match heard {
        Heard::Pressed { digit, .. } => Some(digit),
        Heard::Released { .. } => None,
    };
    listen(line, 160).into_iter().filter_map(pressed).collect()
}

/// Adds a sine of so many dBm0.
fn with_tone(mut line: Vec<i16>, hertz: f64, dbm0: f64) -> Vec<i16> {
    for (at, sample) in line.iter_mut().enumerate() {
        let wave = (TAU * hertz * at as f64 / 8000.0).sin() * DBM0 * 10_f64.powf(dbm0 / 20.0);
        *sample = sample.saturating_add(wave as i16);
    }
    line
}

/// Noise of so many dBm0, from a linear congruential generator.
fn with_noise(mut line: Vec<i16>, dbm0: f64) -> Vec<i16> {
    let mut state = 1_u32;
    // A uniform distribution's mean square is a third of its peak's.
    let peak = DBM0 / 2_f64.sqrt() * 10_f64.powf(dbm0 / 20.0) * 3_f64.sqrt();
    for sample in &mut line {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (f64::from(state >> 8) / f64::from(1 << 23) - 1.0) * peak;
        *sample = sample.saturating_add(noise as i16);
    }
    line
}

#[test]
fn every_key_is_heard_once_within_what_q_24_asks() {
    let cases = [
        ("as usual", FINGER),
        ("shortest", Finger { tone: 40, pause: 40, ..FINGER }),
        ("a second and a half", Finger { tone: 1500, ..FINGER }),
        ("loudest", Finger { levels: (0.0, 0.0), ..FINGER }),
        ("faintest that must", Finger { levels: (-25.0, -25.0), ..FINGER }),
        ("faintest wanted", Finger { levels: (-36.0, -36.0), ..FINGER }),
        ("column 4 dB up", Finger { levels: (-14.0, -10.0), ..FINGER }),
        ("column 8 dB down", Finger { levels: (-10.0, -18.0), ..FINGER }),
        ("1.5 % high", Finger { off: (1.5, 1.5), ..FINGER }),
        ("1.5 % low", Finger { off: (-1.5, -1.5), tone: 40, pause: 40, ..FINGER }),
        ("row 1.5 % high", Finger { off: (1.5, 0.0), ..FINGER }),
        ("column 1.5 % low", Finger { off: (0.0, -1.5), ..FINGER }),
        (
            "column 8 dB down, 1.5 % off",
            Finger { levels: (-10.0, -18.0), off: (-1.5, -1.5), tone: 40, pause: 40, ..FINGER },
        ),
        (
            "column 8 dB down, 1.5 % off both ways",
            Finger { levels: (-10.0, -18.0), off: (-1.5, 1.5), tone: 40, pause: 40, ..FINGER },
        ),
        ("a 3 beside 700 and 1500 Hz", Finger { off: (0.43, 1.5), tone: 40, pause: 40, ..FINGER }),
        ("shortest, broken for 10 ms", Finger { tone: 50, broken: 10, ..FINGER }),
        ("60 ms, broken for 6", Finger { tone: 60, off: (1.5, 1.5), broken: 6, ..FINGER }),
        ("broken for 10 ms", Finger { tone: 100, pause: 80, broken: 10, ..FINGER }),
        ("80 ms, broken for 10", Finger { tone: 80, pause: 60, broken: 10, ..FINGER }),
    ];
    for (name, finger) in cases {
        // Each key twice: a pause is a pause.
        let keys: String = KEYS.chars().flat_map(|key| [key, key]).collect();
        assert_eq!(finger.heard(&keys), keys, "{name}");
    }
}

/// The limits of Q.24 all at once: the shortest tone and pause, both frequencies off by the most, one
/// tone weaker by the most, or noise 15 dB under them.
#[test]
fn every_key_is_heard_at_the_limits_together() {
    let shortest = Finger { tone: 40, pause: 40, ..FINGER };
    let cases = [
        ("alike", shortest, None),
        ("column 8 dB down", Finger { levels: (-10.0, -18.0), ..shortest }, None),
        ("column 4 dB up", Finger { levels: (-14.0, -10.0), ..shortest }, None),
        ("noise", shortest, Some(-7.0 - 15.0)),
    ];
    for (name, base, noise) in cases {
        for off in [(1.5, 1.5), (-1.5, -1.5), (1.5, -1.5), (-1.5, 1.5), (0.0, 1.5), (0.0, -1.5)] {
            for key in KEYS.chars() {
                let keys: String = std::iter::repeat_n(key, 10).collect();
                let line = Finger { off, ..base }.press(&keys);
                let line =
                    noise.map_or_else(|| line.clone(), |noise| with_noise(line.clone(), noise));
                assert_eq!(digits(&line), keys, "{name}, {off:?} %");
            }
        }
    }
}

#[test]
fn no_key_is_heard_beyond_what_q_24_asks() {
    let cases = [
        ("3.5 % high", Finger { off: (3.5, 3.5), tone: 100, ..FINGER }),
        ("3.5 % low", Finger { off: (-3.5, -3.5), tone: 100, ..FINGER }),
        ("row 3.5 % low", Finger { off: (-3.5, 0.0), tone: 100, ..FINGER }),
        ("column 3.5 % high", Finger { off: (0.0, 3.5), tone: 100, ..FINGER }),
        ("23 ms", Finger { tone: 23, ..FINGER }),
        ("faint as a murmur", Finger { levels: (-55.0, -55.0), tone: 100, ..FINGER }),
        ("column alone", Finger { levels: (-60.0, -10.0), tone: 100, ..FINGER }),
        ("row alone", Finger { levels: (-10.0, -60.0), tone: 100, ..FINGER }),
    ];
    for (name, finger) in cases {
        assert_eq!(finger.heard(KEYS), "", "{name}");
    }
    // ITU-T Q.322: 700 and 1500 Hz are the 4 of system R1, and no key.
    let r1 = Finger { off: (100.0 * 3.0 / 697.0, 100.0 * 23.0 / 1477.0), tone: 68, ..FINGER };
    assert_eq!(r1.heard("3333"), "");
}

#[test]
fn keys_are_heard_over_dial_tones_and_noise() {
    let finger = Finger { levels: (-13.0, -13.0), tone: 60, pause: 60, ..FINGER };
    let line = finger.press(KEYS);
    // The dial tones of Europe, and of North America with each part as loud as a key's tone.
    assert_eq!(digits(&with_tone(line.clone(), 425.0, -13.0)), KEYS);
    let both = with_tone(with_tone(line.clone(), 350.0, -13.0), 440.0, -13.0);
    assert_eq!(digits(&both), KEYS);
    // 15 dB under both tones together.
    assert_eq!(digits(&with_noise(line, -10.0 - 15.0)), KEYS);
    for off in [(1.5, 1.5), (-1.5, -1.5), (1.5, -1.5), (-1.5, 1.5)] {
        let line = Finger { off, tone: 40, pause: 40, ..finger }.press(KEYS);
        assert_eq!(digits(&with_noise(line, -10.0 - 15.0)), KEYS, "{off:?}");
    }
}

#[test]
fn silence_noise_and_three_tones_are_no_key() {
    assert_eq!(digits(&[0; 80_000]), "");
    assert_eq!(digits(&with_noise(vec![0; 800_000], -15.0)), "");
    let third = with_tone(Finger { tone: 2000, ..FINGER }.press("1"), 1477.0, -10.0);
    assert_eq!(digits(&third), "");
}

#[test]
fn a_weak_copy_of_a_key_after_it_is_the_line_and_not_a_finger() {
    let finger = Finger { tone: 60, pause: 120, ..FINGER };
    let line = finger.press("5678");
    let echo = |delay_ms: usize| -> Vec<i16> {
        let late = std::iter::repeat_n(0, delay_ms * 8).chain(line.iter().copied());
        line.iter().zip(late).map(|(now, before)| now + before / 6).collect()
    };
    for delay in [10, 25, 50] {
        assert_eq!(digits(&echo(delay)), "5678", "{delay} ms");
    }
}

#[test]
fn a_key_of_80_ms_survives_the_loss_of_its_second_packet() {
    for key in KEYS.chars() {
        // The key begins anywhere in a packet.
        for begins in (0..160).step_by(10) {
            let mut line = Finger { tone: 80, pause: 60, ..FINGER }.press(&key.to_string());
            line.splice(0..0, vec![0; begins]);
            let lost = (800 + begins) / 160 + 1;
            let mut concealer = crate::plc::Concealer::default();
            for (at, packet) in line.chunks_mut(160).enumerate() {
                if at == lost { concealer.conceal(packet) } else { concealer.pass(packet) }
            }
            assert_eq!(digits(&line), key.to_string(), "{begins} samples late");
        }
    }
}

#[test]
fn a_press_is_told_when_it_is_sure_with_its_times() {
    let line = Finger { tone: 200, pause: 100, ..FINGER }.press("9#");
    for frame in [7, 80, 160, 480] {
        let all = listen(&line, frame);
        let [
            Heard::Pressed { digit: '9', start_ms, duration_ms },
            Heard::Released { digit: '9', end_ms },
            Heard::Pressed { digit: '#', start_ms: second, .. },
            Heard::Released { digit: '#', end_ms: last },
        ] = all[..]
        else {
            panic!("{all:?}")
        };
        assert!((32..=40).contains(&duration_ms), "{duration_ms}");
        for (told, is) in [(start_ms, 100), (end_ms, 300), (second, 400), (last, 600)] {
            assert!(told.abs_diff(is) <= 4, "{told} for {is}, frames of {frame}");
        }
    }
}

#[test]
fn what_we_send_as_a_tone_is_that_key() {
    for (code, key) in "0123456789*#ABCD".chars().enumerate() {
        let tone = (0..320).map(|at| super::sample(code as u8, at, 320));
        let line: Vec<i16> = std::iter::repeat_n(0, 800).chain(tone).chain([0; 800]).collect();
        assert_eq!(digits(&line), key.to_string());
        let peak = line.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!((14_000..17_000).contains(&peak), "{peak}");
    }
    assert_eq!(super::sample(16, 5, 320), 0);
}
