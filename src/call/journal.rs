//! What a call has to write, until it is written.
//!
//! It knows the order of the writes and which go into one transaction. It refuses to know when to
//! try again. Start at [`Journal::next_batch`].

use std::collections::VecDeque;

use kaphila_sip::invite::Identity;

use super::machine::{Destination, Write};
use crate::store::{CallRef, Leg, Millis, NewEvent, Store, StoreError};

/// Writes that may wait while the database is away: an hour of a caller pressing keys. Beyond that
/// events are dropped; answers, ends and recordings never are.
const MAX_WAITING: usize = 4_096;
/// Events in one transaction.
const MAX_EVENTS: usize = 64;

/// The writes of one call, in order.
#[derive(Debug, Default)]
pub(super) struct Journal {
    waiting: VecDeque<Write>,
    /// Events that found no room.
    dropped: u64,
}

/// One transaction: a change of the call and the events around it.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    change: Option<Change>,
    events: Vec<NewEvent>,
}

#[derive(Debug, Clone)]
enum Change {
    Dialled(String, Leg),
    Answered(crate::store::Answered),
    Heard(crate::store::AmdResult),
    Ended(Box<crate::store::Ended>),
    RecordingStarted(crate::store::NewRecording),
    RecordingFinished(crate::store::FinishedRecording),
}

impl Journal {
    /// Adds a write.
    pub(super) fn push(&mut self, write: Write) {
        if matches!(write, Write::Event(_)) && self.waiting.len() >= MAX_WAITING {
            self.dropped += 1;
            return;
        }
        self.waiting.push_back(write);
    }

    /// Events that found no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next transaction: events up to the next change, that, and the events after it. `leg`
    /// makes the row of an INVITE of trunk `n`.
    pub(super) fn next_batch(
        &mut self,
        leg: impl Fn(&Destination, Identity) -> (String, Leg),
    ) -> Option<Batch> {
        let mut batch = Batch { change: None, events: Vec::new() };
        while let Some(write) = self.waiting.pop_front() {
            let is_change = !matches!(write, Write::Event(_));
            if (is_change && batch.change.is_some()) || batch.events.len() >= MAX_EVENTS {
                self.waiting.push_front(write);
                break;
            }
            match write {
                Write::Event(event) => batch.events.push(event),
                Write::Dialled(to, identity) => {
                    let (name, leg) = leg(&to, identity);
                    batch.change = Some(Change::Dialled(name, leg));
                }
                Write::Answered(answered) => batch.change = Some(Change::Answered(answered)),
                Write::Heard(amd) => batch.change = Some(Change::Heard(amd)),
                Write::Ended(ended) => batch.change = Some(Change::Ended(ended)),
                Write::RecordingStarted(it) => batch.change = Some(Change::RecordingStarted(it)),
                Write::RecordingFinished(it) => {
                    batch.change = Some(Change::RecordingFinished(it));
                }
            }
        }
        (batch.change.is_some() || !batch.events.is_empty()).then_some(batch)
    }
}

impl Batch {
    /// Writes it. May be called again after an error: what is stored already stays as it is.
    pub(super) async fn write(
        self,
        store: &Store,
        call: &CallRef,
        now: Millis,
    ) -> Result<(), StoreError> {
        let events = self.events;
        match self.change {
            None => store.append_events(call, now, events).await,
            Some(Change::Dialled(trunk, leg)) => {
                store.trunk_tried(call, &trunk, leg).await?;
                store.append_events(call, now, events).await
            }
            Some(Change::Answered(it)) => store.answered(call, it, events).await.map(drop),
            Some(Change::Heard(it)) => store.heard(call, now, it, events).await,
            Some(Change::Ended(it)) => store.ended(call, *it, events).await.map(drop),
            Some(Change::RecordingStarted(it)) => store.recording_started(call, it, events).await,
            Some(Change::RecordingFinished(it)) => store.recording_finished(call, it, events).await,
        }
    }

    /// Whether it notes the call's answer.
    pub(super) fn is_answer(&self) -> bool {
        matches!(self.change, Some(Change::Answered(_)))
    }

    /// What is in it, for logs.
    pub(super) fn name(&self) -> &'static str {
        match self.change {
            None => "events",
            Some(Change::Dialled(..)) => "dialled",
            Some(Change::Answered(_)) => "answered",
            Some(Change::Heard(_)) => "verdict",
            Some(Change::Ended(_)) => "ended",
            Some(Change::RecordingStarted(_)) => "recording started",
            Some(Change::RecordingFinished(_)) => "recording finished",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Answered;

    fn event(sequence: i64) -> Write {
        Write::Event(NewEvent { sequence, event: "x".to_owned(), payload: "{}".to_owned() })
    }

    fn answered() -> Write {
        Write::Answered(Answered { at: Millis(0), trunk: None, dialog: String::new() })
    }

    fn batches(journal: &mut Journal) -> Vec<(&'static str, Vec<i64>)> {
        let next = || {
            journal.next_batch(|_, identity| {
                let leg = Leg {
                    sip_call_id: identity.call_id,
                    from_tag: identity.from_tag,
                    branch: identity.branch,
                    cseq: 1,
                    remote: String::new(),
                    transport: String::new(),
                };
                (String::new(), leg)
            })
        };
        std::iter::from_fn(next)
            .map(|it| (it.name(), it.events.iter().map(|event| event.sequence).collect()))
            .collect()
    }

    #[test]
    fn a_change_and_the_events_around_it_are_one_transaction() {
        let mut journal = Journal::default();
        for write in [event(2), answered(), event(3), event(4), answered(), event(5)] {
            journal.push(write);
        }
        assert_eq!(batches(&mut journal), [("answered", vec![2, 3, 4]), ("answered", vec![5])]);
        journal.push(event(6));
        assert_eq!(batches(&mut journal), [("events", vec![6])]);
        assert_eq!(batches(&mut journal), []);
    }

    #[test]
    fn a_transaction_has_an_end() {
        let mut journal = Journal::default();
        (0..100).map(event).for_each(|write| journal.push(write));
        let batches = batches(&mut journal);
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].1.len(), MAX_EVENTS);
    }

    #[test]
    fn events_may_be_dropped_and_changes_never_are() {
        let mut journal = Journal::default();
        (0..MAX_WAITING as i64 + 10).map(event).for_each(|write| journal.push(write));
        journal.push(answered());
        assert_eq!(journal.dropped(), 10);
        assert!(matches!(journal.waiting.back(), Some(Write::Answered(_))));
    }
}
