//! `GET /calls` and `/calls/:callId`: live calls of the key.

use axum::extract::{Path, State};
use axum::response::Response;

use super::auth::Customer;
use super::error::ApiError;
use super::{App, answer, success};
use crate::call::{AmdView, CallView, CommandError, GatherView, RecordingView};
use crate::store::Millis;

pub(super) async fn list(
    State(app): State<App>,
    Customer(auth): Customer,
) -> Result<Response, ApiError> {
    let calls: Vec<answer::Call> = app.calls.active(&auth).iter().map(|view| show(view)).collect();
    Ok(success(answer::Calls {
        total_calls: calls.len(),
        active_calls: calls.len(),
        calls,
        timestamp: Millis::wall_clock(),
    }))
}

pub(super) async fn one(
    State(app): State<App>,
    Customer(auth): Customer,
    Path(call_id): Path<String>,
) -> Result<Response, ApiError> {
    let view = app.calls.view(&auth, &call_id).ok_or(CommandError::NotFound)?;
    Ok(success(show(&view)))
}

fn show(view: &CallView) -> answer::Call {
    answer::Call {
        call_id: view.call_id.clone(),
        status: view.status,
        direction: view.direction.as_str(),
        number: view.number.clone(),
        to: view.to.clone(),
        from: view.caller_id.clone(),
        caller_id: view.caller_id.clone(),
        trunk: view.trunk.clone(),
        amd: view.amd.as_ref().map(AmdView::shown),
        gather: view.gather.as_ref().map(GatherView::shown),
        recording: view.recording.as_ref().map(RecordingView::shown),
        voice_name: view.voice_name.clone(),
        has_bridge: view.has_bridge,
        has_snoop: false,
        metadata: view.metadata.clone(),
        created_at: view.created_at,
        answered_at: view.answered_at,
    }
}
