//! `POST /makecall` and `/batchcall`: a JSON body becomes a typed request, its outcome an answer.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};

use super::auth::Counted;
use super::code::Code;
use super::error::ApiError;
use super::fields::{Fields, missing, wrong};
use super::{App, answer, behind_success, idempotency};
use crate::call::{
    self, AmdMode, AmdParamError, AmdParams, AmdRequest, PlaceOutcome, PlaceRefusal, PlaceRequest,
    Placed, RecordingChannels,
};
use crate::number::Number;
use crate::store::Millis;

/// The most JSON a customer may attach to a call, in bytes.
const MAX_METADATA: usize = 2_048;

/// The longest `ringTimeout`, in seconds.
pub(super) const MAX_RING_SECS: u64 = 300;

/// The longest voice name: Google's longest is half of this.
const MAX_VOICE_NAME: usize = 64;

pub(super) async fn make_call(
    State(app): State<App>,
    Counted { auth, body, idempotency }: Counted,
) -> Result<Response, ApiError> {
    let mut request = read(&app, &body)?;
    let turn = match &idempotency {
        Some(token) => match idempotency::place(&app, &auth, token).await? {
            idempotency::Place::Repeated(answer) => return Ok(answer),
            idempotency::Place::First(turn) => Some(turn),
        },
        None => None,
    };
    request.idempotency.clone_from(&idempotency);
    let shown = Shown {
        amd_enabled: request.amd.is_some(),
        voice_name: request.voice_name.clone(),
        ring_timeout: request.ring_timeout,
        metadata: request.metadata.clone(),
    };
    let placed = match app.calls.place(&auth, request).await {
        Ok(placed) => placed,
        Err(PlaceRefusal::Repeated(_)) if idempotency.is_some() => {
            // The client of the first one went away while its call was being placed.
            let token = idempotency.as_ref().ok_or_else(ApiError::internal)?;
            let answer = idempotency::repeated(&app, &auth, token).await?;
            return answer.ok_or_else(ApiError::internal);
        }
        Err(refusal) => return Err(refusal.into()),
    };
    let (status, answer) = match &placed.outcome {
        PlaceOutcome::Placed(it) => (StatusCode::OK, shown.answer(it)),
        PlaceOutcome::Failed { call_id, attempted_trunks, total_trunks } => {
            let failed = answer::OriginationFailed {
                call_id: call_id.clone(),
                attempted_trunks: attempted_trunks.clone(),
                total_trunks: *total_trunks,
            };
            (Code::OriginationFailed.status(), json!(failed))
        }
    };
    if idempotency.is_some() {
        let text = answer.to_string();
        if let Err(error) = app.store.remember_answer(&placed.call, status.as_u16(), text).await {
            // The call stands for itself: a repetition is answered with its present state.
            tracing::warn!(call_id = placed.call.call_id(), %error, "an answer is not remembered");
        }
    }
    drop(turn);
    Ok(respond(status, answer))
}

/// The answer, or the contract's envelope when every trunk was tried.
pub(super) fn respond(status: StatusCode, answer: Value) -> Response {
    if status.is_success() {
        return (status, axum::Json(answer)).into_response();
    }
    let mut error = ApiError::new(Code::OriginationFailed, "All trunk originate attempts failed");
    if let Value::Object(members) = answer {
        error.details = members;
    }
    error.into_response()
}

/// What the answer repeats of the request.
struct Shown {
    amd_enabled: bool,
    voice_name: String,
    ring_timeout: Duration,
    metadata: Option<Map<String, Value>>,
}

impl Shown {
    fn answer(self, placed: &Placed) -> Value {
        behind_success(answer::Placed {
            call_id: placed.call_id.clone(),
            status: placed.status,
            amd_enabled: self.amd_enabled,
            voice_name: self.voice_name,
            credits: placed.credits,
            ring_timeout_seconds: self.ring_timeout.as_secs(),
            trunk: placed.trunk.clone(),
            trunk_attempts: placed.trunk_attempts,
            total_trunks: placed.total_trunks,
            caller_id: placed.caller_id.clone(),
            timestamp: Millis::wall_clock(),
            metadata: self.metadata,
            end: placed.end.as_ref().map(|end| answer::PlacedEnd {
                end_reason: end.reason.as_str(),
                hangup_cause: end.cause.to_string(),
                sip_status: end.sip_status,
            }),
        })
    }
}

fn read(app: &App, body: &Fields) -> Result<PlaceRequest, ApiError> {
    if body.get("numbers").is_some() {
        return Err(ApiError::invalid("numbers: lists are not built yet; send one number a call"));
    }
    if body.boolean("recordEarlyMedia")? == Some(true) {
        // Media records from the answer on so far.
        return Err(ApiError::invalid("recordEarlyMedia is not built yet"));
    }
    let number = number(body, "number")?.ok_or_else(|| missing("number"))?;
    let channels = RecordingChannels::ALL.map(|it| (it.as_str(), it));
    Ok(PlaceRequest {
        number,
        webhook_url: webhook_url(app, body)?,
        caller_id: self::number(body, "callerId")?,
        amd: amd(app, body)?,
        voice_name: voice_name(body)?,
        ring_timeout: body
            .integer("ringTimeout", 1..=MAX_RING_SECS)?
            .map_or(app.ring_timeout, Duration::from_secs),
        record: body.boolean("record")?,
        recording_channels: body.choice("recordingChannels", &channels)?.unwrap_or_default(),
        record_early_media: false,
        metadata: metadata(body)?,
        idempotency: None,
    })
}

