//! The customers' REST API, thin over `call` and `store`.
//!
//! It knows paths, JSON and status codes. It refuses to know SIP, media and SQL. Start at
//! [`router`]; [`serve`] is the accept loop.

mod access;
mod account;
mod answer;
mod auth;
mod body;
mod calendar;
mod calls;
mod code;
mod control;
mod crowd;
mod dashboard;
mod download;
mod error;
mod fields;
mod health;
mod idempotency;
mod limits;
pub mod openapi;
mod outgoing;
mod page;
mod place;
mod recordings;
mod routes;
mod schema;
pub mod serve;
pub mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::call::{AmdParams, Calls, WebhookPolicy};
use crate::store::{RateDecision, Store};
use access::Line;
use code::Code;
use error::ApiError;
pub use idempotency::Answering;

/// What handlers work with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Live calls.
    pub calls: Calls,
    /// The database.
    pub store: Store,
    /// The folder of recordings.
    pub recordings: Arc<Path>,
    /// The largest body, in bytes.
    pub max_body: usize,
    /// Which webhook targets are allowed.
    pub webhooks: WebhookPolicy,
    /// `ringTimeout` of a request that has none.
    pub ring_timeout: Duration,
    /// The detector's parameters before a request's own.
    pub amd: AmdParams,
    /// Who speaks, as `/health` tells it.
    pub speech: &'static str,
    /// The proxies whose word is taken for the client's address.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Requests whose answers others with the same `Idempotency-Key` wait for.
    pub answering: Answering,
}

/// Every route of the API, with its error envelope.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for route in routes::all() {
        router = router.route(route.path, route.handler);
    }
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.trusted_proxies.clone(), envelope))
        .with_state(app)
}

async fn unknown_path() -> ApiError {
    ApiError::not_found(Code::NotFound, "Not found")
}

async fn wrong_method(method: Method) -> ApiError {
    let message = format!("Method {method} is not allowed here");
    ApiError::new(Code::MethodNotAllowed, message)
}

/// Gives each request an id, renders refusals with it, and says in headers and log what it was.
async fn envelope(
    State(proxies): State<Arc<[IpNet]>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request_id();
    let line = Line::begin(&mut request, &proxies);
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let kept = [header::ALLOW, header::CONTENT_RANGE, idempotency::REPLAYED].map(|name| {
            let value = response.headers_mut().remove(&name);
            (name, value)
        });
        response = error.render(&id);
        for (name, value) in kept {
            value.and_then(|value| response.headers_mut().insert(name, value));
        }
    } else if is_bare_rejection(&response) {
        // The framework's own refusals (an undecodable path) come without our envelope.
        response = ApiError::invalid("The path could not be read").render(&id);
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-request-id", id);
    }
    if let Some(decision) = line.notes().rate.get() {
        tell_rate(&mut response, decision);
    }
    line.end(&mut response, &id);
    response
}

fn request_id() -> String {
    format!("req_{:016x}", rand::random::<u64>())
}

fn is_bare_rejection(response: &Response) -> bool {
    let plain = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    response.status() == StatusCode::BAD_REQUEST && plain
}

fn tell_rate(response: &mut Response, decision: &RateDecision) {
    let headers = response.headers_mut();
    headers.insert("ratelimit-limit", decision.limit.into());
    headers.insert("ratelimit-remaining", decision.remaining.into());
    headers.insert("ratelimit-reset", decision.reset_secs.into());
}

/// A success: the members given, behind `"success": true`.
fn success(body: impl Serialize) -> Response {
    axum::Json(behind_success(body)).into_response()
}

fn behind_success(body: impl Serialize) -> Value {
    let mut members = Map::from_iter([("success".to_owned(), true.into())]);
    // An answer is an object; only a map with keys that are no text cannot be written.
    if let Ok(Value::Object(rest)) = serde_json::to_value(body) {
        members.extend(rest);
    }
    Value::Object(members)
}
