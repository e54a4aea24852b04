//! The way of a message: whose it is, whether it is taken, who handles it.
#![warn(clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::time::Instant;

use super::config::{Event, LocalId};
use super::locals::certified;
use super::reply::{Received, refusal_of, reply_to};
use super::table::{Merge, Path, Server, ServerMachine};
use super::{Endpoint, Network};
use crate::dialog::{Dialog, DialogState};
use crate::invite::{IncomingCall, Leg, LegId, Link, body_of, session_refusal};
use crate::limits::{MAX_SERVER_TRANSACTIONS, OVERLOAD_RETRY_AFTER};
use crate::message::{HeaderName, Message, Method, Request, Scheme, Transport, Via};
use crate::options::{outside_of_calls, response};
use crate::transaction::{ServerInvite, ServerKey, ServerNonInvite};
use crate::wire::{self, Input};

impl Endpoint {
    /// One datagram that came to a socket.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        local: LocalId,
        remote: SocketAddr,
        data: &[u8],
    ) {
        self.counters.received += 1;
        match wire::parse_datagram(data) {
            Ok(Input::Ping | Input::Pong) => self.counters.keep_alives += 1,
            Ok(Input::Message(Message::Request(request))) => {
                self.handle_request(now, Path::new(local, remote), request, data);
            }
            Ok(Input::Message(Message::Response(response))) => {
                self.handle_response(now, &Path::new(local, remote), response, data);
            }
            Err(error) => self.malformed(Path::new(local, remote), &error),
        }
    }

    /// What is no message is answered where it came from a trunk and can be.
    pub(super) fn malformed(&mut self, path: Path, error: &wire::Error) {
        self.counters.malformed += 1;
        let remote = path.remote;
        if let Some(reply) = error.reply(remote).filter(|_| self.is_trusted(remote)) {
            let path = match reply.via() {
                Ok(via) => self.path_back(path, &via),
                Err(_) => path,
            };
            self.send_if_open(&path, reply.to_bytes());
        }
    }

    /// Where the answers to a request go that came by `path`: over its connection, or, once that
    /// is gone, to where its Via says that the far end listens (§18.2.2).
    fn path_back(&self, path: Path, via: &Via) -> Path {
        match self.transport_of(path.local) {
            Transport::Udp => Path { remote: reply_to(via, path.remote), ..path },
            transport => {
                let port = via.port.unwrap_or(transport.default_port());
                let name = (transport == Transport::Tls).then(|| certified(&via.host));
                Path { remote: SocketAddr::new(path.remote.ip(), port), name, ..path }
            }
        }
    }

    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        path: Path,
        mut request: Request,
        data: &[u8],
    ) {
        let Ok((key, via)) =
            ServerKey::of_request(&request).and_then(|key| Ok((key, request.via()?)))
        else {
            self.counters.malformed += 1;
            return;
        };
        let remote = path.remote;
        let path = self.path_back(path, &via);
        request.headers.note_source(remote);
        let received = Received { request, key, path, remote, data };

        if let Some(id) = self.servers.find(&received.key) {
            return self.repeated(now, id, received);
        }
        match received.request.method {
            Method::Ack => self.ack(now, &received),
            Method::Cancel => self.cancel(now, &received),
            _ => match received.to_tag() {
                Some(tag) => self.in_dialog(now, received, tag),
                None if self.is_trusted(remote) => self.out_of_dialog(now, received),
                None => self.stranger(&received),
            },
        }
    }

    /// A request that has its transaction already: a repetition, or the ACK of a refusal.
    fn repeated(&mut self, now: Instant, id: u64, received: Received<'_>) {
        let Some(server) = self.servers.get(id) else { return };
        if server.source != received.remote.ip() {
            self.counters.strangers += 1;
            return;
        }
        let leg = server.leg;
        self.ladder(now, leg, false, received.data);
        self.server_request(now, id, received.request);
    }

    /// An ACK of a 2xx finds its dialog; any other belongs to nothing (RFC 3261 §17: never
    /// answered).
    fn ack(&mut self, now: Instant, received: &Received<'_>) {
        match received.to_tag().and_then(|tag| self.leg_of(received, tag)) {
            Some(leg) => {
                self.ladder(now, leg, false, received.data);
                let ack = &received.request;
                let _ = self.input(now, leg, |leg, cx| leg.handle_ack(cx, ack));
            }
            None => *self.counters.ignored.entry("ACK of no dialog").or_default() += 1,
        }
    }

    /// RFC 3261 §9.2: 200 if there is such an INVITE, else 481; whether it still rings is its
    /// leg's business.
    fn cancel(&mut self, now: Instant, received: &Received<'_>) {
        let invite = ServerKey::of_cancelled(&received.request).ok();
        let found = invite.and_then(|key| Some((self.servers.find(&key)?, key)));
        let server = found.as_ref().and_then(|(id, _)| self.servers.get(*id));
        match (found.as_ref(), server.map(|server| (server.leg, server.source))) {
            (Some((_, key)), Some((leg, source))) if source == received.remote.ip() => {
                self.ladder(now, leg, false, received.data);
                let mut ok = response(&received.request, 200);
                if let Some(entry) = self.legs.get(&leg) {
                    ok.set_to_tag(&entry.leg.common.local_tag); // as in the INVITE's answers
                }
                self.transmit(now, Some(leg), &received.path, ok.to_bytes());
                let cancel = &received.request;
                let _ = self.input(now, leg, |leg, cx| leg.handle_cancel(cx, key, cancel));
            }
            _ if self.is_trusted(received.remote) => self.reply(received, 481),
            _ => self.stranger(received),
        }
    }

    /// RFC 3261 §12.2.2.
    fn in_dialog(&mut self, now: Instant, received: Received<'_>, tag: String) {
        let Some(leg) = self.leg_of(&received, tag) else {
            return match self.is_trusted(received.remote) {
                true => self.reply(&received, 481),
                false => self.stranger(&received),
            };
        };
        self.ladder(now, leg, false, received.data);
        // Who sends BYE has left (RFC 3261 §15.1.1): whatever it asks for, the call is over.
        let is_bye = received.request.method == Method::Bye;
        if let Some(refusal) = refusal_of(&received.request).filter(|_| !is_bye) {
            return self.reply_with(Some((now, leg)), &received, refusal);
        }
        let Some(id) = self.serve(now, leg, &received, None) else { return };
        let (key, request) = (received.key, &received.request);
        if self.input(now, leg, |leg, cx| leg.handle_request(cx, key, request)).is_err() {
            self.drop_server(id);
        }
    }

    /// The leg whose dialog a request names, if it may come from where it came.
    fn leg_of(&self, received: &Received<'_>, tag: String) -> Option<LegId> {
        let call_id = received.request.call_id().ok()?.to_owned();
        let id = *self.dialogs.get(&(call_id, tag))?;
        self.legs.get(&id)?.leg.allows(received.remote.ip()).then_some(id)
    }

    /// A request from a trunk that belongs to no call: §8.2, step by step.
    fn out_of_dialog(&mut self, now: Instant, received: Received<'_>) {
        let request = &received.request;
        let merge = Merge::of(request);
        if merge.as_ref().is_some_and(|merge| self.merges.contains_key(merge)) {
            return self.reply(&received, 482);
        }
        // What is to be secure all the way must have come so (§26.2.2).
        let is_secure = self.transport_of(received.path.local) == Transport::Tls;
        let is_taken = match request.uri.scheme {
            Scheme::Sip | Scheme::Tel => true,
            Scheme::Sips => is_secure,
            Scheme::Other(_) => false,
        };
        if !is_taken {
            return self.reply(&received, 416);
        }
        if is_out_of_hops(request) && !self.is_ours(request) {
            return self.reply(&received, 483);
        }
        if let Some(refusal) = refusal_of(request) {
            return self.reply_with(None, &received, refusal);
        }
        match request.method {
            Method::Invite => self.incoming(now, received, merge),
            _ => self.reply_with(None, &received, outside_of_calls(request)),
        }
    }

    /// A call.
    fn incoming(&mut self, now: Instant, received: Received<'_>, merge: Option<Merge>) {
        let request = &received.request;
        if !self.config.accept_calls {
            return self.reply(&received, 403);
        }
        if request.contact().is_err() {
            return self.reply(&received, 400); // §8.1.1.8: an INVITE has one
        }
        if let Some(refusal) = session_refusal(request) {
            return self.reply_with(None, &received, refusal);
        }
        if self.legs.len() >= self.config.max_legs || self.servers.len() >= MAX_SERVER_TRANSACTIONS
        {
            self.counters.overload += 1;
            let mut refusal = response(request, 503);
            refusal.headers.push(HeaderName::RETRY_AFTER, OVERLOAD_RETRY_AFTER);
            return self.reply_with(None, &received, refusal);
        }
        let Some(link) = self.link_back(&received) else { return };
        let (tag, cseq) = (self.tag(), rand::Rng::next_u32(&mut self.rng) & 0xFFFF);
        let Some((dialog, call)) = Dialog::of_callee(request, &tag, cseq).and_then(|dialog| {
            let call = incoming_call(request, received.remote, &dialog, link.transport)?;
            Some((dialog, call))
        }) else {
            return self.reply(&received, 400);
        };
        let peers = vec![Network::from(received.remote.ip())];
        let (key, request) = (received.key.clone(), received.request.clone());
        let account = self.account_at(received.remote.ip());
        let leg = self.make_leg(now, |_| {
            let mut leg = Leg::incoming(link, peers, key, request, dialog);
            leg.common.credentials = account;
            Some(leg)
        });
        let Some(leg) = leg else { return };
        self.events.push_back(Event::Incoming { leg, call: Box::new(call) });
        self.ladder(now, leg, false, received.data);
        self.serve(now, leg, &received, merge);
    }

    /// The way to who called: over the connection while it lives, then to where it listens.
    fn link_back(&mut self, received: &Received<'_>) -> Option<Link> {
        let path = &received.path;
        let is_connected = path.connection.is_some();
        let remote = if is_connected { path.remote } else { received.remote };
        let mut link = self.link_of(path.local, remote)?;
        link.connection = path.connection;
        link.is_sips = received.request.uri.scheme == Scheme::Sips;
        if link.transport == Transport::Tls {
            let contact = received.request.contact().ok();
            link.name = contact.map(|contact| certified(&contact.uri.host));
        }
        Some(link)
    }

    /// Starts the server transaction of a request that a leg will answer.
    fn serve(
        &mut self,
        now: Instant,
        leg: LegId,
        received: &Received<'_>,
        merge: Option<Merge>,
    ) -> Option<u64> {
        if self.servers.len() >= MAX_SERVER_TRANSACTIONS {
            self.counters.overload += 1;
            return None;
        }
        let is_reliable = self.transport_of(received.path.local).is_reliable();
        let timers = &self.config.timers;
        let machine = if received.request.method == Method::Invite {
            ServerMachine::Invite(ServerInvite::new(now, &received.request, is_reliable, timers))
        } else {
            ServerMachine::Other(ServerNonInvite::new(is_reliable, timers))
        };
        let (path, source) = (received.path.clone(), received.remote.ip());
        let server = Server { machine, leg, path, source, merge: merge.clone() };
        let id = self.servers.insert(received.key.clone(), server);
        if let Some(merge) = merge {
            self.merges.insert(merge, id);
        }
        self.server_actions(now, id, Vec::new());
        Some(id)
    }

    /// Whether requests outside of dialogs are taken from there.
    pub fn is_trusted(&self, source: SocketAddr) -> bool {
        super::config::is_trusted(&self.trusted, source.ip())
    }

    /// Whether the Request-URI names one of our sockets.
    fn is_ours(&mut self, request: &Request) -> bool {
        let Some(address) = request.uri.socket_addr() else { return false };
        self.locals.iter_mut().any(|local| local.link(address).advertised == address)
    }
}

