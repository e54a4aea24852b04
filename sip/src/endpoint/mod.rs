//! The sans-IO SIP endpoint: bytes, commands and time in; bytes, events and the next wake-up out.
//!
//! It knows which transaction, dialog and leg a message belongs to, and whose messages are taken.
//! It refuses to know sockets, clocks and what a body means. Start at [`Endpoint`]; the life of a
//! call is in [`crate::invite`], the way of a message in `receive`, and what a leg or transaction
//! wants done is carried out in `carry`.
//!
//! After each `handle_*` and each command, drain [`Endpoint::poll_transmit`] and
//! [`Endpoint::poll_event`], then ask [`Endpoint::poll_timeout`].

mod carry;
mod challenge;
mod config;
mod connections;
mod counters;
mod ladder;
mod large;
mod locals;
mod network;
mod originate;
mod receive;
mod registrations;
mod reply;
mod responses;
mod schedule;
mod table;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;

pub use config::{
    Advertised, ConnectionId, Dial, EndpointConfig, Event, InviteError, LocalId, OptionsId,
    OptionsSpec, RegistrationId, Stats, Transmit,
};
pub use counters::Counters;
pub use network::{Network, NetworkError};

use self::carry::LegEntry;
use self::connections::{Connections, Flow};
use self::locals::{Local, Routing};
use self::originate::Asked;
use self::registrations::Registered;
use self::schedule::{Owner, Schedule};
use self::table::{Client, Merge, Server, Table};
use crate::auth::{Authenticator, Credentials};
use crate::invite::{Body, LegId};
use crate::message::HeaderValue;
use crate::transaction::{ClientKey, ServerKey};

/// The SIP endpoint.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    rng: StdRng,
    /// Makes the tags of stateless replies: the same for each repetition, and nobody's guess.
    salt: u64,
    locals: Vec<Local>,
    routing: Routing,
    /// Who was told about in the log that its requests are too large for UDP.
    too_large: HashSet<SocketAddr>,
    /// From where calls are taken.
    trusted: Vec<Network>,
    legs: HashMap<LegId, LegEntry>,
    /// By Call-ID and our tag.
    dialogs: HashMap<(String, String), LegId>,
    clients: Table<ClientKey, Client>,
    /// The client transactions of each remote address and connection.
    clients_on: HashMap<Flow, BTreeSet<u64>>,
    connections: Connections,
    dials: VecDeque<Dial>,
    servers: Table<ServerKey, Server>,
    merges: HashMap<Merge, u64>,
    options: HashMap<OptionsId, Asked>,
    registrations: HashMap<RegistrationId, Registered>,
    /// By what those are told that ask for proof, each with the nonces it gave.
    authenticators: HashMap<Arc<Credentials>, Authenticator>,
    accounts: Vec<Arc<Credentials>>,
    next_id: u64,
    schedule: Schedule,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    counters: Counters,
}

impl Endpoint {
    /// An endpoint without sockets and without friends.
    pub fn new(config: EndpointConfig) -> Self {
        let mut rng = StdRng::seed_from_u64(config.seed);
        Self {
            salt: rand::Rng::next_u64(&mut rng),
            config,
            rng,
            locals: Vec::new(),
            routing: Routing::default(),
            too_large: HashSet::new(),
            trusted: Vec::new(),
            legs: HashMap::new(),
            dialogs: HashMap::new(),
            clients: Table::new(),
            clients_on: HashMap::new(),
            connections: Connections::default(),
            dials: VecDeque::new(),
            servers: Table::new(),
            merges: HashMap::new(),
            options: HashMap::new(),
            registrations: HashMap::new(),
            authenticators: HashMap::new(),
            accounts: Vec::new(),
            next_id: 1,
            schedule: Schedule::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// From where requests outside of dialogs are taken: trunks. Others get one stateless 403.
    pub fn set_trusted(&mut self, networks: Vec<Network>) {
        self.trusted = networks;
    }

    /// Everything due by `now` happens.
    pub fn handle_timeout(&mut self, now: Instant) {
        // An owner that is woken sets a later time; the bound is for a machine that would not.
        for _ in 0..2 * self.schedule.len() {
            match self.schedule.expired(now) {
                Some(Owner::Client(id)) => self.client_timeout(now, id),
                Some(Owner::Server(id)) => self.server_timeout(now, id),
                Some(Owner::Leg(id)) => self.leg_timeout(now, id),
                Some(Owner::Options(id)) => self.options_timeout(id),
                Some(Owner::Registration(id)) => self.registration_timeout(now, id),
                None => break,
            }
        }
    }

    /// A datagram to `remote` could not be delivered (ICMP, or the send failed).
    pub fn handle_transport_error(&mut self, now: Instant, remote: SocketAddr, error: &str) {
        self.counters.transport_errors += 1;
        // In the order of their sending. The far end's requests are none of it: it sends them
        // again (RFC 6026 §7.1).
        let flow = Flow::Datagrams(remote);
        for id in self.clients_on.get(&flow).cloned().unwrap_or_default() {
            self.client_transport_error(now, id, error);
        }
    }

    /// Ends a leg as its state asks: nothing came yet: waits; a provisional came: CANCEL;
    /// answered: BYE; ringing here: 603. `reason` goes into CANCEL and BYE (RFC 3326).
    pub fn hang_up(&mut self, now: Instant, leg: LegId, reason: Option<HeaderValue>) {
        self.command(now, leg, |leg, cx| leg.hang_up(cx, reason));
    }

    /// Sends the ACK of the answer where it is held
    /// ([`EndpointConfig::hold_ack`]); nothing otherwise.
    pub fn acknowledge(&mut self, now: Instant, leg: LegId) {
        self.command(now, leg, |leg, cx| leg.acknowledge(cx));
    }

    /// Callee: 180, or 183 with a body.
    pub fn ring(&mut self, now: Instant, leg: LegId, body: Option<Body>) {
        self.command(now, leg, |leg, cx| leg.ring(cx, body));
    }

    /// Callee: 200 with the answer, or with the offer where the INVITE had none.
    pub fn accept(&mut self, now: Instant, leg: LegId, body: Body) {
        self.command(now, leg, |leg, cx| leg.accept(cx, body));
    }

    /// Callee: a final refusal, 300–699.
    pub fn reject(&mut self, now: Instant, leg: LegId, status: u16) {
        self.command(now, leg, |leg, cx| leg.reject(cx, status));
    }

    /// Answers [`LegEvent::Offer`](crate::invite::LegEvent::Offer): with the answer (or our
    /// offer, where there was none), or with the status of a refusal, after which the session
    /// stays as it was.
    pub fn answer_offer(&mut self, now: Instant, leg: LegId, answer: Result<Body, u16>) {
        self.command(now, leg, |leg, cx| leg.answer_offer(cx, answer));
    }

    /// Sends INFO in an answered call.
    pub fn info(&mut self, now: Instant, leg: LegId, body: Body) {
        self.command(now, leg, |leg, cx| leg.info(cx, body));
    }

    /// The next bytes to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.schedule.next()
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What lives.
    pub fn stats(&self) -> Stats {
        Stats {
            legs: self.legs.len(),
            open_legs: self.legs.values().filter(|entry| !entry.leg.common.is_closed).count(),
            client_transactions: self.clients.len(),
            server_transactions: self.servers.len(),
            options: self.options.len(),
            connections: self.connections.len(),
            registrations: self.registrations.len(),
        }
    }
}
