//! Recordings: what is written where, and whose it is.

use sqlx::Pool;

use super::{Apply, Db, Tx, outbox};
use crate::store::Millis;
use crate::store::ops::{FinishRecording, ForgetRecording, StartRecording};
use crate::store::types::{KeyId, Recording};

macro_rules! recordings {
    ($rest:literal) => {
        concat!(
            "SELECT r.recording_id, c.call_id, r.filename, r.channels, r.started_at, \
             r.finished_at, r.bytes, r.duration_ms, r.partial \
             FROM recordings r JOIN calls c ON c.id = r.call ",
            $rest
        )
    };
}

impl Apply for StartRecording {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let recording = &self.recording;
        sqlx::query(
            "INSERT INTO recordings (recording_id, call, api_key, filename, channels, started_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(&recording.recording_id)
        .bind(self.call.id)
        .bind(self.call.key)
        .bind(format!("{}.wav", recording.recording_id))
        .bind(recording.channels)
        .bind(recording.at)
        .execute(&mut *tx.conn)
        .await?;
        outbox::insert(tx, &self.call, recording.at, &self.events).await
    }
}

impl Apply for FinishRecording {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let finished = &self.finished;
        sqlx::query(
            "UPDATE recordings SET finished_at = $3, bytes = $4, duration_ms = $5, partial = $6 \
             WHERE recording_id = $1 AND call = $2",
        )
        .bind(&finished.recording_id)
        .bind(self.call.id)
        .bind(finished.at)
        .bind(finished.bytes)
        .bind(finished.duration_ms)
        .bind(&finished.partial)
        .execute(&mut *tx.conn)
        .await?;
        outbox::insert(tx, &self.call, finished.at, &self.events).await
    }
}

impl Apply for ForgetRecording {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        sqlx::query("DELETE FROM recordings WHERE recording_id = $1")
            .bind(&self.recording_id)
            .execute(&mut *tx.conn)
            .await
            .map(|done| done.rows_affected() == 1)
    }
}

/// A key's recordings, newest first.
pub(in crate::store) async fn of_key(
    pool: &Pool<Db>,
    key: KeyId,
    limit: i64,
) -> Result<Vec<Recording>, sqlx::Error> {
    const OF_KEY: &str = recordings!("WHERE r.api_key = $1 ORDER BY r.started_at DESC LIMIT $2");
    sqlx::query_as(OF_KEY).bind(key).bind(limit).fetch_all(pool).await
}

/// The newest recording of a key's call.
pub(in crate::store) async fn of_call(
    pool: &Pool<Db>,
    key: KeyId,
    call_id: &str,
) -> Result<Option<Recording>, sqlx::Error> {
    const OF_CALL: &str =
        recordings!("WHERE c.call_id = $2 AND r.api_key = $1 ORDER BY r.started_at DESC LIMIT 1");
    sqlx::query_as(OF_CALL).bind(key).bind(call_id).fetch_optional(pool).await
}

/// A key's recording by the name of its file.
pub(in crate::store) async fn by_filename(
    pool: &Pool<Db>,
    key: KeyId,
    filename: &str,
) -> Result<Option<Recording>, sqlx::Error> {
    const BY_FILENAME: &str = recordings!("WHERE r.filename = $2 AND r.api_key = $1");
    sqlx::query_as(BY_FILENAME).bind(key).bind(filename).fetch_optional(pool).await
}

/// Every key's finished recordings that began before `before`, oldest first: for the operator.
pub(in crate::store) async fn before(
    pool: &Pool<Db>,
    before: Millis,
    limit: i64,
) -> Result<Vec<Recording>, sqlx::Error> {
    const BEFORE: &str = recordings!(
        "WHERE r.started_at < $1 AND r.finished_at IS NOT NULL \
         ORDER BY r.started_at, r.recording_id LIMIT $2"
    );
    sqlx::query_as(BEFORE).bind(before).bind(limit).fetch_all(pool).await
}

/// Recordings that a node's process left unfinished.
pub(in crate::store) async fn unfinished(
    pool: &Pool<Db>,
    node: i64,
) -> Result<Vec<Recording>, sqlx::Error> {
    const UNFINISHED: &str =
        recordings!("WHERE r.finished_at IS NULL AND c.node = $1 ORDER BY r.call");
    sqlx::query_as(UNFINISHED).bind(node).fetch_all(pool).await
}
