//! `kaphila amd`: the detector on WAV files, as a call would hear them.

use std::path::{Path, PathBuf};

use clap::Args;
use kaphila_media::amd::{Detector, Verdict};
use kaphila_media::play;
use serde_json::{Value, json};

use super::{CliError, Common};
use crate::server::amd_params;

/// 20 ms at 8 kHz.
const FRAME: usize = 160;

/// `kaphila amd`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kaphila amd --json greetings/*.wav")]
pub(super) struct AmdArgs {
    /// WAV files of any rate, width and channel count.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

pub(super) fn run(common: &Common, args: &AmdArgs) -> Result<(), CliError> {
    let (config, _) = common.load()?;
    let params = amd_params(&config.amd);
    let mut failed = false;
    for file in &args.files {
        match judge(file, params) {
            Ok(verdict) if common.json => println!("{}", to_json(file, &verdict)),
            Ok(verdict) => println!("{}: {}", file.display(), to_text(&verdict)),
            Err(error) => {
                failed = true;
                eprintln!("kaphila: {error}");
            }
        }
    }
    if failed { Err(CliError::Silent) } else { Ok(()) }
}

/// A file's last verdict (a revision replaces the first) and, for a file that ends first, what its
/// end makes of it.
struct Judged {
    verdict: Verdict,
    decided_ms: u32,
    revised: bool,
}

#[allow(clippy::disallowed_methods, reason = "offline: the audio is the clock, this its origin")]
fn judge(file: &Path, params: kaphila_media::amd::Params) -> Result<Judged, play::PlayError> {
    let samples = play::load(file)?;
    let start = std::time::Instant::now();
    let mut detector = Detector::new(start, params);
    let mut first = None;
    let mut last = None;
    for frame in samples.chunks(FRAME) {
        if let Some(verdict) = detector.handle_frame(frame) {
            first.get_or_insert(verdict.decided_ms);
            last = Some(verdict);
        }
    }
    let length = std::time::Duration::from_micros(samples.len() as u64 * 125);
    let verdict = last.or_else(|| detector.handle_hangup(start + length)).unwrap_or(Verdict {
        status: kaphila_media::amd::Status::NotSure,
        cause: kaphila_media::amd::Cause::Hangup,
        confidence: 0.0,
        decided_ms: u32::try_from(length.as_millis()).unwrap_or(u32::MAX),
        figures: kaphila_media::amd::Figures::default(),
        revised: false,
    });
    let decided_ms = first.unwrap_or(verdict.decided_ms);
    Ok(Judged { verdict, decided_ms, revised: verdict.revised })
}

fn to_json(file: &Path, judged: &Judged) -> Value {
    json!({
        "file": file,
        "status": judged.verdict.status.name(),
        "cause": judged.verdict.cause.name(),
        "confidence": (f64::from(judged.verdict.confidence) * 1000.0).round() / 1000.0,
        "decidedMs": judged.decided_ms,
        // The classic mode measures neither the end of a greeting nor a beep.
        "greetingEndMs": null,
        "greetingEndReason": null,
        "beep": null,
        "revised": judged.revised,
    })
}

fn to_text(judged: &Judged) -> String {
    let verdict = &judged.verdict;
    let limit = verdict.figures.limit.map(|limit| format!("-{limit}")).unwrap_or_default();
    let revised = if judged.revised { ", revised" } else { "" };
    format!(
        "{} {} {}{limit}, confidence {:.2}, after {} ms{revised}",
        verdict.status,
        verdict.cause,
        verdict.figures.measured,
        verdict.confidence,
        judged.decided_ms
    )
}
