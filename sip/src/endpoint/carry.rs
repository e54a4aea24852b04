//! Carries out what legs and transactions want done.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Endpoint;
use super::config::{Event, OptionsId};
use super::ladder::Crossed;
use super::large::set_via;
use super::schedule::Owner;
use super::table::{Client, ClientMachine, ClientUser, How, Path};
use crate::invite::{
    Context, Effect, Failure, Handled, Hop, Ignored, Leg, LegEvent, LegId, Purpose,
};
use crate::message::{HeaderName, Method, Request, Response, Via};
use crate::transaction::{Action, ClientInvite, ClientKey, ClientNonInvite, Outcome, ServerKey};

/// A leg, and what the endpoint keeps beside it.
#[derive(Debug)]
pub(super) struct LegEntry {
    pub(super) leg: Leg,
    /// Its own INVITE's transaction.
    pub(super) invite: Option<u64>,
    /// How its INVITE went, and the Via it went with, where that is not the leg's way: its CANCEL
    /// must go after it (§9.1).
    pub(super) detour: Option<(Path, Via)>,
    /// [`LegEvent::Closed`] is out: nothing follows it.
    pub(super) is_closed: bool,
    pub(super) crossed: Crossed,
}

impl LegEntry {
    fn new(leg: Leg) -> Self {
        let is_closed = leg.common.is_closed;
        Self { is_closed, leg, invite: None, detour: None, crossed: Crossed::default() }
    }
}

