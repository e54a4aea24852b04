//! What is written about a call: one transaction at a time, in order, until it is stored.

use std::future::pending;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Actor;
use super::dial::leg_row;
use crate::call::journal::Batch;
use crate::store::{Millis, StoreError};

/// The pause before a write is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a further INVITE waits for its row.
const NOTE_TIME: Duration = Duration::from_millis(400);
/// How often a write is tried that the database refuses for another reason than being away.
const MAX_REFUSALS: u32 = 5;

pub(super) type Written = (Batch, Result<(), StoreError>);

/// A transaction under way, and how often it has failed.
pub(super) struct Writing {
    future: BoxFuture<'static, Written>,
    failures: u32,
}

impl Actor {
    /// Waits for what is to be written, for a while: the next start knows a leg by its row alone.
    /// The first leg's was written when the call was placed.
    pub(super) async fn noted(&mut self) {
        let until = tokio::time::Instant::now() + NOTE_TIME;
        loop {
            if self.writing.is_none() {
                self.write_next();
            }
            if self.writing.is_none() {
                return;
            }
            let Ok((batch, result)) =
                tokio::time::timeout_at(until, next_written(&mut self.writing)).await
            else {
                return tracing::warn!("a leg is dialled before its row is written");
            };
            self.written(batch, result);
        }
    }

    /// Begins the next transaction, if there is something to write.
    pub(super) fn write_next(&mut self) {
        let candidates = &self.candidates;
        let batch = self.journal.next_batch(|to, identity| {
            let candidate = candidates.get(to.trunk);
            let name = candidate.map_or_else(String::new, |it| it.name.clone());
            (name, leg_row(candidate, &identity, to))
        });
        if let Some(batch) = batch {
            self.write(batch, 0);
        }
    }

    fn write(&mut self, batch: Batch, failures: u32) {
        let (store, call) = (self.inner.services.store.clone(), self.call.clone());
        let pause = match failures {
            0 => None,
            _ => Some(RETRY.0.saturating_mul(1 << failures.min(10)).min(RETRY.1)),
        };
        let future = async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let written = batch.clone().write(&store, &call, Millis::wall_clock()).await;
            (batch, written)
        };
        self.writing = Some(Writing { future: Box::pin(future), failures });
    }

    /// A transaction is through, or has to be tried again: nothing of a call is lost while its
    /// process lives.
    pub(super) fn written(&mut self, batch: Batch, result: Result<(), StoreError>) {
        let failures = self.writing.take().map_or(0, |writing| writing.failures);
        match result {
            Ok(()) => self.write_next(),
            Err(error) if error.is_unavailable() || failures < MAX_REFUSALS => {
                tracing::warn!(%error, what = batch.name(), "not written yet");
                self.write(batch, failures + 1);
            }
            Err(error) => {
                tracing::error!(%error, what = batch.name(), "cannot be written");
                self.write_next();
            }
        }
    }
}

pub(super) async fn next_written(writing: &mut Option<Writing>) -> Written {
    match writing {
        Some(writing) => (&mut writing.future).await,
        None => pending().await,
    }
}
