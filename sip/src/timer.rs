//! The timers of RFC 3261 §17 and RFC 6026: their names, their lengths and a table of due times.
//!
//! Knows no clock (every `now` is passed in), no message and no state: what a timer means when it
//! fires is told by the machine that set it. Start at [`Timer`], then [`TimerConfig`].

use std::time::{Duration, Instant};

/// A timer of a transaction (RFC 3261 Table 4, RFC 6026 §8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// INVITE retransmission while calling, unreliable transports only: T1, doubling without cap.
    A,
    /// INVITE client gives up: 64×T1, or shorter if the caller wants so.
    B,
    /// INVITE client absorbs repeated non-2xx finals: [`TimerConfig::d`], 0 if reliable.
    D,
    /// Non-INVITE retransmission, unreliable transports only: T1, doubling up to T2.
    E,
    /// Non-INVITE client gives up: 64×T1.
    F,
    /// Non-2xx final to an INVITE repeated, unreliable only: T1, doubling up to T2.
    G,
    /// INVITE server gives up waiting for the ACK of a non-2xx final: 64×T1.
    H,
    /// INVITE server absorbs repeated ACKs: T4, 0 if reliable.
    I,
    /// Non-INVITE server answers repeated requests: 64×T1, 0 if reliable.
    J,
    /// Non-INVITE client absorbs repeated finals: T4, 0 if reliable.
    K,
    /// INVITE server after a 2xx: absorbs repeated INVITEs, passes on ACKs: 64×T1.
    L,
    /// INVITE client after a 2xx: passes on repeated and forked 2xx: 64×T1.
    M,
    /// INVITE server sends a 100 of its own if nothing was answered for 200 ms (§17.2.1).
    Trying,
}

impl Timer {
    /// How many timers there are: no machine can have more due at once.
    pub const COUNT: usize = 13;
}

/// How long a server may leave an INVITE without any answer before it sends 100 (§17.2.1).
pub const TRYING_AFTER: Duration = Duration::from_millis(200);

/// The base values all timers are derived from (RFC 3261 §17.1.1.1, Table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerConfig {
    /// Estimate of the round-trip time; 500 ms. Must not be zero.
    pub t1: Duration,
    /// Longest interval between retransmissions of non-INVITE requests and INVITE responses; 4 s.
    pub t2: Duration,
    /// Longest time a message stays in the network; 5 s.
    pub t4: Duration,
    /// Timer D on unreliable transports. The server's T1 is unknown, hence its own value:
    /// at least 32 s (§17.1.1.2).
    pub d: Duration,
}

impl Default for TimerConfig {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            d: Duration::from_secs(32),
        }
    }
}

impl TimerConfig {
    /// 64×T1: timers B, F, H, J, L, M, and the time a 2xx is repeated for (§13.3.1.4).
    pub fn transaction_timeout(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// T1, doubling without cap: timer A.
    pub(crate) fn doubling(&self) -> Backoff {
        Backoff { interval: self.t1, cap: None }
    }

    /// T1, doubling up to T2: timers E and G, and the 2xx to an INVITE that the UAS core repeats
    /// (§13.3.1.4).
    pub fn doubling_to_t2(&self) -> Backoff {
        Backoff { interval: self.t1.min(self.t2), cap: Some(self.t2) }
    }
}

/// An interval that doubles each time it is used, up to a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    interval: Duration,
    cap: Option<Duration>,
}

impl Backoff {
    /// The interval to wait now.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The one that follows it.
    pub fn next(self) -> Self {
        let doubled = self.interval.saturating_mul(2);
        Self { interval: self.cap.map_or(doubled, |cap| doubled.min(cap)), ..self }
    }
}

/// When each timer that runs is due; a timer that is not in it is stopped.
///
/// Generic in the names of the timers, so that other machines can keep their own in one.
#[derive(Clone, Debug)]
pub struct TimerTable<T = Timer> {
    due: Vec<(T, Instant)>, // at most one entry a timer, a handful: scanned, not sorted
}

impl<T> Default for TimerTable<T> {
    fn default() -> Self {
        Self { due: Vec::new() }
    }
}

impl<T: Copy + Ord> TimerTable<T> {
    /// Starts `timer`, or starts it anew.
    pub fn set(&mut self, timer: T, at: Instant) {
        self.stop(timer);
        self.due.push((timer, at));
    }

    /// Stops `timer` if it runs.
    pub fn stop(&mut self, timer: T) {
        self.due.retain(|(other, _)| *other != timer);
    }

    /// Stops all.
    pub fn clear(&mut self) {
        self.due.clear();
    }

    /// When `timer` is due, if it runs.
    pub fn due(&self, timer: T) -> Option<Instant> {
        self.due.iter().find(|(other, _)| *other == timer).map(|(_, at)| *at)
    }

    /// The next due time of all.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.due.iter().map(|(_, at)| *at).min()
    }

    /// Takes out the timer that is due earliest, if one is due at `now`; among equals the first
    /// in the order of `T`.
    pub fn expired(&mut self, now: Instant) -> Option<T> {
        let (at, timer) = self.due.iter().map(|(timer, at)| (*at, *timer)).min()?;
        (at <= now).then(|| {
            self.stop(timer);
            timer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn defaults_are_those_of_table_4() {
        let config = TimerConfig::default();
        assert_eq!(
            (config.t1, config.t2, config.t4, config.d),
            (MS(500), MS(4_000), MS(5_000), MS(32_000))
        );
        assert_eq!(config.transaction_timeout(), MS(32_000));
    }

    #[test]
    fn backoff_doubles_up_to_its_cap() {
        let config = TimerConfig::default();
        let six = |mut backoff: Backoff| {
            [(); 6].map(|()| {
                let interval = backoff.interval().as_millis();
                backoff = backoff.next();
                interval
            })
        };
        assert_eq!(six(config.doubling()), [500, 1000, 2000, 4000, 8000, 16000]);
        assert_eq!(six(config.doubling_to_t2()), [500, 1000, 2000, 4000, 4000, 4000]);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "an Instant can be had nowhere else")]
    fn the_table_gives_what_is_due_in_order_and_once() {
        let start = Instant::now();
        let mut table = TimerTable::default();
        table.set(Timer::B, start + MS(10));
        table.set(Timer::A, start + MS(10));
        table.set(Timer::K, start + MS(5));
        table.set(Timer::D, start + MS(1));
        table.set(Timer::D, start + MS(20)); // started anew
        assert_eq!(table.next_timeout(), Some(start + MS(5)));
        assert_eq!(table.expired(start + MS(4)), None);
        let at = start + MS(10);
        let fired: Vec<_> = std::iter::from_fn(|| table.expired(at)).collect();
        assert_eq!(fired, [Timer::K, Timer::A, Timer::B]);
        assert_eq!(table.due(Timer::D), Some(start + MS(20)));
        table.clear();
        assert_eq!(table.next_timeout(), None);
    }
}
