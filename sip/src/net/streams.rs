//! The driver's connections: which are taken, how many, and what is written to each.
//!
//! It knows listeners, sources, queues and bounds. It refuses to know which connection a message
//! takes: that is [`crate::endpoint`]'s. Start at [`Streams`].
#![allow(clippy::disallowed_methods, reason = "a driver: reads the clock and spawns its tasks")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsConnector;

use super::connection::{Connection, Heard};
use super::dial::{Opening, Source, prepare};
use super::listener::{self, Accepted};
use super::tls::Tls;
use crate::endpoint::{ConnectionId, Dial, Endpoint, LocalId};
use crate::limits::{
    CLOSE_TIMEOUT, IDLE_TIMEOUT, MAX_ACCEPTED_OF_STRANGER, MAX_ACCEPTED_OF_TRUSTED, MAX_ARRIVALS,
    MAX_WRITE_QUEUE, MAX_WRITE_QUEUE_OCTETS,
};
use crate::message::Transport;

/// The connections of a driver.
pub(super) struct Streams {
    tls: Tls,
    dscp: u8,
    /// Connections that one listener holds.
    limit: usize,
    open: BTreeMap<ConnectionId, Open>,
    listeners: HashMap<LocalId, Listener>,
    /// How many each source has.
    sources: HashMap<IpAddr, usize>,
    /// From where connections are opened.
    ways: HashMap<LocalId, Source>,
    /// Ports that our connections come from.
    reserved: Vec<TcpSocket>,
    tasks: JoinSet<()>,
    /// Those of the tasks that accept connections.
    accepting: Vec<AbortHandle>,
    heard: mpsc::Sender<(ConnectionId, Heard)>,
    accepted: mpsc::Sender<Accepted>,
}

/// What waits for the driver.
pub(super) struct Arrivals {
    pub(super) heard: mpsc::Receiver<(ConnectionId, Heard)>,
    pub(super) accepted: mpsc::Receiver<Accepted>,
}

/// One that is open, or being opened.
struct Open {
    queue: mpsc::Sender<Bytes>,
    queued: Arc<AtomicUsize>,
    /// By which it came, and from where.
    came: Option<(LocalId, IpAddr)>,
    /// When the far end was heard last.
    last_heard: Instant,
}

#[derive(Default)]
struct Listener {
    is_tls: bool,
    count: usize,
    /// Those that make room for trunks, the oldest first.
    strangers: BTreeSet<ConnectionId>,
}

impl Streams {
    pub(super) fn new(tls: Tls, dscp: u8, limit: usize) -> (Self, Arrivals) {
        let (heard, heard_queue) = mpsc::channel(MAX_ARRIVALS);
        let (accepted, accepted_queue) = mpsc::channel(MAX_ARRIVALS);
        let streams = Self {
            tls,
            dscp,
            limit,
            open: BTreeMap::new(),
            listeners: HashMap::new(),
            sources: HashMap::new(),
            ways: HashMap::new(),
            reserved: Vec::new(),
            tasks: JoinSet::new(),
            accepting: Vec::new(),
            heard,
            accepted,
        };
        (streams, Arrivals { heard: heard_queue, accepted: accepted_queue })
    }

    /// Accepts connections; ours come from the same address.
    pub(super) fn listen(
        &mut self,
        local: LocalId,
        transport: Transport,
        listener: TcpListener,
        ip: IpAddr,
    ) {
        let is_tls = transport == Transport::Tls;
        self.listeners.insert(local, Listener { is_tls, ..Listener::default() });
        self.open_from(local, ip);
        let accepting = listener::accept(local, listener, self.accepted.clone());
        self.accepting.push(self.tasks.spawn(accepting));
    }

    /// Connections of `local` are opened from `ip`.
    pub(super) fn open_from(&mut self, local: LocalId, ip: IpAddr) {
        let address = SocketAddr::new(ip, 0);
        self.ways.insert(local, Source { address, dscp: self.dscp });
    }