impl Endpoint {
    /// A command of the owner: one for a leg that is gone, or past it, is counted.
    pub(super) fn command(
        &mut self,
        now: Instant,
        id: LegId,
        command: impl FnOnce(&mut Leg, &mut Context<'_>) -> Handled,
    ) {
        if self.with_leg(now, id, command) != Some(Ok(())) {
            self.counters.late_commands += 1;
        }
    }

    /// An input of the network: one without an arrow is counted by its name.
    pub(super) fn input(
        &mut self,
        now: Instant,
        id: LegId,
        input: impl FnOnce(&mut Leg, &mut Context<'_>) -> Handled,
    ) -> Handled {
        let handled = self.with_leg(now, id, input).unwrap_or(Err(Ignored("leg is gone")));
        if let Err(Ignored(name)) = handled {
            *self.counters.ignored.entry(name).or_default() += 1;
        }
        handled
    }

    /// Lets a leg handle an input and carries out what it wants done.
    fn with_leg<R>(
        &mut self,
        now: Instant,
        id: LegId,
        input: impl FnOnce(&mut Leg, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let entry = self.legs.get_mut(&id)?;
        let mut effects = Vec::new();
        let mut cx = Context {
            now,
            timers: &self.config.timers,
            hold_ack: self.config.hold_ack,
            reliable_provisionals: self.config.reliable_provisionals,
            rng: &mut self.rng,
            out: &mut effects,
        };
        let result = input(&mut entry.leg, &mut cx);
        self.carry_out(now, id, effects);
        self.settle_leg(now, id);
        Some(result)
    }

    /// Makes a leg by `make` and carries out what it wants done.
    pub(super) fn make_leg(
        &mut self,
        now: Instant,
        make: impl FnOnce(&mut Context<'_>) -> Option<Leg>,
    ) -> Option<LegId> {
        let mut effects = Vec::new();
        let mut cx = Context {
            now,
            timers: &self.config.timers,
            hold_ack: self.config.hold_ack,
            reliable_provisionals: self.config.reliable_provisionals,
            rng: &mut self.rng,
            out: &mut effects,
        };
        let leg = make(&mut cx)?;
        let id = LegId(self.next_id);
        self.next_id += 1;
        self.dialogs.insert((leg.common.call_id.clone(), leg.common.local_tag.clone()), id);
        self.legs.insert(id, LegEntry::new(leg));
        self.carry_out(now, id, effects);
        self.settle_leg(now, id);
        Some(id)
    }

    /// Sets the leg's wake-up, or removes it if nothing of it is left.
    fn settle_leg(&mut self, now: Instant, id: LegId) {
        let Some(entry) = self.legs.get(&id) else { return };
        if !entry.leg.is_gone(now) {
            return self.schedule.set(Owner::Leg(id), entry.leg.poll_timeout());
        }
        self.schedule.set(Owner::Leg(id), None);
        if let Some(entry) = self.legs.remove(&id) {
            let common = entry.leg.common;
            self.dialogs.remove(&(common.call_id, common.local_tag));
        }
    }

    pub(super) fn leg_timeout(&mut self, now: Instant, id: LegId) {
        self.with_leg(now, id, |leg, cx| leg.handle_timeout(cx));
    }

    fn carry_out(&mut self, now: Instant, id: LegId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Event(event) => self.tell(id, event),
                Effect::Invite { request, timer_b } => {
                    let Some(path) = self.path_of(id) else { continue };
                    let invite = self.start_invite(now, id, path, request, timer_b);
                    if let Some(entry) = self.legs.get_mut(&id) {
                        entry.invite = invite;
                    }
                }
                Effect::Transact { mut request, remote, purpose } => {
                    let is_cancel = purpose == Purpose::Cancel;
                    let Some(path) = self.route(id, remote, &mut request, is_cancel) else {
                        continue;
                    };
                    let is_large_ok = self.may_use_tcp(id) && !is_cancel;
                    let user = ClientUser::Leg(id, purpose);
                    let credentials = self.credentials_of(user);
                    self.authorize(credentials.as_ref(), path.remote.ip(), &mut request);
                    if let Some(entry) = self.legs.get_mut(&id) {
                        entry.leg.note_sent(&request);
                    }
                    let is_invite = request.method == Method::Invite;
                    let timer_b = is_invite.then(|| self.config.timers.transaction_timeout());
                    let how = How { timer_b, is_large_ok, ..How::default() };
                    self.start(now, user, path, request, how);
                }
                Effect::Send { mut request, remote } => {
                    let Some(path) = self.route(id, remote, &mut request, false) else { continue };
                    let data = request.to_bytes();
                    self.transmit(now, Some(id), &path, data);
                }
                Effect::Respond { key, response } => self.respond(now, &key, &response),
                Effect::DropInvite => {
                    let invite = self.legs.get_mut(&id).and_then(|entry| entry.invite.take());
                    if let Some(invite) = invite {
                        self.drop_client(invite);
                    }
                }
            }
        }
    }

    fn tell(&mut self, id: LegId, event: LegEvent) {
        if matches!(event, LegEvent::Closed)
            && let Some(entry) = self.legs.get_mut(&id)
        {
            entry.is_closed = true;
        }
        self.events.push_back(Event::Leg(id, event));
    }

    fn path_of(&self, id: LegId) -> Option<Path> {
        Some(Path::of_link(&self.legs.get(&id)?.leg.common.link))
    }

    fn may_use_tcp(&self, id: LegId) -> bool {
        self.legs.get(&id).is_some_and(|entry| entry.leg.common.link.large_over_tcp)
    }

    /// The path of a leg's request. Over another transport than the leg's its Via says so.
    fn route(
        &mut self,
        id: LegId,
        hop: Hop,
        request: &mut Request,
        is_cancel: bool,
    ) -> Option<Path> {
        let entry = self.legs.get(&id)?;
        if let Some((path, via)) = entry.detour.as_ref().filter(|_| is_cancel) {
            request.headers.replace_first(&HeaderName::VIA, via.clone());
            return Some(path.clone());
        }
        let link = &entry.leg.common.link;
        let own = Path { remote: hop.remote, ..Path::of_link(link) };
        let is_same = link.transport == hop.transport;
        let is_connected = own.connection.is_some_and(|id| self.connections.get(id).is_some());
        if is_same || is_connected {
            return Some(own);
        }
        // A way that we do not have: where the far end was reached.
        let Ok(other) = self.link(hop.transport, hop.remote, own.name.as_deref()) else {
            return self.path_of(id);
        };
        set_via(request, &other);
        Some(Path::of_link(&other))
    }

    fn start_invite(
        &mut self,
        now: Instant,
        leg: LegId,
        path: Path,
        request: Request,
        timer_b: Duration,
    ) -> Option<u64> {
        let is_large_ok = self.may_use_tcp(leg);
        let how = How { timer_b: Some(timer_b), is_large_ok, ..How::default() };
        self.start(now, ClientUser::Invite(leg), path, request, how)
    }

    /// A CANCEL goes after its INVITE, which its size may have sent another way.
    fn note_detour(&mut self, leg: LegId, path: &Path, is_detour: bool, invite: &Request) {
        if let (Some(entry), Ok(via)) = (self.legs.get_mut(&leg), invite.via())
            && (is_detour || entry.detour.is_some())
        {
            entry.detour = Some((path.clone(), via));
        }
    }

    pub(super) fn start_request(
        &mut self,
        now: Instant,
        user: ClientUser,
        path: Path,
        request: Request,
        is_large_ok: bool,
    ) -> Option<u64> {
        self.start(now, user, path, request, How { is_large_ok, ..How::default() })
    }

    /// Starts a request once more for who waits for it, its challenge being answered.
    pub(super) fn resend(
        &mut self,
        now: Instant,
        user: ClientUser,
        path: Path,
        request: Request,
        how: How,
    ) {
        if let Some(entry) = user.leg().and_then(|leg| self.legs.get_mut(&leg)) {
            entry.leg.note_sent(&request);
        }
        let id = self.start(now, user, path, request, how);
        match user {
            ClientUser::Invite(leg) => {
                if let Some(entry) = self.legs.get_mut(&leg) {
                    entry.invite = id;
                }
            }
            ClientUser::Options(options) => {
                if let Some(asked) = self.options.get_mut(&options) {
                    asked.client = id;
                }
            }
            ClientUser::Registration(registration) => {
                if let Some(entry) = self.registrations.get_mut(&registration) {
                    entry.client = id;
                }
            }
            ClientUser::Leg(..) | ClientUser::Nobody(_) => {}
        }
    }

    /// Starts a client transaction.
    fn start(
        &mut self,
        now: Instant,
        user: ClientUser,
        path: Path,
        mut request: Request,
        how: How,
    ) -> Option<u64> {
        let key = ClientKey::of_request(&request).ok()?;
        let (path, or_else) = self.by_size(path, &mut request, how.is_large_ok);
        if let ClientUser::Invite(leg) = user {
            self.note_detour(leg, &path, or_else.is_some(), &request);
        }
        let is_reliable = self.transport_of(path.local).is_reliable();
        let timers = &self.config.timers;
        let give_up = how.timer_b.unwrap_or_else(|| timers.transaction_timeout());
        let mut out = Vec::new();
        let machine = if how.timer_b.is_some() {
            let (request, out) = (request, &mut out);
            let machine = ClientInvite::new(now, request, is_reliable, timers, give_up, out);
            ClientMachine::Invite(machine)
        } else {
            let machine = ClientNonInvite::new(now, request, is_reliable, timers, &mut out);
            ClientMachine::Other(machine)
        };
        let or_else = or_else.map(|path| (path, give_up));
        let client = Client { or_else, how, ..Client::new(machine, user, path) };
        let id = self.clients.insert(key, client);
        self.client_actions(now, id, out);
        Some(id)
    }

    pub(super) fn drop_client(&mut self, id: u64) {
        self.schedule.set(Owner::Client(id), None);
        let Some(client) = self.clients.remove(id) else { return };
        self.leave_flow(id, client.flow);
    }

    pub(super) fn client_timeout(&mut self, now: Instant, id: u64) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let mut actions = Vec::new();
        client.machine.handle_timeout(now, &mut actions);
        self.client_actions(now, id, actions);
    }

    pub(super) fn client_transport_error(&mut self, now: Instant, id: u64, error: &str) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let mut actions = Vec::new();
        let outcome = client.machine.handle_transport_error(now, &mut actions);
        self.count(outcome);
        self.client_actions_with(now, id, actions, error);
    }

