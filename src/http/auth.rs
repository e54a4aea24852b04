//! Who asks, how much, and with what: the order of refusals is key 401 (before the body is read),
//! size 413, hourly limit 429, body 400.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;

use super::access::Notes;
use super::code::Code;
use super::error::ApiError;
use super::fields::Fields;
use super::{App, idempotency, limits};
use crate::store::{Authenticated, Idempotency, Millis, RateDecision};

/// A request with a valid key; its body is not looked at.
#[derive(Debug)]
pub(super) struct Customer(pub(super) Authenticated);

impl FromRequestParts<App> for Customer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        authenticate(parts, app).await.map(Self)
    }
}

/// A request with a valid key and a JSON object, not counted.
#[derive(Debug)]
pub(super) struct Body(pub(super) Authenticated, pub(super) Fields);

impl FromRequest<App> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let auth = authenticate(&parts, app).await?;
        let bytes = read(&parts, body, app.max_body).await?;
        Ok(Self(auth, Fields::parse(&bytes)?))
    }
}

/// A request with a valid key and a JSON object, counted against the key's hour.
#[derive(Debug)]
pub(super) struct Counted {
    /// Whose request.
    pub(super) auth: Authenticated,
    /// Its body.
    pub(super) body: Fields,
    /// Its `Idempotency-Key`, which only `/makecall` and `/batchcall` look at.
    pub(super) idempotency: Option<Idempotency>,
}

impl FromRequest<App> for Counted {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let auth = authenticate(&parts, app).await?;
        let bytes = read(&parts, body, app.max_body).await?;
        match app.store.count_request(&auth, Millis::wall_clock()).await {
            Ok(None) => return Err(ApiError::unauthorized("Invalid API key")),
            Ok(Some(decision)) => within(decision, &parts)?,
            // A live call needs no database to be hung up: better not counted than refused.
            Err(error) if error.is_unavailable() && !places_a_call(&parts) => {}
            Err(error) => return Err(error.into()),
        }
        let body = Fields::parse(&bytes)?;
        let idempotency = idempotency::token(&parts.headers, parts.uri.path(), &bytes)?;
        Ok(Self { auth, body, idempotency })
    }
}

/// 429 beyond the limit; the response's headers tell where the key stands.
fn within(decision: RateDecision, parts: &Parts) -> Result<(), ApiError> {
    if let Some(notes) = parts.extensions.get::<Arc<Notes>>() {
        // Set once a request; a second time would say the same.
        let _ = notes.rate.set(decision);
    }
    if decision.allowed {
        return Ok(());
    }
    let wait = u32::try_from(decision.reset_secs).unwrap_or(1).max(1);
    Err(ApiError::new(Code::RateLimit, "Rate limit exceeded").retry_after(wait))
}

fn places_a_call(parts: &Parts) -> bool {
    matches!(parts.uri.path(), "/makecall" | "/batchcall")
}

async fn authenticate(parts: &Parts, app: &App) -> Result<Authenticated, ApiError> {
    let key = presented(&parts.headers).ok_or_else(|| ApiError::unauthorized("Missing API key"))?;
    let auth = app
        .store
        .authenticate(&key, Millis::wall_clock())
        .await?
        .ok_or_else(|| ApiError::unauthorized("Invalid API key"))?;
    if let Some(notes) = parts.extensions.get::<Arc<Notes>>() {
        // A request has one key.
        let _ = notes.key_id.set(auth.key_id.clone());
    }
    Ok(auth)
}

/// The key in `Authorization`: as Bearer, or as the password of Basic.
fn presented(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return (!rest.is_empty()).then(|| rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (_, password) = text.split_once(':')?;
    (!password.is_empty()).then(|| password.to_owned())
}

async fn read(parts: &Parts, body: axum::body::Body, limit: usize) -> Result<Bytes, ApiError> {
    uncompressed(&parts.headers)?;
    let too_large = || {
        let message = format!("The body is larger than {limit} bytes");
        ApiError::new(Code::BodyTooLarge, message)
    };
    // What says beforehand that it is too long is not waited for.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(limits::BODY_TIME, collect(Limited::new(body, limit))).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::invalid("The body could not be read")),
        Err(_) => Err(ApiError::new(Code::BodyTimeout, "The body did not arrive in time")),
    }
}

/// The frames of a body as one piece: kept apart, those of a byte each would take a hundred times
/// what they hold.
async fn collect(mut body: Limited<axum::body::Body>) -> Result<Bytes, axum::BoxError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole.freeze())
}

/// 415 for a compressed body: a kilobyte of it could be a gigabyte.
fn uncompressed(headers: &HeaderMap) -> Result<(), ApiError> {
    let encodings = headers.get_all(header::CONTENT_ENCODING);
    if encodings.iter().all(|it| it.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let message = "Content-Encoding is not accepted: send the body as it is";
    Err(ApiError::new(Code::UnsupportedEncoding, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        presented(&headers)
    }

    #[test]
    fn keys_come_as_bearer_or_as_basic_password() {
        assert_eq!(key("Bearer ak_1").as_deref(), Some("ak_1"));
        assert_eq!(key("bearer  ak_1 ").as_deref(), Some("ak_1"));
        // base64("user:ak_1")
        assert_eq!(key("Basic dXNlcjpha18x").as_deref(), Some("ak_1"));
        for bad in ["", "Bearer", "Bearer ", "Basic !!!", "Basic dXNlcg==", "Digest x"] {
            assert_eq!(key(bad), None, "{bad}");
        }
    }
}
