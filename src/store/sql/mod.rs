//! All SQL, in text that SQLite and PostgreSQL both take (`$1`, `ON CONFLICT … RETURNING`, BIGINT
//! milliseconds, JSON as text). These files are compiled once a database: `super::Db` tells which.
//! Reads are plain functions on the reader pool; writes are [`Apply`]ed by the `writer`.

use sqlx::{Database, Pool};

use super::{BEGIN, Db, HANGS};
use crate::store::{ops::Operation, types::Outgoing};

pub(in crate::store) mod audit;
pub(in crate::store) mod calls;
pub(in crate::store) mod history;
mod import;
pub(in crate::store) mod keys;
pub(in crate::store) mod outbox;
mod prune;
pub(in crate::store) mod recordings;
pub(in crate::store) mod trunks;
pub(in crate::store) mod writer;

/// One connection that writes, several that read.
#[derive(Clone)]
pub(in crate::store) struct Pools {
    pub(in crate::store) write: Pool<Db>,
    pub(in crate::store) read: Pool<Db>,
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
