//! The engine: the threads that carry the media of many calls, and the door to them.
//!
//! It knows workers, ports, slots and who is at home where. It refuses to know what a session does
//! with its packets ([`crate::session`]), and nothing here is on the way of a packet: sockets are
//! made and commands sent from the control side, under ordinary locks that no worker ever takes.
//! Start at [`Engine::start`], [`Engine::open`] and [`MediaCall`]; the loop is in [`crate::worker`].
#![allow(clippy::disallowed_methods, reason = "a driver: it stamps ports and calls")]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use crate::net::{self, Socket, SocketOptions};
use crate::port::{NoPort, Ports};
use crate::record::Channels;
use crate::session::{Command, Listening, MediaEvent, Session, SessionConfig};
use crate::spool::{LocalDisk, Note, Spool, SpoolError};
use crate::worker::events::Events;
use crate::worker::{Call, CallState, Link, Message, Worker};

mod janitor;
mod stats;

pub(crate) use janitor::Place;
pub use stats::{EngineStats, Lateness};

use janitor::Janitor;

/// Events of one call that wait for its task in the channel; more wait in the worker
/// ([`crate::worker::events`]).
const EVENTS: usize = 64;

/// Pairs that are tried for one call when another process sits on ports of the range.
const BIND_TRIES: usize = 16;

/// How the engine runs.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Worker threads; 0 is one a core.
    pub workers: usize,
    /// Where sockets are bound unless a call says otherwise.
    pub address: IpAddr,
    /// The ports for RTP and RTCP; a call takes an even one and the odd one above.
    pub ports: RangeInclusive<u16>,
    /// How long a pair is not used after a call.
    pub port_rest: Duration,
    /// Calls that share a port. Only 1 is built.
    pub calls_per_port: usize,
    /// DSCP of what is sent, 0–63.
    pub dscp: u8,
    /// SO_RCVBUF of each socket in bytes.
    pub receive_buffer: usize,
}

impl Default for EngineConfig {
    /// The defaults of `media` in the configuration.
    fn default() -> Self {
        Self {
            workers: 0,
            address: IpAddr::from([0, 0, 0, 0]),
            ports: 10000..=20000,
            port_rest: Duration::from_secs(3),
            calls_per_port: 1,
            dscp: 46,
            receive_buffer: 64 * 1024,
        }
    }
}

/// The engine cannot run as it is told to.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Density mode.
    #[error("media.calls_per_port = {0} is not built yet: only 1 is")]
    CallsPerPort(usize),
    /// No pair of ports.
    #[error("media.ports {}-{} hold no pair of an even and an odd port", .0.start(), .0.end())]
    NoPorts(RangeInclusive<u16>),
    /// DSCP out of range.
    #[error("media.dscp {0} is not within 0-63")]
    Dscp(u8),
    /// The system refused a thread or a descriptor.
    #[error("media threads cannot be started: {0}")]
    System(#[from] io::Error),
}

/// One call's place in the engine.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// The address to bind, instead of the engine's.
    pub address: Option<IpAddr>,
    /// Without a packet for this long after the answer: [`MediaEvent::RtpTimeout`]. `None`: never.
    pub rtp_timeout: Option<Duration>,
    /// The first stream from any address is taken, within 5 s of an SDP (`--learn-rtp`).
    pub learn_source: bool,
    /// How keys are listened for.
    pub dtmf: Listening,
}

impl Default for OpenOptions {
    /// The engine's address, 60 s of watchdog, no learning.
    fn default() -> Self {
        Self {
            address: None,
            rtp_timeout: Some(Duration::from_secs(60)),
            learn_source: false,
            dtmf: Listening::default(),
        }
    }
}

