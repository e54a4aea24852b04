//! SQLite: how it is opened, and the shared queries compiled for it.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{StoreError, SyncMode};

mod checkpoint;

pub(super) use checkpoint::Checkpoints;
#[path = "sql/mod.rs"]
pub(super) mod sql;

pub(super) type Db = sqlx::Sqlite;
/// The file is here: its lock has a limit of its own, and a write that was begun comes to its end.
pub(super) const HANGS: bool = false;
/// Takes the write lock at once: a transaction never fails half-way because somebody else wrote.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

/// How long a write waits for another process's (the command line's) lock. New calls must be
/// refused within a second when the database is stuck.
const BUSY_TIMEOUT: Duration = Duration::from_millis(400);
/// How long the writer's one connection may take to open: it reads the log that a crash left.
/// Nobody waits for it with a client: those give up by themselves.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a reader is waited for.
const READ_TIMEOUT: Duration = Duration::from_millis(800);
/// Readers: enough for lists beside look-ups; WAL lets them run beside the writer.
const READERS: u32 = 4;
/// Bytes of write-ahead log kept between checkpoints.
const JOURNAL_SIZE_LIMIT: &str = "67108864";

/// Opens (and makes) the file of `url`, its tables up to date; the task ends once the pool of writers
/// is closed.
pub(super) async fn open(
    url: &str,
    sync: SyncMode,
    migrate: bool,
) -> Result<(sql::Pools, Checkpoints), StoreError> {
    let options = SqliteConnectOptions::from_str(url).map_err(StoreError::from)?;
    make_private(options.get_filename())?;
    let options = options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match sync {
            SyncMode::Normal => SqliteSynchronous::Normal,
            SyncMode::Full => SqliteSynchronous::Full,
        })
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT)
        .pragma("wal_autocheckpoint", "0")
        .create_if_missing(true);
    let pool = |acquire_timeout| {
        SqlitePoolOptions::new()
            .acquire_timeout(acquire_timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
    };
    let write = pool(OPEN_TIMEOUT).max_connections(1).connect_with(options.clone()).await?;
    sql::bring_up(&write, &sqlx::migrate!("./migrations/sqlite"), migrate).await?;
    let checkpoints = Checkpoints::start(options.clone(), write.close_event());
    let read =
        pool(READ_TIMEOUT).max_connections(READERS).connect_lazy_with(options.read_only(true));
    Ok((sql::Pools { write, read }, checkpoints))
}

/// The database is its owner's alone, whatever the umask; `-wal` and `-shm` follow its mode.
fn make_private(file: &Path) -> Result<(), StoreError> {
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(file);
    opened
        .and_then(|file| file.set_permissions(PermissionsExt::from_mode(0o600)))
        .map_err(|source| StoreError::File { path: file.to_owned(), source })
}
