//! `kaphila key import` and `kaphila calls import`: files of another service.
//!
//! It knows their columns. It refuses to know where they go. A file is read whole and every bad line
//! is told before anything is taken over.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand};
use kaphila_media::amd::Status as AmdStatus;
use serde_json::json;

use super::webhooks::is_call_id;
use super::{CliError, Common, output};
use crate::number::Number;
use crate::store::{BadLine, CallStatus, ImportedCall, ImportedCalls, ImportedKey, Millis, Store};

/// Bad lines that are told; more of them are counted.
const TOLD: usize = 20;

/// `kaphila key import`
#[derive(Debug, Args)]
#[command(
    after_help = "The first line names the columns, in any order; all but the first of these are optional:\n  key or key_sha256, key_id, name, credits, rate_limit, total_calls, successful_calls,\n  created_at (2026-02-17T10:24:51Z), trunks (names with ; between)\n\nAll keys of the file are taken over, or none. Their clients go on with the keys they have.\n\nExample:\n  kaphila key import customers.csv"
)]
pub(super) struct ImportKeysArgs {
    /// A CSV file.
    file: PathBuf,
    /// Change keys that exist already, in the columns that the file has.
    #[arg(long)]
    update: bool,
}

/// `kaphila calls`
#[derive(Debug, Subcommand)]
pub(super) enum CallsCommand {
    /// Take over the ended calls of another service.
    #[command(
        after_help = "The first line names the columns, in any order:\n  call_id, key_id, number, status (completed, busy, no-answer, failed, canceled),\n  amd_status (may be empty), duration (seconds), created_at (2026-02-17T10:24:51Z)\n\nCalls are taken over 2000 at a time; a server may run meanwhile. One that is there already stays\nas it is: after an error, or when it was cut off, repeat the command, and the rest is taken over.\nLines that speak of another call of the same id are told and left out, exit 1.\nCalls that are older than database.keep_calls are deleted soon after, as all such are.\n\nExample:\n  kaphila calls import calls.csv"
    )]
    Import {
        /// A CSV file.
        file: PathBuf,
    },
}

/// A file's lines by the names of their columns.
struct Lines {
    columns: Vec<String>,
    rows: Vec<(u64, csv::StringRecord)>,
}

impl Lines {
    fn read(file: &Path, known: &[&str]) -> Result<Self, CliError> {
        let failed = |error: csv::Error| CliError::Failed(format!("{}: {error}", file.display()));
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(file);
        let reader = reader
            .as_mut()
            .map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))?;
        let columns: Vec<String> =
            reader.headers().map_err(failed)?.iter().map(str::to_ascii_lowercase).collect();
        let mut seen = HashSet::new();
        for column in &columns {
            let what = if !known.contains(&column.as_str()) {
                format!("there is no column `{column}`; those there are: {}", known.join(", "))
            } else if !seen.insert(column) {
                format!("the column `{column}` is there twice")
            } else {
                continue;
            };
            return Err(CliError::Failed(format!("{}: {what}", file.display())));
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(failed)?;
            rows.push((record.position().map_or(0, csv::Position::line), record));
        }
        Ok(Self { columns, rows })
    }

    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known == column)
    }

    /// Makes a value of each line; all that is wrong with all of them.
    fn map<T>(
        &self,
        make: impl Fn(&Line<'_>) -> Result<T, String>,
    ) -> Result<Vec<T>, Vec<BadLine>> {
        let (mut made, mut bad) = (Vec::new(), Vec::new());
        for (line, record) in &self.rows {
            match make(&Line { columns: &self.columns, number: *line, record }) {
                Ok(value) => made.push(value),
                Err(what) => bad.push(BadLine { line: *line, what }),
            }
        }
        if bad.is_empty() { Ok(made) } else { Err(bad) }
    }
}

struct Line<'a> {
    columns: &'a [String],
    number: u64,
    record: &'a csv::StringRecord,
}

