//! `GET /health`: the one path without a key.

use axum::Json;
use axum::extract::State;

use super::{App, answer};
use crate::store::Millis;

/// The API's version, which clients know; ours is `build`.
pub(super) const API_VERSION: &str = "2.0.0";

pub(super) async fn health(State(app): State<App>) -> Json<answer::Health> {
    Json(answer::Health {
        status: "healthy",
        service: "Kaphila API Telephony API",
        version: API_VERSION,
        build: env!("CARGO_PKG_VERSION"),
        timestamp: Millis::wall_clock(),
        stats: answer::Stats { active_calls: app.calls.active_count() },
        features: answer::Features {
            recording: "bridge-only",
            amd: "classic",
            tts: app.speech,
            playback: "bridge-safe",
        },
    })
}
