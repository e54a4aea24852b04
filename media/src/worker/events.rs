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
