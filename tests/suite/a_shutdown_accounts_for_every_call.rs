//! SIGTERM in small: nothing new, and at its end what is left is hung up and accounted for.

use kaphila::call::PlaceRefusal;

use crate::support::carrier::Carrier;
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drain_then_hang_up() {
    let mut ringing = Carrier::on("127.0.0.1").await;
    let mut talking = Carrier::on("127.0.0.2").await;
    let mut server = Server::start(&[&ringing, &talking], 5).await;
    let first = server.place(server.request());
    let early = ringing.expect("INVITE").await;
    ringing.answer(&early, "180 Ringing", "", "").await;
    first.await.unwrap().unwrap();
    let second = server.place(server.request());
    let invite = talking.expect("INVITE").await;
    talking.accept(&invite).await;
    talking.expect("ACK").await;
    second.await.unwrap().unwrap();
    for name in ["call.initiated", "call.initiated", "call.answered"] {
        server.event(name).await;
    }

    server.calls.drain();
    let refused = server.calls.place(&server.auth, server.request()).await.unwrap_err();
    assert_eq!(refused, PlaceRefusal::Draining);
    assert_eq!(server.calls.active_count(), 2, "what is there goes on");

    server.calls.hang_up_all();
    let cancel = ringing.expect("CANCEL").await;
    ringing.answer(&cancel, "200 OK", "", "").await;
    ringing.answer(&early, "487 Request Terminated", "", "").await;
    ringing.expect("ACK").await;
    let bye = talking.expect("BYE").await;
    assert!(bye.header("Reason").contains("cause=41"));
    talking.answer(&bye, "200 OK", "", "").await;
    let mut ends = Vec::new();
    for _ in 0..2 {
        let ended = server.event("call.ended").await;
        assert_eq!(ended["endReason"], "server_shutdown");
        ends.push(ended["status"].as_str().unwrap().to_owned());
    }
    ends.sort();
    assert_eq!(ends, ["completed", "failed"]);
    assert_eq!(server.account().await.credits, 4);
    server.ends_clean().await;
}
