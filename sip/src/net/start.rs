//! How the stack starts: sockets are bound, the endpoint is told of them, the driver's task runs.
//!
//! Trunks may be dialled over any transport, listened on or not. Where TCP is not listened on, Via
//! and Contact name the UDP socket, by which the far end's own requests then come. Where TLS is
//! not, they name a port that all our TLS connections come from: far ends that look for a
//! connection to where Contact points, as most do, find the one that the call came by.
#![allow(clippy::disallowed_methods, reason = "a driver: spawns its task and reads the clock")]

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use tokio::sync::mpsc;

use super::driver::{Command, Driver};
use super::handle::{Bound, Incoming, SipConfig, StartError};
use super::listener;
use super::streams::{Arrivals, Streams};
use super::udp::{self, Udp};
use crate::endpoint::{Advertised, Endpoint, LocalId};
use crate::limits::{MAX_ROUTES_REMEMBERED, ROUTE_REMEMBERED_FOR};
use crate::message::Transport;

/// Binds the sockets and starts the task.
pub(super) fn start(
    config: SipConfig,
    commands: mpsc::Receiver<Command>,
    incoming: mpsc::Sender<Incoming>,
) -> Result<Vec<Bound>, StartError> {
    let mut endpoint = Endpoint::new(config.endpoint);
    endpoint.set_trusted(config.trusted);
    endpoint.set_routing(Box::new(remembered(|remote| {
        udp::address_towards(remote).unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    })));
    let has_certificate = config.with_tls.acceptor.is_some();
    let (streams, arrivals) = Streams::new(config.with_tls, config.dscp, config.max_connections);
    let mut binding = Binding {
        endpoint,
        sockets: Vec::new(),
        streams,
        public: config.public_addresses,
        dscp: config.dscp,
        bound: Vec::new(),
        next: 0,
    };
    for address in config.udp {
        binding.udp(address).map_err(failed(Transport::Udp, address))?;
    }
    for address in config.tcp {
        binding.stream(Transport::Tcp, address).map_err(failed(Transport::Tcp, address))?;
    }
    for address in config.tls {
        if !has_certificate {
            return Err(StartError::NoCertificate(address));
        }
        binding.stream(Transport::Tls, address).map_err(failed(Transport::Tls, address))?;
    }
    for is_v4 in [true, false] {
        binding.dial_only(Transport::Tcp, is_v4);
        binding.dial_only(Transport::Tls, is_v4);
    }
    Ok(binding.run(arrivals, commands, incoming))
}

fn failed(transport: Transport, address: SocketAddr) -> impl FnOnce(io::Error) -> StartError {
    move |error| StartError::Bind { transport, address, error }
}

/// What is bound so far.
struct Binding {
    endpoint: Endpoint,
    /// Their numbers are those of their places.
    sockets: Vec<Udp>,
    streams: Streams,
    public: Vec<IpAddr>,
    dscp: u8,
    bound: Vec<Bound>,
    next: u16,
}

impl Binding {
    fn udp(&mut self, address: SocketAddr) -> io::Result<()> {
        let socket = Udp::bind(address, self.dscp)?;
        let bound = socket.local_addr()?;
        self.sockets.push(socket);
        self.listens(Transport::Udp, bound);
        Ok(())
    }

    fn stream(&mut self, transport: Transport, address: SocketAddr) -> io::Result<()> {
        let listener = listener::bind(address)?;
        let bound = listener.local_addr()?;
        let id = self.listens(transport, bound);
        self.streams.listen(id, transport, listener, bound.ip());
        Ok(())
    }

    fn listens(&mut self, transport: Transport, bound: SocketAddr) -> LocalId {
        let id = self.id();
        let advertised = advertised(bound, &self.public);
        self.endpoint.add_local(id, transport, bound, advertised);
        self.bound.push(Bound { transport, address: bound });
        id
    }

    /// Lets a transport be dialled in a family of addresses in which it is not listened on.
    fn dial_only(&mut self, transport: Transport, is_v4: bool) {
        let mut own = self.bound.iter().filter(|bound| bound.address.is_ipv4() == is_v4);
        if own.clone().any(|bound| bound.transport == transport) {
            return;
        }
        let udp = own.find(|bound| bound.transport == Transport::Udp).copied();
        let any: IpAddr =
            if is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let ip = udp.map_or(any, |udp| udp.address.ip());
        let id = self.id();
        match udp.filter(|_| transport == Transport::Tcp).map(|udp| udp.address) {
            Some(udp) => {
                self.streams.open_from(id, ip);
                let advertised = advertised(udp, &self.public);
                self.endpoint.add_dialling(id, transport, udp, advertised);
            }
            // A machine without this family dials nobody in it.
            None => {
                let Some(port) = self.streams.open_from_port(id, ip) else { return };
                let advertised = advertised(port, &self.public);
                self.endpoint.add_local(id, transport, port, advertised);
            }
        }
    }

    fn id(&mut self) -> LocalId {
        let id = LocalId(self.next);
        self.next += 1;
        id
    }

    fn run(
        self,
        arrivals: Arrivals,
        commands: mpsc::Receiver<Command>,
        incoming: mpsc::Sender<Incoming>,
    ) -> Vec<Bound> {
        let streams = (self.streams, arrivals);
        let driver = Driver::new(self.endpoint, self.sockets, streams, commands, incoming);
        tokio::spawn(driver.run());
        self.bound
    }
}

/// What Via and Contact of a socket carry.
fn advertised(bound: SocketAddr, public: &[IpAddr]) -> Advertised {
    match public.iter().find(|ip| ip.is_ipv4() == bound.is_ipv4()) {
        Some(ip) => Advertised::Fixed(SocketAddr::new(*ip, bound.port())),
        None if !bound.ip().is_unspecified() => Advertised::Fixed(bound),
        None => {
            let find = move |remote| udp::address_towards(remote).unwrap_or(bound.ip());
            Advertised::ByRoute { port: bound.port(), address: Box::new(remembered(find)) }
        }
    }
}

/// Routes are asked for once in a while.
fn remembered(find: impl Fn(IpAddr) -> IpAddr) -> impl FnMut(IpAddr) -> IpAddr {
    let mut known: HashMap<IpAddr, (IpAddr, Instant)> = HashMap::new();
    move |remote| {
        let now = Instant::now();
        let is_fresh = |since: &Instant| now.duration_since(*since) < ROUTE_REMEMBERED_FOR;
        if let Some((address, _)) = known.get(&remote).filter(|(_, since)| is_fresh(since)) {
            return *address;
        }
        if known.len() >= MAX_ROUTES_REMEMBERED {
            known.clear();
        }
        let address = find(remote);
        known.insert(remote, (address, now));
        address
    }
}
