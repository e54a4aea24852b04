//! A far end whose power went off says no BYE: `media.rtp_timeout` does.

use std::time::Duration;

use crate::support::carrier::Carrier;
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_timeout() {
    let mut carrier = Carrier::on("127.0.0.1").await;
    let quick = |settings: &mut kaphila::call::Settings| {
        settings.rtp_timeout = Some(Duration::from_millis(300));
    };
    let mut server = Server::with(&[&carrier], 1, quick).await;
    let answer = server.place(server.request());
    let invite = carrier.expect("INVITE").await;
    carrier.accept(&invite).await;
    carrier.expect("ACK").await;
    answer.await.unwrap().unwrap();
    server.event("call.initiated").await;
    server.event("call.answered").await;
    let bye = carrier.expect("BYE").await;
    assert!(bye.header("Reason").contains("cause=44"));
    carrier.answer(&bye, "200 OK", "", "").await;
    let ended = server.event("call.ended").await;
    assert_eq!(
        (&ended["status"], &ended["endReason"]),
        (&"completed".into(), &"media_timeout".into())
    );
    server.ends_clean().await;
}
