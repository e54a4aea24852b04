//! A test telephone: it is called without a carrier, answers as told, sends digits, hangs up, and
//! reports what it heard.
//!
//! It knows callee's SIP and one scenario. Start at [`run`]; `call` is one call.
#![allow(clippy::disallowed_methods, reason = "a driver: answers calls against the clock")]

mod call;
pub mod line;
mod report;
mod scenario;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kaphila_media::dtmf::Listening;
use kaphila_media::engine::{Engine, EngineConfig};
use kaphila_media::play;
use kaphila_media::sdp::Codec;
use kaphila_sip::endpoint::{EndpointConfig, Network};
use kaphila_sip::message::Transport;
use kaphila_sip::net::{Incoming, Sip, SipConfig, Tls};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::cli::{CliError, Common};
use crate::config::parse_duration;
use crate::store::Millis;
use crate::tls;
use crate::tts::{self, Speech};
use report::Report;
pub use scenario::Scenario;

/// RTP ports of test calls, away from the server's.
const PORTS: std::ops::RangeInclusive<u16> = 30_000..=39_999;

/// How long the last calls may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// `kaphila phone`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kaphila phone\n  kaphila phone --scenario ivr:1234 --record heard.wav\n  kaphila phone --scenario voicemail --say \"Nobody is home. Leave a message.\""
)]
pub struct PhoneArgs {
    /// Where it is called, over UDP and TCP.
    #[arg(long, default_value = "127.0.0.1:5070", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where it is called over TLS too, with the certificate of `sip.tls_cert`.
    #[arg(long, value_name = "ADDRESS")]
    tls: Option<SocketAddr>,
    /// human, voicemail, busy, no-answer, or ivr:DIGITS (commas between groups, one group after
    /// each prompt).
    #[arg(long, default_value = "human", value_name = "SCENARIO")]
    scenario: Scenario,
    /// What it says when it has answered.
    #[arg(long, value_name = "TEXT", conflicts_with = "play")]
    say: Option<String>,
    /// What it plays when it has answered.
    #[arg(long, value_name = "FILE")]
    play: Option<PathBuf>,
    /// Take no telephone-events: its keys are tones, and so are those it hears.
    #[arg(long)]
    inband: bool,
    /// Record each call: the far end on the left, its own side on the right. The second call goes
    /// to FILE-2.wav, and so on.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Hang up this long after answering.
    #[arg(long, value_parser = time, value_name = "TIME")]
    hangup_after: Option<Duration>,
    /// Exit after this many calls.
    #[arg(long, value_name = "N")]
    calls: Option<u64>,
}

pub(crate) fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a time such as 10s".to_owned())
}

/// The telephone, ready to be called.
struct Phone {
    sip: Sip,
    engine: Engine,
    address: IpAddr,
    scenario: Scenario,
    greeting: Option<Arc<[i16]>>,
    dtmf: Listening,
    record: Option<PathBuf>,
    hangup_after: Option<Duration>,
}

