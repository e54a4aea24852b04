//! The task that owns the endpoint: it waits for datagrams, commands and time, and carries bytes
//! and events out.
#![allow(clippy::disallowed_methods, reason = "the driver reads the clock and spawns its task")]

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::ReadBuf;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::connection::Heard;
use super::handle::Incoming;
use super::listener::Accepted;
use super::streams::{Arrivals, Streams};
use super::udp::Udp;
use crate::auth::Credentials;
use crate::endpoint::{
    ConnectionId, Counters, Endpoint, Event, InviteError, LocalId, Network, OptionsId, OptionsSpec,
    RegistrationId, Stats, Transmit,
};
use crate::invite::{Body, Failure, IncomingCall, InviteSpec, LegEvent, LegId, Orphan};
use crate::limits::{
    ARRIVAL_BATCH, COMMAND_BATCH, EVENT_RETRY, IDLE_CHECK, MAX_DATAGRAM, MAX_LEG_EVENTS,
    MAX_WAITING_EVENTS, READS_IN_A_ROW, RECEIVE_BATCH,
};
use crate::message::HeaderValue;
use crate::register::{RegisterSpec, RegistrationState};
use crate::wire;

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
        credentials: Option<Arc<Credentials>>,
        reply: oneshot::Sender<Result<LegId, InviteError>>,
    },
    SetTrusted(Vec<Network>),
    SetAccounts(Vec<Arc<Credentials>>),
    Register {
        spec: Box<RegisterSpec>,
        reply: oneshot::Sender<(RegistrationId, watch::Receiver<RegistrationState>)>,
    },
    Readdress(RegistrationId, Vec<SocketAddr>, Option<Arc<Credentials>>),
    Unregister(RegistrationId),
    Counters(oneshot::Sender<Box<(Counters, Stats)>>),
    Shutdown(oneshot::Sender<()>),
}

type OptionsReply = oneshot::Sender<Result<Result<u16, Failure>, InviteError>>;

pub(super) struct Driver {
    endpoint: Endpoint,
    sockets: Vec<Udp>,
    streams: Streams,
    arrivals: Arrivals,
    /// When connections are looked through for idle ones.
    idle_check: Instant,
    commands: mpsc::Receiver<Command>,
    incoming: mpsc::Sender<Incoming>,
    owners: HashMap<LegId, Owner>,
    asked: HashMap<OptionsId, OptionsReply>,
    registrations: HashMap<RegistrationId, watch::Sender<RegistrationState>>,
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

/// What woke the task, if it came over a connection.
#[derive(Default)]
struct Arrived {
    heard: Option<(ConnectionId, Heard)>,
    accepted: Option<Accepted>,
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
    pub(super) fn new(
        endpoint: Endpoint,
        sockets: Vec<Udp>,
        (streams, arrivals): (Streams, Arrivals),
        commands: mpsc::Receiver<Command>,
        incoming: mpsc::Sender<Incoming>,
    ) -> Self {
        Self {
            endpoint,
            sockets,
            streams,
            arrivals,
            idle_check: Instant::now() + IDLE_CHECK,
            commands,
            incoming,
            owners: HashMap::new(),
            asked: HashMap::new(),
            registrations: HashMap::new(),
            waiting: 0,
            stopped: None,
        }
    }

    pub(super) async fn run(mut self) {
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
            let Self { endpoint, sockets, arrivals, commands: queue, .. } = &mut self;
            let mut arrived = Arrived::default();
            // Sockets first: after a pause of ours, what came meanwhile is heard before the timer
            // fires that waited for it. A flood must not stop time all the same.
            let may_read = reads < READS_IN_A_ROW;
            let wake = tokio::select! {
                biased;
                () = poll_fn(|cx| poll_sockets(cx, endpoint, sockets, &mut buffer)),
                    if may_read => Wake::Io,
                Some(heard) = arrivals.heard.recv(), if may_read => {
                    arrived.heard = Some(heard);
                    Wake::Io
                }
                Some(accepted) = arrivals.accepted.recv(), if may_read => {
                    arrived.accepted = Some(accepted);
                    Wake::Io
                }
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
                Wake::Timeout => self.handle_timeout(),
                Wake::Abandoned => break,
            }
            self.handle_arrivals(arrived);
            for command in commands.drain(..) {
                self.handle_command(command);
            }
            self.drain();
            tokio::task::consume_budget().await;
        }
        drop(self.sockets);
        self.streams.shut_down(self.arrivals).await;
        if let Some(stopped) = self.stopped {
            let _ = stopped.send(());
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let retry = (self.waiting > 0).then(|| Instant::now() + EVENT_RETRY);
        [self.endpoint.poll_timeout(), retry, Some(self.idle_check)].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        self.endpoint.handle_timeout(now);
        if self.idle_check <= now {
            self.idle_check = now + IDLE_CHECK;
            self.streams.close_idle(&mut self.endpoint);
        }
    }