impl Line<'_> {
    /// A cell that is there and not empty.
    fn cell(&self, column: &str) -> Option<&str> {
        let at = self.columns.iter().position(|known| known == column)?;
        self.record.get(at).filter(|cell| !cell.is_empty())
    }

    fn required(&self, column: &str) -> Result<&str, String> {
        self.cell(column).ok_or_else(|| format!("{column} is missing"))
    }

    fn parsed<T: FromStr>(&self, column: &str, what: &str) -> Result<Option<T>, String> {
        let wrong = |cell| format!("{column} must be {what}, not `{cell}`");
        self.cell(column).map(|cell| cell.parse().map_err(|_| wrong(cell))).transpose()
    }

    fn count(&self, column: &str) -> Result<Option<i64>, String> {
        let number: Option<u32> = self.parsed(column, "a whole number")?;
        Ok(number.map(i64::from))
    }

    fn time(&self, column: &str) -> Result<Option<Millis>, String> {
        self.parsed(column, "a time such as 2026-02-17T10:24:51Z")
    }
}

fn bad(file: &Path, lines: &[BadLine]) -> CliError {
    tell(file, lines);
    CliError::Failed(format!("nothing was taken over from {}", file.display()))
}

fn tell(file: &Path, lines: &[BadLine]) {
    for line in lines.iter().take(TOLD) {
        eprintln!("kaphila: {}: {line}", file.display());
    }
    let more = lines.len().saturating_sub(TOLD);
    if more > 0 {
        eprintln!("kaphila: and {more} more");
    }
}

const KEY_COLUMNS: &[&str] = &[
    "key",
    "key_sha256",
    "key_id",
    "name",
    "credits",
    "rate_limit",
    "total_calls",
    "successful_calls",
    "created_at",
    "trunks",
];

pub(super) async fn keys(
    common: &Common,
    store: &Store,
    args: &ImportKeysArgs,
    now: Millis,
) -> Result<(), CliError> {
    let lines = Lines::read(&args.file, KEY_COLUMNS)?;
    if lines.has("key") == lines.has("key_sha256") {
        let what = "it must have the column key, or key_sha256";
        return Err(CliError::Failed(format!("{}: {what}", args.file.display())));
    }
    let keys = lines.map(key).map_err(|lines| bad(&args.file, &lines))?;
    unlike(&keys).map_err(|lines| bad(&args.file, &lines))?;
    let count = keys.len();
    let done = store.import_keys(keys, args.update, now).await?;
    done.map_err(|lines| bad(&args.file, &lines))?;
    output::print(common.json, &json!({ "keys": count }), || format!("{count} keys taken over\n"));
    Ok(())
}

fn key(line: &Line<'_>) -> Result<ImportedKey, String> {
    let hash = match line.cell("key_sha256") {
        Some(hash) => {
            let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hash.then(|| hash.to_ascii_lowercase()).ok_or("key_sha256 must be 64 hex digits")?
        }
        None if line.columns.iter().any(|column| column == "key_sha256") => {
            return Err("key_sha256 is missing".to_owned());
        }
        None => {
            let key = line.required("key")?;
            let is_key = key.bytes().all(|byte| byte.is_ascii_graphic());
            Store::hash_of(key).filter(|_| is_key).ok_or("key must be printable, without spaces")?
        }
    };
    let key_id = line.cell("key_id").map(str::to_owned);
    let is_name = |id: &String| {
        id.len() <= 64
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    };
    if key_id.as_ref().is_some_and(|id| !is_name(id)) {
        return Err("key_id must be 1 to 64 letters, digits, _, - and .".to_owned());
    }
    let trunks = line.cell("trunks").map(|list| {
        list.split(';').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned).collect()
    });
    Ok(ImportedKey {
        line: line.number,
        hash,
        key_id,
        name: line.cell("name").map(str::to_owned),
        credits: line.count("credits")?,
        rate_limit: line.count("rate_limit")?,
        total_calls: line.count("total_calls")?,
        successful_calls: line.count("successful_calls")?,
        created_at: line.time("created_at")?,
        trunks,
    })
}

