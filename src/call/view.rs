//! A call as `/calls` and `/recordings` show it: a snapshot that its actor publishes.

use std::time::Duration;

use kaphila_media::amd::{self, Cause, Figures, Verdict};
use schemars::JsonSchema;
use serde::Serialize;

use super::api::RecordingView;
use super::cause::Status;
use super::schema;
use crate::store::{AmdResult, Direction, Millis};

/// A live call.
#[derive(Debug, Clone)]
pub struct CallView {
    /// Its id.
    pub call_id: String,
    /// Ringing or answered; an ended call has no view.
    pub status: Status,
    /// Which way it goes.
    pub direction: Direction,
    /// Who is at the other end, cleaned: whom it calls, or who calls.
    pub number: String,
    /// Whom it calls: on a call that came in, our number.
    pub to: String,
    /// The caller id shown.
    pub caller_id: Option<String>,
    /// The trunk that is being tried or carries it.
    pub trunk: String,
    /// The detector's last verdict.
    pub amd: Option<AmdView>,
    /// The gather that runs.
    pub gather: Option<GatherView>,
    /// Its recording, written or finished.
    pub recording: Option<RecordingView>,
    /// The voice of its prompts.
    pub voice_name: String,
    /// Whether media is up (answered).
    pub has_bridge: bool,
    /// What the customer attached.
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// When it was placed.
    pub created_at: Millis,
    /// When it was answered.
    pub answered_at: Option<Millis>,
}

/// What the detector found, and the figures behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct AmdView {
    /// `HUMAN`, `MACHINE`, `NOTSURE`, `UNKNOWN`.
    pub status: amd::Status,
    /// As `semantics.md` lists them.
    pub cause: Cause,
    /// 0–1.
    pub confidence: f64,
    /// When it was decided, in ms from the answer.
    pub decided_ms: Option<u32>,
    /// What was measured; `None` where nothing was.
    pub figures: Option<Figures>,
}

impl AmdView {
    /// The call ended `after` the answer, before a verdict.
    pub(crate) fn hung_up(after: Duration) -> Self {
        Self::without_figures(amd::Status::NotSure, Cause::Hangup, after)
    }

    /// Nothing was heard until `after` the answer.
    pub(crate) fn unheard(after: Duration) -> Self {
        Self::without_figures(amd::Status::Unknown, Cause::NoAudio, after)
    }

    /// As its row has it; `None` where there is no verdict in it.
    pub(crate) fn of_row(row: &AmdResult) -> Option<Self> {
        Some(Self {
            status: amd::Status::ALL.into_iter().find(|it| it.name() == row.status)?,
            cause: Cause::ALL.into_iter().find(|it| it.name() == row.cause)?,
            confidence: row.confidence,
            decided_ms: None,
            figures: None,
        })
    }

    fn without_figures(status: amd::Status, cause: Cause, after: Duration) -> Self {
        let decided_ms = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        Self { status, cause, confidence: 0.0, decided_ms: Some(decided_ms), figures: None }
    }

    /// As events and `/calls` show it.
    #[must_use]
    pub fn shown(&self) -> AmdShown {
        AmdShown {
            status: self.status.name(),
            cause: self.cause.name(),
            confidence: self.confidence,
            decided_ms: self.decided_ms,
            figures: self.figures.map(|it| FiguresShown {
                measured: it.measured,
                limit: it.limit,
                silence_ms: it.silence_ms,
                run_ms: it.run_ms,
                total_voice_ms: it.total_voice_ms,
                words: it.words,
            }),
        }
    }
}

impl From<&Verdict> for AmdView {
    fn from(verdict: &Verdict) -> Self {
        Self {
            status: verdict.status,
            cause: verdict.cause,
            confidence: (f64::from(verdict.confidence) * 1000.0).round() / 1000.0,
            decided_ms: Some(verdict.decided_ms),
            figures: Some(verdict.figures),
        }
    }
}

impl From<&AmdView> for AmdResult {
    fn from(view: &AmdView) -> Self {
        Self {
            status: view.status.name().to_owned(),
            cause: view.cause.name().to_owned(),
            confidence: view.confidence,
        }
    }
}

/// A gather that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatherView {
    /// How many digits complete it.
    pub expected_digits: u8,
    /// Those so far.
    pub digits: String,
    /// Its timeout, ms.
    pub timeout_ms: u64,
    /// When it began.
    pub started_at: Millis,
}

impl GatherView {
    /// As events and `/calls` show it.
    #[must_use]
    pub fn shown(&self) -> GatherShown {
        GatherShown {
            expected_digits: self.expected_digits,
            digits: self.digits.clone(),
            timeout_ms: self.timeout_ms,
            started_at: self.started_at,
        }
    }
}

impl RecordingView {
    /// As events and `/calls` show it.
    #[must_use]
    pub fn shown(&self) -> RecordingShown {
        RecordingShown {
            active: self.active,
            filename: self.filename.clone(),
            recording_id: self.recording_id.clone(),
            method: "bridge",
        }
    }
}

/// [`AmdView`] as it is sent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AmdShown {
    #[schemars(schema_with = "schema::amd_status")]
    status: &'static str,
    #[schemars(schema_with = "schema::amd_cause")]
    cause: &'static str,
    /// 0 to 1.
    confidence: f64,
    /// From the answer; `null` in what is told of a call whose server stopped.
    decided_ms: Option<u32>,
    figures: Option<FiguresShown>,
}

/// The figures behind a verdict.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FiguresShown {
    /// What was measured against the limit.
    measured: u32,
    limit: Option<u32>,
    silence_ms: u32,
    run_ms: u32,
    total_voice_ms: u32,
    words: u32,
}

/// [`GatherView`] as it is sent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatherShown {
    expected_digits: u8,
    digits: String,
    timeout_ms: u64,
    started_at: Millis,
}

/// [`RecordingView`] as it is sent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordingShown {
    active: bool,
    filename: String,
    recording_id: String,
    method: &'static str,
}
