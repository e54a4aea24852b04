//! What a start finds after a crash (design rule 7; `semantics.md`, "Crash").

use std::os::unix::fs::PermissionsExt;

use kaphila::store::{
    AmdResult, Answered, CallStatus, FinishedRecording, Idempotency, Leg, NewRecording, PlaceError,
    Store, SyncMode,
};

use crate::store_fixture::{Database, NOW, call, end, event, key};

#[tokio::test]
async fn at_the_last_heartbeat_with_its_hold_settled_and_call_ended_queued() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 10).await;
        let new = || call(Some("https://example.com/hook"));
        let ringing = store.place(&auth, new(), |_| event(1, "call.initiated")).await.unwrap();
        let talking = store.place(&auth, new(), |_| event(1, "call.initiated")).await.unwrap();
        let over = store.place(&auth, new(), |_| event(1, "call.initiated")).await.unwrap();
        let leg = Leg { sip_call_id: "b2".into(), cseq: 7, ..new().leg };
        store.trunk_tried(&ringing.call, "second", leg.clone()).await.unwrap();
        let answered =
            Answered { at: NOW.plus(2_000), trunk: Some("t".into()), dialog: "route set".into() };
        let events = vec![event(2, "call.answered")];
        store.answered(&talking.call, answered, events).await.unwrap();
        let verdict = AmdResult { status: "HUMAN".into(), cause: "HUMAN".into(), confidence: 0.9 };
        store.heard(&talking.call, NOW.plus(3_000), verdict.clone(), vec![]).await.unwrap();
        store.ended(&over.call, end(CallStatus::Busy, 1), vec![event(2, "e")]).await.unwrap();
        store.heartbeat(NOW.plus(60_500)).await.unwrap();
        drop(store);

        let store = database.open().await;
        let closed = store
            .close_open_calls(NOW.plus(100_000), |open, ended| {
                assert_eq!(ended.end_reason, "server_shutdown");
                assert_eq!(ended.answered_at, open.row.answered_at);
                let status = open.row.answered_at.map(|_| 200);
                assert_eq!((ended.sip_status, &ended.amd), (status, &open.row.amd()));
                vec![event(open.next_sequence, "call.ended")]
            })
            .await
            .unwrap();
        let ids: Vec<_> = closed.iter().map(|open| open.call.call_id()).collect();
        assert_eq!(ids, [ringing.call.call_id(), talking.call.call_id()]);
        assert_eq!((&closed[0].leg, &closed[0].dialog), (&leg, &None));
        assert_eq!(closed[1].dialog.as_deref(), Some("route set"));

        let row = store.call(&auth, ringing.call.call_id()).await.unwrap().unwrap();
        assert_eq!((row.status, row.duration), (CallStatus::Failed, 0));
        assert_eq!(row.ended_at, Some(NOW.plus(60_500)));
        assert_eq!(row.hangup_cause.as_deref(), Some("41"));
        let row = store.call(&auth, talking.call.call_id()).await.unwrap().unwrap();
        assert_eq!(row.amd(), Some(verdict), "what was told stands");
        // From the answer at 2 s to the last sign of life at 60.5 s, rounded down.
        assert_eq!((row.status, row.duration), (CallStatus::Completed, 58));
        assert_eq!(store.ledger_sums(&secrets.key_id).await.unwrap(), (9, 0));

        let due = store.due_events(NOW.plus(200_000), 100).await.unwrap();
        let of = |id: &str| {
            let of = due.iter().filter(|event| &*event.call_id == id);
            of.map(|event| (event.sequence, event.event.clone())).collect::<Vec<_>>()
        };
        let initiated = (1, "call.initiated".to_owned());
        let answered = (2, "call.answered".to_owned());
        assert_eq!(of(ids[0]), [initiated.clone(), (2, "call.ended".to_owned())]);
        assert_eq!(of(ids[1]), [initiated, answered, (3, "call.ended".to_owned())]);
        assert!(store.close_open_calls(NOW, |_, _| vec![]).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn call_ids_count_up_over_restarts() {
    for database in Database::all().await {
        let mut last = 0;
        for _ in 0..3 {
            let store = database.open().await;
            let (auth, _) = key(&store, 10).await;
            for _ in 0..2 {
                let placed = store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
                let (seconds, n) = placed.call.call_id().split_once('.').unwrap();
                assert_eq!(seconds, "1771323891");
                assert_eq!(n.parse(), Ok(last + 1));
                last += 1;
            }
            store.close().await;
        }
    }
}

#[tokio::test]
async fn unfinished_recordings_are_found_with_their_calls() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, _) = key(&store, 10).await;
        let placed = store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
        let recording = NewRecording { recording_id: "call-1.1-5".into(), channels: 1, at: NOW };
        store.recording_started(&placed.call, recording, vec![]).await.unwrap();
        drop(store);
        let store = database.open().await;
        let unfinished = store.unfinished_recordings().await.unwrap();
        assert_eq!(unfinished.len(), 1);
        assert_eq!(unfinished[0].0.call.call_id(), placed.call.call_id());
        assert_eq!(unfinished[0].1.filename, "call-1.1-5.wav");
        let later = NOW.plus(100_000);
        assert_eq!(store.recordings_before(later).await.unwrap(), [], "one that is being written");
        let finished = FinishedRecording {
            recording_id: "call-1.1-5".into(),
            at: NOW,
            bytes: 44,
            duration_ms: 0,
            partial: None,
        };
        store.recording_finished(&placed.call, finished, vec![]).await.unwrap();
        assert_eq!(store.recordings_before(later).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn an_idempotency_token_places_one_call_and_keeps_its_answer_for_a_day() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 10).await;
        let mut new = call(None);
        new.idempotency = Some(Idempotency { token: "t".into(), body_hash: "h".into() });
        let placed = store.place(&auth, new.clone(), |_| event(1, "i")).await.unwrap();
        let again = store.place(&auth, new.clone(), |_| event(1, "i")).await;
        let Err(PlaceError::Repeated(known)) = again else { panic!("{again:?}") };
        assert_eq!((&*known.call_id, known.status), (placed.call.call_id(), None));
        store.remember_answer(&placed.call, 200, "{}".into()).await.unwrap();
        let known = store.remembered(&auth, "t", NOW.plus(86_399_999)).await.unwrap().unwrap();
        assert_eq!((known.status, known.response.as_deref()), (Some(200), Some("{}")));
        assert_eq!(known.body_hash, "h");
        assert!(store.remembered(&auth, "t", NOW.plus(86_400_000)).await.unwrap().is_none());
        new.now = NOW.plus(86_400_000);
        store.place(&auth, new, |_| event(1, "i")).await.unwrap();
        assert_eq!(store.ledger_sums(&secrets.key_id).await.unwrap(), (10, 2));
    }
}

