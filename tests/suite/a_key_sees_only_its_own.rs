//! Keys: who is let in, what they see, how often they may ask.

use kaphila::store::{
    AdminError, FinishedRecording, KeyChanges, Millis, NewKey, NewRecording, Replayed,
    TrunkSettings,
};

use crate::store_fixture::{Database, NOW, call, event, key};

const SECOND: i64 = 1_000;

#[tokio::test]
async fn calls_and_recordings_of_another_key_do_not_exist() {
    for database in Database::all().await {
        let store = database.open().await;
        let (a, _) = key(&store, 10).await;
        let (b, _) = key(&store, 10).await;
        let placed = store.place(&a, call(None), |_| event(1, "i")).await.unwrap();
        let id = placed.call.call_id();
        let recording = NewRecording { recording_id: "call-x".into(), channels: 1, at: NOW };
        store.recording_started(&placed.call, recording, vec![]).await.unwrap();
        let finished = FinishedRecording {
            recording_id: "call-x".into(),
            at: NOW.plus(5_000),
            bytes: 80_044,
            duration_ms: 5_000,
            partial: None,
        };
        store.recording_finished(&placed.call, finished, vec![]).await.unwrap();

        assert!(store.call(&a, id).await.unwrap().is_some());
        assert!(store.call(&b, id).await.unwrap().is_none());
        let mine = store.recording_of_call(&a, id).await.unwrap().unwrap();
        assert_eq!((mine.bytes, mine.finished_at), (80_044, Some(NOW.plus(5_000))));
        assert!(store.recording_of_call(&b, id).await.unwrap().is_none());
        assert!(store.recording_by_filename(&a, "call-x.wav").await.unwrap().is_some());
        assert!(store.recording_by_filename(&b, "call-x.wav").await.unwrap().is_none());
        assert_eq!(store.recordings(&a, 100).await.unwrap().len(), 1);
        assert!(store.recordings(&b, 100).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn only_live_keys_open_and_rotation_has_its_grace() {
    for database in Database::all().await {
        let store = database.open().await;
        let (_, secrets) = key(&store, 10).await;
        let opens = async |bearer: &str, now: Millis| {
            store.authenticate(bearer, now).await.unwrap().is_some()
        };
        assert!(!opens("ak_nobody", NOW).await);
        assert!(!opens("", NOW).await);
        let id = secrets.key_id.as_str();
        let second = store.rotate_key(id, 24 * 3_600 * SECOND, NOW).await.unwrap();
        assert!(opens(&second, NOW).await);
        assert!(opens(&secrets.key, NOW.plus(86_399 * SECOND)).await);
        assert!(!opens(&secrets.key, NOW.plus(86_400 * SECOND)).await);
        let third = store.rotate_key(id, 0, NOW.plus(SECOND)).await.unwrap();
        assert!(!opens(&second, NOW.plus(2 * SECOND)).await);
        assert!(!opens(&secrets.key, NOW.plus(2 * SECOND)).await);
        assert!(opens(&third, NOW.plus(2 * SECOND)).await);
        store.revoke_key(id).await.unwrap();
        assert!(!opens(&third, NOW.plus(2 * SECOND)).await);
        assert!(matches!(store.revoke_key("key_none").await, Err(AdminError::NotFound(_))));
    }
}

#[tokio::test]
async fn a_change_by_another_process_is_seen_within_two_seconds() {
    for database in Database::all().await {
        let server = database.open().await;
        let (_, secrets) = key(&server, 10).await;
        let command_line = database.open().await;
        command_line.revoke_key(&secrets.key_id).await.unwrap();
        assert!(server.authenticate(&secrets.key, NOW.plus(1_999)).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_300_requests_at_once_exactly_the_limit_is_let_through() {
    for database in Database::all().await {
        let store = database.open().await;
        let new = NewKey { name: "r".into(), credits: 0, rate_limit: 100, trunks: vec![] };
        let secrets = store.create_key(new, NOW).await.unwrap();
        let auth = store.authenticate(&secrets.key, NOW).await.unwrap().unwrap();
        let requests = (0..300).map(|_| {
            let (store, auth) = (store.clone(), auth.clone());
            tokio::spawn(async move { store.count_request(&auth, NOW).await.unwrap().unwrap() })
        });
        let mut let_through = 0;
        for request in requests.collect::<Vec<_>>() {
            let decision = request.await.unwrap();
            assert_eq!((decision.limit, decision.reset_secs), (100, 3_600));
            let_through += i32::from(decision.allowed);
        }
        assert_eq!(let_through, 100);
        // Kept over a restart, and open again when the hour is over.
        store.close().await;
        let store = database.open().await;
        let late = NOW.plus(3_599_001);
        let decision = store.count_request(&auth, late).await.unwrap().unwrap();
        assert_eq!((decision.allowed, decision.remaining, decision.reset_secs), (false, 0, 1));
        let decision = store.count_request(&auth, NOW.plus(3_600_000)).await.unwrap().unwrap();
        assert_eq!((decision.allowed, decision.remaining, decision.reset_secs), (true, 99, 3_600));
    }
}

#[tokio::test]
async fn trunks_come_in_the_key_s_order_and_round_robin_is_remembered() {
    for database in Database::all().await {
        let store = database.open().await;
        for name in ["a", "b", "c"] {
            let mut trunk = TrunkSettings::new(name, format!("sip:{name}.example"));
            trunk.max_channels = Some(5);
            trunk.allow = kaphila::store::List(vec!["192.0.2.0/24".into()]);
            store.put_trunk(trunk, NOW).await.unwrap();
        }
        let (auth, secrets) = key(&store, 10).await;
        let id = secrets.key_id.as_str();
        store.assign_trunks(id, vec!["c".into(), "a".into()]).await.unwrap();
        let trunks = store.key_trunks(&auth, NOW).await.unwrap();
        let names: Vec<_> = trunks.trunks.iter().map(|t| t.settings.name.as_str()).collect();
        assert_eq!((names, trunks.last), (vec!["c", "a"], None));
        assert_eq!(&*trunks.trunks[0].settings.allow, ["192.0.2.0/24"]);
        let mut new = call(None);
        new.trunk = Some((trunks.trunks[0].id, "c".into()));
        store.place(&auth, new, |_| event(1, "i")).await.unwrap();
        store.disable_trunk("a", true, NOW).await.unwrap();
        let trunks = store.key_trunks(&auth, NOW).await.unwrap();
        assert_eq!(trunks.last, Some(trunks.trunks[0].id));
        assert!(trunks.trunks[1].disabled);
        store.put_trunk(TrunkSettings::new("a", "sip:new.example"), NOW).await.unwrap();
        let changed = store.trunk("a").await.unwrap();
        assert_eq!(
            (changed.settings.uri.as_str(), changed.settings.max_channels),
            ("sip:new.example", None)
        );
        assert!(changed.disabled, "a change does not enable");
        store.remove_trunk("c").await.unwrap();
        let trunks = store.key_trunks(&auth, NOW).await.unwrap();
        assert_eq!(trunks.trunks.len(), 1);
        let missing = store.assign_trunks(id, vec!["nowhere".into()]).await;
        assert!(matches!(missing, Err(AdminError::NotFound(what)) if what.contains("nowhere")));
        let new = NewKey { name: "k".into(), credits: 1, rate_limit: 1, trunks: vec!["no".into()] };
        assert!(store.create_key(new, NOW).await.is_err());
        assert_eq!(store.keys().await.unwrap().len(), 1, "nothing half-made");
    }
}

#[tokio::test]
async fn settings_change_one_by_one_and_can_be_taken_back() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 10).await;
        let id = secrets.key_id.as_str();
        let changes = KeyChanges {
            caller_id: Some("19172452367".into()),
            max_calls: Some(5),
            deny_prefixes: Some(vec!["1900".into()]),
            record_default: Some(false),
            ..KeyChanges::default()
        };
        store.change_key(id, changes).await.unwrap();
        store.limit_key(id, 200).await.unwrap();
        let key = store.account(&auth).await.unwrap().unwrap();
        assert_eq!(key.caller_id.as_deref(), Some("19172452367"));
        assert_eq!((key.max_calls, key.rate_limit, key.record_default), (Some(5), 200, false));
        assert_eq!((&*key.deny_prefixes, key.name.as_str()), (&["1900".to_owned()][..], "test"));
        let back = KeyChanges {
            caller_id: Some(String::new()),
            max_calls: Some(0),
            ..KeyChanges::default()
        };
        store.change_key(id, back).await.unwrap();
        let key = store.account(&auth).await.unwrap().unwrap();
        assert_eq!((key.caller_id, key.max_calls), (None, None));
        assert_eq!(&*key.deny_prefixes, ["1900"]);
    }
}

#[tokio::test]
async fn delivered_payloads_are_erased_after_a_day_and_old_calls_go() {
    use kaphila::store::{CallStatus, Fate, Mark};
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, _) = key(&store, 10).await;
        let new = || call(Some("https://example.com/"));
        let old = store.place(&auth, new(), |_| event(1, "i")).await.unwrap();
        store
            .ended(&old.call, crate::store_fixture::end(CallStatus::Busy, 1), vec![])
            .await
            .unwrap();
        let live = store.place(&auth, new(), |_| event(1, "i")).await.unwrap();
        let due = store.due_events(NOW, 10).await.unwrap();
        assert_eq!(due.len(), 2);
        let marks = due.iter().map(|event| Mark {
            call: event.call,
            sequence: event.sequence,
            at: NOW,
            fate: Fate::Delivered,
        });
        store.mark_events(marks.collect()).await.unwrap();
        let keep = 400 * 86_400 * SECOND;
        store.prune(keep, NOW.plus(86_399 * SECOND)).await.unwrap();
        let replayed = store.replay_event(old.call.call_id(), 1, NOW).await.unwrap();
        assert_eq!(replayed, Replayed::Queued, "the payload is still there");
        store.prune(keep, NOW.plus(86_400 * SECOND)).await.unwrap();
        let replayed = store.replay_event(live.call.call_id(), 1, NOW).await.unwrap();
        assert_eq!(replayed, Replayed::Erased);
        let replayed = store.replay_event(live.call.call_id(), 2, NOW).await.unwrap();
        assert_eq!(replayed, Replayed::NotFound);
        let fate = Fate::Dead { attempts: 9, error: "HTTP 410".into() };
        let mark = Mark { call: due[0].call, sequence: 1, at: NOW, fate };
        store.mark_events(vec![mark]).await.unwrap();
        let dead = store.deliveries(true).await.unwrap();
        assert_eq!(dead.len(), 1);
        assert_eq!((&*dead[0].call_id, dead[0].attempts), (old.call.call_id(), 9));
        assert_eq!(store.deliveries(false).await.unwrap().len(), 2);
        store.prune(keep, NOW.plus(keep + SECOND)).await.unwrap();
        assert!(store.call(&auth, old.call.call_id()).await.unwrap().is_none());
        assert!(store.call(&auth, live.call.call_id()).await.unwrap().is_some(), "not ended");
    }
}
