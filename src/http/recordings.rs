//! The five paths of recordings. A file is found by its row, never by a client's path.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Value, json};

use super::auth::Customer;
use super::download::{self, File};
use super::error::ApiError;
use super::{App, success};
use crate::store::Recording;

/// The most finished recordings that one listing shows, the newest first.
const LISTED: u32 = 10_000;

pub(super) async fn list(
    State(app): State<App>,
    Customer(auth): Customer,
) -> Result<Response, ApiError> {
    let recordings = app.store.recordings(&auth, LISTED).await?;
    let (finished, active): (Vec<_>, Vec<_>) =
        recordings.iter().partition(|recording| recording.finished_at.is_some());
    let active: Vec<Value> = active
        .into_iter()
        .map(|recording| {
            json!({
                "callId": recording.call_id,
                "filename": recording.filename,
                "recordingId": recording.recording_id,
                "active": true,
            })
        })
        .collect();
    let files: Vec<Value> = finished
        .into_iter()
        .map(|recording| {
            json!({
                "filename": recording.filename,
                "size": recording.bytes,
                "createdAt": recording.started_at,
                "callId": recording.call_id,
                "duration": recording.duration_ms as f64 / 1000.0,
                "partial": recording.partial,
            })
        })
        .collect();
    Ok(success(json!({ "active": active, "files": files })))
}

pub(super) async fn one(
    State(app): State<App>,
    Customer(auth): Customer,
    Path(call_id): Path<String>,
) -> Result<Response, ApiError> {
    let recording = app.store.recording_of_call(&auth, &call_id).await?.ok_or_else(not_found)?;
    Ok(success(json!({
        "callId": recording.call_id,
        "recordingId": recording.recording_id,
        "filename": recording.filename,
        "active": recording.finished_at.is_none(),
    })))
}

pub(super) async fn download(
    State(app): State<App>,
    Customer(auth): Customer,
    Path(call_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let recording = app.store.recording_of_call(&auth, &call_id).await?.ok_or_else(not_found)?;
    send(&app, &recording, &headers).await
}

pub(super) async fn download_file(
    State(app): State<App>,
    Customer(auth): Customer,
    Path(filename): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if filename.contains(['/', '\\', '\0']) || !filename.ends_with(".wav") {
        let message = "filename must be a plain name that ends in .wav";
        return Err(ApiError::invalid(message));
    }
    let found = app.store.recording_by_filename(&auth, &filename).await?;
    send(&app, &found.ok_or_else(not_found)?, &headers).await
}

pub(super) async fn stop(
    State(app): State<App>,
    Customer(auth): Customer,
    Path(call_id): Path<String>,
) -> Result<Response, ApiError> {
    let recording = app.calls.stop_recording(&auth, &call_id).await?;
    Ok(success(json!({
        "message": "Recording stopped successfully",
        "filename": recording.filename,
        "recordingId": recording.recording_id,
    })))
}

async fn send(app: &App, recording: &Recording, headers: &HeaderMap) -> Result<Response, ApiError> {
    let path = app.recordings.join(&recording.filename);
    match File::open(&path, recording.finished_at.is_none()).await {
        Ok(file) => download::respond(file, &recording.filename, headers).await,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(not_found()),
        Err(error) => {
            tracing::error!(call_id = recording.call_id, %error, "a recording can't be read");
            Err(ApiError::internal())
        }
    }
}

fn not_found() -> ApiError {
    ApiError::not_found("RECORDING_NOT_FOUND", "Recording not found")
}
