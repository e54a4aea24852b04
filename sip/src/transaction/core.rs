//! What the four machines share: the timers, the transport's kind, the list of actions.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Action, Outcome, Unexpected};
use crate::timer::{Timer, TimerConfig, TimerTable};

/// What outlives a state.
#[derive(Debug)]
pub(super) struct Core {
    /// Name in [`Unexpected`].
    pub(super) machine: &'static str,
    pub(super) reliable: bool,
    pub(super) config: TimerConfig,
    pub(super) timers: TimerTable,
}

impl Core {
    pub(super) fn new(machine: &'static str, reliable: bool, config: &TimerConfig) -> Self {
        Self { machine, reliable, config: *config, timers: TimerTable::default() }
    }

    /// `time` on unreliable transports, 0 on reliable ones: timers D, I, J, K (Table 4).
    pub(super) fn absorb_for(&self, time: Duration) -> Duration {
        if self.reliable { Duration::ZERO } else { time }
    }
}

/// The surroundings of one event: when, and where its actions go.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) core: &'a mut Core,
    pub(super) out: &'a mut Vec<Action>,
    pub(super) outcome: Outcome,
}

impl<'a> Context<'a> {
    pub(super) fn new(now: Instant, core: &'a mut Core, out: &'a mut Vec<Action>) -> Self {
        Self { now, core, out, outcome: Outcome::Taken }
    }

    pub(super) fn send(&mut self, data: &Bytes) {
        self.out.push(Action::Send { data: data.clone(), retransmission: false });
    }

    pub(super) fn resend(&mut self, data: &Bytes) {
        self.out.push(Action::Send { data: data.clone(), retransmission: true });
    }

    /// To the transaction user.
    pub(super) fn tell(&mut self, action: Action) {
        self.out.push(action);
    }

    pub(super) fn set(&mut self, timer: Timer, after: Duration) {
        self.core.timers.set(timer, self.now + after);
    }

    /// The state is left: its timers stop.
    pub(super) fn stop_timers(&mut self) {
        self.core.timers.clear();
    }

    /// The last arrow of every machine.
    pub(super) fn terminate(&mut self) {
        self.stop_timers();
        self.out.push(Action::Terminated);
    }

    pub(super) fn absorbed(&mut self) {
        self.outcome = Outcome::Retransmission;
    }

    pub(super) fn unexpected(&mut self, state: &'static str, event: &'static str) {
        let machine = self.core.machine;
        self.outcome = Outcome::Unexpected(Unexpected { machine, state, event });
    }
}

/// The name of a timer's event.
pub(super) fn fires(timer: Timer) -> &'static str {
    match timer {
        Timer::A => "Timer A fires",
        Timer::B => "Timer B fires",
        Timer::D => "Timer D fires",
        Timer::E => "Timer E fires",
        Timer::F => "Timer F fires",
        Timer::G => "Timer G fires",
        Timer::H => "Timer H fires",
        Timer::I => "Timer I fires",
        Timer::J => "Timer J fires",
        Timer::K => "Timer K fires",
        Timer::L => "Timer L fires",
        Timer::M => "Timer M fires",
        Timer::Trying => "200 ms pass",
    }
}
