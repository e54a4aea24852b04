//! The sockets that an endpoint may send from: which one a request takes, and what its Via and
//! Contact say.
#![warn(clippy::indexing_slicing)]

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Endpoint;
use super::config::{Advertised, InviteError, LocalId};
use crate::invite::Link;
use crate::message::{Host, Transport};

/// A bound socket, or the address that connections are dialled from.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) id: LocalId,
    pub(super) transport: Transport,
    bound: SocketAddr,
    advertised: Advertised,
    /// The transport that Contact asks for.
    contact: Option<Transport>,
}

/// The own address on the way to a remote one, found by the driver.
#[derive(Default)]
pub(super) struct Routing(Option<Box<dyn FnMut(IpAddr) -> IpAddr + Send>>);

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Routing").field(&self.0.is_some()).finish()
    }
}

impl Endpoint {
    /// Tells of a bound socket. Of several of a transport and address family, the one that is
    /// bound to the address on the route is used for what goes out, else the first. One that is
    /// told again is known by what is told last.
    pub fn add_local(
        &mut self,
        id: LocalId,
        transport: Transport,
        bound: SocketAddr,
        advertised: Advertised,
    ) {
        let contact = Some(transport).filter(|transport| transport.is_reliable());
        self.locals.retain(|local| local.id != id);
        self.locals.push(Local { id, transport, bound, advertised, contact });
    }

    /// Tells of a way to dial where nothing is listened on: Via and Contact name the UDP socket
    /// of `advertised`, so that the far end's own requests come by UDP.
    pub fn add_dialling(
        &mut self,
        id: LocalId,
        transport: Transport,
        bound: SocketAddr,
        advertised: Advertised,
    ) {
        self.locals.push(Local { id, transport, bound, advertised, contact: None });
    }

    /// By what a request is sent from the right one of several sockets.
    pub fn set_routing(&mut self, address: Box<dyn FnMut(IpAddr) -> IpAddr + Send>) {
        self.routing = Routing(Some(address));
    }

    /// The way to `remote`; `name` is what its certificate must prove.
    pub(super) fn link(
        &mut self,
        transport: Transport,
        remote: SocketAddr,
        name: Option<&str>,
    ) -> Result<Link, InviteError> {
        let fits = |local: &Local| {
            local.transport == transport && local.bound.is_ipv4() == remote.is_ipv4()
        };
        let mut own = None;
        if self.locals.iter().filter(|local| fits(local)).count() > 1
            && let Some(address) = self.routing.0.as_mut()
        {
            own = Some(address(remote.ip()));
        }
        let is_on_route = |local: &Local| fits(local) && Some(local.bound.ip()) == own;
        let at = self.locals.iter().position(is_on_route);
        let at = at.or_else(|| self.locals.iter().position(fits));
        let local = at.and_then(|at| self.locals.get_mut(at));
        let mut link = local.ok_or(InviteError::NoLocal { transport, remote })?.link(remote);
        if transport == Transport::Tls {
            link.name = Some(name.map_or_else(|| remote.ip().to_string().into(), Arc::from));
        }
        Ok(link)
    }

    /// The way back to `remote` from the socket that it sent to.
    pub(super) fn link_of(&mut self, id: LocalId, remote: SocketAddr) -> Option<Link> {
        Some(self.locals.iter_mut().find(|local| local.id == id)?.link(remote))
    }
}

impl Local {
    /// The way from this socket to `remote`.
    pub(super) fn link(&mut self, remote: SocketAddr) -> Link {
        let advertised = match &mut self.advertised {
            Advertised::Fixed(address) => *address,
            Advertised::ByRoute { port, address } => SocketAddr::new(address(remote.ip()), *port),
        };
        Link {
            local: self.id,
            transport: self.transport,
            remote,
            advertised,
            contact: self.contact,
            is_sips: false,
            name: None,
            connection: None,
            large_over_tcp: false,
        }
    }
}

/// A host as a certificate names it: an address without brackets.
pub(super) fn certified(host: &Host) -> Arc<str> {
    match host.ip() {
        Some(ip) => ip.to_string().into(),
        None => host.to_string().into(),
    }
}
