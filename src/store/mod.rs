//! The database: the truth about keys, trunks, calls, money, recordings and webhook events.
//!
//! It knows all SQL and nothing of SIP, media or HTTP; JSON and SIP state pass through as text.
//! Placing a call, its answer and its end are one transaction each and may be repeated without
//! harm. Start at [`Store`]; `sql/` has the statements, `sql/writer.rs` the group commit.

mod admin;
mod away;
pub mod backup;
mod cache;
mod calls;
mod error;
mod files;
mod handover;
mod history;
mod import;
mod journal;
mod limits;
mod numbers;
mod ops;
mod postgres;
mod prune;
mod recordings;
mod secret;
mod sqlite;
mod time;
mod types;
mod webhooks;

use std::sync::{Arc, Mutex, OnceLock};

pub use error::{AdminError, PlaceError, StoreError};
pub use handover::Committed;
pub use journal::JournalError;
pub use time::Millis;
pub use types::*;

use cache::Cache;
use journal::Journal;

/// What a commit survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// The end of the process (`kill -9`).
    #[default]
    Normal,
    /// The loss of power too.
    Full,
}

/// A handle on the database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Backend,
    node: i64,
    keys: Cache<String, Arc<Key>>,
    trunks: Cache<KeyId, Arc<KeyTrunks>>,
    secrets: Cache<KeyId, Arc<Vec<String>>>,
    numbers: Cache<String, Called>,
    /// Who is written down for administrative acts.
    actor: OnceLock<String>,
    committed: Mutex<Option<Committed>>,
    /// Of the process that serves.
    journal: OnceLock<Arc<Journal>>,
    /// How far old calls were looked at.
    pruned: prune::Cursor,
    /// SQLite's checkpoints, waited for at the end so that no log is left behind.
    checkpoints: Mutex<Option<sqlite::Checkpoints>>,
}

enum Backend {
    Sqlite(sqlite::sql::Pools, sqlite::sql::writer::Writer),
    Postgres(postgres::sql::Pools, postgres::sql::writer::Writer),
}

/// Runs a query on whichever database this is; `long:` one that may take its time.
macro_rules! read {
    (long: $store:expr, $sql:ident, $pool:ident => $query:expr) => {
        read!(@ $crate::store::limits::LONG_READ, $store, $sql, $pool => $query)
    };
    (@ $limit:expr, $store:expr, $sql:ident, $pool:ident => $query:expr) => {
        match &$store.inner.backend {
            $crate::store::Backend::Sqlite(pools, _) => {
                use $crate::store::sqlite::sql as $sql;
                let $pool = &pools.read;
                $crate::store::limits::within($limit, $query).await
            }
            $crate::store::Backend::Postgres(pools, _) => {
                use $crate::store::postgres::sql as $sql;
                let $pool = &pools.read;
                $crate::store::limits::within($limit, $query).await
            }
        }
        .map_err($crate::store::StoreError::from)
    };
    ($store:expr, $sql:ident, $pool:ident => $query:expr) => {
        read!(@ $crate::store::limits::READ, $store, $sql, $pool => $query)
    };
}
use read;

impl Store {
    /// Opens `sqlite://FILE` (made if it does not exist, mode 0600) or `postgres://…`, and brings
    /// its tables up to date. One that is away is waited for, 5 s at most.
    ///
    /// # Errors
    /// The URL, the file, the connection, or a migration.
    pub async fn open(url: &str, sync: SyncMode) -> Result<Self, StoreError> {
        Self::open_as(url, sync, true).await
    }

    /// The same; unless it may `migrate`, tables that are not up to date are an error.
    ///
    /// # Errors
    /// As [`Self::open`].
    #[allow(clippy::disallowed_methods, reason = "a driver: it waits before it tries again")]
    pub async fn open_as(url: &str, sync: SyncMode, migrate: bool) -> Result<Self, StoreError> {
        let mut tries = 1;
        loop {
            match Self::open_now(url, sync, migrate).await {
                // What serves a running call must be quick to refuse; who starts may wait.
                Err(error) if error.is_unavailable() && tries < limits::OPEN_TRIES => {
                    tracing::debug!(%error, tries, "the database is not open yet");
                    tries += 1;
                    tokio::time::sleep(limits::OPEN_PAUSE).await;
                }
                opened => return opened,
            }
        }
    }

