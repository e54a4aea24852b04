//! The audit trail: every act with who, when and old → new; no secret; nothing that was refused;
//! nothing that can be changed afterwards.

use kaphila::store::{
    Answered, AuditEntry, CallStatus, Fate, KeyChanges, Mark, Millis, NewKey, NewRecording,
    Replayed, Store, TrunkSettings,
};
use serde_json::{Value, json};

use crate::store_fixture::{Database, NOW, OLD_KEY, call, end, event, key};
use crate::support::program::Site;

/// Acts and changes, oldest first.
async fn acts(store: &Store, key_id: Option<&str>) -> Vec<(String, String, Value)> {
    read(store.audit(Millis(0), key_id, false, 1_000).await.unwrap())
}

fn read(entries: Vec<AuditEntry>) -> Vec<(String, String, Value)> {
    let changes = |text: &str| serde_json::from_str(text).unwrap();
    entries.into_iter().map(|it| (it.act, it.subject, changes(&it.changes))).collect()
}

#[tokio::test]
async fn each_act_leaves_its_entry_with_old_and_new() {
    for database in Database::all().await {
        let store = database.open().await;
        store.acts_for("alice".to_owned());
        store.put_trunk(TrunkSettings::new("a", "sip:a.example"), NOW).await.unwrap();
        let new = NewKey { name: "shop".into(), credits: 10, rate_limit: 100, trunks: vec![] };
        let began = Millis::wall_clock();
        let secrets = store.create_key(new, NOW).await.unwrap();
        let id = secrets.key_id.as_str();
        store.credit_key(id, 50, "", NOW).await.unwrap();
        store.limit_key(id, 200).await.unwrap();
        let changes = KeyChanges { caller_id: Some("19172452367".into()), ..Default::default() };
        store.change_key(id, changes).await.unwrap();
        store.assign_trunks(id, vec!["a".into()]).await.unwrap();
        let rotated = store.rotate_key(id, 60_000, NOW).await.unwrap();
        let webhook = store.rotate_webhook_secret(id, NOW).await.unwrap();
        store.put_trunk(TrunkSettings::new("a", "sip:b.example"), NOW).await.unwrap();
        store.disable_trunk("a", true, NOW).await.unwrap();
        store.disable_trunk("a", false, NOW).await.unwrap();
        store.remove_trunk("a").await.unwrap();
        store.revoke_key(id).await.unwrap();
        // What is refused, or changes nothing, is no act.
        assert!(store.credit_key(id, -1_000, "", NOW).await.is_err());
        assert!(store.assign_trunks(id, vec!["nowhere".into()]).await.is_err());
        assert!(store.revoke_key("key_none").await.is_err());
        assert!(store.rotate_key("key_none", 0, NOW).await.is_err());
        store.limit_key(id, 200).await.unwrap();

        let found = acts(&store, None).await;
        let names: Vec<&str> = found.iter().map(|(act, ..)| act.as_str()).collect();
        let expected = [
            "trunk.add",
            "key.create",
            "key.credit",
            "key.limit",
            "key.set",
            "key.trunks",
            "key.rotate",
            "key.rotate-webhook",
            "trunk.add",
            "trunk.disable",
            "trunk.enable",
            "trunk.remove",
            "key.revoke",
        ];
        assert_eq!(names, expected);
        let (_, subject, created) = &found[1];
        assert_eq!(subject, id);
        assert_eq!(created["credits"], json!([null, 10]));
        assert_eq!(created["name"], json!([null, "shop"]));
        for (at, changes) in [
            (2, json!({ "credits": [10, 60] })),
            (3, json!({ "rateLimit": [100, 200] })),
            (4, json!({ "callerId": [null, "19172452367"] })),
            (5, json!({ "trunks": [[], ["a"]] })),
            (6, json!({ "oldKeyUntil": [null, NOW.plus(60_000).to_rfc3339()] })),
            (7, json!({ "oldWebhookSecretUntil": [null, NOW.plus(Millis::DAY).to_rfc3339()] })),
            (8, json!({ "uri": ["sip:a.example", "sip:b.example"] })),
            (9, json!({ "disabled": [false, true] })),
            (10, json!({ "disabled": [true, false] })),
            (12, json!({ "revoked": [false, true] })),
        ] {
            assert_eq!(found[at].2, changes, "{}", found[at].0);
        }
        assert_eq!(found[11].2["uri"], json!(["sip:b.example", null]));
        assert_eq!(found[11].2["keys"], json!([[id], null]), "who lost it");
        let entries = store.audit(began, Some(id), false, 1_000).await.unwrap();
        assert_eq!(entries.len(), 8, "those of the key alone");
        assert!(entries.iter().all(|it| it.actor == "alice" && it.at >= began));
        let later = Millis::wall_clock().plus(1_000);
        assert!(store.audit(later, None, true, 9).await.unwrap().is_empty());
        let latest = store.audit(Millis(0), None, false, 2).await.unwrap();
        assert_eq!((latest.len(), latest[1].act.as_str()), (2, "key.revoke"));
        let all = format!("{:?}", store.audit(Millis(0), None, true, 1_000).await.unwrap());
        for secret in [&secrets.key, &rotated, &secrets.webhook_secret, &webhook] {
            assert!(!all.contains(secret.as_str()));
        }
        assert!(!all.contains("whsec_") && !all.contains("ak_"));
    }
}