impl Merge {
    fn of(request: &Request) -> Option<Self> {
        Some(Self {
            call_id: request.call_id().ok()?.to_owned(),
            from_tag: request.from().ok()?.tag()?.to_owned(),
            cseq: request.cseq().ok()?.seq,
        })
    }
}

/// Max-Forwards is used up: we are to be its last hop, or nobody (§16.3).
fn is_out_of_hops(request: &Request) -> bool {
    request.headers.get(&HeaderName::MAX_FORWARDS).is_some_and(|hops| hops.trim() == "0")
}

fn incoming_call(
    request: &Request,
    remote: SocketAddr,
    dialog: &Dialog,
    transport: Transport,
) -> Option<IncomingCall> {
    let text = |name: &HeaderName| request.headers.get(name).map(str::to_owned);
    Some(IncomingCall {
        request_uri: request.uri.clone(),
        from: request.from().ok()?,
        to: request.to().ok()?,
        call_id: request.call_id().ok()?.to_owned(),
        body: body_of(&request.headers, &request.body),
        remote,
        asserted_identity: text(&HeaderName::P_ASSERTED_IDENTITY),
        user_agent: text(&HeaderName::USER_AGENT),
        dialog: Box::new(DialogState { dialog: dialog.clone(), remote, transport, tls_name: None }),
    })
}
