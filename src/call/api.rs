//! What the REST front end asks of [`Calls`](super::Calls), and what it is told.
//!
//! Plain types: no handler, no machine. Everything in them has been validated by its constructor or
//! is checked where it is used.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::cause::{EndReason, Status};
use crate::number::Number;
use crate::store::{CallRef, Idempotency, Remembered};

/// The most digits a gather may ask for.
pub const MAX_GATHER_DIGITS: u8 = 64;

/// What `/makecall` asks for.
#[derive(Debug, Clone)]
pub struct PlaceRequest {
    /// Whom to call.
    pub number: Number,
    /// Where events go; `None`: nowhere.
    pub webhook_url: Option<String>,
    /// The number to show; `None`: the key's, else the trunk's.
    pub caller_id: Option<Number>,
    /// The answering machine detector; `None`: off.
    pub amd: Option<AmdRequest>,
    /// The voice of `/voice` and `/gather` on this call.
    pub voice_name: String,
    /// 1–300 s, from the INVITE of the trunk that is tried.
    pub ring_timeout: Duration,
    /// Whether to record; `None`: the key's default.
    pub record: Option<bool>,
    /// The channels of the recording.
    pub recording_channels: RecordingChannels,
    /// Whether the recording begins with early media.
    pub record_early_media: bool,
    /// A JSON object, echoed in every event.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// The request's `Idempotency-Key`.
    pub idempotency: Option<Idempotency>,
}

/// When the verdict of the detector is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AmdMode {
    /// `call.answered` waits for it and carries it.
    Sync,
    /// `call.answered` is sent at once, `amd.result` follows.
    Async,
}

impl AmdMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sync, Self::Async];

    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Async => "async",
        }
    }
}

/// The detector of one call: its mode and its parameters.
#[derive(Debug, Clone)]
pub struct AmdRequest {
    /// When the verdict is told.
    pub mode: AmdMode,
    /// The parameters of `reference.md` §3, defaults and overrides merged.
    pub params: kaphila_media::amd::Params,
}

/// The channels of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordingChannels {
    /// A mix of both directions.
    #[default]
    Mono,
    /// The callee left, ours right.
    Dual,
}

impl RecordingChannels {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Mono, Self::Dual];

    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mono => "mono",
            Self::Dual => "dual",
        }
    }
}

/// A call that was placed, and what `/makecall` says of it.
#[derive(Debug, Clone)]
pub struct PlaceAnswer {
    /// Its row, for [`Store::remember_answer`](crate::store::Store::remember_answer).
    pub call: CallRef,
    /// What to say.
    pub outcome: PlaceOutcome,
}

/// `/makecall` once a call has been placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceOutcome {
    /// 200.
    Placed(Placed),
    /// 500 `ORIGINATION_FAILED`: every trunk was tried. The call has a row and events.
    Failed {
        /// Its id.
        call_id: String,
        /// The trunks dialled, in order.
        attempted_trunks: Vec<String>,
        /// How many are assigned to the key.
        total_trunks: usize,
    },
}

/// What a placed call's answer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its id.
    pub call_id: String,
    /// Its status as `/makecall` answers.
    pub status: Status,
    /// The balance before this call's deduction.
    pub credits: i64,
    /// The trunk that is being tried, or was last.
    pub trunk: String,
    /// Trunks dialled so far, from 1.
    pub trunk_attempts: usize,
    /// How many are assigned to the key.
    pub total_trunks: usize,
    /// The caller id that is shown.
    pub caller_id: Option<String>,
    /// How it ended, where `status` is terminal.
    pub end: Option<PlacedEnd>,
}

/// How a call ended before `/makecall` answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedEnd {
    /// Why.
    pub reason: EndReason,
    /// Q.850 cause.
    pub cause: u8,
    /// The final SIP answer, where one came.
    pub sip_status: Option<u16>,
}

/// Why nothing was placed: no id, no row, no event.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlaceRefusal {
    /// 400: `*` or `#` in this field where no trunk of the key takes it.
    #[error("{0} must not hold * or #")]
    InvalidNumber(&'static str),
    /// 403 `CALLER_ID_DENIED`.
    #[error("callerId is not allowed for this API key")]
    CallerIdDenied,
    /// 403 `DESTINATION_DENIED`.
    #[error("Destination is not allowed")]
    DestinationDenied,
    /// 503 `NO_TRUNKS`.
    #[error("No trunks assigned")]
    NoTrunks,
    /// 402 `INSUFFICIENT_CREDITS`.
    #[error("Insufficient credits")]
    InsufficientCredits,
    /// 429 `CONCURRENT_CALLS`.
    #[error("Too many concurrent calls for this API key")]
    ConcurrentCalls,
    /// 429 `CALLS_PER_SECOND`.
    #[error("Too many calls per second for this API key")]
    CallsPerSecond,
    /// 503 `AT_CAPACITY`: calls, ports or descriptors are used up.
    #[error("Server is at capacity")]
    AtCapacity,
    /// 503 `TRUNK_LIMIT`.
    #[error("All trunks are at their limits")]
    TrunkLimit,
    /// 503 `DRAINING`.
    #[error("Server is shutting down")]
    Draining,
    /// 503 `DATABASE_UNAVAILABLE`.
    #[error("Database is unavailable")]
    DatabaseUnavailable,
    /// 401: the key was revoked between its check and the placing.
    #[error("Invalid API key")]
    KeyGone,
    /// The idempotency key stands for an earlier call: its answer is given again, or 409 where the
    /// request differs.
    #[error("Idempotency key was used before")]
    Repeated(Box<Remembered>),
    /// 500 `INTERNAL_ERROR`: a fault of ours.
    #[error("Internal server error")]
    Internal,
}

