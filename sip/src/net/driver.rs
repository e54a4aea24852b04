//! The task that owns the endpoint: it waits for datagrams, commands and time, and carries bytes
//! and events out.
#![allow(clippy::disallowed_methods, reason = "the driver reads the clock and spawns its task")]

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::ReadBuf;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::handle::{Incoming, SipConfig, StartError};
use super::udp::{self, Udp};
use crate::endpoint::{
    Advertised, Counters, Endpoint, Event, InviteError, LocalId, Network, OptionsId, OptionsSpec,
    Stats,
};
use crate::invite::{Body, Failure, IncomingCall, InviteSpec, LegEvent, LegId, Orphan};
use crate::limits::{
    COMMAND_BATCH, EVENT_RETRY, MAX_DATAGRAM, MAX_LEG_EVENTS, MAX_ROUTES_REMEMBERED,
    MAX_WAITING_EVENTS, READS_IN_A_ROW, RECEIVE_BATCH,
};
use crate::message::{HeaderValue, Transport};

/// What handles ask for.
pub(super) enum Command {
    Invite {
        spec: Box<InviteSpec>,
        events: mpsc::Sender<LegEvent>,
        reply: oneshot::Sender<Result<LegId, InviteError>>,
    },
    HangUp(LegId, Option<HeaderValue>),
    Acknowledge(LegId),
    Ring(LegId, Option<Body>),
    Accept(LegId, Body),
    Reject(LegId, u16),
    AnswerOffer(LegId, Result<Body, u16>),
    Info(LegId, Body),
    Options {
        spec: Box<OptionsSpec>,
        reply: OptionsReply,
    },
    EndOrphan {
        orphan: Box<Orphan>,
        reply: oneshot::Sender<Result<LegId, InviteError>>,
    },
    SetTrusted(Vec<Network>),
    Counters(oneshot::Sender<Box<(Counters, Stats)>>),
    Shutdown(oneshot::Sender<()>),
}

type OptionsReply = oneshot::Sender<Result<Result<u16, Failure>, InviteError>>;

/// Binds the sockets and starts the task.
pub(super) fn start(
    config: SipConfig,
    commands: mpsc::Receiver<Command>,
    incoming: mpsc::Sender<Incoming>,
) -> Result<Vec<SocketAddr>, StartError> {
    let mut endpoint = Endpoint::new(config.endpoint);
    endpoint.set_trusted(config.trusted);
    let mut sockets = Vec::new();
    let mut addresses = Vec::new();
    for (id, address) in (0..).map(LocalId).zip(config.udp) {
        let bind = || {
            let socket = Udp::bind(address, config.dscp)?;
            let bound = socket.local_addr()?;
            Ok((socket, bound))
        };
        let (socket, bound) = bind().map_err(|error| StartError::Bind { address, error })?;
        endpoint.add_local(id, Transport::Udp, bound, advertised(bound, config.public_address));
        sockets.push(socket);
        addresses.push(bound);
    }
    let driver = Driver {
        endpoint,
        sockets,
        commands,
        incoming,
        owners: HashMap::new(),
        asked: HashMap::new(),
        waiting: 0,
        stopped: None,
    };
    tokio::spawn(driver.run());
    Ok(addresses)
}

/// What Via and Contact of a socket carry.
fn advertised(bound: SocketAddr, public: Option<IpAddr>) -> Advertised {
    match public {
        Some(ip) if ip.is_ipv4() == bound.is_ipv4() => {
            Advertised::Fixed(SocketAddr::new(ip, bound.port()))
        }
        _ if !bound.ip().is_unspecified() => Advertised::Fixed(bound),
        _ => {
            let mut known: HashMap<IpAddr, IpAddr> = HashMap::new();
            let address = move |remote: IpAddr| {
                if known.len() >= MAX_ROUTES_REMEMBERED {
                    known.clear();
                }
                let find = || udp::address_towards(remote).unwrap_or(bound.ip());
                *known.entry(remote).or_insert_with(find)
            };
            Advertised::ByRoute { port: bound.port(), address: Box::new(address) }
        }
    }
}

struct Driver {
    endpoint: Endpoint,
    sockets: Vec<Udp>,
    commands: mpsc::Receiver<Command>,
    incoming: mpsc::Sender<Incoming>,
    owners: HashMap<LegId, Owner>,
    asked: HashMap<OptionsId, OptionsReply>,
    /// Owners whose channel was full.
    waiting: usize,
    stopped: Option<oneshot::Sender<()>>,
}

