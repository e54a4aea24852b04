//! The database: the truth about keys, trunks, calls, money, recordings and webhook events.
//!
//! It knows all SQL and nothing of SIP, media or HTTP; JSON and SIP state pass through as text.
//! Placing a call, its answer and its end are one transaction each and may be repeated without
//! harm. Start at [`Store`]; `sql/` has the statements, `sql/writer.rs` the group commit.

mod admin;
mod away;
pub mod backup;
mod cache;
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
mod secret;
mod sqlite;
mod time;
mod types;

use std::sync::{Arc, Mutex, OnceLock};

pub use error::{AdminError, PlaceError, StoreError};
pub use handover::Committed;
pub use journal::JournalError;
pub use time::Millis;
pub use types::*;

use cache::Cache;
use journal::{Journal, Record, What};
use ops::Refused;

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

    // --- The life of a call ---

    /// Stores a call in one transaction: credit check and hold, row, idempotency token, and the
    /// event that `first` builds now that the id is known (`first` may be called more than once).
    /// Once begun it must be awaited to its end, or a call stays `ringing` that nobody owns: do
    /// not call it from a future that a client's disconnect drops.
    ///
    /// # Errors
    /// [`PlaceError`]; nothing is stored then.
    pub async fn place(
        &self,
        auth: &Authenticated,
        call: NewCall,
        first: impl Fn(&Placed) -> NewEvent + Send + Sync + 'static,
    ) -> Result<Placed, PlaceError> {
        let placed = self.write(ops::Place { key: auth.key, call, first: Box::new(first) }).await?;
        placed.map_err(|refused| match refused {
            Refused::InsufficientCredits => PlaceError::InsufficientCredits,
            Refused::KeyGone => PlaceError::KeyGone,
            Refused::Repeated(known) => PlaceError::Repeated(known),
        })
    }

    /// Another leg on another trunk: stored before its INVITE is sent.
    ///
    /// # Errors
    /// The database.
    pub async fn trunk_tried(
        &self,
        call: &CallRef,
        trunk: &str,
        leg: Leg,
    ) -> Result<(), StoreError> {
        let what = What::TrunkTried(trunk.to_owned(), leg);
        self.record(Record::of(call, what)).await.map(drop)
    }

    /// The call was answered: its hold becomes a deduction, in one transaction with `events`.
    /// `false`: it had been answered or had ended already; its row and money are as they were.
    ///
    /// # Errors
    /// The database; it may be called again.
    pub async fn answered(
        &self,
        call: &CallRef,
        answered: Answered,
        events: Vec<NewEvent>,
    ) -> Result<bool, StoreError> {
        self.record(Record::of(call, What::Answered(answered, events))).await
    }

    /// The call has ended: final row, settlement of its hold and `events` in one transaction.
    /// `false`: it had ended already; its row and money are as they were.
    ///
    /// # Errors
    /// The database; it may be called again.
    pub async fn ended(
        &self,
        call: &CallRef,
        ended: Ended,
        events: Vec<NewEvent>,
    ) -> Result<bool, StoreError> {
        self.record(Record::of(call, What::Ended(ended, events))).await
    }

    /// Events that change nothing else. Numbers already stored are left as they are.
    ///
    /// # Errors
    /// The database; it may be called again.
    pub async fn append_events(
        &self,
        call: &CallRef,
        now: Millis,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        if call.webhook_url.is_none() || events.is_empty() {
            return Ok(());
        }
        self.record(Record::of(call, What::Events(now, events))).await.map(drop)
    }

    /// One call of the key, live or ended.
    ///
    /// # Errors
    /// The database.
    pub async fn call(
        &self,
        auth: &Authenticated,
        call_id: &str,
    ) -> Result<Option<CallRow>, StoreError> {
        read!(self, sql, pool => sql::calls::call(pool, auth.key, call_id))
    }

    /// What an idempotency token of the key stands for, for 24 h.
    ///
    /// # Errors
    /// The database.
    pub async fn remembered(
        &self,
        auth: &Authenticated,
        token: &str,
        now: Millis,
    ) -> Result<Option<Remembered>, StoreError> {
        read!(self, sql, pool => sql::calls::remembered(pool, auth.key, token, now))
    }

    /// Keeps the answer to the request that placed `call`, for its idempotency token.
    ///
    /// # Errors
    /// The database.
    pub async fn remember_answer(
        &self,
        call: &CallRef,
        status: u16,
        response: String,
    ) -> Result<(), StoreError> {
        let status = i64::from(status);
        self.write(ops::Remember { call: call.clone(), status, response }).await
    }

    // --- After a crash ---

    /// Says that this node lives. To be called every second; calls that die with the process end
    /// at the last of these.
    ///
    /// # Errors
    /// The database.
    pub async fn heartbeat(&self, now: Millis) -> Result<(), StoreError> {
        let beat = self.write(ops::Heartbeat { node: self.inner.node, now }).await;
        if beat.as_ref().is_err_and(StoreError::is_unavailable) {
            self.note_heartbeat(now).await;
        }
        beat
    }

    /// This node's calls that have not ended.
    ///
    /// # Errors
    /// The database.
    pub async fn open_calls(&self) -> Result<Vec<OpenCall>, StoreError> {
        read!(long: self, sql, pool => sql::calls::open_calls(pool, self.inner.node))
    }

    /// At start, before any call: ends every open call of this node as `server_shutdown` at the
    /// last heartbeat, settles its hold, and queues the events that `last` builds for it, all in
    /// one transaction. What is returned holds what its orphaned leg needs.
    ///
    /// # Errors
    /// The database.
    pub async fn close_open_calls(
        &self,
        now: Millis,
        last: impl Fn(&OpenCall, &Ended) -> Vec<NewEvent> + Send + Sync + 'static,
    ) -> Result<Vec<OpenCall>, StoreError> {
        self.write(ops::CloseOpen { node: self.inner.node, now, events: Box::new(last) }).await
    }

    /// Recordings of this node that were never finished, with their calls, which may have ended.
    ///
    /// # Errors
    /// The database.
    pub async fn unfinished_recordings(&self) -> Result<Vec<(OpenCall, Recording)>, StoreError> {
        let node = self.inner.node;
        let calls =
            read!(long: self, sql, pool => sql::calls::with_unfinished_recordings(pool, node))?;
        let recordings = read!(long: self, sql, pool => sql::recordings::unfinished(pool, node))?;
        let pair = |recording: Recording| {
            let call = calls.iter().find(|call| call.row.call_id == recording.call_id)?;
            Some((call.clone(), recording))
        };
        Ok(recordings.into_iter().filter_map(pair).collect())
    }

    // --- Recordings ---

    /// A recording has begun.
    ///
    /// # Errors
    /// The database.
    pub async fn recording_started(
        &self,
        call: &CallRef,
        recording: NewRecording,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        let what = What::RecordingStarted(recording, events);
        self.record(Record::of(call, what)).await.map(drop)
    }

    /// A recording is complete.
    ///
    /// # Errors
    /// The database.
    pub async fn recording_finished(
        &self,
        call: &CallRef,
        finished: FinishedRecording,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        let what = What::RecordingFinished(finished, events);
        self.record(Record::of(call, what)).await.map(drop)
    }

    /// The key's recordings, newest first, at most `limit`.
    ///
    /// # Errors
    /// The database.
    pub async fn recordings(
        &self,
        auth: &Authenticated,
        limit: u32,
    ) -> Result<Vec<Recording>, StoreError> {
        read!(self, sql, pool => sql::recordings::of_key(pool, auth.key, i64::from(limit)))
    }

    /// The newest recording of a call of the key.
    ///
    /// # Errors
    /// The database.
    pub async fn recording_of_call(
        &self,
        auth: &Authenticated,
        call_id: &str,
    ) -> Result<Option<Recording>, StoreError> {
        read!(self, sql, pool => sql::recordings::of_call(pool, auth.key, call_id))
    }

    /// A recording of the key by the name of its file.
    ///
    /// # Errors
    /// The database.
    pub async fn recording_by_filename(
        &self,
        auth: &Authenticated,
        filename: &str,
    ) -> Result<Option<Recording>, StoreError> {
        read!(self, sql, pool => sql::recordings::by_filename(pool, auth.key, filename))
    }

    // --- Webhooks ---

    /// The stream of committed events, for the deliverer; only the first caller gets it.
    pub fn take_committed(&self) -> Option<Committed> {
        self.inner.committed.lock().ok()?.take()
    }

    /// Undelivered events due until `until`, at most `limit`.
    ///
    /// # Errors
    /// The database.
    pub async fn due_events(&self, until: Millis, limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        read!(long: self, sql, pool => sql::outbox::due(pool, until, i64::from(limit)))
    }

    /// What operators asked for again between `since` and `now`, at most `limit`.
    ///
    /// # Errors
    /// The database.
    pub async fn replayed_events(
        &self,
        since: Millis,
        now: Millis,
        limit: u32,
    ) -> Result<Vec<Outgoing>, StoreError> {
        read!(self, sql, pool => sql::outbox::replayed(pool, since, now, i64::from(limit)))
    }

    /// Writes down what became of deliveries.
    ///
    /// # Errors
    /// The database.
    pub async fn mark_events(&self, marks: Vec<Mark>) -> Result<(), StoreError> {
        self.write(ops::Marks { marks }).await
    }

    /// The secrets that sign a key's webhooks, the present one first; none: no such key. Up to
    /// 1 s old.
    ///
    /// # Errors
    /// The database.
    pub async fn signing_secrets(
        &self,
        key: KeyId,
        now: Millis,
    ) -> Result<Arc<Vec<String>>, StoreError> {
        if let Some(known) = self.inner.secrets.fresh(&key, now) {
            return Ok(known);
        }
        let secrets = read!(self, sql, pool => sql::keys::webhook_secrets(pool, key, now))?;
        let secrets = Arc::new(secrets);
        self.inner.secrets.put(key, secrets.clone(), now);
        Ok(secrets)
    }
}
