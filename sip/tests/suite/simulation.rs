//! Two endpoints on a virtual clock, with a network between them that loses, doubles, delays and
//! so reorders; everything from one seed.
//!
//! It knows how to pass datagrams and time, and keeps an [`Account`] of what each leg's owner was
//! told, in which it checks what must hold always. It refuses to know what the owners do: that is
//! the tests'. Start at [`Simulation`].

mod party;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kaphila_sip::endpoint::{LocalId, OptionsSpec, Stats};
use kaphila_sip::invite::{Body, Identity, InviteSpec, LegId};
use kaphila_sip::message::Transport;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(crate) use party::{Account, Party};

/// The socket of either endpoint.
const LOCAL: LocalId = LocalId(0);

/// Somebody else.
pub(crate) const STRANGER: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 5060);

/// Datagrams remembered to be replayed and changed.
const HISTORY: usize = 64;

/// What the network does to each datagram.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Chance to be lost.
    pub(crate) loss: f64,
    /// Chance to come twice, each with its own delay.
    pub(crate) duplication: f64,
    /// Shortest and longest delay; the spread is what reorders.
    pub(crate) delay: (Duration, Duration),
}

/// One of the two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(crate) fn address(self) -> SocketAddr {
        match self {
            Self::A => SocketAddr::from(([192, 0, 2, 1], 5060)),
            Self::B => SocketAddr::from(([192, 0, 2, 2], 5060)),
        }
    }
}

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    at: Instant,
    number: u64,
    to: Side,
    from: SocketAddr,
    data: Bytes,
}

/// A datagram that once was on its way.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) to: Side,
    pub(crate) data: Bytes,
}

/// Two endpoints, their owners' books, the network and the clock.
pub(crate) struct Simulation {
    pub(crate) now: Instant,
    pub(crate) rng: StdRng,
    pub(crate) link: Link,
    pub(crate) history: VecDeque<Past>,
    /// Steps that were made: datagrams delivered and wake-ups.
    pub(crate) steps: u64,
    parties: [Party; 2],
    in_flight: BinaryHeap<Reverse<Packet>>,
    sent: u64,
    /// `KAPHILA_SIP_TRACE` is set: each message and event is printed.
    trace: bool,
    started: Instant,
    /// Octets from and to the stranger.
    foreign: (usize, usize),
}