impl PlaceRefusal {
    /// What `Retry-After` says, in seconds, for 429 and 503.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::NoTrunks => Some(60),
            Self::ConcurrentCalls | Self::AtCapacity | Self::DatabaseUnavailable => Some(5),
            Self::CallsPerSecond | Self::TrunkLimit => Some(1),
            Self::Draining => Some(30),
            Self::InvalidNumber(_)
            | Self::CallerIdDenied
            | Self::DestinationDenied
            | Self::InsufficientCredits
            | Self::KeyGone
            | Self::Repeated(_)
            | Self::Internal => None,
        }
    }
}

/// Where a prompt is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlayTo {
    /// By the callee and in the recording.
    #[default]
    Bridge,
    /// By the callee only.
    Channel,
}

impl PlayTo {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Bridge, Self::Channel];

    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Channel => "channel",
        }
    }
}

/// What a prompt is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Spoken text, in the call's voice.
    Text(String),
    /// A sound under the sounds folder, without extension.
    File(String),
}

/// `/gather`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatherRequest {
    /// What is asked.
    pub prompt: Prompt,
    /// 1–[`MAX_GATHER_DIGITS`].
    pub num_digits: u8,
    /// For the whole entry, from the end of the prompt.
    pub timeout: Duration,
    /// From each digit; `None`: off.
    pub inter_digit_timeout: Option<Duration>,
    /// A digit that completes the entry and is not part of it.
    pub finish_on_key: Option<char>,
    /// Whether a digit cuts the prompt short.
    pub barge_in: bool,
    /// Whether digits pressed before are forgotten; false keeps those of the last 5 s.
    pub flush: bool,
    /// Where the prompt is heard.
    pub play_to: PlayTo,
}

/// A prompt that has started or is queued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaybackStarted {
    /// `tts-…` or `play-…`.
    pub playback_id: String,
    /// Whether another one plays first.
    pub queued: bool,
}

/// A recording as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingView {
    /// `call-<callId>-<ms>`.
    pub recording_id: String,
    /// With `.wav`.
    pub filename: String,
    /// Whether it is being written.
    pub active: bool,
}

/// Why a command on a call was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// 404: unknown, ended, or another key's.
    #[error("Call not found")]
    NotFound,
    /// 400 `CALL_NOT_ANSWERED`.
    #[error("Call is not answered yet")]
    NotAnswered,
    /// 400 `CALL_NOT_RINGING`: it is answered, or is one that we placed.
    #[error("Call is not ringing here")]
    NotRinging,
    /// 400 `GATHER_IN_PROGRESS`.
    #[error("A gather is already in progress on this call")]
    GatherInProgress,
    /// 404: nothing is being recorded.
    #[error("No active recording for this call")]
    NoRecording,
    /// 400: the name of a sound that leaves its folder, or a text that cannot be spoken.
    #[error("{0}")]
    BadPrompt(String),
    /// 404: no such sound.
    #[error("Audio file not found")]
    SoundNotFound,
    /// 500: speech or sound could not be made.
    #[error("Audio could not be prepared")]
    PromptFailed,
    /// 429: the call has as much queued as it may.
    #[error("Too many playbacks queued on this call")]
    QueueFull,
    /// 500: a fault of ours.
    #[error("Internal server error")]
    Internal,
}

/// Why a prompt could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// The name leaves the sounds folder or is malformed; the text cannot be spoken.
    #[error("{0}")]
    Bad(String),
    /// There is no such sound.
    #[error("no such sound")]
    NotFound,
    /// It could not be read, decoded or synthesised.
    #[error("{0}")]
    Failed(String),
}

/// Where prompts come from: sounds on disk and speech. Given to [`Calls`](super::Calls) by the
/// server.
pub trait Prompts: Send + Sync + 'static {
    /// The sound `name` (no extension) as 8 kHz mono.
    fn sound<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<[i16]>, PromptError>>;
    /// `text` spoken in `voice` as 8 kHz mono.
    fn speech<'a>(
        &'a self,
        text: &'a str,
        voice: &'a str,
    ) -> BoxFuture<'a, Result<Arc<[i16]>, PromptError>>;
}
