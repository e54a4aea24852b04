//! Ended calls by the quarter hour of their placing, and what dashboards read from them.

use sqlx::Pool;

use super::{Db, Tx};
use crate::store::Millis;
use crate::store::types::{CallStatus, DayTally, KeyId, LogLine, LogPage, Standing, Stretch};

/// Milliseconds of a quarter hour.
const QUARTER_MS: i64 = 900_000;

/// A call as its quarter counts it.
#[derive(sqlx::FromRow)]
pub(super) struct Counted {
    pub(super) api_key: KeyId,
    pub(super) created_at: Millis,
    #[sqlx(try_from = "String")]
    pub(super) status: CallStatus,
    pub(super) duration: i64,
    pub(super) amd_status: Option<String>,
}

/// Counts an ended call (`by` 1), or one that is deleted (-1).
pub(super) async fn count(tx: &mut Tx<'_>, call: &Counted, by: i64) -> Result<(), sqlx::Error> {
    let ended = |status| if call.status == status { by } else { 0 };
    let heard = |verdict| if call.amd_status.as_deref() == Some(verdict) { by } else { 0 };
    sqlx::query(
        "INSERT INTO call_quarters (api_key, quarter, completed, busy, no_answer, failed, canceled, \
         seconds, humans, machines) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (api_key, quarter) DO UPDATE SET \
         completed = call_quarters.completed + excluded.completed, \
         busy = call_quarters.busy + excluded.busy, \
         no_answer = call_quarters.no_answer + excluded.no_answer, \
         failed = call_quarters.failed + excluded.failed, \
         canceled = call_quarters.canceled + excluded.canceled, \
         seconds = call_quarters.seconds + excluded.seconds, \
         humans = call_quarters.humans + excluded.humans, \
         machines = call_quarters.machines + excluded.machines",
    )
    .bind(call.api_key)
    .bind(call.created_at.0.div_euclid(QUARTER_MS))
    .bind(ended(CallStatus::Completed))
    .bind(ended(CallStatus::Busy))
    .bind(ended(CallStatus::NoAnswer))
    .bind(ended(CallStatus::Failed))
    .bind(ended(CallStatus::Canceled))
    .bind(ended(CallStatus::Completed) * call.duration)
    .bind(heard("HUMAN"))
    .bind(heard("MACHINE"))
    .execute(&mut *tx.conn)
    .await
    .map(|_| ())
}

/// Deletes the quarter of a call that was deleted, if nothing is counted in it any more.
pub(super) async fn forget_if_empty(tx: &mut Tx<'_>, call: &Counted) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM call_quarters WHERE api_key = $1 AND quarter = $2 \
         AND completed + busy + no_answer + failed + canceled = 0",
    )
    .bind(call.api_key)
    .bind(call.created_at.0.div_euclid(QUARTER_MS))
    .execute(&mut *tx.conn)
    .await
    .map(|_| ())
}

/// The calls of a stretch, by local day; days without any are left out.
pub(in crate::store) async fn days(
    pool: &Pool<Db>,
    key: KeyId,
    stretch: Stretch,
) -> Result<Vec<DayTally>, sqlx::Error> {
    // One statement, so that a call that ends meanwhile is counted once.
    sqlx::query_as(
        "SELECT day, CAST(SUM(ringing) AS BIGINT) AS ringing, \
         CAST(SUM(answered) AS BIGINT) AS answered, CAST(SUM(completed) AS BIGINT) AS completed, \
         CAST(SUM(busy) AS BIGINT) AS busy, CAST(SUM(no_answer) AS BIGINT) AS no_answer, \
         CAST(SUM(failed) AS BIGINT) AS failed, CAST(SUM(canceled) AS BIGINT) AS canceled, \
         CAST(SUM(seconds) AS BIGINT) AS seconds, CAST(SUM(humans) AS BIGINT) AS humans, \
         CAST(SUM(machines) AS BIGINT) AS machines FROM ( \
         SELECT (quarter + $4) / 96 AS day, 0 AS ringing, 0 AS answered, completed, busy, \
         no_answer, failed, canceled, seconds, humans, machines FROM call_quarters \
         WHERE api_key = $1 AND quarter >= $2 AND quarter < $3 UNION ALL \
         SELECT (created_at / 900000 + $4) / 96, CASE status WHEN 'ringing' THEN 1 ELSE 0 END, \
         CASE status WHEN 'answered' THEN 1 ELSE 0 END, 0, 0, 0, 0, 0, 0, 0, 0 FROM calls \
         WHERE api_key = $1 AND ended_at IS NULL AND created_at >= $2 * 900000 \
         AND created_at < $3 * 900000) AS counted GROUP BY day ORDER BY day",
    )
    .bind(key)
    .bind(stretch.from)
    .bind(stretch.to)
    .bind(stretch.offset)
    .fetch_all(pool)
    .await
}

const PAGE: &str = "SELECT call_id, number, status, amd_status, duration, created_at FROM calls \
     WHERE id IN (SELECT id FROM calls WHERE api_key = $1 AND created_at <= $2 \
     ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4) ORDER BY created_at DESC, id DESC";

