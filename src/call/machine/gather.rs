//! Collecting digits (`/gather`), and the digits nobody collects.
//!
//! ```text
//!  accepted      its turn        prompt over, or cut short by a digit
//!  ─────────► Queued ───► Prompting ───────────────────────────────► Listening
//!                            └── digits count in both; the clocks run in Listening only ──┘
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use kaphila_media::dtmf::DigitMethod;
use kaphila_media::session::PlaybackId;

use super::{Clock, KEPT_DIGITS, MAX_KEPT_DIGITS, Machine, NewPlayback, Speaking, Timer, millis};
use crate::call::api::{CommandError, GatherRequest};
use crate::call::event::{Event, GatherEnd};
use crate::call::view::GatherView;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Queued,
    Prompting,
    Listening,
}

/// A gather that runs.
#[derive(Debug)]
pub(super) struct Gather {
    request: GatherRequest,
    prompt: PlaybackId,
    digits: String,
    phase: Phase,
    started: Instant,
}

impl Gather {
    /// As events and `/calls` show it.
    pub(super) fn view(&self, clock: Clock) -> GatherView {
        GatherView {
            expected_digits: self.request.num_digits,
            digits: self.digits.clone(),
            timeout_ms: self.request.timeout.as_millis().try_into().unwrap_or(u64::MAX),
            started_at: clock.wall(self.started),
        }
    }

    fn is_complete(&self) -> bool {
        self.digits.len() >= usize::from(self.request.num_digits)
    }
}

impl Machine {
    pub(super) fn start_gather(
        &mut self,
        now: Instant,
        request: GatherRequest,
        audio: Arc<[i16]>,
    ) -> Result<(), CommandError> {
        if self.gather.is_some() {
            return Err(CommandError::GatherInProgress);
        }
        let what = NewPlayback { prompt: request.prompt.clone(), audio, play_to: request.play_to };
        let (prompt, _) = self.enqueue(now, what, Speaking::Gather)?;
        self.gather = Some(Gather {
            request,
            prompt,
            digits: String::new(),
            phase: Phase::Queued,
            started: now,
        });
        self.changed = true;
        Ok(())
    }

    /// Its prompt begins, and so does the gather.
    pub(super) fn begin_gather(&mut self, now: Instant, prompt: PlaybackId) {
        let Some(gather) = self.gather.as_mut().filter(|it| it.prompt == prompt) else { return };
        gather.phase = Phase::Prompting;
        gather.started = now;
        self.changed = true;
        let expected_digits = gather.request.num_digits;
        let (timeout_ms, flush) = (millis(gather.request.timeout), gather.request.flush);
        self.emit(now, Event::GatherStarted { expected_digits, timeout_ms });
        let kept = std::mem::take(&mut self.kept_digits);
        if !flush {
            for (_, digit) in kept.into_iter().filter(|(at, _)| *at + KEPT_DIGITS > now) {
                self.gather_digit(now, digit);
            }
        }
    }

    /// A key was pressed.
    pub(super) fn digit(&mut self, now: Instant, digit: char, method: DigitMethod, ms: u32) {
        let method = method.as_str();
        self.emit(now, Event::DtmfReceived { digit: digit.into(), method, duration_ms: ms });
        if self.gather.as_ref().is_some_and(|gather| gather.phase != Phase::Queued) {
            self.gather_digit(now, digit);
            self.play_on(now);
            return;
        }
        if self.kept_digits.len() == MAX_KEPT_DIGITS {
            self.kept_digits.pop_front();
        }
        self.kept_digits.push_back((now, digit));
    }

    fn gather_digit(&mut self, now: Instant, digit: char) {
        let Some(gather) = &mut self.gather else { return };
        self.changed = true;
        if gather.phase == Phase::Prompting && gather.request.barge_in {
            let prompt = gather.prompt;
            self.cut(prompt);
            self.listen(now);
        }
        let Some(gather) = &mut self.gather else { return };
        if gather.request.finish_on_key == Some(digit) {
            return self.gather_complete(now);
        }
        gather.digits.push(digit);
        let (complete, listening) = (gather.is_complete(), gather.phase == Phase::Listening);
        let remaining = usize::from(gather.request.num_digits).saturating_sub(gather.digits.len());
        let digits = gather.digits.clone();
        let pause = gather.request.inter_digit_timeout;
        self.emit(now, Event::GatherProgress { digit: digit.into(), digits, remaining });
        if complete {
            self.gather_complete(now);
        } else if listening {
            self.await_next_digit(now, pause);
        }
    }

    /// The prompt of a gather is over by itself.
    pub(super) fn prompt_ended(&mut self, now: Instant, prompt: PlaybackId) {
        if self.gather.as_ref().is_some_and(|it| it.prompt == prompt) {
            self.listen(now);
        }
    }

    /// From here on the clocks run.
    fn listen(&mut self, now: Instant) {
        let Some(gather) = &mut self.gather else { return };
        gather.phase = Phase::Listening;
        self.timers.set(Timer::Gather, now + gather.request.timeout);
        if !gather.digits.is_empty() {
            let pause = gather.request.inter_digit_timeout;
            self.await_next_digit(now, pause);
        }
    }

    fn await_next_digit(&mut self, now: Instant, pause: Option<Duration>) {
        if let Some(pause) = pause {
            self.timers.set(Timer::InterDigit, now + pause);
        }
    }

    fn gather_complete(&mut self, now: Instant) {
        if let Some(gather) = self.end_gather() {
            let (digits, expected_digits) = (gather.digits, gather.request.num_digits);
            self.emit(now, Event::GatherComplete { digits, expected_digits });
        }
    }

    /// A gather that runs ends without being complete, for `reason`.
    pub(super) fn gather_timeout(&mut self, now: Instant, reason: GatherEnd) {
        if let Some(gather) = self.end_gather() {
            let (digits, expected_digits) = (gather.digits, gather.request.num_digits);
            self.emit(now, Event::GatherTimeout { digits, expected_digits, reason });
        }
    }

    fn end_gather(&mut self) -> Option<Gather> {
        self.timers.stop(Timer::Gather);
        self.timers.stop(Timer::InterDigit);
        self.changed = true;
        self.gather.take()
    }
}
