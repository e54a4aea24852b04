//! The error envelope: `{"success": false, "error", "code", "requestId"}`, whatever went wrong.

use std::borrow::Cow;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::code::Code;
use crate::call::{CommandError, PlaceRefusal};
use crate::store::StoreError;

/// A refusal on its way out. The router renders it once the request's id is known.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    /// What it is, and its status.
    pub(super) code: Code,
    /// A sentence for a person.
    pub(super) message: Cow<'static, str>,
    /// Seconds for Retry-After.
    pub(super) retry_after: Option<u32>,
    /// More members of the envelope.
    pub(super) details: serde_json::Map<String, serde_json::Value>,
}

impl ApiError {
    /// A refusal with a code and a sentence.
    pub(super) fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let (message, details) = (message.into(), serde_json::Map::new());
        Self { code, message, retry_after: None, details }
    }

    /// 400: a field is missing, of the wrong type or out of range.
    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, message)
    }

    /// 401.
    pub(super) fn unauthorized(message: &'static str) -> Self {
        Self::new(Code::Unauthorized, message)
    }

    /// 404 for a thing that is not there, or another key's.
    pub(super) fn not_found(code: Code, message: &'static str) -> Self {
        Self::new(code, message)
    }

    /// 500: a fault of ours; what it was goes to the log, not to the client.
    pub(super) fn internal() -> Self {
        Self::new(Code::InternalError, "Internal server error")
    }

    /// With Retry-After.
    #[must_use]
    pub(super) const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The response, once the request has an id.
    pub(super) fn render(&self, request_id: &str) -> Response {
        let mut body = self.details.clone();
        body.insert("success".into(), false.into());
        body.insert("error".into(), self.message.as_ref().into());
        body.insert("code".into(), self.code.as_str().into());
        body.insert("requestId".into(), request_id.into());
        let mut response = (self.code.status(), axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.code == Code::Unauthorized {
            let schemes = HeaderValue::from_static(
                "Bearer realm=\"kaphila\", Basic realm=\"kaphila\", charset=\"UTF-8\"",
            );
            headers.insert(header::WWW_AUTHENTICATE, schemes);
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            return PlaceRefusal::DatabaseUnavailable.into();
        }
        tracing::error!(%error, "the database refused what a request needed");
        Self::internal()
    }
}

impl From<PlaceRefusal> for ApiError {
    fn from(refusal: PlaceRefusal) -> Self {
        let code = match &refusal {
            PlaceRefusal::InvalidNumber(_) => Code::InvalidRequest,
            PlaceRefusal::CallerIdDenied => Code::CallerIdDenied,
            PlaceRefusal::DestinationDenied => Code::DestinationDenied,
            PlaceRefusal::NoTrunks => Code::NoTrunks,
            PlaceRefusal::InsufficientCredits => Code::InsufficientCredits,
            PlaceRefusal::ConcurrentCalls => Code::ConcurrentCalls,
            PlaceRefusal::CallsPerSecond => Code::CallsPerSecond,
            PlaceRefusal::AtCapacity => Code::AtCapacity,
            PlaceRefusal::TrunkLimit => Code::TrunkLimit,
            PlaceRefusal::Draining => Code::Draining,
            PlaceRefusal::DatabaseUnavailable => Code::DatabaseUnavailable,
            PlaceRefusal::KeyGone => Code::Unauthorized,
            PlaceRefusal::Repeated(_) => Code::IdempotencyConflict,
            PlaceRefusal::Internal => Code::InternalError,
        };
        let mut error = Self::new(code, refusal.to_string());
        error.retry_after = refusal.retry_after();
        error
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let code = match &error {
            CommandError::NotFound => Code::CallNotFound,
            CommandError::NotAnswered => Code::CallNotAnswered,
            CommandError::NotRinging => Code::CallNotRinging,
            CommandError::GatherInProgress => Code::GatherInProgress,
            CommandError::NoRecording => Code::RecordingNotFound,
            CommandError::BadPrompt(_) => Code::InvalidRequest,
            CommandError::SoundNotFound => Code::SoundNotFound,
            CommandError::PromptFailed => Code::PromptFailed,
            CommandError::QueueFull => Code::QueueFull,
            CommandError::Internal => Code::InternalError,
        };
        let error_text = error.to_string();
        let refused = Self::new(code, error_text);
        if matches!(error, CommandError::QueueFull) { refused.retry_after(1) } else { refused }
    }
}