/// Who gets a leg's events.
struct Owner {
    events: mpsc::Sender<LegEvent>,
    /// What its channel had no room for.
    waiting: VecDeque<LegEvent>,
}

/// Why the task goes on.
enum Wake {
    Commands,
    Io,
    Timeout,
    /// The sockets had their turn.
    Nothing,
    /// Every handle is dropped.
    Abandoned,
}

impl Driver {
    async fn run(mut self) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut commands = Vec::with_capacity(COMMAND_BATCH);
        let mut reads = 0;
        while self.stopped.is_none() {
            let deadline = self.deadline();
            let sleep = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let Self { endpoint, sockets, commands: queue, .. } = &mut self;
            // Sockets first: after a pause of ours, what came meanwhile is heard before the timer
            // fires that waited for it. A flood must not stop time all the same.
            let may_read = reads < READS_IN_A_ROW;
            let wake = tokio::select! {
                biased;
                () = poll_fn(|cx| poll_sockets(cx, endpoint, sockets, &mut buffer)),
                    if may_read => Wake::Io,
                () = sleep => Wake::Timeout,
                count = queue.recv_many(&mut commands, COMMAND_BATCH) => match count {
                    0 => Wake::Abandoned,
                    _ => Wake::Commands,
                },
                () = std::future::ready(()), if !may_read => Wake::Nothing,
            };
            // A timer that is due at every look must not keep commands from their turn either.
            reads = match wake {
                Wake::Io => reads + 1,
                Wake::Timeout => reads,
                Wake::Commands | Wake::Nothing | Wake::Abandoned => 0,
            };
            match wake {
                Wake::Commands | Wake::Io | Wake::Nothing => {}
                Wake::Timeout => self.endpoint.handle_timeout(Instant::now()),
                Wake::Abandoned => break,
            }
            for command in commands.drain(..) {
                self.handle_command(command);
            }
            self.drain();
            tokio::task::consume_budget().await;
        }
        drop(self.sockets);
        if let Some(stopped) = self.stopped {
            let _ = stopped.send(());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let retry = (self.waiting > 0).then(|| Instant::now() + EVENT_RETRY);
        [self.endpoint.poll_timeout(), retry].into_iter().flatten().min()
    }

    fn handle_command(&mut self, command: Command) {
        let now = Instant::now();
        let endpoint = &mut self.endpoint;
        match command {
            Command::Invite { spec, events, reply } => {
                let placed = endpoint.invite(now, *spec);
                if let Ok(leg) = placed {
                    self.owners.insert(leg, Owner { events, waiting: VecDeque::new() });
                    if reply.send(placed).is_err() {
                        self.endpoint.hang_up(now, leg, None); // nobody waits for it any more
                    }
                } else {
                    let _ = reply.send(placed);
                }
            }
            Command::HangUp(leg, reason) => endpoint.hang_up(now, leg, reason),
            Command::Acknowledge(leg) => endpoint.acknowledge(now, leg),
            Command::Ring(leg, body) => endpoint.ring(now, leg, body),
            Command::Accept(leg, body) => endpoint.accept(now, leg, body),
            Command::Reject(leg, status) => endpoint.reject(now, leg, status),
            Command::AnswerOffer(leg, answer) => endpoint.answer_offer(now, leg, answer),
            Command::Info(leg, body) => endpoint.info(now, leg, body),
            Command::Options { spec, reply } => match endpoint.options(now, *spec) {
                Ok(id) => {
                    self.asked.insert(id, reply);
                }
                Err(error) => {
                    let _ = reply.send(Err(error));
                }
            },
            Command::EndOrphan { orphan, reply } => {
                let _ = reply.send(endpoint.end_orphan(now, *orphan));
            }
            Command::SetTrusted(networks) => endpoint.set_trusted(networks),
            Command::Counters(reply) => {
                let _ = reply.send(Box::new((endpoint.counters().clone(), endpoint.stats())));
            }
            Command::Shutdown(reply) => self.stopped = Some(reply),
        }
    }

