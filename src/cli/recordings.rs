//! `kaphila recordings repair | prune`.

use std::fs;
use std::time::Duration;

use clap::Subcommand;
use kaphila_media::spool::{self, Outcome, Report};
use serde_json::json;

use super::{CliError, Common, output};
use crate::config::parse_duration;
use crate::store::Millis;

/// `kaphila recordings`
#[derive(Debug, Subcommand)]
pub(super) enum RecordingsCommand {
    /// Make the headers of recordings true that a crash left behind. Files being written are left alone.
    #[command(after_help = "Example:\n  kaphila recordings repair")]
    Repair,
    /// Delete recordings, files and rows, that began long ago.
    #[command(after_help = "Example:\n  kaphila recordings prune --older-than 30d")]
    Prune {
        /// How old, such as 30d or 12h.
        #[arg(long, value_name = "AGE", value_parser = age)]
        older_than: Duration,
    },
}

fn age(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected an age such as 30d or 12h".to_owned())
}

pub(super) async fn run(common: &Common, command: RecordingsCommand) -> Result<(), CliError> {
    match command {
        RecordingsCommand::Repair => repair(common),
        RecordingsCommand::Prune { older_than } => prune(common, older_than).await,
    }
}

fn repair(common: &Common) -> Result<(), CliError> {
    let (config, _) = common.load()?;
    let folder = &config.paths.recordings;
    let reports = spool::repair(folder)
        .map_err(|error| CliError::Failed(format!("cannot read {}: {error}", folder.display())))?;
    let rows: Vec<_> = reports.iter().map(|report| (report, describe(report))).collect();
    let value = rows
        .iter()
        .map(|(report, what)| {
            let file = output::path(&report.path);
            json!({ "file": file, "outcome": what, "durationMs": report.duration_ms })
        })
        .collect();
    output::print(common.json, &value, || {
        rows.iter().map(|(report, what)| format!("{}: {what}\n", report.path.display())).collect()
    });
    let failed = reports.iter().any(|report| matches!(report.outcome, Outcome::Failed(_)));
    if failed { Err(CliError::Silent) } else { Ok(()) }
}

fn describe(report: &Report) -> String {
    match &report.outcome {
        Outcome::Healthy => "healthy".to_owned(),
        Outcome::Mended => "mended".to_owned(),
        Outcome::InUse => "being written".to_owned(),
        Outcome::Foreign(why) => format!("left alone: {why}"),
        Outcome::Failed(why) => format!("failed: {why}"),
    }
}

async fn prune(common: &Common, age: Duration) -> Result<(), CliError> {
    let (config, store) = common.open_store().await?;
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let before = Millis::wall_clock().plus(-age);
    let (mut files, mut bytes) = (0_u64, 0_u64);
    loop {
        let batch = store.recordings_before(before).await?;
        if batch.is_empty() {
            break;
        }
        for recording in batch {
            let path = config.paths.recordings.join(&recording.filename);
            match fs::remove_file(&path) {
                Ok(()) => bytes += recording.bytes.unsigned_abs(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let message = format!("cannot delete {}: {error}", path.display());
                    return Err(CliError::Failed(message));
                }
            }
            // The row goes after the file: what is interrupted here is found again.
            store.forget_recording(&recording.recording_id).await?;
            files += 1;
        }
    }
    store.close().await;
    let result = json!({ "deleted": files, "bytes": bytes });
    output::print(common.json, &result, || format!("{files} recordings deleted, {bytes} bytes\n"));
    Ok(())
}
