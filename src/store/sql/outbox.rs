//! The webhook outbox: written with what it reports, read by the deliverer.

use sqlx::Pool;

use super::{Apply, Db, Tx};
use crate::store::ops::{Marks, Replay};
use crate::store::types::{CallRef, Delivery, Fate, KeyId, NewEvent, Outgoing, Replayed};
use crate::store::{Millis, limits};

/// Stores `events` of a call that has a webhook, and hands them over when committed.
pub(super) async fn insert(
    tx: &mut Tx<'_>,
    call: &CallRef,
    now: Millis,
    events: &[NewEvent],
) -> Result<(), sqlx::Error> {
    let Some(url) = &call.webhook_url else { return Ok(()) };
    for event in events {
        let done = sqlx::query(
            "INSERT INTO outbox (call, sequence, api_key, event, url, payload, next_at, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING",
        )
        .bind(call.id)
        .bind(event.sequence)
        .bind(call.key)
        .bind(&event.event)
        .bind(&**url)
        .bind(&event.payload)
        .bind(now)
        .execute(&mut *tx.conn)
        .await?;
        if done.rows_affected() == 0 {
            continue; // a replay: stored, and on its way, since the first time
        }
        tx.events.push(Outgoing {
            call: call.id,
            call_id: call.call_id.clone(),
            sequence: event.sequence,
            key: call.key,
            event: event.event.clone(),
            url: url.clone(),
            payload: event.payload.clone(),
            attempts: 0,
            next_at: now,
            created_at: now,
        });
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct DueRow {
    call: i64,
    call_id: String,
    sequence: i64,
    api_key: KeyId,
    event: String,
    url: String,
    payload: String,
    attempts: i64,
    next_at: Millis,
    created_at: Millis,
}

impl From<DueRow> for Outgoing {
    fn from(row: DueRow) -> Self {
        Self {
            call: row.call,
            call_id: row.call_id.into(),
            sequence: row.sequence,
            key: row.api_key,
            event: row.event,
            url: row.url.into(),
            payload: row.payload,
            attempts: row.attempts,
            next_at: row.next_at,
            created_at: row.created_at,
        }
    }
}

macro_rules! due {
    ($and:literal) => {
        concat!(
            "SELECT o.call, c.call_id, o.sequence, o.api_key, o.event, o.url, o.payload, \
             o.attempts, o.next_at, o.created_at FROM outbox o JOIN calls c ON c.id = o.call \
             WHERE o.state = 'pending' AND o.next_at <= $1 AND o.payload IS NOT NULL ",
            $and,
            " ORDER BY o.next_at, o.call, o.sequence LIMIT $2"
        )
    };
}

/// Undelivered events due until `until`, those waiting longest first.
pub(in crate::store) async fn due(
    pool: &Pool<Db>,
    until: Millis,
    limit: i64,
) -> Result<Vec<Outgoing>, sqlx::Error> {
    const DUE: &str = due!("");
    let rows = sqlx::query_as::<_, DueRow>(DUE).bind(until).bind(limit).fetch_all(pool).await?;
    Ok(rows.into_iter().map(Outgoing::from).collect())
}

/// Of those, what was asked for again after `since`: it has no attempt yet, and is due later than
/// it was stored. The range keeps this cheap enough for each second, whatever waits.
pub(in crate::store) async fn replayed(
    pool: &Pool<Db>,
    since: Millis,
    until: Millis,
    limit: i64,
) -> Result<Vec<Outgoing>, sqlx::Error> {
    const REPLAYED: &str =
        due!("AND o.next_at > $3 AND o.attempts = 0 AND o.next_at > o.created_at");
    let rows = sqlx::query_as::<_, DueRow>(REPLAYED).bind(until).bind(limit).bind(since);
    Ok(rows.fetch_all(pool).await?.into_iter().map(Outgoing::from).collect())
}

impl Apply for Marks {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        for mark in &self.marks {
            let (state, attempts, next_at, error) = match &mark.fate {
                Fate::Delivered => ("delivered", None, mark.at, None),
                Fate::Retry { attempts, next_at, error } => {
                    ("pending", Some(*attempts), *next_at, Some(error))
                }
                Fate::Dead { attempts, error } => ("dead", Some(*attempts), mark.at, Some(error)),
            };
            sqlx::query(
                "UPDATE outbox SET state = $3, attempts = COALESCE($4, attempts + 1), \
                 next_at = $5, last_error = $6, delivered_at = $7 \
                 WHERE call = $1 AND sequence = $2",
            )
            .bind(mark.call)
            .bind(mark.sequence)
            .bind(state)
            .bind(attempts)
            .bind(next_at)
            .bind(error)
            .bind((mark.fate == Fate::Delivered).then_some(mark.at))
            .execute(&mut *tx.conn)
            .await?;
        }
        Ok(())
    }
}

impl Apply for Replay {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Replayed, sqlx::Error> {
        let queued = sqlx::query(
            "UPDATE outbox SET state = 'pending', attempts = 0, next_at = $3 \
             WHERE call = (SELECT id FROM calls WHERE call_id = $1) AND sequence = $2 \
             AND payload IS NOT NULL",
        )
        .bind(&self.call_id)
        .bind(self.sequence)
        .bind(self.now)
        .execute(&mut *tx.conn)
        .await?;
        if queued.rows_affected() > 0 {
            return Ok(Replayed::Queued);
        }
        let known: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM outbox WHERE sequence = $2 \
             AND call = (SELECT id FROM calls WHERE call_id = $1)",
        )
        .bind(&self.call_id)
        .bind(self.sequence)
        .fetch_one(&mut *tx.conn)
        .await?;
        Ok(if known > 0 { Replayed::Erased } else { Replayed::NotFound })
    }
}

macro_rules! deliveries {
    ($rest:literal) => {
        concat!(
            "SELECT c.call_id, o.sequence, o.event, o.url, o.state, o.attempts, o.next_at, \
             o.last_error, o.created_at, o.delivered_at \
             FROM outbox o JOIN calls c ON c.id = o.call ",
            $rest
        )
    };
}

/// Deliveries for the command line, newest first.
pub(in crate::store) async fn deliveries(
    pool: &Pool<Db>,
    only_dead: bool,
) -> Result<Vec<Delivery>, sqlx::Error> {
    const ALL: &str = deliveries!("ORDER BY o.call DESC, o.sequence DESC LIMIT $1");
    const DEAD: &str = deliveries!(
        "WHERE o.state = 'dead' ORDER BY o.created_at DESC, o.call DESC, o.sequence DESC LIMIT $1"
    );
    let query = if only_dead { DEAD } else { ALL };
    sqlx::query_as(query).bind(limits::LIST).fetch_all(pool).await
}
