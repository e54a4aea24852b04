//! Recordings: their rows; the files are their maker's.

use super::journal::{Record, What};
use super::{
    Authenticated, CallRef, FinishedRecording, NewEvent, NewRecording, OpenCall, Recording, Store,
    StoreError, read,
};

impl Store {
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
}