/// No media for this call.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Every port is in use or at rest.
    #[error(transparent)]
    NoPort(#[from] NoPort),
    /// The process has no descriptor left.
    #[error("no file descriptor is left for RTP: {0}")]
    NoDescriptor(io::Error),
    /// The address cannot be bound.
    #[error("{address}: no RTP socket: {error}")]
    Bind {
        /// What was tried last.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The worker has not taken what was sent to it before.
    #[error("a media worker is overloaded: {0} messages wait for it")]
    Busy(usize),
    /// The engine has been shut down.
    #[error("the media engine has been shut down")]
    Stopped,
}

/// A command that did not reach its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The call's media has ended.
    #[error("the call's media has ended")]
    Gone,
    /// The worker has not taken what was sent to it before.
    #[error("a media worker is overloaded")]
    Busy,
}

/// A recording that was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The spool takes no recording.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The call took no command.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// The threads. Dropping it ends every call and waits for the threads and the recordings.
pub struct Engine {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    janitor: Option<JoinHandle<()>>,
}

/// What the control side and the janitor know.
pub(crate) struct Shared {
    config: EngineConfig,
    socket_options: SocketOptions,
    pub(crate) links: Vec<Arc<Link>>,
    pub(crate) control: Mutex<Control>,
    spool: Mutex<Spool>,
    /// Nothing is opened any more.
    stopped: std::sync::atomic::AtomicBool,
}

/// The tables that only the control side and the janitor touch.
pub(crate) struct Control {
    pub(crate) ports: Ports,
    /// Calls by worker and phase of the wheel.
    pub(crate) places: Vec<[u32; crate::wheel::PHASES]>,
    opened: u64,
}

impl Engine {
    /// Starts workers, janitor and spool.
    ///
    /// # Errors
    /// [`StartError`]: what is not built is refused by name, the rest is the system's word.
    pub fn start(config: EngineConfig) -> Result<Self, StartError> {
        if config.calls_per_port != 1 {
            return Err(StartError::CallsPerPort(config.calls_per_port));
        }
        if config.dscp > 63 {
            return Err(StartError::Dscp(config.dscp));
        }
        let ports = Ports::new(config.ports.clone(), config.port_rest, &mut rand::rng());
        if ports.total() == 0 {
            return Err(StartError::NoPorts(config.ports));
        }
        let count = match config.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let socket_options =
            SocketOptions { dscp: config.dscp, receive_buffer: config.receive_buffer };
        let (links, ends): (Vec<_>, Vec<_>) = (0..count).map(|_| Link::new()).unzip();
        let shared = Arc::new(Shared {
            config,
            socket_options,
            links,
            control: Mutex::new(Control {
                ports,
                places: vec![Default::default(); count],
                opened: 0,
            }),
            spool: Mutex::new(Spool::start(LocalDisk)?),
            stopped: false.into(),
        });
        let (janitor, graves) = Janitor::new(Arc::clone(&shared), count);
        let janitor = janitor.start()?;
        let mut engine = Self { shared, workers: Vec::new(), janitor: Some(janitor) };
        for (index, (end, grave)) in ends.into_iter().zip(graves).enumerate() {
            let Some(link) = engine.shared.links.get(index).cloned() else { break };
            let worker = Worker::new(Arc::clone(&link), end, grave, engine.janitor_thread())?;
            let name = format!("media-{index}");
            let thread = std::thread::Builder::new().name(name).spawn(move || worker.run())?;
            link.set_thread(thread.thread().clone());
            engine.workers.push(thread);
        }
        Ok(engine)
    }