const PAGE_ENDED: &str = "SELECT call_id, number, status, amd_status, duration, created_at \
     FROM calls WHERE id IN (SELECT id FROM calls WHERE api_key = $1 AND created_at <= $2 \
     AND ended_at IS NOT NULL AND status = $5 ORDER BY created_at DESC, id DESC \
     LIMIT $3 OFFSET $4) ORDER BY created_at DESC, id DESC";

const OLD_PAGE: &str = "SELECT call_id, number, status, amd_status, duration, created_at FROM calls \
     WHERE id IN (SELECT id FROM calls WHERE api_key = $1 AND created_at <= $2 \
     ORDER BY created_at, id LIMIT $3 OFFSET $4) ORDER BY created_at DESC, id DESC";

const OLD_PAGE_ENDED: &str = "SELECT call_id, number, status, amd_status, duration, created_at \
     FROM calls WHERE id IN (SELECT id FROM calls WHERE api_key = $1 AND created_at <= $2 \
     AND ended_at IS NOT NULL AND status = $5 ORDER BY created_at, id \
     LIMIT $3 OFFSET $4) ORDER BY created_at DESC, id DESC";

const PAGE_UP: &str = "SELECT call_id, number, status, amd_status, duration, created_at \
     FROM calls WHERE api_key = $1 AND created_at <= $2 AND ended_at IS NULL AND status = $5 \
     ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4";

/// A page of the log.
pub(in crate::store) async fn log(
    pool: &Pool<Db>,
    key: KeyId,
    page: LogPage,
) -> Result<Vec<LogLine>, sqlx::Error> {
    let is_ended = page.status.is_some_and(CallStatus::is_terminal);
    let (text, offset, limit) = match (page.status, page.oldest_first()) {
        (None, Some((offset, limit))) => (OLD_PAGE, offset, limit),
        (None, None) => (PAGE, page.offset, page.limit),
        (Some(_), Some((offset, limit))) if is_ended => (OLD_PAGE_ENDED, offset, limit),
        (Some(_), None) if is_ended => (PAGE_ENDED, page.offset, page.limit),
        (Some(_), _) => (PAGE_UP, page.offset, page.limit),
    };
    let query = sqlx::query_as(text).bind(key).bind(page.as_of).bind(limit).bind(offset);
    match page.status {
        None => query.fetch_all(pool).await,
        Some(status) => query.bind(status.as_str()).fetch_all(pool).await,
    }
}

/// Whole quarters from their sums, the last and unfinished one by its calls.
const COUNT: &str = "SELECT CAST((SELECT COALESCE(SUM(completed + busy + no_answer + failed + \
     canceled), 0) FROM call_quarters WHERE api_key = $1 AND quarter < $3) \
     + (SELECT COUNT(*) FROM calls WHERE api_key = $1 AND ended_at IS NULL \
     AND created_at < $3 * 900000) \
     + (SELECT COUNT(*) FROM calls WHERE api_key = $1 AND created_at >= $3 * 900000 \
     AND created_at <= $2) AS BIGINT)";

const COUNT_ENDED: &str = "SELECT CAST((SELECT COALESCE(SUM(CASE $4 \
     WHEN 'completed' THEN completed WHEN 'busy' THEN busy WHEN 'no-answer' THEN no_answer \
     WHEN 'failed' THEN failed ELSE canceled END), 0) \
     FROM call_quarters WHERE api_key = $1 AND quarter < $3) \
     + (SELECT COUNT(*) FROM calls WHERE api_key = $1 AND ended_at IS NOT NULL AND status = $4 \
     AND created_at >= $3 * 900000 AND created_at <= $2) AS BIGINT)";

const COUNT_UP: &str = "SELECT COUNT(*) FROM calls WHERE api_key = $1 AND ended_at IS NULL \
     AND created_at <= $2 AND status = $3";

/// How many lines the pages of a log have in all.
pub(in crate::store) async fn log_length(
    pool: &Pool<Db>,
    key: KeyId,
    status: Option<CallStatus>,
    as_of: Millis,
) -> Result<i64, sqlx::Error> {
    let quarter = as_of.0.div_euclid(QUARTER_MS);
    match status {
        None => sqlx::query_scalar(COUNT).bind(key).bind(as_of).bind(quarter),
        Some(status) if status.is_terminal() => sqlx::query_scalar(COUNT_ENDED)
            .bind(key)
            .bind(as_of)
            .bind(quarter)
            .bind(status.as_str()),
        Some(status) => sqlx::query_scalar(COUNT_UP).bind(key).bind(as_of).bind(status.as_str()),
    }
    .fetch_one(pool)
    .await
}

/// What a key stands at.
pub(in crate::store) async fn standing(
    pool: &Pool<Db>,
    key: KeyId,
) -> Result<Option<Standing>, sqlx::Error> {
    sqlx::query_as(
        "SELECT credits, total_calls, successful_calls, (SELECT COUNT(*) FROM calls c \
         WHERE c.api_key = k.id AND c.ended_at IS NULL) AS active_calls \
         FROM api_keys k WHERE k.id = $1",
    )
    .bind(key)
    .fetch_optional(pool)
    .await
}
