//! A call's ladder as a test: one endpoint on a virtual clock, and a far end whose messages are
//! written by hand.
//!
//! `expect` takes the next message that the endpoint sent, `send` gives it one, `after` lets time
//! pass, `tells` compares what the owner was told since it was asked last.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kaphila_sip::endpoint::{
    Advertised, ConnectionId, Dial, Endpoint, EndpointConfig, Event, LocalId, Network, OptionsId,
    Stats, Transmit,
};
use kaphila_sip::invite::{
    Body, Ended, Failure, Identity, IncomingCall, InviteSpec, LegEvent, LegId,
};
use kaphila_sip::message::{NameAddr, Transport, Uri};
use kaphila_sip::register::RegistrationState;
use kaphila_sip::wire;

pub(crate) const US: &str = "192.0.2.1:5060";
pub(crate) const CARRIER: &str = "192.0.2.9:5060";
pub(crate) const STRANGER: &str = "203.0.113.66:5060";

pub(crate) const LOCAL_TCP: LocalId = LocalId(1);
pub(crate) const LOCAL_TLS: LocalId = LocalId(2);

/// 64 × T1.
pub(crate) const GIVE_UP: u64 = 32_000;

pub(crate) const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nt=0 0\r\n";

pub(crate) struct Ladder {
    pub(crate) endpoint: Endpoint,
    pub(crate) now: Instant,
    sent: VecDeque<(Transmit, Message)>,
    /// The connection of the message that was expected last.
    pub(crate) over: Option<ConnectionId>,
    /// Nothing more is to come over it.
    pub(crate) is_last: bool,
    pub(crate) dials: Vec<Dial>,
    told: Vec<String>,
    pub(crate) legs: Vec<LegId>,
    pub(crate) calls: Vec<IncomingCall>,
    pub(crate) answers: Vec<String>,
    pub(crate) rows: Vec<String>,
    pub(crate) options: Vec<(OptionsId, Result<u16, Failure>)>,
}

/// A message as text.
#[derive(Clone, Debug)]
pub(crate) struct Message(pub(crate) String);

impl Ladder {
    pub(crate) fn new() -> Self {
        Self::with(EndpointConfig::default())
    }

    #[allow(clippy::disallowed_methods, reason = "where the virtual clock starts")]
    pub(crate) fn with(config: EndpointConfig) -> Self {
        let config = EndpointConfig { seed: 7, ..config };
        let mut endpoint = Endpoint::new(config);
        let us = address(US);
        endpoint.add_local(LocalId(0), Transport::Udp, us, Advertised::Fixed(us));
        endpoint.set_trusted(vec![Network::from(address(CARRIER).ip())]);
        let now = Instant::now();
        Self {
            endpoint,
            now,
            sent: VecDeque::new(),
            over: None,
            is_last: false,
            dials: Vec::new(),
            told: Vec::new(),
            legs: Vec::new(),
            calls: Vec::new(),
            answers: Vec::new(),
            rows: Vec::new(),
            options: Vec::new(),
        }
    }

    /// One that listens on TCP and TLS too.
    pub(crate) fn with_connections() -> Self {
        let mut ladder = Self::new();
        for (id, transport, us) in [
            (LOCAL_TCP, Transport::Tcp, "192.0.2.1:5062"),
            (LOCAL_TLS, Transport::Tls, "192.0.2.1:5061"),
        ] {
            let us = address(us);
            ladder.endpoint.add_local(id, transport, us, Advertised::Fixed(us));
        }
        ladder
    }

    /// The one connection that was dialled since this was asked last.
    #[track_caller]
    pub(crate) fn dialled(&mut self) -> Dial {
        let mut dials = std::mem::take(&mut self.dials);
        assert_eq!(dials.len(), 1, "{dials:?}");
        dials.remove(0)
    }

