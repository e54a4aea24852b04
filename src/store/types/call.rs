//! Calls from the placing to the row that remains.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{KeyId, TrunkId};
use crate::store::Millis;

/// Where a call is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallStatus {
    /// Placed, no answer yet.
    Ringing,
    /// Talking.
    Answered,
    /// Was answered and has ended.
    Completed,
    /// The callee was busy.
    Busy,
    /// Nobody answered in time.
    NoAnswer,
    /// Could not be carried.
    Failed,
    /// We hung up before an answer.
    Canceled,
}

impl CallStatus {
    /// Every status, in the order of a call's life.
    pub const ALL: [Self; 7] = [
        Self::Ringing,
        Self::Answered,
        Self::Completed,
        Self::Busy,
        Self::NoAnswer,
        Self::Failed,
        Self::Canceled,
    ];

    /// The API's and the database's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// No more changes after this.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Ringing | Self::Answered)
    }
}

impl TryFrom<String> for CallStatus {
    type Error = UnknownStatus;

    fn try_from(text: String) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownStatus(text))
    }
}

impl fmt::Display for CallStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for CallStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::try_from(text).map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for CallStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A status that is none of ours.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no call status")]
pub struct UnknownStatus(String);

/// Which way a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Placed by us; takes a hold, then a credit.
    Outbound,
    /// Came from a trunk; free.
    Inbound,
}

impl Direction {
    /// The API's and the database's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }

    /// The way that the database's word names.
    pub fn from_word(word: &str) -> Self {
        if word == Self::Inbound.as_str() { Self::Inbound } else { Self::Outbound }
    }
}

/// What the SIP side must know to cancel a leg that outlived the process (design rule 7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Leg {
    /// SIP Call-ID.
    pub sip_call_id: String,
    /// Our From tag.
    pub from_tag: String,
    /// Branch of the INVITE.
    pub branch: String,
    /// CSeq of the INVITE.
    pub cseq: i64,
    /// The address it was sent to, as text.
    pub remote: String,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
}

/// Proof that a call has its row and, where it costs something, its hold; made by placing. All
/// that is written about the call later takes it.
#[derive(Clone, Debug)]
pub struct CallRef {
    pub(in crate::store) id: i64,
    pub(in crate::store) call_id: Arc<str>,
    pub(in crate::store) key: KeyId,
    pub(in crate::store) webhook_url: Option<Arc<str>>,
}

impl CallRef {
    /// `<unix seconds>.<n>`.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The key it belongs to.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Where its events go; without one they are not stored.
    pub fn webhook_url(&self) -> Option<&str> {
        self.webhook_url.as_deref()
    }
}

/// The client's `Idempotency-Key` and what it was sent with.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// The header's value.
    pub token: String,
    /// A hash of path and body; another one under the same token is a conflict.
    pub body_hash: String,
}

/// What an idempotency token already stands for.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Remembered {
    /// The call it placed.
    pub call_id: String,
    /// Hash of the first request.
    pub body_hash: String,
    /// Status of the first answer; `None` while it is under way (or was lost in a crash).
    pub status: Option<i64>,
    /// Body of the first answer.
    pub response: Option<String>,
}

/// A call about to be placed.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// Now.
    pub now: Millis,
    /// Which way.
    pub direction: Direction,
    /// The far end's number: who is called, or who calls us. Cleaned digits.
    pub number: String,
    /// The number called: `number` on outbound calls, ours on inbound ones.
    pub callee: String,
    /// The caller id shown.
    pub caller_id: Option<String>,
    /// Where events go.
    pub webhook_url: Option<String>,
    /// The customer's JSON object, as text.
    pub metadata: Option<String>,
    /// Answering machine detection is on.
    pub use_amd: bool,
    /// Voice of spoken text.
    pub voice_name: Option<String>,
    /// Milliseconds it may ring on one trunk.
    pub ring_timeout_ms: i64,
    /// To be recorded.
    pub record: bool,
    /// The trunk dialled first.
    pub trunk: Option<(TrunkId, String)>,
    /// The leg about to be sent, or the one that came.
    pub leg: Leg,
    /// The dialog of a leg that came: known before it is answered.
    pub dialog: Option<String>,
    /// The client's idempotency token.
    pub idempotency: Option<Idempotency>,
}

