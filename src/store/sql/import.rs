//! Keys and ended calls of another service.

use super::history::{self, Counted};
use super::keys::{assign, enter_credit, insert_hash, trunk_id};
use super::{Apply, Tx};
use crate::store::Millis;
use crate::store::ops::{ImportCalls, ImportKey, ImportKeys};
use crate::store::types::{BadLine, CallStatus, ImportedCall, ImportedCalls, ImportedKey, KeyId};

impl Apply for ImportKeys {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Result<(), Vec<BadLine>>, sqlx::Error> {
        // All is looked at before anything is changed.
        let mut bad = Vec::new();
        for import in &self.keys {
            let what = what_is_wrong(tx, &import.op, self.update).await?;
            bad.extend(what.map(|what| BadLine { line: import.op.key.line, what }));
        }
        if !bad.is_empty() {
            return Ok(Err(bad));
        }
        for import in &self.keys {
            import.apply(tx).await?;
        }
        Ok(Ok(()))
    }
}

async fn what_is_wrong(
    tx: &mut Tx<'_>,
    import: &ImportKey,
    update: bool,
) -> Result<Option<String>, sqlx::Error> {
    let ImportKey { key, key_id, now, .. } = import;
    let owner: Option<(String, bool, Option<Millis>)> = sqlx::query_as(
        "SELECT k.key_id, k.revoked, h.expires_at FROM api_keys k \
         JOIN api_key_hashes h ON h.api_key = k.id WHERE h.hash = $1",
    )
    .bind(&key.hash)
    .fetch_optional(&mut *tx.conn)
    .await?;
    // Neither opens anything, whatever is changed.
    match &owner {
        Some((owner, true, _)) => return Ok(Some(format!("key: it was revoked with {owner}"))),
        Some((owner, _, Some(until))) if until <= now => {
            return Ok(Some(format!("key: it is a replaced one of {owner}, its grace is over")));
        }
        _ => {}
    }
    let found: Option<(i64, bool)> =
        sqlx::query_as("SELECT holds, revoked FROM api_keys WHERE key_id = $1")
            .bind(key_id)
            .fetch_optional(&mut *tx.conn)
            .await?;
    let exists = found.is_some();
    if found.is_some_and(|(_, revoked)| revoked) {
        return Ok(Some(format!("key_id: {key_id} is revoked")));
    }
    if (exists || owner.is_some()) && !update {
        return Ok(Some(format!("key {key_id} exists already; --update changes it")));
    }
    if let Some((owner, ..)) = owner.filter(|(owner, ..)| owner != key_id) {
        return Ok(Some(format!("key: it is that of {owner}")));
    }
    // What calls in progress hold.
    if let (Some((holds, _)), Some(credits)) = (found, key.credits)
        && credits < holds
    {
        return Ok(Some(format!("credits: {holds} are held by calls in progress")));
    }
    for trunk in key.trunks.iter().flatten() {
        if trunk_id(tx, trunk).await?.is_none() {
            return Ok(Some(format!("trunks: there is no trunk {trunk}")));
        }
    }
    Ok(None)
}

impl Apply for ImportKey {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let Self { key, key_id, webhook_secret, now } = self;
        sqlx::query(
            "INSERT INTO api_keys (key_id, name, webhook_secret, created_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (key_id) DO NOTHING",
        )
        .bind(key_id)
        .bind(key.name.as_deref().unwrap_or(key_id))
        .bind(webhook_secret)
        .bind(key.created_at.unwrap_or(*now))
        .execute(&mut *tx.conn)
        .await?;
        let (id, credits): (KeyId, i64) = sqlx::query_as(
            "UPDATE api_keys SET name = COALESCE($2, name), \
             rate_limit = COALESCE($3, rate_limit), total_calls = COALESCE($4, total_calls), \
             successful_calls = COALESCE($5, successful_calls) WHERE key_id = $1 \
             RETURNING id, credits",
        )
        .bind(key_id)
        .bind(&key.name)
        .bind(key.rate_limit)
        .bind(key.total_calls)
        .bind(key.successful_calls)
        .fetch_one(&mut *tx.conn)
        .await?;
        let known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM api_key_hashes WHERE hash = $1")
            .bind(&key.hash)
            .fetch_one(&mut *tx.conn)
            .await?;
        if known == 0 {
            insert_hash(tx, id, &key.hash).await?;
        }
        set_balance(tx, self, id, credits).await?;
        match &key.trunks {
            Some(trunks) => assign(tx, id, trunks).await,
            None => Ok(()),
        }
    }
}

/// The balance is what the file says, and the ledger's sum stays the balance.
async fn set_balance(
    tx: &mut Tx<'_>,
    import: &ImportKey,
    id: KeyId,
    credits: i64,
) -> Result<(), sqlx::Error> {
    let ImportKey { key: ImportedKey { credits: wanted, .. }, now, .. } = import;
    let Some(more) = wanted.map(|wanted| wanted - credits).filter(|more| *more != 0) else {
        return Ok(());
    };
    sqlx::query("UPDATE api_keys SET credits = credits + $2 WHERE id = $1")
        .bind(id)
        .bind(more)
        .execute(&mut *tx.conn)
        .await?;
    enter_credit(tx, id, more, "taken over", *now).await
}

