//! C5: a database that is locked, gone or hangs, the real program, and `kill -9` in the middle of it.
//!
//! `KAPHILA_AWAY_SECS` sets how long it stays away (1).

use std::path::{Path, PathBuf};
use std::time::Duration;

use kaphila::store::{CallRef, CallStatus, Millis, Store, SyncMode};
use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::store_fixture::{Database, NOW, call, end, event, key};
use crate::support::exchange::{Callee, Exchange};
use crate::support::hooks::Hooks;
use crate::support::link::{Link, State};
use crate::support::program::{Site, eventually};

/// How a database is away.
enum Fault {
    /// Another process holds SQLite's lock.
    Locked(Option<SqliteConnection>),
    /// PostgreSQL behind a link in this state.
    Link(Link, State, String),
}

impl Fault {
    async fn begin(&mut self, site: &Site) {
        match self {
            Self::Locked(lock) => {
                let mut other = site.database().await;
                other.execute("PRAGMA busy_timeout = 5000").await.unwrap();
                other.execute("BEGIN IMMEDIATE").await.unwrap();
                *lock = Some(other);
            }
            Self::Link(link, state, _) => link.set(*state),
        }
    }

    async fn end(&mut self) {
        match self {
            Self::Locked(lock) => {
                let mut other = lock.take().unwrap();
                other.execute("ROLLBACK").await.unwrap();
                other.close().await.unwrap();
            }
            Self::Link(link, ..) => link.set(State::Whole),
        }
    }

    /// A number from the database, beside the server.
    async fn number(&self, site: &Site, query: &'static str) -> i64 {
        match self {
            Self::Locked(_) => {
                let mut database = site.database().await;
                sqlx::query_scalar(query).fetch_one(&mut database).await.unwrap()
            }
            Self::Link(_, _, url) => {
                let mut database = PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(query).fetch_one(&mut database).await.unwrap()
            }
        }
    }
}

/// The exchange sends no RTP.
async fn silent_site() -> Site {
    let mut site = Site::new().await;
    site.set("KAPHILA_MEDIA_RTP_TIMEOUT", "0");
    site
}

/// A site on SQLite, and where there is a PostgreSQL on that, with each way of being away.
async fn faults() -> Vec<(Site, Fault)> {
    let mut all = vec![(silent_site().await, Fault::Locked(None))];
    let Ok(server) = std::env::var("KAPHILA_TEST_POSTGRES") else {
        println!("skipped: PostgreSQL that is away, KAPHILA_TEST_POSTGRES is not set");
        return all;
    };
    let host = url::Url::parse(&server).unwrap();
    let address = format!("{}:{}", host.host_str().unwrap(), host.port().unwrap());
    for state in [State::Cut, State::Silent] {
        let database = Database::all().await.pop().unwrap();
        let link = Link::to(address.clone()).await;
        let mut site = silent_site().await;
        let linked = database.url.replace(&address, &link.address.to_string());
        assert!(linked.contains(&link.address.to_string()), "{linked}");
        site.set("KAPHILA_DATABASE_URL", linked);
        all.push((site, Fault::Link(link, state, database.url)));
    }
    all
}

async fn away_for() {
    let secs = std::env::var("KAPHILA_AWAY_SECS").ok().and_then(|text| text.parse().ok());
    tokio::time::sleep(Duration::from_secs(secs.unwrap_or(1))).await;
}

/// Three calls: one that ends while the database is away, one that is answered and ends, one that
/// talks on.
struct Calls {
    ends: String,
    is_answered: String,
    talks_on: String,
}

const ENDS: usize = 1;
const IS_ANSWERED: usize = 2;
const TALKS_ON: usize = 3;

async fn place(site: &Site, hooks: &mut Hooks) -> Calls {
    let place = async |callee: Callee, n: usize| {
        let body = json!({ "number": callee.number(n), "webhookUrl": hooks.url() });
        let placed = site.post("/makecall", body).await;
        placed.json()["callId"].as_str().unwrap_or_else(|| panic!("{placed:?}")).to_owned()
    };
    let (ends, talks_on) =
        (place(Callee::Answers, ENDS).await, place(Callee::Answers, TALKS_ON).await);
    let is_answered = place(Callee::Rings, IS_ANSWERED).await;
    for call in [&ends, &talks_on] {
        hooks.expect(call, "call.answered").await;
        hooks.expect(call, "recording.started").await;
    }
    hooks.expect(&is_answered, "call.initiated").await;
    Calls { ends, is_answered, talks_on }
}

