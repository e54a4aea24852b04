//! `kaphila dial`: one call without the REST API, to try a trunk.
//!
//! It knows caller's SIP for one leg. Start at [`run`].
#![allow(clippy::disallowed_methods, reason = "a driver: places a call against the clock")]

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use kaphila_media::dtmf::{Digits, Listening};
use kaphila_media::play;
use kaphila_media::session::{Command, MediaEvent, Quality};
use kaphila_sip::auth::Credentials;
use kaphila_sip::invite::{Failure, Identity, InviteSpec, LadderRow, LegEvent, LegId};
use kaphila_sip::message::{NameAddr, Transport, Uri};
use kaphila_sip::net::Sip;
use kaphila_sip::net::resolve::{Resolver, Way};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::{CliError, Common, read_password};
use crate::number::Number;
use crate::phone::line::Line;
use crate::phone::{codecs, engine, failed, secure, stack, time};
use crate::trunk::target::{self, TargetError};

/// How long an answered call lasts that has nothing to play and no digits to send.
const TALK: Duration = Duration::from_secs(5);

/// How long a silent far end is waited for; a provisional ends it.
const NO_ANSWER: Duration = Duration::from_secs(8);

/// How long the last messages and the recording may take after the hang-up.
const GOODBYE: Duration = Duration::from_secs(2);

/// `kaphila dial`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kaphila dial sip:100@127.0.0.1:5070\n  kaphila dial sip:0014155550100@198.51.100.7 --play hello.wav --record heard.wav --digits 1234#\n  kaphila dial sip:100@sip.carrier.example --username 4711 --password-file 4711.secret"
)]
pub struct DialArgs {
    /// Whom to call: `sip:user@host[:port]` over UDP, with `;transport=tcp` or `;transport=tls` over
    /// those, or `sips:user@host`.
    uri: String,
    /// Play this when it is answered; hang up after it.
    #[arg(long, value_name = "FILE")]
    play: Option<PathBuf>,
    /// Record the call: the far end on the left, our side on the right.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Send these digits after that.
    #[arg(long, value_name = "DIGITS", value_parser = digits)]
    digits: Option<Digits>,
    /// The number to show.
    #[arg(long, value_name = "NUMBER")]
    caller_id: Option<String>,
    /// Who we are to the carrier, should it ask.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    username: Option<String>,
    /// The file that holds the password.
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
    /// Give up after this long.
    #[arg(long, default_value = "30s", value_parser = time, value_name = "TIME")]
    ring_timeout: Duration,
}

fn digits(text: &str) -> Result<Digits, String> {
    Digits::try_from(text).map_err(|_| "digits are 0-9, *, # and A-D".to_owned())
}

/// Places the call and prints its ladder.
///
/// # Errors
/// It could not be placed, or was not answered.
pub async fn run(common: &Common, args: DialArgs) -> Result<(), CliError> {
    let Found { uri, remote, transport, local } = find(common, &args.uri).await?;
    let audio = args.play.as_deref().map(play::load).transpose().map_err(failed)?;
    let caller = args.caller_id.as_deref().map(Number::parse).transpose();
    let caller = caller.map_err(|error| CliError::Usage(format!("--caller-id {error}")))?;
    let password = args.password_file.as_deref().map(read_password).transpose()?;
    let credentials = args.username.clone().zip(password).map(|(username, password)| {
        let destinations = vec![remote.ip().into()];
        Arc::new(Credentials { username, password, realm: None, destinations })
    });
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut config = stack(SocketAddr::new(local, 0), false);
    if transport == Transport::Tls {
        config.with_tls = secure(common)?;
    }
    let (sip, _incoming) = Sip::start(config).map_err(failed)?;
    let engine = engine(local)?;
    let (mut line, media) =
        Line::open(&engine, local, remote.ip(), codecs(), Listening::default()).map_err(failed)?;
    let account = args.username.as_deref();
    let account = account.map(|name| name.split_once('@').map_or(name, |(user, _)| user));
    let user = caller.as_ref().map(|number| number.as_str()).or(account).unwrap_or("kaphila");
    let own = kaphila_sip::message::Host::parse(&host_text(local)).map_err(failed)?;
    let host = if account.is_some() { uri.host.clone() } else { own };
    let spec = InviteSpec {
        identity: Identity::generate(&mut rand::rng()),
        request_uri: uri.clone(),
        from: NameAddr::new(Uri::sip(Some(user), host, None)),
        remote,
        transport,
        tls_name: target::tls_name(&uri, transport),
        large_over_tcp: uri.transport().is_none(),
        to: NameAddr::new(uri),
        headers: Vec::new(),
        body: Some(line.offer()),
        no_answer_timeout: NO_ANSWER,
        peers: vec![remote.ip().into()],
        credentials,
    };
    let (sender, events) = mpsc::channel(256);
    let started = Instant::now();
    let leg = sip.invite(spec, sender).await.map_err(failed)?;
    let dial =
        Dial { sip: &sip, leg, line, events, media, json: common.json, started, answered: None };
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let outcome = dial.run(&args, audio, stop).await;
    sip.shutdown().await;
    outcome
}

