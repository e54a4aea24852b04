//! One record of the journal, and its line.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::store::Millis;
use crate::store::types::{
    AmdResult, Answered, CallRef, Ended, FinishedRecording, KeyId, Leg, NewEvent, NewRecording,
};

/// Hexadecimal digits of a line's checksum.
const CHECKSUM: usize = 16;

/// Something that a live call wrote, or a sign of life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct Record {
    /// The call; none: this node's sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<Call>,
    what: What,
}

/// A [`CallRef`] as it is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    id: i64,
    call_id: String,
    key: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    webhook_url: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::store) enum What {
    /// Another leg on this trunk.
    TrunkTried(String, Leg),
    /// The answer.
    Answered(Answered, Vec<NewEvent>),
    /// The detector's verdict.
    Heard(Millis, AmdResult, Vec<NewEvent>),
    /// The end.
    Ended(Ended, Vec<NewEvent>),
    /// Events alone.
    Events(Millis, Vec<NewEvent>),
    /// A recording has begun.
    RecordingStarted(NewRecording, Vec<NewEvent>),
    /// A recording is complete.
    RecordingFinished(FinishedRecording, Vec<NewEvent>),
    /// The node lived.
    Heartbeat(Millis),
}

impl Record {
    /// Of a call.
    pub(in crate::store) fn of(call: &CallRef, what: What) -> Self {
        let call = Call {
            id: call.id,
            call_id: call.call_id.to_string(),
            key: call.key.0,
            webhook_url: call.webhook_url.as_deref().map(str::to_owned),
        };
        Self { call: Some(call), what }
    }

    /// This node lives.
    pub(in crate::store) fn heartbeat(now: Millis) -> Self {
        Self { call: None, what: What::Heartbeat(now) }
    }

    /// The call it is about.
    pub(in crate::store) fn call(&self) -> Option<CallRef> {
        self.call.as_ref().map(|call| CallRef {
            id: call.id,
            call_id: call.call_id.as_str().into(),
            key: KeyId(call.key),
            webhook_url: call.webhook_url.as_deref().map(Into::into),
        })
    }

    /// What happened.
    pub(in crate::store) const fn what(&self) -> &What {
        &self.what
    }

    /// Its line.
    pub(super) fn to_line(&self) -> String {
        // Only a map with keys that are no text cannot be written; there is none in a record.
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{} {text}\n", checksum(text.as_bytes()))
    }

    /// Reads a line; `None`: it is not whole.
    pub(super) fn from_line(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n")?;
        let (sum, text) = line.split_at_checked(CHECKSUM)?;
        let text = text.strip_prefix(b" ")?;
        (sum == checksum(text).as_bytes()).then(|| serde_json::from_slice(text).ok())?
    }
}

fn checksum(text: &[u8]) -> String {
    let hash = Sha256::digest(text);
    hash.iter().take(CHECKSUM / 2).map(|byte| format!("{byte:02x}")).collect()
}
