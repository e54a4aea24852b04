//! Requests that are too large for UDP go over TCP, each by itself, and by UDP if there is none
//! (RFC 3261 §18.1.1).
#![warn(clippy::indexing_slicing)]

use std::time::Instant;

use super::Endpoint;
use super::table::{ClientMachine, ClientUser, Path};
use crate::invite::Link;
use crate::limits::{MAX_LARGE_REMEMBERED, MAX_UDP_REQUEST};
use crate::message::{HeaderName, Request, Transport};
use crate::transaction::{ClientInvite, ClientNonInvite};

impl Endpoint {
    /// The path that a request of its size may take, its Via changed accordingly, and the path by
    /// UDP to fall back on.
    pub(super) fn by_size(
        &mut self,
        path: Path,
        request: &mut Request,
        is_tcp_allowed: bool,
    ) -> (Path, Option<Path>) {
        let is_udp = self.transport_of(path.local) == Transport::Udp;
        if !is_udp || request.to_bytes().len() <= MAX_UDP_REQUEST {
            return (path, None);
        }
        match self.link(Transport::Tcp, path.remote, None) {
            Ok(link) if is_tcp_allowed => {
                self.counters.large_over_tcp += 1;
                set_via(request, &link);
                (Path::of_link(&link), Some(path))
            }
            _ => {
                self.counters.large_over_udp += 1;
                let is_new = self.too_large.len() < MAX_LARGE_REMEMBERED
                    && self.too_large.insert(path.remote);
                if is_new {
                    tracing::warn!(
                        remote = %path.remote,
                        "requests of more than {MAX_UDP_REQUEST} bytes go by UDP and may be lost; \
                         let this far end be dialled without transport=udp, or over TCP or TLS"
                    );
                }
                (path, None)
            }
        }
    }

    /// TCP could not be had: the request starts anew by UDP. False if it was for no such reason
    /// over TCP.
    pub(super) fn fall_back(&mut self, now: Instant, id: u64) -> bool {
        let Some(client) = self.clients.get_mut(id) else { return false };
        let Some((path, timer_b)) = client.or_else.take() else { return false };
        let mut request = client.machine.request().clone();
        let user = client.user;
        let Some(link) = self.link_of(path.local, path.remote) else { return false };
        set_via(&mut request, &link);
        let (timers, mut actions) = (&self.config.timers, Vec::new());
        let machine = match user {
            ClientUser::Invite(leg) => {
                if let Some(entry) = self.legs.get_mut(&leg) {
                    entry.detour = None;
                }
                let machine = ClientInvite::new(now, request, false, timers, timer_b, &mut actions);
                ClientMachine::Invite(machine)
            }
            ClientUser::Nobody(_) => return false, // it was answered
            ClientUser::Leg(..) | ClientUser::Options(_) | ClientUser::Registration(_) => {
                ClientMachine::Other(ClientNonInvite::new(
                    now,
                    request,
                    false,
                    timers,
                    &mut actions,
                ))
            }
        };
        if let Some(client) = self.clients.get_mut(id) {
            client.machine = machine;
            client.path = path;
        }
        self.client_actions(now, id, actions);
        true
    }
}

/// Lets the top Via of a request of ours name the way that it takes.
pub(super) fn set_via(request: &mut Request, link: &Link) {
    let Ok(mut via) = request.via() else { return };
    via.transport = link.transport;
    via.host = link.advertised.ip().into();
    via.port = Some(link.advertised.port());
    request.headers.replace_first(&HeaderName::VIA, via);
}
