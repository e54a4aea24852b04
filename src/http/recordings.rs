//! The five paths of recordings. A file is found by its row, never by a client's path.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use super::auth::Customer;
use super::code::Code;
use super::download::{self, File};
use super::error::ApiError;
use super::{App, answer, success};
use crate::store::{Authenticated, Recording};

/// The most finished recordings that one listing shows, the newest first.
const LISTED: u32 = 10_000;

pub(super) async fn list(
    State(app): State<App>,
    Customer(auth): Customer,
) -> Result<Response, ApiError> {
    let recordings = app.store.recordings(&auth, LISTED).await?;
    let (finished, active): (Vec<_>, Vec<_>) =
        recordings.iter().partition(|recording| recording.finished_at.is_some());
    let active = active.into_iter().filter(|it| is_active(&app, &auth, it));
    let active = active.map(|recording| answer::ActiveRecording {
        call_id: recording.call_id.clone(),
        filename: recording.filename.clone(),
        recording_id: recording.recording_id.clone(),
        active: true,
    });
    let files = finished.into_iter().map(|recording| answer::RecordingFile {
        filename: recording.filename.clone(),
        size: recording.bytes,
        created_at: recording.started_at,
        call_id: recording.call_id.clone(),
        duration: recording.duration_ms as f64 / 1000.0,
        partial: recording.partial.clone(),
    });
    Ok(success(answer::Recordings { active: active.collect(), files: files.collect() }))
}

pub(super) async fn one(
    State(app): State<App>,
    Customer(auth): Customer,
    Path(call_id): Path<String>,
) -> Result<Response, ApiError> {
    let recording = app.store.recording_of_call(&auth, &call_id).await?.ok_or_else(not_found)?;
    let path = app.recordings.join(&recording.filename);
    if recording.finished_at.is_some() && matches!(tokio::fs::try_exists(path).await, Ok(false)) {
        return Err(not_found());
    }
    Ok(success(answer::RecordingOfCall {
        active: is_active(&app, &auth, &recording),
        call_id: recording.call_id,
        recording_id: recording.recording_id,
        filename: recording.filename,
    }))
}

pub(super) async fn download(
    State(app): State<App>,
    Customer(auth): Customer,
    Path(call_id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let recording = app.store.recording_of_call(&auth, &call_id).await?.ok_or_else(not_found)?;
    send(&app, &recording, &method, &headers).await
}

pub(super) async fn download_file(
    State(app): State<App>,
    Customer(auth): Customer,
    Path(filename): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if filename.contains(['/', '\\', '\0']) || !filename.ends_with(".wav") {
        let message = "filename must be a plain name that ends in .wav";
        return Err(ApiError::invalid(message));
    }
    let found = app.store.recording_by_filename(&auth, &filename).await?;
    send(&app, &found.ok_or_else(not_found)?, &method, &headers).await
}

pub(super) async fn stop(
    State(app): State<App>,
    Customer(auth): Customer,
    Path(call_id): Path<String>,
) -> Result<Response, ApiError> {
    let recording = app.calls.stop_recording(&auth, &call_id).await?;
    Ok(success(answer::RecordingStopped {
        message: "Recording stopped successfully",
        filename: recording.filename,
        recording_id: recording.recording_id,
    }))
}

/// Whether it is being written: one that was stopped is not, though its row may say so a moment
/// longer.
fn is_active(app: &App, auth: &Authenticated, recording: &Recording) -> bool {
    let is_stopped = app.calls.view(auth, &recording.call_id).is_some_and(|call| {
        let live = call.recording.as_ref();
        live.is_some_and(|it| it.recording_id == recording.recording_id && !it.active)
    });
    recording.finished_at.is_none() && !is_stopped
}

async fn send(
    app: &App,
    recording: &Recording,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let path = app.recordings.join(&recording.filename);
    match File::open(&path, recording.finished_at.is_none()).await {
        Ok(file) => download::respond(file, &recording.filename, method, headers).await,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(not_found()),
        Err(error) => {
            tracing::error!(call_id = recording.call_id, %error, "a recording can't be read");
            Err(ApiError::internal())
        }
    }
}

fn not_found() -> ApiError {
    ApiError::not_found(Code::RecordingNotFound, "Recording not found")
}