/// How the far end is reached.
struct Found {
    uri: Uri,
    remote: SocketAddr,
    transport: Transport,
    /// Our address on the way to it.
    local: IpAddr,
}

async fn find(common: &Common, text: &str) -> Result<Found, CliError> {
    let usage = |error: &TargetError| CliError::Usage(format!("{text}: {error}"));
    let uri = target::dialled(text).map_err(|error| usage(&error))?;
    // It works without a configuration too.
    let servers = common.load().map(|(config, _)| config.sip.dns_servers).unwrap_or_default();
    let resolver = Resolver::new(&servers);
    let found = target::look_up(&resolver, Instant::now(), &uri).await;
    let found = found.map_err(|error| usage(&error))?;
    let Some(Way { remote, transport }) = found.route.first() else {
        return Err(CliError::Usage(format!("{text}: no address")));
    };
    let any = if remote.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    };
    let local = target::local_towards(remote).unwrap_or(any);
    Ok(Found { uri, remote, transport, local })
}

fn host_text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

struct Dial<'a> {
    sip: &'a Sip,
    leg: LegId,
    line: Line,
    events: mpsc::Receiver<LegEvent>,
    media: mpsc::Receiver<MediaEvent>,
    json: bool,
    started: Instant,
    answered: Option<Instant>,
}

