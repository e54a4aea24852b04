//! C4: no room on the disk of recordings while calls are recorded by the real program.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::Row;

use crate::support::exchange::{Callee, Exchange};
use crate::support::hooks::Hooks;
use crate::support::program::Site;

/// Room for four seconds of one recording, and not for the second one beside it.
const ROOM: &str = "mount -t tmpfs -o size=96k tmpfs \"$0\" && exec \"$@\"";

/// Starts a program with a small file system of its own on a folder; it is gone with the program.
/// Not everybody may mount: `None` where this machine does not let us.
fn small_disk(folder: &str) -> Option<Vec<&str>> {
    for users in [&["unshare", "--mount"][..], &["unshare", "--map-root-user", "--mount"]] {
        let starter = [users, &["sh", "-c", ROOM, folder]].concat();
        let tried = Command::new(starter[0]).args(&starter[1..]).arg("true").output();
        if tried.is_ok_and(|output| output.status.success()) {
            return Some(starter);
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_partial_with_the_reason_and_the_call_goes_on() {
    let exchange = Exchange::start("127.0.0.21").await;
    let mut hooks = Hooks::start().await;
    let site = Site::with_trunks(&[exchange.address]).await;
    let folder = site.path("data/recordings").display().to_string();
    let Some(starter) = small_disk(&folder) else {
        eprintln!("skipped: a small file system cannot be mounted here");
        return;
    };
    let serving = site.serve_by(&starter, &[]).await;
    let mut calls = Vec::new();
    for n in 0..2 {
        let body = json!({ "number": Callee::Answers.number(n), "webhookUrl": hooks.url() });
        calls
            .push(site.post("/makecall", body).await.json()["callId"].as_str().unwrap().to_owned());
    }
    let began = Instant::now();
    let mut reasons = Vec::new();
    for call in &calls {
        let completed = hooks.expect(call, "recording.completed").await;
        let reason = completed["partial"].as_str().expect("it is partial").to_owned();
        assert!(reason.contains("space"), "{reason}");
        // 96 KiB hold three seconds of two recordings of 16 kB a second.
        let seconds = completed["duration"].as_f64().unwrap();
        assert!((0.5..6.5).contains(&seconds), "{completed}");
        let bytes = completed["size"].as_f64().unwrap() - 44.0;
        assert!((bytes / 16_000.0 - seconds).abs() <= 0.001, "{completed}");
        reasons.push(reason);
    }
    assert!(began.elapsed() > Duration::from_secs(1));
    assert_eq!(site.get("/calls").await.json()["activeCalls"], 2, "the calls go on");

    // A call that begins on a full disk is told the same, and lives.
    let third = json!({ "number": Callee::Answers.number(2), "webhookUrl": hooks.url() });
    let third = site.post("/makecall", third).await.json()["callId"].as_str().unwrap().to_owned();
    hooks.expect(&third, "call.answered").await;
    calls.push(third);
    for call in &calls {
        let voice = json!({ "callId": call, "text": "Hello" });
        assert_eq!(site.post("/voice", voice).await.status, 200);
        hooks.expect(call, "tts.played").await;
    }
    // Pacing of all that was sent, in microseconds: a slot is 2 ms.
    let p99 = site.metric("kaphila_media_slot_lateness_p99_seconds").await;
    println!("slot lateness p99: {:.0} us", p99 * 1e6);
    assert!(site.metric("kaphila_media_recordings_partial_total").await >= 2.0);
    for call in &calls {
        assert_eq!(site.post("/hangup", json!({ "callId": call })).await.status, 200);
        let ended = hooks.expect(call, "call.ended").await;
        assert_eq!(
            (&ended["status"], &ended["endReason"]),
            (&json!("completed"), &json!("api_hangup"))
        );
    }
    let mut database = site.database().await;
    let query = "SELECT partial FROM recordings ORDER BY started_at";
    let rows = sqlx::query(query).fetch_all(&mut database).await.unwrap();
    for (row, reason) in rows.iter().zip(&reasons) {
        assert_eq!(&row.get::<String, _>(0), reason);
    }
    hooks.are_whole();
    site.books_are_right().await;
    serving.kill().await;
}
