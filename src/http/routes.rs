//! Every route, once: its handler, and what the document says of it.

use axum::routing::{MethodRouter, get, post};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::code::Code::{self, *};
use super::{App, account, answer, body, calls, control, dashboard, health, openapi, page};
use super::{place, recordings};

/// Builds a schema.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// Who may ask, and whether it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Open,
    /// A key.
    Key,
    /// A key, and the request counts in its hour.
    Counted,
}

/// What a success looks like.
#[derive(Clone, Copy)]
pub(super) enum Success {
    /// JSON behind `"success": true`: one of these.
    Json(&'static [Shape]),
    /// JSON as it is.
    Bare(Shape),
    /// A WAV file, with ranges and entity tags.
    Recording,
    /// The OpenAPI document.
    Document,
    /// A page to read.
    Page,
}

/// A route.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    /// Takes an `Idempotency-Key`.
    pub(super) idempotent: bool,
    pub(super) body: Option<Shape>,
    pub(super) success: Success,
    /// What may be refused, beside what every route of its kind refuses.
    pub(super) errors: &'static [Code],
    pub(super) handler: MethodRouter<App>,
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Route {
    fn get(path: &'static str, summary: &'static str, handler: MethodRouter<App>) -> Self {
        Self {
            method: "get",
            path,
            summary,
            access: Access::Key,
            idempotent: false,
            body: None,
            success: Success::Json(&[]),
            errors: &[],
            handler,
        }
    }

    fn post(path: &'static str, summary: &'static str, handler: MethodRouter<App>) -> Self {
        Self { method: "post", ..Self::get(path, summary, handler) }
    }

    const fn open(mut self) -> Self {
        self.access = Access::Open;
        self
    }

    const fn counted(mut self) -> Self {
        self.access = Access::Counted;
        self
    }

    const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(of::<T>);
        self
    }

    const fn gives(mut self, success: Success) -> Self {
        self.success = success;
        self
    }

    const fn or(mut self, errors: &'static [Code]) -> Self {
        self.errors = errors;
        self
    }
}

/// What may go wrong with a command on a live call.
const COMMAND: &[Code] = &[CallNotFound, CallNotAnswered];
const PROMPT: &[Code] = &[CallNotFound, CallNotAnswered, SoundNotFound, QueueFull, PromptFailed];
const GATHER: &[Code] =
    &[CallNotFound, CallNotAnswered, GatherInProgress, SoundNotFound, QueueFull, PromptFailed];
const PLACING: &[Code] = &[
    InsufficientCredits,
    CallerIdDenied,
    DestinationDenied,
    IdempotencyConflict,
    ConcurrentCalls,
    CallsPerSecond,
    OriginationFailed,
    NoTrunks,
    AtCapacity,
    TrunkLimit,
    Draining,
];

/// All of them.
pub(super) fn all() -> Vec<Route> {
    let placed = Success::Json(&[of::<answer::Placed>, of::<answer::PlacedBefore>]);
    let place = |path, summary| {
        Route::post(path, summary, post(place::make_call))
            .counted()
            .idempotent()
            .takes::<body::MakeCall>()
            .gives(placed)
            .or(PLACING)
    };
    vec![
        Route::get("/health", "Is the service up?", get(health::health))
            .open()
            .gives(Success::Bare(of::<answer::Health>)),
        Route::get("/openapi.json", "This document", get(openapi::serve))
            .open()
            .gives(Success::Document),
        Route::get("/docs", "This document, to read", get(page::serve)).open().gives(Success::Page),
        place("/makecall", "Place a call"),
        place("/batchcall", "Place a call of a campaign"),
        Route::post("/hangup", "Hang a call up", post(control::hang_up))
            .counted()
            .takes::<body::OfCall>()
            .gives(Success::Json(&[of::<answer::HungUp<'_>>]))
            .or(&[CallNotFound]),
        Route::post("/answer", "Answer a call that came in", post(control::answer))
            .takes::<body::OfCall>()
            .gives(Success::Json(&[of::<answer::Answering<'_>>]))
            .or(&[CallNotFound, CallNotRinging]),
        Route::post("/voice", "Say a text", post(control::voice))
            .counted()
            .takes::<body::Voice>()
            .gives(Success::Json(&[of::<answer::Spoken<'_>>]))
            .or(PROMPT),
        Route::post("/play", "Play a sound", post(control::play))
            .counted()
            .takes::<body::Play>()
            .gives(Success::Json(&[of::<answer::Played<'_>>]))
            .or(PROMPT),
        Route::post("/gather", "Ask for digits", post(control::gather))
            .counted()
            .takes::<body::Gather>()
            .gives(Success::Json(&[of::<answer::Gathering<'_>>]))
            .or(GATHER),
        Route::post("/stop", "Stop what plays", post(control::stop))
            .takes::<body::OfCall>()
            .gives(Success::Json(&[of::<answer::Stopped<'_>>]))
            .or(COMMAND),
        Route::post("/dtmf", "Send digits", post(control::dtmf))
            .takes::<body::SendDigits>()
            .gives(Success::Json(&[of::<answer::SendingDigits<'_>>]))
            .or(&[CallNotFound, CallNotAnswered, QueueFull]),
        Route::get("/calls", "Live calls", get(calls::list))
            .gives(Success::Json(&[of::<answer::Calls>])),
        Route::get("/calls/{call_id}", "A live call", get(calls::one))
            .gives(Success::Json(&[of::<answer::Call>]))
            .or(&[CallNotFound]),
        Route::get("/recordings", "All recordings", get(recordings::list))
            .gives(Success::Json(&[of::<answer::Recordings>])),
        Route::get("/recordings/{call_id}", "The recording of a call", get(recordings::one))
            .gives(Success::Json(&[of::<answer::RecordingOfCall>]))
            .or(&[RecordingNotFound]),
        Route::get(
            "/recordings/{call_id}/download",
            "The file of a call's recording",
            get(recordings::download),
        )
        .gives(Success::Recording)
        .or(&[RecordingNotFound, RangeNotSatisfiable]),
        Route::post(
            "/recordings/{call_id}/stop",
            "Stop recording a live call",
            post(recordings::stop),
        )
        .gives(Success::Json(&[of::<answer::RecordingStopped>]))
        .or(&[CallNotFound, RecordingNotFound]),
        Route::get(
            "/recordings/file/{filename}/download",
            "A recording by the name of its file",
            get(recordings::download_file),
        )
        .gives(Success::Recording)
        .or(&[RecordingNotFound, RangeNotSatisfiable]),
        Route::get("/api/me", "The key's account", get(account::me))
            .gives(Success::Json(&[of::<answer::Me>])),
        Route::post("/api/dashboard", "Today, this week, lately", post(dashboard::dashboard))
            .takes::<body::Dashboard>()
            .gives(Success::Json(&[of::<answer::Dashboard>])),
        Route::post("/api/call-logs", "The call log", post(dashboard::call_logs))
            .takes::<body::CallLogs>()
            .gives(Success::Json(&[of::<answer::CallLogs>])),
        Route::post("/api/analytics", "Sums over days", post(dashboard::analytics))
            .takes::<body::Analytics>()
            .gives(Success::Json(&[of::<answer::Analytics>])),
    ]
}
