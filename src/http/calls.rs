//! `GET /calls` and `/calls/:callId`: live calls of the key.

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::auth::Customer;
use super::error::ApiError;
use super::{App, success};
use crate::call::{CallView, CommandError};
use crate::store::Millis;

pub(super) async fn list(
    State(app): State<App>,
    Customer(auth): Customer,
) -> Result<Response, ApiError> {
    let calls: Vec<Value> = app.calls.active(&auth).iter().map(|view| show(view)).collect();
    Ok(success(json!({
        "totalCalls": calls.len(),
        "activeCalls": calls.len(),
        "calls": calls,
        "timestamp": Millis::wall_clock(),
    })))
}

pub(super) async fn one(
    State(app): State<App>,
    Customer(auth): Customer,
    Path(call_id): Path<String>,
) -> Result<Response, ApiError> {
    let view = app.calls.view(&auth, &call_id).ok_or(CommandError::NotFound)?;
    Ok(success(show(&view)))
}

fn show(view: &CallView) -> Value {
    json!({
        "callId": view.call_id,
        "status": view.status.as_str(),
        "direction": view.direction(),
        "number": view.number,
        "to": view.number,
        "from": view.caller_id,
        "callerId": view.caller_id,
        "trunk": view.trunk,
        "amd": view.amd.as_ref().map(|amd| amd.to_json()),
        "gather": view.gather.as_ref().map(|gather| gather.to_json()),
        "recording": view.recording.as_ref().map(|recording| recording.to_json()),
        "voiceName": view.voice_name,
        "hasBridge": view.has_bridge,
        "hasSnoop": false,
        "metadata": view.metadata,
        "createdAt": view.created_at,
        "answeredAt": view.answered_at,
    })
}
