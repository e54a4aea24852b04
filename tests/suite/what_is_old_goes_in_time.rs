//! Retention keeps up with what is made, harms no live call, and costs the same whatever is kept.

use std::time::{Duration, Instant};

use kaphila::store::{CallStatus, FinishedRecording, LogPage, Millis, NewRecording, Store};

use crate::store_fixture::{Database, NOW, call, end, event, key};

/// What a server keeps by itself.
const KEEP: i64 = 400 * Millis::DAY;

/// 12 000 ended calls of the first key, long past; all of them with a recording.
const RECORDED_CALLS: [&str; 2] = [
    "INSERT INTO calls (id, call_id, api_key, node, direction, number, callee, use_amd, \
     ring_timeout, record, charged, status, sip_call_id, from_tag, branch, cseq, remote, \
     transport, created_at, ended_at) \
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) \
     SELECT i, '1.' || i, 1, 0, 'outbound', '1415', '1415', FALSE, 0, TRUE, TRUE, 'busy', '', '', \
     '', 0, '', '', i / 3, i FROM n",
    "INSERT INTO recordings (recording_id, call, api_key, filename, channels, started_at, \
     finished_at) SELECT 'rec_' || id, id, api_key, id || '.wav', 1, 0, 1 FROM calls",
];

/// 15 000 deliveries of the first call, made a day ago.
const DELIVERIES: &str = "INSERT INTO outbox (call, sequence, api_key, event, url, payload, state, \
     next_at, created_at, delivered_at) \
     WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 15009) \
     SELECT 1, i, 1, 'e', 'https://a.example/', '{}', 'delivered', 0, 0, 1771323891000 FROM n";

#[tokio::test]
async fn calls_behind_many_that_stay() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, _) = key(&store, 10).await;
        for statement in RECORDED_CALLS {
            database.execute(statement).await.unwrap();
        }
        store.close().await;
        let store = database.open().await;
        let mut placed = Vec::new();
        for _ in 0..2 {
            let it = store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
            store.ended(&it.call, end(CallStatus::Busy, 1), vec![]).await.unwrap();
            placed.push(it.call.call_id().to_owned());
        }
        let later = NOW.plus(KEEP + Millis::SECOND);
        // A run looks at so many, and the next one goes on from there.
        let mut runs = 0;
        while store.call(&auth, &placed[0]).await.unwrap().is_some() {
            store.prune(KEEP, later).await.unwrap();
            runs += 1;
            assert!(runs < 10, "never");
        }
        assert!(runs > 2, "{runs} runs: each looked at all there is");
        assert!(
            store.call(&auth, &placed[1]).await.unwrap().is_some(),
            "it holds the count of ids"
        );
        assert_eq!(store.recordings(&auth, 20_000).await.unwrap().len(), 12_000);

        // A recording that goes takes its call's row with it at the next turn.
        assert!(store.forget_recording("rec_7").await.unwrap());
        for _ in 0..runs + 1 {
            store.prune(KEEP, later).await.unwrap();
        }
        assert!(store.call(&auth, "1.7").await.unwrap().is_none());
        assert!(store.call(&auth, "1.8").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_recorded_call_and_its_recording_stay_together() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, _) = key(&store, 10).await;
        let it = store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
        let recording = NewRecording { recording_id: "rec_1".to_owned(), channels: 1, at: NOW };
        store.recording_started(&it.call, recording, vec![]).await.unwrap();
        store.ended(&it.call, end(CallStatus::Completed, 1), vec![]).await.unwrap();
        let finished = FinishedRecording {
            recording_id: "rec_1".to_owned(),
            at: NOW,
            bytes: 44,
            duration_ms: 0,
            partial: None,
        };
        store.recording_finished(&it.call, finished, vec![]).await.unwrap();
        store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
        let later = NOW.plus(KEEP + Millis::SECOND);
        store.prune(KEEP, later).await.unwrap();
        assert!(store.call(&auth, it.call.call_id()).await.unwrap().is_some());
        assert_eq!(store.recordings(&auth, 10).await.unwrap().len(), 1);
        assert!(store.forget_recording("rec_1").await.unwrap());
        store.prune(KEEP, later).await.unwrap();
        assert!(store.call(&auth, it.call.call_id()).await.unwrap().is_none());
        let page = LogPage { status: None, as_of: later, offset: 0, limit: 10, total: None };
        assert_eq!(store.call_log(&auth, page).await.unwrap().len(), 1, "that which rings");
        assert_eq!(store.call_log_length(&auth, None, later).await.unwrap(), 1);
    }
}

/// Writes as live calls do, until nothing is pruned any more; how long the slowest one waited.
async fn live_beside(store: &Store, pruning: impl Future<Output = ()>) -> Duration {
    tokio::pin!(pruning);
    let mut slowest = Duration::ZERO;
    loop {
        let began = Instant::now();
        tokio::select! {
            biased;
            beat = store.heartbeat(NOW) => beat.unwrap(),
            () = &mut pruning => return slowest,
        }
        slowest = slowest.max(began.elapsed());
    }
}

#[tokio::test]
async fn payloads_as_fast_as_they_are_made() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, _) = key(&store, 10).await;
        let hook = call(Some("https://a.example/"));
        let it = store.place(&auth, hook, |_| event(1, "i")).await.unwrap();
        database.execute(DELIVERIES).await.unwrap();
        let is_erased = async |sequence| {
            let replayed = store.replay_event(it.call.call_id(), sequence, NOW).await.unwrap();
            replayed == kaphila::store::Replayed::Erased
        };
        // A run every 5 s: 3 000 a second.
        let prune = async || store.prune(KEEP, NOW.plus(Millis::DAY)).await.unwrap();
        let slowest = live_beside(&store, prune()).await;
        println!("a live write waited {slowest:?} at most");
        assert!(slowest < Duration::from_millis(300), "{slowest:?}: new calls would be refused");
        for sequence in [10, 7_000, 15_009] {
            assert!(is_erased(sequence).await, "{sequence}");
        }
        assert!(!is_erased(1).await, "it waits yet");
    }
}

#[tokio::test]
async fn but_no_payload_of_a_dead_letter_that_is_listed() {
    use kaphila::store::{Fate, Mark, Replayed};
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, _) = key(&store, 10).await;
        let hook = call(Some("https://a.example/"));
        let it = store.place(&auth, hook, |_| event(1, "i")).await.unwrap();
        store.ended(&it.call, end(CallStatus::Busy, 1), vec![]).await.unwrap();
        store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
        let due = store.due_events(NOW, 10).await.unwrap();
        let fate = Fate::Dead { attempts: 30, error: "HTTP 500".to_owned() };
        let mark = Mark { call: due[0].call, sequence: 1, at: NOW, fate };
        store.mark_events(vec![mark]).await.unwrap();
        let almost = NOW.plus(KEEP - Millis::SECOND);
        store.prune(KEEP, almost).await.unwrap();
        assert_eq!(store.deliveries(true).await.unwrap().len(), 1);
        store.prune(KEEP, NOW.plus(KEEP)).await.unwrap();
        assert!(store.deliveries(true).await.unwrap().is_empty(), "it goes with its call");
        let replayed = store.replay_event(it.call.call_id(), 1, almost).await.unwrap();
        assert_eq!(replayed, Replayed::NotFound);
    }
}