impl Dial<'_> {
    async fn run(
        mut self,
        args: &DialArgs,
        audio: Option<Arc<[i16]>>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), CliError> {
        tokio::pin!(stop);
        let ringing = tokio::time::sleep(args.ring_timeout);
        tokio::pin!(ringing);
        let refused = loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(LegEvent::Answered { body, .. }) => {
                        self.answered = Some(Instant::now());
                        self.connect(body.as_ref());
                        break None;
                    }
                    Some(LegEvent::Refused { status, reason, .. }) => {
                        break Some(format!("{status} {reason}"));
                    }
                    Some(LegEvent::NoAnswer(Failure::Timeout)) => break Some("no answer".to_owned()),
                    Some(LegEvent::NoAnswer(Failure::Transport(why))) => break Some(why),
                    None | Some(LegEvent::Closed) => break Some("the call is gone".to_owned()),
                    Some(other) => self.handle(other).await,
                },
                () = &mut ringing => break Some("not answered in time".to_owned()),
                () = &mut stop => break Some("interrupted".to_owned()),
            }
        };
        if refused.is_none() {
            self.talk(args, audio, &mut stop).await;
        }
        let _ = self.sip.hang_up(self.leg, None).await;
        self.line.command(Command::Close);
        let quality = self.goodbye().await;
        self.report(refused, quality)
    }

    /// An answer that cannot be used leaves the call without sound; the ladder goes on.
    fn connect(&mut self, body: Option<&kaphila_sip::invite::Body>) {
        let agreed = match body {
            Some(body) => self.line.take_answer(body).map_err(|error| error.to_string()),
            None => Err("the answer has no SDP".to_owned()),
        };
        match agreed {
            Ok(()) => self.line.answered(),
            Err(error) => eprintln!("kaphila: no media: {error}"),
        }
    }

    /// Plays, sends digits, and returns when it is time to hang up or the far end has.
    async fn talk(
        &mut self,
        args: &DialArgs,
        audio: Option<Arc<[i16]>>,
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) {
        if let Some(path) = &args.record {
            self.line.record(path.clone());
        }
        let mut digits = args.digits.clone();
        let limit =
            if audio.is_none() && digits.is_none() { TALK } else { Duration::from_secs(86_400) };
        match audio {
            Some(audio) => drop(self.line.play(audio)),
            None => {
                if let Some(digits) = digits.take() {
                    self.line.send_digits(digits);
                }
            }
        }
        let done = tokio::time::sleep(limit);
        tokio::pin!(done);
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    None | Some(LegEvent::Closed | LegEvent::Ended(_)) => return,
                    Some(other) => self.handle(other).await,
                },
                event = self.media.recv() => match event {
                    Some(MediaEvent::PlaybackFinished { .. }) => match digits.take() {
                        Some(digits) => self.line.send_digits(digits),
                        None => return,
                    },
                    Some(MediaEvent::DigitsSent { completed, .. }) => {
                        if !completed {
                            eprintln!("kaphila: not all digits were sent");
                        }
                        return;
                    }
                    Some(MediaEvent::Digit { digit, .. }) => self.say(&format!("heard digit {digit}")),
                    Some(_) => {}
                    None => return,
                },
                () = &mut done => return,
                () = &mut *stop => return,
            }
        }
    }

    async fn handle(&mut self, event: LegEvent) {
        match event {
            LegEvent::Ladder(row) => self.ladder(&row),
            LegEvent::Provisional { body: Some(body), .. } => {
                // Early media is listened to; a body that is no answer changes nothing.
                let _ = self.line.take_answer(&body);
            }
            LegEvent::Offer { offer, .. } => {
                self.line.answer_offer(self.sip, self.leg, offer.as_ref()).await;
            }
            _ => {}
        }
    }

    /// The rest of the ladder, and how the call sounded.
    async fn goodbye(&mut self) -> Option<Quality> {
        let mut quality = None;
        let (mut sip_open, mut media_open) = (true, true);
        let deadline = tokio::time::sleep(GOODBYE);
        tokio::pin!(deadline);
        while sip_open || media_open {
            tokio::select! {
                event = self.events.recv(), if sip_open => match event {
                    None | Some(LegEvent::Closed) => sip_open = false,
                    Some(LegEvent::Ladder(row)) => self.ladder(&row),
                    Some(_) => {}
                },
                event = self.media.recv(), if media_open => match event {
                    None => media_open = false,
                    Some(MediaEvent::Closed(it)) => quality = Some(it),
                    Some(_) => {}
                },
                () = &mut deadline => break,
            }
        }
        quality
    }

    fn ladder(&self, row: &LadderRow) {
        let arrow = if row.outgoing { "──►" } else { "◄──" };
        let again = if row.retransmission { " (again)" } else { "" };
        let at = row.at.saturating_duration_since(self.started).as_secs_f64();
        self.line(at, &format!("{arrow} {} [{}]{again}", row.summary, row.cseq));
    }

    fn say(&self, text: &str) {
        self.line(self.started.elapsed().as_secs_f64(), text);
    }

    /// With `--json` the one value on standard output is the result; the ladder goes beside it.
    fn line(&self, at: f64, text: &str) {
        if self.json {
            eprintln!("{at:>9.3}  {text}");
        } else {
            let _ = writeln!(std::io::stdout(), "{at:>9.3}  {text}");
        }
    }

    fn report(&self, refused: Option<String>, quality: Option<Quality>) -> Result<(), CliError> {
        let seconds = self.answered.map(|at| at.elapsed().as_secs_f64());
        if self.json {
            let result = json!({
                "answered": self.answered.is_some(),
                "seconds": seconds,
                "error": refused,
                "sent": quality.as_ref().map(|it| it.sent),
                "received": quality.as_ref().map(|it| it.received),
            });
            let _ = writeln!(std::io::stdout(), "{result}");
        } else if let Some(quality) = quality.filter(|_| refused.is_none()) {
            let _ = writeln!(
                std::io::stdout(),
                "answered; {} packets sent, {} received",
                quality.sent,
                quality.received
            );
        }
        match refused {
            None => Ok(()),
            Some(_) if self.json => Err(CliError::Silent),
            Some(why) => Err(CliError::Failed(format!("not answered: {why}"))),
        }
    }
}
