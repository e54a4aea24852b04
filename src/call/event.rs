//! The events that customers get, as they are sent.
//!
//! It knows what each says. It refuses to know when one is sent; that is the machine's. Start at
//! [`Event`]; [`schemas`] describes them for the OpenAPI document.

use kaphila_media::sdp::Codec;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::api::RecordingView;
use super::cause::Status;
use super::schema;
use super::view::{AmdShown, AmdView, GatherShown, GatherView, RecordingShown};
use crate::store::{Direction, Ended, FinishedRecording, Millis, NewEvent};

/// Each event has its name once: for its JSON, its row and its schema.
macro_rules! events {
    ($(
        $(#[$about:meta])*
        $variant:ident = $name:literal { $( $(#[$field_is:meta])* $field:ident: $type:ty, )* }
    )*) => {
        /// What happened, and what belongs to that event alone.
        #[derive(Clone, Debug, Serialize, JsonSchema)]
        #[serde(tag = "event", rename_all_fields = "camelCase")]
        pub(crate) enum Event {
            $(
                $(#[$about])*
                #[serde(rename = $name)]
                $variant { $( $(#[$field_is])* $field: $type, )* },
            )*
        }

        impl Event {
            /// Its name in the API.
            pub(crate) const fn name(&self) -> &'static str {
                match self {
                    $( Self::$variant { .. } => $name, )*
                }
            }
        }
    };
}

events! {
    /// A call came in from a trunk, to a number of the key.
    Incoming = "call.incoming" {
        /// The trunk that it came over.
        trunk: String,
    }
    /// The call's first INVITE is sent.
    Initiated = "call.initiated" {
        /// The trunk that is tried first.
        trunk: String,
    }
    /// The call is up. With `useAmd` and `amdMode` `sync` it waits for the verdict, in `amd`.
    Answered = "call.answered" {
        /// The trunk that carries it.
        trunk: String,
        /// When it was answered.
        answered_at: Option<Millis>,
    }
    /// The detector's verdict, where `call.answered` did not wait for it.
    AmdResult = "amd.result" {
        /// It replaces an earlier one.
        revised: bool,
    }
    /// A key was pressed.
    DtmfReceived = "dtmf.received" {
        #[schemars(schema_with = "schema::key")]
        digit: String,
        #[schemars(schema_with = "schema::digit_method")]
        method: &'static str,
        /// How long it was down.
        duration_ms: u32,
    }
    /// Digits of `/dtmf` were sent.
    DtmfSent = "dtmf.sent" {
        digits: String,
        /// All of them.
        completed: bool,
    }
    /// A gather's prompt begins.
    GatherStarted = "gather.started" {
        expected_digits: u8,
        timeout_ms: i64,
    }
    /// A digit counts for the gather.
    GatherProgress = "gather.progress" {
        #[schemars(schema_with = "schema::key")]
        digit: String,
        /// Those so far.
        digits: String,
        remaining: usize,
    }
    /// The gather has its digits.
    GatherComplete = "gather.complete" {
        digits: String,
        expected_digits: u8,
    }
    /// The gather ended with fewer.
    GatherTimeout = "gather.timeout" {
        digits: String,
        expected_digits: u8,
        reason: GatherEnd,
    }
    /// A spoken prompt is over.
    TtsPlayed = "tts.played" {
        text: String,
        playback_id: String,
        #[schemars(schema_with = "schema::play_to")]
        method: &'static str,
        /// How much of it was heard.
        duration_ms: i64,
        /// It was heard to its end.
        completed: bool,
    }
    /// A sound is over.
    PlaybackFinished = "playback.finished" {
        file: String,
        playback_id: String,
        #[schemars(schema_with = "schema::play_to")]
        method: &'static str,
        /// How much of it was heard.
        duration_ms: i64,
        /// It was heard to its end.
        completed: bool,
    }
    /// The recording is being written.
    RecordingStarted = "recording.started" {
        filename: String,
        recording_id: String,
    }
    /// The customer stopped the recording.
    RecordingStopped = "recording.stopped" {
        filename: String,
        recording_id: String,
    }
    /// The recording's file is whole.
    RecordingCompleted = "recording.completed" {
        filename: String,
        recording_id: String,
        /// Its path on this server.
        recording_url: String,
        /// Seconds.
        duration: f64,
        /// Bytes.
        size: i64,
        channels: i64,
        /// Why it is not the whole call, where it is not.
        partial: Option<String>,
    }
    /// The call is over: its last event.
    Ended = "call.ended" {
        #[schemars(schema_with = "schema::end_reason")]
        end_reason: String,
        /// Q.850.
        #[schemars(regex(pattern = "^[0-9]{1,3}$"))]
        hangup_cause: String,
        was_answered: bool,
        /// Whole seconds from the answer to the end.
        call_duration: i64,
        /// The same.
        duration: i64,
        /// The last final answer.
        sip_status: Option<i64>,
        sip_reason: Option<String>,
        sip_call_id: Option<String>,
        #[schemars(schema_with = "schema::ended_by")]
        ended_by: String,
        /// The INVITEs, in order.
        attempts: Vec<Attempt>,
        trunk: Option<String>,
        quality: Option<QualityShown>,
    }
}

impl Event {
    /// `call.ended` of a call whose row is closed as `row` says.
    pub(crate) fn ended(
        row: &Ended,
        sip_call_id: Option<String>,
        attempts: Vec<Attempt>,
        quality: Option<QualityShown>,
    ) -> Self {
        Self::Ended {
            end_reason: row.end_reason.clone(),
            hangup_cause: row.hangup_cause.clone(),
            was_answered: row.answered_at.is_some(),
            call_duration: row.duration_secs,
            duration: row.duration_secs,
            sip_status: row.sip_status,
            sip_reason: row.sip_reason.clone(),
            sip_call_id,
            ended_by: row.ended_by.clone(),
            attempts,
            trunk: row.trunk.clone(),
            quality,
        }
    }

    /// `recording.completed` of a file that is whole, or mended.
    pub(crate) fn recording_completed(
        view: RecordingView,
        row: &FinishedRecording,
        channels: i64,
    ) -> Self {
        Self::RecordingCompleted {
            recording_url: format!("/recordings/file/{}/download", view.filename),
            filename: view.filename,
            recording_id: view.recording_id,
            duration: row.duration_ms as f64 / 1000.0,
            size: row.bytes,
            channels,
            partial: row.partial.clone(),
        }
    }
}

/// Why a gather ended with fewer digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum GatherEnd {
    /// The time for the whole entry is over.
    Timeout,
    /// The next digit did not come in time.
    InterDigitTimeout,
    /// `/stop`.
    Stopped,
    /// The call ended.
    Hangup,
}

/// One INVITE of a call; `null` for what never came.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attempt {
    pub(crate) trunk: Option<String>,
    /// The final answer.
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<String>,
    /// From the INVITE to the first provisional answer above 100.
    pub(crate) provisional_ms: Option<i64>,
    /// From the INVITE to the final answer.
    pub(crate) final_ms: Option<i64>,
}

/// What was heard of the far end, and how well.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct QualityShown {
    #[schemars(schema_with = "schema::codec")]
    pub(crate) codec: Option<&'static str>,
    /// Mean opinion score, 1 to 4.5.
    pub(crate) mos: Option<f64>,
    pub(crate) loss_percent: f64,
    pub(crate) jitter_ms: f64,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) packets_sent: u64,
    pub(crate) packets_received: u64,
}

impl From<&kaphila_media::quality::Quality> for QualityShown {
    fn from(quality: &kaphila_media::quality::Quality) -> Self {
        let tenth = |value: f64| (value * 10.0).round() / 10.0;
        let hundredth = |value: f64| (value * 100.0).round() / 100.0;
        Self {
            codec: quality.codec.map(Codec::name),
            mos: quality.mos.map(hundredth),
            loss_percent: hundredth(quality.loss_percent),
            jitter_ms: tenth(quality.jitter_ms),
            rtt_ms: quality.rtt_ms.map(tenth),
            packets_sent: quality.sent,
            packets_received: quality.received,
        }
    }
}

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

impl Subject<'_> {
    /// `event`, number `sequence` of the call, as its row holds it.
    #[must_use]
    pub(crate) fn tell(&self, event: &Event, at: Millis, sequence: i64) -> NewEvent {
        let head = Head {
            call_id: self.call_id,
            timestamp: at,
            sequence_number: sequence,
            direction: self.direction.as_str(),
            number: self.number,
            to: self.to,
            from: self.caller_id,
            caller_id: self.caller_id,
            status: self.status,
            amd: self.amd.map(AmdView::shown),
            gather: self.gather.as_ref().map(GatherView::shown),
            recording: self.recording.as_ref().map(RecordingView::shown),
            metadata: self.metadata,
        };
        let payload = json!(Payload { head, event }).to_string();
        NewEvent { sequence, event: event.name().to_owned(), payload }
    }
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    event: &'a Event,
}

/// What every event has.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    call_id: &'a str,
    timestamp: Millis,
    /// From 1, without gaps: an event may come twice, and a later one before one that is sent
    /// again.
    sequence_number: i64,
    #[schemars(schema_with = "schema::direction")]
    direction: &'static str,
    /// Who is at the other end.
    number: &'a str,
    /// Whom it calls: on a call that came in, the key's number.
    to: &'a str,
    /// The same as `callerId`.
    from: Option<&'a str>,
    /// The caller id shown.
    caller_id: Option<&'a str>,
    /// The call's at that moment.
    status: Status,
    /// The last verdict.
    amd: Option<AmdShown>,
    /// The gather that runs.
    gather: Option<GatherShown>,
    recording: Option<RecordingShown>,
    /// What the customer attached; left out where there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Map<String, Value>")]
    metadata: Option<&'a Map<String, Value>>,
}

/// The schema of what every event has, and that of the events: a `oneOf`, each with its name as the
/// `const` of `event`.
pub(crate) fn schemas(generator: &mut SchemaGenerator) -> (Schema, Schema) {
    (Head::json_schema(generator), Event::json_schema(generator))
}