    /// The far end sends something over a connection.
    pub(crate) fn send_over(&mut self, connection: ConnectionId, text: &str) {
        let message = match wire::parse_datagram(text.as_bytes()) {
            Ok(wire::Input::Message(message)) => Ok(message),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        self.endpoint.handle_message(self.now, connection, message, text.as_bytes());
        self.drain();
    }

    pub(crate) fn connect(&mut self, connection: ConnectionId) {
        self.endpoint.handle_connected(connection);
    }

    pub(crate) fn disconnect(&mut self, connection: ConnectionId) {
        self.command(|endpoint, now| endpoint.handle_disconnected(now, connection, "reset"));
    }

    /// Calls the carrier with an offer; four seconds are waited for a provisional.
    pub(crate) fn call(&mut self) -> LegId {
        let leg = self.endpoint.invite(self.now, invite_spec()).unwrap();
        self.drain();
        leg
    }

    /// Calls, and is answered by the tag `far`; every message of it is taken.
    pub(crate) fn answered_call(&mut self) -> (LegId, Message) {
        let leg = self.call();
        let invite = self.expect("INVITE");
        self.send(&invite.reply("200 OK", "far", OFFER));
        self.expect("ACK");
        self.tells(&["answered with a body"]);
        (leg, invite)
    }

    /// The far end sends something from the carrier's address.
    pub(crate) fn send(&mut self, text: &str) {
        self.send_from(CARRIER, text);
    }

    pub(crate) fn send_from(&mut self, from: &str, text: &str) {
        self.endpoint.handle_datagram(self.now, LocalId(0), address(from), text.as_bytes());
        self.drain();
    }

    /// The next message that was sent; it begins so.
    pub(crate) fn expect(&mut self, start: &str) -> Message {
        self.expect_to(CARRIER, start)
    }

    pub(crate) fn expect_to(&mut self, to: &str, start: &str) -> Message {
        let (transmit, message) =
            self.sent.pop_front().unwrap_or_else(|| panic!("expected {start}, nothing was sent"));
        assert!(
            message.0.trim_start_matches("SIP/2.0 ").starts_with(start),
            "expected {start}, was sent:\n{}",
            message.0
        );
        assert_eq!(transmit.remote, address(to), "where {start} went");
        (self.over, self.is_last) = (transmit.connection, transmit.is_last);
        message
    }

    #[track_caller]
    pub(crate) fn expect_nothing(&self) {
        let starts: Vec<_> = self.sent.iter().map(|(_, m)| m.start()).collect();
        assert!(self.sent.is_empty(), "nothing was expected, but sent was {starts:?}");
    }

    /// Whether nothing waits to be taken.
    pub(crate) fn is_silent(&self) -> bool {
        self.sent.is_empty()
    }

    /// Time passes; whatever is due happens at its time.
    pub(crate) fn after(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// A command of the owner.
    pub(crate) fn command(&mut self, command: impl FnOnce(&mut Endpoint, Instant)) {
        command(&mut self.endpoint, self.now);
        self.drain();
    }

    pub(crate) fn hang_up(&mut self, leg: LegId) {
        self.command(|endpoint, now| endpoint.hang_up(now, leg, None));
    }

    /// What the owner was told since it was asked last, ladder rows apart.
    #[track_caller]
    pub(crate) fn tells(&mut self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut self.told), expected, "what the owner is told");
    }

    /// Everything that waits to be sent is lost.
    pub(crate) fn lose(&mut self) -> usize {
        std::mem::take(&mut self.sent).len()
    }

    /// What was sent, by its start, and is now taken.
    pub(crate) fn take_starts(&mut self) -> Vec<String> {
        self.sent.drain(..).map(|(_, message)| message.start()).collect()
    }

    /// Nothing is left over, at the latest when all timers have run out.
    #[track_caller]
    pub(crate) fn ends_with_nothing_left(mut self) {
        self.after(200_000);
        assert_eq!(self.endpoint.stats(), Stats::default(), "what is left over");
        assert_eq!(self.endpoint.poll_timeout(), None);
    }

