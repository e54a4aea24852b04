//! Calls: placing, answer, end, and the money that goes with them.

use sqlx::{Pool, Row};

use super::history::{self, Counted};
use super::{Apply, Db, Tx, outbox};
use crate::store::ops::{
    Answer, Append, CloseOpen, End, Heard, Heartbeat, Place, Refused, Remember, TrunkTried,
};
use crate::store::types::{
    CallRef, CallRow, CallStatus, Direction, Ended, KeyId, Leg, NewCall, OpenCall, Placed,
    Remembered,
};
use crate::store::{Millis, limits};

macro_rules! call_columns {
    () => {
        "c.call_id, c.number, c.caller_id, c.direction, c.status, c.metadata, c.trunk, \
         c.created_at, c.answered_at, c.ended_at, c.end_reason, c.hangup_cause, c.ended_by, \
         c.sip_status, c.duration, c.amd_status, c.amd_cause, c.amd_confidence"
    };
}

impl Apply for Place {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, sqlx::Error> {
        let call = &self.call;
        if let Some(known) = remembered_in(tx, self.key, call).await? {
            return Ok(Err(Refused::Repeated(known)));
        }
        let charged = call.direction == Direction::Outbound;
        let Some(credits) = take_hold(tx, self.key, call, charged).await? else {
            let live = "SELECT COUNT(*) FROM api_keys WHERE id = $1 AND NOT revoked";
            let live: i64 =
                sqlx::query_scalar(live).bind(self.key).fetch_one(&mut *tx.conn).await?;
            let refused = if live == 0 { Refused::KeyGone } else { Refused::InsufficientCredits };
            return Ok(Err(refused));
        };
        let id = *tx.next_call;
        *tx.next_call += 1;
        let placed = Placed {
            call: CallRef {
                id,
                call_id: format!("{}.{id}", call.now.unix_seconds()).into(),
                key: self.key,
                webhook_url: call.webhook_url.as_deref().map(Into::into),
            },
            credits,
        };
        insert_call(tx, &placed.call, call, charged).await?;
        if charged {
            enter(tx, &placed.call, "hold", 0, 1, call.now).await?;
        }
        if let Some(idempotency) = &call.idempotency {
            sqlx::query(
                "INSERT INTO idempotency (api_key, token, body_hash, call, created_at) \
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(self.key)
            .bind(&idempotency.token)
            .bind(&idempotency.body_hash)
            .bind(id)
            .bind(call.now)
            .execute(&mut *tx.conn)
            .await?;
        }
        let first = built(|| (self.first)(&placed))?;
        outbox::insert(tx, &placed.call, call.now, std::slice::from_ref(&first)).await?;
        Ok(Ok(placed))
    }
}

/// Runs a caller's code in the writer: its panic fails its own operation, not the writer.
fn built<T>(build: impl FnOnce() -> T) -> Result<T, sqlx::Error> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(build))
        .map_err(|_| sqlx::Error::InvalidArgument("an event could not be built".to_owned()))
}

/// The guarded update that decides about the credit; the balance, or `None`: refused.
async fn take_hold(
    tx: &mut Tx<'_>,
    key: KeyId,
    call: &NewCall,
    charged: bool,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "UPDATE api_keys SET holds = holds + $2, total_calls = total_calls + 1, \
         last_trunk = COALESCE($3, last_trunk) \
         WHERE id = $1 AND NOT revoked AND credits - holds >= $2 RETURNING credits",
    )
    .bind(key)
    .bind(i64::from(charged))
    // A call that comes in is no part of the round robin.
    .bind(call.trunk.as_ref().filter(|_| charged).map(|(id, _)| *id))
    .fetch_optional(&mut *tx.conn)
    .await
}