impl Simulation {
    pub(crate) fn new(seed: u64, link: Link) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let parties = Side::BOTH.map(|side| Party::new(side, rng.random()));
        let now = origin();
        Self {
            now,
            rng,
            link,
            history: VecDeque::new(),
            steps: 0,
            parties,
            in_flight: BinaryHeap::new(),
            sent: 0,
            trace: std::env::var("KAPHILA_SIP_TRACE").is_ok(),
            started: now,
            foreign: (0, 0),
        }
    }

    pub(crate) fn party(&mut self, side: Side) -> &mut Party {
        match side {
            Side::A => &mut self.parties[0],
            Side::B => &mut self.parties[1],
        }
    }

    /// Places a call to the other side.
    pub(crate) fn invite(&mut self, side: Side, no_answer_timeout: Duration) -> LegId {
        let identity = Identity::generate(&mut self.rng);
        let call_id = identity.call_id.clone();
        let spec = InviteSpec {
            identity,
            request_uri: "sip:00123@192.0.2.9".parse().unwrap(),
            from: "<sip:1000@example.com>".parse().unwrap(),
            to: "<sip:00123@192.0.2.9>".parse().unwrap(),
            remote: side.other().address(),
            transport: Transport::Udp,
            tls_name: None,
            large_over_tcp: false,
            headers: Vec::new(),
            body: Some(sdp()),
            no_answer_timeout,
            peers: Vec::new(),
            credentials: None,
        };
        let now = self.now;
        let leg = self.party(side).endpoint.invite(now, spec).unwrap();
        let account = Account { call_id, is_caller: true, ..Account::default() };
        self.party(side).enter(leg, account);
        self.drain(side);
        leg
    }

    pub(crate) fn ring(&mut self, side: Side, leg: LegId, body: Option<Body>) {
        let now = self.now;
        self.party(side).endpoint.ring(now, leg, body);
        self.drain(side);
    }

    pub(crate) fn accept(&mut self, side: Side, leg: LegId) {
        let now = self.now;
        let party = self.party(side);
        let account = party.account(leg);
        if account.is_callee_undecided() {
            account.accepted_at = Some(now);
        }
        party.endpoint.accept(now, leg, sdp());
        self.drain(side);
    }

    pub(crate) fn reject(&mut self, side: Side, leg: LegId, status: u16) {
        let now = self.now;
        let party = self.party(side);
        let account = party.account(leg);
        if account.is_callee_undecided() {
            account.rejected = true;
        }
        party.endpoint.reject(now, leg, status);
        self.drain(side);
    }

    pub(crate) fn hang_up(&mut self, side: Side, leg: LegId) {
        let now = self.now;
        let party = self.party(side);
        let account = party.account(leg);
        if account.is_open() && account.ended.is_none() {
            account.hung_up_at.get_or_insert(now);
        }
        party.endpoint.hang_up(now, leg, None);
        self.drain(side);
    }

    pub(crate) fn answer_offer(&mut self, side: Side, leg: LegId, answer: Result<Body, u16>) {
        let now = self.now;
        self.party(side).endpoint.answer_offer(now, leg, answer);
        self.drain(side);
    }

    pub(crate) fn info(&mut self, side: Side, leg: LegId) {
        let now = self.now;
        let content_type = "application/dtmf-relay".to_owned();
        let body =
            Body { content_type, bytes: Bytes::from_static(b"Signal=5\r\nDuration=160\r\n") };
        self.party(side).endpoint.info(now, leg, body);
        self.drain(side);
    }

    pub(crate) fn options(&mut self, side: Side) {
        let now = self.now;
        let spec = OptionsSpec {
            uri: "sip:192.0.2.9".parse().unwrap(),
            from: "<sip:1000@example.com>".parse().unwrap(),
            remote: side.other().address(),
            transport: Transport::Udp,
            tls_name: None,
            timeout: Duration::from_secs(4),
            credentials: None,
        };
        let id = self.party(side).endpoint.options(now, spec).unwrap();
        self.party(side).options.push(id);
        self.drain(side);
    }

    pub(crate) fn transport_error(&mut self, side: Side) {
        let now = self.now;
        let remote = side.other().address();
        self.party(side).endpoint.handle_transport_error(now, remote, "port unreachable");
        self.drain(side);
    }

    /// A datagram from outside of the simulation, now.
    pub(crate) fn deliver(&mut self, to: Side, from: SocketAddr, data: &[u8]) {
        if from == STRANGER {
            self.foreign.0 += data.len();
        }
        let now = self.now;
        self.trace(to, || format!("from {from}, made up\n{}", text(data)));
        self.party(to).endpoint.handle_datagram(now, LOCAL, from, data);
        self.drain(to);
    }

    /// The time of the next event, if anything is to come.
    pub(crate) fn next_event(&self) -> Option<Instant> {
        let arrival = self.in_flight.peek().map(|Reverse(packet)| packet.at);
        let wake_ups = self.parties.iter().filter_map(|party| party.endpoint.poll_timeout());
        arrival.into_iter().chain(wake_ups).min()
    }

    /// Lets everything happen up to and with `until`, which is then the time.
    pub(crate) fn run_until(&mut self, until: Instant) {
        while let Some(at) = self.next_event().filter(|at| *at <= until) {
            self.step(at);
        }
        self.now = self.now.max(until);
    }

    /// One event: what is due at `at`.
    pub(crate) fn step(&mut self, at: Instant) {
        self.steps += 1;
        self.now = self.now.max(at);
        let now = self.now;
        if let Some(Reverse(packet)) = self.in_flight.peek()
            && packet.at <= now
        {
            let Some(Reverse(packet)) = self.in_flight.pop() else { return };
            self.trace(packet.to, || format!("from {}\n{}", packet.from, text(&packet.data)));
            self.party(packet.to).endpoint.handle_datagram(now, LOCAL, packet.from, &packet.data);
            return self.drain(packet.to);
        }
        for side in Side::BOTH {
            let endpoint = &mut self.party(side).endpoint;
            if endpoint.poll_timeout().is_some_and(|due| due <= now) {
                endpoint.handle_timeout(now);
                let next = endpoint.poll_timeout();
                assert!(next.is_none_or(|next| next > now), "{side:?} is due again at once");
                self.drain(side);
            }
        }
    }

    /// What lives in both endpoints.
    pub(crate) fn stats(&self) -> [Stats; 2] {
        [self.parties[0].endpoint.stats(), self.parties[1].endpoint.stats()]
    }

    /// Nothing on its way, no wake-up, nothing left in either endpoint.
    pub(crate) fn assert_nothing_left(&mut self) {
        assert_eq!(self.next_event(), None, "something is still to come");
        assert_eq!(self.stats(), [Stats::default(), Stats::default()]);
        for side in Side::BOTH {
            let party = self.party(side);
            assert!(party.options.is_empty(), "OPTIONS without a result");
            for account in party.legs.values() {
                assert!(!account.is_open(), "{side:?}: never closed: {account:?}");
            }
        }
        assert!(self.foreign.1 <= self.foreign.0, "strangers got more than they sent");
    }

    /// Takes out what an endpoint has to say and to send.
    fn drain(&mut self, side: Side) {
        let now = self.now;
        while let Some(event) = self.party(side).endpoint.poll_event() {
            self.trace(side, || format!("{event:?}"));
            self.party(side).book(now, event);
        }
        while let Some(transmit) = self.party(side).endpoint.poll_transmit() {
            self.trace(side, || format!("to {}\n{}", transmit.remote, text(&transmit.data)));
            if transmit.remote == side.other().address() {
                self.launch(side, transmit.data);
            } else if transmit.remote == STRANGER {
                self.foreign.1 += transmit.data.len();
            }
        }
    }

    fn trace(&self, side: Side, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:>10.3?} {side:?} {}", self.now - self.started, what());
        }
    }

    fn launch(&mut self, from: Side, data: Bytes) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Past { to: from.other(), data: data.clone() });
        let copies = 1 + u32::from(self.rng.random_bool(self.link.duplication));
        for _ in 0..copies {
            if self.rng.random_bool(self.link.loss) {
                continue;
            }
            let (least, most) = self.link.delay;
            let delay = least + (most - least).mul_f64(self.rng.random::<f64>());
            let (number, at) = (self.sent, self.now + delay);
            self.sent += 1;
            let packet =
                Packet { at, number, to: from.other(), from: from.address(), data: data.clone() };
            self.in_flight.push(Reverse(packet));
        }
    }
}

/// A session description, good enough for those who do not read it.
pub(crate) fn sdp() -> Body {
    Body::sdp(Bytes::from_static(
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
          m=audio 9000 RTP/AVP 0\r\n",
    ))
}

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// Where the virtual clock begins.
#[allow(clippy::disallowed_methods, reason = "an Instant can be had nowhere else")]
fn origin() -> Instant {
    Instant::now()
}

/// A number from the environment, or the one given.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}