    fn drain(&mut self) {
        while let Some(dial) = self.endpoint.poll_dial() {
            self.dials.push(dial);
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let text = String::from_utf8(transmit.data.to_vec()).unwrap();
            self.sent.push_back((transmit, Message(text)));
        }
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Leg(_, LegEvent::Ladder(row)) => {
                    let arrow = if row.outgoing { "->" } else { "<-" };
                    let again = if row.retransmission { " again" } else { "" };
                    self.rows.push(format!("{arrow} {} {}{again}", row.summary, row.cseq));
                }
                Event::Leg(_, event) => {
                    if let LegEvent::Answered { dialog, .. } = &event {
                        self.answers.push(dialog.to_string());
                    }
                    self.told.push(describe(&event));
                }
                Event::Incoming { leg, call } => {
                    self.legs.push(leg);
                    self.calls.push(*call);
                }
                Event::Options { id, result } => self.options.push((id, result)),
                Event::Registration { state, .. } => self.told.push(match state {
                    RegistrationState::Unreachable(why) => format!("unreachable: {why}"),
                    RegistrationState::Refused { status, .. } => format!("refused {status}"),
                    state => format!("{state:?}").to_ascii_lowercase(),
                }),
            }
        }
    }
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap()
}

pub(crate) fn identity() -> Identity {
    Identity {
        call_id: "call-1".to_owned(),
        from_tag: "our-tag".to_owned(),
        branch: "z9hG4bKours".to_owned(),
        cseq: 10,
    }
}

pub(crate) fn invite_spec() -> InviteSpec {
    InviteSpec {
        identity: identity(),
        request_uri: uri("sip:004912345@192.0.2.9"),
        from: NameAddr::from(uri("sip:1000@192.0.2.1")),
        to: NameAddr::from(uri("sip:004912345@192.0.2.9")),
        remote: address(CARRIER),
        transport: Transport::Udp,
        tls_name: None,
        large_over_tcp: false,
        headers: Vec::new(),
        body: Some(Body::sdp("v=0\r\n")),
        no_answer_timeout: Duration::from_secs(4),
        peers: Vec::new(),
        credentials: None,
    }
}

fn describe(event: &LegEvent) -> String {
    let with = |body: &Option<Body>| if body.is_some() { " with a body" } else { "" };
    match event {
        LegEvent::Trying => "trying".to_owned(),
        LegEvent::Provisional { status, body, .. } => format!("{status}{}", with(body)),
        LegEvent::Answered { body, .. } => format!("answered{}", with(body)),
        LegEvent::Refused { status, q850: Some(cause), .. } => {
            format!("refused {status} ({cause})")
        }
        LegEvent::Refused { status, .. } => format!("refused {status}"),
        LegEvent::NoAnswer(Failure::Timeout) => "no answer".to_owned(),
        LegEvent::NoAnswer(Failure::Transport(_)) => "not delivered".to_owned(),
        LegEvent::Offer { offer, method } => format!("{method} offers{}", with(offer)),
        LegEvent::OfferAnswered { body } => format!("offer answered{}", with(body)),
        LegEvent::Info(press) => format!("digit {} {:?}", press.digit, press.duration_ms),
        LegEvent::Confirmed => "confirmed".to_owned(),
        LegEvent::Cancelled { .. } => "cancelled".to_owned(),
        LegEvent::Ended(Ended::Far { q850: Some(cause) }) => format!("ended by far end ({cause})"),
        LegEvent::Ended(Ended::Far { q850: None }) => "ended by far end".to_owned(),
        LegEvent::Ended(Ended::NoAck) => "no ACK".to_owned(),
        LegEvent::Ended(Ended::Lost) => "lost".to_owned(),
        LegEvent::Ended(Ended::Expired) => "session expired".to_owned(),
        LegEvent::Ladder(_) => "ladder".to_owned(),
        LegEvent::Closed => "closed".to_owned(),
    }
}

