//! What a leg may use while it handles an input, and what it wants done.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use super::event::LegEvent;
use super::spec::branch;
use crate::endpoint::{ConnectionId, LocalId};
use crate::message::{
    HeaderName, HeaderValue, Headers, NameAddr, Request, Response, Scheme, Transport, Uri, Via,
};
use crate::timer::TimerConfig;
use crate::transaction::ServerKey;

/// What a leg wants done, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Tell the owner.
    Event(LegEvent),
    /// Start the INVITE client transaction.
    Invite { request: Request, timer_b: Duration },
    /// Start a client transaction other than that of the INVITE that makes the leg; its end comes
    /// back with `purpose`.
    Transact { request: Request, remote: Hop, purpose: Purpose },
    /// Send outside of any transaction: the ACK of a 2xx.
    Send { request: Request, remote: Hop },
    /// Answer a request by its server transaction.
    Respond { key: ServerKey, response: Response },
    /// The INVITE client transaction has no more use: whatever comes is answered by the leg.
    DropInvite,
}

/// Why a request of ours was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To take back an INVITE.
    Cancel,
    /// To end the leg.
    Bye,
    /// To end a dialog that nobody wants: a fork, or an answer after a hang-up.
    StrayBye,
    /// To carry a digit.
    Info,
    /// To take a reliable provisional.
    Prack,
    /// To keep the session alive: an UPDATE, or a re-INVITE.
    Refresh,
}

/// What a leg may use while it handles an input.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) timers: &'a TimerConfig,
    /// [`EndpointConfig::hold_ack`](crate::endpoint::EndpointConfig::hold_ack).
    pub(crate) hold_ack: Duration,
    /// [`EndpointConfig::reliable_provisionals`](crate::endpoint::EndpointConfig::reliable_provisionals).
    pub(crate) reliable_provisionals: bool,
    pub(crate) rng: &'a mut StdRng,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Context<'_> {
    pub(crate) fn tell(&mut self, event: LegEvent) {
        self.out.push(Effect::Event(event));
    }
}

/// Where a request goes, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) transport: Transport,
    pub(crate) remote: SocketAddr,
}

/// Between which addresses a leg's messages go.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) local: LocalId,
    pub(crate) transport: Transport,
    /// Where the far end was reached last.
    pub(crate) remote: SocketAddr,
    /// What our Via and Contact carry.
    pub(crate) advertised: SocketAddr,
    /// The transport that our Contact asks for, where it is not UDP.
    pub(crate) contact: Option<Transport>,
    /// The call is to be secure on its whole way: our Contact is `sips:` too (RFC 3261 §8.1.1.8).
    pub(crate) is_sips: bool,
    /// What the far end's certificate must prove (TLS).
    pub(crate) name: Option<Arc<str>>,
    /// The connection that the far end called by; its own requests go back over it.
    pub(crate) connection: Option<ConnectionId>,
    /// A request that is too large for UDP may go over TCP (§18.1.1).
    pub(crate) large_over_tcp: bool,
}

impl Link {
    /// Completes a request of ours: Via with `rport` (RFC 3581 §3) first, then Max-Forwards.
    pub(crate) fn stamp(&self, request: &mut Request, branch: &str) {
        request.headers.prepend(HeaderName::MAX_FORWARDS, MAX_FORWARDS);
        request.headers.prepend(HeaderName::VIA, self.via(branch));
    }

    /// As [`stamp`](Self::stamp), with a new branch.
    pub(crate) fn stamp_new(&self, request: &mut Request, cx: &mut Context<'_>) {
        let branch = branch(cx.rng);
        self.stamp(request, &branch);
    }

    fn via(&self, branch: &str) -> Via {
        let (host, port) = (self.advertised.ip().into(), Some(self.advertised.port()));
        Via::new(self.transport, host, port, branch)
    }

    /// Our Contact: where the far end's requests in this dialog go.
    pub(crate) fn contact(&self, headers: &mut Headers) {
        let mut uri = Uri::at(None, self.advertised);
        if self.is_sips {
            uri.scheme = Scheme::Sips;
        } else if let Some(transport) = self.contact {
            uri.params.set("transport", &transport.as_str().to_ascii_lowercase());
        }
        headers.push(HeaderName::CONTACT, NameAddr::from(uri));
    }

    /// Where the far end was reached.
    pub(crate) fn hop(&self) -> Hop {
        Hop { transport: self.transport, remote: self.remote }
    }

    /// Where a request with this next hop goes. A literal address is taken as it is, unless it is
    /// a private one behind a public far end (a NAT): then, and for names, the far end is
    /// answered where it was reached (symmetric signalling). So it is where the next hop is the
    /// far end's address and does not say over what it wants to be reached: many that take calls
    /// over a connection leave that out. A call over TLS stays on TLS.
    pub(crate) fn resolve(&self, next_hop: &Uri) -> Hop {
        let built = |transport: &Transport| match transport {
            Transport::Tls => true,
            Transport::Udp | Transport::Tcp => self.transport != Transport::Tls,
            _ => false,
        };
        let asked = next_hop.transport();
        let Some(ip) = next_hop.host.ip().filter(|_| asked.as_ref().is_none_or(built)) else {
            return self.hop();
        };
        let unreachable = is_private(ip) && !is_private(self.remote.ip());
        let is_unsaid = asked.is_none() && self.transport.is_reliable() && ip == self.remote.ip();
        if unreachable || is_unsaid || ip.is_ipv4() != self.remote.is_ipv4() {
            return self.hop();
        }
        let transport = asked.unwrap_or(self.transport);
        let port = next_hop.port.unwrap_or(transport.default_port());
        Hop { transport, remote: SocketAddr::new(ip, port) }
    }
}

/// Max-Forwards of a new request (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: u32 = 70;

/// Not reachable from the public network (RFC 1918, 4193, 6598, loopback, link-local, none).
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.to_bits() >> 22 == 0x191 // 100.64.0.0/10, shared by carriers
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
        }
    }
}

/// A Reason header of a call that is ended by us (RFC 3326).
pub(crate) fn push_reason(headers: &mut Headers, reason: Option<&HeaderValue>) {
    if let Some(reason) = reason {
        headers.push(HeaderName::REASON, reason.clone());
    }
}
