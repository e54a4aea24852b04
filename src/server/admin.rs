//! The operator's HTTP: `/metrics`, `/ready`, `/live`. Never the customers' API.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use kaphila_media::engine::Engine;
use kaphila_sip::net::Sip;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};

use crate::call::Calls;
use crate::store::{Millis, Store};
use crate::trunk::health::Health;
use crate::trunk::registrations::Registrations;
use crate::trunk::traffic::Traffic;

/// What the operator's paths look at.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) calls: Calls,
    pub(super) registrations: Arc<Registrations>,
    pub(super) health: Arc<Health>,
    pub(super) traffic: Traffic,
    pub(super) sip: Sip,
    pub(super) media: Arc<Engine>,
    pub(super) store: Store,
}

pub(super) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .with_state(admin)
}

/// Ready is: new calls are taken and the database can be written. What waits in the journal is of
/// calls that are placed already, and is told by `/metrics`.
async fn ready(State(admin): State<Admin>) -> Response {
    if admin.calls.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match admin.store.heartbeat(Millis::wall_clock()).await {
        Ok(()) => "ready\n".into_response(),
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("database: {error}\n")).into_response()
        }
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let mut registry = Registry::with_prefix("kaphila");
    let calls = i64::try_from(admin.calls.active_count()).unwrap_or(i64::MAX);
    registry.register("calls_active", "Calls that have not ended", ConstGauge::new(calls));
    if let Ok((counters, stats)) = admin.sip.counters().await {
        sip(&mut registry, &counters, &stats);
    }
    registered(&mut registry, &admin.registrations);
    reachable(&mut registry, &admin.health);
    admin.traffic.register(&mut registry);
    media(&mut registry, &admin.media);
    let waiting = i64::try_from(admin.store.journal_waiting()).unwrap_or(i64::MAX);
    registry.register(
        "journal_records",
        "Writes on local disk that wait for the database",
        ConstGauge::new(waiting),
    );
    let (errors, refused) = admin.store.journal_faults();
    for (name, help, value) in [
        ("journal_errors", "Writes that the journal's disk did not take", errors),
        ("journal_refused", "Records of the journal that the database refused", refused),
    ] {
        registry.register(name, help, ConstCounter::new(value));
    }
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

fn sip(
    registry: &mut Registry,
    counters: &kaphila_sip::endpoint::Counters,
    stats: &kaphila_sip::endpoint::Stats,
) {
    let mut count = |name: &str, help: &str, value: u64| {
        registry.register(format!("sip_{name}"), help, ConstCounter::new(value));
    };
    count("received", "Datagrams received", counters.received);
    count("sent", "Messages sent, repetitions included", counters.sent);
    count("retransmissions", "Messages repeated, either way", counters.retransmissions);
    count("malformed", "Datagrams that are no SIP message", counters.malformed);
    count("strangers", "Requests from addresses that none are taken from", counters.strangers);
    count("stray_responses", "Responses to nothing that was sent", counters.stray_responses);
    count("stray_answers", "2xx that nobody waited for", counters.stray_answers);
    count("challenges_answered", "Challenges answered", counters.challenges_answered);
    count(
        "challenges_refused",
        "Challenges not answered: a stranger's, of another realm, or again",
        counters.challenges_refused.values().sum(),
    );
    count("overload", "Calls refused for want of room", counters.overload);
    count("transport_errors", "Transport errors", counters.transport_errors);
    count("accepted_connections", "TCP and TLS connections taken", counters.accepted_connections);
    count(
        "refused_connections",
        "TCP and TLS connections not taken for want of room",
        counters.refused_connections,
    );
    count("dialled_connections", "TCP and TLS connections opened", counters.dialled_connections);
    count("large_over_tcp", "Requests too large for UDP, over TCP", counters.large_over_tcp);
    count("large_over_udp", "Requests too large for UDP, by it", counters.large_over_udp);
    count("ignored", "Events without an arrow in a leg's state", counters.ignored.values().sum());
    count(
        "unexpected",
        "Events without an arrow in a transaction's state",
        counters.unexpected.values().sum(),
    );
    let legs = i64::try_from(stats.legs).unwrap_or(i64::MAX);
    registry.register("sip_legs", "SIP legs kept", ConstGauge::new(legs));
    let connections = i64::try_from(stats.connections).unwrap_or(i64::MAX);
    let help = "SIP connections of TCP and TLS";
    registry.register("sip_connections", help, ConstGauge::new(connections));
}

fn registered(registry: &mut Registry, registrations: &Registrations) {
    let family: Family<Vec<(String, String)>, Gauge> = Family::default();
    for status in registrations.statuses() {
        let labels = vec![("trunk".to_owned(), status.trunk)];
        family.get_or_create(&labels).set(i64::from(status.state == "registered"));
    }
    registry.register("trunk_registered", "1: the trunk's registrar has our address", family);
}

fn reachable(registry: &mut Registry, health: &Health) {
    let family: Family<Vec<(String, String)>, Gauge> = Family::default();
    for reach in health.reaches() {
        let labels = vec![("trunk".to_owned(), reach.trunk)];
        family.get_or_create(&labels).set(i64::from(reach.reachable));
    }
    registry.register("trunk_reachable", "1: the trunk answers OPTIONS and calls", family);
}

fn media(registry: &mut Registry, engine: &Engine) {
    let stats = engine.stats();
    let mut gauge = |name: &str, help: &str, value: i64| {
        registry.register(format!("media_{name}"), help, ConstGauge::new(value));
    };
    let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    gauge("ports_in_use", "Pairs of ports that calls hold", whole(stats.ports_in_use));
    gauge("ports", "Pairs of ports in the range", whole(stats.ports));
    gauge("recordings_active", "Recordings being written", stats.recordings.cast_signed());
    let mut seconds = |name: &str, help: &str, time: Duration| {
        let value = ConstGauge::new(time.as_secs_f64());
        registry.register_with_unit(format!("media_{name}"), help, Unit::Seconds, value);
    };
    let p99 = stats.lateness.quantile(0.99);
    seconds("slot_lateness_p99", "Slots' lateness since the start, 99th percentile", p99);
    let recent = stats.recent_lateness;
    seconds("slot_lateness_recent", "The latest slot of the last second", recent);
    let mut count = |name: &str, help: &str, value: u64| {
        registry.register(format!("media_{name}"), help, ConstCounter::new(value));
    };
    count("calls", "Calls that media was opened for", stats.opened);
    count("sent", "Datagrams sent", stats.sent);
    count("received", "Datagrams received, of any source", stats.received);
    count("send_errors", "Datagrams that the system refused", stats.send_errors);
    count("slots_skipped", "Turns left out because their time had passed", stats.skipped);
    count("panics", "Calls ended by a panic", stats.panics);
    count("recordings_completed", "Recordings that ended whole", stats.recordings_completed);
    count("recordings_partial", "Recordings that ended as partial", stats.recordings_partial);
}