/// What happens while nothing can be written.
async fn live_without_it(site: &Site, exchange: &Exchange, calls: &Calls) {
    let body = json!({ "number": Callee::Answers.number(9) });
    let refused = site.post("/makecall", body).await;
    refused.is_refused(503, "DATABASE_UNAVAILABLE");
    println!("refused after {:?}", refused.took);
    assert!(refused.took < Duration::from_millis(1_500), "{:?}", refused.took);
    exchange.hang_up(&Callee::Answers.number(ENDS)).await;
    let rings = Callee::Rings.number(IS_ANSWERED);
    exchange.answer(&rings).await;
    let is_up = || async { exchange.leg(&rings).is_some_and(|leg| !leg.acks.is_empty()) };
    eventually(10, "the ACK", is_up).await;
    away_for().await;
    // What is known of the key is old by now: it must be asked for, too.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let body = json!({ "number": Callee::Answers.number(9) });
    let refused = site.post("/makecall", body).await;
    refused.is_refused(503, "DATABASE_UNAVAILABLE");
    println!("refused after {:?} once the key is not known afresh", refused.took);
    assert!(refused.took < Duration::from_millis(1_500), "{:?}", refused.took);
    let hangup = site.post("/hangup", json!({ "callId": calls.is_answered })).await;
    assert_eq!(hangup.status, 200, "{hangup:?}");
    let is_over = || async { exchange.leg(&rings).is_some_and(|leg| leg.over.is_some()) };
    eventually(10, "the BYE", is_over).await;
    let talks = exchange.leg(&Callee::Answers.number(TALKS_ON)).unwrap();
    assert_eq!(talks.over, None, "the third talks on");
    // Answer and end of one, end and recording of the other.
    let waits = async || site.metric("kaphila_journal_records").await >= 4.0;
    eventually(10, "the journal", waits).await;
}

