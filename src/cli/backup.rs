//! `kaphila backup`, `restore` and `migrate`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{CliError, Common, output};
use crate::server::lock;
use crate::store::{Millis, backup};

/// `kaphila backup`
#[derive(Debug, Args)]
#[command(
    after_help = "The copy holds keys, credits, trunks, calls and webhooks; recordings are files of their own.\nA server may run meanwhile. PostgreSQL is backed up with pg_dump.\n\nExample:\n  kaphila backup /var/backups/kaphila-$(date +%F).db"
)]
pub(super) struct BackupArgs {
    /// The file to write; it must not exist.
    file: PathBuf,
}

/// `kaphila restore`
#[derive(Debug, Args)]
#[command(
    after_help = "Stop the server first. The file is checked before anything is changed; the old database\nstays beside the new one, be it damaged or not. What happened since the backup is not in\nit: credits are as they were, and webhooks that waited then are sent again.\n\nExample:\n  kaphila restore /var/backups/kaphila-2026-02-17.db"
)]
pub(super) struct RestoreArgs {
    /// A file that `kaphila backup` wrote.
    file: PathBuf,
}

pub(super) async fn write(common: &Common, args: &BackupArgs) -> Result<(), CliError> {
    let (config, _) = common.load()?;
    let bytes = backup::write(&config.database.url, &args.file).await.map_err(failed)?;
    let file = &args.file;
    output::print(common.json, &json!({ "file": output::path(file), "bytes": bytes }), || {
        format!("{}: {bytes} bytes\n", file.display())
    });
    Ok(())
}

pub(super) async fn restore(common: &Common, args: &RestoreArgs) -> Result<(), CliError> {
    let (config, _) = common.load()?;
    super::make_folder(&config.paths.data)?;
    let _lock = lock::take(&config.paths.lock()).map_err(failed)?;
    let now = Millis::wall_clock();
    let journal = config.paths.journal();
    let old = backup::restore(&config.database.url, &args.file, now).await.map_err(failed)?;
    if std::fs::metadata(&journal).is_ok_and(|file| file.len() > 0) {
        // It speaks of calls that the old database has.
        let aside = journal.with_file_name(format!("journal.before-{}", now.0));
        std::fs::rename(&journal, &aside).map_err(failed)?;
    }
    // A backup of an earlier version is brought up to date.
    let (_, store) = common.open_store().await?;
    store.close().await;
    if let Some(damage) = old.as_ref().and_then(|old| old.damage.as_ref()) {
        eprintln!("kaphila: the old database could not be read, it is kept as it was: {damage}");
    }
    let old = old.map(|old| old.path);
    let before = old.as_deref().map(output::path);
    let value = json!({ "restored": output::path(&args.file), "before": before });
    output::print(common.json, &value, || {
        let kept = old.map(|old| format!("; the old database is {}", old.display()));
        format!("restored from {}{}\n", args.file.display(), kept.unwrap_or_default())
    });
    Ok(())
}

/// Brings the tables up to date, as `serve` does by itself but with `--no-migrate`.
pub(super) async fn migrate(common: &Common) -> Result<(), CliError> {
    let (_, store) = common.open_store().await?;
    let version = store.version().await;
    store.close().await;
    let version = version?;
    output::print(common.json, &json!({ "version": version }), || {
        format!("the tables are of version {version}\n")
    });
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}
