//! `/api/dashboard`, `/api/call-logs` and `/api/analytics`: what became of the key's calls.

use axum::extract::State;
use axum::response::Response;
use jiff::civil::Date;

use super::auth::Body;
use super::calendar::{Calendar, earlier, number_of};
use super::error::ApiError;
use super::fields::{Fields, wrong};
use super::{App, answer, success};
use crate::store::{Authenticated, CallStatus, LogPage, Millis, Store, StoreError, Tally};

/// The latest calls that a dashboard shows.
const RECENT: i64 = 10;
const DEFAULT_DAYS: u64 = 7;
const DEFAULT_PAGE_SIZE: u64 = 20;
/// Far beyond every log.
pub(super) const LAST_PAGE: u64 = 1_000_000_000;

pub(super) async fn dashboard(
    State(app): State<App>,
    Body(auth, body): Body,
) -> Result<Response, ApiError> {
    let calendar = calendar(&body)?;
    let now = Millis::wall_clock();
    let standing = app.store.standing(&auth).await?;
    let standing = standing.ok_or_else(|| ApiError::unauthorized("Invalid API key"))?;
    let today = calendar.day_of(now);
    let days = daily(&app.store, &auth, &calendar, Calendar::monday_of(today), today).await?;
    let of_today = days.last().map_or_else(Tally::default, |(_, calls)| *calls);
    let page =
        LogPage { status: None, as_of: Millis(i64::MAX), offset: 0, limit: RECENT, total: None };
    let recent = app.store.call_log(&auth, page).await?;
    let ended = standing.total_calls - standing.active_calls;
    Ok(success(answer::Dashboard {
        stats: answer::DashboardStats {
            total_credits: standing.credits,
            total_calls: standing.total_calls,
            successful_calls: standing.successful_calls,
            success_rate: percent(standing.successful_calls, ended),
            calls_today: of_today.total(),
            successful_calls_today: of_today.completed,
            calls_this_week: sum(&days).total(),
        },
        recent_calls: recent,
    }))
}

pub(super) async fn call_logs(
    State(app): State<App>,
    Body(auth, body): Body,
) -> Result<Response, ApiError> {
    let page = body.integer("page", 1..=LAST_PAGE)?.unwrap_or(1).cast_signed();
    let size = body.integer("page_size", 1..=100)?.unwrap_or(DEFAULT_PAGE_SIZE).cast_signed();
    let status = body.choice("status", &CallStatus::ALL.map(|it| (it.as_str(), it)))?;
    let as_of = as_of(&body)?.unwrap_or_else(Millis::wall_clock);
    let total = app.store.call_log_length(&auth, status, as_of).await?;
    let offset = (page - 1) * size;
    let asked = LogPage { status, as_of, offset, limit: size, total: Some(total) };
    let logs = if offset < total { app.store.call_log(&auth, asked).await? } else { vec![] };
    Ok(success(answer::CallLogs {
        logs,
        total_count: total,
        pagination: answer::Pagination {
            page,
            page_size: size,
            total_pages: (total + size - 1) / size,
            as_of,
        },
    }))
}

pub(super) async fn analytics(
    State(app): State<App>,
    Body(auth, body): Body,
) -> Result<Response, ApiError> {
    let days = body.integer("days", 1..=365)?.unwrap_or(DEFAULT_DAYS).cast_signed();
    let calendar = calendar(&body)?;
    let today = calendar.day_of(Millis::wall_clock());
    let by_day = daily(&app.store, &auth, &calendar, earlier(today, days - 1), today).await?;
    let all = sum(&by_day);
    Ok(success(answer::Analytics {
        period: format!("Last {days} days"),
        overview: answer::Overview {
            total_calls: all.total(),
            completed_calls: all.completed,
            failed_calls: all.unsuccessful(),
            no_answer_calls: all.no_answer,
            human_calls: all.humans,
            machine_calls: all.machines,
            avg_duration: ratio(all.seconds, all.completed, 10.0),
            success_rate: percent(all.completed, all.ended()),
        },
        daily_volume: by_day.iter().map(volume).collect(),
        status_breakdown: breakdown(&all),
    }))
}