async fn insert_call(
    tx: &mut Tx<'_>,
    made: &CallRef,
    call: &NewCall,
    charged: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO calls (id, call_id, api_key, node, direction, number, callee, caller_id, \
         webhook_url, metadata, use_amd, voice_name, ring_timeout, record, charged, status, trunk, \
         sip_call_id, from_tag, branch, cseq, remote, transport, dialog, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, \
         $19, $20, $21, $22, $23, $24, $25)",
    )
    .bind(made.id)
    .bind(&*made.call_id)
    .bind(made.key)
    .bind(tx.node)
    .bind(call.direction.as_str())
    .bind(&call.number)
    .bind(&call.callee)
    .bind(&call.caller_id)
    .bind(&call.webhook_url)
    .bind(&call.metadata)
    .bind(call.use_amd)
    .bind(&call.voice_name)
    .bind(call.ring_timeout_ms)
    .bind(call.record)
    .bind(charged)
    .bind(CallStatus::Ringing.as_str())
    .bind(call.trunk.as_ref().map(|(_, name)| name.as_str()))
    .bind(&call.leg.sip_call_id)
    .bind(&call.leg.from_tag)
    .bind(&call.leg.branch)
    .bind(call.leg.cseq)
    .bind(&call.leg.remote)
    .bind(&call.leg.transport)
    .bind(&call.dialog)
    .bind(call.now)
    .execute(&mut *tx.conn)
    .await
    .map(|_| ())
}

/// A row in the ledger. `false`: the call had that entry already.
async fn enter(
    tx: &mut Tx<'_>,
    call: &CallRef,
    kind: &'static str,
    credits: i64,
    holds: i64,
    at: Millis,
) -> Result<bool, sqlx::Error> {
    sqlx::query(
        "INSERT INTO ledger (api_key, call, kind, credits, holds, at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(call.key)
    .bind(call.id)
    .bind(kind)
    .bind(credits)
    .bind(holds)
    .bind(at)
    .execute(&mut *tx.conn)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// Turns the call's hold into a deduction, or gives it back; once, whatever is replayed.
async fn settle(
    tx: &mut Tx<'_>,
    call: &CallRef,
    answered: bool,
    at: Millis,
) -> Result<(), sqlx::Error> {
    let (kind, credits) = if answered { ("deduct", -1) } else { ("release", 0) };
    if enter(tx, call, kind, credits, -1, at).await? {
        sqlx::query("UPDATE api_keys SET credits = credits + $2, holds = holds - 1 WHERE id = $1")
            .bind(call.key)
            .bind(credits)
            .execute(&mut *tx.conn)
            .await?;
    }
    Ok(())
}

impl Apply for TrunkTried {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE calls SET trunk = $2, sip_call_id = $3, from_tag = $4, branch = $5, cseq = $6, \
             remote = $7, transport = $8 WHERE id = $1 AND ended_at IS NULL",
        )
        .bind(self.call.id)
        .bind(&self.trunk)
        .bind(&self.leg.sip_call_id)
        .bind(&self.leg.from_tag)
        .bind(&self.leg.branch)
        .bind(self.leg.cseq)
        .bind(&self.leg.remote)
        .bind(&self.leg.transport)
        .execute(&mut *tx.conn)
        .await
        .map(|_| ())
    }
}

impl Apply for Answer {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        let answered = &self.answered;
        let charged: Option<bool> = sqlx::query_scalar(
            "UPDATE calls SET status = $2, answered_at = $3, trunk = COALESCE($4, trunk), \
             dialog = $5 WHERE id = $1 AND status = $6 RETURNING charged",
        )
        .bind(self.call.id)
        .bind(CallStatus::Answered.as_str())
        .bind(answered.at)
        .bind(&answered.trunk)
        .bind(&answered.dialog)
        .bind(CallStatus::Ringing.as_str())
        .fetch_optional(&mut *tx.conn)
        .await?;
        if charged == Some(true) {
            settle(tx, &self.call, true, answered.at).await?;
        }
        outbox::insert(tx, &self.call, answered.at, &self.events).await?;
        Ok(charged.is_some())
    }
}

impl Apply for Heard {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        sqlx::query(
            "UPDATE calls SET amd_status = $2, amd_cause = $3, amd_confidence = $4 \
             WHERE id = $1 AND ended_at IS NULL",
        )
        .bind(self.call.id)
        .bind(&self.amd.status)
        .bind(&self.amd.cause)
        .bind(self.amd.confidence)
        .execute(&mut *tx.conn)
        .await?;
        outbox::insert(tx, &self.call, self.now, &self.events).await
    }
}

impl Apply for End {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        let first = end(tx, &self.call, &self.ended).await?;
        outbox::insert(tx, &self.call, self.ended.at, &self.events).await?;
        Ok(first)
    }
}