    /// A response to a transaction of ours; false if its state had no arrow for it.
    pub(super) fn client_response(
        &mut self,
        now: Instant,
        id: u64,
        from: SocketAddr,
        response: Response,
    ) -> bool {
        let Some(client) = self.clients.get_mut(id) else { return false };
        client.answered_from = Some(from);
        let mut actions = Vec::new();
        let outcome = client.machine.handle_response(now, response, &mut actions);
        self.count(outcome);
        self.client_actions(now, id, actions);
        !matches!(outcome, Outcome::Unexpected(_))
    }

    pub(super) fn client_actions(&mut self, now: Instant, id: u64, actions: Vec<Action>) {
        self.client_actions_with(now, id, actions, "not delivered");
    }

    fn client_actions_with(&mut self, now: Instant, id: u64, actions: Vec<Action>, error: &str) {
        let Some(user) = self.clients.get(id).map(|client| client.user) else { return };
        let mut is_stuck = false;
        for action in actions {
            match action {
                Action::Send { data, .. } => is_stuck |= !self.client_send(now, id, data),
                Action::Response(response) => {
                    if !self.answers_challenge(now, id, &response) {
                        self.client_result(now, user, Ok(response));
                    }
                }
                Action::Timeout => self.client_result(now, user, Err(Failure::Timeout)),
                Action::TransportError => {
                    let failure = Failure::Transport(error.to_owned());
                    self.client_result(now, user, Err(failure));
                }
                Action::Ack(_) => {} // of servers only
                Action::Terminated => self.drop_client(id),
            }
        }
        let due = self.clients.get(id).and_then(|client| client.machine.poll_timeout());
        self.schedule.set(Owner::Client(id), due);
        if is_stuck {
            self.client_transport_error(now, id, "too many connections");
        }
    }

