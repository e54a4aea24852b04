//! Recordings.

use crate::store::Millis;

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
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NewRecording {
    /// The file's name without `.wav`.
    pub recording_id: String,
    /// 1 or 2.
    pub channels: i64,
    /// When it began.
    pub at: Millis,
}

/// A recording that is complete.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
