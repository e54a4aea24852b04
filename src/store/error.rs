//! What can go wrong with the database, sorted by whom to blame.

use std::path::PathBuf;
use std::sync::Arc;

use super::types::Remembered;

/// The store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, locked, full, or slow: 503 `DATABASE_UNAVAILABLE`; try again later.
    #[error("the database is unavailable: {0}")]
    Unavailable(Arc<sqlx::Error>),
    /// More is waiting to be written than can be within a second: 503 too.
    #[error("too many writes are waiting for the database")]
    Busy,
    /// The store is closed, or gave up on a request that had waited too long: 503 too.
    #[error("the write was not tried")]
    Closed,
    /// The database is away and the journal cannot be written: 503 too.
    #[error(transparent)]
    Journal(#[from] super::journal::JournalError),
    /// The database file can't be made ours.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The URL names no database that we know.
    #[error("`{0}`: expected sqlite://… or postgres://…")]
    UnknownDatabase(String),
    /// The tables are of an earlier version, and may not be changed now.
    #[error(
        "the tables are of version {found} and must be of {needed}: run kaphila migrate, or leave \
         --no-migrate out"
    )]
    OldTables {
        /// Their version.
        found: i64,
        /// Ours.
        needed: i64,
    },
    /// The tables could not be brought up to date.
    #[error("migration: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A statement that the database refused: a fault of ours.
    #[error("the database refused a statement: {0}")]
    Statement(Arc<sqlx::Error>),
}

impl StoreError {
    /// Waiting may help (503 with Retry-After); otherwise it is a fault (500).
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy | Self::Closed | Self::Journal(_))
    }

    /// The same again, for the next one who waits for the failed transaction.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Unavailable(error) => Self::Unavailable(error.clone()),
            Self::Statement(error) => Self::Statement(error.clone()),
            _ => Self::Closed,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_away(&error) {
            Self::Unavailable(Arc::new(error))
        } else {
            Self::Statement(Arc::new(error))
        }
    }
}

/// Whether an error is the database's, not the statement's.
pub(super) fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => database.code().is_some_and(|code| speaks_of_it(&code)),
        // Protocol: it went away while it was greeted.
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Codes that speak of the database's state, not of the statement: SQLite's primary result codes
/// 5 BUSY, 6 LOCKED, 8 READONLY, 10 IOERR, 13 FULL, 14 CANTOPEN (extended codes hold them in
/// their low byte); PostgreSQL's classes 08 (connection), 40 (rollback), 53 (resources), 57
/// (operator) and 58 (system).
fn speaks_of_it(code: &str) -> bool {
    if code.len() == 5 {
        return ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class));
    }
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xFF, 5 | 6 | 8 | 10 | 13 | 14))
}

/// Why a call was not placed. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// 402: less than one credit is free.
    #[error("Insufficient credits")]
    InsufficientCredits,
    /// 401: the key was revoked since it was authenticated.
    #[error("the key is gone")]
    KeyGone,
    /// The idempotency token stands for an earlier call: its answer is given again, or 409 where
    /// the body differs.
    #[error("the idempotency key was used before")]
    Repeated(Remembered),
    /// 503 or 500.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an administrative change was not made.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No such key, trunk or call.
    #[error("{0} not found")]
    NotFound(String),
    /// It would leave less than what calls in progress hold.
    #[error("the balance can't go below what calls in progress hold")]
    BelowHolds,
    /// A number that another key has.
    #[error("the number is {0}'s: take it away from it first")]
    NumberTaken(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}
