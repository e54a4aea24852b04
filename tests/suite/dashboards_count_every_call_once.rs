//! `/api/dashboard`, `/api/call-logs` and `/api/analytics`: every call once, in all three alike.

use kaphila::store::{
    AmdResult, Answered, Authenticated, CallStatus, LogLine, LogPage, Millis, Store, Stretch, Tally,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::store_fixture::{Database, NOW, OLD_KEY, call, end, event, key};
use crate::support::api::{Api, send};
use crate::support::carrier::Carrier;
use crate::support::server::Server;

const QUARTER: i64 = 900_000;
const ALL_TIME: Stretch = Stretch { from: 0, to: 4_000_000, offset: 0 };

async fn tally(store: &Store, auth: &Authenticated, stretch: Stretch) -> Tally {
    let days = store.days(auth, stretch).await.unwrap();
    days.iter().fold(Tally::default(), |mut sum, day| {
        sum += day.calls;
        sum
    })
}

/// Places a call at `at` and lets it come to `status`.
async fn live(store: &Store, auth: &Authenticated, at: Millis, status: CallStatus, verdict: &str) {
    let mut new = call(None);
    new.now = at;
    let placed = store.place(auth, new, |_| event(1, "call.initiated")).await.unwrap();
    if matches!(status, CallStatus::Answered | CallStatus::Completed) {
        let answered = Answered { at: at.plus(2_000), trunk: None, dialog: "d".into() };
        store.answered(&placed.call, answered, vec![]).await.unwrap();
    }
    if status.is_terminal() {
        let mut ended = end(status, 0);
        ended.at = at.plus(62_000);
        ended.duration_secs = if status == CallStatus::Completed { 60 } else { 0 };
        ended.amd = (!verdict.is_empty()).then(|| AmdResult {
            status: verdict.into(),
            cause: "HUMAN".into(),
            confidence: 0.9,
        });
        assert!(store.ended(&placed.call, ended.clone(), vec![]).await.unwrap());
        // What is repeated is not counted again.
        assert!(!store.ended(&placed.call, ended, vec![]).await.unwrap());
    }
}

async fn all_pages(
    store: &Store,
    auth: &Authenticated,
    status: Option<CallStatus>,
    as_of: Millis,
    total: Option<i64>,
) -> Vec<LogLine> {
    let mut lines = Vec::new();
    loop {
        let page = LogPage { status, as_of, offset: lines.len() as i64, limit: 7, total };
        let found = store.call_log(auth, page).await.unwrap();
        if found.is_empty() {
            return lines;
        }
        lines.extend(found);
    }
}

#[tokio::test]
async fn sums_lists_and_lengths_agree_for_random_calls() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    for database in Database::all().await {
        let store = database.open().await;
        let (mine, _) = key(&store, 1_000).await;
        let (other, _) = key(&store, 1_000).await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut expected = Vec::new();
        for _ in 0..120 {
            let at = NOW.plus(-random.random_range(0..3 * Millis::DAY));
            let status = CallStatus::ALL[random.random_range(0..7)];
            let verdict = ["", "HUMAN", "MACHINE", "NOTSURE"][random.random_range(0..4)];
            live(&store, &mine, at, status, verdict).await;
            expected.push((at, status, verdict));
            live(&store, &other, at, CallStatus::Completed, "HUMAN").await;
        }
        let count = |what: &dyn Fn(&(Millis, CallStatus, &str)) -> bool| {
            expected.iter().filter(|call| what(call)).count() as i64
        };

        let sum = tally(&store, &mine, ALL_TIME).await;
        for status in CallStatus::ALL {
            assert_eq!(sum.of(status), count(&|(_, it, _)| *it == status), "{status}");
        }
        let heard = |verdict| count(&|(_, it, said)| it.is_terminal() && *said == verdict);
        assert_eq!((sum.humans, sum.machines), (heard("HUMAN"), heard("MACHINE")));
        assert_eq!(sum.seconds, 60 * sum.completed);
        let standing = store.standing(&mine).await.unwrap().unwrap();
        assert_eq!(standing.total_calls, 120);
        assert_eq!(standing.successful_calls, sum.completed);
        assert_eq!(standing.active_calls, sum.ringing + sum.answered);

        // Any stretch is counted by the time of placing, in the zone's days.
        let from = NOW.0 / QUARTER - 100;
        let stretch = Stretch { from, to: from + 77, offset: 22 };
        for day in store.days(&mine, stretch).await.unwrap() {
            let of_day = count(&|(at, ..)| {
                let quarter = at.0 / QUARTER;
                (from..from + 77).contains(&quarter) && (quarter + 22) / 96 == day.day
            });
            assert_eq!(day.calls.total(), of_day);
        }

        for as_of in [NOW, NOW.plus(-Millis::DAY - 1), NOW.plus(-10 * Millis::DAY)] {
            for status in [None].into_iter().chain(CallStatus::ALL.map(Some)) {
                let fits = count(&|(at, it, _)| *at <= as_of && status.is_none_or(|s| s == *it));
                let length = store.call_log_length(&mine, status, as_of).await.unwrap();
                assert_eq!(length, fits, "{status:?} as of {as_of:?}");
                let lines = all_pages(&store, &mine, status, as_of, None).await;
                assert_eq!(lines.len() as i64, fits, "{status:?} as of {as_of:?}");
                assert!(lines.is_sorted_by(|a, b| a.created_at >= b.created_at));
                // The later half, read from the other end, is the same.
                let again = all_pages(&store, &mine, status, as_of, Some(length)).await;
                assert_eq!(again, lines, "{status:?} as of {as_of:?}");
            }
        }
    }
}

