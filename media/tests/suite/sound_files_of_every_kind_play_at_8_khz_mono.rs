//! WAV files of any rate, width and channel count; what is broken is refused by name.

use std::f64::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hound::{SampleFormat, WavSpec, WavWriter};
use kaphila_media::codec::g711;
use kaphila_media::play::{self, Reason};
use tempfile::TempDir;

const AMPLITUDE: f64 = 0.5;

#[test]
fn every_rate_keeps_level_length_and_frequency() {
    let folder = TempDir::new().unwrap();
    for rate in
        [6_000, 8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000]
    {
        for hz in [300.0, 1_000.0, 2_400.0] {
            let path = folder.path().join("tone.wav");
            write_pcm16(&path, rate, 1, &tone(rate, hz, 1.0));
            let samples = play::load(&path).unwrap();
            assert_eq!(samples.len(), 8_000, "{rate} Hz");
            let middle = &samples[2_000..6_000];
            let off = decibels(level_at(middle, hz) / (AMPLITUDE * 32_768.0));
            assert!(off.abs() <= 0.2, "{rate} Hz, {hz} Hz: {off:.3} dB");
            let rest = rms(middle).powi(2) - level_at(middle, hz).powi(2) / 2.0;
            let snr = decibels(rms(middle) / rest.max(1e-9).sqrt());
            assert!(snr >= 50.0, "{rate} Hz, {hz} Hz: SNR {snr:.1} dB");
        }
    }
}

#[test]
fn the_start_stays_at_its_place() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("step.wav");
    // A tone that begins after half a second.
    let mut samples = vec![0.0; 24_000];
    samples.extend(tone(48_000, 1_000.0, 0.5));
    write_pcm16(&path, 48_000, 1, &samples);
    let samples = play::load(&path).unwrap();
    let begin = samples.iter().position(|s| s.abs() > 4_000).unwrap();
    assert!((3_998..4_006).contains(&begin), "{begin}");
}

#[test]
fn what_8_khz_cannot_carry_is_filtered_out() {
    let folder = TempDir::new().unwrap();
    for rate in [16_000, 44_100, 48_000] {
        for hz in [4_400.0, 5_000.0, 7_000.0] {
            let path = folder.path().join("high.wav");
            write_pcm16(&path, rate, 1, &tone(rate, hz, 1.0));
            let samples = play::load(&path).unwrap();
            let alias =
                decibels(rms(&samples[2_000..6_000]) / (AMPLITUDE * 32_768.0 / 2f64.sqrt()));
            assert!(alias < -50.0, "{rate} Hz, {hz} Hz: {alias:.1} dB");
        }
    }
}

#[test]
fn a_constant_stays_constant() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("dc.wav");
    for rate in [8_000, 44_100] {
        write_pcm16(&path, rate, 1, &vec![0.25; rate as usize]);
        let samples = play::load(&path).unwrap();
        for sample in &samples[1_000..7_000] {
            assert!((sample - 8_192).abs() <= 2, "{rate} Hz: {sample}");
        }
    }
}

#[test]
fn telephone_rate_16_bit_comes_through_untouched() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("plain.wav");
    let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
    write_i16(&path, 8_000, 1, &all);
    assert_eq!(*play::load(&path).unwrap(), all);
}

#[test]
fn channels_are_averaged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("stereo.wav");
    write_i16(&path, 8_000, 2, &[30_000, 30_000, 1_000, -1_000, 200, 100]);
    assert_eq!(*play::load(&path).unwrap(), [30_000, 0, 150]);
    write_i16(&path, 8_000, 6, &[6, 6, 6, 6, 6, 12]);
    assert_eq!(*play::load(&path).unwrap(), [7]);
}

#[test]
fn every_width_is_the_same_sound() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("width.wav");
    let spec = |bits_per_sample, sample_format| WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample,
        sample_format,
    };
    for bits in [8u16, 16, 24, 32] {
        let mut writer = WavWriter::create(&path, spec(bits, SampleFormat::Int)).unwrap();
        let full = f64::from(1u32 << (bits - 1));
        for value in [0.0, 0.5, -0.5, -1.0] {
            writer.write_sample((value * full) as i32).unwrap();
        }
        writer.finalize().unwrap();
        assert_eq!(*play::load(&path).unwrap(), [0, 16_384, -16_384, -32_768], "{bits} bits");
    }
    let mut writer = WavWriter::create(&path, spec(32, SampleFormat::Float)).unwrap();
    for value in [0.0f32, 0.5, -0.5, 3.0, -3.0, f32::NAN, f32::INFINITY] {
        writer.write_sample(value).unwrap();
    }
    writer.finalize().unwrap();
    let clipped = [0, 16_384, -16_384, 32_767, -32_768, 0, 32_767];
    assert_eq!(*play::load(&path).unwrap(), clipped);
}