    /// What connections have read and listeners accepted, a batch of each at most: with sockets,
    /// timers and commands they take turns.
    fn handle_arrivals(&mut self, first: Arrived) {
        let mut heard = first.heard;
        for _ in 0..ARRIVAL_BATCH {
            let Some((id, what)) = heard.take().or_else(|| self.arrivals.heard.try_recv().ok())
            else {
                break;
            };
            self.handle_heard(id, what);
        }
        let mut accepted = first.accepted;
        for _ in 0..ARRIVAL_BATCH {
            let Some(next) = accepted.take().or_else(|| self.arrivals.accepted.try_recv().ok())
            else {
                break;
            };
            self.streams.take(&mut self.endpoint, next);
        }
    }

    fn handle_heard(&mut self, id: ConnectionId, heard: Heard) {
        let Self { endpoint, streams, .. } = self;
        match heard {
            Heard::Open => endpoint.handle_connected(id),
            Heard::KeepAlive => {
                streams.note_heard(id, true);
                endpoint.handle_keep_alive();
            }
            Heard::Message(message, data) => {
                streams.note_heard(id, false);
                let is_end = message.as_ref().as_ref().is_err_and(wire::Error::ends_stream);
                endpoint.handle_message(Instant::now(), id, *message, &data);
                if is_end {
                    self.transmit();
                    self.streams.close(&mut self.endpoint, id, "no SIP");
                }
            }
            Heard::Closed(why) => streams.close(endpoint, id, &why),
        }
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
            Command::EndOrphan { orphan, credentials, reply } => {
                let _ = reply.send(endpoint.end_orphan(now, *orphan, credentials));
            }
            Command::SetTrusted(networks) => endpoint.set_trusted(networks),
            Command::SetAccounts(accounts) => endpoint.set_accounts(accounts),
            Command::Register { spec, reply } => {
                let id = endpoint.register(now, *spec);
                let (state, seen) = watch::channel(RegistrationState::Trying);
                self.registrations.insert(id, state);
                if reply.send((id, seen)).is_err() {
                    self.endpoint.unregister(now, id); // nobody waits for it any more
                }
            }
            Command::Readdress(id, remotes, credentials) => {
                endpoint.readdress(now, id, remotes, credentials);
            }
            Command::Unregister(id) => endpoint.unregister(now, id),
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
            if !self.transmit() {
                match self.sockets.iter_mut().find(|socket| socket.has_errors) {
                    Some(socket) => report_undeliverable(&mut self.endpoint, socket),
                    None => break,
                }
            }
        }
    }

    /// Sends what the endpoint has to send; false if that was nothing.
    fn transmit(&mut self) -> bool {
        let mut has_sent = false;
        loop {
            while let Some(dial) = self.endpoint.poll_dial() {
                let id = dial.connection;
                if let Err(why) = self.streams.dial(dial) {
                    self.endpoint.handle_disconnected(Instant::now(), id, &why);
                }
            }
            let Some(transmit) = self.endpoint.poll_transmit() else { return has_sent };
            has_sent = true;
            let Transmit { local, remote, connection, is_last, data } = transmit;
            if let Some(id) = connection {
                self.streams.send(&mut self.endpoint, id, data);
                if is_last {
                    self.streams.close(&mut self.endpoint, id, "answered");
                }
                continue;
            }
            let Some(socket) = self.sockets.get_mut(usize::from(local.0)) else { continue };
            if let Err(error) = socket.send(remote, data) {
                let now = Instant::now();
                self.endpoint.handle_transport_error(now, remote, &error.to_string());
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
            Event::Registration { id, state } => {
                let is_last = state == RegistrationState::Ended;
                if let Some(seen) = self.registrations.get(&id) {
                    seen.send_replace(state);
                }
                if is_last {
                    self.registrations.remove(&id);
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
