//! API keys: who may do what, how much is left, how often they asked.

use sqlx::Pool;

use super::{Apply, Db, Tx};
use crate::store::ops::{
    AssignTrunks, ChangeKey, CountRequest, CreateKey, Credit, Revoke, RotateKey, RotateWebhook,
};
use crate::store::types::{Key, KeyId, RateDecision};
use crate::store::{Millis, limits};

macro_rules! keys {
    ($rest:literal) => {
        concat!(
            "SELECT k.id, k.key_id, k.name, k.credits, k.holds, k.rate_limit, k.total_calls, \
             k.successful_calls, k.caller_id, k.allowed_caller_ids, k.record_default, \
             k.max_calls, k.max_cps, k.allow_prefixes, k.deny_prefixes, k.revoked, k.created_at, \
             k.last_used FROM api_keys k ",
            $rest
        )
    };
}

/// The live key that a hash opens, and the hash as stored.
pub(in crate::store) async fn by_hash(
    pool: &Pool<Db>,
    hash: &str,
    now: Millis,
) -> Result<Option<Key>, sqlx::Error> {
    const BY_HASH: &str = keys!(
        "JOIN api_key_hashes h ON h.api_key = k.id WHERE h.hash = $1 AND NOT k.revoked \
         AND (h.expires_at IS NULL OR h.expires_at > $2)"
    );
    sqlx::query_as(BY_HASH).bind(hash).bind(now).fetch_optional(pool).await
}

/// A key by its row number.
pub(in crate::store) async fn by_row(
    pool: &Pool<Db>,
    key: KeyId,
) -> Result<Option<Key>, sqlx::Error> {
    const BY_ROW: &str = keys!("WHERE k.id = $1");
    sqlx::query_as(BY_ROW).bind(key).fetch_optional(pool).await
}

/// A key by its public name.
pub(in crate::store) async fn named(
    pool: &Pool<Db>,
    key_id: &str,
) -> Result<Option<Key>, sqlx::Error> {
    const NAMED: &str = keys!("WHERE k.key_id = $1");
    sqlx::query_as(NAMED).bind(key_id).fetch_optional(pool).await
}

/// The same within a transaction.
pub(super) async fn named_in(tx: &mut Tx<'_>, key_id: &str) -> Result<Option<Key>, sqlx::Error> {
    const NAMED: &str = keys!("WHERE k.key_id = $1");
    sqlx::query_as(NAMED).bind(key_id).fetch_optional(&mut *tx.conn).await
}

/// Every key, oldest first.
pub(in crate::store) async fn all(pool: &Pool<Db>) -> Result<Vec<Key>, sqlx::Error> {
    const ALL: &str = keys!("ORDER BY k.id");
    sqlx::query_as(ALL).fetch_all(pool).await
}

/// The secrets that sign a key's webhooks now, the present one first.
pub(in crate::store) async fn webhook_secrets(
    pool: &Pool<Db>,
    key: KeyId,
    now: Millis,
) -> Result<Vec<String>, sqlx::Error> {
    // The present one has no end.
    sqlx::query_scalar(
        "SELECT secret FROM (SELECT webhook_secret AS secret, CAST(NULL AS BIGINT) AS until \
         FROM api_keys WHERE id = $1 UNION ALL \
         SELECT secret, until FROM old_webhook_secrets WHERE api_key = $1 AND until > $2) s \
         ORDER BY until IS NULL DESC, until DESC",
    )
    .bind(key)
    .bind(now)
    .fetch_all(pool)
    .await
}

/// Credits and holds as the ledger has them: what `api_keys` must say too.
pub(in crate::store) async fn ledger_sums(
    pool: &Pool<Db>,
    key: KeyId,
) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(credits), 0) AS BIGINT), \
         CAST(COALESCE(SUM(holds), 0) AS BIGINT) FROM ledger WHERE api_key = $1",
    )
    .bind(key)
    .fetch_one(pool)
    .await
}

