//! Calls over real sockets and a real database, for tests of the driver.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kaphila_media::engine::EngineConfig;
use kaphila_sip::net::SipConfig;
use kaphila_sip::net::resolve::Resolver;

use super::*;
use crate::number::Number;
use crate::store::{Committed, Millis, NewKey, SyncMode, TrunkSettings};
use crate::trunk::traffic::Traffic;

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

/// What a test works with.
pub(super) struct Bench {
    _folder: tempfile::TempDir,
    /// The database's URL.
    pub(super) url: String,
    pub(super) store: Store,
    /// A key with two credits, over all trunks.
    pub(super) auth: Authenticated,
    pub(super) calls: Calls,
    pub(super) events: Committed,
}

impl Bench {
    /// `trunks` are names and URIs; RTP has twenty ports from `ports` on.
    pub(super) async fn new(trunks: &[(&str, String)], udp: &[&str], ports: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/kaphila.db", folder.path().display());
        let store = Store::open(&url, SyncMode::Normal).await.unwrap();
        let now = Millis::wall_clock();
        for (name, uri) in trunks {
            store.put_trunk(TrunkSettings::new(*name, uri), now).await.unwrap();
        }
        let trunks = trunks.iter().map(|(name, _)| (*name).to_owned()).collect();
        let key = NewKey { name: "test".to_owned(), credits: 2, rate_limit: 100, trunks };
        let secrets = store.create_key(key, now).await.unwrap();
        let auth = store.authenticate(&secrets.key, now).await.unwrap().unwrap();
        let udp = udp.iter().map(|address| address.parse().unwrap()).collect();
        let (sip, _incoming) = Sip::start(SipConfig { udp, ..SipConfig::default() }).unwrap();
        let media = EngineConfig {
            workers: 1,
            address: IpAddr::from([127, 0, 0, 1]),
            ports: ports..=ports + 19,
            ..EngineConfig::default()
        };
        let media = Arc::new(Engine::start(media).unwrap());
        let events = store.take_committed().unwrap();
        let targets = Arc::new(Targets::new(Resolver::new(&[])));
        let prompts = Arc::new(NoPrompts);
        let services = Services {
            store: store.clone(),
            sip,
            targets,
            health: Arc::default(),
            traffic: Traffic::default(),
            media,
            prompts,
        };
        let calls = Calls::new(services, Settings::default());
        Self { _folder: folder, url, store, auth, calls, events }
    }

    /// Places a call.
    pub(super) fn place(&self) -> tokio::task::JoinHandle<Result<PlaceAnswer, PlaceRefusal>> {
        let (calls, auth) = (self.calls.clone(), self.auth.clone());
        #[allow(clippy::disallowed_methods, reason = "a test of the driver")]
        tokio::spawn(async move { calls.place(&auth, request()).await })
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