    /// Carries out what the endpoint has: events may make it send more, so both until none is
    /// left.
    fn drain(&mut self) {
        self.retry_waiting();
        loop {
            while let Some(event) = self.endpoint.poll_event() {
                self.deliver(event);
            }
            let Some(transmit) = self.endpoint.poll_transmit() else {
                match self.sockets.iter_mut().find(|socket| socket.has_errors) {
                    Some(socket) => report_undeliverable(&mut self.endpoint, socket),
                    None => break,
                }
                continue;
            };
            let socket = self.sockets.get_mut(usize::from(transmit.local.0));
            let Some(socket) = socket else { continue };
            if let Err(error) = socket.send(transmit.remote, transmit.data) {
                let now = Instant::now();
                self.endpoint.handle_transport_error(now, transmit.remote, &error.to_string());
            }
        }
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Leg(leg, event) => self.deliver_to_leg(leg, event),
            Event::Incoming { leg, call } => self.deliver_incoming(leg, *call),
            Event::Options { id, result } => {
                if let Some(reply) = self.asked.remove(&id) {
                    let _ = reply.send(Ok(result));
                }
            }
        }
    }

    fn deliver_to_leg(&mut self, leg: LegId, event: LegEvent) {
        let Some(owner) = self.owners.get_mut(&leg) else { return };
        let is_last = matches!(event, LegEvent::Closed);
        let event = match owner.waiting.is_empty() {
            true => match owner.events.try_send(event) {
                Ok(()) => None,
                Err(TrySendError::Full(event)) => Some(event),
                Err(TrySendError::Closed(_)) => return self.disown(leg),
            },
            false => Some(event),
        };
        match event {
            None if is_last => {
                self.owners.remove(&leg);
            }
            None | Some(LegEvent::Ladder(_)) => {}
            Some(_) if owner.waiting.len() >= MAX_WAITING_EVENTS => self.disown(leg),
            Some(event) => {
                self.waiting += usize::from(owner.waiting.is_empty());
                owner.waiting.push_back(event);
            }
        }
    }

    /// Gives waiting events to channels that have room again.
    fn retry_waiting(&mut self) {
        if self.waiting == 0 {
            return;
        }
        let mut gone = Vec::new();
        for (leg, owner) in &mut self.owners {
            while let Some(event) = owner.waiting.pop_front() {
                let is_last = matches!(event, LegEvent::Closed);
                match owner.events.try_send(event) {
                    Ok(()) if is_last => gone.push(*leg),
                    Ok(()) => {}
                    Err(TrySendError::Full(event)) => {
                        owner.waiting.push_front(event);
                        break;
                    }
                    Err(TrySendError::Closed(_)) => {
                        gone.push(*leg);
                        break;
                    }
                }
            }
        }
        for leg in gone {
            self.disown(leg);
        }
        self.waiting = self.owners.values().filter(|owner| !owner.waiting.is_empty()).count();
    }

    /// The leg's owner is gone, or does not read: the leg is not to outlive it.
    fn disown(&mut self, leg: LegId) {
        if self.owners.remove(&leg).is_some_and(|owner| !owner.waiting.is_empty()) {
            self.waiting = self.waiting.saturating_sub(1);
        }
        self.endpoint.hang_up(Instant::now(), leg, None);
    }

    fn deliver_incoming(&mut self, leg: LegId, call: IncomingCall) {
        let (sender, events) = mpsc::channel(MAX_LEG_EVENTS);
        match self.incoming.try_send(Incoming { leg, call, events }) {
            Ok(()) => {
                self.owners.insert(leg, Owner { events: sender, waiting: VecDeque::new() });
            }
            Err(_) => self.endpoint.reject(Instant::now(), leg, 503),
        }
    }
}

/// Reads what has come, a batch a socket at most, and flushes what waits; ready if something was
/// read.
fn poll_sockets(
    cx: &mut Context<'_>,
    endpoint: &mut Endpoint,
    sockets: &mut [Udp],
    buffer: &mut [u8],
) -> Poll<()> {
    let mut has_read = false;
    for (id, socket) in (0..).map(LocalId).zip(sockets) {
        let _ = socket.poll_flush(cx);
        for _ in 0..RECEIVE_BATCH {
            let mut datagram = ReadBuf::new(buffer);
            match socket.poll_receive(cx, &mut datagram) {
                Poll::Pending => break,
                Poll::Ready(Ok(remote)) => {
                    let now = Instant::now();
                    endpoint.handle_datagram(now, id, remote, datagram.filled());
                }
                Poll::Ready(Err(_)) => report_undeliverable(endpoint, socket),
            }
            has_read = true;
        }
    }
    if has_read { Poll::Ready(()) } else { Poll::Pending }
}

fn report_undeliverable(endpoint: &mut Endpoint, socket: &mut Udp) {
    for (remote, error) in socket.undeliverable() {
        endpoint.handle_transport_error(Instant::now(), remote, error.desc());
    }
}
