//! `GET /health`: the one path without a key.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::App;
use crate::store::Millis;

/// The API's version, which clients know; ours is `build`.
const API_VERSION: &str = "2.0.0";

pub(super) async fn health(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "status": "healthy",
        "service": "Kaphila API Telephony API",
        "version": API_VERSION,
        "build": env!("CARGO_PKG_VERSION"),
        "timestamp": Millis::wall_clock(),
        "stats": { "activeCalls": app.calls.active_count() },
        "features": {
            "recording": "bridge-only",
            "amd": "classic",
            "tts": app.speech,
            "playback": "bridge-safe",
        },
    }))
}
