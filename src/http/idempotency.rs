//! `Idempotency-Key` on `/makecall` and `/batchcall`: the same key and body gives the first answer
//! again and places no second call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use sha2::{Digest as _, Sha256};
use tokio::sync::OwnedMutexGuard;

use super::code::Code;
use super::error::ApiError;
use super::{App, answer};
use crate::store::{Authenticated, Idempotency, KeyId, Millis, Remembered};

/// The longest key.
const MAX_KEY: usize = 255;

/// How long a second request waits for the first one's answer: longer than that may take.
const PATIENCE: Duration = Duration::from_secs(12);

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

/// Requests with the same `Idempotency-Key` of the same key take turns: the first is answered
/// before the second takes a port, a channel or a place in a second.
#[derive(Clone, Debug, Default)]
pub struct Answering(Arc<Mutex<HashMap<One, Queue>>>);

type One = (KeyId, String);

/// How many there are, and whose turn it is.
#[derive(Debug, Default)]
struct Queue(usize, Arc<tokio::sync::Mutex<()>>);

/// A request in its queue; it leaves with this value.
struct Queued {
    all: Answering,
    one: One,
}

/// A request whose turn it is, for as long as this value lives.
pub(super) struct Turn {
    // Released before the queue is left. `None`: the one before takes longer than it may.
    _turn: Option<OwnedMutexGuard<()>>,
    _queued: Queued,
}

impl Answering {
    async fn turn(&self, key: KeyId, idempotency: &Idempotency) -> Turn {
        let one = (key, idempotency.token.clone());
        let turn = {
            let mut all = self.lock();
            let Queue(count, turn) = all.entry(one.clone()).or_default();
            *count += 1;
            Arc::clone(turn)
        };
        let queued = Queued { all: self.clone(), one };
        let turn = tokio::time::timeout(PATIENCE, turn.lock_owned()).await;
        Turn { _turn: turn.ok(), _queued: queued }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<One, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(Queue(count, _)) = all.get_mut(&self.one) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.one);
            }
        }
    }
}

/// What a request with an `Idempotency-Key` is.
pub(super) enum Place {
    /// The first one: to be answered within its turn.
    First(Turn),
    /// Another one, with its answer.
    Repeated(Response),
}

/// Whether a request is the first with its key, once it is its turn.
///
/// # Errors
/// 409 where the key was sent with another request.
pub(super) async fn place(
    app: &App,
    auth: &Authenticated,
    idempotency: &Idempotency,
) -> Result<Place, ApiError> {
    let known = known(app, auth, idempotency).await?;
    if let Some(answer) = known.as_ref().and_then(first_answer) {
        return Ok(Place::Repeated(answer));
    }
    let turn = app.answering.turn(auth.key, idempotency).await;
    Ok(match repeated(app, auth, idempotency).await? {
        Some(answer) => Place::Repeated(answer),
        None => Place::First(turn),
    })
}

/// The answer to a request that has been made before: the first answer, or where that is lost the
/// same call as it is now.
///
/// # Errors
/// 409 where the key was sent with another request.
pub(super) async fn repeated(
    app: &App,
    auth: &Authenticated,
    idempotency: &Idempotency,
) -> Result<Option<Response>, ApiError> {
    let Some(known) = known(app, auth, idempotency).await? else { return Ok(None) };
    match first_answer(&known) {
        Some(answer) => Ok(Some(answer)),
        None => present_state(app, auth, &known).await.map(Some),
    }
}

async fn known(
    app: &App,
    auth: &Authenticated,
    idempotency: &Idempotency,
) -> Result<Option<Remembered>, ApiError> {
    let known = app.store.remembered(auth, &idempotency.token, Millis::wall_clock()).await?;
    if known.as_ref().is_some_and(|known| known.body_hash != idempotency.body_hash) {
        return Err(ApiError::new(
            Code::IdempotencyConflict,
            "This Idempotency-Key was sent with another request",
        ));
    }
    Ok(known)
}

fn first_answer(known: &Remembered) -> Option<Response> {
    let status = StatusCode::from_u16(u16::try_from(known.status?).ok()?).ok()?;
    let body = serde_json::from_str(known.response.as_deref()?).ok()?;
    let mut response = super::place::respond(status, body);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Some(response)
}

/// Tells a client that an answer is an earlier one.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The first answer was lost in a crash, or its client went away: the same call, as it is now.
async fn present_state(
    app: &App,
    auth: &Authenticated,
    known: &Remembered,
) -> Result<Response, ApiError> {
    let row = app.store.call(auth, &known.call_id).await?.ok_or_else(ApiError::internal)?;
    let account = app.store.account(auth).await?;
    Ok(super::success(answer::PlacedBefore {
        call_id: row.call_id,
        status: row.status,
        credits: account.map(|key| key.credits),
        trunk: row.trunk,
        end_reason: row.end_reason,
        hangup_cause: row.hangup_cause,
        sip_status: row.sip_status,
        timestamp: Millis::wall_clock(),
    }))
}
