//! The audit trail: what an administrative act changed, in the transaction that changed it.
//!
//! What the act is about is read before and after it; the difference is the entry. No key's secret
//! is read here, and of a trunk's password only that there is one is told, so that none can get
//! into it.

use serde_json::{Map, Value, json};
use sqlx::{Pool, Row};

use super::{Apply, Db, Tx, import, keys, numbers, trunks};
use crate::store::Millis;
use crate::store::ops::{Act, Audited, Subject};
use crate::store::types::AuditEntry;

type Members = Map<String, Value>;

/// What an act is about, as it stands.
#[derive(Default)]
struct Snapshot {
    /// The key it belongs to, `key_…`.
    key_id: Option<String>,
    /// Its settings.
    members: Members,
}

impl<O: Apply> Apply for Audited<O> {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<O::Output, sqlx::Error> {
        let subject = &self.act.subject;
        lock(tx, subject).await?;
        let before = snapshot(tx, subject).await?;
        let output = self.op.apply(tx).await?;
        let after = snapshot(tx, subject).await?;
        let is_there = after.is_some();
        let key_id = before.iter().chain(&after).find_map(|it| it.key_id.clone());
        let changes =
            difference(before.unwrap_or_default().members, after.unwrap_or_default().members);
        // Secrets change unseen.
        if !changes.is_empty() || (self.act.unseen && is_there) {
            enter(tx, &self.act, key_id, changes).await?;
        }
        Ok(output)
    }
}

/// Holds the subject's row: nothing that another process writes comes between old and new.
async fn lock(tx: &mut Tx<'_>, subject: &Subject) -> Result<(), sqlx::Error> {
    let (update, name) = match subject {
        Subject::Key(id) => ("UPDATE api_keys SET name = name WHERE key_id = $1", id),
        Subject::Trunk(name) => ("UPDATE trunks SET name = name WHERE name = $1", name),
        Subject::Number(number) => ("UPDATE numbers SET answer = answer WHERE number = $1", number),
        // Made once, removed once.
        Subject::Recording(_) | Subject::Calls(_) => return Ok(()),
        Subject::Deliveries(id) => ("UPDATE calls SET node = node WHERE call_id = $1", id),
    };
    sqlx::query(update).bind(name).execute(&mut *tx.conn).await.map(|_| ())
}

async fn snapshot(tx: &mut Tx<'_>, subject: &Subject) -> Result<Option<Snapshot>, sqlx::Error> {
    match subject {
        Subject::Key(key_id) => key(tx, key_id).await,
        Subject::Trunk(name) => trunk(tx, name).await,
        Subject::Recording(id) => recording(tx, id).await,
        Subject::Deliveries(call_id) => deliveries(tx, call_id).await,
        Subject::Number(number) => own_number(tx, number).await,
        Subject::Calls(_) => {
            let members = members(json!({ "calls": import::imported(tx).await? }));
            Ok(Some(Snapshot { key_id: None, members }))
        }
    }
}

fn members(value: Value) -> Members {
    match value {
        Value::Object(members) => members,
        _ => Members::new(),
    }
}

async fn key(tx: &mut Tx<'_>, key_id: &str) -> Result<Option<Snapshot>, sqlx::Error> {
    let Some(key) = keys::named_in(tx, key_id).await? else { return Ok(None) };
    let trunks: Vec<String> = sqlx::query_scalar(
        "SELECT t.name FROM trunks t JOIN key_trunks k ON k.trunk = t.id \
         WHERE k.api_key = $1 ORDER BY k.position",
    )
    .bind(key.key)
    .fetch_all(&mut *tx.conn)
    .await?;
    let graces = sqlx::query(
        "SELECT (SELECT MAX(until) FROM old_webhook_secrets WHERE api_key = $1) \
         AS old_webhook_until, (SELECT MAX(expires_at) FROM api_key_hashes WHERE api_key = $1) \
         AS old_key_until",
    )
    .bind(key.key)
    .fetch_one(&mut *tx.conn)
    .await?;
    let members = members(json!({
        "name": key.name,
        "credits": key.credits,
        "rateLimit": key.rate_limit,
        "callerId": key.caller_id,
        "allowedCallerIds": *key.allowed_caller_ids,
        "record": key.record_default,
        "maxCalls": key.max_calls,
        "maxCps": key.max_cps,
        "allowPrefixes": *key.allow_prefixes,
        "denyPrefixes": *key.deny_prefixes,
        "revoked": key.revoked,
        "trunks": trunks,
        "oldKeyUntil": graces.try_get::<Option<Millis>, _>("old_key_until")?,
        "oldWebhookSecretUntil": graces.try_get::<Option<Millis>, _>("old_webhook_until")?,
    }));
    Ok(Some(Snapshot { key_id: Some(key.key_id), members }))
}

