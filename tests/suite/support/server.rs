//! Calls with a real SIP driver, real media threads and a real SQLite database.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kaphila::call::{
    Calls, PlaceAnswer, PlaceOutcome, PlaceRefusal, PlaceRequest, Placed, PromptError, Prompts,
    RecordingChannels, Services, Settings,
};
use kaphila::number::Number;
use kaphila::store::{
    Authenticated, Committed, Key, Millis, NewKey, Store, SyncMode, TrunkSettings,
};
use kaphila::trunk::target::Targets;
use kaphila::trunk::traffic::Traffic;
use kaphila_media::engine::{Engine, EngineConfig};
use kaphila_sip::net::resolve::Resolver;
use kaphila_sip::net::{Sip, SipConfig};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use super::carrier::Carrier;
use super::document;

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// One server, with one key.
pub(crate) struct Server {
    pub(crate) calls: Calls,
    pub(crate) store: Store,
    pub(crate) sip: Sip,
    pub(crate) engine: Arc<Engine>,
    pub(crate) auth: Authenticated,
    pub(crate) folder: TempDir,
    /// The key itself, `ak_…`.
    pub(crate) key: String,
    key_id: String,
    events: Committed,
}

/// A tone of half a second, whatever is asked for.
struct Tone;

impl Prompts for Tone {
    fn sound<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<[i16]>, PromptError>> {
        let found = (name != "missing").then(tone).ok_or(PromptError::NotFound);
        async { found }.boxed()
    }

    fn speech<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Arc<[i16]>, PromptError>> {
        async { Ok(tone()) }.boxed()
    }
}

fn tone() -> Arc<[i16]> {
    let sample = |at: u32| (f64::from(at) * 440.0 * std::f64::consts::TAU / 8_000.0).sin();
    (0..4_000).map(|at| (sample(at) * 8_000.0) as i16).collect()
}

impl Server {
    /// A server whose key has these carriers as trunks, in this order, and `credits`.
    pub(crate) async fn start(carriers: &[&Carrier], credits: i64) -> Self {
        Self::with(carriers, credits, |_| {}).await
    }

    pub(crate) async fn with(
        carriers: &[&Carrier],
        credits: i64,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let addresses: Vec<_> = carriers.iter().map(|carrier| carrier.address()).collect();
        Self::at(&addresses, credits, change).await
    }

    /// The same by the carriers' addresses.
    pub(crate) async fn at(
        carriers: &[SocketAddr],
        credits: i64,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/kaphila.db", folder.path().display());
        let store = Store::open(&url, SyncMode::Normal).await.unwrap();
        let now = Millis::wall_clock();
        let mut trunks = Vec::new();
        for (at, carrier) in carriers.iter().enumerate() {
            let name = format!("trunk-{at}");
            let uri = format!("sip:{carrier}");
            store.put_trunk(TrunkSettings::new(&name, uri), now).await.unwrap();
            trunks.push(name);
        }
        let key = NewKey { name: "test".to_owned(), credits, rate_limit: 100, trunks };
        let secrets = store.create_key(key, now).await.unwrap();
        let auth = store.authenticate(&secrets.key, now).await.unwrap().unwrap();
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let sip = SipConfig { udp: vec![(loopback, 0).into()], ..SipConfig::default() };
        let (sip, _incoming) = Sip::start(sip).unwrap();
        let media = EngineConfig {
            workers: 1,
            address: loopback,
            ports: free_ports(),
            ..EngineConfig::default()
        };
        let engine = Arc::new(Engine::start(media).unwrap());
        let mut settings = Settings { recordings: folder.path().to_owned(), ..Settings::default() };
        change(&mut settings);
        let services = Services {
            health: Arc::default(),
            traffic: Traffic::default(),
            targets: Arc::new(Targets::new(Resolver::new(&[]))),
            store: store.clone(),
            sip: sip.clone(),
            media: Arc::clone(&engine),
            prompts: Arc::new(Tone),
        };
        let events = store.take_committed().unwrap();
        let calls = Calls::new(services, settings);
        let (key, key_id) = (secrets.key, secrets.key_id);
        Self { calls, store, sip, engine, auth, folder, key, key_id, events }
    }

    /// What a client asks for that asks for nothing special.
    pub(crate) fn request(&self) -> PlaceRequest {
        PlaceRequest {
            number: Number::parse("14155550100").unwrap(),
            webhook_url: Some("http://127.0.0.1:1/hook".to_owned()),
            caller_id: Some(Number::parse("19172452367").unwrap()),
            amd: None,
            voice_name: "en-US-Neural2-A".to_owned(),
            ring_timeout: Duration::from_secs(30),
            record: Some(false),
            recording_channels: RecordingChannels::Mono,
            record_early_media: false,
            metadata: None,
            idempotency: None,
        }
    }

    /// Places a call in the background.
    pub(crate) fn place(
        &self,
        request: PlaceRequest,
    ) -> tokio::task::JoinHandle<Result<PlaceAnswer, PlaceRefusal>> {
        let (calls, auth) = (self.calls.clone(), self.auth.clone());
        tokio::spawn(async move { calls.place(&auth, request).await })
    }

    /// The next event, which must have this name.
    #[track_caller]
    pub(crate) fn event<'a>(&'a mut self, name: &'a str) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let event = timeout(PATIENCE, self.events.next()).await;
            let event = event.unwrap_or_else(|_| panic!("no {name} came ({caller})")).unwrap();
            document::check_event(&event.payload);
            let body: Value = serde_json::from_str(&event.payload).unwrap();
            assert_eq!(body["event"], name, "{caller}\n{body:#}");
            body
        }
    }

    /// The key's account as it is now.
    pub(crate) async fn account(&self) -> Key {
        self.store.account(&self.auth).await.unwrap().unwrap()
    }

    /// Nothing is left over: no call, no task, no port, no leg; and the ledger is the balance.
    pub(crate) async fn ends_clean(self) {
        timeout(PATIENCE, self.calls.idle()).await.expect("a call is still live");
        assert_eq!(self.calls.active_count(), 0);
        timeout(Duration::from_secs(40), self.calls.finished()).await.expect("a call's task lives");
        let ports = async {
            while self.engine.stats().ports_in_use > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, ports).await.expect("a port is still in use");
        let (_, stats) = self.sip.counters().await.unwrap();
        assert_eq!(stats.open_legs, 0);
        let account = self.account().await;
        assert_eq!(account.holds, 0);
        let sums = self.store.ledger_sums(&self.key_id).await.unwrap();
        assert_eq!(sums, (account.credits, account.holds));
        self.sip.shutdown().await;
    }
}

/// What a placed call's answer says.
#[track_caller]
pub(crate) fn placed(answer: PlaceAnswer) -> Placed {
    match answer.outcome {
        PlaceOutcome::Placed(placed) => placed,
        PlaceOutcome::Failed { .. } => panic!("{:?}", answer.outcome),
    }
}

/// Ports that other servers of this test program do not use.
fn free_ports() -> std::ops::RangeInclusive<u16> {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 21_000 + (std::process::id() % 40) as u16 * 500;
    let first = first + NEXT.fetch_add(1, Ordering::Relaxed) * 20;
    first..=first + 19
}
