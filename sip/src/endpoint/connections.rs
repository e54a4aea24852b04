//! Connections (RFC 3261 §18): which one a message takes, when one is dialled, and what becomes of
//! requests whose connection is lost. It refuses to know sockets: connections are numbers here,
//! opened and closed by the driver.
#![warn(clippy::indexing_slicing)]

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Endpoint;
use super::config::{ConnectionId, Dial, LocalId, Transmit};
use super::table::Path;
use crate::limits::{CONNECT_TIMEOUT, MAX_DIALLED, OPTIONAL_CONNECT_TIMEOUT};
use crate::message::{Message, Transport};
use crate::wire;

/// What a message travels on; a client transaction is told if it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flow {
    /// Datagrams to an address.
    Datagrams(SocketAddr),
    /// A connection.
    Connection(ConnectionId),
}

/// The connections that live.
#[derive(Debug, Default)]
pub(super) struct Connections {
    all: BTreeMap<ConnectionId, Connection>,
    /// Those that we dialled: one an address and name.
    dialled: HashMap<Route, ConnectionId>,
    next_id: u64,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) local: LocalId,
    pub(super) remote: SocketAddr,
    /// By what it is found again; `None`: the far end opened it.
    route: Option<Route>,
    /// Messages are known to have a way: it was accepted, or the far end has taken it.
    pub(super) is_open: bool,
}

/// A connection proves one name: for another one there is another connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Route {
    local: LocalId,
    remote: SocketAddr,
    name: Option<Arc<str>>,
}

impl Route {
    fn of(path: &Path) -> Self {
        Self { local: path.local, remote: path.remote, name: path.name.clone() }
    }
}

