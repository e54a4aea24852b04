//! `kaphila key import` and `calls import`: an old service's keys go on working, with their credits
//! and their logs.

use std::fs;

use kaphila::store::{CallStatus, ImportedCall, ImportedKey, LogPage, Millis, Store};
use serde_json::{Value, json};

use crate::store_fixture::{Database, NOW, call, event, key};
use crate::support::exchange::{Callee, Exchange};
use crate::support::hooks::Hooks;
use crate::support::program::{Site, text};

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
        assert_eq!(store.import_calls(calls.clone(), |_| ()).await.unwrap(), 3);
        assert_eq!(store.import_calls(calls, |_| ()).await.unwrap(), 0, "they are there");
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
    fs::write(
        &calls,
        "call_id,key_id,number,status,amd_status,duration,created_at\n\
         1720012345.88,key_old,+1 415 555 0100,completed,HUMAN,46,2026-02-17T10:24:51Z\n\
         1720012345.89,key_old,14155550101,busy,,0,2026-02-17T10:25:51Z\n",
    )
    .unwrap();
    assert_eq!(
        site.done(&["calls", "import", &calls]).await,
        "2 calls taken over, 0 were there already\n"
    );

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
