//! The plain types that go into the store and come out of it. They know no SQL.

use std::fmt;
use std::sync::Arc;

use super::Millis;

/// The row number of an API key (`/api/me` shows it as `id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct KeyId(pub i64);

/// The row number of a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct TrunkId(pub i64);

/// A list of strings, in a text column as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct List(pub Vec<String>);

impl List {
    /// The column's text.
    pub(super) fn to_json(&self) -> String {
        serde_json::Value::from(self.0.clone()).to_string()
    }
}

impl TryFrom<String> for List {
    type Error = serde_json::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        serde_json::from_str(&text).map(Self)
    }
}

impl std::ops::Deref for List {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

/// An API key's account as stored. No secret is in it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Key {
    /// Row number.
    #[sqlx(rename = "id")]
    pub key: KeyId,
    /// Public name, `key_…`.
    pub key_id: String,
    /// What its owner calls it.
    pub name: String,
    /// Credits not yet deducted; holds are part of them.
    pub credits: i64,
    /// Credits held by calls that still ring.
    pub holds: i64,
    /// Requests an hour.
    pub rate_limit: i64,
    /// Calls ever placed.
    pub total_calls: i64,
    /// Calls that ended `completed`.
    pub successful_calls: i64,
    /// The caller id of calls that name none.
    pub caller_id: Option<String>,
    /// The caller ids it may use; empty: any.
    #[sqlx(try_from = "String")]
    pub allowed_caller_ids: List,
    /// Whether calls are recorded unless the request says otherwise.
    pub record_default: bool,
    /// Calls at a time; `None`: no cap.
    pub max_calls: Option<i64>,
    /// New calls in any second; `None`: no cap.
    pub max_cps: Option<i64>,
    /// Number prefixes it may dial; empty: any.
    #[sqlx(try_from = "String")]
    pub allow_prefixes: List,
    /// Number prefixes it may not dial.
    #[sqlx(try_from = "String")]
    pub deny_prefixes: List,
    /// No longer accepted.
    pub revoked: bool,
    /// When it was made.
    pub created_at: Millis,
    /// When it last made a request.
    pub last_used: Option<Millis>,
}

/// Proof that a request showed a valid key: only [`Store::authenticate`](super::Store::authenticate)
/// makes one, and every query on behalf of a customer takes it. Its figures are as old as the
/// authentication (1 s at most); [`Store::account`](super::Store::account) reads fresh ones.
#[derive(Clone, Debug)]
pub struct Authenticated(pub(super) Arc<Key>);

impl std::ops::Deref for Authenticated {
    type Target = Key;

    fn deref(&self) -> &Key {
        &self.0
    }
}

/// What `count_request` decided and what the rate-limit headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateDecision {
    /// Within the limit.
    pub allowed: bool,
    /// Requests an hour.
    pub limit: i64,
    /// Requests left in this window.
    pub remaining: i64,
    /// Seconds until the window ends, rounded up; 1 to 3600.
    pub reset_secs: i64,
}

/// A trunk as an operator describes it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct TrunkSettings {
    /// Its name, as reported to customers.
    pub name: String,
    /// Where it is dialled: `sip:host[:port][;transport=…]`.
    pub uri: String,
    /// Put before every number.
    pub prefix: String,
    /// The caller id when neither request nor key has one.
    pub caller_id: Option<String>,
    /// The host part of From; `None`: our own address.
    pub from_domain: Option<String>,
    /// `pai`, `rpid` or `none`.
    pub identity: String,
    /// Calls at a time; `None`: no cap.
    pub max_channels: Option<i64>,
    /// New calls in any second; `None`: no cap.
    pub max_cps: Option<i64>,
    /// Codecs offered, best first; empty: the configured ones.
    #[sqlx(try_from = "String")]
    pub codecs: List,
    /// CIDRs from which its requests may come, besides its resolved addresses.
    #[sqlx(try_from = "String")]
    pub allow: List,
    /// Latch the first RTP stream from any address (NAT).
    pub learn_rtp: bool,
    /// Numbers may hold `*` and `#`.
    pub allow_star_hash: bool,
    /// Number prefixes it takes; empty: any.
    #[sqlx(try_from = "String")]
    pub allow_prefixes: List,
    /// Number prefixes it does not take.
    #[sqlx(try_from = "String")]
    pub deny_prefixes: List,
}

