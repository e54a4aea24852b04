//! Committed events on their way to the deliverer, in memory. The database is the truth: what
//! does not fit here is found there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::types::Outgoing;

/// Events that may wait for the deliverer's attention: a second's worth at full load.
const QUEUE: usize = 4_096;

/// The writer's end.
#[derive(Clone)]
pub(super) struct Handover {
    events: mpsc::Sender<Outgoing>,
    /// Something was not handed over.
    missed: Arc<AtomicBool>,
}

/// The deliverer's end.
pub struct Committed {
    events: mpsc::Receiver<Outgoing>,
    missed: Arc<AtomicBool>,
}

/// Both ends.
pub(super) fn handover() -> (Handover, Committed) {
    let (sender, events) = mpsc::channel(QUEUE);
    let missed = Arc::new(AtomicBool::new(false));
    (Handover { events: sender, missed: missed.clone() }, Committed { events, missed })
}

impl Handover {
    /// Hands committed events over; never waits.
    pub(super) fn send(&self, events: Vec<Outgoing>) {
        for event in events {
            if self.events.try_send(event).is_err() {
                self.missed.store(true, Ordering::Release);
            }
        }
    }
}

impl Committed {
    /// The next event; `None` once the store is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Outgoing> {
        self.events.recv().await
    }

    /// The next event, if one is there.
    pub fn try_next(&mut self) -> Option<Outgoing> {
        self.events.try_recv().ok()
    }

    /// Whether events have been committed that were not handed over, since last asked.
    pub fn take_missed(&self) -> bool {
        self.missed.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{KeyId, Millis};

    #[test]
    fn what_does_not_fit_is_told_once() {
        let (handover, mut committed) = handover();
        let event = |sequence| Outgoing {
            call: 1,
            call_id: "1.1".into(),
            sequence,
            key: KeyId(1),
            event: "test".to_owned(),
            url: "https://example.com/".into(),
            payload: "{}".to_owned(),
            attempts: 0,
            next_at: Millis(0),
            created_at: Millis(0),
        };
        let fits = i64::try_from(QUEUE).unwrap();
        handover.send((0..fits).map(event).collect());
        assert!(!committed.take_missed());
        handover.send(vec![event(fits)]);
        assert!(committed.take_missed());
        assert!(!committed.take_missed());
        let kept = std::iter::from_fn(|| committed.try_next()).map(|event| event.sequence);
        assert!(kept.eq(0..fits));
    }
}
