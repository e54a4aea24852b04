//! Writes of live calls while the database is away: into the journal, and from there into the
//! database once it is back.
//!
//! It knows when a record goes where. It refuses to know the file's format and the SQL. Start at
//! [`Store::open_journal`] and [`Store::record`].
#![allow(clippy::disallowed_methods, reason = "a driver: it spawns its task and waits")]

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;

use super::journal::{Journal, Record, What};
use super::{Inner, Store, StoreError, SyncMode, ops, secret};

/// Records that are written back together.
const BATCH: usize = 128;
/// The pause before a database that is away is tried again.
const PAUSE: Duration = Duration::from_millis(250);

impl Store {
    /// Keeps what live calls write in the file at `path` while the database is away. What an earlier
    /// process left there is in the database when this returns. For the one process that serves: to
    /// be called before [`Self::open_calls`] and before the first call.
    ///
    /// # Errors
    /// The file; the database, the file is as it was then.
    pub async fn open_journal(&self, path: &Path, sync: SyncMode) -> Result<(), StoreError> {
        let database = self.write(ops::Identify { new: secret::new_identity() }).await?;
        let journal = Arc::new(Journal::open(path, sync, &database)?);
        let left = journal.waiting();
        if left > 0 {
            tracing::info!(records = left, journal = %path.display(), "writing what was left");
            while journal.waiting() > 0 {
                self.write_back(&journal).await?;
            }
        }
        if self.inner.journal.set(journal.clone()).is_ok() {
            tokio::spawn(keep_writing_back(Arc::downgrade(&self.inner), journal));
        }
        Ok(())
    }

    /// How many records wait in the journal for the database to come back.
    #[must_use]
    pub fn journal_waiting(&self) -> u64 {
        self.inner.journal.get().map_or(0, |journal| journal.waiting())
    }

    /// Since the start: how many writes the journal's disk did not take, and how many of its records
    /// the database refused.
    #[must_use]
    pub fn journal_faults(&self) -> (u64, u64) {
        self.inner.journal.get().map_or((0, 0), |journal| (journal.errors(), journal.refused()))
    }

    /// Writes what a live call did. `true`: it is new, as far as is known; while the database is away
    /// it is written in the journal and counts as new.
    pub(super) async fn record(&self, record: Record) -> Result<bool, StoreError> {
        let Some(journal) = self.inner.journal.get() else { return self.apply(&record).await };
        // Behind what waits there already: a call's writes stay in their order.
        if journal.waiting() == 0 {
            match self.apply(&record).await {
                Err(error) if error.is_unavailable() => {
                    tracing::debug!(%error, "into the journal");
                }
                done => return done,
            }
        }
        journal.append(record).await?;
        Ok(true)
    }

    /// A sign of life that the database did not take: the end of a crash's calls is judged by it.
    pub(super) async fn note_heartbeat(&self, now: super::Millis) {
        if let Some(journal) = self.inner.journal.get() {
            // Without it the calls of a crash end a little earlier; nothing else is lost.
            let _ = journal.append(Record::heartbeat(now)).await;
        }
    }

    /// Writes one record to the database.
    async fn apply(&self, record: &Record) -> Result<bool, StoreError> {
        let Some(call) = record.call() else {
            if let What::Heartbeat(now) = *record.what() {
                self.write(ops::Heartbeat { node: self.inner.node, now }).await?;
            }
            return Ok(true);
        };
        match record.what().clone() {
            What::TrunkTried(trunk, leg) => {
                self.write(ops::TrunkTried { call, trunk, leg }).await.map(|()| true)
            }
            What::Answered(answered, events) => {
                self.write(ops::Answer { call, answered, events }).await
            }
            What::Heard(now, amd, events) => {
                self.write(ops::Heard { call, now, amd, events }).await.map(|()| true)
            }
            What::Ended(ended, events) => self.write(ops::End { call, ended, events }).await,
            What::Events(now, events) => {
                self.write(ops::Append { call, now, events }).await.map(|()| true)
            }
            What::RecordingStarted(recording, events) => {
                self.write(ops::StartRecording { call, recording, events }).await.map(|()| true)
            }
            What::RecordingFinished(finished, events) => {
                self.write(ops::FinishRecording { call, finished, events }).await.map(|()| true)
            }
            What::Heartbeat(_) => Ok(true),
        }
    }

    /// Writes the records that wait longest. They are applied again, all of them, where the database
    /// went away in between: it takes each once.
    async fn write_back(&self, journal: &Journal) -> Result<(), StoreError> {
        let records = journal.first(BATCH).await;
        // The writer takes them in the order in which they are polled first: that of the journal.
        let written = join_all(records.iter().map(|record| self.apply(record))).await;
        let mut refused = Vec::new();
        for (record, written) in records.iter().zip(written) {
            match written {
                Err(error) if error.is_unavailable() => return Err(error),
                Err(error) => refused.push((record, error)),
                Ok(_) => {}
            }
        }
        for (record, error) in refused {
            let kept_in = journal.keep_refused(record).await?;
            let (call, kept_in) = (record.call(), kept_in.display());
            let call_id = call.as_ref().map(super::CallRef::call_id);
            tracing::error!(%error, call_id, %kept_in, "a record of the journal cannot be written");
        }
        journal.forget(records.len()).await?;
        Ok(())
    }
}

/// Writes back for as long as the store lives.
async fn keep_writing_back(store: Weak<Inner>, journal: Arc<Journal>) {
    loop {
        while journal.waiting() > 0 {
            let Some(inner) = store.upgrade() else { return };
            let store = Store { inner };
            if let Err(error) = store.write_back(&journal).await {
                tracing::debug!(%error, waiting = journal.waiting(), "not written back yet");
                drop(store);
                tokio::time::sleep(PAUSE).await;
            } else if journal.waiting() == 0 {
                tracing::info!("all that waited in the journal is in the database");
            }
        }
        // A store that is gone wakes nobody: look now and then.
        let _ = tokio::time::timeout(PAUSE * 4, journal.begun.notified()).await;
        if store.strong_count() == 0 {
            return;
        }
    }
}
