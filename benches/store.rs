//! Calls a second through the store, and how long placing one takes: `cargo bench --bench store`.
//! `normal` and `full` are `database.sync`. One line a measurement.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a program that measures"
)]

use std::time::{Duration, Instant};

use kaphila::store::{
    Answered, Authenticated, CallStatus, Direction, Ended, Leg, Millis, NewCall, NewEvent, NewKey,
    Store, SyncMode,
};

/// Calls whose life overlaps in the throughput measurement.
const PARALLEL: usize = 64;
/// Calls placed one after the other.
const ONE_BY_ONE: usize = 2_000;
/// Calls in the throughput measurement.
const CALLS: usize = 10_000;

#[tokio::main]
async fn main() {
    for sync in [SyncMode::Normal, SyncMode::Full] {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/bench.db", folder.path().display());
        measure(&url, sync).await;
    }
    if let Ok(url) = std::env::var("KAPHILA_TEST_POSTGRES") {
        measure(&url, SyncMode::Normal).await;
    }
}

async fn measure(url: &str, sync: SyncMode) {
    let store = Store::open(url, sync).await.unwrap();
    let now = Millis::wall_clock();
    let key = NewKey { name: "b".into(), credits: 1 << 40, rate_limit: 1 << 40, trunks: vec![] };
    let secrets = store.create_key(key, now).await.unwrap();
    let auth = store.authenticate(&secrets.key, now).await.unwrap().unwrap();
    let name = format!("{} {sync:?}", url.split(':').next().unwrap_or_default());

    let mut took = Vec::with_capacity(ONE_BY_ONE);
    for _ in 0..ONE_BY_ONE {
        let began = Instant::now();
        place(&store, &auth).await;
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    report(&name, "place, one by one", &mut took);

    let mut took = Vec::with_capacity(ONE_BY_ONE);
    for _ in 0..ONE_BY_ONE {
        let began = Instant::now();
        store.count_request(&auth, now).await.unwrap();
        took.push(began.elapsed());
    }
    report(&name, "count a request", &mut took);

    let (began, used) = (Instant::now(), cpu());
    let workers = (0..PARALLEL).map(|_| {
        let (store, auth) = (store.clone(), auth.clone());
        tokio::spawn(async move {
            for _ in 0..CALLS / PARALLEL {
                life(&store, &auth).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    let calls = (CALLS / PARALLEL * PARALLEL) as f64;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), (cpu() - used).as_secs_f64());
    println!(
        "{name}: place, answer, end (6 events): {:.0} calls/s, {:.3} ms of CPU a call",
        calls / seconds,
        cpu * 1_000.0 / calls
    );
    store.close().await;
}

fn report(name: &str, what: &str, took: &mut [Duration]) {
    took.sort_unstable();
    let at = |share: f64| took[(took.len() as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!("{name}: {what}: p50 {:.3} ms, p99 {:.3} ms", at(0.5), at(0.99));
}

/// Processor time of this process.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

fn event(sequence: i64, event: &str) -> NewEvent {
    // As long as a real one.
    let payload = format!("{{\"sequenceNumber\":{sequence},\"pad\":\"{}\"}}", "x".repeat(500));
    NewEvent { sequence, event: event.into(), payload }
}

async fn place(store: &Store, auth: &Authenticated) -> kaphila::store::CallRef {
    let call = NewCall {
        now: Millis::wall_clock(),
        direction: Direction::Outbound,
        number: "14155550100".into(),
        callee: "14155550100".into(),
        caller_id: Some("19172452367".into()),
        webhook_url: Some("https://example.com/hooks/calls".into()),
        metadata: None,
        use_amd: false,
        voice_name: None,
        ring_timeout_ms: 30_000,
        record: true,
        trunk: None,
        leg: Leg {
            sip_call_id: "4f7a0c1e9b2d4c58@192.0.2.1".into(),
            from_tag: "1c2d3e4f".into(),
            branch: "z9hG4bK776asdhds".into(),
            cseq: 1,
            remote: "192.0.2.1:5060".into(),
            transport: "udp".into(),
        },
        dialog: None,
        idempotency: None,
    };
    store.place(auth, call, |_| event(1, "call.initiated")).await.unwrap().call
}

async fn life(store: &Store, auth: &Authenticated) {
    store.count_request(auth, Millis::wall_clock()).await.unwrap();
    let call = place(store, auth).await;
    let at = Millis::wall_clock();
    let answered = Answered { at, trunk: Some("trunk".into()), dialog: "d".repeat(300) };
    store.answered(&call, answered, vec![event(2, "call.answered")]).await.unwrap();
    store.append_events(&call, at, vec![event(3, "recording.started")]).await.unwrap();
    let events = vec![event(4, "tts.played"), event(5, "recording.completed")];
    store.append_events(&call, at, events).await.unwrap();
    let ended = Ended {
        at,
        status: CallStatus::Completed,
        end_reason: "normal_hangup".into(),
        hangup_cause: "16".into(),
        ended_by: "callee".into(),
        answered_at: None,
        duration_secs: 2,
        sip_status: Some(200),
        sip_reason: Some("OK".into()),
        trunk: None,
        amd: None,
        attempts: Some("[]".into()),
        quality: Some("{}".into()),
    };
    store.ended(&call, ended, vec![event(6, "call.ended")]).await.unwrap();
}
