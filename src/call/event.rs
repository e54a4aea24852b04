//! The JSON of webhook events.
//!
//! It knows the fields that every event has. It refuses to know when an event is sent; that is the
//! machine's. Start at [`payload`].

use serde_json::{Map, Value, json};

use super::api::RecordingView;
use super::cause::Status;
use super::view::{AmdView, GatherView};
use crate::store::{Direction, Millis};

/// The call that an event is about, as it is at that moment.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// `<unix seconds>.<n>`.
    pub(crate) call_id: &'a str,
    /// Which way it goes.
    pub(crate) direction: Direction,
    /// Who is at the other end, cleaned.
    pub(crate) number: &'a str,
    /// Whom it calls: on a call that came in, our number.
    pub(crate) to: &'a str,
    /// The caller id shown.
    pub(crate) caller_id: Option<&'a str>,
    /// Its status.
    pub(crate) status: Status,
    /// What the customer attached; left out where there is nothing.
    pub(crate) metadata: Option<&'a Map<String, Value>>,
    /// The detector's last verdict.
    pub(crate) amd: Option<&'a AmdView>,
    /// The gather that runs.
    pub(crate) gather: Option<GatherView>,
    /// Its recording.
    pub(crate) recording: Option<RecordingView>,
}

/// The body of an event: what every event has, and `fields` (an object), which are its own.
#[must_use]
pub(crate) fn payload(
    subject: &Subject<'_>,
    event: &str,
    at: Millis,
    sequence: i64,
    fields: Value,
) -> String {
    let mut body = json!({
        "callId": subject.call_id,
        "timestamp": at.to_rfc3339(),
        "event": event,
        "sequenceNumber": sequence,
        "direction": subject.direction.as_str(),
        "number": subject.number,
        "to": subject.to,
        "from": subject.caller_id,
        "callerId": subject.caller_id,
        "status": subject.status.as_str(),
        "amd": subject.amd.map(AmdView::shown),
        "gather": subject.gather.as_ref().map(GatherView::shown),
        "recording": subject.recording.as_ref().map(RecordingView::shown),
    });
    if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
        if let Some(metadata) = subject.metadata {
            body.insert("metadata".to_owned(), Value::Object(metadata.clone()));
        }
        body.extend(fields);
    }
    body.to_string()
}
