//! Retention: what is kept for a day, and calls for as long as the configuration says.
//!
//! The writer must not be kept from live calls, and the cost must not grow with what is kept: a
//! run is many small transactions, other writes come between them, and calls are gone through from
//! where the last run stopped.

use std::sync::Mutex;

use super::{Millis, Store, StoreError, limits, ops, read};

/// The call that was looked at last, by age; the next one is looked at next.
pub(super) struct Cursor(Mutex<(Millis, i64)>);

impl Default for Cursor {
    fn default() -> Self {
        Self(Mutex::new(Self::START))
    }
}

impl Cursor {
    const START: (Millis, i64) = (Millis(i64::MIN), i64::MIN);

    fn get(&self) -> (Millis, i64) {
        self.0.lock().map_or(Self::START, |it| *it)
    }

    fn set(&self, to: (Millis, i64)) {
        if let Ok(mut it) = self.0.lock() {
            *it = to;
        }
    }
}

/// A call that ended long ago.
#[derive(sqlx::FromRow)]
pub(super) struct OldCall {
    id: i64,
    created_at: Millis,
    is_recorded: bool,
}

impl Store {
    /// Erases delivered payloads and idempotency tokens after a day, and the rows of calls that
    /// are older than `keep_calls_ms` and have no recording left. A bounded share each time: to
    /// be called every few seconds.
    ///
    /// # Errors
    /// The database.
    pub async fn prune(&self, keep_calls_ms: i64, now: Millis) -> Result<(), StoreError> {
        self.write(ops::ForgetSecrets { now }).await?;
        let (mut erasing, mut deleting) = (true, true);
        for _ in 0..limits::PRUNE_ROUNDS {
            if erasing {
                erasing = self.write(ops::EraseOld { until: now.plus(-Millis::DAY) }).await?;
            }
            if deleting {
                deleting = self.prune_calls(now.plus(-keep_calls_ms)).await?;
            }
            if !erasing && !deleting {
                break;
            }
        }
        Ok(())
    }

    /// Looks at some calls of before `until`; whether there are more.
    async fn prune_calls(&self, until: Millis) -> Result<bool, StoreError> {
        let (cursor, limit) = (&self.inner.pruned, limits::PRUNE_CALLS);
        let after = cursor.get();
        let seen =
            read!(long: self, sql, pool => sql::prune::old_calls(pool, after, until, limit))?;
        let bare = seen.iter().filter(|call| !call.is_recorded);
        let calls: Vec<i64> = bare.map(|call| call.id).collect();
        if !calls.is_empty() {
            self.write(ops::DeleteCalls { calls }).await?;
        }
        // At the end it begins anew: recordings may have been pruned meanwhile.
        let last = seen.last().filter(|_| seen.len() as i64 == limit);
        cursor.set(last.map_or(Cursor::START, |it| (it.created_at, it.id)));
        Ok(last.is_some())
    }
}
