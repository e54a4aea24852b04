//! C1, C2, C3: `kill -9` of the real program at random points, and what the next start makes of it.
//!
//! `KAPHILA_CRASHES` sets the number of points, `KAPHILA_CRASH_CALLS` the calls before each,
//! `KAPHILA_SEED` the seed, which is printed.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::str::FromStr;
use std::time::{Duration, Instant};

use kaphila::store::Millis;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use sqlx::Row;
use tokio::task::JoinSet;

use crate::support::exchange::{Callee, Exchange, Leg};
use crate::support::hooks::Hooks;
use crate::support::http;
use crate::support::program::{Site, eventually};

/// What may be between an ACK and the answer's row: a commit, on a crowded machine.
const COMMIT: Duration = Duration::from_secs(1);

/// Milliseconds, of every crash.
#[derive(Default)]
struct Figures {
    ready: Vec<u64>,
    orphans: Vec<u64>,
    lost: Vec<u64>,
    open: Vec<u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_random_points() {
    let seed = setting("KAPHILA_SEED", rand::random::<u64>());
    let (crashes, calls) = (setting("KAPHILA_CRASHES", 3), setting("KAPHILA_CRASH_CALLS", 24));
    println!("KAPHILA_SEED={seed} KAPHILA_CRASHES={crashes} KAPHILA_CRASH_CALLS={calls}");
    let mut random = StdRng::seed_from_u64(seed);
    let exchange = Exchange::start("127.0.0.11").await;
    // Every other call begins here and goes on to the other trunk.
    let full = Exchange::of(Callee::IsFull, "127.0.0.28").await;
    let mut hooks = Hooks::start().await;
    let site = Site::with_trunks(&[full.address, exchange.address]).await;
    let mut figures = Figures::default();
    let mut serving = site.serve(&[]).await;
    for crash in 0..crashes {
        let before = exchange.legs().len();
        let mut load = load(&site, &mut random, hooks.url(), crash * calls, calls);
        tokio::time::sleep(Duration::from_millis(random.random_range(100..5_000))).await;
        let killed = (Instant::now(), Millis::wall_clock());
        serving.kill().await;
        while let Some(done) = load.try_join_next() {
            done.unwrap();
        }
        drop(load);
        let legs = exchange.legs().split_off(before);
        let restarted = Instant::now();
        if crash % 3 == 2 {
            // And again while it recovers.
            let started = site.start(&[], &[]);
            tokio::time::sleep(Duration::from_millis(random.random_range(0..40))).await;
            started.kill().await;
        }
        serving = site.serve(&[]).await;
        figures.ready.push(ms(serving.ready));
        assert!(serving.ready <= Duration::from_secs(2), "ready after {:?}", serving.ready);
        let open = legs.iter().filter(|leg| leg.over.is_none()).count();
        figures.open.push(open as u64);
        orphans_are_ended(&exchange, &legs, restarted, &mut figures).await;
        everybody_is_told(&site, &mut hooks).await;
        site.books_are_right().await;
        every_leg_has_its_row(&site, &legs, killed.0).await;
        recordings_are_true(&site, killed.1, &mut figures).await;
        assert_eq!(site.get("/calls").await.json()["calls"], json!([]), "nothing is active");
    }
    figures.print();

    // And it still calls.
    let number = Callee::HangsUp.number(99_999);
    let body = json!({ "number": number, "webhookUrl": hooks.url() });
    let placed = site.post("/makecall", body).await.json();
    hooks.expect(placed["callId"].as_str().unwrap(), "call.ended").await;
    serving.terminate();
    assert!(serving.ends(Duration::from_secs(10)).await.success());
}

fn setting<T: FromStr>(name: &str, default: T) -> T
where
    T::Err: Display,
{
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// Calls of all kinds over two seconds; some are hung up by their customer. Ends when dropped.
fn load(site: &Site, random: &mut StdRng, hook: &str, first: usize, calls: usize) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for n in first..first + calls {
        let callee = match n % 12 {
            0..=4 => Callee::Answers,
            5 | 6 => Callee::Rings,
            7 => Callee::Tries,
            8 | 9 => Callee::HangsUp,
            10 => Callee::Busy,
            _ => Callee::IsDeafToAck,
        };
        let record = random.random_bool(0.7);
        let body = json!({ "number": callee.number(n), "webhookUrl": hook, "record": record });
        let start = Duration::from_millis(random.random_range(0..2_000));
        let hang_up = random.random_bool(0.2).then(|| random.random_range(0..2_000));
        let (port, key) = (site.http, site.key.clone());
        tasks.spawn(async move {
            tokio::time::sleep(start).await;
            // The server dies on the way: whatever comes of it is seen in its books.
            let Ok(answer) = http::request(port, "POST /makecall", &key, Some(&body)).await else {
                return;
            };
            if answer.status != 200 {
                // A disk that is busy with others may keep the database waiting.
                answer.is_refused(503, "DATABASE_UNAVAILABLE");
                return;
            }
            let Some(pause) = hang_up else { return };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let call = json!({ "callId": answer.json()["callId"] });
            let _ = http::request(port, "POST /hangup", &key, Some(&call)).await;
        });
    }
    tasks
}

/// C2: CANCEL or BYE to each leg that was open, within 5 s of the start; a 200 that comes again is
/// acknowledged first.
async fn orphans_are_ended(
    exchange: &Exchange,
    open: &[Leg],
    restarted: Instant,
    figures: &mut Figures,
) {
    let open: Vec<&Leg> = open.iter().filter(|leg| leg.over.is_none()).collect();
    let after = |times: &[Instant]| times.iter().copied().find(|at| *at >= restarted);
    let now_of = |leg: &Leg| exchange.leg(&leg.number).unwrap();
    let told = |leg: &&Leg| after(&now_of(leg).cancels).or(after(&now_of(leg).byes));
    eventually(10, "CANCEL or BYE at every open leg", || {
        std::future::ready(open.iter().all(|leg| told(leg).is_some()))
    })
    .await;
    for leg in &open {
        let delay = told(leg).unwrap() - restarted;
        assert!(delay <= Duration::from_secs(5), "{delay:?} to {}", leg.number);
        figures.orphans.push(ms(delay));
    }
    // A call whose 200 crossed the crash is over once it has its BYE, however it was told.
    let alive = || -> Vec<Leg> {
        open.iter().map(|leg| now_of(leg)).filter(|leg| leg.over.is_none()).collect()
    };
    for _ in 0..100 {
        if alive().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let alive = alive();
    assert!(alive.is_empty(), "legs live on: {alive:#?}");
    for leg in open.iter().filter(|leg| leg.answered.is_some()) {
        let leg = now_of(leg);
        assert!(!leg.byes.is_empty(), "{} was answered and has no BYE", leg.number);
        let is_late = after(&leg.byes).is_some() && leg.acks.is_empty();
        assert!(!is_late, "{}: its 200 was never acknowledged", leg.number);
    }
}

/// C1: each call one terminal event, no number missing.
async fn everybody_is_told(site: &Site, hooks: &mut Hooks) {
    let mut database = site.database().await;
    let rows = sqlx::query("SELECT call_id FROM calls").fetch_all(&mut database).await.unwrap();
    let calls: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    eventually(30, "call.ended of every call", || {
        hooks.read();
        let is_told = |call: &String| {
            let names = hooks.names(call);
            let of = |name: &str| names.iter().filter(|it| **it == name).count();
            names.contains(&"call.ended") && of("recording.started") == of("recording.completed")
        };
        std::future::ready(calls.iter().all(is_told))
    })
    .await;
    hooks.are_whole();
    assert_eq!(hooks.calls.len(), calls.len());
}

/// C1: whatever was dialled has a row, what was answered has it written down.
async fn every_leg_has_its_row(site: &Site, legs: &[Leg], killed: Instant) {
    let mut database = site.database().await;
    let query = "SELECT sip_call_id, answered_at FROM calls";
    let rows = sqlx::query(query).fetch_all(&mut database).await.unwrap();
    let rows: HashMap<String, Option<i64>> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for leg in legs {
        let answered = rows.get(leg.invite.header("Call-ID"));
        let answered = answered.unwrap_or_else(|| panic!("no row of {}", leg.number));
        let acked = leg.acks.first().filter(|_| leg.answered.is_some());
        if acked.is_some_and(|at| *at + COMMIT < killed) {
            assert!(answered.is_some(), "{} is not answered in its row", leg.number);
        }
    }
}

/// C3: every file opens, its header is true, and at most the last second is lost.
async fn recordings_are_true(site: &Site, killed: Millis, figures: &mut Figures) {
    let mut database = site.database().await;
    let query = "SELECT r.filename, r.bytes, r.duration_ms, r.partial, c.answered_at, c.end_reason, \
                 c.ended_at, r.finished_at FROM recordings r JOIN calls c ON c.id = r.call";
    for row in sqlx::query(query).fetch_all(&mut database).await.unwrap() {
        let name: String = row.get("filename");
        let bytes = fs::read(site.path("data/recordings").join(&name)).unwrap();
        assert_eq!(row.get::<i64, _>("bytes"), bytes.len() as i64, "{name}");
        let size = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let length = bytes.len() as u32;
        assert_eq!((size(4), size(40)), (length - 8, length - 44), "{name}");
        let frames = hound::WavReader::new(&bytes[..]).unwrap().duration();
        let duration = i64::from(frames) / 8;
        assert_eq!(row.get::<i64, _>("duration_ms"), duration, "{name}");
        let partial: Option<String> = row.get("partial");
        // Those that this crash cut off; not what ended before, or in an earlier crash.
        let cut = row.get::<String, _>("end_reason") == "server_shutdown" && partial.is_some();
        if cut && row.get::<i64, _>("finished_at") > killed.0 {
            let lost = (killed.0 - row.get::<i64, _>("answered_at") - duration).max(0);
            assert!(lost <= 1_000, "{name}: {lost} ms lost");
            figures.lost.push(lost as u64);
        }
    }
}

impl Figures {
    fn print(&mut self) {
        for (what, figures) in [
            ("start to ready", &mut self.ready),
            ("start to CANCEL or BYE", &mut self.orphans),
            ("recording lost", &mut self.lost),
            ("open legs at a crash", &mut self.open),
        ] {
            figures.sort_unstable();
            let at = |part: usize| figures.get((figures.len().max(1) - 1) * part / 100).copied();
            let unit = if what.starts_with("open") { "" } else { " ms" };
            println!(
                "{what}: median {:?}, p99 {:?}, max {:?}{unit} of {}",
                at(50),
                at(99),
                at(100),
                figures.len()
            );
        }
    }
}
