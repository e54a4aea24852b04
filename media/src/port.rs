//! The pool of RTP ports: even for RTP, the odd one above for RTCP (RFC 3550 §11).
//!
//! It knows which pairs are free, in use or at rest. It refuses to know sockets and addresses: the
//! engine binds what it takes here. A closed pair rests before it is given out again, because the
//! far end of a call that has ended may go on sending for a while. Start at [`Ports::take`].

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;

/// The pairs of one range.
#[derive(Debug)]
pub struct Ports {
    /// Free pairs by the instant from which they may be used, which is also the order they came in.
    free: VecDeque<(u16, Option<Instant>)>,
    total: usize,
    rest: Duration,
}

/// No pair can be given out now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RTP port is free: {in_use} pairs are in use, {resting} rest after a call")]
pub struct NoPort {
    /// Pairs that calls hold.
    pub in_use: usize,
    /// Pairs that will be free again by themselves.
    pub resting: usize,
}

impl Ports {
    /// All pairs that lie wholly in `range`, in an order drawn from `rng` so that ports are not
    /// foretold and a restart does not meet the last run's strays; `rest` is how long a pair stays
    /// unused after a call.
    pub fn new(range: RangeInclusive<u16>, rest: Duration, rng: &mut impl rand::Rng) -> Self {
        let (first, last) = (*range.start(), *range.end());
        let mut even: Vec<u16> = (first.max(2)..last).filter(|port| port % 2 == 0).collect();
        even.shuffle(rng);
        Self { total: even.len(), free: even.into_iter().map(|port| (port, None)).collect(), rest }
    }

    /// Takes a pair; gives its even port.
    ///
    /// # Errors
    /// [`NoPort`] when every pair is in use or at rest.
    pub fn take(&mut self, now: Instant) -> Result<u16, NoPort> {
        match self.free.front() {
            Some(&(port, since)) if since.is_none_or(|since| since <= now) => {
                self.free.pop_front();
                Ok(port)
            }
            _ => Err(NoPort { in_use: self.in_use(), resting: self.free.len() }),
        }
    }

    /// Gives a pair back, to rest from `now` on.
    pub fn give_back(&mut self, now: Instant, port: u16) {
        self.free.push_back((port, Some(now + self.rest)));
    }

    /// Pairs that calls hold.
    pub fn in_use(&self) -> usize {
        self.total - self.free.len()
    }

    /// Pairs in the range.
    pub fn total(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "any instant will do")]
    use super::*;
    use rand::SeedableRng;

    fn ports(range: RangeInclusive<u16>) -> Ports {
        Ports::new(range, Duration::from_secs(4), &mut rand::rngs::SmallRng::seed_from_u64(1))
    }

    #[test]
    fn pairs_are_even_and_lie_wholly_in_the_range() {
        let now = Instant::now();
        for (range, expect) in [
            (10000..=10005, vec![10000, 10002, 10004]),
            (10001..=10004, vec![10002]),
            (10000..=10000, vec![]),
            (65534..=65535, vec![65534]),
        ] {
            let mut pool = ports(range);
            let mut got: Vec<u16> = std::iter::from_fn(|| pool.take(now).ok()).collect();
            got.sort_unstable();
            assert_eq!(got, expect);
        }
    }

    #[test]
    fn a_closed_pair_rests_before_reuse_and_exhaustion_is_named() {
        let now = Instant::now();
        let mut pool = ports(10000..=10003);
        let first = pool.take(now).unwrap();
        let second = pool.take(now).unwrap();
        assert_eq!(pool.take(now), Err(NoPort { in_use: 2, resting: 0 }));
        pool.give_back(now, first);
        let almost = now + Duration::from_millis(3999);
        assert_eq!(pool.take(almost), Err(NoPort { in_use: 1, resting: 1 }));
        pool.give_back(almost, second);
        assert_eq!(pool.take(now + Duration::from_secs(4)), Ok(first));
        assert_eq!(pool.in_use(), 1);
    }
}