/// The final row and the settlement. `false`: it had ended before, nothing has changed.
async fn end(tx: &mut Tx<'_>, call: &CallRef, ended: &Ended) -> Result<bool, sqlx::Error> {
    let amd = ended.amd.as_ref();
    let row = sqlx::query(
        "UPDATE calls SET status = $2, ended_at = $3, answered_at = COALESCE(answered_at, $4), \
         end_reason = $5, hangup_cause = $6, ended_by = $7, sip_status = $8, sip_reason = $9, \
         duration = $10, trunk = COALESCE($11, trunk), amd_status = $12, amd_cause = $13, \
         amd_confidence = $14, attempts = $15, quality = $16 \
         WHERE id = $1 AND ended_at IS NULL RETURNING charged, answered_at, created_at",
    )
    .bind(call.id)
    .bind(ended.status.as_str())
    .bind(ended.at)
    .bind(ended.answered_at)
    .bind(&ended.end_reason)
    .bind(&ended.hangup_cause)
    .bind(&ended.ended_by)
    .bind(ended.sip_status)
    .bind(&ended.sip_reason)
    .bind(ended.duration_secs)
    .bind(&ended.trunk)
    .bind(amd.map(|amd| amd.status.as_str()))
    .bind(amd.map(|amd| amd.cause.as_str()))
    .bind(amd.map(|amd| amd.confidence))
    .bind(&ended.attempts)
    .bind(&ended.quality)
    .fetch_optional(&mut *tx.conn)
    .await?;
    let Some(row) = row else { return Ok(false) };
    if row.try_get("charged")? {
        let answered = row.try_get::<Option<Millis>, _>("answered_at")?.is_some();
        settle(tx, call, answered, ended.at).await?;
    }
    let counted = Counted {
        api_key: call.key,
        created_at: row.try_get("created_at")?,
        status: ended.status,
        duration: ended.duration_secs,
        amd_status: amd.map(|amd| amd.status.clone()),
    };
    history::count(tx, &counted, 1).await?;
    if ended.status == CallStatus::Completed {
        sqlx::query("UPDATE api_keys SET successful_calls = successful_calls + 1 WHERE id = $1")
            .bind(call.key)
            .execute(&mut *tx.conn)
            .await?;
    }
    Ok(true)
}

impl Apply for Append {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        outbox::insert(tx, &self.call, self.now, &self.events).await
    }
}

/// What the call's idempotency token stands for already; a token's day over, it is free again.
async fn remembered_in(
    tx: &mut Tx<'_>,
    key: KeyId,
    call: &NewCall,
) -> Result<Option<Remembered>, sqlx::Error> {
    let Some(idempotency) = &call.idempotency else { return Ok(None) };
    let over = call.now.plus(-limits::IDEMPOTENCY_MS);
    sqlx::query("DELETE FROM idempotency WHERE api_key = $1 AND token = $2 AND created_at <= $3")
        .bind(key)
        .bind(&idempotency.token)
        .bind(over)
        .execute(&mut *tx.conn)
        .await?;
    sqlx::query_as(REMEMBERED)
        .bind(key)
        .bind(&idempotency.token)
        .bind(over)
        .fetch_optional(&mut *tx.conn)
        .await
}

const REMEMBERED: &str = "SELECT c.call_id, i.body_hash, i.status, i.response \
     FROM idempotency i JOIN calls c ON c.id = i.call \
     WHERE i.api_key = $1 AND i.token = $2 AND i.created_at > $3";

/// What an idempotency token stands for.
pub(in crate::store) async fn remembered(
    pool: &Pool<Db>,
    key: KeyId,
    token: &str,
    now: Millis,
) -> Result<Option<Remembered>, sqlx::Error> {
    sqlx::query_as(REMEMBERED)
        .bind(key)
        .bind(token)
        .bind(now.plus(-limits::IDEMPOTENCY_MS))
        .fetch_optional(pool)
        .await
}

impl Apply for Remember {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE idempotency SET status = $2, response = $3 WHERE call = $1")
            .bind(self.call.id)
            .bind(self.status)
            .bind(&self.response)
            .execute(&mut *tx.conn)
            .await
            .map(|_| ())
    }
}

/// One call of a key.
pub(in crate::store) async fn call(
    pool: &Pool<Db>,
    key: KeyId,
    call_id: &str,
) -> Result<Option<CallRow>, sqlx::Error> {
    const ONE: &str = concat!(
        "SELECT ",
        call_columns!(),
        " FROM calls c WHERE c.call_id = $1 AND c.api_key = $2"
    );
    sqlx::query_as(ONE).bind(call_id).bind(key).fetch_optional(pool).await
}

