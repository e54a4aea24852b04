//! The timers of a call.

use std::time::Instant;

/// What a call may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// The trunk has rung long enough.
    Ring,
    /// The 487 of our CANCEL does not come.
    CancelGrace,
    /// The first 100 came a while ago and `/makecall` still waits.
    AnswerAfterTrying,
    /// `/makecall` has waited as long as it may.
    AnswerWithin,
    /// The call has lasted as long as it may.
    MaxDuration,
    /// The detector has said nothing long after it should have.
    Verdict,
    /// The whole entry took too long.
    Gather,
    /// The next digit took too long.
    InterDigit,
    /// Recording and figures take longer than `call.ended` waits.
    Closing,
}

impl Timer {
    const ALL: [Self; 9] = [
        Self::Ring,
        Self::CancelGrace,
        Self::AnswerAfterTrying,
        Self::AnswerWithin,
        Self::MaxDuration,
        Self::Verdict,
        Self::Gather,
        Self::InterDigit,
        Self::Closing,
    ];

    /// Why it ran, for the trace.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Ring => "rang as long as it may",
            Self::CancelGrace => "no final answer to our CANCEL",
            Self::AnswerAfterTrying => "makecall answers, some time after the first 100",
            Self::AnswerWithin => "makecall answers, it has waited as long as it may",
            Self::MaxDuration => "the call has lasted as long as it may",
            Self::Verdict => "no verdict from the detector",
            Self::Gather => "the entry took too long",
            Self::InterDigit => "the next digit took too long",
            Self::Closing => "recording or figures are late",
        }
    }
}

/// The timers that run.
#[derive(Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    /// Starts `timer`, anew if it runs.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        *self.slot(timer) = Some(at);
    }

    /// Stops `timer` if it runs.
    pub(super) fn stop(&mut self, timer: Timer) {
        *self.slot(timer) = None;
    }

    /// Stops all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether `timer` runs.
    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.0.get(timer as usize).is_some_and(Option::is_some)
    }

    /// The first to expire.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// The timer that expired first by `now`; it is stopped.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Timer> {
        let due = |timer: &Timer| self.0.get(*timer as usize).copied().flatten();
        let timer = Timer::ALL
            .into_iter()
            .filter(|timer| due(timer).is_some_and(|at| at <= now))
            .min_by_key(due)?;
        self.stop(timer);
        Some(timer)
    }

    #[allow(clippy::indexing_slicing, reason = "the table has a slot for every timer")]
    fn slot(&mut self, timer: Timer) -> &mut Option<Instant> {
        &mut self.0[timer as usize]
    }
}
