//! After `kill -9`: rows closed, holds released, CANCEL and BYE sent, `call.ended` queued (C2).

use std::time::Duration;

use kaphila::call::{Status, recover};
use kaphila::store::{Millis, Store, SyncMode};
use kaphila_sip::net::{Sip, SipConfig};

use crate::support::carrier::Carrier;
use crate::support::server::{Server, placed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_leg_is_cancelled_and_an_answered_one_hung_up() {
    // The process that dies is a runtime of its own: its tasks end between two of their steps.
    let process = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut ringing = Carrier::on("127.0.0.1").await;
    let mut talking = Carrier::on("127.0.0.2").await;
    let uris = [ringing.address(), talking.address()];
    let start = async move { Server::at(&uris, 5, |_| {}).await };
    let mut server = process.spawn(start).await.unwrap();
    let place = |server: &Server| {
        let _inside = process.enter();
        server.place(server.request())
    };
    let first = place(&server);
    let early = ringing.expect("INVITE").await;
    ringing.answer(&early, "180 Ringing", "", "").await;
    let first = placed(first.await.unwrap().unwrap()).call_id;
    let second = place(&server);
    let confirmed = talking.expect("INVITE").await;
    talking.accept(&confirmed).await;
    talking.expect("ACK").await;
    let second = placed(second.await.unwrap().unwrap()).call_id;
    server.event("call.initiated").await;
    server.event("call.initiated").await;
    server.event("call.answered").await;
    process.shutdown_background();

    let url = format!("sqlite://{}/kaphila.db", server.folder.path().display());
    let store = Store::open(&url, SyncMode::Normal).await.unwrap();
    let loopback = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let (sip, _incoming) =
        Sip::start(SipConfig { udp: vec![loopback], ..SipConfig::default() }).unwrap();
    let mut committed = store.take_committed().unwrap();
    let now = Millis::wall_clock();
    let recovered = recover(&store, &sip, server.folder.path(), now).await.unwrap();
    assert_eq!((recovered.calls, recovered.legs), (2, 2));

    let cancel = ringing.expect("CANCEL").await;
    assert_eq!(cancel.header("Call-ID"), early.header("Call-ID"));
    assert_eq!(cancel.uri(), early.uri());
    assert_eq!(cancel.header("From"), early.header("From"));
    let branch =
        |via: &str| via.split("branch=").nth(1).unwrap().split(';').next().map(String::from);
    assert_eq!(branch(cancel.header("Via")), branch(early.header("Via")), "RFC 3261 §9.1");
    let bye = talking.expect("BYE").await;
    assert_eq!(bye.header("Call-ID"), confirmed.header("Call-ID"));
    assert!(bye.header("To").contains("tag=far"));
    let cseq = |value: &str| value.split(' ').next().unwrap().parse::<u32>().unwrap();
    assert!(cseq(bye.header("CSeq")) > cseq(confirmed.header("CSeq")));
    talking.answer(&bye, "200 OK", "", "").await;

    let mut ended = Vec::new();
    for _ in 0..2 {
        let event = tokio::time::timeout(Duration::from_secs(5), committed.next()).await;
        let event = event.unwrap().unwrap();
        let body: serde_json::Value = serde_json::from_str(&event.payload).unwrap();
        assert_eq!(
            (&body["event"], &body["endReason"]),
            (&"call.ended".into(), &"server_shutdown".into())
        );
        assert_eq!(body["sequenceNumber"], event.sequence);
        ended.push((event.call_id.to_string(), event.sequence, body["status"].clone()));
    }
    ended.sort_by_key(|(_, sequence, _)| *sequence);
    assert_eq!(ended, [(first, 2, "failed".into()), (second.clone(), 3, "completed".into())]);
    let account = store.account(&server.auth).await.unwrap().unwrap();
    assert_eq!((account.credits, account.holds), (4, 0));
    let row = store.call(&server.auth, &second).await.unwrap().unwrap();
    assert_eq!((row.status, row.ended_by.as_deref()), (Status::Completed, Some("system")));
    // Nothing is left for a second start.
    let again = recover(&store, &sip, server.folder.path(), now).await.unwrap();
    assert_eq!((again.calls, again.legs), (0, 0));
    sip.shutdown().await;
}