#[tokio::test]
async fn a_locked_database_refuses_new_calls_within_a_second_and_heals() {
    use sqlx::{ConnectOptions, Connection, Executor};
    let database = Database::sqlite();
    let store = database.open().await;
    let (auth, secrets) = key(&store, 10).await;
    let options: sqlx::sqlite::SqliteConnectOptions = database.url.parse().unwrap();
    let mut other = options.connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let began = std::time::Instant::now();
    let tries = (0..50).map(|_| store.place(&auth, call(None), |_| event(1, "i")));
    for refused in futures_util::future::join_all(tries).await {
        let Err(PlaceError::Store(error)) = refused else { panic!("{refused:?}") };
        assert!(error.is_unavailable(), "{error}");
    }
    assert!(began.elapsed().as_millis() < 1_000, "{:?}", began.elapsed());
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
    assert_eq!(store.ledger_sums(&secrets.key_id).await.unwrap(), (10, 1));
}

#[tokio::test]
async fn a_start_waits_for_a_database_that_another_holds() {
    use sqlx::{ConnectOptions, Executor};
    let database = Database::sqlite();
    database.open().await.close().await;
    let options: sqlx::sqlite::SqliteConnectOptions = database.url.parse().unwrap();
    // Exclusive locking lets nobody read either.
    let mut other = options.pragma("locking_mode", "EXCLUSIVE").connect().await.unwrap();
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    let release = async {
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        drop(other);
    };
    let (store, ()) = tokio::join!(Store::open(&database.url, SyncMode::Normal), release);
    key(&store.unwrap(), 1).await;
}

#[tokio::test]
async fn a_key_that_was_known_is_known_while_the_database_is_away() {
    for database in Database::all().await {
        let store = database.open().await;
        let (_, secrets) = key(&store, 10).await;
        let known = store.authenticate(&secrets.key, NOW).await.unwrap();
        assert!(known.is_some());
        store.close().await;
        for (later, is_known) in [(999, true), (60_000, true), (600_000, false)] {
            let known = store.authenticate(&secrets.key, NOW.plus(later)).await;
            assert_eq!(known.is_ok_and(|it| it.is_some()), is_known, "{later} ms later");
        }
        assert!(store.authenticate("ak_unknown", NOW).await.is_err());
    }
}

#[tokio::test]
async fn a_key_that_was_seen_revoked_is_not_known_again_while_the_database_is_away() {
    for database in Database::all().await {
        let store = database.open().await;
        let (_, secrets) = key(&store, 10).await;
        // By the command line: another process.
        let other = database.open().await;
        other.revoke_key(&secrets.key_id).await.unwrap();
        other.close().await;
        let seen = store.authenticate(&secrets.key, NOW.plus(2_000)).await.unwrap();
        assert!(seen.is_none());
        store.close().await;
        assert!(store.authenticate(&secrets.key, NOW.plus(3_000)).await.is_err());
    }
}

#[tokio::test]
async fn the_ledger_can_only_grow() {
    use sqlx::{ConnectOptions, Executor};
    let database = Database::sqlite();
    let store = database.open().await;
    key(&store, 10).await;
    let options: sqlx::sqlite::SqliteConnectOptions = database.url.parse().unwrap();
    let mut other = options.connect().await.unwrap();
    for statement in ["UPDATE ledger SET credits = 1000", "DELETE FROM ledger"] {
        let error = other.execute(statement).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[tokio::test]
async fn the_file_is_its_owner_s_alone_and_other_databases_are_refused_by_name() {
    let database = Database::sqlite();
    let _store = database.open().await;
    let file = database.url.strip_prefix("sqlite://").unwrap();
    for file in [file.to_owned(), format!("{file}-wal"), format!("{file}-shm")] {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let error = Store::open("mysql://localhost/x", SyncMode::Full).await.err().unwrap();
    assert!(error.to_string().contains("mysql"), "{error}");
}
