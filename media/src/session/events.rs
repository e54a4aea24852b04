//! The events of a session on their way to its call.

use std::collections::VecDeque;

use super::command::MediaEvent;

/// Events that may wait. One input gives at most a few, but for a stop of all playbacks and a
/// close, which give one a playback and a digit string; the caller drains after each input.
const MAX_EVENTS: usize = 64;

/// Room kept for them: one input's worth. Only those two make it grow.
const USUAL_EVENTS: usize = 8;

/// The queue.
#[derive(Debug)]
pub(super) struct Events {
    queue: VecDeque<MediaEvent>,
    /// Events lost because the caller did not drain.
    pub(super) lost: u64,
}

impl Events {
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::with_capacity(USUAL_EVENTS), lost: 0 }
    }

    pub(super) fn push(&mut self, event: MediaEvent) {
        // The last event is waited for: it always finds room.
        if self.queue.len() < MAX_EVENTS || matches!(event, MediaEvent::Closed(_)) {
            self.queue.push_back(event);
        } else {
            self.lost += 1;
        }
    }

    pub(super) fn poll(&mut self) -> Option<MediaEvent> {
        self.queue.pop_front()
    }
}