/// No two lines are of one key.
fn unlike(keys: &[ImportedKey]) -> Result<(), Vec<BadLine>> {
    let (mut hashes, mut ids) = (HashSet::new(), HashSet::new());
    let mut bad = Vec::new();
    for key in keys {
        let is_new = key.key_id.as_ref().is_none_or(|id| ids.insert(id));
        if !hashes.insert(&key.hash) || !is_new {
            let what = "the key is on an earlier line already".to_owned();
            bad.push(BadLine { line: key.line, what });
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(bad) }
}

const CALL_COLUMNS: &[&str] =
    &["call_id", "key_id", "number", "status", "amd_status", "duration", "created_at"];

pub(super) async fn calls(common: &Common, command: &CallsCommand) -> Result<(), CliError> {
    let CallsCommand::Import { file } = command;
    let lines = Lines::read(file, CALL_COLUMNS)?;
    let calls = lines.map(call).map_err(|lines| bad(file, &lines))?;
    let (config, store) = common.open_store().await?;
    let keep = i64::try_from(config.database.keep_calls.as_millis()).unwrap_or(i64::MAX);
    let done = take_calls(common, &store, file, calls, Millis::wall_clock().plus(-keep)).await;
    store.close().await;
    done
}

/// Calls that were placed until `too_old` will not stay.
async fn take_calls(
    common: &Common,
    store: &Store,
    file: &Path,
    calls: Vec<ImportedCall>,
    too_old: Millis,
) -> Result<(), CliError> {
    let keys: HashSet<String> = store.keys().await?.into_iter().map(|key| key.key_id).collect();
    let mut lines = HashMap::new();
    let wrong = calls.iter().filter_map(|call| {
        let first = *lines.entry(call.call_id.as_str()).or_insert(call.line);
        let what = if !keys.contains(&call.key_id) {
            format!("key_id: no key {}", call.key_id)
        } else if first != call.line {
            format!("call_id: {} is on line {first} already", call.call_id)
        } else {
            return None;
        };
        Some(BadLine { line: call.line, what })
    });
    let wrong: Vec<BadLine> = wrong.collect();
    if !wrong.is_empty() {
        return Err(bad(file, &wrong));
    }
    let count = calls.len();
    let old = calls.iter().filter(|call| call.created_at <= too_old).count();
    let told = |done: usize| {
        if done < count || count > 20_000 {
            eprintln!("kaphila: {done} of {count} calls");
        }
    };
    let imported = store.import_calls(calls, told).await.map_err(|error| {
        CliError::Failed(format!("{error}; repeat the command, and the rest is taken over"))
    })?;
    let ImportedCalls { taken, known, refused } = imported;
    let value = json!({ "calls": taken, "known": known, "refused": refused.len(), "old": old });
    output::print(common.json, &value, || {
        format!("{taken} calls taken over, {known} were there already\n")
    });
    if old > 0 {
        eprintln!(
            "kaphila: {old} calls of the file are older than database.keep_calls: a running server \
             deletes them soon"
        );
    }
    if refused.is_empty() {
        return Ok(());
    }
    tell(file, &refused);
    Err(CliError::Failed(format!("{} lines were not taken over", refused.len())))
}

fn call(line: &Line<'_>) -> Result<ImportedCall, String> {
    let call_id = line.required("call_id")?;
    if call_id.len() > 40 || !is_call_id(call_id) {
        return Err("call_id must be such as 1720012345.88".to_owned());
    }
    let number =
        Number::parse(line.required("number")?).map_err(|error| format!("number {error}"))?;
    let status = line.required("status")?.to_ascii_lowercase();
    let ended: Vec<CallStatus> =
        CallStatus::ALL.into_iter().filter(|it| it.is_terminal()).collect();
    let status = ended.iter().find(|it| it.as_str() == status).ok_or_else(|| {
        let names: Vec<&str> = ended.iter().map(|it| it.as_str()).collect();
        format!("status must be one of {}, not `{status}`", names.join(", "))
    })?;
    let amd_status = line.cell("amd_status").map(str::to_ascii_uppercase);
    let is_verdict = |verdict: &String| AmdStatus::ALL.iter().any(|it| it.name() == verdict);
    if amd_status.as_ref().is_some_and(|verdict| !is_verdict(verdict)) {
        let names = AmdStatus::ALL.map(AmdStatus::name).join(", ");
        return Err(format!("amd_status must be empty or one of {names}"));
    }
    Ok(ImportedCall {
        line: line.number,
        call_id: call_id.to_owned(),
        key_id: line.required("key_id")?.to_owned(),
        number: number.as_str().to_owned(),
        status: *status,
        amd_status,
        duration: line.count("duration")?.unwrap_or(0),
        created_at: line.time("created_at")?.ok_or("created_at is missing")?,
    })
}