#[test]
fn g711_files_are_expanded() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("law.wav");
    let codes: Vec<u8> = (0..=255).collect();
    for (tag, expand) in [(6, g711::alaw_to_linear as fn(u8) -> i16), (7, g711::ulaw_to_linear)] {
        fs::write(&path, wav(tag, 1, 8_000, 8, &codes)).unwrap();
        let expected: Vec<i16> = codes.iter().map(|&code| expand(code)).collect();
        assert_eq!(*play::load(&path).unwrap(), expected);
    }
}

#[test]
fn a_file_cut_short_gives_what_is_there() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cut.wav");
    let whole = wav(1, 2, 8_000, 16, &[1u8; 400]);
    for cut in [1, 2, 3, 200] {
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let frames = (400 - cut) / 4;
        assert_eq!(play::load(&path).unwrap().len(), frames, "{cut} bytes less");
    }
}

#[test]
fn lengths_that_lie_are_not_believed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("lie.wav");
    for claim in [u32::MAX, 0x7FFF_0000, 500] {
        let mut bytes = wav(1, 1, 8_000, 16, &[1u8; 400]);
        bytes[40..44].copy_from_slice(&claim.to_le_bytes());
        bytes[4..8].copy_from_slice(&claim.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        assert_eq!(play::load(&path).unwrap().len(), 200, "{claim}");
    }
    // Chunks before and after the samples are passed over, at even offsets.
    let mut bytes = wav(1, 1, 8_000, 16, &[1u8; 400]);
    bytes.splice(12..12, *b"LIST\x03\0\0\0abc\0");
    bytes.extend(b"id3 \x04\0\0\0abcd");
    fs::write(&path, bytes).unwrap();
    assert_eq!(play::load(&path).unwrap().len(), 200);
}

#[test]
fn what_is_no_sound_is_refused_by_name_and_file() {
    let folder = TempDir::new().unwrap();
    let good = wav(1, 1, 8_000, 16, &[1u8; 400]);
    let mut no_frame_size = good.clone();
    no_frame_size[32] = 3;
    let cases: [(&str, Vec<u8>, &str); 14] = [
        ("empty", Vec::new(), "not a WAV file"),
        ("text", b"hello, this is no sound file at all".to_vec(), "not a WAV file"),
        ("mp3", b"ID3\x03\0\0\0\0\0\0\0\0\0\0".to_vec(), "not a WAV file"),
        ("head", good[..30].to_vec(), "broken WAV header: the fmt chunk is too short"),
        ("nodata", good[..36].to_vec(), "broken WAV header: it ends before the data chunk"),
        ("silent", wav(1, 1, 8_000, 16, &[]), "no audio in it"),
        ("half", wav(1, 1, 8_000, 16, &[1]), "no audio in it"),
        ("adpcm", wav(2, 1, 8_000, 4, &[1; 40]), "Microsoft ADPCM is not supported"),
        ("gsm", wav(0x31, 1, 8_000, 0, &[1; 65]), "GSM is not supported"),
        ("double", wav(3, 1, 8_000, 64, &[1; 64]), "float of 64 bits is not supported"),
        ("slow", wav(1, 1, 999, 16, &[1; 40]), "a rate of 999 Hz is not supported"),
        ("fast", wav(1, 1, u32::MAX, 16, &[1; 40]), "a rate of 4294967295 Hz is not supported"),
        ("wide", wav(1, 17, 8_000, 16, &[1; 68]), "17 channels is not supported"),
        ("frame", no_frame_size, "broken WAV header: width and frame size disagree"),
    ];
    for (name, bytes, reason) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = play::load(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: {reason}", path.display()));
    }
    let error = play::load(folder.path()).unwrap_err();
    assert!(matches!(error.reason, Reason::NotAFile));
    let error = play::load(&folder.path().join("absent.wav")).unwrap_err();
    assert!(matches!(error.reason, Reason::Io(_)));
}

