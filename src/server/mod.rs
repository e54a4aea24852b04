//! The server: who owns what, and the order in which things start and stop.
//!
//! Start: lock → database → SIP → what a crash left → media → webhooks → calls → HTTP. Stop: no new
//! calls → calls end → accounts → webhooks → HTTP → SIP → media → database. Start at [`serve`].
#![allow(clippy::disallowed_methods, reason = "a driver: spawns the server's own tasks")]

mod admin;
pub mod certificate;
mod configured;
mod descriptors;
pub mod lock;
mod trust;

use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use futures_util::future::BoxFuture;
use kaphila_media::engine::Engine;
use kaphila_sip::message::Transport;
use kaphila_sip::net::Sip;
use kaphila_sip::net::resolve::Resolver;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::certificate::Certificates;
pub use self::configured::{amd_params, speech};
use self::configured::{app, engine_config, settings, sip_config, webhook_options};
use crate::call::{self, Calls, Services};
use crate::cli::{CliError, Common};
use crate::config::{Config, parse_duration};
use crate::control::{Control, Subjects};
use crate::http;
use crate::http::serve::{Limits, Listener};
use crate::prompts::LocalPrompts;
use crate::store::{Millis, Store, SyncMode};
use crate::telemetry;
use crate::trunk::health::Health;
use crate::trunk::qualify::Qualify;
use crate::trunk::registrations::Registrations;
use crate::trunk::target::Targets;
use crate::trunk::traffic::Traffic;
use crate::{tls, webhook};

/// How long the start waits for the trunks' names.
const FIRST_LOOK: Duration = Duration::from_millis(500);
/// How often the database is told that this process lives: what a crash may cut off a call.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How often old rows are pruned, a bounded share each time.
const PRUNE: Duration = Duration::from_secs(5);

/// How long others may hold up the end of the process.
struct Patience {
    /// Calls that were hung up, until the far end has said so too.
    calls: Duration,
    /// Receivers of webhooks; what is left is delivered after the next start.
    deliveries: Duration,
    /// Clients that read their answers.
    answers: Duration,
    /// Registrars; what they do not hear runs out by itself.
    registrars: Duration,
}

/// After a drain.
const ORDERLY: Patience = Patience {
    calls: Duration::from_secs(4),
    deliveries: Duration::from_secs(3),
    answers: Duration::from_secs(5),
    registrars: Duration::from_secs(2),
};

/// After a second SIGTERM: 5 s in all, half of them for the rest, the disk above all.
const AT_ONCE: Patience = Patience {
    calls: Duration::from_millis(1_500),
    deliveries: Duration::from_millis(500),
    answers: Duration::from_millis(500),
    registrars: Duration::from_millis(500),
};

/// `kaphila serve`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kaphila serve\n  kaphila serve --config /etc/kaphila/kaphila.toml --drain 30s"
)]
pub struct ServeArgs {
    /// How long SIGTERM waits for calls to end before it hangs them up.
    #[arg(long, default_value = "60s", value_parser = duration, value_name = "TIME")]
    drain: Duration,
    /// Do not change the database's tables; refuse to start where they are of an earlier version.
    #[arg(long)]
    no_migrate: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a time such as 60s".to_owned())
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// What kept it from starting.
pub async fn serve(common: &Common, args: ServeArgs) -> Result<(), CliError> {
    let (config, _) = common.load()?;
    telemetry::init(&config.log).map_err(failed)?;
    let signals = Signals::new().map_err(failed)?;
    for folder in [&config.paths.data, &config.paths.recordings] {
        crate::cli::make_folder(folder)?;
    }
    let _lock = lock::take(&config.paths.lock()).map_err(failed)?;
    let server = Server::start(common, &config, !args.no_migrate).await?;
    for (what, address) in &server.addresses {
        let _ = writeln!(std::io::stdout(), "kaphila: {what} on {address}");
    }
    let _ = writeln!(std::io::stdout(), "kaphila: ready");
    server.run(signals, args.drain).await;
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

/// The signals that end the server, taken before anything starts so that none is missed.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT. SIGHUP renews the certificates; trunks are re-read every second
    /// anyway.
    async fn stop(&mut self, certificates: &Certificates) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => certificates.renew(),
            }
        }
    }
}

