//! `kaphila amd`: the detector on WAV files, as a call would hear them.

use std::path::{Path, PathBuf};

use clap::Args;
use kaphila_media::amd::{self, Verdict};
use kaphila_media::play;
use serde_json::{Value, json};

use super::{CliError, Common, output};
use crate::server::amd_params;

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
            Ok(verdict) if common.json => output::line(to_json(file, &verdict)),
            Ok(verdict) => output::line(format_args!("{}: {}", file.display(), to_text(&verdict))),
            Err(error) => {
                failed = true;
                eprintln!("kaphila: {error}");
            }
        }
    }
    if failed { Err(CliError::Silent) } else { Ok(()) }
}

/// A file's last verdict (a revision replaces the first), and when the first was given.
struct Judged {
    verdict: Verdict,
    decided_ms: u32,
}

#[allow(clippy::disallowed_methods, reason = "offline: the audio is the clock, this its origin")]
fn judge(file: &Path, params: amd::Params) -> Result<Judged, CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let samples = play::load(file).map_err(|error| failed(&error))?;
    let verdicts = amd::analyse(std::time::Instant::now(), params, &samples);
    match (verdicts.first(), verdicts.last()) {
        (Some(first), Some(last)) => Ok(Judged { verdict: *last, decided_ms: first.decided_ms }),
        _ => Err(CliError::Failed(format!("{}: no verdict", file.display()))),
    }
}

fn to_json(file: &Path, judged: &Judged) -> Value {
    json!({
        "file": output::path(file),
        "status": judged.verdict.status.name(),
        "cause": judged.verdict.cause.name(),
        "confidence": (f64::from(judged.verdict.confidence) * 1000.0).round() / 1000.0,
        "decidedMs": judged.decided_ms,
        // The classic mode measures neither the end of a greeting nor a beep.
        "greetingEndMs": null,
        "greetingEndReason": null,
        "beep": null,
        "revised": judged.verdict.revised,
    })
}

fn to_text(judged: &Judged) -> String {
    let verdict = &judged.verdict;
    let limit = verdict.figures.limit.map(|limit| format!("-{limit}")).unwrap_or_default();
    let revised = if judged.verdict.revised { ", revised" } else { "" };
    format!(
        "{} {} {}{limit}, confidence {:.2}, after {} ms{revised}",
        verdict.status,
        verdict.cause,
        verdict.figures.measured,
        verdict.confidence,
        judged.decided_ms
    )
}
