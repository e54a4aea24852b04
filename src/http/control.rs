//! Commands on a live call: `/hangup`, `/voice`, `/play`, `/gather`, `/stop`, `/dtmf`.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use super::auth::{Body, Counted};
use super::error::ApiError;
use super::fields::{Fields, missing, wrong};
use super::{App, answer, success};
use crate::call::{Digits, GatherRequest, MAX_GATHER_DIGITS, PlayTo, Prompt};

/// Length of a tone or pause, in milliseconds, and what it is where a request does not say.
pub(super) const DIGIT_MS: std::ops::RangeInclusive<u64> = 40..=1_000;
const DEFAULT_DIGIT_MS: u64 = 100;

/// The longest a gather may wait, in milliseconds: ten minutes.
pub(super) const MAX_GATHER_MS: u64 = 600_000;

pub(super) async fn hang_up(
    State(app): State<App>,
    Counted { auth, body, .. }: Counted,
) -> Result<Response, ApiError> {
    let call_id = body.required_text("callId")?;
    app.calls.hang_up(&auth, call_id).await?;
    let message = format!("Call {call_id} terminated");
    Ok(success(answer::HungUp { message, call_id }))
}

pub(super) async fn voice(
    State(app): State<App>,
    Counted { auth, body, .. }: Counted,
) -> Result<Response, ApiError> {
    let call_id = body.required_text("callId")?;
    let text = body.required_text("text")?;
    let play_to = play_to(&body)?;
    let started = app.calls.play(&auth, call_id, Prompt::Text(text.to_owned()), play_to).await?;
    Ok(success(answer::Spoken {
        message: "TTS played successfully",
        text,
        playback_id: started.playback_id,
        method: play_to.as_str(),
    }))
}

pub(super) async fn play(
    State(app): State<App>,
    Counted { auth, body, .. }: Counted,
) -> Result<Response, ApiError> {
    let call_id = body.required_text("callId")?;
    let file = body.required_text("file")?;
    let play_to = play_to(&body)?;
    let started = app.calls.play(&auth, call_id, Prompt::File(file.to_owned()), play_to).await?;
    Ok(success(answer::Played {
        message: format!("Audio file played: {file}"),
        file,
        playback_id: started.playback_id,
        method: play_to.as_str(),
    }))
}

pub(super) async fn gather(
    State(app): State<App>,
    Counted { auth, body, .. }: Counted,
) -> Result<Response, ApiError> {
    let call_id = body.required_text("callId")?;
    let request = gather_request(&body)?;
    let (digits, timeout) = (request.num_digits, request.timeout.as_millis());
    app.calls.gather(&auth, call_id, request).await?;
    Ok(success(answer::Gathering {
        message: format!("Gathering {digits} digits with {timeout}ms timeout"),
        call_id,
        expected_digits: digits,
        timeout_ms: u64::try_from(timeout).unwrap_or(u64::MAX),
    }))
}

pub(super) async fn answer(
    State(app): State<App>,
    Body(auth, body): Body,
) -> Result<Response, ApiError> {
    let call_id = body.required_text("callId")?;
    app.calls.answer(&auth, call_id).await?;
    Ok(success(answer::Answering { message: "Call is being answered", call_id }))
}

pub(super) async fn stop(
    State(app): State<App>,
    Body(auth, body): Body,
) -> Result<Response, ApiError> {
    let call_id = body.required_text("callId")?;
    let stopped = app.calls.stop(&auth, call_id).await?;
    Ok(success(answer::Stopped { message: "Playback stopped", call_id, stopped }))
}

pub(super) async fn dtmf(
    State(app): State<App>,
    Body(auth, body): Body,
) -> Result<Response, ApiError> {
    let call_id = body.required_text("callId")?;
    let text = body.digits("digits")?.ok_or_else(|| missing("digits"))?;
    let digits = Digits::try_from(text.as_str())
        .map_err(|error| ApiError::invalid(format!("digits: {error}")))?;
    let length = |name| {
        let ms = body.integer(name, DIGIT_MS)?.unwrap_or(DEFAULT_DIGIT_MS);
        u16::try_from(ms).map_err(|_| ApiError::internal())
    };
    let (tone, gap) = (length("durationMs")?, length("gapMs")?);
    app.calls.send_digits(&auth, call_id, digits, tone, gap).await?;
    let count = text.chars().count();
    Ok(success(answer::SendingDigits {
        message: format!("Sending {count} digits"),
        call_id,
        digits: &text,
    }))
}

fn play_to(body: &Fields) -> Result<PlayTo, ApiError> {
    let choices = [("bridge", PlayTo::Bridge), ("channel", PlayTo::Channel)];
    Ok(body.choice("playTo", &choices)?.unwrap_or_default())
}

fn gather_request(body: &Fields) -> Result<GatherRequest, ApiError> {
    let prompt = match (body.text("text")?, body.text("file")?) {
        (Some(_), Some(_)) => return Err(ApiError::invalid("text and file: give one, not both")),
        (_, Some(_)) => Prompt::File(body.required_text("file")?.to_owned()),
        _ => Prompt::Text(body.required_text("text")?.to_owned()),
    };
    let digits = body.integer("numDigits", 1..=u64::from(MAX_GATHER_DIGITS))?;
    let timeout = body.integer("timeout", 1..=MAX_GATHER_MS)?;
    let between = body.integer("interDigitTimeout", 1..=MAX_GATHER_MS)?;
    Ok(GatherRequest {
        prompt,
        num_digits: digits.and_then(|digits| u8::try_from(digits).ok()).unwrap_or(1),
        timeout: Duration::from_millis(timeout.unwrap_or(10_000)),
        inter_digit_timeout: between.map(Duration::from_millis),
        finish_on_key: finish_on_key(body)?,
        barge_in: body.boolean("bargeIn")?.unwrap_or(true),
        flush: body.boolean("flush")?.unwrap_or(true),
        play_to: play_to(body)?,
    })
}

fn finish_on_key(body: &Fields) -> Result<Option<char>, ApiError> {
    let Some(text) = body.text("finishOnKey")?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let mut keys = text.chars();
    match (keys.next().map(|key| key.to_ascii_uppercase()), keys.next()) {
        (Some(key @ ('0'..='9' | '*' | '#' | 'A'..='D')), None) => Ok(Some(key)),
        _ => Err(wrong("finishOnKey", "one of 0-9, *, #, A-D")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<GatherRequest, ApiError> {
        gather_request(&Fields::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_gather_has_the_contracts_defaults() {
        let gather = request(r#"{"text": "Enter"}"#).unwrap();
        assert_eq!(gather.num_digits, 1);
        assert_eq!(gather.timeout, Duration::from_secs(10));
        assert_eq!(gather.finish_on_key, None);
        assert!(gather.barge_in && gather.flush);
        assert_eq!(gather.play_to, PlayTo::Bridge);
    }

    #[test]
    fn a_gather_takes_exactly_one_prompt_and_refuses_by_name() {
        for (text, message) in [
            ("{}", "text is required"),
            (r#"{"text":"a","file":"b"}"#, "text and file"),
            (r#"{"text":"a","numDigits":65}"#, "numDigits must be"),
            (r#"{"text":"a","timeout":"soon"}"#, "timeout must be"),
            (r#"{"text":"a","finishOnKey":"12"}"#, "finishOnKey must be"),
            (r#"{"text":"a","playTo":"moon"}"#, "playTo must be bridge or channel"),
        ] {
            let error = request(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {}", error.message);
        }
    }
}
