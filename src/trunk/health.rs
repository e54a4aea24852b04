//! Which trunks answer: a circuit breaker for each, told of OPTIONS and of calls.
//!
//! ```text
//!            two misses in a row, a 503 to OPTIONS
//!   closed ───────────────────────────────────────► open ──── 30 s ───► half open
//!     ▲ ◄──────────── any other answer ─────────────┘ ▲                  │    │
//!     │                                               └── a call tries ──┘    │
//!     └───────────────────────── it answers ──────────────────────────────────┘
//! ```
//!
//! It knows what was heard of a trunk. It refuses to know how it is asked, and that a call is placed
//! all the same where no trunk answers: that is [`route`](super::route)'s. Start at [`Health`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::store::TrunkId;

/// Misses in a row that open it.
const MISSES: u8 = 2;
/// How long one that is open is left alone before a call tries it.
const OPEN_FOR: Duration = Duration::from_secs(30);

/// What is known of one trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Breaker {
    Closed { misses: u8 },
    Open { until: Instant, why: String },
}

impl Breaker {
    /// It answered.
    fn heard(&mut self) -> Option<Turn> {
        match std::mem::replace(self, Self::Closed { misses: 0 }) {
            Self::Closed { .. } => None,
            Self::Open { .. } => Some(Turn::Closed),
        }
    }

    /// It did not, or there was no connection.
    fn missed(&mut self, now: Instant, why: &str) -> Option<Turn> {
        match self {
            Self::Closed { misses } if *misses + 1 < MISSES => {
                *misses += 1;
                None
            }
            _ => self.refused(now, why),
        }
    }

    /// It said itself that it is out of order.
    fn refused(&mut self, now: Instant, why: &str) -> Option<Turn> {
        let opened = Self::Open { until: now + OPEN_FOR, why: why.to_owned() };
        match std::mem::replace(self, opened) {
            Self::Closed { .. } => Some(Turn::Opened),
            Self::Open { .. } => None,
        }
    }

    /// A call goes to it. Half open, that is the one that tries it: the next ones wait for its
    /// outcome.
    fn tried(&mut self, now: Instant) {
        if let Self::Open { until, .. } = self
            && *until <= now
        {
            *until = now + OPEN_FOR;
        }
    }

    /// Whether calls may go to it.
    fn is_passable(&self, now: Instant) -> bool {
        match self {
            Self::Closed { .. } => true,
            Self::Open { until, .. } => *until <= now,
        }
    }
}

/// What a breaker has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Opened,
    Closed,
}

/// A trunk's health, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// The trunk's name.
    pub trunk: String,
    /// It answers, as far as is known.
    pub reachable: bool,
    /// What was last said or missed, where it does not.
    pub reason: Option<String>,
}

/// The breakers of all trunks. One that nothing is known of is reachable.
#[derive(Debug, Default)]
pub struct Health(Mutex<HashMap<TrunkId, Entry>>);

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    breaker: Breaker,
}

impl Health {
    /// The trunk said something that is no 503.
    pub fn heard(&self, trunk: TrunkId, name: &str) {
        if self.with(trunk, name, Breaker::heard) == Some(Turn::Closed) {
            tracing::info!(trunk = name, "a trunk is reachable again");
        }
    }

    /// The trunk was asked or called and was silent, or there was no connection.
    pub fn missed(&self, now: Instant, trunk: TrunkId, name: &str, why: &str) {
        self.note(name, why, self.with(trunk, name, |breaker| breaker.missed(now, why)));
    }

    /// The trunk answered OPTIONS with 503.
    pub fn refused(&self, now: Instant, trunk: TrunkId, name: &str, why: &str) {
        self.note(name, why, self.with(trunk, name, |breaker| breaker.refused(now, why)));
    }

    /// A call goes to the trunk.
    pub fn tried(&self, now: Instant, trunk: TrunkId) {
        if let Some(entry) = self.lock().get_mut(&trunk) {
            entry.breaker.tried(now);
        }
    }

