//! Schemas of the words that the API knows: each is the list that the code itself has.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::call::schema::words;
pub(super) use crate::call::schema::{end_reason, play_to};
use crate::call::{AmdMode, AmdStatus, MAX_DIGITS, PlayTo, RecordingChannels, SPEECH_ENGINES};
use crate::store::{CallStatus, Millis};

pub(super) fn speech(_: &mut SchemaGenerator) -> Schema {
    words(SPEECH_ENGINES)
}

pub(super) fn call_status(_: &mut SchemaGenerator) -> Schema {
    words(CallStatus::ALL.map(CallStatus::as_str))
}

pub(super) fn date(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date" })
}

/// Digits, as text or as a whole number.
pub(super) fn digits(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "integer", "null"], "minimum": 0 })
}

impl JsonSchema for CallStatus {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CallStatus".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        call_status(generator)
    }
}

impl JsonSchema for Millis {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// One of these words, or null.
fn words_or_none<'a>(all: impl IntoIterator<Item = &'a str>) -> Schema {
    let words = all.into_iter().map(Value::from);
    let all: Vec<Value> = words.chain([Value::Null]).collect();
    json_schema!({ "enum": all })
}

/// A number to call.
pub(super) fn number(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "integer"], "minimum": 0 })
}

/// Keys to press.
pub(super) fn keys(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "integer"], "minimum": 0,
        "minLength": 1, "maxLength": MAX_DIGITS, "pattern": "^[0-9*#A-Da-dwW]+$",
    })
}

pub(super) fn amd_mode(_: &mut SchemaGenerator) -> Schema {
    words_or_none(AmdMode::ALL.map(AmdMode::as_str))
}

pub(super) fn amd_detector(_: &mut SchemaGenerator) -> Schema {
    words_or_none(["classic"])
}

pub(super) fn amd_status(_: &mut SchemaGenerator) -> Schema {
    words_or_none(AmdStatus::ALL.map(AmdStatus::name))
}

pub(super) fn channels(_: &mut SchemaGenerator) -> Schema {
    words_or_none(RecordingChannels::ALL.map(RecordingChannels::as_str))
}

pub(super) fn play_to_or_none(_: &mut SchemaGenerator) -> Schema {
    words_or_none(PlayTo::ALL.map(PlayTo::as_str))
}

pub(super) fn call_status_or_none(_: &mut SchemaGenerator) -> Schema {
    words_or_none(CallStatus::ALL.map(CallStatus::as_str))
}

pub(super) fn time_or_none(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "format": "date-time" })
}
