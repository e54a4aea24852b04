//! The answers of the API, as they are sent and as the OpenAPI document describes them. Each stands
//! behind `"success": true`, which the router adds.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::schema;
use crate::call::{AmdShown, GatherShown, RecordingShown};
use crate::store::{CallStatus, LogLine, Millis};

/// The service lives.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health {
    pub(super) status: &'static str,
    pub(super) service: &'static str,
    /// The API's version.
    pub(super) version: &'static str,
    /// The program's version.
    pub(super) build: &'static str,
    pub(super) timestamp: Millis,
    pub(super) stats: Stats,
    pub(super) features: Features,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    /// Calls of all keys that have not ended.
    pub(super) active_calls: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Features {
    pub(super) recording: &'static str,
    /// The mode of the answering machine detector.
    pub(super) amd: &'static str,
    /// Who speaks.
    #[schemars(schema_with = "schema::speech")]
    pub(super) tts: &'static str,
    pub(super) playback: &'static str,
}

/// A call was placed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Placed {
    pub(super) call_id: String,
    pub(super) status: CallStatus,
    pub(super) amd_enabled: bool,
    pub(super) voice_name: String,
    /// The balance before this call's deduction.
    pub(super) credits: i64,
    pub(super) ring_timeout_seconds: u64,
    /// The trunk that carries it, or was tried last.
    pub(super) trunk: String,
    /// The trunks that were tried.
    pub(super) trunk_attempts: usize,
    /// The key's trunks.
    pub(super) total_trunks: usize,
    /// The caller id shown; null: the trunk's own.
    pub(super) caller_id: Option<String>,
    pub(super) timestamp: Millis,
    /// What the request attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<Map<String, Value>>,
    /// Where the call has ended already.
    #[serde(flatten)]
    pub(super) end: Option<PlacedEnd>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlacedEnd {
    #[schemars(schema_with = "schema::end_reason")]
    pub(super) end_reason: &'static str,
    /// Its Q.850 cause.
    pub(super) hangup_cause: String,
    pub(super) sip_status: Option<u16>,
}

/// Every trunk was tried, and none took the call. Behind the members of every error.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OriginationFailed {
    pub(super) call_id: String,
    /// In the order in which they were dialled.
    pub(super) attempted_trunks: Vec<String>,
    /// The key's trunks.
    pub(super) total_trunks: usize,
}

/// A request was repeated whose first answer is lost: the call as it is now.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlacedBefore {
    pub(super) call_id: String,
    pub(super) status: CallStatus,
    /// The balance now.
    pub(super) credits: Option<i64>,
    pub(super) trunk: Option<String>,
    pub(super) end_reason: Option<String>,
    pub(super) hangup_cause: Option<String>,
    pub(super) sip_status: Option<i64>,
    pub(super) timestamp: Millis,
}

/// The call is being hung up.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HungUp<'a> {
    pub(super) message: String,
    pub(super) call_id: &'a str,
}

/// The text is being said.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spoken<'a> {
    pub(super) message: &'static str,
    pub(super) text: &'a str,
    pub(super) playback_id: String,
    #[schemars(schema_with = "schema::play_to")]
    pub(super) method: &'static str,
}

/// The file is being played.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Played<'a> {
    pub(super) message: String,
    pub(super) file: &'a str,
    pub(super) playback_id: String,
    #[schemars(schema_with = "schema::play_to")]
    pub(super) method: &'static str,
}

/// Digits are being gathered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gathering<'a> {
    pub(super) message: String,
    pub(super) call_id: &'a str,
    pub(super) expected_digits: u8,
    pub(super) timeout_ms: u64,
}

/// The call is being answered.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answering<'a> {
    pub(super) message: &'static str,
    pub(super) call_id: &'a str,
}

/// What played has been stopped.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stopped<'a> {
    pub(super) message: &'static str,
    pub(super) call_id: &'a str,
    /// The playbacks that were cut or will not begin.
    pub(super) stopped: usize,
}

/// Digits are being sent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SendingDigits<'a> {
    pub(super) message: String,
    pub(super) call_id: &'a str,
    pub(super) digits: &'a str,
}

/// The key's live calls.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Calls {
    pub(super) total_calls: usize,
    pub(super) active_calls: usize,
    pub(super) calls: Vec<Call>,
    pub(super) timestamp: Millis,
}