    /// Whether calls may go to the trunk before others are tried.
    #[must_use]
    pub fn is_reachable(&self, now: Instant, trunk: TrunkId) -> bool {
        self.lock().get(&trunk).is_none_or(|entry| entry.breaker.is_passable(now))
    }

    /// Forgets all trunks but these.
    pub fn keep(&self, is_kept: impl Fn(TrunkId) -> bool) {
        self.lock().retain(|trunk, _| is_kept(*trunk));
    }

    /// Forgets what is known of one trunk: it was changed and begins anew.
    pub fn forget(&self, trunk: TrunkId) {
        self.lock().remove(&trunk);
    }

    /// Every trunk that something is known of, by name.
    #[must_use]
    pub fn reaches(&self) -> Vec<Reach> {
        let of = |entry: &Entry| {
            let reason = match &entry.breaker {
                Breaker::Closed { .. } => None,
                Breaker::Open { why, .. } => Some(why.clone()),
            };
            Reach { trunk: entry.name.to_string(), reachable: reason.is_none(), reason }
        };
        let mut all: Vec<Reach> = self.lock().values().map(of).collect();
        all.sort_by(|one, other| one.trunk.cmp(&other.trunk));
        all
    }

    fn note(&self, trunk: &str, why: &str, turn: Option<Turn>) {
        if turn == Some(Turn::Opened) {
            tracing::warn!(trunk, why, "a trunk is not reachable: others are tried before it");
        }
    }

    fn with<T>(&self, trunk: TrunkId, name: &str, act: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut entries = self.lock();
        let entry = entries
            .entry(trunk)
            .or_insert_with(|| Entry { name: name.into(), breaker: Breaker::Closed { misses: 0 } });
        act(&mut entry.breaker)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TrunkId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a virtual clock begins somewhere")]
mod tests {
    use super::*;

    const A: TrunkId = TrunkId(1);

    /// `reference.md` §2: two misses in a row or a 503; any other answer closes it.
    #[test]
    fn two_misses_in_a_row_or_a_503_open_it_and_an_answer_closes_it() {
        let (now, health) = (Instant::now(), Health::default());
        assert!(health.is_reachable(now, A), "a new trunk counts as reachable");
        health.missed(now, A, "a", "silent");
        health.heard(A, "a");
        health.missed(now, A, "a", "silent");
        assert!(health.is_reachable(now, A), "not in a row");
        health.missed(now, A, "a", "silent");
        assert!(!health.is_reachable(now, A));
        assert!(health.is_reachable(now, TrunkId(2)), "each its own");
        let reason = Some("silent".to_owned());
        assert_eq!(health.reaches(), [Reach { trunk: "a".to_owned(), reachable: false, reason }]);
        health.heard(A, "a");
        assert!(health.is_reachable(now, A));
        health.refused(now, A, "a", "503 to OPTIONS");
        assert!(!health.is_reachable(now, A), "at once");
        health.forget(A);
        assert!(health.is_reachable(now, A));
    }

    /// One call tries it; the others wait for what becomes of that.
    #[test]
    fn half_open_lets_one_call_through() {
        let (start, health) = (Instant::now(), Health::default());
        health.refused(start, A, "a", "503");
        health.tried(start, A);
        assert!(!health.is_reachable(start + OPEN_FOR - Duration::from_millis(1), A));
        let later = start + OPEN_FOR;
        assert!(health.is_reachable(later, A), "asked of each call that looks for a trunk");
        assert!(health.is_reachable(later, A));
        health.tried(later, A);
        assert!(!health.is_reachable(later, A), "one is on its way");
        health.missed(later + Duration::from_secs(4), A, "a", "silent");
        assert!(!health.is_reachable(later + OPEN_FOR, A), "from the miss on");
        assert!(health.is_reachable(later + OPEN_FOR + Duration::from_secs(4), A));
        health.heard(A, "a");
        assert!(health.is_reachable(later, A));
    }
}
