//! Webhook events.

use std::fmt;
use std::sync::Arc;

use super::KeyId;
use crate::store::Millis;

/// One webhook event of a call. The caller numbers them from 1 without gaps and builds the JSON;
/// the store keeps and sends that text.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NewEvent {
    /// `sequenceNumber`, also inside the payload.
    pub sequence: i64,
    /// `call.initiated` and so on.
    pub event: String,
    /// The JSON body.
    pub payload: String,
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent")
            .field("sequence", &self.sequence)
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// A committed event on its way to the customer.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The call's number in the store.
    pub call: i64,
    /// `<unix seconds>.<n>`.
    pub call_id: Arc<str>,
    /// `sequenceNumber`.
    pub sequence: i64,
    /// Whose.
    pub key: KeyId,
    /// `call.ended` and so on.
    pub event: String,
    /// Where to.
    pub url: Arc<str>,
    /// The JSON body.
    pub payload: String,
    /// Attempts already made.
    pub attempts: i64,
    /// Not before this.
    pub next_at: Millis,
    /// When it was committed.
    pub created_at: Millis,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("call_id", &self.call_id)
            .field("sequence", &self.sequence)
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// What became of one attempt to deliver an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The call's number in the store.
    pub call: i64,
    /// `sequenceNumber`.
    pub sequence: i64,
    /// When.
    pub at: Millis,
    /// What.
    pub fate: Fate,
}

/// The state in which an attempt leaves an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A 2xx came.
    Delivered,
    /// To be tried again.
    Retry {
        /// Attempts made so far.
        attempts: i64,
        /// When next.
        next_at: Millis,
        /// What went wrong.
        error: String,
    },
    /// Given up.
    Dead {
        /// Attempts made.
        attempts: i64,
        /// What went wrong last.
        error: String,
    },
}

/// A delivery and its state, without what it holds.
#[derive(Clone, Debug, PartialEq, serde::Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// `<unix seconds>.<n>`.
    pub call_id: String,
    /// `sequenceNumber`.
    pub sequence: i64,
    /// `call.ended` and so on.
    pub event: String,
    /// Where to.
    pub url: String,
    /// `pending`, `delivered`, `dead`.
    pub state: String,
    /// Attempts made.
    pub attempts: i64,
    /// When next, if pending.
    pub next_at: Millis,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was committed.
    pub created_at: Millis,
    /// When a 2xx came.
    pub delivered_at: Option<Millis>,
}

/// What came of asking for a delivery to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// It is pending and due now, with its attempts counted from the start.
    Queued,
    /// It was delivered, and what it held was erased a day later.
    Erased,
    /// There is no such delivery.
    NotFound,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body can hold digits, a URL a token of the receiver.
    #[test]
    fn what_an_event_says_and_where_it_goes_is_not_shown() {
        let new = NewEvent {
            sequence: 7,
            event: "gather.complete".into(),
            payload: r#"{"digits":"4711"}"#.into(),
        };
        let out = Outgoing {
            call: 1,
            call_id: "17.1".into(),
            sequence: 7,
            key: KeyId(1),
            event: new.event.clone(),
            url: "https://hooks.example/?token=4711".into(),
            payload: new.payload.clone(),
            attempts: 0,
            next_at: Millis(0),
            created_at: Millis(0),
        };
        for shown in [format!("{new:?}"), format!("{out:?}")] {
            assert!(shown.contains("gather.complete") && shown.contains('7'), "{shown}");
            assert!(!shown.contains("4711"), "{shown}");
        }
    }
}
