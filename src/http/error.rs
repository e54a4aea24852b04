//! The error envelope: `{"success": false, "error", "code", "requestId"}`, whatever went wrong.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::call::{CommandError, PlaceRefusal};
use crate::store::StoreError;

/// A refusal on its way out. The router renders it once the request's id is known.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    /// HTTP status.
    pub(super) status: StatusCode,
    /// UPPER_SNAKE.
    pub(super) code: &'static str,
    /// A sentence for a person.
    pub(super) message: Cow<'static, str>,
    /// Seconds for Retry-After.
    pub(super) retry_after: Option<u32>,
    /// More members of the envelope.
    pub(super) details: serde_json::Map<String, serde_json::Value>,
}

impl ApiError {
    /// A refusal with a status, a code and a sentence.
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (message, details) = (message.into(), serde_json::Map::new());
        Self { status, code, message, retry_after: None, details }
    }

    /// 400: a field is missing, of the wrong type or out of range.
    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message)
    }

    /// 401.
    pub(super) fn unauthorized(message: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    /// 404 for a thing that is not there, or another key's.
    pub(super) fn not_found(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 500: a fault of ours; what it was goes to the log, not to the client.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "Internal server error")
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
        body.insert("code".into(), self.code.into());
        body.insert("requestId".into(), request_id.into());
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let schemes = HeaderValue::from_static("Bearer realm=\"kaphila\"");
            headers.insert(header::WWW_AUTHENTICATE, schemes);
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
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
        let (status, code) = match &refusal {
            PlaceRefusal::InvalidNumber(_) => (StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
            PlaceRefusal::CallerIdDenied => (StatusCode::FORBIDDEN, "CALLER_ID_DENIED"),
            PlaceRefusal::DestinationDenied => (StatusCode::FORBIDDEN, "DESTINATION_DENIED"),
            PlaceRefusal::NoTrunks => (StatusCode::SERVICE_UNAVAILABLE, "NO_TRUNKS"),
            PlaceRefusal::InsufficientCredits => {
                (StatusCode::PAYMENT_REQUIRED, "INSUFFICIENT_CREDITS")
            }
            PlaceRefusal::ConcurrentCalls => (StatusCode::TOO_MANY_REQUESTS, "CONCURRENT_CALLS"),
            PlaceRefusal::CallsPerSecond => (StatusCode::TOO_MANY_REQUESTS, "CALLS_PER_SECOND"),
            PlaceRefusal::AtCapacity => (StatusCode::SERVICE_UNAVAILABLE, "AT_CAPACITY"),
            PlaceRefusal::TrunkLimit => (StatusCode::SERVICE_UNAVAILABLE, "TRUNK_LIMIT"),
            PlaceRefusal::Draining => (StatusCode::SERVICE_UNAVAILABLE, "DRAINING"),
            PlaceRefusal::DatabaseUnavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "DATABASE_UNAVAILABLE")
            }
            PlaceRefusal::KeyGone => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            PlaceRefusal::Repeated(_) => (StatusCode::CONFLICT, "IDEMPOTENCY_CONFLICT"),
            PlaceRefusal::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
        };
        let mut error = Self::new(status, code, refusal.to_string());
        error.retry_after = refusal.retry_after();
        error
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        let (status, code) = match &error {
            CommandError::NotFound => (StatusCode::NOT_FOUND, "CALL_NOT_FOUND"),
            CommandError::NotAnswered => (StatusCode::BAD_REQUEST, "CALL_NOT_ANSWERED"),
            CommandError::GatherInProgress => (StatusCode::BAD_REQUEST, "GATHER_IN_PROGRESS"),
            CommandError::NoRecording => (StatusCode::NOT_FOUND, "RECORDING_NOT_FOUND"),
            CommandError::BadPrompt(_) => (StatusCode::BAD_REQUEST, "INVALID_REQUEST"),
            CommandError::SoundNotFound => (StatusCode::NOT_FOUND, "SOUND_NOT_FOUND"),
            CommandError::PromptFailed => (StatusCode::INTERNAL_SERVER_ERROR, "PROMPT_FAILED"),
            CommandError::QueueFull => (StatusCode::TOO_MANY_REQUESTS, "QUEUE_FULL"),
            CommandError::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
        };
        let error_text = error.to_string();
        let refused = Self::new(status, code, error_text);
        if matches!(error, CommandError::QueueFull) { refused.retry_after(1) } else { refused }
    }
}
