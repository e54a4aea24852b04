//! Copies of an embedded database: taken while it is in use, checked before they are trusted.
//!
//! PostgreSQL has its own tools for that, and they are better.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use super::Millis;
use super::files::{self, beside};

/// Why a copy was not made or not taken.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// PostgreSQL.
    #[error(
        "the database is PostgreSQL: back it up with pg_dump --format=custom, restore it with \
         pg_restore"
    )]
    NotEmbedded,
    /// The file to be written is there already.
    #[error("{0} exists already; give another name")]
    Exists(PathBuf),
    /// The file is no database of ours.
    #[error("{path} is no backup of Kaphila: {why}")]
    NotOurs {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another process has the database open.
    #[error("{0} is in use by another process: end it first")]
    InUse(PathBuf),
    /// A file could not be read, written or renamed.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database.
    #[error("{path}: {source}")]
    Database {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: sqlx::Error,
    },
}

/// The file of an embedded database.
fn file_of(url: &str) -> Result<PathBuf, BackupError> {
    let options = url.starts_with("sqlite:").then(|| SqliteConnectOptions::from_str(url));
    match options {
        Some(Ok(options)) => Ok(options.get_filename().to_owned()),
        _ => Err(BackupError::NotEmbedded),
    }
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { path: path.clone(), source }
}

fn database(path: &Path) -> impl Fn(sqlx::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Database { path: path.clone(), source }
}

async fn open(path: &Path) -> Result<SqliteConnection, BackupError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    SqliteConnection::connect_with(&options).await.map_err(database(path))
}

/// Writes the database of `url` to `file`, mode 0600, as it stands at one moment; a server may run
/// meanwhile. How many bytes it has.
///
/// # Errors
/// [`BackupError`]; `file` does not exist then.
pub async fn write(url: &str, file: &Path) -> Result<u64, BackupError> {
    let from = file_of(url)?;
    if file.exists() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let part = beside(file, ".part");
    let written = copy(&from, &part).await.and_then(|bytes| {
        fs::rename(&part, file).map_err(io(file))?;
        sync_folder(file)?;
        Ok(bytes)
    });
    if written.is_err() {
        // What is half written is of no use; that it is there harms nobody.
        let _ = fs::remove_file(&part);
    }
    written
}

/// Copies a database as it stands at one moment, on disk when this returns.
async fn copy(from: &Path, part: &Path) -> Result<u64, BackupError> {
    remove(part)?;
    // Made before SQLite would make it, for its owner alone.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part);
    let made = made.map_err(io(part))?;
    let mut connection = open(from).await?;
    let name = part.to_string_lossy().into_owned();
    let copied = sqlx::query("VACUUM INTO $1").bind(name).execute(&mut connection).await;
    copied.map_err(database(part))?;
    connection.close().await.map_err(database(from))?;
    made.sync_all().map_err(io(part))?;
    made.metadata().map(|data| data.len()).map_err(io(part))
}

/// What was there before a restore.
#[derive(Debug)]
pub struct Before {
    /// The old database's name now.
    pub path: PathBuf,
    /// Why SQLite could not read it; its log, if it had one, stays beside it.
    pub damage: Option<String>,
}

/// Puts a backup in the place of the database of `url`; the old one stays beside it. No server may
/// run. A crash at any point leaves the old one or the new one in its place.
///
/// # Errors
/// [`BackupError`]; the database is as it was then.
pub async fn restore(url: &str, file: &Path, now: Millis) -> Result<Option<Before>, BackupError> {
    let to = file_of(url)?;
    check(file).await?;
    let part = beside(&to, ".restored");
    copy(file, &part).await?;
    make_another(&part).await?;
    let old = set_aside(&to, &beside(&to, &format!(".before-{}", now.0))).await?;
    for log in LOGS.map(|end| beside(&to, end)) {
        remove(&log)?;
    }
    // Never the new database with the old one's log.
    sync_folder(&to)?;
    fs::rename(&part, &to).map_err(io(&to))?;
    sync_folder(&to)?;
    Ok(old)
}

/// It is no longer the database that was copied: what a journal has for that one is not for it.
async fn make_another(part: &Path) -> Result<(), BackupError> {
    let options = SqliteConnectOptions::new().filename(part);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(database(part))?;
    let named: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'meta'")
        .fetch_one(&mut connection)
        .await
        .map_err(database(part))?;
    if named > 0 {
        let forgotten = sqlx::query("DELETE FROM meta WHERE name = 'identity'");
        forgotten.execute(&mut connection).await.map_err(database(part))?;
    }
    connection.close().await.map_err(database(part))
}

/// What SQLite keeps beside a database in use.
const LOGS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Gives a database that nobody uses a second name, and its log too unless all of that could be
/// written into the file.
async fn set_aside(path: &Path, aside: &Path) -> Result<Option<Before>, BackupError> {
    if !path.exists() {
        return Ok(None);
    }
    // First of all: opening a damaged database may change it.
    let names =
        || std::iter::once("").chain(LOGS).map(|end| (beside(path, end), beside(aside, end)));
    for (name, second) in names().filter(|(name, _)| name.exists()) {
        fs::hard_link(&name, &second).map_err(io(&second))?;
    }
    sync_folder(path)?;
    let settled = settle(path).await;
    if matches!(settled, Err(BackupError::InUse(_))) {
        names().try_for_each(|(_, second)| remove(&second))?;
        return settled.map(|()| None);
    }
    // SQLite empties a log of which all is in the file.
    let log = beside(aside, "-wal");
    if log.metadata().map_or(true, |log| log.len() == 0) {
        LOGS.iter().try_for_each(|end| remove(&beside(aside, end)))?;
    }
    let damage = settled.err().map(|error| error.to_string());
    Ok(Some(Before { path: aside.to_owned(), damage }))
}

/// Writes the log of a database that nobody uses into its file.
async fn settle(path: &Path) -> Result<(), BackupError> {
    let failed = |error: sqlx::Error| match &error {
        sqlx::Error::Database(it) if it.code().is_some_and(|code| is_busy(&code)) => {
            BackupError::InUse(path.to_owned())
        }
        _ => database(path)(error),
    };
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    // Without a log SQLite would not look at the file.
    sqlx::query("SELECT COUNT(*) FROM sqlite_schema")
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    connection.close().await.map_err(failed)?;
    if busy == 0 { Ok(()) } else { Err(BackupError::InUse(path.to_owned())) }
}

/// SQLite's BUSY and LOCKED, extended codes too.
fn is_busy(code: &str) -> bool {
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xFF, 5 | 6))
}

fn remove(file: &Path) -> Result<(), BackupError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(io(file)),
    }
}

fn sync_folder(file: &Path) -> Result<(), BackupError> {
    files::sync_folder(file).map_err(io(file))
}

/// It is whole, it is ours, and no newer version's.
async fn check(file: &Path) -> Result<(), BackupError> {
    let not_ours = |why: String| BackupError::NotOurs { path: file.to_owned(), why };
    File::open(file).map_err(io(file))?;
    let said = |error: &dyn std::fmt::Display| not_ours(error.to_string());
    let mut connection = open(file).await.map_err(|error| said(&error))?;
    let whole: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(&mut connection)
        .await
        .map_err(|error| said(&error))?;
    if whole != "ok" {
        return Err(not_ours(whole));
    }
    let version: Option<i64> =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| said(&error))?;
    let newest = sqlx::migrate!("./migrations/sqlite").iter().map(|it| it.version).max();
    match version {
        None => Err(not_ours("it has no tables".to_owned())),
        version if version > newest => Err(not_ours("a newer version wrote it".to_owned())),
        _ => Ok(()),
    }
}
