//! The transactions of an endpoint: found by key, named by a number that is never used again.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{ConnectionId, LocalId, OptionsId, RegistrationId};
use super::connections::Flow;
use crate::auth::Tries;
use crate::invite::{LegId, Link, Purpose};
use crate::message::{Request, Response};
use crate::transaction::{
    Action, ClientInvite, ClientNonInvite, Outcome, ServerInvite, ServerNonInvite,
};

/// Transactions by key.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    ids: HashMap<K, u64>,
    entries: HashMap<u64, (K, V)>,
    next_id: u64,
}

impl<K: Clone + Eq + Hash, V> Table<K, V> {
    pub(super) fn new() -> Self {
        Self { ids: HashMap::new(), entries: HashMap::new(), next_id: 0 }
    }

    pub(super) fn insert(&mut self, key: K, value: V) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.ids.insert(key.clone(), id);
        self.entries.insert(id, (key, value));
        id
    }

    pub(super) fn find(&self, key: &K) -> Option<u64> {
        self.ids.get(key).copied()
    }

    pub(super) fn get(&self, id: u64) -> Option<&V> {
        self.entries.get(&id).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut V> {
        self.entries.get_mut(&id).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<V> {
        let (key, value) = self.entries.remove(&id)?;
        if self.ids.get(&key) == Some(&id) {
            self.ids.remove(&key);
        }
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// From which socket to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) local: LocalId,
    pub(super) remote: SocketAddr,
    /// What the far end's certificate must prove (TLS).
    pub(super) name: Option<Arc<str>>,
    /// The connection that is taken while it lives; else one to `remote`.
    pub(super) connection: Option<ConnectionId>,
}

impl Path {
    pub(super) fn new(local: LocalId, remote: SocketAddr) -> Self {
        Self { local, remote, name: None, connection: None }
    }

    /// To where the far end of a leg was reached.
    pub(super) fn of_link(link: &Link) -> Self {
        let Link { local, remote, connection, .. } = *link;
        Self { local, remote, name: link.name.clone(), connection }
    }
}

/// A request of ours.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) machine: ClientMachine,
    pub(super) user: ClientUser,
    pub(super) path: Path,
    /// How it went last.
    pub(super) flow: Option<Flow>,
    /// Its connection had stood before it: should that be lost, it is sent once more.
    pub(super) may_repeat: bool,
    /// By UDP, if TCP, which it was too large for, cannot be had; and timer B.
    pub(super) or_else: Option<(Path, Duration)>,
    pub(super) how: How,
    /// Where its last answer came from.
    pub(super) answered_from: Option<SocketAddr>,
}

impl Client {
    pub(super) fn new(machine: ClientMachine, user: ClientUser, path: Path) -> Self {
        Self {
            machine,
            user,
            path,
            flow: None,
            may_repeat: false,
            or_else: None,
            how: How::default(),
            answered_from: None,
        }
    }
}

/// How a request of ours was begun, and is once more after a challenge.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct How {
    /// Timer B of an INVITE; of no other request.
    pub(super) timer_b: Option<Duration>,
    /// It may go over TCP if it is too large for UDP.
    pub(super) is_large_ok: bool,
    /// Its challenges that were answered.
    pub(super) tries: Tries,
}

/// Who waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientUser {
    /// The leg whose INVITE it is.
    Invite(LegId),
    /// A leg.
    Leg(LegId, Purpose),
    /// [`options`](super::Endpoint::options).
    Options(OptionsId),
    /// [`register`](super::Endpoint::register).
    Registration(RegistrationId),
    /// Its challenge was answered by another request; the leg sees it in its ladder.
    Nobody(Option<LegId>),
}

impl ClientUser {
    pub(super) fn leg(self) -> Option<LegId> {
        match self {
            Self::Invite(leg) | Self::Leg(leg, _) => Some(leg),
            Self::Nobody(leg) => leg,
            Self::Options(_) | Self::Registration(_) => None,
        }
    }
}

/// Either client machine.
#[derive(Debug)]
pub(super) enum ClientMachine {
    Invite(ClientInvite),
    Other(ClientNonInvite),
}

impl ClientMachine {
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        response: Response,
        out: &mut Vec<Action>,
    ) -> Outcome {
        match self {
            Self::Invite(machine) => machine.handle_response(now, response, out),
            Self::Other(machine) => machine.handle_response(now, response, out),
        }
    }

    pub(super) fn handle_transport_error(
        &mut self,
        now: Instant,
        out: &mut Vec<Action>,
    ) -> Outcome {
        match self {
            Self::Invite(machine) => machine.handle_transport_error(now, out),
            Self::Other(machine) => machine.handle_transport_error(now, out),
        }
    }

    pub(super) fn request(&self) -> &Request {
        match self {
            Self::Invite(machine) => machine.request(),
            Self::Other(machine) => machine.request(),
        }
    }

    /// Nothing has come.
    pub(super) fn is_unanswered(&self) -> bool {
        match self {
            Self::Invite(machine) => machine.is_calling(),
            Self::Other(machine) => machine.is_trying(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        match self {
            Self::Invite(machine) => machine.handle_timeout(now, out),
            Self::Other(machine) => machine.handle_timeout(now, out),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Invite(machine) => machine.poll_timeout(),
            Self::Other(machine) => machine.poll_timeout(),
        }
    }
}

/// A request of the far end.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) machine: ServerMachine,
    pub(super) leg: LegId,
    /// Where its responses go (RFC 3261 §18.2.2, RFC 3581 §4).
    pub(super) path: Path,
    /// Where it came from: its repetitions come from nowhere else.
    pub(super) source: IpAddr,
    /// Under which it is known as a first request that may come merged.
    pub(super) merge: Option<Merge>,
}

/// What is the same in all copies of one request that a forking proxy made (RFC 3261 §8.2.2.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Merge {
    pub(super) call_id: String,
    pub(super) from_tag: String,
    pub(super) cseq: u32,
}

/// Either server machine.
#[derive(Debug)]
pub(super) enum ServerMachine {
    Invite(ServerInvite),
    Other(ServerNonInvite),
}

impl ServerMachine {
    /// The request came again, or an ACK came to an INVITE.
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        request: Request,
        out: &mut Vec<Action>,
    ) -> Outcome {
        match self {
            Self::Invite(machine) if request.method == crate::message::Method::Ack => {
                machine.handle_ack(now, request, out)
            }
            Self::Invite(machine) => machine.handle_request(now, out),
            Self::Other(machine) => machine.handle_request(now, out),
        }
    }

    pub(super) fn respond(
        &mut self,
        now: Instant,
        response: &Response,
        out: &mut Vec<Action>,
    ) -> Outcome {
        match self {
            Self::Invite(machine) => machine.respond(now, response, out),
            Self::Other(machine) => machine.respond(now, response, out),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        match self {
            Self::Invite(machine) => machine.handle_timeout(now, out),
            Self::Other(machine) => machine.handle_timeout(now, out),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Invite(machine) => machine.poll_timeout(),
            Self::Other(machine) => machine.poll_timeout(),
        }
    }
}
