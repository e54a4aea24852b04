//! C11: a fault in one call ends that call and no other.
#![allow(clippy::disallowed_methods, reason = "a test of the driver: real sockets, real time")]

use std::net::UdpSocket;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kaphila_media::engine::EngineConfig;
use kaphila_sip::net::SipConfig;

use super::*;
use crate::number::Number;
use crate::store::{Millis, NewKey, SyncMode, TrunkSettings};

struct NoPrompts;

impl Prompts for NoPrompts {
    fn sound<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Arc<[i16]>, PromptError>> {
        async { Err(PromptError::NotFound) }.boxed()
    }

    fn speech<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Arc<[i16]>, PromptError>> {
        async { Err(PromptError::NotFound) }.boxed()
    }
}

fn request() -> PlaceRequest {
    PlaceRequest {
        number: Number::parse("14155550100").unwrap(),
        webhook_url: Some("http://127.0.0.1:1/hook".to_owned()),
        caller_id: None,
        amd: None,
        voice_name: String::new(),
        ring_timeout: Duration::from_secs(30),
        record: None,
        recording_channels: RecordingChannels::Mono,
        record_early_media: false,
        metadata: None,
        idempotency: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_in_one_call_ends_that_call_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/kaphila.db", folder.path().display());
    let store = Store::open(&url, SyncMode::Normal).await.unwrap();
    let now = Millis::wall_clock();
    // A carrier that hears and says nothing.
    let carrier = UdpSocket::bind("127.0.0.1:0").unwrap();
    let uri = format!("sip:{}", carrier.local_addr().unwrap());
    store.put_trunk(TrunkSettings::new("t", uri), now).await.unwrap();
    let trunks = vec!["t".to_owned()];
    let key = NewKey { name: "test".to_owned(), credits: 2, rate_limit: 100, trunks };
    let secrets = store.create_key(key, now).await.unwrap();
    let auth = store.authenticate(&secrets.key, now).await.unwrap().unwrap();
    let udp = vec!["127.0.0.1:0".parse().unwrap()];
    let (sip, _incoming) = Sip::start(SipConfig { udp, ..SipConfig::default() }).unwrap();
    let media = EngineConfig {
        workers: 1,
        address: IpAddr::from([127, 0, 0, 1]),
        ports: 19_500..=19_519,
        ..EngineConfig::default()
    };
    let media = Arc::new(Engine::start(media).unwrap());
    let mut events = store.take_committed().unwrap();
    let services = Services { store: store.clone(), sip, media, prompts: Arc::new(NoPrompts) };
    let calls = Calls::new(services, Settings::default());
    let place = || {
        let (calls, auth) = (calls.clone(), auth.clone());
        tokio::spawn(async move { calls.place(&auth, request()).await })
    };
    let (faulty, other) = (place(), place());
    while calls.active_count() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let id = calls.active(&auth)[0].call_id.clone();
    let _ = calls.command(&auth, &id, Command::Fault).await;
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
    let account = store.account(&auth).await.unwrap().unwrap();
    assert_eq!((account.credits, account.holds), (2, 1), "its hold is released");
}