impl Apply for ImportCalls {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<ImportedCalls, sqlx::Error> {
        let mut done = ImportedCalls::default();
        let mut last = imported(tx).await?;
        for call in &self.calls {
            // Ids of our own calls count up from 1: these count down, and never meet one.
            if insert(tx, -(last + 1), call).await? {
                last += 1;
                done.taken += 1;
            } else if let Some(what) = conflict(tx, call).await? {
                done.refused.push(BadLine { line: call.line, what });
            } else {
                done.known += 1;
            }
        }
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES ('imported_calls', $1) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(last.to_string())
        .execute(&mut *tx.conn)
        .await?;
        Ok(done)
    }
}

/// How many calls were ever taken over, those that are pruned by now too.
pub(super) async fn imported(tx: &mut Tx<'_>) -> Result<i64, sqlx::Error> {
    // Before that was counted, their ids told.
    sqlx::query_scalar(
        "SELECT COALESCE((SELECT CAST(value AS BIGINT) FROM meta WHERE name = 'imported_calls'), \
         (SELECT -MIN(id) FROM calls WHERE id < 0), 0)",
    )
    .fetch_one(&mut *tx.conn)
    .await
}

/// What the call of this id that is there has against it; `None`: it is the same.
async fn conflict(tx: &mut Tx<'_>, call: &ImportedCall) -> Result<Option<String>, sqlx::Error> {
    #[derive(sqlx::FromRow)]
    struct Known {
        key_id: String,
        number: String,
        status: String,
        amd_status: Option<String>,
        duration: i64,
        created_at: Millis,
        ended_at: Option<Millis>,
    }
    let known: Option<Known> = sqlx::query_as(
        "SELECT k.key_id, c.number, c.status, c.amd_status, c.duration, c.created_at, c.ended_at \
         FROM calls c JOIN api_keys k ON k.id = c.api_key WHERE c.call_id = $1",
    )
    .bind(&call.call_id)
    .fetch_optional(&mut *tx.conn)
    .await?;
    let Some(known) = known else {
        return Ok(Some(format!("key_id: no key {}", call.key_id)));
    };
    if known.key_id != call.key_id {
        return Ok(Some(format!("call_id: {} is a call of {}", call.call_id, known.key_id)));
    }
    if known.ended_at.is_none() {
        return Ok(Some(format!("call_id: {} is in progress", call.call_id)));
    }
    let columns = [
        ("number", known.number == call.number),
        ("status", known.status == call.status.as_str()),
        ("amd_status", known.amd_status == call.amd_status),
        ("duration", known.duration == call.duration),
        ("created_at", known.created_at == call.created_at),
    ];
    let other = columns.into_iter().find(|(_, same)| !same);
    Ok(other.map(|(column, _)| {
        format!("{column}: the call {} is there already, with another one", call.call_id)
    }))
}

/// `false`: a call of this id is there already, it stays as it is; or there is no such key.
async fn insert(tx: &mut Tx<'_>, id: i64, call: &ImportedCall) -> Result<bool, sqlx::Error> {
    let answered = (call.status == CallStatus::Completed).then_some(call.created_at);
    let key: Option<KeyId> = sqlx::query_scalar(
        "INSERT INTO calls (id, call_id, api_key, node, direction, number, callee, use_amd, \
         ring_timeout, record, charged, status, sip_call_id, from_tag, branch, cseq, remote, \
         transport, created_at, answered_at, ended_at, duration, amd_status) \
         SELECT CAST($1 AS BIGINT), $2, k.id, -1, 'outbound', $4, $4, $5, 0, FALSE, FALSE, $6, \
         '', '', '', 0, '', '', $7, $8, $9, $10, $11 FROM api_keys k WHERE k.key_id = $3 \
         ON CONFLICT (call_id) DO NOTHING RETURNING api_key",
    )
    .bind(id)
    .bind(&call.call_id)
    .bind(&call.key_id)
    .bind(&call.number)
    .bind(call.amd_status.is_some())
    .bind(call.status.as_str())
    .bind(call.created_at)
    .bind(answered)
    .bind(call.created_at.plus(call.duration.saturating_mul(1_000)))
    .bind(call.duration)
    .bind(&call.amd_status)
    .fetch_optional(&mut *tx.conn)
    .await?;
    let Some(api_key) = key else { return Ok(false) };
    let counted = Counted {
        api_key,
        created_at: call.created_at,
        status: call.status,
        duration: call.duration,
        amd_status: call.amd_status.clone(),
    };
    history::count(tx, &counted, 1).await?;
    Ok(true)
}
