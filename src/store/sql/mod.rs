//! All SQL, in text that SQLite and PostgreSQL both take (`$1`, `ON CONFLICT … RETURNING`, BIGINT
//! milliseconds, JSON as text). These files are compiled once a database: `super::Db` tells which.
//! Reads are plain functions on the reader pool; writes are [`Apply`]ed by the `writer`.

use sqlx::{Database, Pool};

use super::{BEGIN, Db, HANGS};
use crate::store::ops::{Identify, Operation};
use crate::store::{StoreError, types::Outgoing};

pub(in crate::store) mod audit;
pub(in crate::store) mod calls;
pub(in crate::store) mod history;
mod import;
pub(in crate::store) mod keys;
pub(in crate::store) mod numbers;
pub(in crate::store) mod outbox;
pub(in crate::store) mod prune;
pub(in crate::store) mod recordings;
pub(in crate::store) mod trunks;
pub(in crate::store) mod writer;

/// One connection that writes, several that read.
#[derive(Clone)]
pub(in crate::store) struct Pools {
    pub(in crate::store) write: Pool<Db>,
    pub(in crate::store) read: Pool<Db>,
}

/// The version of the tables.
pub(in crate::store) async fn version(pool: &Pool<Db>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations")
        .fetch_one(pool)
        .await
}

/// Brings the tables up to date, or says that they are not.
pub(in crate::store) async fn bring_up(
    pool: &Pool<Db>,
    migrator: &sqlx::migrate::Migrator,
    migrate: bool,
) -> Result<(), StoreError> {
    if migrate {
        return Ok(migrator.run(pool).await?);
    }
    let needed = migrator.iter().map(|it| it.version).max().unwrap_or(0);
    // Without tables there is no version either.
    let found = version(pool).await.unwrap_or(0);
    if found < needed { Err(StoreError::OldTables { found, needed }) } else { Ok(()) }
}

/// The transaction an operation is applied in.
pub(in crate::store) struct Tx<'a> {
    /// The writer's connection.
    pub(in crate::store) conn: &'a mut <Db as Database>::Connection,
    /// Events that go to the deliverer once this has been committed.
    pub(in crate::store) events: &'a mut Vec<Outgoing>,
    /// The `n` of the next call id. Runs ahead when a transaction fails: ids count up, with gaps.
    pub(in crate::store) next_call: &'a mut i64,
    /// This node's number.
    pub(in crate::store) node: i64,
}

/// How an operation is written on this database.
pub(in crate::store) trait Apply: Operation {
    /// Applies it. `Err` undoes everything in the transaction; it may then be applied again.
    fn apply(
        &self,
        tx: &mut Tx<'_>,
    ) -> impl Future<Output = Result<Self::Output, sqlx::Error>> + Send;
}

impl Apply for Identify {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<String, sqlx::Error> {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ('identity', $1) ON CONFLICT (name) DO NOTHING",
        )
        .bind(&self.new)
        .execute(&mut *tx.conn)
        .await?;
        sqlx::query_scalar("SELECT value FROM meta WHERE name = 'identity'")
            .fetch_one(&mut *tx.conn)
            .await
    }
}
