//! `kaphila dtmf`: the keys in WAV files, as a call would hear them.

use std::path::{Path, PathBuf};

use clap::Args;
use kaphila_media::dtmf::tone::{Detector, Heard};
use kaphila_media::play;
use serde_json::{Value, json};

use super::{CliError, Common, output};

/// Samples that are heard at a time: a packet's.
const FRAME: usize = 160;
/// Samples of silence after a file: they let its last key go.
const SILENCE: [i16; 800] = [0; 800];
/// Samples in a millisecond.
const PER_MS: u64 = 8;

/// `kaphila dtmf`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  kaphila dtmf --json data/recordings/*.wav\n\nThe output names the digits. Keep it like the recordings."
)]
pub(super) struct DtmfArgs {
    /// WAV files of any rate, width and channel count.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// A key and the time it sounded, in ms from the start of the file.
#[derive(Debug, PartialEq, Eq)]
struct Press {
    digit: char,
    start_ms: u64,
    end_ms: u64,
}

pub(super) fn run(common: &Common, args: &DtmfArgs) -> Result<(), CliError> {
    let mut failed = false;
    for file in &args.files {
        match play::load(file) {
            Ok(samples) => print(common, file, &listen(&samples)),
            Err(error) => {
                failed = true;
                eprintln!("kaphila: {error}");
            }
        }
    }
    if failed { Err(CliError::Silent) } else { Ok(()) }
}

fn listen(samples: &[i16]) -> Vec<Press> {
    let mut detector = Detector::default();
    let mut presses: Vec<Press> = Vec::new();
    let length_ms = samples.len() as u64 / PER_MS;
    for frame in samples.chunks(FRAME).chain(SILENCE.chunks(FRAME)) {
        detector.push(frame, |heard| match heard {
            Heard::Pressed { digit, start_ms, .. } => {
                presses.push(Press { digit, start_ms, end_ms: length_ms });
            }
            Heard::Released { end_ms, .. } => {
                if let Some(press) = presses.last_mut() {
                    press.end_ms = end_ms.min(length_ms);
                }
            }
        });
    }
    presses
}

fn print(common: &Common, file: &Path, presses: &[Press]) {
    let digits: String = presses.iter().map(|press| press.digit).collect();
    if common.json {
        output::line(to_json(file, &digits, presses));
    } else if digits.is_empty() {
        output::line(format_args!("{}: no digits", file.display()));
    } else {
        let times = presses.iter().map(|p| format!("{} {}-{} ms", p.digit, p.start_ms, p.end_ms));
        let times = times.collect::<Vec<_>>().join(", ");
        output::line(format_args!("{}: {digits} ({times})", file.display()));
    }
}

fn to_json(file: &Path, digits: &str, presses: &[Press]) -> Value {
    let event = |press: &Press| {
        json!({
            "digit": press.digit,
            "startMs": press.start_ms,
            "endMs": press.end_ms,
        })
    };
    json!({
        "file": output::path(file),
        "digits": digits,
        "events": presses.iter().map(event).collect::<Vec<_>>(),
    })
}