impl Apply for CountRequest {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<RateDecision>, sqlx::Error> {
        // A window begins with the first request after the last one's end; a clock set back by
        // more than a window begins one too.
        let row: Option<(i64, i64, Millis)> = sqlx::query_as(
            "UPDATE api_keys SET last_used = $2, \
             window_count = CASE WHEN window_start > $2 - $3 AND window_start < $2 + $3 \
             THEN window_count + 1 ELSE 1 END, \
             window_start = CASE WHEN window_start > $2 - $3 AND window_start < $2 + $3 \
             THEN window_start ELSE $2 END \
             WHERE id = $1 AND NOT revoked RETURNING rate_limit, window_count, window_start",
        )
        .bind(self.key)
        .bind(self.now)
        .bind(limits::RATE_WINDOW_MS)
        .fetch_optional(&mut *tx.conn)
        .await?;
        Ok(row.map(|(limit, count, start)| {
            let left_ms = limits::RATE_WINDOW_MS - self.now.since(start);
            RateDecision {
                allowed: count <= limit,
                limit,
                remaining: (limit - count).max(0),
                reset_secs: (left_ms + Millis::SECOND - 1)
                    .div_euclid(Millis::SECOND)
                    .clamp(1, limits::RATE_WINDOW_MS / Millis::SECOND),
            }
        }))
    }
}

impl Apply for CreateKey {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, sqlx::Error> {
        for trunk in &self.key.trunks {
            if trunk_id(tx, trunk).await?.is_none() {
                return Ok(Err(trunk.clone()));
            }
        }
        let id: KeyId = sqlx::query_scalar(
            "INSERT INTO api_keys (key_id, name, credits, rate_limit, webhook_secret, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
        )
        .bind(&self.key_id)
        .bind(&self.key.name)
        .bind(self.key.credits)
        .bind(self.key.rate_limit)
        .bind(&self.webhook_secret)
        .bind(self.now)
        .fetch_one(&mut *tx.conn)
        .await?;
        insert_hash(tx, id, &self.hash).await?;
        if self.key.credits != 0 {
            enter_credit(tx, id, self.key.credits, "opening balance", self.now).await?;
        }
        assign(tx, id, &self.key.trunks).await?;
        Ok(Ok(id))
    }
}

pub(super) async fn insert_hash(
    tx: &mut Tx<'_>,
    key: KeyId,
    hash: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO api_key_hashes (hash, api_key) VALUES ($1, $2)")
        .bind(hash)
        .bind(key)
        .execute(&mut *tx.conn)
        .await
        .map(|_| ())
}

pub(super) async fn enter_credit(
    tx: &mut Tx<'_>,
    key: KeyId,
    credits: i64,
    note: &str,
    at: Millis,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO ledger (api_key, kind, credits, holds, note, at) \
         VALUES ($1, 'credit', $2, 0, $3, $4)",
    )
    .bind(key)
    .bind(credits)
    .bind(note)
    .bind(at)
    .execute(&mut *tx.conn)
    .await
    .map(|_| ())
}

async fn row_of(tx: &mut Tx<'_>, key_id: &str) -> Result<Option<KeyId>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM api_keys WHERE key_id = $1")
        .bind(key_id)
        .fetch_optional(&mut *tx.conn)
        .await
}

pub(super) async fn trunk_id(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("SELECT id FROM trunks WHERE name = $1")
        .bind(name)
        .fetch_optional(&mut *tx.conn)
        .await
}

pub(super) async fn assign(
    tx: &mut Tx<'_>,
    key: KeyId,
    trunks: &[String],
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM key_trunks WHERE api_key = $1")
        .bind(key)
        .execute(&mut *tx.conn)
        .await?;
    for (position, trunk) in (0_i64..).zip(trunks) {
        sqlx::query(
            "INSERT INTO key_trunks (api_key, trunk, position) \
             SELECT CAST($1 AS BIGINT), id, CAST($3 AS BIGINT) FROM trunks WHERE name = $2 \
             ON CONFLICT DO NOTHING",
        )
        .bind(key)
        .bind(trunk)
        .bind(position)
        .execute(&mut *tx.conn)
        .await?;
    }
    Ok(())
}

impl Apply for AssignTrunks {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Result<bool, String>, sqlx::Error> {
        let Some(key) = row_of(tx, &self.key_id).await? else { return Ok(Ok(false)) };
        for trunk in &self.trunks {
            if trunk_id(tx, trunk).await?.is_none() {
                return Ok(Err(trunk.clone()));
            }
        }
        assign(tx, key, &self.trunks).await?;
        Ok(Ok(true))
    }
}