async fn everything_is_there(site: &Site, fault: &Fault, hooks: &mut Hooks, calls: &Calls) {
    for call in [&calls.ends, &calls.is_answered, &calls.talks_on] {
        assert_eq!(hooks.expect(call, "call.ended").await["wasAnswered"], true, "{call}");
        hooks.expect(call, "recording.completed").await;
    }
    hooks.expect(&calls.is_answered, "call.answered").await;
    let numbers = [
        ("SELECT COUNT(*) FROM calls WHERE ended_at IS NULL", 0),
        ("SELECT COUNT(*) FROM calls WHERE status = 'completed'", 3),
        ("SELECT holds FROM api_keys", 0),
        ("SELECT credits FROM api_keys", 100_000 - 3),
        ("SELECT CAST(SUM(credits) AS BIGINT) FROM ledger", 100_000 - 3),
        ("SELECT CAST(SUM(holds) AS BIGINT) FROM ledger", 0),
        ("SELECT COUNT(*) FROM recordings WHERE finished_at IS NULL", 0),
        ("SELECT CAST(SUM(completed) AS BIGINT) FROM call_quarters", 3),
    ];
    for (query, expected) in numbers {
        assert_eq!(fault.number(site, query).await, expected, "{query}");
    }
    hooks.read();
    hooks.are_whole();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_gives_it_back_when_that_is_there_again() {
    let exchange = Exchange::start("127.0.0.41").await;
    for (mut site, mut fault) in faults().await {
        site.add_trunks(&[exchange.address]).await;
        let mut hooks = Hooks::start().await;
        let mut serving = site.serve(&[]).await;
        let calls = place(&site, &mut hooks).await;
        fault.begin(&site).await;
        live_without_it(&site, &exchange, &calls).await;
        fault.end().await;
        let is_empty = async || site.metric("kaphila_journal_records").await == 0.0;
        eventually(10, "an empty journal", is_empty).await;
        assert_eq!(std::fs::metadata(site.path("data/journal")).unwrap().len(), 0);
        // New calls again, and the third one ends as ever.
        assert_eq!(site.post("/hangup", json!({ "callId": calls.talks_on })).await.status, 200);
        everything_is_there(&site, &fault, &mut hooks, &calls).await;
        let body = json!({ "number": Callee::Busy.number(9) });
        let placed = async || site.post("/makecall", body.clone()).await.status == 200;
        eventually(5, "a new call", placed).await;
        serving.terminate();
        assert!(serving.ends(Duration::from_secs(30)).await.success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_kill() {
    let exchange = Exchange::start("127.0.0.42").await;
    for (mut site, mut fault) in faults().await {
        site.add_trunks(&[exchange.address]).await;
        let mut hooks = Hooks::start().await;
        let serving = site.serve(&[]).await;
        let calls = place(&site, &mut hooks).await;
        fault.begin(&site).await;
        live_without_it(&site, &exchange, &calls).await;
        // A sign of life more, so that the third call's end is known to the second.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let killed = Millis::wall_clock();
        serving.kill().await;
        assert!(std::fs::metadata(site.path("data/journal")).unwrap().len() > 0);
        fault.end().await;
        let _serving = site.serve(&[]).await;
        everything_is_there(&site, &fault, &mut hooks, &calls).await;
        let last = fault.number(&site, "SELECT MAX(ended_at) FROM calls").await;
        assert!((-3_000..=0).contains(&(last - killed.0)), "{} ms after", last - killed.0);
        assert_eq!(std::fs::metadata(site.path("data/journal")).unwrap().len(), 0);
    }
}

/// A store with its journal and a call that rings.
async fn with_a_call(database: &Database, journal: &Path) -> (Store, CallRef) {
    let store = database.open().await;
    store.open_journal(journal, SyncMode::Normal).await.unwrap();
    let (auth, _) = key(&store, 5).await;
    let hook = call(Some("https://hooks.example/"));
    let placed = store.place(&auth, hook, |_| event(1, "call.initiated")).await.unwrap();
    (store, placed.call)
}

/// Somebody else writes to an embedded database, and goes on with it.
async fn lock(database: &Database) -> SqliteConnection {
    let mut other = SqliteConnection::connect(&database.url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    other
}

#[tokio::test]
async fn and_gives_it_to_no_other_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (first, second) = (Database::sqlite(), Database::sqlite());
    let (store, rings) = with_a_call(&first, &path("journal")).await;
    let mut other = lock(&first).await;
    assert!(store.ended(&rings, end(CallStatus::Busy, 1), vec![]).await.unwrap());
    assert_eq!(store.journal_waiting(), 1);
    // As it is when the process dies now.
    std::fs::copy(path("journal"), path("left")).unwrap();
    drop(store);
    other.execute("ROLLBACK").await.unwrap();

    // The same row is a live call there.
    let (store, also_rings) = with_a_call(&second, &path("another")).await;
    assert_eq!(also_rings.call_id(), rings.call_id());
    store.close().await;
    let store = second.open().await;
    store.open_journal(&path("left"), SyncMode::Normal).await.unwrap();
    assert_eq!((store.journal_waiting(), store.open_calls().await.unwrap().len()), (0, 1));
    let names = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path());
    let aside = |it: &PathBuf| it.display().to_string().contains("left.other-");
    let aside: Vec<PathBuf> = names.filter(aside).collect();
    assert_eq!(aside.len(), 1);

    let store = first.open().await;
    store.open_journal(&aside[0], SyncMode::Normal).await.unwrap();
    assert!(store.open_calls().await.unwrap().is_empty(), "it is this one's");
}

#[tokio::test]
async fn and_keeps_what_the_database_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let database = Database::sqlite();
    let (store, rings) = with_a_call(&database, &path).await;
    let mut other = lock(&database).await;
    assert!(store.ended(&rings, end(CallStatus::Busy, 1), vec![]).await.unwrap());
    store.append_events(&rings, NOW, vec![event(2, "dtmf.received")]).await.unwrap();
    assert_eq!(store.journal_waiting(), 2);
    let refuses = "CREATE TRIGGER refuses BEFORE UPDATE ON calls \
         BEGIN SELECT RAISE(ABORT, 'not this one'); END; COMMIT";
    other.execute(refuses).await.unwrap();
    eventually(10, "an empty journal", async || store.journal_waiting() == 0).await;
    assert_eq!(store.journal_faults(), (0, 1));
    let kept = std::fs::read_to_string(path.with_extension("refused")).unwrap();
    assert_eq!(kept.lines().count(), 1);
    assert!(kept.contains("\"ended\"") && kept.contains(rings.call_id()), "{kept}");
    assert_eq!(store.deliveries(false).await.unwrap().len(), 2, "the other one was written");
}