#[tokio::test]
async fn calls_that_are_too_old_leave_every_count() {
    for database in Database::all().await {
        let store = database.open().await;
        let (auth, _) = key(&store, 100).await;
        let old = NOW.plus(-500 * Millis::DAY);
        for at in [old, old, NOW, NOW] {
            live(&store, &auth, at, CallStatus::Completed, "HUMAN").await;
        }
        assert_eq!(tally(&store, &auth, ALL_TIME).await.completed, 4);
        store.prune(400 * Millis::DAY, NOW).await.unwrap();
        let left = tally(&store, &auth, ALL_TIME).await;
        assert_eq!((left.completed, left.humans, left.seconds), (2, 2, 120));
        assert_eq!(store.call_log_length(&auth, None, NOW).await.unwrap(), 2);
        let ended = Some(CallStatus::Completed);
        assert_eq!(store.call_log_length(&auth, ended, NOW).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn calls_of_the_first_version_are_counted() {
    for database in Database::all().await {
        database.make_version(1).await;
        let store = database.open().await;
        let auth = store.authenticate(OLD_KEY, NOW).await.unwrap().unwrap();
        let sum = tally(&store, &auth, ALL_TIME).await;
        let expected = Tally {
            completed: 2,
            no_answer: 1,
            busy: 1,
            seconds: 42,
            humans: 1,
            machines: 1,
            ..Tally::default()
        };
        assert_eq!(sum, expected);
        assert_eq!(store.call_log_length(&auth, None, NOW).await.unwrap(), 4);
        let latest = &all_pages(&store, &auth, None, NOW, None).await[0];
        assert_eq!((latest.call_id.as_str(), latest.duration), ("17.1", 30));
    }
}

/// A server whose key has one call of each of these, placed now.
async fn served(statuses: &[CallStatus]) -> (Carrier, Server, Api) {
    let carrier = Carrier::on("127.0.0.1").await;
    let server = Server::start(&[&carrier], 50).await;
    let api = Api::of(&server).await;
    for status in statuses {
        live(&server.store, &server.auth, Millis::wall_clock(), *status, "HUMAN").await;
    }
    (carrier, server, api)
}

const CALLS: [CallStatus; 5] = [
    CallStatus::Completed,
    CallStatus::Completed,
    CallStatus::NoAnswer,
    CallStatus::Busy,
    CallStatus::Failed,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_s_examples() {
    let (_carrier, server, api) = served(&CALLS).await;
    let stats = api.post("/api/dashboard", json!({})).await;
    let stats = stats.like(
        r#"{ "success": true, "stats": { "total_credits": 78, "total_calls": 340,
             "successful_calls": 301, "success_rate": 88.53, "calls_today": 22,
             "successful_calls_today": 18, "calls_this_week": 102 },
             "recent_calls": [ { "call_id": "1720012345.88", "number": "14155550100",
             "status": "completed", "amd_status": "HUMAN", "duration": 46,
             "created_at": "2026-02-17T10:22:00.000Z" } ] }"#,
    );
    let expected = json!({ "total_credits": 48, "total_calls": 5, "successful_calls": 2,
        "success_rate": 40.0, "calls_today": 5, "successful_calls_today": 2,
        "calls_this_week": 5 });
    assert_eq!(stats["stats"], expected);
    assert_eq!(stats["recent_calls"][0]["status"], "failed");

    let body = json!({ "page": 1, "page_size": 1, "status": "completed" });
    let logs = api.post("/api/call-logs", body).await;
    let logs = logs.like(
        r#"{ "success": true, "logs": [ { "call_id": "1720012345.88", "number": "14155550100",
             "status": "completed", "amd_status": "HUMAN", "duration": 46,
             "created_at": "2026-02-17T10:22:00.000Z" } ], "total_count": 112,
             "pagination": { "page": 1, "page_size": 20, "total_pages": 6 } }"#,
    );
    assert_eq!(logs["total_count"], 2);
    assert_eq!(logs["pagination"]["total_pages"], 2);
    assert_eq!(logs["logs"][0]["duration"], 60);

    let analytics = api.post("/api/analytics", json!({ "days": 7 })).await;
    let analytics = analytics.like(
        r#"{ "success": true, "period": "Last 7 days", "overview": { "totalCalls": 112,
             "completedCalls": 97, "failedCalls": 7, "noAnswerCalls": 8, "humanCalls": 84,
             "machineCalls": 28, "avgDuration": 42.8, "successRate": 86.61 },
             "dailyVolume": [ { "date": "2026-02-17", "total_calls": 22, "completed": 19,
             "failed": 1 } ],
             "statusBreakdown": [ { "status": "completed", "count": 97, "percentage": 86.61 } ] }"#,
    );
    let overview = json!({ "totalCalls": 5, "completedCalls": 2, "failedCalls": 2,
        "noAnswerCalls": 1, "humanCalls": 5, "machineCalls": 0, "avgDuration": 60.0,
        "successRate": 40.0 });
    assert_eq!(analytics["overview"], overview);
    let days = analytics["dailyVolume"].as_array().unwrap();
    assert_eq!(days.len(), 7);
    let sum = |field: &str| days.iter().map(|day| day[field].as_i64().unwrap()).sum::<i64>();
    assert_eq!((sum("total_calls"), sum("completed"), sum("failed")), (5, 2, 2));
    let first = json!({ "status": "completed", "count": 2, "percentage": 40.0 });
    assert_eq!(analytics["statusBreakdown"][0], first);
    assert_eq!(analytics["statusBreakdown"].as_array().unwrap().len(), 4);
    let me = api.get("/api/me").await;
    assert_eq!(me.body["apiKey"]["totalCalls"], 5);
    assert_eq!(me.body["apiKey"]["successfulCalls"], 2);
    api.stop();
    server.ends_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_stay_while_calls_are_added_and_another_key_sees_none() {
    let (_carrier, server, api) = served(&CALLS).await;
    let page = async |page: u64, as_of: Option<&Value>| {
        let mut body = json!({ "page": page, "page_size": 2 });
        if let Some(as_of) = as_of {
            body["asOf"] = as_of.clone();
        }
        api.post("/api/call-logs", body).await.body
    };
    let first = page(1, None).await;
    let as_of = &first["pagination"]["asOf"];
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let now = Millis::wall_clock();
    live(&server.store, &server.auth, now, CallStatus::Canceled, "").await;
    assert_eq!(page(1, None).await["total_count"], 6);
    let mut seen = Vec::new();
    for n in 1..=3 {
        let page = page(n, Some(as_of)).await;
        assert_eq!(page["total_count"], 5);
        seen.extend(page["logs"].as_array().unwrap().clone());
    }
    assert_eq!(seen[..2], first["logs"].as_array().unwrap()[..]);
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|line| line["status"] != "canceled"));
    assert_eq!(page(4, Some(as_of)).await["logs"], json!([]));

    let another = api.another(&server, 5, 1, &[]).await;
    // More often than its hourly limit: these are not counted.
    for _ in 0..3 {
        let logs = another.post("/api/call-logs", json!({})).await;
        assert_eq!((&logs.body["total_count"], &logs.body["logs"]), (&json!(0), &json!([])));
        let analytics = another.post("/api/analytics", json!({})).await;
        assert_eq!(analytics.body["overview"]["totalCalls"], 0);
        assert_eq!(analytics.body["overview"]["successRate"], 0.0);
        assert_eq!(analytics.body["statusBreakdown"], json!([]));
        let board = another.post("/api/dashboard", json!({})).await;
        assert_eq!(board.body["recent_calls"], json!([]));
        assert_eq!(board.body["stats"]["total_calls"], 0);
    }
    api.stop();
    server.ends_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_request_is_named() {
    let (_carrier, server, api) = served(&[]).await;
    for (path, field, value, says) in [
        ("/api/call-logs", "page", json!(0), "page must be a whole number between 1 and"),
        ("/api/call-logs", "page", json!("1"), "page must be"),
        ("/api/call-logs", "page", json!(1.5), "page must be"),
        ("/api/call-logs", "page", json!(1e300), "page must be"),
        ("/api/call-logs", "page_size", json!(0), "page_size must be"),
        ("/api/call-logs", "page_size", json!(101), "page_size must be a whole number between 1"),
        ("/api/call-logs", "status", json!("gone"), "status must be ringing or answered or"),
        ("/api/call-logs", "status", json!(1), "status must be a string"),
        ("/api/call-logs", "asOf", json!("yesterday"), "asOf must be a time"),
        ("/api/call-logs", "asOf", json!(5), "asOf must be a string"),
        ("/api/analytics", "days", json!(0), "days must be a whole number between 1 and 365"),
        ("/api/analytics", "days", json!(366), "days must be"),
        ("/api/analytics", "days", json!("7"), "days must be"),
        ("/api/analytics", "timezone", json!("Mars/Olympus"), "timezone must be an IANA time zone"),
        ("/api/analytics", "timezone", json!(""), "timezone must be"),
        ("/api/analytics", "timezone", json!(2), "timezone must be a string"),
        ("/api/dashboard", "timezone", json!("\u{0}"), "timezone must be"),
    ] {
        let reply = api.post(path, json!({ field: value })).await;
        reply.refused(400, "INVALID_REQUEST", says);
        // `null` is as good as absent.
        assert_eq!(api.post(path, json!({ field: null })).await.status, 200, "{field}");
    }
    for path in ["/api/dashboard", "/api/call-logs", "/api/analytics"] {
        let bare = send(api.bare(reqwest::Method::POST, path).json(&json!({}))).await;
        bare.refused(401, "UNAUTHORIZED", "Missing API key");
        api.get(path).await.refused(405, "METHOD_NOT_ALLOWED", "GET");
        let list = send(api.request(reqwest::Method::POST, path).body("[]")).await;
        list.refused(400, "INVALID_REQUEST", "must be a JSON object");
    }
    let year =
        api.post("/api/analytics", json!({ "days": 365, "timezone": "Asia/Kathmandu" })).await;
    assert_eq!(year.body["dailyVolume"].as_array().unwrap().len(), 365);
    api.stop();
    server.ends_clean().await;
}