struct Server {
    calls: Calls,
    sip: Sip,
    media: Arc<Engine>,
    store: Store,
    registrations: Arc<Registrations>,
    webhooks: Option<webhook::Deliverer>,
    certificates: Certificates,
    /// Ends listeners and periodic tasks.
    stop: CancellationToken,
    tasks: JoinSet<()>,
    addresses: Vec<(&'static str, SocketAddr)>,
}

impl Server {
    async fn start(common: &Common, config: &Config, migrate: bool) -> Result<Self, CliError> {
        let tls = certificate::open(config).map_err(failed)?.map(Arc::new);
        let sip_tls = tls::sip::open(&config.sip, Millis::wall_clock()).map_err(failed)?;
        let certificates = Certificates { https: tls.clone(), sip: sip_tls.own.clone() };
        let (_, store) = common.open_store_as(migrate).await?;
        // Addresses are taken before a crash is recovered from: a start that fails changes nothing.
        let listeners = bind(&config.http.listen)?;
        let admin_listeners = bind(&config.admin_listen)?;
        let https = listeners.len() + admin_listeners.len();
        let streams = config.sip.tcp.len() + config.sip.tls.len();
        let connections = descriptors::raise(config.media.max_calls, https + streams);
        let limits = Limits { connections, ..Limits::default() };
        let control = Control::bind(&config.paths.control()).map_err(failed)?;
        let (sip, incoming) =
            Sip::start(sip_config(config, sip_tls, connections)).map_err(failed)?;
        let sync = if config.database.sync_full { SyncMode::Full } else { SyncMode::Normal };
        store.open_journal(&config.paths.journal(), sync).await?;
        let now = Millis::wall_clock();
        let recovered = call::recover(&store, &sip, &config.paths.recordings, now).await?;
        if recovered != call::Recovered::default() {
            tracing::info!(?recovered, "ended what an earlier process left open");
        }
        let media = Arc::new(Engine::start(engine_config(config)).map_err(failed)?);
        let webhooks =
            webhook::Deliverer::start(store.clone(), webhook_options(config)).map_err(failed)?;
        let speech = speech(config, &config.paths.tts())?;
        let engines = speech.engines();
        let (health, traffic) = (Arc::new(Health::default()), Traffic::default());
        let targets = Arc::new(Targets::new(Resolver::new(&config.sip.dns_servers)));
        let services = Services {
            store: store.clone(),
            sip: sip.clone(),
            targets: targets.clone(),
            health: health.clone(),
            traffic: traffic.clone(),
            media: media.clone(),
            prompts: Arc::new(LocalPrompts::new(&config.paths.sounds, speech)),
        };
        let calls = Calls::new(services, settings(config));
        let stop = CancellationToken::new();
        let mut addresses: Vec<(&'static str, SocketAddr)> = Vec::new();
        let mut tasks = JoinSet::new();
        let app = app(config, &calls, &store, engines);
        let registrations = Arc::new(Registrations::new(sip.clone()));
        let admin = admin::Admin {
            calls: calls.clone(),
            registrations: registrations.clone(),
            health: health.clone(),
            traffic,
            sip: sip.clone(),
            media: media.clone(),
            store: store.clone(),
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        for (what, router, tls, listeners) in [
            (scheme, http::router(app), tls.clone(), listeners),
            ("admin", admin::router(admin), None, admin_listeners),
        ] {
            for listener in listeners {
                addresses.push((what, listener.address));
                let listener = listener.with_tls(tls.clone()).with_limits(limits);
                tasks.spawn(listener.serve(router.clone(), stop.clone()));
            }
        }
        addresses
            .extend(sip.bound().iter().map(|bound| (sip_over(bound.transport), bound.address)));
        let subjects = Subjects {
            calls: calls.clone(),
            health: health.clone(),
            registrations: registrations.clone(),
        };
        tasks.spawn(control.serve(subjects, stop.clone()));
        tasks.spawn(every(HEARTBEAT, stop.clone(), heartbeat(store.clone())));
        tasks.spawn(every(PRUNE, stop.clone(), prune(store.clone(), config.database.keep_calls)));
        let qualify = Qualify::new(sip.clone(), health);
        let mut trusted = trust::keep(
            store.clone(),
            sip.clone(),
            calls.clone(),
            targets,
            qualify,
            registrations.clone(),
        );
        // Who is ready takes its trunks' calls; names that take longer are found meanwhile.
        let _ = tokio::time::timeout(FIRST_LOOK, trusted()).await;
        tasks.spawn(every(trust::INTERVAL, stop.clone(), trusted));
        let receiving = calls.clone();
        tasks.spawn(async move { receiving.receive(incoming).await });
        let webhooks = Some(webhooks);
        Ok(Self {
            calls,
            sip,
            media,
            store,
            registrations,
            webhooks,
            certificates,
            stop,
            tasks,
            addresses,
        })
    }

    async fn run(mut self, mut signals: Signals, drain: Duration) {
        let certificates = self.certificates.clone();
        signals.stop(&certificates).await;
        tracing::info!(calls = self.calls.active_count(), ?drain, "draining");
        self.calls.drain();
        let at_once = tokio::select! {
            () = self.calls.idle() => false,
            () = tokio::time::sleep(drain) => false,
            () = signals.stop(&certificates) => true,
        };
        self.calls.hang_up_all();
        let has_ended = !at_once
            && tokio::select! {
                () = self.end(ORDERLY) => true,
                () = signals.stop(&certificates) => false,
            };
        if !has_ended {
            tracing::info!("told to stop at once");
            self.end(AT_ONCE).await;
        }
        self.sip.shutdown().await;
        let Self { calls, media, store, .. } = self;
        drop(calls);
        let closed = tokio::task::spawn_blocking(move || drop(media)).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the media threads did not end cleanly");
        }
        store.close().await;
        tracing::info!("stopped");
    }
}

impl Server {
    /// Waits for calls, webhooks and clients, each in its turn; what has ended already takes no
    /// time.
    async fn end(&mut self, patience: Patience) {
        if tokio::time::timeout(patience.calls, self.calls.finished()).await.is_err() {
            tracing::warn!(calls = self.calls.active_count(), "some far ends do not answer");
        }
        if let Some(webhooks) = self.webhooks.take() {
            webhooks.shutdown(patience.deliveries).await;
        }
        self.stop.cancel();
        let tasks = async { while self.tasks.join_next().await.is_some() {} };
        // Whoever is slower is cut off.
        let _ = tokio::time::timeout(patience.answers, tasks).await;
        self.registrations.end(patience.registrars).await;
    }
}

fn bind(addresses: &[SocketAddr]) -> Result<Vec<Listener>, CliError> {
    let mut bound = Vec::new();
    for &address in addresses {
        match Listener::bind(address) {
            Ok(listener) => bound.push(listener),
            // A host without IPv6 still serves on the IPv4 default.
            Err(error) if address.is_ipv6() && lacks_address(&error) => {
                tracing::warn!(%address, %error, "this address is left out");
            }
            Err(error) => {
                return Err(CliError::Failed(format!("cannot listen on {address}: {error}")));
            }
        }
    }
    Ok(bound)
}

fn lacks_address(error: &std::io::Error) -> bool {
    let lacking = [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL];
    rustix::io::Errno::from_io_error(error).is_some_and(|errno| lacking.contains(&errno))
}

/// Runs `work` at once and then every `period`, until `stop`.
async fn every<F, W>(period: Duration, stop: CancellationToken, mut work: W)
where
    W: FnMut() -> F,
    F: Future<Output = ()>,
{
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => work().await,
            () = stop.cancelled() => return,
        }
    }
}

fn heartbeat(store: Store) -> impl FnMut() -> BoxFuture<'static, ()> {
    let lost = Arc::new(AtomicBool::new(false));
    move || {
        let (store, lost) = (store.clone(), lost.clone());
        Box::pin(async move {
            let beat = store.heartbeat(Millis::wall_clock()).await;
            let was_lost = lost.swap(beat.is_err(), Ordering::Relaxed);
            match beat {
                Err(error) if !was_lost => tracing::error!(%error, "the database is away"),
                Ok(()) if was_lost => tracing::info!("the database is back"),
                _ => {}
            }
        })
    }
}

fn prune(store: Store, keep: Duration) -> impl FnMut() -> BoxFuture<'static, ()> {
    let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    move || {
        let store = store.clone();
        Box::pin(async move {
            if let Err(error) = store.prune(keep, Millis::wall_clock()).await {
                tracing::debug!(%error, "old rows could not be pruned; tried again");
            }
        })
    }
}

/// The OpenAPI document of the API.
#[must_use]
pub fn openapi() -> serde_json::Value {
    http::openapi::document()
}

fn sip_over(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "sip tcp",
        Transport::Tls => "sip tls",
        _ => "sip udp",
    }
}