#[tokio::test]
async fn what_calls_take_comes_from_the_ledger_and_what_is_replayed_or_pruned_is_an_act() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 5).await;
        let id = Some(secrets.key_id.as_str());
        let placed = store.place(&auth, call(Some("http://a/")), |_| event(1, "i")).await.unwrap();
        let other = store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
        let answered = Answered { at: NOW.plus(1_000), trunk: None, dialog: "{}".into() };
        store.answered(&placed.call, answered, vec![]).await.unwrap();
        let recording = NewRecording { recording_id: "r1".into(), channels: 1, at: NOW };
        store.recording_started(&placed.call, recording, vec![]).await.unwrap();
        store.ended(&placed.call, end(CallStatus::Completed, 9), vec![]).await.unwrap();
        store.ended(&other.call, end(CallStatus::Busy, 9), vec![]).await.unwrap();
        let acts_alone = acts(&store, id).await;
        assert_eq!(acts_alone.len(), 1, "{acts_alone:?}");
        let all = read(store.audit(Millis(0), id, true, 1_000).await.unwrap());
        let spent: Vec<_> = all.iter().filter(|(act, ..)| act.starts_with("call.")).collect();
        let call_id = placed.call.call_id().to_owned();
        let one = ("call.deduct".to_owned(), call_id.clone(), json!({ "spent": [null, 1] }));
        assert_eq!(spent, [&one]);

        let due = store.due_events(NOW, 9).await.unwrap().remove(0);
        let mark = Mark { call: due.call, sequence: 1, at: NOW, fate: Fate::Delivered };
        store.mark_events(vec![mark]).await.unwrap();
        // The second time it waits already: nothing changes.
        for _ in 0..2 {
            let replayed = store.replay_event(&call_id, 1, NOW).await.unwrap();
            assert_eq!(replayed, Replayed::Queued);
        }
        assert!(store.forget_recording("r1").await.unwrap());
        assert!(!store.forget_recording("r1").await.unwrap());
        let found = acts(&store, id).await;
        let replay = ("webhook.replay".to_owned(), call_id, json!({ "waiting": [0, 1] }));
        let changes = json!({ "filename": ["r1.wav", null], "bytes": [0, null] });
        let prune = ("recording.prune".to_owned(), "r1".to_owned(), changes);
        assert_eq!(found[1..], [replay, prune]);
    }
}

#[tokio::test]
async fn nothing_can_be_changed_afterwards() {
    for database in Database::all().await {
        let store = database.open().await;
        key(&store, 5).await;
        let mut changes = vec!["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"];
        changes.push(if database.url.starts_with("sqlite") {
            "INSERT OR REPLACE INTO audit (id, at, actor, act, subject, changes) \
             VALUES (1, 0, 'nobody', 'nothing', '', '{}')"
        } else {
            "TRUNCATE audit"
        });
        for change in changes {
            let refused = database.execute(change).await.unwrap_err();
            assert!(refused.contains("append-only"), "{change}: {refused}");
        }
        let found = acts(&store, None).await;
        assert_eq!((found.len(), found[0].0.as_str()), (1, "key.create"));
    }
}

/// What can't be written down is not done.
#[tokio::test]
async fn no_act_without_its_entry() {
    for database in Database::all().await {
        let store = database.open().await;
        let (_, secrets) = key(&store, 5).await;
        database.execute("ALTER TABLE audit RENAME TO audit_away").await.unwrap();
        assert!(store.credit_key(&secrets.key_id, 50, "", NOW).await.is_err());
        assert!(store.revoke_key(&secrets.key_id).await.is_err());
        database.execute("ALTER TABLE audit_away RENAME TO audit").await.unwrap();
        let (account, _) = store.key(&secrets.key_id).await.unwrap();
        assert_eq!((account.credits, account.revoked), (5, false));
        assert_eq!(store.ledger_sums(&secrets.key_id).await.unwrap(), (5, 0));
    }
}