/// A placed call.
#[derive(Clone, Debug)]
pub struct Placed {
    /// What later writes take.
    pub call: CallRef,
    /// The balance before this call's deduction.
    pub credits: i64,
}

/// A call that was answered: its hold becomes a deduction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// When the 200 came.
    pub at: Millis,
    /// The trunk that carried it.
    pub trunk: Option<String>,
    /// The dialog, in the SIP layer's own text: what a BYE after a crash needs.
    pub dialog: String,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Millis,
    /// A terminal status.
    pub status: CallStatus,
    /// The API's `endReason`.
    pub end_reason: String,
    /// Q.850 cause.
    pub hangup_cause: String,
    /// `callee`, `caller`, `api`, `system`, `carrier`.
    pub ended_by: String,
    /// When it was answered; repairs an answer that could not be written at its time.
    pub answered_at: Option<Millis>,
    /// Whole seconds from answer to end.
    pub duration_secs: i64,
    /// Status of the final response, if one came.
    pub sip_status: Option<i64>,
    /// Its reason phrase.
    pub sip_reason: Option<String>,
    /// The last trunk dialled.
    pub trunk: Option<String>,
    /// The last verdict.
    pub amd: Option<AmdResult>,
    /// JSON of the attempts.
    pub attempts: Option<String>,
    /// JSON of the media quality.
    pub quality: Option<String>,
}

/// The detector's verdict as rows and events show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AmdResult {
    /// `HUMAN`, `MACHINE`, `NOTSURE`, `UNKNOWN`.
    pub status: String,
    /// `INITIALSILENCE` and so on.
    pub cause: String,
    /// 0 to 1.
    pub confidence: f64,
}

/// A call's row.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct CallRow {
    /// `<unix seconds>.<n>`.
    pub call_id: String,
    /// The far end's number.
    pub number: String,
    /// The caller id shown.
    pub caller_id: Option<String>,
    /// `outbound` or `inbound`.
    pub direction: String,
    /// Where it is in its life.
    #[sqlx(try_from = "String")]
    pub status: CallStatus,
    /// The customer's JSON.
    pub metadata: Option<String>,
    /// The trunk that carried it.
    pub trunk: Option<String>,
    /// When it was placed.
    pub created_at: Millis,
    /// When it was answered.
    pub answered_at: Option<Millis>,
    /// When it ended.
    pub ended_at: Option<Millis>,
    /// The API's `endReason`.
    pub end_reason: Option<String>,
    /// Q.850 cause.
    pub hangup_cause: Option<String>,
    /// Who ended it.
    pub ended_by: Option<String>,
    /// Final SIP status.
    pub sip_status: Option<i64>,
    /// Whole seconds from answer to end.
    pub duration: i64,
    /// The last verdict.
    pub amd_status: Option<String>,
    /// Its cause.
    pub amd_cause: Option<String>,
    /// Its confidence.
    pub amd_confidence: Option<f64>,
}

impl CallRow {
    /// The detector's verdict, if there is one.
    #[must_use]
    pub fn amd(&self) -> Option<AmdResult> {
        Some(AmdResult {
            status: self.amd_status.clone()?,
            cause: self.amd_cause.clone()?,
            confidence: self.amd_confidence?,
        })
    }
}

/// A call that had not ended when its process died.
#[derive(Clone, Debug)]
pub struct OpenCall {
    /// For later writes.
    pub call: CallRef,
    /// The row.
    pub row: CallRow,
    /// The number called.
    pub callee: String,
    /// The leg to cancel, when it was never answered.
    pub leg: Leg,
    /// The dialog to hang up, when it was.
    pub dialog: Option<String>,
    /// The sequence number of its next event.
    pub next_sequence: i64,
}
