//! The callee's INVITE until our final answer.

use std::time::Instant;

use super::answered::{Answered, Unacked};
use super::reliable::{self, RAck, Sent, is_prack_of};
use super::respond::{accept, check_in_dialog, response_with_tag, set_body};
use super::session_timer;
use super::{Body, Common, Context, Ended, Handled, LegEvent, State, q850};
use crate::dialog::Dialog;
use crate::limits::OVERLOAD_RETRY_AFTER;
use crate::message::{HeaderName, Method, Request, Response};
use crate::options::response;
use crate::transaction::ServerKey;

/// A call came in and has no final answer yet.
#[derive(Debug)]
pub(super) struct Ringing {
    key: ServerKey,
    invite: Request,
    pub(super) dialog: Dialog,
    /// The last reliable provisional that is not PRACKed (RFC 3262 §3).
    unpracked: Option<Sent>,
    /// The last one that is.
    pracked: Option<RAck>,
    /// What waits for the PRACK: a further provisional, the 200.
    next: Option<Response>,
    accepting: Option<Body>,
}

impl Ringing {
    pub(super) fn new(key: ServerKey, invite: Request, dialog: Dialog) -> Self {
        Self { key, invite, dialog, unpracked: None, pracked: None, next: None, accepting: None }
    }

    /// The owner has accepted, and the 200 waits for a PRACK.
    pub(super) fn is_accepted(&self) -> bool {
        self.accepting.is_some()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.unpracked.as_ref().map(Sent::due)
    }

    /// Repeats the provisional that waits for its PRACK; after 64 × T1 the call is refused
    /// (RFC 3262 §3).
    pub(super) fn handle_timeout(mut self: Box<Self>, cx: &mut Context<'_>) -> State {
        match &mut self.unpracked {
            Some(sent) if sent.give_up_at <= cx.now => {
                cx.tell(LegEvent::Ended(Ended::NoAck));
                self.reject(cx, 504)
            }
            Some(sent) => {
                sent.repeat(cx);
                State::Ringing(self)
            }
            None => State::Ringing(self),
        }
    }

    /// RFC 3261 §13.3.1.1. Reliably where the caller requires that, or we want it too.
    pub(super) fn ring(&mut self, cx: &mut Context<'_>, common: &Common, body: Option<Body>) {
        let status = if body.is_some() { 183 } else { 180 };
        let mut ringing = self.response(status);
        common.link.contact(&mut ringing.headers);
        if let Some(body) = body {
            set_body(&mut ringing.headers, &body);
            ringing.body = body.bytes;
        }
        if !reliable::is_wanted(&self.invite.headers, cx.reliable_provisionals) {
            return cx.respond(self.key.clone(), ringing);
        }
        if self.unpracked.is_some() {
            self.next = Some(ringing); // one at a time
        } else {
            self.send_reliably(cx, ringing);
        }
    }

    fn send_reliably(&mut self, cx: &mut Context<'_>, response: Response) {
        let Ok(cseq) = self.invite.cseq() else { return };
        let last = self.pracked.as_ref().map(|rack| rack.rseq);
        self.unpracked = Some(Sent::enter(cx, self.key.clone(), cseq, response, last));
    }

    /// RFC 3262 §3: 200 for the one that waits, 481 for any other. An offer in it is refused, and
    /// what was described stays.
    fn prack(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        key: ServerKey,
        request: &Request,
    ) -> State {
        if !is_prack_of(request, self.unpracked.as_ref().map(|sent| &sent.rack)) {
            cx.respond_to_other(key, request);
            return State::Ringing(self);
        }
        self.pracked = self.unpracked.take().map(|sent| sent.rack);
        let status = if request.body.is_empty() { 200 } else { 488 };
        cx.respond(key, response(request, status));
        if let Some(body) = self.accepting.take() {
            return self.accept(cx, common, body);
        }
        if let Some(next) = self.next.take() {
            self.send_reliably(cx, next);
        }
        State::Ringing(self)
    }

    /// §13.3.1.4: the 200 is repeated until its ACK. It waits for the PRACK of a provisional that
    /// has described the session (RFC 3262 §5).
    pub(super) fn accept(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        body: Body,
    ) -> State {
        if self.unpracked.as_ref().is_some_and(Sent::has_description) {
            self.accepting = Some(body);
            return State::Ringing(self);
        }
        let mut response = accept(self.response(200), &common.link, body.clone());
        let session = session_timer::agree(cx.now, &self.invite, &mut response);
        let unacked = Unacked::enter(cx, self.key, &self.invite, response, true);
        let pracked = self.unpracked.map(|sent| sent.rack).or(self.pracked);
        let mut answered = Answered::by_us(cx, self.dialog, unacked, session, body);
        answered.refreshing.learn(&self.invite.headers);
        answered.provisional = pracked;
        State::Answered(Box::new(answered))
    }

    /// §13.3.1.3. Who is refused for want of room is told when to come again (§21.5.4).
    pub(super) fn reject(self: Box<Self>, cx: &mut Context<'_>, status: u16) -> State {
        let mut refusal = self.response(status.clamp(300, 699));
        if status == 503 {
            refusal.headers.push(HeaderName::RETRY_AFTER, OVERLOAD_RETRY_AFTER);
        }
        cx.respond(self.key.clone(), refusal);
        State::Refused
    }

    /// §9.2.
    pub(super) fn cancel(
        self: Box<Self>,
        cx: &mut Context<'_>,
        q850: Option<u8>,
    ) -> (State, Handled) {
        cx.respond(self.key.clone(), self.response(487));
        cx.tell(match self.is_accepted() {
            true => LegEvent::Ended(Ended::NoAck), // to its owner it was answered
            false => LegEvent::Cancelled { q850 },
        });
        (State::Refused, Ok(()))
    }

    /// A request in the early dialog.
    pub(super) fn request(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        key: ServerKey,
        request: &Request,
    ) -> (State, Handled) {
        if let Err(refusal) = check_in_dialog(&mut self.dialog, request) {
            cx.respond(key, refusal);
            return (State::Ringing(self), Ok(()));
        }
        match request.method {
            // §15.1.2: the INVITE gets 487.
            Method::Bye => {
                cx.respond(key, response(request, 200));
                cx.respond(self.key.clone(), self.response(487));
                cx.tell(LegEvent::Ended(Ended::Far { q850: q850(&request.headers) }));
                return (State::Refused, Ok(()));
            }
            // Its first offer has no answer yet (§14.2, RFC 3311 §5.2).
            Method::Invite => cx.respond_try_later(key, request),
            Method::Update if !request.body.is_empty() => cx.respond_try_later(key, request),
            Method::Update => {
                let ok = cx.refresh(&common.link, &mut self.dialog, request);
                cx.respond(key, ok);
            }
            Method::Info => cx.take_info(key, request),
            Method::Prack => return (self.prack(cx, common, key, request), Ok(())),
            _ => cx.respond_to_other(key, request),
        }
        (State::Ringing(self), Ok(()))
    }

    /// A response to the INVITE, with our tag and its Record-Route (§12.1.1).
    fn response(&self, status: u16) -> Response {
        response_with_tag(&self.invite, status, self.dialog.local_tag())
    }
}
