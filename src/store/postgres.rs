//! PostgreSQL: how it is opened, and the shared queries compiled for it.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::{StoreError, SyncMode};

#[path = "sql/mod.rs"]
#[allow(clippy::duplicate_mod, reason = "the same queries, compiled once a database")]
pub(super) mod sql;

pub(super) type Db = sqlx::Postgres;
/// A server far away can hang: what it does not answer in time is given up, and its connection.
pub(super) const HANGS: bool = true;
/// Guarded updates lock the rows they touch; nothing more is needed.
pub(super) const BEGIN: &str = "BEGIN";

/// How long a request waits for a connection before it is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_millis(300);
/// Connections for reading.
const READERS: u32 = 8;

/// Connects, and brings the tables up to date.
pub(super) async fn open(
    url: &str,
    sync: SyncMode,
    migrate: bool,
) -> Result<sql::Pools, StoreError> {
    let commit = match sync {
        SyncMode::Normal => "off",
        SyncMode::Full => "on",
    };
    let options = PgConnectOptions::from_str(url)?.options([("synchronous_commit", commit)]);
    let pool = || PgPoolOptions::new().acquire_timeout(ACQUIRE_TIMEOUT);
    let write = pool().max_connections(1).connect_with(options.clone()).await?;
    sql::bring_up(&write, &sqlx::migrate!("./migrations/postgres"), migrate).await?;
    let read = pool().max_connections(READERS).connect_lazy_with(options);
    Ok(sql::Pools { write, read })
}