/// A live call.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Call {
    pub(super) call_id: String,
    pub(super) status: CallStatus,
    pub(super) direction: &'static str,
    pub(super) number: String,
    pub(super) to: String,
    pub(super) from: Option<String>,
    pub(super) caller_id: Option<String>,
    pub(super) trunk: String,
    pub(super) amd: Option<AmdShown>,
    pub(super) gather: Option<GatherShown>,
    pub(super) recording: Option<RecordingShown>,
    pub(super) voice_name: String,
    pub(super) has_bridge: bool,
    pub(super) has_snoop: bool,
    pub(super) metadata: Option<Map<String, Value>>,
    pub(super) created_at: Millis,
    pub(super) answered_at: Option<Millis>,
}

/// The key's recordings.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Recordings {
    /// Being written.
    pub(super) active: Vec<ActiveRecording>,
    /// Complete, the newest first.
    pub(super) files: Vec<RecordingFile>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActiveRecording {
    pub(super) call_id: String,
    pub(super) filename: String,
    pub(super) recording_id: String,
    pub(super) active: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordingFile {
    pub(super) filename: String,
    /// Bytes.
    pub(super) size: i64,
    pub(super) created_at: Millis,
    pub(super) call_id: String,
    /// Seconds.
    pub(super) duration: f64,
    /// Why it does not hold the whole call.
    pub(super) partial: Option<String>,
}

/// A call's recording.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordingOfCall {
    pub(super) call_id: String,
    pub(super) recording_id: String,
    pub(super) filename: String,
    pub(super) active: bool,
}

/// The recording has been stopped.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecordingStopped {
    pub(super) message: &'static str,
    pub(super) filename: String,
    pub(super) recording_id: String,
}

/// The key's own account.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Me {
    pub(super) api_key: Account,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Account {
    pub(super) id: i64,
    pub(super) key_id: String,
    pub(super) name: String,
    pub(super) credits: i64,
    pub(super) total_calls: i64,
    pub(super) successful_calls: i64,
    /// Requests an hour.
    pub(super) rate_limit: i64,
    pub(super) created_at: Millis,
    pub(super) last_used: Option<Millis>,
}

/// What stands on a dashboard.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Dashboard {
    pub(super) stats: DashboardStats,
    pub(super) recent_calls: Vec<LogLine>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DashboardStats {
    pub(super) total_credits: i64,
    pub(super) total_calls: i64,
    pub(super) successful_calls: i64,
    /// Per cent of the calls that have ended.
    pub(super) success_rate: f64,
    pub(super) calls_today: i64,
    pub(super) successful_calls_today: i64,
    pub(super) calls_this_week: i64,
}

/// A page of the call log, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct CallLogs {
    pub(super) logs: Vec<LogLine>,
    pub(super) total_count: i64,
    pub(super) pagination: Pagination,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Pagination {
    pub(super) page: i64,
    pub(super) page_size: i64,
    pub(super) total_pages: i64,
    /// Send it with the next page: calls placed since are left out.
    #[serde(rename = "asOf")]
    pub(super) as_of: Millis,
}

/// Sums over days.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Analytics {
    pub(super) period: String,
    pub(super) overview: Overview,
    /// Each day, empty ones too.
    pub(super) daily_volume: Vec<DayVolume>,
    /// Each status that occurs, the most frequent first.
    pub(super) status_breakdown: Vec<StatusShare>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Overview {
    pub(super) total_calls: i64,
    pub(super) completed_calls: i64,
    pub(super) failed_calls: i64,
    pub(super) no_answer_calls: i64,
    pub(super) human_calls: i64,
    pub(super) machine_calls: i64,
    /// Seconds, of completed calls.
    pub(super) avg_duration: f64,
    /// Per cent of the calls that have ended.
    pub(super) success_rate: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DayVolume {
    /// A local day.
    #[schemars(schema_with = "schema::date")]
    pub(super) date: String,
    pub(super) total_calls: i64,
    pub(super) completed: i64,
    pub(super) failed: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StatusShare {
    pub(super) status: CallStatus,
    pub(super) count: i64,
    /// Per cent.
    pub(super) percentage: f64,
}
