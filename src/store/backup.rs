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
    let part = beside(file, "part");
    let written = write_part(&from, &part).await.and_then(|bytes| {
        fs::rename(&part, file).map_err(io(file))?;
        Ok(bytes)
    });
    if written.is_err() {
        // What is half written is of no use; that it is there harms nobody.
        let _ = fs::remove_file(&part);
    }
    written
}

async fn write_part(from: &Path, part: &Path) -> Result<u64, BackupError> {
    // Made before SQLite would make it, for its owner alone.
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part);
    let made = made.map_err(io(part))?;
    let mut connection = open(from).await?;
    let name = part.to_string_lossy().into_owned();
    let copied = sqlx::query("VACUUM INTO $1").bind(name).execute(&mut connection).await;
    copied.map_err(database(part))?;
    connection.close().await.map_err(database(from))?;
    made.sync_all().map_err(io(part))?;
    made.metadata().map(|data| data.len()).map_err(io(part))
}

/// Puts a backup in the place of the database of `url`; the old one stays beside it, and its name is
/// returned. No server may run.
///
/// # Errors
/// [`BackupError`]; the database is as it was then.
pub async fn restore(url: &str, file: &Path, now: Millis) -> Result<Option<PathBuf>, BackupError> {
    let to = file_of(url)?;
    check(file).await?;
    let part = beside(&to, "restored");
    let _ = fs::remove_file(&part);
    fs::copy(file, &part).map_err(io(&part))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&part, mode).map_err(io(&part))?;
    File::open(&part).and_then(|part| part.sync_all()).map_err(io(&part))?;
    let aside = beside(&to, &format!("before-{}", now.0));
    let is_there = to.exists();
    if is_there {
        // Its log belongs to it: what is in there goes into the file first.
        settle(&to).await?;
        fs::rename(&to, &aside).map_err(io(&to))?;
    }
    for log in ["wal", "shm"].map(|end| PathBuf::from(format!("{}-{end}", to.display()))) {
        if log.exists() {
            fs::remove_file(&log).map_err(io(&log))?;
        }
    }
    fs::rename(&part, &to).map_err(io(&to))?;
    Ok(is_there.then_some(aside))
}

/// Writes the log of a database that nobody uses into its file.
async fn settle(path: &Path) -> Result<(), BackupError> {
    let options = SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(database(path))?;
    let settled = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
    settled.map_err(database(path))?;
    connection.close().await.map_err(database(path))
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

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(end);
    file.with_file_name(name)
}