    /// Gives a call its ports, a worker and a slot for life. The session waits for its first
    /// [`Command::Connect`]. The receiver ends after the call's last event, once nothing of the
    /// call (a recording that is being finished, say) is left.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left behind then.
    pub fn open(
        &self,
        options: OpenOptions,
    ) -> Result<(MediaCall, mpsc::Receiver<MediaEvent>), OpenError> {
        if self.shared.stopped.load(Ordering::Acquire) {
            return Err(OpenError::Stopped);
        }
        let address = options.address.unwrap_or(self.shared.config.address);
        let (port, rtp, rtcp) = self.shared.bind_pair(address)?;
        let local = SocketAddr::new(address, port);
        let (worker, phase) = self.shared.lock().place();
        let (sender, receiver) = mpsc::channel(EVENTS);
        let weak = sender.downgrade();
        let state = Arc::new(CallState::default());
        let call = Box::new(Call::new(
            Session::new(Instant::now(), session_config(&options)),
            [rtp, rtcp],
            Events::new(sender),
            Arc::clone(&state),
            Place { worker, phase, port },
        ));
        let Some(link) = self.shared.links.get(worker) else { return Err(OpenError::Stopped) };
        if let Err(message) = link.send(Message::Open(call)) {
            if let Message::Open(call) = message {
                let place = call.place;
                drop(call);
                self.shared.lock().leave(place, Instant::now());
            }
            return Err(OpenError::Busy(crate::worker::MESSAGES));
        }
        let call = MediaCall {
            local,
            state,
            link: Arc::clone(link),
            shared: Arc::clone(&self.shared),
            events: weak,
        };
        Ok((call, receiver))
    }

    /// What the engine does and how well; cheap enough to be asked for every request.
    pub fn stats(&self) -> EngineStats {
        let control = self.shared.lock();
        let mut stats = EngineStats {
            opened: control.opened,
            ports_in_use: control.ports.in_use(),
            ports: control.ports.total(),
            ..EngineStats::default()
        };
        drop(control);
        for link in &self.shared.links {
            stats.add(&link.counters);
        }
        let spool = self.shared.spool.lock().unwrap_or_else(PoisonError::into_inner);
        stats.recordings = spool.stats().active.load(Ordering::Relaxed);
        stats.recordings_completed = spool.stats().completed.load(Ordering::Relaxed);
        stats.recordings_partial = spool.stats().partial.load(Ordering::Relaxed);
        stats
    }