#[test]
fn huge_files_are_refused_without_being_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("huge.wav");
    // An hour and a second of 8-bit 1 kHz, most of it a hole in the file.
    let mut bytes = wav(1, 1, 1_000, 8, &[128]);
    bytes[40..44].copy_from_slice(&3_601_000u32.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(44 + 3_601_000).unwrap();
    assert!(matches!(play::load(&path).unwrap_err().reason, Reason::TooLong));
    file.set_len(play::MAX_FILE_BYTES + 1).unwrap();
    assert!(matches!(play::load(&path).unwrap_err().reason, Reason::TooLarge));
}

#[test]
fn files_written_by_sox_play() {
    let folder = TempDir::new().unwrap();
    let kinds: [(&str, &[&str]); 9] = [
        ("pcm8", &["-r", "22050", "-b", "8", "-e", "unsigned"]),
        ("pcm16", &["-r", "44100", "-b", "16", "-c", "2"]),
        ("pcm24", &["-r", "48000", "-b", "24"]),
        ("pcm32", &["-r", "96000", "-b", "32", "-c", "6"]),
        ("float", &["-r", "16000", "-e", "float", "-b", "32"]),
        ("ulaw", &["-r", "8000", "-e", "mu-law"]),
        ("alaw", &["-r", "8000", "-e", "a-law", "-c", "2"]),
        ("ulaw16k", &["-r", "16000", "-e", "mu-law"]),
        ("pcm192", &["-r", "192000", "-b", "16"]),
    ];
    let mut played = 0;
    for (name, options) in kinds {
        let path = folder.path().join(format!("{name}.wav"));
        let mut sox = Command::new("sox");
        sox.arg("-n").args(options).arg(&path);
        sox.args(["synth", "2", "sine", "1000", "vol", "0.5"]);
        match sox.output() {
            Ok(output) => assert!(output.status.success(), "{output:?}"),
            Err(_) => continue,
        }
        let samples = play::load(&path).unwrap();
        assert_eq!(samples.len(), 16_000, "{name}");
        let level = level_at(&samples[4_000..12_000], 1_000.0);
        let off = decibels(level / 16_384.0);
        assert!(off.abs() <= 0.2, "{name}: {off:.3} dB");
        played += 1;
    }
    if played == 0 {
        println!("skipped: {} files, no sox", kinds.len());
    }
}

fn tone(rate: u32, hz: f64, seconds: f64) -> Vec<f64> {
    let length = (f64::from(rate) * seconds) as u32;
    let angle = |n: u32| TAU * hz * f64::from(n) / f64::from(rate);
    (0..length).map(|n| AMPLITUDE * angle(n).sin()).collect()
}

/// Amplitude of one frequency at 8 kHz.
fn level_at(samples: &[i16], hz: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, &sample) in samples.iter().enumerate() {
        let angle = TAU * hz * n as f64 / 8_000.0;
        re += f64::from(sample) * angle.cos();
        im += f64::from(sample) * angle.sin();
    }
    2.0 * re.hypot(im) / samples.len() as f64
}

fn rms(samples: &[i16]) -> f64 {
    let sum: f64 = samples.iter().map(|&s| f64::from(s).powi(2)).sum();
    (sum / samples.len() as f64).sqrt()
}

fn decibels(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

fn write_pcm16(path: &Path, rate: u32, channels: u16, samples: &[f64]) {
    let samples: Vec<i16> = samples.iter().map(|s| (s * 32_768.0).round() as i16).collect();
    write_i16(path, rate, channels, &samples);
}

fn write_i16(path: &Path, rate: u32, channels: u16, samples: &[i16]) {
    let spec = WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut writer = WavWriter::create(PathBuf::from(path), spec).unwrap();
    for &sample in samples {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
}

/// A plain file with a 16-byte `fmt ` chunk: its samples begin at byte 44.
fn wav(tag: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
    let frame = channels * bits / 8;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0");
    bytes.extend(tag.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend(rate.wrapping_mul(u32::from(frame)).to_le_bytes());
    bytes.extend(frame.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}