    async fn open_now(url: &str, sync: SyncMode, migrate: bool) -> Result<Self, StoreError> {
        const NODE: i64 = 0;
        let (handover, committed) = handover::handover();
        let scheme = url.split(':').next().unwrap_or_default();
        let mut checkpoints = None;
        let backend = match scheme {
            "sqlite" => {
                let (pools, task) = sqlite::open(url, sync, migrate).await?;
                checkpoints = Some(task);
                let writer = sqlite::sql::writer::Writer::start(&pools, NODE, handover).await?;
                Backend::Sqlite(pools, writer)
            }
            "postgres" | "postgresql" => {
                let pools = postgres::open(url, sync, migrate).await?;
                let writer = postgres::sql::writer::Writer::start(&pools, NODE, handover).await?;
                Backend::Postgres(pools, writer)
            }
            _ => return Err(StoreError::UnknownDatabase(scheme.to_owned())),
        };
        let inner = Inner {
            backend,
            node: NODE,
            keys: Cache::default(),
            trunks: Cache::default(),
            secrets: Cache::default(),
            numbers: Cache::default(),
            actor: OnceLock::new(),
            committed: Mutex::new(Some(committed)),
            journal: OnceLock::new(),
            pruned: prune::Cursor::default(),
            checkpoints: Mutex::new(checkpoints),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Closes the connections once what was being written is written. Later writes fail.
    pub async fn close(&self) {
        let _ = self.write(ops::Flush {}).await;
        match &self.inner.backend {
            Backend::Sqlite(pools, _) => {
                pools.read.close().await;
                let checkpoints = self.inner.checkpoints.lock().ok().and_then(|mut it| it.take());
                if let Some(checkpoints) = checkpoints {
                    checkpoints.stop().await;
                }
                pools.write.close().await;
            }
            Backend::Postgres(pools, _) => {
                pools.read.close().await;
                pools.write.close().await;
            }
        }
    }

    /// The version of the tables.
    ///
    /// # Errors
    /// The database.
    pub async fn version(&self) -> Result<i64, StoreError> {
        read!(self, sql, pool => sql::version(pool))
    }

    async fn write<O>(&self, op: O) -> Result<O::Output, StoreError>
    where
        O: sqlite::sql::Apply + postgres::sql::Apply,
    {
        match &self.inner.backend {
            Backend::Sqlite(_, writer) => writer.write(op).await,
            Backend::Postgres(_, writer) => writer.write(op).await,
        }
    }

    // --- Who asks ---

    /// The key that `bearer` opens, if it is one. What is known of a key is up to 1 s old, while
    /// the database is away up to 10 min.
    ///
    /// # Errors
    /// The database.
    pub async fn authenticate(
        &self,
        bearer: &str,
        now: Millis,
    ) -> Result<Option<Authenticated>, StoreError> {
        // The secret is compared by its SHA-256 alone: what the time of a look-up tells about a
        // hash tells nothing about the key.
        let Some(hash) = secret::hash(bearer) else { return Ok(None) };
        if let Some(known) = self.inner.keys.fresh(&hash, now) {
            return Ok(Some(Authenticated(known)));
        }
        let found = read!(self, sql, pool => sql::keys::by_hash(pool, &hash, now));
        let found = match found {
            // Who was known a while ago may still hang up: what costs a credit needs a write.
            Err(error) if error.is_unavailable() => {
                let known = self.inner.keys.stale(&hash, now).ok_or(error)?;
                return Ok(Some(Authenticated(known)));
            }
            found => found?,
        };
        let Some(key) = found.map(Arc::new) else {
            // Revoked, or its grace is over: not even while the database is away is it known again.
            self.inner.keys.remove(&hash);
            return Ok(None);
        };
        self.inner.keys.put(hash, key.clone(), now);
        Ok(Some(Authenticated(key)))
    }

    /// The key's account as it is now; `None` should it be gone.
    ///
    /// # Errors
    /// The database.
    pub async fn account(&self, auth: &Authenticated) -> Result<Option<Key>, StoreError> {
        read!(self, sql, pool => sql::keys::by_row(pool, auth.key))
    }

    /// Counts a request in the key's hour and says whether it is within the limit; `None`: the
    /// key was revoked. Exact under any concurrency.
    ///
    /// # Errors
    /// The database.
    pub async fn count_request(
        &self,
        auth: &Authenticated,
        now: Millis,
    ) -> Result<Option<RateDecision>, StoreError> {
        self.write(ops::CountRequest { key: auth.key, now }).await
    }

    /// The key's trunks in order, and the trunk with which its last call began; up to 1 s old.
    ///
    /// # Errors
    /// The database.
    pub async fn key_trunks(
        &self,
        auth: &Authenticated,
        now: Millis,
    ) -> Result<Arc<KeyTrunks>, StoreError> {
        self.trunks_of(auth.key, now).await
    }

    async fn trunks_of(&self, key: KeyId, now: Millis) -> Result<Arc<KeyTrunks>, StoreError> {
        if let Some(known) = self.inner.trunks.fresh(&key, now) {
            return Ok(known);
        }
        let trunks = read!(self, sql, pool => sql::trunks::of_key(pool, key))?;
        let trunks = Arc::new(trunks);
        self.inner.trunks.put(key, trunks.clone(), now);
        Ok(trunks)
    }
}
