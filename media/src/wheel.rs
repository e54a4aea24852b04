//! The wheel of 2 ms slots on which the calls of a worker take their turns.
//!
//! It knows numbered slots and what is due in them. It refuses to know time, calls and packets: a
//! slot is a number that the worker derives from its clock. A call is given one of the ten phases
//! of 20 ms and keeps it for life; after a turn it is put on the first of its own slots that is
//! still to come, so that a late worker skips ahead and never bursts. Start at [`Wheel::take_due`]
//! and [`next_turn`].

use std::time::Duration;

/// The length of a slot: what a digit waits at most for, and how far apart wake-ups are.
pub const SLOT: Duration = Duration::from_millis(2);

/// Phases among which calls are spread: the slots of 20 ms, the usual packet time.
pub const PHASES: usize = 10;

/// Buckets of the wheel; a power of two above the longest packet time in slots.
const BUCKETS: u64 = 128;

/// The longest period a call may have, in slots: 200 ms, the longest ptime in use.
const MAX_PERIOD: u64 = 100;

/// Keys by the slot in which they are due.
#[derive(Debug)]
pub struct Wheel {
    buckets: Vec<Vec<u64>>,
    /// The first slot that was not taken yet.
    next: u64,
}

impl Wheel {
    /// An empty wheel that begins with slot `next`.
    pub fn new(next: u64) -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Vec::new()).collect(), next }
    }

    /// Puts `key` on `slot`; on the first slot not taken yet if that has passed.
    pub fn insert(&mut self, key: u64, slot: u64) {
        let slot = slot.clamp(self.next, self.next + BUCKETS - 1);
        if let Some(bucket) = self.buckets.get_mut((slot % BUCKETS) as usize) {
            bucket.push(key);
        }
    }

    /// Moves every key due in a slot up to and with `now` into `due`, the oldest slot first, each
    /// key once however long the worker was away. Does not allocate once the vectors have grown.
    pub fn take_due(&mut self, now: u64, due: &mut Vec<u64>) {
        let last = now.min(self.next + BUCKETS - 1);
        for slot in self.next..=last {
            if let Some(bucket) = self.buckets.get_mut((slot % BUCKETS) as usize) {
                due.append(bucket);
            }
        }
        self.next = self.next.max(now + 1);
    }

    /// Takes `key` off `slot`, where it was put.
    pub fn remove(&mut self, key: u64, slot: u64) {
        if let Some(bucket) = self.buckets.get_mut((slot % BUCKETS) as usize)
            && let Some(at) = bucket.iter().position(|&there| there == key)
        {
            bucket.swap_remove(at);
        }
    }

    /// The first slot that was not taken yet.
    pub fn next_slot(&self) -> u64 {
        self.next
    }
}

/// The turn after the one due in slot `due` and taken in slot `now`: the slot, and how many turns
/// were left out because their slots have passed.
pub fn next_turn(due: u64, period: u64, now: u64) -> (u64, u64) {
    let period = period.clamp(1, MAX_PERIOD);
    let next = due + period;
    if next > now {
        return (next, 0);
    }
    let skipped = (now - next) / period + 1;
    (next + skipped * period, skipped)
}

/// A packet time in slots.
pub fn period_slots(ptime_ms: u32) -> u64 {
    (u64::from(ptime_ms) * 1000 / SLOT.as_micros() as u64).clamp(1, MAX_PERIOD)
}

/// The first slot from `from` on that has the phase `phase`.
pub fn first_turn(from: u64, phase: u64) -> u64 {
    let phases = PHASES as u64;
    from + (phase + phases - from % phases) % phases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, now: u64) -> Vec<u64> {
        let mut due = Vec::new();
        wheel.take_due(now, &mut due);
        due
    }

    #[test]
    fn keys_come_in_the_order_of_their_slots_once_each() {
        let mut wheel = Wheel::new(1000);
        wheel.insert(7, 1003);
        wheel.insert(8, 1001);
        wheel.insert(9, 1010);
        assert_eq!(due(&mut wheel, 1000), [0u64; 0]);
        assert_eq!(due(&mut wheel, 1003), [8, 7]);
        wheel.insert(6, 1002); // has passed: the next slot
        assert_eq!(due(&mut wheel, 1004), [6]);
        assert_eq!(due(&mut wheel, 1010), [9]);
    }

    #[test]
    fn after_a_pause_of_thirty_seconds_each_key_is_due_once() {
        let mut wheel = Wheel::new(0);
        for key in 0..20 {
            wheel.insert(key, key);
        }
        assert_eq!(due(&mut wheel, 15_000), (0..20).collect::<Vec<_>>());
        assert_eq!(wheel.next_slot(), 15_001);
        wheel.insert(3, 15_003);
        assert_eq!(due(&mut wheel, 15_002), [0u64; 0]);
        assert_eq!(due(&mut wheel, 15_003), [3]);
    }

    #[test]
    fn a_late_turn_skips_ahead_and_keeps_its_phase() {
        assert_eq!(next_turn(13, 10, 13), (23, 0));
        assert_eq!(next_turn(13, 10, 22), (23, 0)); // 18 ms late: no turn of its own has passed
        assert_eq!(next_turn(13, 10, 23), (33, 1));
        assert_eq!(next_turn(13, 10, 1017), (1023, 100));
        assert_eq!(next_turn(13, 15, 13), (28, 0)); // 30 ms
    }

    #[test]
    fn packet_times_in_slots() {
        assert_eq!([10, 20, 30, 40, 60].map(period_slots), [5, 10, 15, 20, 30]);
        assert_eq!([0, 1, 5000].map(period_slots), [1, 1, 100]);
    }

    #[test]
    fn the_first_turn_has_the_phase() {
        assert_eq!(first_turn(1000, 0), 1000);
        assert_eq!(first_turn(1001, 0), 1010);
        assert_eq!(first_turn(1008, 3), 1013);
    }
}