#[tokio::test]
async fn databases_of_earlier_versions_get_it_and_keep_what_they_had() {
    for version in 1..=3 {
        for database in Database::all().await {
            database.make_version(version).await;
            let store = database.open().await;
            let auth = store.authenticate(OLD_KEY, NOW).await.unwrap().unwrap();
            assert_eq!(acts(&store, None).await, [], "nothing has been written down");
            store.credit_key("key_1", 10, "", NOW).await.unwrap();
            let credited = json!({ "credits": [4, 14] });
            let credited = ("key.credit".to_owned(), "key_1".to_owned(), credited);
            assert_eq!(acts(&store, Some("key_1")).await, [credited]);
            let all = read(store.audit(Millis(0), None, true, 9).await.unwrap());
            let spent = json!({ "spent": [null, 1] });
            assert_eq!(all[0], ("call.deduct".to_owned(), "17.1".to_owned(), spent));
            assert_eq!(store.ledger_sums("key_1").await.unwrap(), (14, 0));
            assert_eq!(store.call_log_length(&auth, None, NOW).await.unwrap(), 4);
            assert!(database.execute("DELETE FROM audit").await.is_err());
        }
    }
}

/// What the server writes by itself; the rest of `src/store/ops.rs` is an operator's act.
const OF_THE_SERVER: &[&str] = &[
    "Place",
    "CountRequest",
    "TrunkTried",
    "Answer",
    "Heard",
    "End",
    "Append",
    "Remember",
    "CloseOpen",
    "StartRecording",
    "FinishRecording",
    "Heartbeat",
    "Marks",
    "ForgetSecrets",
    "EraseOld",
    "DeleteCalls",
    "Flush",
    "Identify",
];

/// A new operation is either named above, or every function that writes it writes it down.
#[test]
fn no_operation_of_an_operator_goes_without_an_entry() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
    let ops = read(root.join("ops.rs"));
    let declared: Vec<&str> = ops
        .split("operation!(\n")
        .skip(1)
        .map(|rest| {
            let line = rest.lines().find(|line| !line.trim_start().starts_with("///")).unwrap();
            line.trim_start().split(' ').next().unwrap()
        })
        .collect();
    assert!(OF_THE_SERVER.iter().all(|name| declared.contains(name)), "{declared:?}");
    let files = std::fs::read_dir(&root).unwrap().map(|it| it.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "rs"));
    let source: String = files.map(read).collect();
    // Functions of an impl end with a brace at its indentation.
    let functions: Vec<&str> = source.split("\n    }\n").collect();
    let operators = declared.iter().filter(|name| !OF_THE_SERVER.contains(name));
    let mut count = 0;
    for name in operators {
        let written = format!("ops::{name} {{");
        let writers = functions.iter().filter(|it| it.contains(&written));
        let writers: Vec<_> =
            writers.inspect(|it| assert!(it.contains("self.audited"), "{it}")).collect();
        assert!(!writers.is_empty(), "nobody writes {name}");
        count += 1;
    }
    assert!(count >= 12, "{count} of {declared:?}");
}

#[tokio::test]
async fn the_command_line_shows_it() {
    let site = Site::with_trunks(&[([127, 0, 0, 1], 9).into()]).await;
    let id = site.key_id.as_str();
    site.done(&["key", "credit", id, "+50"]).await;
    let told: Value =
        serde_json::from_str(&site.done(&["audit", "--since", "1h", "--key", id, "--json"]).await)
            .unwrap();
    assert_eq!(told[1]["act"], "key.credit");
    assert_eq!(told[1]["changes"], json!({ "credits": [100_000, 100_050] }));
    let user = std::process::Command::new("id").arg("-un").output().unwrap();
    assert_eq!(told[1]["actor"], String::from_utf8(user.stdout).unwrap().trim());
    let table = site.done(&["audit"]).await;
    assert!(table.contains("trunk.add") && table.contains("credits 100000 → 100050"), "{table}");
    assert!(!table.contains(&site.key) && !table.contains("whsec_"), "{table}");
    assert_eq!(site.done(&["audit", "--since", "2100-01-01T00:00:00Z", "--json"]).await, "[]\n");
    assert_eq!(site.kaphila(&["audit", "--since", "soon"]).await.status.code(), Some(2));
}
