//! What is too old: payloads and tokens of a day, keys past their grace, calls past their keeping.

use sqlx::Pool;

use super::history::{self, Counted};
use super::{Apply, Db, Tx};
use crate::store::ops::{DeleteCalls, EraseOld, ForgetSecrets};
use crate::store::prune::OldCall;
use crate::store::{Millis, limits};

impl Apply for ForgetSecrets {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM api_key_hashes WHERE expires_at <= $1")
            .bind(self.now)
            .execute(&mut *tx.conn)
            .await?;
        sqlx::query("DELETE FROM old_webhook_secrets WHERE until <= $1")
            .bind(self.now)
            .execute(&mut *tx.conn)
            .await
            .map(|_| ())
    }
}

impl Apply for EraseOld {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        let payloads = sqlx::query(
            "UPDATE outbox SET payload = NULL WHERE (call, sequence) IN (SELECT call, sequence \
             FROM outbox WHERE state = 'delivered' AND payload IS NOT NULL AND delivered_at <= $1 \
             ORDER BY delivered_at LIMIT $2)",
        )
        .bind(self.until)
        .bind(limits::PRUNE_BATCH)
        .execute(&mut *tx.conn)
        .await?;
        let tokens = sqlx::query(
            "DELETE FROM idempotency WHERE (api_key, token) IN (SELECT api_key, token \
             FROM idempotency WHERE created_at <= $1 ORDER BY created_at LIMIT $2)",
        )
        .bind(self.until)
        .bind(limits::PRUNE_BATCH)
        .execute(&mut *tx.conn)
        .await?;
        let most = payloads.rows_affected().max(tokens.rows_affected());
        Ok(most >= limits::PRUNE_BATCH.unsigned_abs())
    }
}

/// Calls that ended and were placed before `until`, oldest first, those after `(time, id)`.
pub(in crate::store) async fn old_calls(
    pool: &Pool<Db>,
    (time, id): (Millis, i64),
    until: Millis,
    limit: i64,
) -> Result<Vec<OldCall>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.id, c.created_at, EXISTS (SELECT 1 FROM recordings r WHERE r.call = c.id) \
         AS is_recorded FROM calls c WHERE c.created_at >= $1 AND c.created_at <= $3 \
         AND (c.created_at > $1 OR c.id > $2) AND c.ended_at IS NOT NULL \
         ORDER BY c.created_at, c.id LIMIT $4",
    )
    .bind(time)
    .bind(id)
    .bind(until)
    .bind(limit)
    .fetch_all(pool)
    .await
}

impl Apply for DeleteCalls {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        for id in &self.calls {
            // The newest row of our own holds the count of call ids.
            let gone: Option<Counted> = sqlx::query_as(
                "DELETE FROM calls WHERE id = $1 AND ended_at IS NOT NULL \
                 AND (id < 0 OR id < (SELECT MAX(id) FROM calls)) \
                 AND NOT EXISTS (SELECT 1 FROM recordings r WHERE r.call = calls.id) \
                 RETURNING api_key, created_at, status, duration, amd_status",
            )
            .bind(id)
            .fetch_optional(&mut *tx.conn)
            .await?;
            if let Some(counted) = gone {
                history::count(tx, &counted, -1).await?;
                history::forget_if_empty(tx, &counted).await?;
            }
        }
        Ok(())
    }
}
