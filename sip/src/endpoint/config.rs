//! What an endpoint is told once, and the small values that go in and out of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::network::Network;
use crate::auth::Credentials;
use crate::invite::{Failure, IncomingCall, LegEvent, LegId};
use crate::message::{NameAddr, Transport, Uri};
use crate::register::RegistrationState;
use crate::timer::TimerConfig;

/// What an endpoint is told once.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// User-Agent of our requests; no control characters.
    pub user_agent: String,
    /// T1, T2, T4.
    pub timers: TimerConfig,
    /// How long the ACK of an answer waits for [`Endpoint::acknowledge`](super::Endpoint::acknowledge)
    /// at most: until the owner has noted the dialog, so that no answered call is left alone should
    /// the process die. Shorter than T1, or the far end repeats its answer; 0: it goes at once.
    pub hold_ack: Duration,
    /// The session's interval that our INVITEs ask for, in seconds (RFC 4028), 90 at least. 1 800.
    pub session_interval: u32,
    /// Whether our provisionals are reliable (RFC 3262) to callers that only support it too, not
    /// only to those that require it. No: each costs two messages more.
    pub reliable_provisionals: bool,
    /// Where branches, tags and Retry-After come from: secret outside of tests.
    pub seed: u64,
    /// Whether calls from trusted addresses are taken ([`Event::Incoming`]); otherwise 403.
    pub accept_calls: bool,
    /// Legs that may exist at once, ended ones that still absorb repetitions included.
    pub max_legs: usize,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            user_agent: concat!("Kaphila/", env!("CARGO_PKG_VERSION")).to_owned(),
            timers: TimerConfig::default(),
            hold_ack: Duration::ZERO,
            session_interval: 1_800,
            reliable_provisionals: false,
            seed: 0,
            accept_calls: true,
            max_legs: crate::limits::MAX_LEGS,
        }
    }
}

/// One bound socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalId(pub u16);

/// The address that a socket's Via and Contact carry.
pub enum Advertised {
    /// The same towards everybody: the bound address, or the public one before a NAT.
    Fixed(SocketAddr),
    /// Of a socket bound to every address: the one that the route to a remote begins with, found
    /// by the driver.
    ByRoute {
        /// The bound port.
        port: u16,
        /// The own address towards a remote one.
        address: Box<dyn FnMut(IpAddr) -> IpAddr + Send>,
    },
}

impl fmt::Debug for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(address) => f.debug_tuple("Fixed").field(address).finish(),
            Self::ByRoute { port, .. } => f.debug_tuple("ByRoute").field(port).finish(),
        }
    }
}

/// A connection of TCP or TLS; its number is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A connection to open. What goes over it waits until it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Its number.
    pub connection: ConnectionId,
    /// From which socket's address.
    pub local: LocalId,
    /// TCP or TLS.
    pub transport: Transport,
    /// To whom.
    pub remote: SocketAddr,
    /// What the far end's certificate must prove (TLS).
    pub name: Option<Arc<str>>,
    /// Given up after this long.
    pub within: Duration,
}

/// Bytes to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From which socket.
    pub local: LocalId,
    /// To whom.
    pub remote: SocketAddr,
    /// Over which connection; without one it is a datagram.
    pub connection: Option<ConnectionId>,
    /// The connection is closed after it.
    pub is_last: bool,
    /// One message.
    pub data: Bytes,
}

/// What the endpoint tells.
#[derive(Clone, Debug)]
pub enum Event {
    /// Something happened on a leg.
    Leg(LegId, LegEvent),
    /// A call came in; the leg's events follow.
    Incoming {
        /// Its new leg.
        leg: LegId,
        /// Who calls whom.
        call: Box<IncomingCall>,
    },
    /// The answer to [`options`](super::Endpoint::options).
    Options {
        /// Which.
        id: OptionsId,
        /// The final status, or why there was none.
        result: Result<u16, Failure>,
    },
    /// A [registration](super::Endpoint::register) has changed.
    Registration {
        /// Which.
        id: RegistrationId,
        /// What it is now.
        state: RegistrationState,
    },
}

/// A registration that is kept up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationId(pub u64);

/// An OPTIONS that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OptionsId(pub u64);

/// Whom to ask whether it is there.
#[derive(Clone, Debug)]
pub struct OptionsSpec {
    /// Request-URI and To.
    pub uri: Uri,
    /// From, without a tag.
    pub from: NameAddr,
    /// Where it goes.
    pub remote: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// As [`InviteSpec::tls_name`](crate::invite::InviteSpec::tls_name).
    pub tls_name: Option<String>,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// Who we are to the trunk, should it ask.
    pub credentials: Option<Arc<Credentials>>,
}

/// An INVITE or OPTIONS that cannot be sent. All are the caller's fault but `Full`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// There is no socket of this transport and address family.
    #[error("no local socket for {transport:?} to {remote}")]
    NoLocal {
        /// As asked for.
        transport: Transport,
        /// As asked for.
        remote: SocketAddr,
    },
    /// A header that the stack writes itself.
    #[error("the header {0} is written by the stack")]
    ReservedHeader(String),
    /// Call-ID and tag are those of a leg that lives.
    #[error("this identity is in use")]
    IdentityInUse,
    /// A value of the specification cannot be written in a header.
    #[error("unusable value: {0}")]
    Unusable(String),
    /// `max_legs` legs exist.
    #[error("too many legs")]
    Full,
}

/// What lives in an endpoint: all zero once everything is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Legs, ended ones that still absorb repetitions included.
    pub legs: usize,
    /// Legs that have not reported [`LegEvent::Closed`].
    pub open_legs: usize,
    /// Client transactions.
    pub client_transactions: usize,
    /// Server transactions.
    pub server_transactions: usize,
    /// OPTIONS waited for.
    pub options: usize,
    /// Connections, those that are being opened included.
    pub connections: usize,
    /// Registrations kept up.
    pub registrations: usize,
}

/// Whether a source is one of `networks`.
pub(super) fn is_trusted(networks: &[Network], source: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(source))
}