impl Apply for RotateKey {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        let Some(key) = row_of(tx, &self.key_id).await? else { return Ok(false) };
        sqlx::query(
            "UPDATE api_key_hashes SET expires_at = $2 \
             WHERE api_key = $1 AND (expires_at IS NULL OR expires_at > $2)",
        )
        .bind(key)
        .bind(self.old_expires)
        .execute(&mut *tx.conn)
        .await?;
        insert_hash(tx, key, &self.hash).await?;
        Ok(true)
    }
}

impl Apply for RotateWebhook {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        let Some(key) = row_of(tx, &self.key_id).await? else { return Ok(false) };
        sqlx::query(
            "INSERT INTO old_webhook_secrets (api_key, secret, until) \
             SELECT id, webhook_secret, CAST($2 AS BIGINT) FROM api_keys WHERE id = $1",
        )
        .bind(key)
        .bind(self.old_until)
        .execute(&mut *tx.conn)
        .await?;
        // Each is a signature on every webhook.
        sqlx::query(
            "DELETE FROM old_webhook_secrets WHERE api_key = $1 AND secret NOT IN \
             (SELECT secret FROM old_webhook_secrets WHERE api_key = $1 \
             ORDER BY until DESC LIMIT $2)",
        )
        .bind(key)
        .bind(limits::OLD_WEBHOOK_SECRETS)
        .execute(&mut *tx.conn)
        .await?;
        sqlx::query("UPDATE api_keys SET webhook_secret = $2 WHERE id = $1")
            .bind(key)
            .bind(&self.secret)
            .execute(&mut *tx.conn)
            .await
            .map(|done| done.rows_affected() == 1)
    }
}

impl Apply for Credit {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Option<i64>>, sqlx::Error> {
        let Some(key) = row_of(tx, &self.key_id).await? else { return Ok(None) };
        let credits: Option<i64> = sqlx::query_scalar(
            "UPDATE api_keys SET credits = credits + $2 WHERE id = $1 AND credits + $2 >= holds \
             RETURNING credits",
        )
        .bind(key)
        .bind(self.credits)
        .fetch_optional(&mut *tx.conn)
        .await?;
        if credits.is_some() {
            enter_credit(tx, key, self.credits, &self.note, self.now).await?;
        }
        Ok(Some(credits))
    }
}

impl Apply for Revoke {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        sqlx::query("UPDATE api_keys SET revoked = TRUE WHERE key_id = $1")
            .bind(&self.key_id)
            .execute(&mut *tx.conn)
            .await
            .map(|done| done.rows_affected() == 1)
    }
}

impl Apply for ChangeKey {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        let changes = &self.changes;
        let list = |list: &Option<Vec<String>>| {
            list.as_ref().map(|list| crate::store::types::List(list.clone()).to_json())
        };
        sqlx::query(
            "UPDATE api_keys SET name = COALESCE($2, name), \
             caller_id = NULLIF(COALESCE($3, caller_id), ''), \
             allowed_caller_ids = COALESCE($4, allowed_caller_ids), \
             record_default = COALESCE($5, record_default), \
             max_calls = NULLIF(COALESCE($6, max_calls), 0), \
             max_cps = NULLIF(COALESCE($7, max_cps), 0), \
             allow_prefixes = COALESCE($8, allow_prefixes), \
             deny_prefixes = COALESCE($9, deny_prefixes), \
             rate_limit = COALESCE($10, rate_limit) WHERE key_id = $1",
        )
        .bind(&self.key_id)
        .bind(&changes.name)
        .bind(&changes.caller_id)
        .bind(list(&changes.allowed_caller_ids))
        .bind(changes.record_default)
        .bind(changes.max_calls)
        .bind(changes.max_cps)
        .bind(list(&changes.allow_prefixes))
        .bind(list(&changes.deny_prefixes))
        .bind(self.rate_limit)
        .execute(&mut *tx.conn)
        .await
        .map(|done| done.rows_affected() == 1)
    }
}
