//! The counters of one worker: written by its thread only, read by anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the lateness buckets, in µs.
pub(crate) const BOUNDS_US: [u64; 12] =
    [100, 250, 500, 750, 1000, 1500, 2000, 3000, 5000, 10_000, 20_000, u64::MAX];

/// What one worker counts. Relaxed everywhere: each number stands for itself.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) send_errors: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) events_dropped: AtomicU64,
    pub(crate) recent_lateness_us: AtomicU64,
    pub(crate) lateness: [AtomicU64; BOUNDS_US.len()],
}

impl Counters {
    /// Counts how late a slot was taken.
    pub(crate) fn late(&self, late: Duration) {
        let us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.iter().position(|&bound| us <= bound).unwrap_or(0);
        if let Some(count) = self.lateness.get(bucket) {
            bump(count, 1);
        }
    }
}

/// Adds to a counter that has one writer: cheaper than a locked addition.
pub(crate) fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}