    /// Ends every call (each gets its [`MediaEvent::Closed`]), the threads, and the recordings.
    /// Blocks for some 20 ms; with a disk that hangs, for 5 s.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        for link in &self.shared.links {
            link.stop();
        }
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a media worker had panicked");
            }
        }
        // The workers' ends of the graves are gone: the janitor buries what is left and ends.
        if let Some(janitor) = self.janitor.take() {
            janitor.thread().unpark();
            let _ = janitor.join();
            self.shared.spool.lock().unwrap_or_else(PoisonError::into_inner).stop();
        }
    }

    fn janitor_thread(&self) -> std::thread::Thread {
        self.janitor.as_ref().map_or_else(std::thread::current, |janitor| janitor.thread().clone())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// The control side of one call's media. Dropping it closes the call's media.
pub struct MediaCall {
    local: SocketAddr,
    state: Arc<CallState>,
    link: Arc<Link>,
    shared: Arc<Shared>,
    /// Weak, so that the receiver ends with the call and not with this handle.
    events: mpsc::WeakSender<MediaEvent>,
}

impl MediaCall {
    /// The address and port its RTP leaves from and comes to; RTCP has the port above. The address
    /// is the one bound, which may be the unspecified one.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Hands a command to the session; it is picked up within 2 ms, in the order of the sending.
    ///
    /// # Errors
    /// [`CommandError::Gone`] when the media has ended; [`CommandError::Busy`] when the worker is
    /// stuck, and the command is lost. A [`Command::Close`] is never lost.
    pub fn command(&self, command: Command) -> Result<(), CommandError> {
        if self.state.is_gone() {
            return Err(CommandError::Gone);
        }
        if matches!(command, Command::Close) {
            self.link.close(&self.state);
            return Ok(());
        }
        let message = Message::Command(Arc::clone(&self.state), command);
        self.link.send(message).map_err(|_| CommandError::Busy)
    }

    /// Begins a recording into a new file at `path`: from the answer on, or from now where that was
    /// before. [`MediaEvent::RecordingStarted`] tells that the file is there,
    /// [`MediaEvent::RecordingFinished`] that it is complete, which may come after
    /// [`MediaEvent::Closed`]. A second recording ends the first.
    ///
    /// # Errors
    /// [`RecordError`]; no file is begun then, unless the worker is stuck: its end is told as well.
    pub fn record(&self, path: PathBuf, channels: Channels) -> Result<(), RecordError> {
        let events = self.events.upgrade().ok_or(CommandError::Gone)?;
        let deliver = Box::new(move |note| {
            let event = match note {
                Note::Started(path) => MediaEvent::RecordingStarted { path },
                Note::Finished(finished) => MediaEvent::RecordingFinished(finished),
            };
            match events.try_send(event) {
                Err(mpsc::error::TrySendError::Full(MediaEvent::RecordingStarted { path })) => {
                    Err(Note::Started(path))
                }
                Err(mpsc::error::TrySendError::Full(MediaEvent::RecordingFinished(finished))) => {
                    Err(Note::Finished(finished))
                }
                _ => Ok(()),
            }
        });
        let spool = self.shared.spool.lock().unwrap_or_else(PoisonError::into_inner);
        let tap = spool.record(path, channels, deliver)?;
        drop(spool);
        Ok(self.command(Command::StartRecording(tap))?)
    }

    /// Makes the next turn of the session panic, to show that the other calls go on.
    #[cfg(test)]
    pub(crate) fn panic(&self) {
        let _ = self.link.send(Message::Panic(Arc::clone(&self.state)));
    }
}

impl Drop for MediaCall {
    fn drop(&mut self) {
        if !self.state.is_gone() {
            self.link.close(&self.state);
        }
    }
}

impl std::fmt::Debug for MediaCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaCall").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a pair and binds both sockets. Pairs that another process sits on go to rest.
    fn bind_pair(&self, address: IpAddr) -> Result<(u16, Socket, Socket), OpenError> {
        let mut tries = 0;
        loop {
            let port = self.lock().ports.take(Instant::now())?;
            let bind = |port| net::bind(SocketAddr::new(address, port), self.socket_options);
            let error = match bind(port).and_then(|rtp| Ok((rtp, bind(port + 1)?))) {
                Ok((rtp, rtcp)) => return Ok((port, rtp, rtcp)),
                Err(error) => error,
            };
            self.lock().ports.give_back(Instant::now(), port);
            tries += 1;
            if error.kind() == io::ErrorKind::AddrInUse && tries < BIND_TRIES {
                continue;
            }
            let errno = rustix::io::Errno::from_io_error(&error);
            return Err(match errno {
                Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) => {
                    OpenError::NoDescriptor(error)
                }
                _ => OpenError::Bind { address: SocketAddr::new(address, port), error },
            });
        }
    }
}

/// What a session starts with: its identifiers drawn at random (RFC 3550 §5.1).
fn session_config(options: &OpenOptions) -> SessionConfig {
    SessionConfig {
        ssrc: rand::random(),
        sequence: rand::random(),
        timestamp: rand::random(),
        seed: rand::random(),
        unix_time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        rtp_timeout: options.rtp_timeout,
        learn_source: options.learn_source,
        dtmf: options.dtmf,
    }
}

impl Control {
    /// The worker with the fewest calls, and of its phases the one with the fewest.
    fn place(&mut self) -> (usize, usize) {
        self.opened += 1;
        let (mut best, mut fewest) = ((0, 0), (u32::MAX, u32::MAX));
        for (worker, phases) in self.places.iter().enumerate() {
            let total = phases.iter().sum();
            for (phase, &calls) in phases.iter().enumerate() {
                if (total, calls) < fewest {
                    (best, fewest) = ((worker, phase), (total, calls));
                }
            }
        }
        if let Some(calls) = self.places.get_mut(best.0).and_then(|p| p.get_mut(best.1)) {
            *calls += 1;
        }
        best
    }

    /// The call that was there has gone.
    pub(crate) fn leave(&mut self, place: Place, now: Instant) {
        if let Some(calls) =
            self.places.get_mut(place.worker).and_then(|phases| phases.get_mut(place.phase))
        {
            *calls = calls.saturating_sub(1);
        }
        self.ports.give_back(now, place.port);
    }
}

#[cfg(test)]
mod tests;
