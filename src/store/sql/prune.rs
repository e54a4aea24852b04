//! What is too old: payloads and tokens of a day, keys past their grace, calls past their keeping.

use super::history::{self, Counted};
use super::{Apply, Tx};
use crate::store::ops::Prune;
use crate::store::{Millis, limits};

impl Apply for Prune {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let day_ago = self.now.plus(-Millis::DAY);
        // A bounded share a time: the writer must not be kept from live calls.
        sqlx::query(
            "UPDATE outbox SET payload = NULL WHERE (call, sequence) IN (SELECT call, sequence \
             FROM outbox WHERE state = 'delivered' AND payload IS NOT NULL AND delivered_at <= $1 \
             ORDER BY delivered_at LIMIT $2)",
        )
        .bind(day_ago)
        .bind(limits::PRUNE_BATCH)
        .execute(&mut *tx.conn)
        .await?;
        sqlx::query(
            "DELETE FROM idempotency WHERE (api_key, token) IN (SELECT api_key, token \
             FROM idempotency WHERE created_at <= $1 ORDER BY created_at LIMIT $2)",
        )
        .bind(day_ago)
        .bind(limits::PRUNE_BATCH)
        .execute(&mut *tx.conn)
        .await?;
        sqlx::query("DELETE FROM api_key_hashes WHERE expires_at <= $1")
            .bind(self.now)
            .execute(&mut *tx.conn)
            .await?;
        sqlx::query("DELETE FROM old_webhook_secrets WHERE until <= $1")
            .bind(self.now)
            .execute(&mut *tx.conn)
            .await?;
        let old = old_calls(tx, self.now.plus(-self.keep_calls_ms)).await?;
        for (id, counted) in old {
            sqlx::query("DELETE FROM calls WHERE id = $1").bind(id).execute(&mut *tx.conn).await?;
            history::count(tx, &counted, -1).await?;
            history::forget_if_empty(tx, &counted).await?;
        }
        Ok(())
    }
}

/// Some calls that ended and were placed before `until`. Recordings hold their call's row; the
/// newest row holds the count of call ids.
async fn old_calls(tx: &mut Tx<'_>, until: Millis) -> Result<Vec<(i64, Counted)>, sqlx::Error> {
    #[derive(sqlx::FromRow)]
    struct Old {
        id: i64,
        #[sqlx(flatten)]
        counted: Counted,
    }
    let old: Vec<Old> = sqlx::query_as(
        "SELECT c.id, c.api_key, c.created_at, c.status, c.duration, c.amd_status FROM calls c \
         WHERE c.created_at <= $1 AND c.ended_at IS NOT NULL AND c.id < (SELECT MAX(id) FROM calls) \
         AND NOT EXISTS (SELECT 1 FROM recordings r WHERE r.call = c.id) \
         ORDER BY c.created_at LIMIT $2",
    )
    .bind(until)
    .bind(limits::PRUNE_BATCH)
    .fetch_all(&mut *tx.conn)
    .await?;
    Ok(old.into_iter().map(|old| (old.id, old.counted)).collect())
}