async fn trunk(tx: &mut Tx<'_>, name: &str) -> Result<Option<Snapshot>, sqlx::Error> {
    let Some(trunk) = trunks::named_in(tx, name).await? else { return Ok(None) };
    let keys: Vec<String> = sqlx::query_scalar(
        "SELECT k.key_id FROM api_keys k JOIN key_trunks t ON t.api_key = k.id \
         WHERE t.trunk = $1 ORDER BY k.id",
    )
    .bind(trunk.id)
    .fetch_all(&mut *tx.conn)
    .await?;
    let set = trunk.settings;
    let members = members(json!({
        "uri": set.uri,
        "prefix": set.prefix,
        "callerId": set.caller_id,
        "fromDomain": set.from_domain,
        "identity": set.identity,
        "maxChannels": set.max_channels,
        "maxCps": set.max_cps,
        "codecs": *set.codecs,
        "allow": *set.allow,
        "learnRtp": set.learn_rtp,
        "allowStarHash": set.allow_star_hash,
        "allowPrefixes": *set.allow_prefixes,
        "denyPrefixes": *set.deny_prefixes,
        "username": set.username,
        "password": set.password, // told as ***
        "realm": set.realm,
        "register": set.register,
        "qualifySecs": set.qualify_secs,
        "disabled": trunk.disabled,
        // Those that lose it with its removal.
        "keys": keys,
    }));
    Ok(Some(Snapshot { key_id: None, members }))
}

async fn recording(tx: &mut Tx<'_>, id: &str) -> Result<Option<Snapshot>, sqlx::Error> {
    let row: Option<(String, i64, String)> = sqlx::query_as(
        "SELECT r.filename, r.bytes, k.key_id FROM recordings r \
         JOIN api_keys k ON k.id = r.api_key WHERE r.recording_id = $1",
    )
    .bind(id)
    .fetch_optional(&mut *tx.conn)
    .await?;
    Ok(row.map(|(filename, bytes, key_id)| Snapshot {
        key_id: Some(key_id),
        members: members(json!({ "filename": filename, "bytes": bytes })),
    }))
}

async fn deliveries(tx: &mut Tx<'_>, call_id: &str) -> Result<Option<Snapshot>, sqlx::Error> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "SELECT k.key_id, (SELECT COUNT(*) FROM outbox o \
         WHERE o.call = c.id AND o.state = 'pending') \
         FROM calls c JOIN api_keys k ON k.id = c.api_key WHERE c.call_id = $1",
    )
    .bind(call_id)
    .fetch_optional(&mut *tx.conn)
    .await?;
    Ok(row.map(|(key_id, waiting)| Snapshot {
        key_id: Some(key_id),
        members: members(json!({ "waiting": waiting })),
    }))
}

async fn own_number(tx: &mut Tx<'_>, number: &str) -> Result<Option<Snapshot>, sqlx::Error> {
    let Some(own) = numbers::one_in(tx, number).await? else { return Ok(None) };
    let members = members(json!({
        "key": own.key_id,
        "webhook": own.webhook_url,
        "answer": own.answer,
    }));
    Ok(Some(Snapshot { key_id: Some(own.key_id), members }))
}

/// `{"name": [old, new]}` for each member that differs; what is missing is `null`.
fn difference(mut before: Members, after: Members) -> Members {
    let mut changes = Members::new();
    for (name, new) in after {
        let old = before.remove(&name).unwrap_or_default();
        if old != new {
            changes.insert(name, json!([old, new]));
        }
    }
    let gone = before.into_iter().filter(|(_, old)| !old.is_null());
    changes.extend(gone.map(|(name, old)| (name, json!([old, null]))));
    changes
}

async fn enter(
    tx: &mut Tx<'_>,
    act: &Act,
    key_id: Option<String>,
    changes: Members,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO audit (at, actor, act, key_id, subject, changes) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(act.at)
    .bind(&act.actor)
    .bind(act.act)
    .bind(key_id)
    .bind(act.subject.name())
    .bind(Value::Object(changes).to_string())
    .execute(&mut *tx.conn)
    .await
    .map(|_| ())
}

/// The newest entries since a time, of one key or all, newest first.
pub(in crate::store) async fn since(
    pool: &Pool<Db>,
    since: Millis,
    key_id: Option<&str>,
    limit: i64,
) -> Result<Vec<AuditEntry>, sqlx::Error> {
    sqlx::query_as(
        "SELECT at, actor, act, key_id, subject, changes FROM audit \
         WHERE at >= $1 AND (CAST($2 AS TEXT) IS NULL OR key_id = $2) \
         ORDER BY at DESC, id DESC LIMIT $3",
    )
    .bind(since)
    .bind(key_id)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// The same with what calls took of credits, from the ledger.
pub(in crate::store) async fn with_calls_since(
    pool: &Pool<Db>,
    since: Millis,
    key_id: Option<&str>,
    limit: i64,
) -> Result<Vec<AuditEntry>, sqlx::Error> {
    sqlx::query_as(
        "SELECT at, actor, act, key_id, subject, changes, id FROM audit \
         WHERE at >= $1 AND (CAST($2 AS TEXT) IS NULL OR key_id = $2) \
         UNION ALL \
         SELECT l.at, 'call', 'call.' || l.kind, k.key_id, \
         COALESCE(c.call_id, CAST(l.call AS TEXT)), \
         '{\"spent\":[null,' || CAST(-l.credits AS TEXT) || ']}', l.id \
         FROM ledger l JOIN api_keys k ON k.id = l.api_key LEFT JOIN calls c ON c.id = l.call \
         WHERE l.call IS NOT NULL AND l.credits <> 0 AND l.at >= $1 \
         AND (CAST($2 AS TEXT) IS NULL OR k.key_id = $2) \
         ORDER BY 1 DESC, 7 DESC LIMIT $3",
    )
    .bind(since)
    .bind(key_id)
    .bind(limit)
    .fetch_all(pool)
    .await
}