    fn client_result(&mut self, now: Instant, user: ClientUser, result: Result<Response, Failure>) {
        match (user, result) {
            (ClientUser::Invite(leg), Ok(response)) => {
                let _ =
                    self.input(now, leg, |leg, cx| leg.handle_invite_response(cx, response, true));
            }
            (ClientUser::Invite(leg), Err(failure)) => {
                let _ = self.input(now, leg, |leg, cx| leg.handle_no_answer(cx, failure));
            }
            (ClientUser::Leg(_, _), Ok(response)) if response.is_provisional() => {}
            (ClientUser::Leg(leg, purpose), result) => {
                // The leg of a stray BYE may be gone before its answer comes.
                if purpose != Purpose::StrayBye {
                    let _ =
                        self.input(now, leg, |leg, cx| leg.handle_outcome(cx, purpose, &result));
                }
            }
            (ClientUser::Nobody(_), _) => {}
            (ClientUser::Options(_) | ClientUser::Registration(_), Ok(response))
                if response.is_provisional() => {}
            (ClientUser::Registration(id), result) => self.registration_result(now, id, result),
            (ClientUser::Options(id), result) => {
                self.options_result(id, result.map(|response| response.status));
            }
        }
    }

    pub(super) fn options_result(&mut self, id: OptionsId, result: Result<u16, Failure>) {
        self.schedule.set(Owner::Options(id), None);
        if self.options.remove(&id).is_some() {
            self.events.push_back(Event::Options { id, result });
        }
    }

    /// Answers a request whose server transaction lives.
    fn respond(&mut self, now: Instant, key: &ServerKey, response: &Response) {
        let Some(id) = self.servers.find(key) else { return };
        let Some(server) = self.servers.get_mut(id) else { return };
        let mut actions = Vec::new();
        let outcome = server.machine.respond(now, response, &mut actions);
        self.count(outcome);
        self.server_actions(now, id, actions);
    }

    pub(super) fn server_timeout(&mut self, now: Instant, id: u64) {
        let Some(server) = self.servers.get_mut(id) else { return };
        let mut actions = Vec::new();
        server.machine.handle_timeout(now, &mut actions);
        self.server_actions(now, id, actions);
    }

    /// The request of a server transaction came again, or its ACK came.
    pub(super) fn server_request(&mut self, now: Instant, id: u64, request: Request) {
        let Some(server) = self.servers.get_mut(id) else { return };
        let leg = server.leg;
        let is_ack = request.method == Method::Ack;
        let mut actions = Vec::new();
        let outcome = server.machine.handle_request(now, request, &mut actions);
        self.count(outcome);
        self.server_actions(now, id, actions);
        if is_ack && outcome == Outcome::Taken {
            self.with_leg(now, leg, |leg, cx| leg.handle_refusal_taken(cx));
        }
    }

    pub(super) fn server_actions(&mut self, now: Instant, id: u64, actions: Vec<Action>) {
        let Some(server) = self.servers.get(id) else { return };
        let (leg, path) = (server.leg, server.path.clone());
        for action in actions {
            match action {
                Action::Send { data, .. } => self.transmit(now, Some(leg), &path, data),
                Action::Ack(ack) => {
                    let _ = self.input(now, leg, |leg, cx| leg.handle_ack(cx, &ack));
                }
                // Timer H: a refusal that was never ACKed ends all the same.
                Action::Timeout => {
                    self.with_leg(now, leg, |leg, cx| leg.handle_refusal_taken(cx));
                }
                Action::TransportError | Action::Response(_) => {} // never told, of clients only
                Action::Terminated => self.drop_server(id),
            }
        }
        let due = self.servers.get(id).and_then(|server| server.machine.poll_timeout());
        self.schedule.set(Owner::Server(id), due);
    }

    pub(super) fn drop_server(&mut self, id: u64) {
        self.schedule.set(Owner::Server(id), None);
        if let Some(merge) = self.servers.remove(id).and_then(|server| server.merge) {
            self.merges.remove(&merge);
        }
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Taken => {}
            Outcome::Retransmission => self.counters.retransmissions += 1,
            Outcome::Unexpected(event) => *self.counters.unexpected.entry(event).or_default() += 1,
        }
    }

    /// To the wire, and to the leg's ladder.
    pub(super) fn transmit(&mut self, now: Instant, leg: Option<LegId>, path: &Path, data: Bytes) {
        if let Some(leg) = leg {
            self.ladder(now, leg, true, &data);
        }
        self.send(path, data);
    }
}
