//! The bodies of requests, as the OpenAPI document describes them. Handlers read them member by
//! member with [`super::fields`], within these very bounds; members that are not named here are
//! ignored, and null is the same as absent.
#![allow(dead_code, reason = "they describe; what reads is `fields`")]

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::control::{DIGIT_MS, MAX_GATHER_MS};
use super::place::MAX_RING_SECS;
use super::schema;
use crate::call::MAX_GATHER_DIGITS;

/// Whom to call, and how.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct MakeCall {
    /// The number to call, with its country code; `+`, spaces, dots, dashes and brackets are left
    /// out.
    #[schemars(schema_with = "schema::number")]
    number: (),
    /// Where webhook events go.
    webhook_url: Option<String>,
    /// The number that is shown.
    #[schemars(schema_with = "schema::digits")]
    caller_id: Option<()>,
    /// Tell a person from an answering machine.
    use_amd: Option<bool>,
    /// `sync`: `call.answered` waits for the verdict; `async`: it does not.
    #[schemars(schema_with = "schema::amd_mode")]
    amd_mode: Option<()>,
    /// The detector's parameters.
    amd: Option<AmdParameters>,
    /// The voice of `/voice` and `/gather`: a language tag, or a name that begins with one.
    #[schemars(length(max = 64))]
    voice_name: Option<String>,
    /// Seconds that it may ring on one trunk.
    #[schemars(range(min = 1, max = MAX_RING_SECS))]
    ring_timeout: Option<u64>,
    /// Record the call.
    record: Option<bool>,
    #[schemars(schema_with = "schema::channels")]
    recording_channels: Option<()>,
    /// At most 2 KiB of JSON, given back in answers and events.
    metadata: Option<Map<String, Value>>,
}

/// Times in milliseconds.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
struct AmdParameters {
    #[schemars(schema_with = "schema::amd_detector")]
    mode: Option<()>,
    initial_silence: Option<u32>,
    greeting: Option<u32>,
    after_greeting_silence: Option<u32>,
    total_analysis_time: Option<u32>,
    min_word_length: Option<u32>,
    between_words_silence: Option<u32>,
    maximum_number_of_words: Option<u32>,
    maximum_word_length: Option<u32>,
    /// A frame whose mean level is below this is silent.
    silence_threshold: Option<u32>,
    #[schemars(schema_with = "schema::amd_status")]
    initial_silence_status: Option<()>,
}

/// Which call.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfCall {
    #[schemars(length(min = 1))]
    call_id: String,
}

/// What to say.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Voice {
    #[schemars(length(min = 1))]
    call_id: String,
    /// At most 5000 characters; SSML where Google Cloud speaks.
    #[schemars(length(min = 1))]
    text: String,
    #[schemars(schema_with = "schema::play_to_or_none")]
    play_to: Option<()>,
}

/// What to play.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Play {
    #[schemars(length(min = 1))]
    call_id: String,
    /// A WAV file under the sounds folder, without `.wav`.
    #[schemars(length(min = 1))]
    file: String,
    #[schemars(schema_with = "schema::play_to_or_none")]
    play_to: Option<()>,
}

/// What to ask, with one of `text` and `file`, and how digits are taken.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gather {
    #[schemars(length(min = 1))]
    call_id: String,
    text: Option<String>,
    file: Option<String>,
    /// How many digits complete it.
    #[schemars(range(min = 1, max = MAX_GATHER_DIGITS))]
    num_digits: Option<u8>,
    /// Milliseconds for the whole entry, from the end of the prompt.
    #[schemars(range(min = 1, max = MAX_GATHER_MS))]
    timeout: Option<u64>,
    /// Milliseconds from each digit.
    #[schemars(range(min = 1, max = MAX_GATHER_MS))]
    inter_digit_timeout: Option<u64>,
    /// A key that completes the entry and is not part of it.
    #[schemars(regex(pattern = "^[0-9*#A-Da-d]?$"))]
    finish_on_key: Option<String>,
    /// A key cuts the prompt short.
    barge_in: Option<bool>,
    /// Keys pressed before are forgotten; false keeps those of the last 5 s.
    flush: Option<bool>,
    #[schemars(schema_with = "schema::play_to_or_none")]
    play_to: Option<()>,
}

/// What to send.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SendDigits {
    #[schemars(length(min = 1))]
    call_id: String,
    /// 1 to 64 of `0`–`9`, `*`, `#`, `A`–`D`, and `w`, which waits half a second.
    #[schemars(schema_with = "schema::keys")]
    digits: (),
    /// Length of each tone.
    #[schemars(range(min = *DIGIT_MS.start(), max = *DIGIT_MS.end()))]
    duration_ms: Option<u64>,
    /// Pause after each tone.
    #[schemars(range(min = *DIGIT_MS.start(), max = *DIGIT_MS.end()))]
    gap_ms: Option<u64>,
}

/// Where a day begins.
#[derive(JsonSchema)]
#[schemars(rename = "DashboardBody")]
pub(super) struct Dashboard {
    /// An IANA time zone; UTC where there is none.
    timezone: Option<String>,
}

/// Which page.
#[derive(JsonSchema)]
#[schemars(rename = "CallLogsBody")]
pub(super) struct CallLogs {
    #[schemars(range(min = 1, max = super::dashboard::LAST_PAGE))]
    page: Option<u64>,
    #[schemars(range(min = 1, max = 100))]
    page_size: Option<u64>,
    #[schemars(schema_with = "schema::call_status_or_none")]
    status: Option<()>,
    /// As `pagination.asOf` of the first page gave it: calls placed since are left out.
    #[serde(rename = "asOf")]
    #[schemars(schema_with = "schema::time_or_none")]
    as_of: Option<()>,
}

/// Which days.
#[derive(JsonSchema)]
#[schemars(rename = "AnalyticsBody")]
pub(super) struct Analytics {
    #[schemars(range(min = 1, max = 365))]
    days: Option<u64>,
    /// An IANA time zone; UTC where there is none.
    timezone: Option<String>,
}
