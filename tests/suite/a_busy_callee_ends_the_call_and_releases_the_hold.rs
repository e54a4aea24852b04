//! 486: no other trunk, no charge, and `/makecall` says so.

use kaphila::call::{EndReason, PlaceRefusal, Status};

use crate::support::carrier::Carrier;
use crate::support::server::{Server, placed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy() {
    let mut carrier = Carrier::on("127.0.0.1").await;
    let mut other = Carrier::on("127.0.0.2").await;
    let mut server = Server::start(&[&carrier, &other], 1).await;
    let answer = server.place(server.request());
    let invite = carrier.expect("INVITE").await;
    assert_eq!(
        server.calls.place(&server.auth, server.request()).await.unwrap_err(),
        PlaceRefusal::InsufficientCredits,
        "the only credit is held"
    );
    carrier.answer(&invite, "486 Busy Here", "", "").await;
    carrier.expect("ACK").await;
    let call = placed(answer.await.unwrap().unwrap());
    assert_eq!((call.status, call.trunk_attempts, call.total_trunks), (Status::Busy, 1, 2));
    let end = call.end.unwrap();
    assert_eq!((end.reason, end.cause, end.sip_status), (EndReason::Busy, 17, Some(486)));
    server.event("call.initiated").await;
    let ended = server.event("call.ended").await;
    assert_eq!((&ended["status"], &ended["wasAnswered"]), (&"busy".into(), &false.into()));
    other.expect_nothing(200).await;
    assert_eq!(server.account().await.credits, 1);
    server.ends_clean().await;
}
