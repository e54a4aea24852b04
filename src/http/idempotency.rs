//! `Idempotency-Key` on `/makecall` and `/batchcall`: the same key and body gives the first answer
//! again and places no second call.
#![allow(clippy::disallowed_methods, reason = "waits for the answer of a request under way")]

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::App;
use super::error::ApiError;
use crate::store::{Authenticated, Idempotency, Millis, Remembered};

/// The longest key.
const MAX_KEY: usize = 255;

/// How long a second request waits for the first one's answer: longer than that may take.
const PATIENCE: Duration = Duration::from_secs(12);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

/// The request's key, with what it was sent with.
///
/// # Errors
/// 400 when it is empty, too long or not printable.
pub(super) fn token(
    headers: &HeaderMap,
    path: &str,
    body: &[u8],
) -> Result<Option<Idempotency>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let token = value.to_str().ok().filter(|it| (1..=MAX_KEY).contains(&it.len()));
    let token = token.ok_or_else(|| {
        ApiError::invalid(format!("Idempotency-Key must be 1 to {MAX_KEY} printable characters"))
    })?;
    let hash = Sha256::new().chain_update(path).chain_update([0]).chain_update(body).finalize();
    let body_hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(Idempotency { token: token.to_owned(), body_hash }))
}

/// The answer that `idempotency` stands for already, if it does.
///
/// # Errors
/// 409 where it was sent with another request.
pub(super) async fn replay(
    app: &App,
    auth: &Authenticated,
    idempotency: &Idempotency,
) -> Result<Option<Response>, ApiError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let known = app.store.remembered(auth, &idempotency.token, Millis::wall_clock()).await?;
        let Some(known) = known else { return Ok(None) };
        if known.body_hash != idempotency.body_hash {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "IDEMPOTENCY_CONFLICT",
                "This Idempotency-Key was sent with another request",
            ));
        }
        if let Some(response) = first_answer(&known) {
            return Ok(Some(response));
        }
        let under_way = app.calls.view(auth, &known.call_id).is_some();
        if !under_way || tokio::time::Instant::now() > deadline {
            return present_state(app, auth, &known).await.map(Some);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn first_answer(known: &Remembered) -> Option<Response> {
    let status = StatusCode::from_u16(u16::try_from(known.status?).ok()?).ok()?;
    let body = known.response.clone()?;
    let kind = [(header::CONTENT_TYPE, "application/json"), (REPLAYED, "true")];
    Some((status, kind, body).into_response())
}

/// Tells a client that an answer is an earlier one.
const REPLAYED: header::HeaderName = header::HeaderName::from_static("idempotency-replayed");

/// The first answer was lost in a crash: the same call, as it is now.
async fn present_state(
    app: &App,
    auth: &Authenticated,
    known: &Remembered,
) -> Result<Response, ApiError> {
    let row = app.store.call(auth, &known.call_id).await?.ok_or_else(ApiError::internal)?;
    let account = app.store.account(auth).await?;
    Ok(super::success(json!({
        "callId": row.call_id,
        "status": row.status.as_str(),
        "credits": account.map(|key| key.credits),
        "trunk": row.trunk,
        "endReason": row.end_reason,
        "hangupCause": row.hangup_cause,
        "sipStatus": row.sip_status,
        "timestamp": Millis::wall_clock(),
    })))
}
