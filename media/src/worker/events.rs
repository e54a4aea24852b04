//! The events of one call on their way to its task.
//!
//! It knows a bounded channel and what waits when that is full. It refuses to wait, and to lose a
//! digit, a verdict or an end: only what a task can do without is dropped. Start at
//! [`Events::push`].

use std::collections::VecDeque;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::session::MediaEvent;

/// Events that wait behind a full channel. A task that leaves this many digits unread (a minute
/// of hammering on the keys) is dead: what comes then is dropped whatever it is.
const OVERFLOW: usize = 512;

/// The way to one call's task.
#[derive(Debug)]
pub(crate) struct Events {
    channel: Sender<MediaEvent>,
    /// Empty, without memory, unless the task is slow.
    overflow: VecDeque<MediaEvent>,
}

impl Events {
    pub(crate) fn new(channel: Sender<MediaEvent>) -> Self {
        Self { channel, overflow: VecDeque::new() }
    }

    /// Sends `event` after those that wait; the number of events dropped for it.
    pub(crate) fn push(&mut self, event: MediaEvent) -> u64 {
        self.flush();
        if self.overflow.is_empty() {
            match self.channel.try_send(event) {
                Err(TrySendError::Full(event)) => self.overflow.push_back(event),
                Ok(()) | Err(TrySendError::Closed(_)) => {}
            }
            return 0;
        }
        let mut dropped = 0;
        if self.overflow.len() >= OVERFLOW {
            let expendable = self.overflow.iter().position(is_expendable);
            dropped = 1;
            match expendable {
                Some(at) => drop(self.overflow.remove(at)),
                None => return dropped,
            }
        }
        self.overflow.push_back(event);
        dropped
    }

    /// Hands over what waits; true when nothing does any more, or nobody will take it.
    pub(crate) fn flush(&mut self) -> bool {
        while let Some(event) = self.overflow.pop_front() {
            match self.channel.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.overflow.push_front(event);
                    return false;
                }
                Err(TrySendError::Closed(_)) => self.overflow.clear(),
            }
        }
        true
    }
}

/// What a task can do without when it is so slow.
fn is_expendable(event: &MediaEvent) -> bool {
    matches!(event, MediaEvent::PlaybackStarted { .. } | MediaEvent::EarlyMedia)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{DigitMethod, PlaybackId};
    use tokio::sync::mpsc::{Receiver, channel};

    fn digit(n: u32) -> MediaEvent {
        MediaEvent::Digit { digit: '1', method: DigitMethod::Rfc4733, duration_ms: n }
    }

    fn take(receiver: &mut Receiver<MediaEvent>, events: &mut Events) -> Vec<MediaEvent> {
        let mut all = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            all.push(event);
            events.flush();
        }
        all
    }

    #[test]
    fn a_slow_task_gets_every_digit_in_order() {
        let (sender, mut receiver) = channel(2);
        let mut events = Events::new(sender);
        let digits: Vec<_> = (0..300).map(digit).collect();
        let dropped: u64 = digits.iter().map(|event| events.push(event.clone())).sum();
        assert!(!events.flush());
        assert_eq!(dropped, 0);
        assert_eq!(take(&mut receiver, &mut events), digits);
        assert!(events.flush());
    }

    #[test]
    fn only_what_can_be_done_without_is_dropped() {
        let (sender, mut receiver) = channel(1);
        let mut events = Events::new(sender);
        let started = |n| MediaEvent::PlaybackStarted { id: PlaybackId(n) };
        (0..OVERFLOW as u64).for_each(|n| assert_eq!(events.push(started(n)), 0));
        let dropped: u64 = (0..100).map(|n| events.push(digit(n))).sum();
        assert_eq!(dropped, 99);
        let got = take(&mut receiver, &mut events);
        let digits: Vec<_> = (0..100).map(digit).collect();
        assert_eq!(got.len(), 1 + OVERFLOW);
        assert_eq!(got[got.len() - 100..], digits);
    }

    #[test]
    fn a_task_that_is_gone_keeps_nothing_alive() {
        let (sender, receiver) = channel(1);
        let mut events = Events::new(sender);
        (0..5).for_each(|n| assert_eq!(events.push(digit(n)), 0));
        drop(receiver);
        assert!(events.flush());
        assert!(events.overflow.is_empty());
    }
}
