//! `kaphila key import` and `calls import`: an old service's keys go on working, with their credits
//! and their logs.

use std::fs;

use kaphila::store::{
    Authenticated, CallStatus, ImportedCall, ImportedKey, LogPage, Millis, Store, Stretch, Tally,
};
use serde_json::{Value, json};

use crate::store_fixture::{Database, NOW, call, event, key};
use crate::support::exchange::{Callee, Exchange};
use crate::support::hooks::Hooks;
use crate::support::program::{Site, eventually, text};

fn imported(line: u64, key: &str) -> ImportedKey {
    ImportedKey { line, hash: Store::hash_of(key).unwrap(), ..ImportedKey::default() }
}

fn old_call(n: i64, key_id: &str, status: CallStatus) -> ImportedCall {
    let duration = if status == CallStatus::Completed { 46 } else { 0 };
    ImportedCall {
        line: 2,
        call_id: format!("1720012345.{n}"),
        key_id: key_id.to_owned(),
        number: "14155550100".to_owned(),
        status,
        amd_status: (duration > 0).then(|| "HUMAN".to_owned()),
        duration,
        created_at: NOW.plus(-n * 1_000),
    }
}

/// How many were new, how many were there, and what is wrong with which lines.
async fn import(store: &Store, calls: Vec<ImportedCall>) -> (u64, u64, Vec<String>) {
    let done = store.import_calls(calls, |_| ()).await.unwrap();
    (done.taken, done.known, done.refused.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn on_both_databases_with_their_books_right() {
    for database in Database::all().await {
        let store = database.open().await;
        let (own, _) = key(&store, 5).await;
        let first = ImportedKey {
            key_id: Some("key_old".to_owned()),
            name: Some("Old shop".to_owned()),
            credits: Some(120),
            rate_limit: Some(250),
            total_calls: Some(340),
            successful_calls: Some(301),
            created_at: Some(Millis(1_700_000_000_000)),
            ..imported(2, "ak_live_123456")
        };
        let keys = vec![first.clone(), imported(3, "another")];
        store.import_keys(keys.clone(), false, NOW).await.unwrap().unwrap();
        let auth = store.authenticate("ak_live_123456", NOW).await.unwrap().unwrap();
        let account = store.account(&auth).await.unwrap().unwrap();
        assert_eq!((account.key_id.as_str(), account.name.as_str()), ("key_old", "Old shop"));
        assert_eq!((account.credits, account.holds, account.rate_limit), (120, 0, 250));
        assert_eq!((account.total_calls, account.successful_calls), (340, 301));
        assert_eq!(account.created_at, Millis(1_700_000_000_000));
        assert_eq!(store.ledger_sums("key_old").await.unwrap(), (120, 0));
        assert!(store.authenticate("another", NOW).await.unwrap().is_some());

        // Again: all or none.
        let more = vec![imported(2, "third"), keys[1].clone()];
        let bad = store.import_keys(more, false, NOW).await.unwrap().unwrap_err();
        assert_eq!(bad.len(), 1);
        assert!(bad[0].line == 3 && bad[0].what.contains("--update"), "{bad:?}");
        assert!(store.authenticate("third", NOW).await.unwrap().is_none());
        let trunks = Some(vec!["nowhere".to_owned()]);
        let lost = vec![ImportedKey { trunks, ..imported(2, "third") }];
        let bad = store.import_keys(lost, false, NOW).await.unwrap().unwrap_err();
        assert!(bad[0].what.contains("no trunk nowhere"), "{bad:?}");
        // A change of what the file has, and of nothing else.
        let less = ImportedKey { credits: Some(20), ..imported(2, "ak_live_123456") };
        store.import_keys(vec![less], true, NOW).await.unwrap().unwrap();
        let account = store.account(&auth).await.unwrap().unwrap();
        assert_eq!((account.credits, account.rate_limit), (20, 250));
        assert_eq!(store.ledger_sums("key_old").await.unwrap(), (20, 0));

        // Calls, beside one that is live: their numbers never meet.
        let live = store.place(&own, call(None), |_| event(1, "i")).await.unwrap();
        let calls: Vec<ImportedCall> =
            [CallStatus::Completed, CallStatus::Busy, CallStatus::Failed]
                .into_iter()
                .zip(1..)
                .map(|(status, n)| old_call(n, "key_old", status))
                .collect();
        assert_eq!(import(&store, calls.clone()).await, (3, 0, vec![]));
        assert_eq!(import(&store, calls).await, (0, 3, vec![]), "they are there");
        let next = store.place(&own, call(None), |_| event(1, "i")).await.unwrap();
        assert_ne!(live.call.call_id(), next.call.call_id());
        let found = store.call(&auth, "1720012345.1").await.unwrap().unwrap();
        assert_eq!((found.status, found.duration), (CallStatus::Completed, 46));
        assert!(store.call(&own, "1720012345.1").await.unwrap().is_none(), "another key's");
        let page = LogPage { status: None, as_of: NOW, offset: 0, limit: 10, total: Some(3) };
        let log = store.call_log(&auth, page).await.unwrap();
        assert_eq!(
            log.iter().map(|line| line.status).collect::<Vec<_>>(),
            [CallStatus::Completed, CallStatus::Busy, CallStatus::Failed]
        );
        assert_eq!(store.call_log_length(&auth, None, NOW).await.unwrap(), 3);
        let busy = Some(CallStatus::Busy);
        assert_eq!(store.call_log_length(&auth, busy, NOW).await.unwrap(), 1);
        assert_eq!(store.open_calls().await.unwrap().len(), 2, "none of them is open");
        let acts = store.audit(Millis(0), None, false, 100).await.unwrap();
        let count = |act: &str| acts.iter().filter(|entry| entry.act == act).count();
        assert_eq!((count("key.import"), count("calls.import")), (3, 1));
    }
}

/// The totals of all time, and the length of the log.
async fn sums(store: &Store, auth: &Authenticated) -> (Tally, i64) {
    let all = Stretch { from: 0, to: i64::MAX / 900_000, offset: 0 };
    let mut sum = Tally::default();
    for day in store.days(auth, all).await.unwrap() {
        sum.completed += day.calls.completed;
        sum.busy += day.calls.busy;
        sum.failed += day.calls.failed;
        sum.seconds += day.calls.seconds;
        sum.humans += day.calls.humans;
    }
    (sum, store.call_log_length(auth, None, NOW).await.unwrap())
}

#[tokio::test]
async fn in_several_parts_that_dashboards_count_and_age_takes() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, secrets) = key(&store, 5).await;
        let kinds = [CallStatus::Completed, CallStatus::Busy, CallStatus::Failed];
        let one = |n: i64| old_call(n, &secrets.key_id, kinds[n as usize % 3]);
        let calls: Vec<ImportedCall> = (0..4_500).map(one).collect();
        let mut told = Vec::new();
        store.import_calls(calls[..3_000].to_vec(), |done| told.push(done)).await.unwrap();
        assert_eq!(told, [2_000, 3_000], "a part is taken over at a time");
        // What was cut off is finished.
        assert_eq!(import(&store, calls).await, (1_500, 3_000, vec![]));
        let thirds = |of: i64| Tally {
            completed: of,
            busy: of,
            failed: of,
            seconds: 46 * of,
            humans: of,
            ..Tally::default()
        };
        assert_eq!(sums(&store, &auth).await, (thirds(1_500), 4_500));

        // All of it is in the audit, whatever goes later.
        store.prune(Millis::DAY, NOW.plus(Millis::DAY - 3_000_000)).await.unwrap();
        assert_eq!(sums(&store, &auth).await, (thirds(1_000), 3_000));
        store.prune(Millis::DAY, NOW.plus(Millis::DAY)).await.unwrap();
        assert_eq!(sums(&store, &auth).await, (Tally::default(), 0));
        import(&store, vec![one(1)]).await;
        let acts = store.audit(Millis(0), None, false, 100).await.unwrap();
        let acts = acts.iter().filter(|entry| entry.act == "calls.import");
        let changes: Vec<&str> = acts.map(|entry| entry.changes.as_str()).collect();
        let expected = ["[0,2000]", "[2000,3000]", "[3000,4000]", "[4000,4500]", "[4500,4501]"];
        assert_eq!(changes, expected.map(|it| format!("{{\"calls\":{it}}}")));

        // Our own ids count from 1 all the same.
        store.close().await;
        let store = database.open().await;
        let first = store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
        assert!(first.call.call_id().ends_with(".1"), "{}", first.call.call_id());
    }
}