/// Each day from `first` to `last`, empty ones too.
async fn daily(
    store: &Store,
    auth: &Authenticated,
    calendar: &Calendar,
    first: Date,
    last: Date,
) -> Result<Vec<(Date, Tally)>, StoreError> {
    let begin = number_of(first);
    let count = usize::try_from(number_of(last) - begin + 1).unwrap_or_default();
    let mut days: Vec<_> = first.series(jiff::Span::new().days(1)).take(count).collect();
    let mut tallies = vec![Tally::default(); days.len()];
    for stretch in calendar.stretches(first, last) {
        for found in store.days(auth, stretch).await? {
            let at = usize::try_from(found.day - begin).ok();
            if let Some(tally) = at.and_then(|at| tallies.get_mut(at)) {
                *tally += found.calls;
            }
        }
    }
    Ok(days.drain(..).zip(tallies).collect())
}

fn sum(days: &[(Date, Tally)]) -> Tally {
    days.iter().fold(Tally::default(), |mut sum, (_, calls)| {
        sum += *calls;
        sum
    })
}

fn volume((day, calls): &(Date, Tally)) -> answer::DayVolume {
    answer::DayVolume {
        date: day.to_string(),
        total_calls: calls.total(),
        completed: calls.completed,
        failed: calls.unsuccessful(),
    }
}

/// A row for each status that occurs, the most frequent first.
fn breakdown(calls: &Tally) -> Vec<answer::StatusShare> {
    let share = |status| {
        let count = calls.of(status);
        answer::StatusShare { status, count, percentage: percent(count, calls.total()) }
    };
    let shares = CallStatus::ALL.into_iter().map(share);
    let mut rows: Vec<_> = shares.filter(|share| share.count > 0).collect();
    rows.sort_by_key(|share| std::cmp::Reverse(share.count));
    rows
}

/// With two decimals; of nothing it is 0.
fn percent(part: i64, of: i64) -> f64 {
    ratio(part * 100, of, 100.0)
}

/// Rounded to 1 / `steps`; a share of nothing is 0.
fn ratio(part: i64, of: i64, steps: f64) -> f64 {
    if of == 0 { 0.0 } else { (part as f64 / of as f64 * steps).round() / steps }
}

fn calendar(body: &Fields) -> Result<Calendar, ApiError> {
    match body.text("timezone")? {
        None => Ok(Calendar::UTC),
        Some(name) => Calendar::named(name)
            .ok_or_else(|| wrong("timezone", "an IANA time zone such as Europe/Berlin")),
    }
}

fn as_of(body: &Fields) -> Result<Option<Millis>, ApiError> {
    let Some(text) = body.text("asOf")? else { return Ok(None) };
    match text.parse::<jiff::Timestamp>() {
        Ok(at) => Ok(Some(Millis(at.as_millisecond()))),
        Err(_) => Err(wrong("asOf", "a time in RFC 3339, as pagination.asOf gives it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_and_add_up() {
        // The contract's own: 97 of 112 is 86.61, 301 of 340 is 88.53.
        assert_eq!(percent(97, 112), 86.61);
        assert_eq!(percent(301, 340), 88.53);
        assert_eq!(percent(0, 0), 0.0);
        assert_eq!(ratio(4152, 97, 10.0), 42.8);
        let calls = Tally { completed: 1, busy: 1, no_answer: 1, ..Tally::default() };
        let rows = breakdown(&calls);
        let sum: f64 = rows.iter().map(|row| row.percentage).sum();
        assert!((sum - 100.0).abs() <= 0.03 + 1e-9, "{sum}");
        assert_eq!(rows.len(), 3);
    }
}
