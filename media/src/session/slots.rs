//! The call's clock: instants as 8 kHz samples since the opening, and the grid of its slots.

use std::time::{Duration, Instant};

/// Samples a second.
const RATE: u64 = 8000;

/// A slot of the call that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Clock position at which it begins.
    pub(super) position: i64,
    /// Slots before it that were missed.
    pub(super) skipped: i64,
}

/// Turns calls of `tick`, which are never quite on time, into a grid that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotClock {
    opened: Instant,
    /// The instant of clock position 0 of the grid, the opening or a little before.
    anchor: Instant,
    /// Clock position of the next slot; unknown until the first tick.
    next: Option<i64>,
}

impl SlotClock {
    pub(super) fn new(opened: Instant) -> Self {
        Self { opened, anchor: opened, next: None }
    }

    /// The clock position of an instant.
    pub(super) fn position(&self, now: Instant) -> i64 {
        samples(now.saturating_duration_since(self.opened))
    }

    /// The slot, `step` samples long, whose time has come; `None` where none has.
    ///
    /// The first call sets the grid. A call that comes early by less than half a slot moves it:
    /// the one before was late. One that comes late by whole slots skips them.
    pub(super) fn tick(&mut self, now: Instant, step: i64) -> Option<Slot> {
        let next = self.next.unwrap_or_else(|| self.position(now));
        let due = self.anchor + duration(next);
        let early = due.saturating_duration_since(now);
        if early > duration(step) / 2 {
            return None;
        }
        self.anchor = self.anchor.checked_sub(early).unwrap_or(self.anchor);
        let skipped = samples(now.saturating_duration_since(due)) / step;
        let position = next + skipped * step;
        self.next = Some(position + step);
        Some(Slot { position, skipped })
    }
}

fn samples(duration: Duration) -> i64 {
    // 584 years of nanoseconds fit; a call is shorter.
    (duration.as_nanos() as u64 / (1_000_000_000 / RATE)) as i64
}

fn duration(samples: i64) -> Duration {
    Duration::from_nanos(samples.max(0) as u64 * (1_000_000_000 / RATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_that_wobble_give_a_grid_that_does_not() {
        let opened = Instant::now();
        let mut clock = SlotClock::new(opened);
        let wobble = [3, 0, 7, 1, 9, 2, 4, 0];
        for i in 0..1000_u64 {
            let now = opened + Duration::from_millis(20 * i + wobble[(i % 8) as usize]);
            let slot = Slot { position: 24 + 160 * i as i64, skipped: 0 };
            assert_eq!(clock.tick(now, 160), Some(slot), "tick {i}");
        }
    }

    #[test]
    fn a_late_tick_skips_and_a_second_one_at_once_gives_nothing() {
        let opened = Instant::now();
        let mut clock = SlotClock::new(opened);
        let at = |ms| opened + Duration::from_millis(ms);
        clock.tick(at(0), 160);
        // Slots of 20 and 40 ms are missed; that of 60 ms is taken.
        assert_eq!(clock.tick(at(75), 160), Some(Slot { position: 480, skipped: 2 }));
        assert_eq!(clock.tick(at(60), 160), None);
        assert_eq!(clock.tick(at(80), 160), Some(Slot { position: 640, skipped: 0 }));
        assert_eq!(clock.tick(at(80), 160), None);
        assert_eq!(clock.tick(at(30_080), 160), Some(Slot { position: 240_640, skipped: 1499 }));
        assert_eq!(clock.tick(at(30_080), 160), None);
    }

    #[test]
    fn positions_are_exact_after_days() {
        let opened = Instant::now();
        let clock = SlotClock::new(opened);
        let days = Duration::from_secs(86_400 * 30) + Duration::from_micros(125);
        assert_eq!(clock.position(opened + days), 86_400 * 30 * 8000 + 1);
    }
}