#[tokio::test]
async fn but_no_call_that_is_another_one_and_no_key_that_opens_nothing() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, own) = key(&store, 5).await;
        let (_, others) = key(&store, 5).await;
        let there = old_call(1, &others.key_id, CallStatus::Busy);
        import(&store, vec![there.clone()]).await;
        let live = store.place(&auth, call(None), |_| event(1, "i")).await.unwrap();
        let mine = |n| old_call(n, &own.key_id, CallStatus::Busy);
        let up = ImportedCall { line: 3, call_id: live.call.call_id().to_owned(), ..mine(2) };
        let shorter = ImportedCall { line: 4, duration: 7, ..there.clone() };
        let (taken, known, refused) =
            import(&store, vec![mine(1), up, shorter, there, mine(5)]).await;
        assert_eq!((taken, known), (1, 1));
        assert_eq!(
            refused,
            [
                format!("line 2: call_id: 1720012345.1 is a call of {}", others.key_id),
                format!("line 3: call_id: {} is in progress", live.call.call_id()),
                "line 4: duration: the call 1720012345.1 is there already, with another one".into(),
            ]
        );

        // A key that was replaced, and one that was revoked.
        store.rotate_key(&own.key_id, 1_000, NOW).await.unwrap();
        let later = NOW.plus(2_000);
        let update = async |key: ImportedKey| {
            let done = store.import_keys(vec![key], true, later).await.unwrap();
            done.unwrap_err()[0].what.clone()
        };
        let says = update(imported(2, &own.key)).await;
        assert!(says.contains("its grace is over"), "{says}");
        store.revoke_key(&others.key_id).await.unwrap();
        let says = update(imported(2, &others.key)).await;
        assert!(says.contains("it was revoked"), "{says}");
        let key_id = Some(others.key_id.clone());
        let says = update(ImportedKey { key_id, ..imported(2, "a new one") }).await;
        assert!(says.contains("is revoked"), "{says}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_command_line_while_the_server_runs() {
    let exchange = Exchange::start("127.0.0.47").await;
    let mut site = Site::with_trunks(&[exchange.address]).await;
    let mut hooks = Hooks::start().await;
    let _serving = site.serve(&[]).await;
    let folder = site.folder().to_owned();
    let file = |name: &str| folder.join(name).display().to_string();
    let (keys, calls) = (file("keys.csv"), file("calls.csv"));
    fs::write(
        &keys,
        "name,key,key_id,credits,trunks\n\"Shop, old\",ak_live_123456,key_old,7,trunk-0\n",
    )
    .unwrap();
    let told = site.done(&["key", "import", "--json", &keys]).await;
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), json!({ "keys": 1 }));
    let [first, second] = [60, 59].map(|days| Millis::wall_clock().plus(-days * Millis::DAY));
    let lines = format!(
        "call_id,key_id,number,status,amd_status,duration,created_at\n\
         1720012345.88,key_old,+1 415 555 0100,completed,HUMAN,46,{}\n\
         1720012345.89,key_old,14155550101,busy,,0,{}\n",
        first.to_rfc3339(),
        second.to_rfc3339()
    );
    fs::write(&calls, &lines).unwrap();
    assert_eq!(
        site.done(&["calls", "import", &calls]).await,
        "2 calls taken over, 0 were there already\n"
    );
    // One that is too old to stay, and one that is another call than that which is there.
    fs::write(
        &calls,
        lines.replace("busy,,0", "failed,,0")
            + "1.1,key_old,1415555,busy,,0,2001-02-17T10:25:51Z\n",
    )
    .unwrap();
    let output = site.kaphila(&["calls", "import", "--json", &calls]).await;
    let (told, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    let counts = json!({ "calls": 1, "known": 1, "refused": 1, "old": 1 });
    assert_eq!(serde_json::from_str::<Value>(&told).unwrap(), counts);
    assert!(said.contains("1 calls of the file are older than database.keep_calls"), "{said}");
    assert!(said.contains("line 3: status: the call 1720012345.89 is there already"), "{said}");
    let is_gone = async || {
        let logs = site.post_as("ak_live_123456", "/api/call-logs", json!({})).await.json();
        logs["total_count"] == 2
    };
    eventually(20, "that it is pruned", is_gone).await;

    // Its client notices nothing.
    let own = std::mem::replace(&mut site.key, "ak_live_123456".to_owned());
    let me = site.get("/api/me").await.json();
    assert_eq!((&me["apiKey"]["name"], &me["apiKey"]["credits"]), (&json!("Shop, old"), &json!(7)));
    let body = json!({ "number": Callee::HangsUp.number(1), "webhookUrl": hooks.url() });
    let placed = site.post("/makecall", body).await.json();
    let call = placed["callId"].as_str().unwrap().to_owned();
    hooks.expect(&call, "call.ended").await;
    let logs = site.post("/api/call-logs", json!({})).await.json();
    assert_eq!(logs["total_count"], 3, "{logs:#}");
    assert_eq!(logs["logs"][2]["call_id"], "1720012345.88");
    site.key = own;

    for (name, text_of_it, says) in [
        ("keys", "", "the column key, or key_sha256"),
        ("keys", "key,colour\nx,red\n", "no column `colour`"),
        ("keys", "key,credits\nx,-1\ny,z\n", "line 2: credits must be a whole number, not `-1`"),
        ("keys", "key\nx\nx\n", "line 3: the key is on an earlier line"),
        ("keys", "key_sha256\nabc\n", "line 2: key_sha256 must be 64 hex digits"),
        ("keys", "key,key_id\nx,../x\n", "line 2: key_id must be"),
        ("keys", "key,created_at\nx,yesterday\n", "line 2: created_at must be a time"),
        ("keys", "key\nak_live_123456\n", "exists already; --update"),
        (
            "calls",
            "call_id,key_id,number,status,created_at\n1.1,nobody,14155550100,busy,2026-02-17T10:24:51Z\n",
            "line 2: key_id: no key nobody",
        ),
        (
            "calls",
            "call_id,key_id,number,status,created_at\n\
             1.1,key_old,14155550100,busy,2026-02-17T10:24:51Z\n\
             1.1,key_old,14155550100,busy,2026-02-17T10:24:51Z\n",
            "line 3: call_id: 1.1 is on line 2 already",
        ),
        (
            "calls",
            "call_id,key_id,number,status,created_at\n1.1,key_old,1415555,ringing,x\n",
            "line 2: status must be one of",
        ),
        (
            "calls",
            "call_id,key_id,number,status\n1.1,key_old,1415555,busy\n",
            "line 2: created_at is missing",
        ),
    ] {
        let path = file("bad.csv");
        fs::write(&path, text_of_it).unwrap();
        let words = if name == "keys" { ["key", "import"] } else { ["calls", "import"] };
        let output = site.kaphila(&[words[0], words[1], &path]).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text_of_it}: {error}");
        assert!(error.contains(says), "{text_of_it}: {error}");
    }
}