#[derive(sqlx::FromRow)]
struct OpenRow {
    id: i64,
    api_key: KeyId,
    webhook_url: Option<String>,
    callee: String,
    dialog: Option<String>,
    next_sequence: i64,
    #[sqlx(flatten)]
    leg: Leg,
    #[sqlx(flatten)]
    row: CallRow,
}

impl From<OpenRow> for OpenCall {
    fn from(open: OpenRow) -> Self {
        Self {
            call: CallRef {
                id: open.id,
                call_id: open.row.call_id.as_str().into(),
                key: open.api_key,
                webhook_url: open.webhook_url.map(Into::into),
            },
            row: open.row,
            callee: open.callee,
            leg: open.leg,
            dialog: open.dialog,
            next_sequence: open.next_sequence,
        }
    }
}

macro_rules! open_calls {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            call_columns!(),
            ", c.id, c.api_key, c.webhook_url, c.callee, c.dialog, c.sip_call_id, c.from_tag, \
             c.branch, c.cseq, c.remote, c.transport, \
             (SELECT COALESCE(MAX(o.sequence), 0) + 1 FROM outbox o WHERE o.call = c.id) \
             AS next_sequence FROM calls c WHERE c.node = $1 AND ",
            $rest,
            " ORDER BY c.id"
        )
    };
}

/// The calls of a node that have not ended.
pub(in crate::store) async fn open_calls<'e>(
    executor: impl sqlx::Executor<'e, Database = Db>,
    node: i64,
) -> Result<Vec<OpenCall>, sqlx::Error> {
    const OPEN: &str = open_calls!("c.ended_at IS NULL");
    let rows: Vec<OpenRow> = sqlx::query_as(OPEN).bind(node).fetch_all(executor).await?;
    Ok(rows.into_iter().map(OpenCall::from).collect())
}

/// The calls of a node, ended or not, with a recording that is not finished.
pub(in crate::store) async fn with_unfinished_recordings(
    pool: &sqlx::Pool<Db>,
    node: i64,
) -> Result<Vec<OpenCall>, sqlx::Error> {
    const RECORDED: &str =
        open_calls!("c.id IN (SELECT r.call FROM recordings r WHERE r.finished_at IS NULL)");
    let rows: Vec<OpenRow> = sqlx::query_as(RECORDED).bind(node).fetch_all(pool).await?;
    Ok(rows.into_iter().map(OpenCall::from).collect())
}

impl Apply for CloseOpen {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<OpenCall>, sqlx::Error> {
        let alive: Option<Millis> =
            sqlx::query_scalar("SELECT heartbeat FROM nodes WHERE node = $1")
                .bind(self.node)
                .fetch_optional(&mut *tx.conn)
                .await?;
        let open = open_calls(&mut *tx.conn, self.node).await?;
        for call in &open {
            let ended = crashed(&call.row, alive.unwrap_or(self.now).min(self.now));
            end(tx, &call.call, &ended).await?;
            let events = built(|| (self.events)(call, &ended))?;
            outbox::insert(tx, &call.call, self.now, &events).await?;
        }
        Ok(open)
    }
}

/// The end of a call that died with its process, at the last moment it is known to have lived
/// (`reference.md` §1, the last row).
fn crashed(row: &CallRow, alive: Millis) -> Ended {
    let at = alive.max(row.answered_at.unwrap_or(row.created_at));
    Ended {
        at,
        status: if row.answered_at.is_some() { CallStatus::Completed } else { CallStatus::Failed },
        end_reason: "server_shutdown".to_owned(),
        hangup_cause: "41".to_owned(),
        ended_by: "system".to_owned(),
        answered_at: row.answered_at,
        duration_secs: row.answered_at.map_or(0, |answered| at.since(answered) / Millis::SECOND),
        sip_status: row.answered_at.map(|_| 200),
        sip_reason: row.answered_at.map(|_| "OK".to_owned()),
        trunk: row.trunk.clone(),
        amd: row.amd(),
        attempts: None,
        quality: None,
    }
}

impl Apply for Heartbeat {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO nodes (node, heartbeat) VALUES ($1, $2) \
             ON CONFLICT (node) DO UPDATE SET heartbeat = excluded.heartbeat \
             WHERE excluded.heartbeat > nodes.heartbeat",
        )
        .bind(self.node)
        .bind(self.now)
        .execute(&mut *tx.conn)
        .await
        .map(|_| ())
    }
}
