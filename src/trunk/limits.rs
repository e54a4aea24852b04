//! How many calls at a time and how many a second: of the server, of a key, of a trunk.
//!
//! It knows counts and the last second. It refuses to know what is counted. Start at
//! [`Limiter::admit`].

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The window of a calls-per-second cap: a second, and what may lie between an admission here and
/// its INVITE on the wire, so that no second on the wire holds more.
const WINDOW: Duration = Duration::from_millis(1_050);

/// What is allowed; `None`: any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// At a time.
    pub concurrent: Option<u32>,
    /// New ones in any second.
    pub per_second: Option<u32>,
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// As many as may run do.
    Concurrent,
    /// As many as may begin in a second have.
    PerSecond,
}

/// Counters by `K`.
#[derive(Debug)]
pub struct Limiter<K: Eq + Hash> {
    meters: Arc<Mutex<HashMap<K, Meter>>>,
}

impl<K: Eq + Hash> Clone for Limiter<K> {
    fn clone(&self) -> Self {
        Self { meters: Arc::clone(&self.meters) }
    }
}

impl<K: Eq + Hash> Default for Limiter<K> {
    fn default() -> Self {
        Self { meters: Arc::default() }
    }
}

/// One counted use; it ends with this value.
pub struct Permit<K: Eq + Hash> {
    key: K,
    at: Instant,
    meters: Arc<Mutex<HashMap<K, Meter>>>,
}

#[derive(Debug, Default)]
struct Meter {
    running: u32,
    /// The starts within the window, oldest first; as many as the cap at most.
    starts: VecDeque<Instant>,
}

impl<K: Eq + Hash + Clone> Limiter<K> {
    /// Counts one more of `key`, if `caps` allow it.
    ///
    /// # Errors
    /// [`Over`]: nothing is counted then.
    pub fn admit(&self, now: Instant, key: K, caps: Caps) -> Result<Permit<K>, Over> {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = meters.entry(key.clone()).or_default();
        if caps.concurrent.is_some_and(|most| meter.running >= most) {
            return Err(Over::Concurrent);
        }
        if let Some(most) = caps.per_second {
            while meter.starts.front().is_some_and(|at| *at + WINDOW <= now) {
                meter.starts.pop_front();
            }
            if meter.starts.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
                return Err(Over::PerSecond);
            }
            meter.starts.push_back(now);
        } else {
            meter.starts.clear();
        }
        meter.running += 1;
        drop(meters);
        Ok(Permit { key, at: now, meters: Arc::clone(&self.meters) })
    }

    /// How many of `key` run.
    #[must_use]
    pub fn running(&self, key: &K) -> u32 {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.get(key).map_or(0, |meter| meter.running)
    }
}

impl<K: Eq + Hash> Permit<K> {
    /// Ends it as if it had never begun: its start counts no more.
    pub fn give_back(self) {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = meters.get_mut(&self.key)
            && let Some(start) = meter.starts.iter().rposition(|at| *at == self.at)
        {
            meter.starts.remove(start);
        }
    }
}

impl<K: Eq + Hash> Drop for Permit<K> {
    fn drop(&mut self) {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = meters.get_mut(&self.key) {
            meter.running = meter.running.saturating_sub(1);
            if meter.running == 0 && meter.starts.is_empty() {
                meters.remove(&self.key);
            }
        }
    }
}

impl<K: Eq + Hash + fmt::Debug> fmt::Debug for Permit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.key).finish()
    }
}

/// Trunks that asked to be left alone (Retry-After of a 503, RFC 3261 §21.5.4).
#[derive(Debug)]
pub struct Rest<K: Eq + Hash>(Mutex<HashMap<K, Instant>>);

impl<K: Eq + Hash> Default for Rest<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// The longest rest that is granted: a carrier's mistake must not take it out for a day.
pub const MAX_REST: Duration = Duration::from_secs(600);

impl<K: Eq + Hash> Rest<K> {
    /// Leaves `key` alone for `duration`, [`MAX_REST`] at most.
    pub fn begin(&self, now: Instant, key: K, duration: Duration) {
        let mut rests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rests.retain(|_, until| *until > now);
        rests.insert(key, now + duration.min(MAX_REST));
    }

    /// Whether `key` rests.
    pub fn is_resting(&self, now: Instant, key: &K) -> bool {
        let rests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rests.get(key).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a virtual clock begins somewhere")]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_cap_run_and_a_dropped_permit_makes_room() {
        let (now, limiter) = (Instant::now(), Limiter::default());
        let caps = Caps { concurrent: Some(2), per_second: None };
        let first = limiter.admit(now, "a", caps).unwrap();
        let _second = limiter.admit(now, "a", caps).unwrap();
        assert_eq!(limiter.admit(now, "a", caps).unwrap_err(), Over::Concurrent);
        assert!(limiter.admit(now, "b", caps).is_ok(), "another key has its own");
        drop(first);
        assert!(limiter.admit(now, "a", caps).is_ok());
    }

    #[test]
    fn no_second_holds_more_starts_than_the_cap() {
        let (start, limiter) = (Instant::now(), Limiter::default());
        let caps = Caps { concurrent: None, per_second: Some(3) };
        let mut admitted = Vec::new();
        for ms in (0..10_000).step_by(7) {
            let now = start + Duration::from_millis(ms);
            if limiter.admit(now, (), caps).is_ok() {
                admitted.push(now);
            }
        }
        for window in admitted.windows(4) {
            assert!(window[3].duration_since(window[0]) > Duration::from_secs(1));
        }
        assert!(admitted.len() >= 27, "{} of some 28 that may", admitted.len());
    }

    #[test]
    fn what_is_given_back_was_never_counted() {
        let (now, limiter) = (Instant::now(), Limiter::default());
        let caps = Caps { concurrent: Some(1), per_second: Some(1) };
        limiter.admit(now, 7, caps).unwrap().give_back();
        assert!(limiter.meters.lock().unwrap().is_empty());
        drop(limiter.admit(now, 7, caps).unwrap());
        assert_eq!(limiter.admit(now, 7, caps).unwrap_err(), Over::PerSecond, "that one counts");
    }

    #[test]
    fn nothing_is_left_over() {
        let (now, limiter) = (Instant::now(), Limiter::default());
        drop(limiter.admit(now, 7, Caps::default()).unwrap());
        assert!(limiter.meters.lock().unwrap().is_empty());
    }

    #[test]
    fn a_rest_ends_and_is_bounded() {
        let (now, rest) = (Instant::now(), Rest::default());
        rest.begin(now, 1, Duration::from_secs(30));
        assert!(rest.is_resting(now + Duration::from_secs(29), &1));
        assert!(!rest.is_resting(now + Duration::from_secs(30), &1));
        assert!(!rest.is_resting(now, &2));
        rest.begin(now, 1, Duration::from_secs(86_400));
        assert!(!rest.is_resting(now + MAX_REST, &1));
    }
}