impl Connections {
    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.all.get(&id)
    }

    /// Whether messages are known to have a way there.
    pub(super) fn is_open(&self, flow: Flow) -> bool {
        match flow {
            Flow::Datagrams(_) => false,
            Flow::Connection(id) => self.get(id).is_some_and(|connection| connection.is_open),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The one that a message on this path takes, if there is one.
    pub(super) fn find(&self, path: &Path) -> Option<ConnectionId> {
        let own = path.connection.filter(|id| self.all.contains_key(id));
        own.or_else(|| self.dialled.get(&Route::of(path)).copied())
    }

    fn add(&mut self, local: LocalId, remote: SocketAddr, route: Option<Route>) -> ConnectionId {
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        if let Some(route) = &route {
            self.dialled.insert(route.clone(), id);
        }
        let is_open = route.is_none();
        self.all.insert(id, Connection { local, remote, route, is_open });
        id
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let gone = self.all.remove(&id)?;
        if let Some(route) = &gone.route {
            self.dialled.remove(route);
        }
        Some(gone)
    }
}

impl Endpoint {
    /// Somebody opened a connection to one of our sockets.
    pub fn handle_accepted(&mut self, local: LocalId, remote: SocketAddr) -> ConnectionId {
        self.counters.accepted_connections += 1;
        self.connections.add(local, remote, None)
    }

    /// A connection was not taken, for want of room.
    pub fn handle_refused_connection(&mut self) {
        self.counters.refused_connections += 1;
    }

    /// A connection that was dialled is open.
    pub fn handle_connected(&mut self, connection: ConnectionId) {
        if let Some(connection) = self.connections.all.get_mut(&connection) {
            connection.is_open = true;
        }
    }

    /// A message that came over a connection, or why it was refused; `data` are its octets.
    pub fn handle_message(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        message: Result<Message, wire::Error>,
        data: &[u8],
    ) {
        let Some(Connection { local, remote, .. }) = self.connections.get(connection) else {
            return; // what was read before it was closed
        };
        let (local, remote) = (*local, *remote);
        self.counters.received += 1;
        let path = Path { connection: Some(connection), ..Path::new(local, remote) };
        match message {
            Ok(Message::Request(request)) => self.handle_request(now, path, request, data),
            Ok(Message::Response(response)) => self.handle_response(now, &path, response, data),
            Err(error) => self.malformed(path, &error),
        }
    }

    /// A keep-alive came; the driver has answered it.
    pub fn handle_keep_alive(&mut self) {
        self.counters.keep_alives += 1;
    }

    /// A connection is closed, or could not be opened. Requests that have no answer yet are sent
    /// once more where the connection had stood before them (it may have been closed as they were
    /// written); others fail at once, so that the next trunk can be tried. Those that had a
    /// provisional wait: their answer may come over another connection.
    pub fn handle_disconnected(&mut self, now: Instant, connection: ConnectionId, error: &str) {
        let Some(gone) = self.connections.remove(connection) else { return };
        let clients = self.clients_on.remove(&Flow::Connection(connection)).unwrap_or_default();
        if !clients.is_empty() {
            self.counters.transport_errors += 1;
        }
        for id in clients {
            self.client_disconnected(now, id, gone.is_open, error);
        }
    }

    fn client_disconnected(&mut self, now: Instant, id: u64, was_open: bool, error: &str) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.flow = None;
        if !client.machine.is_unanswered() {
            return;
        }
        if !was_open && self.fall_back(now, id) {
            return;
        }
        let Some(client) = self.clients.get(id) else { return };
        if client.may_repeat {
            let data = client.machine.request().to_bytes();
            if self.client_send(now, id, data) {
                if let Some(client) = self.clients.get_mut(id) {
                    client.may_repeat = false;
                }
                return;
            }
        }
        self.client_transport_error(now, id, error);
    }

    /// The connections that calls or requests go over: they are not to be closed as idle.
    pub fn connections_in_use(&self) -> HashSet<ConnectionId> {
        let legs = self.legs.values().filter(|entry| !entry.leg.common.is_closed);
        let of_legs =
            legs.filter_map(|entry| self.connections.find(&Path::of_link(&entry.leg.common.link)));
        let of_clients = self.clients_on.keys().filter_map(|flow| match flow {
            Flow::Connection(id) => Some(*id),
            Flow::Datagrams(_) => None,
        });
        of_legs.chain(of_clients).collect()
    }

    /// The next connection to open; ask before [`poll_transmit`](Self::poll_transmit).
    pub fn poll_dial(&mut self) -> Option<Dial> {
        self.dials.pop_front()
    }

    /// Sends on a path, over its connection where it needs one, which is dialled if there is
    /// none. `None`: there is no room for one more.
    pub(super) fn send(&mut self, path: &Path, data: Bytes) -> Option<Flow> {
        self.send_within(path, data, CONNECT_TIMEOUT)
    }

    pub(super) fn send_within(
        &mut self,
        path: &Path,
        data: Bytes,
        within: Duration,
    ) -> Option<Flow> {
        let transport = self.transport_of(path.local);
        let (flow, remote) = if transport.is_reliable() {
            let id = match self.connections.find(path) {
                Some(id) => id,
                None => self.dial(path, transport, within)?,
            };
            (Flow::Connection(id), self.connections.get(id)?.remote)
        } else {
            (Flow::Datagrams(path.remote), path.remote)
        };
        let connection = match flow {
            Flow::Connection(id) => Some(id),
            Flow::Datagrams(_) => None,
        };
        self.counters.sent += 1;
        let local = path.local;
        self.transmits.push_back(Transmit { local, remote, connection, is_last: false, data });
        Some(flow)
    }

    /// Sends a client transaction's message; false if there is no way.
    pub(super) fn client_send(&mut self, now: Instant, id: u64, data: Bytes) -> bool {
        let Some(client) = self.clients.get(id) else { return false };
        let (path, leg, before) = (client.path.clone(), client.user.leg(), client.flow);
        let within = match client.or_else {
            Some(_) => OPTIONAL_CONNECT_TIMEOUT,
            None => CONNECT_TIMEOUT,
        };
        if let Some(leg) = leg {
            self.ladder(now, leg, true, &data);
        }
        let Some(flow) = self.send_within(&path, data, within) else { return false };
        if before != Some(flow) {
            self.leave_flow(id, before);
            self.clients_on.entry(flow).or_default().insert(id);
            let is_open = self.connections.is_open(flow);
            if let Some(client) = self.clients.get_mut(id) {
                client.flow = Some(flow);
                client.may_repeat = is_open;
            }
        }
        true
    }

    pub(super) fn leave_flow(&mut self, id: u64, flow: Option<Flow>) {
        if let Some(flow) = flow
            && let Entry::Occupied(mut entry) = self.clients_on.entry(flow)
        {
            entry.get_mut().remove(&id);
            if entry.get().is_empty() {
                entry.remove();
            }
        }
    }

    /// Sends an answer that keeps no state: for it no connection is opened.
    pub(super) fn send_if_open(&mut self, path: &Path, data: Bytes) -> bool {
        let needs_connection = self.transport_of(path.local).is_reliable();
        if needs_connection && self.connections.find(path).is_none() {
            return false;
        }
        self.send(path, data).is_some()
    }

    /// The same to whom nothing more is to be said: its connection is closed.
    pub(super) fn send_last(&mut self, path: &Path, data: Bytes) {
        if self.send_if_open(path, data)
            && let Some(transmit) = self.transmits.back_mut()
        {
            transmit.is_last = transmit.connection.is_some();
        }
    }

    fn dial(
        &mut self,
        path: &Path,
        transport: Transport,
        within: Duration,
    ) -> Option<ConnectionId> {
        if self.connections.dialled.len() >= MAX_DIALLED {
            self.counters.overload += 1;
            return None;
        }
        self.counters.dialled_connections += 1;
        let (local, remote, name) = (path.local, path.remote, path.name.clone());
        let connection = self.connections.add(local, remote, Some(Route::of(path)));
        self.dials.push_back(Dial { connection, local, transport, remote, name, within });
        Some(connection)
    }

    pub(super) fn transport_of(&self, local: LocalId) -> Transport {
        let found = self.locals.iter().find(|known| known.id == local);
        found.map_or(Transport::Udp, |local| local.transport)
    }
}