impl TrunkSettings {
    /// A trunk with every setting at its default.
    pub fn new(name: impl Into<String>, uri: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            uri: uri.into(),
            prefix: "00".to_owned(),
            caller_id: None,
            from_domain: None,
            identity: "none".to_owned(),
            max_channels: None,
            max_cps: None,
            codecs: List::default(),
            allow: List::default(),
            learn_rtp: false,
            allow_star_hash: false,
            allow_prefixes: List::default(),
            deny_prefixes: List::default(),
        }
    }
}

/// A trunk as stored.
#[derive(Clone, Debug, PartialEq, serde::Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Trunk {
    /// Row number.
    #[serde(skip)]
    pub id: TrunkId,
    /// What the operator said.
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub settings: TrunkSettings,
    /// Not dialled while set.
    pub disabled: bool,
    /// When it was added.
    pub created_at: Millis,
    /// When it was last changed.
    pub updated_at: Millis,
}

/// The trunks a key may use, in its order.
#[derive(Clone, Debug)]
pub struct KeyTrunks {
    /// Assigned trunks, disabled ones too (`totalTrunks` counts them).
    pub trunks: Vec<Trunk>,
    /// The trunk with which the key's last stored call began; round robin starts after it.
    pub last: Option<TrunkId>,
}

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
}

/// What the SIP side must know to cancel a leg that outlived the process (design rule 7).
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
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
    pub(super) id: i64,
    pub(super) call_id: Arc<str>,
    pub(super) key: KeyId,
    pub(super) webhook_url: Option<Arc<str>>,
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
    /// The leg about to be sent.
    pub leg: Leg,
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

/// One webhook event of a call. The caller numbers them from 1 without gaps and builds the JSON;
/// the store keeps and sends that text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// `sequenceNumber`, also inside the payload.
    pub sequence: i64,
    /// `call.initiated` and so on.
    pub event: String,
    /// The JSON body.
    pub payload: String,
}

/// A call that was answered: its hold becomes a deduction.
#[derive(Clone, Debug)]
pub struct Answered {
    /// When the 200 came.
    pub at: Millis,
    /// The trunk that carried it.
    pub trunk: Option<String>,
    /// The dialog, in the SIP layer's own text: what a BYE after a crash needs.
    pub dialog: String,
}

/// How a call ended.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug, PartialEq)]
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

/// A recording's row.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Recording {
    /// The file's name without `.wav`.
    pub recording_id: String,
    /// The call.
    pub call_id: String,
    /// Name in the recordings folder.
    pub filename: String,
    /// 1 or 2.
    pub channels: i64,
    /// When it began.
    pub started_at: Millis,
    /// When it was complete; `None`: being written.
    pub finished_at: Option<Millis>,
    /// Size of the file.
    pub bytes: i64,
    /// Length in milliseconds.
    pub duration_ms: i64,
    /// Why it does not hold the whole call.
    pub partial: Option<String>,
}

/// A recording that begins.
#[derive(Clone, Debug)]
pub struct NewRecording {
    /// The file's name without `.wav`.
    pub recording_id: String,
    /// 1 or 2.
    pub channels: i64,
    /// When it began.
    pub at: Millis,
}

/// A recording that is complete.
#[derive(Clone, Debug)]
pub struct FinishedRecording {
    /// Which.
    pub recording_id: String,
    /// When.
    pub at: Millis,
    /// Size of the file.
    pub bytes: i64,
    /// Length in milliseconds.
    pub duration_ms: i64,
    /// Why it does not hold the whole call.
    pub partial: Option<String>,
}

/// The secrets of a new or rotated key, shown once.
#[derive(Clone)]
pub struct NewSecrets {
    /// `key_…`.
    pub key_id: String,
    /// `ak_…`.
    pub key: String,
    /// `whsec_…`.
    pub webhook_secret: String,
}

impl fmt::Debug for NewSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSecrets").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What its owner calls it.
    pub name: String,
    /// Credits to begin with.
    pub credits: i64,
    /// Requests an hour.
    pub rate_limit: i64,
    /// Trunk names, in order.
    pub trunks: Vec<String>,
}

/// What `kaphila key set` changes; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default)]
pub struct KeyChanges {
    /// New name.
    pub name: Option<String>,
    /// New default caller id; an empty one removes it.
    pub caller_id: Option<String>,
    /// New list of permitted caller ids.
    pub allowed_caller_ids: Option<Vec<String>>,
    /// New recording default.
    pub record_default: Option<bool>,
    /// Calls at a time; 0 removes the cap.
    pub max_calls: Option<i64>,
    /// New calls a second; 0 removes the cap.
    pub max_cps: Option<i64>,
    /// New list of permitted prefixes.
    pub allow_prefixes: Option<Vec<String>>,
    /// New list of denied prefixes.
    pub deny_prefixes: Option<Vec<String>>,
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