    /// Connections of `local` are opened from one port of `ip`, which is returned; `None` where
    /// there is no such address.
    pub(super) fn open_from_port(&mut self, local: LocalId, ip: IpAddr) -> Option<SocketAddr> {
        let (socket, source) = Source::reserve(ip, self.dscp).ok()?;
        self.reserved.push(socket);
        self.ways.insert(local, source);
        Some(source.address)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Why that cannot be.
    pub(super) fn dial(&mut self, dial: Dial) -> Result<(), String> {
        let Dial { connection: id, local, transport, remote, name, within } = dial;
        let source = *self.ways.get(&local).ok_or("no address to open connections from")?;
        let tls = match transport {
            Transport::Tls => Some(self.connector(name.as_deref(), remote)?),
            _ => None,
        };
        let (connection, open) = self.make(id, None);
        self.open.insert(id, open);
        self.tasks.spawn(connection.dial(Opening { source, remote, within, tls }));
        Ok(())
    }

    fn connector(
        &self,
        name: Option<&str>,
        remote: SocketAddr,
    ) -> Result<(TlsConnector, ServerName<'static>), String> {
        let connector = self.tls.connector.clone()?;
        let name = name.map_or_else(|| remote.ip().to_string(), str::to_owned);
        let name = ServerName::try_from(name).map_err(|error| format!("TLS: {error}"))?;
        Ok((connector, name))
    }

    /// Takes a connection, if there is room for it.
    pub(super) fn take(&mut self, endpoint: &mut Endpoint, accepted: Accepted) {
        let Accepted { local, stream, remote } = accepted;
        let is_trusted = endpoint.is_trusted(remote);
        let source = if is_trusted { remote.ip() } else { neighbourhood(remote.ip()) };
        if !self.has_room(endpoint, local, source, is_trusted) {
            return endpoint.handle_refused_connection();
        }
        prepare(&stream, self.dscp);
        let id = endpoint.handle_accepted(local, remote);
        let (mut connection, open) = self.make(id, Some((local, source)));
        connection.is_strangers = !is_trusted;
        *self.sources.entry(source).or_default() += 1;
        let mut tls = None;
        if let Some(listener) = self.listeners.get_mut(&local) {
            listener.count += 1;
            if !is_trusted {
                listener.strangers.insert(id);
            }
            tls = self.tls.acceptor.clone().filter(|_| listener.is_tls);
        }
        self.open.insert(id, open);
        self.tasks.spawn(connection.accept(stream, tls));
    }

    fn has_room(
        &mut self,
        endpoint: &mut Endpoint,
        local: LocalId,
        source: IpAddr,
        is_trusted: bool,
    ) -> bool {
        let most = if is_trusted { MAX_ACCEPTED_OF_TRUSTED } else { MAX_ACCEPTED_OF_STRANGER };
        if self.sources.get(&source).copied().unwrap_or_default() >= most {
            return false;
        }
        let Some(listener) = self.listeners.get(&local) else { return false };
        if listener.count < self.limit {
            return true;
        }
        let stranger = listener.strangers.first().copied().filter(|_| is_trusted);
        if let Some(stranger) = stranger {
            self.close(endpoint, stranger, "made room for a trunk");
        }
        stranger.is_some()
    }

    fn make(&self, id: ConnectionId, came: Option<(LocalId, IpAddr)>) -> (Connection, Open) {
        let (queue, waiting) = mpsc::channel(MAX_WRITE_QUEUE);
        let queued = Arc::new(AtomicUsize::new(0));
        let connection = Connection {
            id,
            is_strangers: false,
            is_ours: came.is_none(),
            heard: self.heard.clone(),
            queue: waiting,
            queued: Arc::clone(&queued),
        };
        (connection, Open { queue, queued, came, last_heard: Instant::now() })
    }

    /// Writes to a connection; one whose far end reads too slowly is closed.
    pub(super) fn send(&mut self, endpoint: &mut Endpoint, id: ConnectionId, data: Bytes) {
        let Some(open) = self.open.get(&id) else { return };
        let length = data.len();
        let is_long = open.queued.fetch_add(length, Ordering::Relaxed) > MAX_WRITE_QUEUE_OCTETS;
        // One that has ended is about to say why.
        if is_long || matches!(open.queue.try_send(data), Err(TrySendError::Full(_))) {
            self.close(endpoint, id, "the far end does not read");
        }
    }

    /// Notes that the far end was heard. A pong for a ping of ours says only that it is there.
    pub(super) fn note_heard(&mut self, id: ConnectionId, is_keep_alive: bool) {
        if let Some(open) = self.open.get_mut(&id)
            && (open.came.is_some() || !is_keep_alive)
        {
            open.last_heard = Instant::now();
        }
    }

    /// Writes what is queued and closes.
    pub(super) fn close(&mut self, endpoint: &mut Endpoint, id: ConnectionId, why: &str) {
        let Some(open) = self.open.remove(&id) else { return };
        if let Some((local, source)) = open.came {
            if let Some(count) = self.sources.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    self.sources.remove(&source);
                }
            }
            if let Some(listener) = self.listeners.get_mut(&local) {
                listener.count -= 1;
                listener.strangers.remove(&id);
            }
        }
        endpoint.handle_disconnected(Instant::now(), id, why);
    }

    /// Closes connections on which nothing was heard for long and that no call needs.
    pub(super) fn close_idle(&mut self, endpoint: &mut Endpoint) {
        while self.tasks.try_join_next().is_some() {}
        let now = Instant::now();
        let is_idle = |open: &Open| now.duration_since(open.last_heard) >= IDLE_TIMEOUT;
        let idle: Vec<_> =
            self.open.iter().filter(|(_, open)| is_idle(open)).map(|(id, _)| *id).collect();
        if idle.is_empty() {
            return;
        }
        let used = endpoint.connections_in_use();
        for id in idle.into_iter().filter(|id| !used.contains(id)) {
            self.close(endpoint, id, "idle");
        }
    }

    /// Ends every task: what is queued is written, for a moment.
    pub(super) async fn shut_down(mut self, arrivals: Arrivals) {
        drop(arrivals);
        self.accepting.iter().for_each(AbortHandle::abort);
        self.open.clear();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSE_TIMEOUT, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Whom a stranger's address stands for: a host of IPv6 has a whole /64.
fn neighbourhood(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}
