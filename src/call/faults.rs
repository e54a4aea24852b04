//! C11: a fault in one call ends that call and no other.
#![allow(clippy::disallowed_methods, reason = "a test of the driver: real sockets, real time")]

use std::net::UdpSocket;

use super::bench::Bench;
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_in_one_call_ends_that_call_and_no_other() {
    // A carrier that hears and says nothing.
    let carrier = UdpSocket::bind("127.0.0.1:0").unwrap();
    let uri = format!("sip:{}", carrier.local_addr().unwrap());
    let mut bench = Bench::new(&[("t", uri)], &["127.0.0.1:0"], 19_500).await;
    let (faulty, other) = (bench.place(), bench.place());
    let Bench { store, auth, calls, events, .. } = &mut bench;
    while calls.active_count() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let id = calls.active(auth)[0].call_id.clone();
    let _ = calls.command(auth, &id, Command::Fault).await;
    let answer = tokio::select! { it = faulty => it, it = other => it };
    let PlaceOutcome::Placed(placed) = answer.unwrap().unwrap().outcome else { panic!("failed") };
    assert_eq!((placed.call_id.as_str(), placed.status), (id.as_str(), Status::Failed));
    assert_eq!(placed.end.unwrap().reason, EndReason::InternalError);
    let ended = loop {
        let event = events.next().await.unwrap();
        if event.event == "call.ended" {
            break event;
        }
    };
    assert_eq!(&*ended.call_id, id.as_str());
    assert!(ended.payload.contains("internal_error"));
    assert_eq!(calls.active_count(), 1, "the other one rings on");
    let account = store.account(auth).await.unwrap().unwrap();
    assert_eq!((account.credits, account.holds), (2, 1), "its hold is released");
}