impl Message {
    pub(crate) fn start(&self) -> String {
        self.0.lines().next().unwrap_or_default().trim_start_matches("SIP/2.0 ").to_owned()
    }

    /// All values of a header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let head = self.0.split("\r\n\r\n").next().unwrap_or_default();
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
            .collect()
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.all(name).into_iter().next().unwrap_or_else(|| panic!("no {name} in\n{}", self.0))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }

    pub(crate) fn branch(&self) -> String {
        let via = self.header("Via");
        let at = via.find("branch=").unwrap() + 7;
        via[at..].split(';').next().unwrap().to_owned()
    }

    pub(crate) fn cseq(&self) -> u32 {
        self.header("CSeq").split(' ').next().unwrap().parse().unwrap()
    }

    /// A response to it, as the carrier writes one: with Contact, and a body if one is given.
    pub(crate) fn reply(&self, status: &str, tag: &str, body: &str) -> String {
        self.reply_with(status, tag, "Contact: <sip:bob@192.0.2.9>\r\n", body)
    }

    /// A response to it with these further headers.
    pub(crate) fn reply_with(&self, status: &str, tag: &str, headers: &str, body: &str) -> String {
        let to = self.header("To");
        let to = match tag {
            _ if to.contains(";tag=") => to,
            "" => to,
            tag => format!("{to};tag={tag}"),
        };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             {headers}{kind}Content-Length: {}\r\n\r\n{body}",
            self.header("Via"),
            self.header("From"),
            self.header("Call-ID"),
            self.header("CSeq"),
            body.len(),
        )
    }

    /// A request of the called party in the dialog of this INVITE of ours.
    pub(crate) fn far_request(
        &self,
        method: &str,
        cseq: u32,
        tag: &str,
        headers: &str,
        body: &str,
    ) -> String {
        self.far_request_from(CARRIER, method, cseq, tag, headers, body)
    }

    pub(crate) fn far_request_from(
        &self,
        from: &str,
        method: &str,
        cseq: u32,
        tag: &str,
        headers: &str,
        body: &str,
    ) -> String {
        let kind = if body.is_empty() || headers.contains("Content-Type") {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} sip:192.0.2.1:5060 SIP/2.0\r\n\
             Via: SIP/2.0/UDP {from};branch=z9hG4bKfar{cseq}{method};rport\r\n\
             Max-Forwards: 70\r\nFrom: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:bob@192.0.2.9:5060>\r\n\
             {headers}{kind}Content-Length: {}\r\n\r\n{body}",
            self.header("To"),
            self.header("From"),
            self.header("Call-ID"),
            body.len(),
        )
    }
}

/// An INVITE of the carrier, to us.
pub(crate) fn far_invite(body: &str) -> String {
    far_invite_with("", body)
}

pub(crate) fn far_invite_with(headers: &str, body: &str) -> String {
    let kind = if body.is_empty() || headers.contains("Content-Type") {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "INVITE sip:4930@192.0.2.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKin1;rport\r\n\
         Max-Forwards: 70\r\nFrom: \"A\" <sip:alice@192.0.2.9>;tag=alice\r\n\
         To: <sip:4930@192.0.2.1>\r\nCall-ID: in-1\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:alice@192.0.2.9:5060>\r\n{headers}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len(),
    )
}

/// A request of the carrier in the dialog that an answer of ours made.
pub(crate) fn in_call(
    answer: &Message,
    method: &str,
    cseq: u32,
    headers: &str,
    body: &str,
) -> String {
    let kind = if body.is_empty() || headers.contains("Content-Type") {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} sip:192.0.2.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKin{cseq}{method}x;rport\r\n\
         Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: in-1\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:alice@192.0.2.9:5060>\r\n{headers}{kind}Content-Length: {}\r\n\r\n{body}",
        answer.header("From"),
        answer.header("To"),
        body.len(),
    )
}
