//! C5 in small: live calls go on, new ones get 503, and what happened meanwhile is written after.

use std::time::{Duration, Instant};

use kaphila::call::{PlaceRefusal, Status};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::support::carrier::Carrier;
use crate::support::server::{Server, placed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_and_end_are_written_once_it_is_back() {
    let mut carrier = Carrier::on("127.0.0.1").await;
    let mut server = Server::start(&[&carrier], 5).await;
    let answer = server.place(server.request());
    let invite = carrier.expect("INVITE").await;
    carrier.answer(&invite, "180 Ringing", "", "").await;
    let call = placed(answer.await.unwrap().unwrap());
    server.event("call.initiated").await;

    // Somebody else holds the database: nothing can be written.
    let file = server.folder.path().join("kaphila.db");
    let mut other =
        SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    carrier.accept(&invite).await;
    carrier.expect("ACK").await;
    let asked = Instant::now();
    let refused = server.calls.place(&server.auth, server.request()).await.unwrap_err();
    assert_eq!(refused, PlaceRefusal::DatabaseUnavailable);
    assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
    let view = server.calls.view(&server.auth, &call.call_id).unwrap();
    assert_eq!(view.status, Status::Answered, "it talks all the same");
    carrier.bye(&invite).await;
    carrier.expect("SIP/2.0").await;
    other.execute("ROLLBACK").await.unwrap();

    server.event("call.answered").await;
    let ended = server.event("call.ended").await;
    assert_eq!(ended["endReason"], "normal_hangup");
    let account = server.account().await;
    assert_eq!((account.credits, account.holds), (4, 0));
    let row = server.store.call(&server.auth, &call.call_id).await.unwrap().unwrap();
    assert_eq!(row.status, Status::Completed);
    assert!(row.answered_at.is_some());
    other.close().await.unwrap();
    server.ends_clean().await;
}