/// Answers calls until it is stopped, or `--calls` have ended.
///
/// # Errors
/// An address in use, a file that cannot be read, no speech.
pub async fn run(common: &Common, args: PhoneArgs) -> Result<(), CliError> {
    let greeting = greeting(common, &args).await?;
    let mut sip_config = stack(args.listen, true);
    // A port that the system chooses is UDP's alone.
    sip_config.tcp.extend((args.listen.port() != 0).then_some(args.listen));
    if let Some(address) = args.tls {
        sip_config.tls.push(address);
        sip_config.with_tls = secure(common)?;
    }
    let (sip, mut incoming) = Sip::start(sip_config).map_err(failed)?;
    let engine = engine(args.listen.ip())?;
    let phone = Arc::new(Phone {
        sip,
        engine,
        address: args.listen.ip(),
        scenario: args.scenario,
        greeting,
        dtmf: if args.inband { Listening::Inband } else { Listening::default() },
        record: args.record,
        hangup_after: args.hangup_after,
    });
    let at = phone.sip.local_addrs().first().copied().unwrap_or(args.listen);
    if let Some(secure) = phone.sip.bound().iter().find(|it| it.transport == Transport::Tls) {
        let _ = writeln!(
            std::io::stdout(),
            "kaphila phone: over TLS at sip:{};transport=tls",
            secure.address
        );
    }
    let _ = writeln!(std::io::stdout(), "kaphila phone: ready at sip:{at}");
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut calls = JoinSet::new();
    let (mut taken, mut ended) = (0_u64, 0_u64);
    while args.calls.is_none_or(|limit| ended < limit) {
        tokio::select! {
            Some(call) = incoming.recv() => {
                taken += 1;
                let report = Report::new(common.json, taken);
                calls.spawn(take(phone.clone(), call, report, taken));
            }
            Some(_) = calls.join_next() => ended += 1,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            else => break,
        }
    }
    phone.sip.shutdown().await;
    // Calls that are cut off report it; nobody waits longer for them.
    let _ =
        tokio::time::timeout(GOODBYE, async { while calls.join_next().await.is_some() {} }).await;
    Ok(())
}

async fn take(phone: Arc<Phone>, incoming: Incoming, report: Report, number: u64) {
    let record = phone.record.as_deref().map(|path| numbered(path, number));
    call::take(&phone, incoming, &report, record).await;
}

/// `heard.wav`, `heard-2.wav`, …
fn numbered(path: &Path, number: u64) -> PathBuf {
    if number < 2 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{number}.wav"))
}

/// A SIP stack of a command: it takes calls from anywhere it listens, or none at all.
pub(crate) fn stack(listen: SocketAddr, accept_calls: bool) -> SipConfig {
    let everyone = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
        .map(|address| Network::new(address, 0));
    SipConfig {
        endpoint: EndpointConfig {
            seed: rand::random(),
            accept_calls,
            ..EndpointConfig::default()
        },
        udp: vec![listen],
        trusted: if accept_calls { everyone.into_iter().flatten().collect() } else { Vec::new() },
        ..SipConfig::default()
    }
}

/// TLS as the configuration has it.
pub(crate) fn secure(common: &Common) -> Result<Tls, CliError> {
    let (config, _) = common.load()?;
    Ok(tls::sip::open(&config.sip, Millis::wall_clock()).map_err(failed)?.with)
}

/// The media threads of a command.
pub(crate) fn engine(address: IpAddr) -> Result<Engine, CliError> {
    let config = EngineConfig { address, ports: PORTS, workers: 1, ..EngineConfig::default() };
    Engine::start(config).map_err(failed)
}

/// Every codec that is built, as a telephone prefers them.
pub(crate) fn codecs() -> Vec<Codec> {
    vec![Codec::Pcmu, Codec::Pcma]
}

async fn greeting(common: &Common, args: &PhoneArgs) -> Result<Option<Arc<[i16]>>, CliError> {
    if let Some(path) = &args.play {
        return play::load(path).map(Some).map_err(failed);
    }
    let Some(words) = args.say.as_deref().or_else(|| args.scenario.words()) else {
        return Ok(None);
    };
    spoken(common, words).await.map(Some)
}

/// `words` in the configured engine's default voice. Needs no server and no data folder.
async fn spoken(common: &Common, words: &str) -> Result<Arc<[i16]>, CliError> {
    let (config, _) = common.load()?;
    let folder = std::env::temp_dir().join(format!("kaphila-phone-{}", std::process::id()));
    let speech =
        Speech::open(&folder, config.tts.cache_bytes, tts::Online::default()).map_err(failed)?;
    let audio = match speech.speak(words, tts::DEFAULT_VOICE).await {
        Ok(spoken) => play::load(spoken.path()).map_err(failed),
        Err(error) => Err(failed(error)),
    };
    // Ours alone; a leftover would be a few kilobytes.
    let _ = std::fs::remove_dir_all(&folder);
    audio
}

pub(crate) fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}
