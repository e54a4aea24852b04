//! Schemas of the words that calls are told in: each is the list that the code itself has.

use kaphila_media::amd;
use kaphila_media::dtmf::DigitMethod;
use kaphila_media::sdp::Codec;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::api::PlayTo;
use super::cause::{EndReason, EndedBy};
use crate::store::Direction;

/// One of these words.
pub(crate) fn words<'a>(all: impl IntoIterator<Item = &'a str>) -> Schema {
    json_schema!({ "type": "string", "enum": all.into_iter().collect::<Vec<_>>() })
}

pub(super) fn direction(_: &mut SchemaGenerator) -> Schema {
    words([Direction::Outbound, Direction::Inbound].map(Direction::as_str))
}

pub(super) fn digit_method(_: &mut SchemaGenerator) -> Schema {
    let all = [DigitMethod::Rfc4733, DigitMethod::Inband, DigitMethod::Info];
    words(all.map(DigitMethod::as_str))
}

pub(super) fn key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9*#A-D]$" })
}

pub(crate) fn play_to(_: &mut SchemaGenerator) -> Schema {
    words(PlayTo::ALL.map(PlayTo::as_str))
}

pub(crate) fn end_reason(_: &mut SchemaGenerator) -> Schema {
    words(EndReason::ALL.map(EndReason::as_str))
}

pub(super) fn ended_by(_: &mut SchemaGenerator) -> Schema {
    words(EndedBy::ALL.map(EndedBy::as_str))
}

pub(super) fn codec(_: &mut SchemaGenerator) -> Schema {
    let words = Codec::ALL.into_iter().map(|codec| Value::from(codec.name()));
    json_schema!({ "enum": words.chain([Value::Null]).collect::<Vec<_>>() })
}

pub(super) fn amd_status(_: &mut SchemaGenerator) -> Schema {
    words(amd::Status::ALL.map(amd::Status::name))
}

pub(super) fn amd_cause(_: &mut SchemaGenerator) -> Schema {
    words(amd::Cause::ALL.map(amd::Cause::name))
}
