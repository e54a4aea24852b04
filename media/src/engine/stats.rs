//! What the engine has done, as numbers to be read while it runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::worker::counters::{BOUNDS_US, Counters};

/// What the engine does and how well, all workers together.
#[derive(Clone, Debug, Default)]
pub struct EngineStats {
    /// Calls that have media now.
    pub calls: u64,
    /// Calls opened since the start.
    pub opened: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams received, of any source.
    pub received: u64,
    /// Datagrams that the system refused to send.
    pub send_errors: u64,
    /// Turns that were left out because their time had passed.
    pub skipped: u64,
    /// Calls ended by a panic.
    pub panics: u64,
    /// Events dropped because a call's task did not take them; never a digit, a verdict or an end.
    pub events_dropped: u64,
    /// Pairs of ports that calls hold.
    pub ports_in_use: usize,
    /// Pairs of ports in the range.
    pub ports: usize,
    /// Recordings being written.
    pub recordings: u64,
    /// Recordings that ended whole.
    pub recordings_completed: u64,
    /// Recordings that ended as partial.
    pub recordings_partial: u64,
    /// How late slots were taken, since the start.
    pub lateness: Lateness,
    /// The latest slot of the last full second: the load signal for admission.
    pub recent_lateness: Duration,
}

/// Slots by how late they were taken.
#[derive(Clone, Debug, Default)]
pub struct Lateness {
    /// Upper bound in µs and number of slots above the bound before; the last bound is `u64::MAX`.
    pub buckets: Vec<(u64, u64)>,
}

impl Lateness {
    /// The upper bound of the bucket in which the share `q` (0–1) of all slots is reached.
    pub fn quantile(&self, q: f64) -> Duration {
        let total: u64 = self.buckets.iter().map(|(_, count)| count).sum();
        let rank = (total as f64 * q).ceil() as u64;
        let mut seen = 0;
        for &(bound, count) in &self.buckets {
            seen += count;
            if seen >= rank.max(1) {
                return Duration::from_micros(bound);
            }
        }
        Duration::ZERO
    }
}

impl EngineStats {
    pub(super) fn add(&mut self, worker: &Counters) {
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        self.calls += read(&worker.calls);
        self.sent += read(&worker.sent);
        self.received += read(&worker.received);
        self.send_errors += read(&worker.send_errors);
        self.skipped += read(&worker.skipped);
        self.panics += read(&worker.panics);
        self.events_dropped += read(&worker.events_dropped);
        let recent = Duration::from_micros(read(&worker.recent_lateness_us));
        self.recent_lateness = self.recent_lateness.max(recent);
        self.lateness.buckets.resize(BOUNDS_US.len(), (0, 0));
        for ((sum, bound), count) in
            self.lateness.buckets.iter_mut().zip(BOUNDS_US).zip(&worker.lateness)
        {
            *sum = (bound, sum.1 + read(count));
        }
    }
}