fn number(body: &Fields, name: &str) -> Result<Option<Number>, ApiError> {
    let Some(text) = body.digits(name)? else { return Ok(None) };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let number = Number::parse(&text);
    number.map(Some).map_err(|error| ApiError::invalid(format!("{name} {error}")))
}

fn webhook_url(app: &App, body: &Fields) -> Result<Option<String>, ApiError> {
    let Some(text) = body.text("webhookUrl")?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    call::check_webhook_url(text, app.webhooks)
        .map(|url| Some(url.into()))
        .map_err(|error| ApiError::invalid(format!("webhookUrl: {error}")))
}

fn voice_name(body: &Fields) -> Result<String, ApiError> {
    let name = body.text("voiceName")?.filter(|name| !name.is_empty());
    let name = name.unwrap_or(call::DEFAULT_VOICE);
    if name.len() > MAX_VOICE_NAME {
        return Err(wrong("voiceName", "the name of a voice"));
    }
    call::check_voice(name).map_err(|error| ApiError::invalid(format!("voiceName: {error}")))?;
    Ok(name.to_owned())
}

fn metadata(body: &Fields) -> Result<Option<Map<String, Value>>, ApiError> {
    let Some(members) = body.object("metadata")? else { return Ok(None) };
    let size = serde_json::to_vec(members).map_or(usize::MAX, |text| text.len());
    if size > MAX_METADATA {
        return Err(wrong("metadata", "an object of at most 2 KiB of JSON"));
    }
    Ok(Some(members.clone()))
}

/// `useAmd`, `amdMode` and the parameters in `amd`. Each given parameter changes something or is
/// refused, also while the detector is off.
fn amd(app: &App, body: &Fields) -> Result<Option<AmdRequest>, ApiError> {
    let modes = AmdMode::ALL.map(|it| (it.as_str(), it));
    let mode = body.choice("amdMode", &modes)?.unwrap_or(AmdMode::Sync);
    let params = match body.object("amd")? {
        Some(members) => amd_params(app.amd, &Fields::from(members))?,
        None => app.amd,
    };
    let on = body.boolean("useAmd")?.unwrap_or(false);
    Ok(on.then_some(AmdRequest { mode, params }))
}

fn amd_params(mut params: AmdParams, given: &Fields) -> Result<AmdParams, ApiError> {
    let range = 0..=u64::from(u32::MAX);
    let named = |name: &str, error: &dyn std::fmt::Display| {
        ApiError::invalid(format!("amd.{name}: {error}"))
    };
    for name in given.names() {
        let number = || {
            let number = given.integer(name, range.clone())?.unwrap_or_default();
            u32::try_from(number).map_err(|_| wrong(name, "a smaller number"))
        };
        match name {
            "mode" => {
                let text = given.text(name)?.unwrap_or("classic");
                params.mode = text.parse().map_err(|error: AmdParamError| named(name, &error))?;
            }
            "initialSilence" => params.initial_silence = number()?,
            "greeting" => params.greeting = number()?,
            "afterGreetingSilence" => params.after_greeting_silence = number()?,
            "totalAnalysisTime" => params.total_analysis_time = number()?,
            "minWordLength" => params.min_word_length = number()?,
            "betweenWordsSilence" => params.between_words_silence = number()?,
            "maximumNumberOfWords" => params.maximum_number_of_words = number()?,
            "maximumWordLength" => params.maximum_word_length = number()?,
            "silenceThreshold" => {
                params.silence_threshold = u16::try_from(number()?).unwrap_or(u16::MAX);
            }
            "initialSilenceStatus" => {
                let text = given.text(name)?.unwrap_or("HUMAN");
                params.initial_silence_status =
                    text.parse().map_err(|error: AmdParamError| named(name, &error))?;
            }
            unknown => {
                let short: String = unknown.chars().take(40).collect();
                return Err(ApiError::invalid(format!("amd.{short} is not a parameter")));
            }
        }
    }
    params.check().map_err(|error| ApiError::invalid(format!("amd: {error}")))?;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_is_null_is_as_one_that_is_not_there() {
        let own = AmdParams { maximum_number_of_words: 7, ..AmdParams::default() };
        let fields = |text: &str| Fields::parse(text.as_bytes()).unwrap();
        let nulls = r#"{"maximumNumberOfWords":null,"mode":null,"initialSilenceStatus":null}"#;
        assert_eq!(amd_params(own, &fields(nulls)).unwrap(), own);
        let given = amd_params(own, &fields(r#"{"maximumNumberOfWords":3}"#)).unwrap();
        assert_eq!(given.maximum_number_of_words, 3);
    }
}
