//! The confirmed dialog of a leg ([`Answered`]), its far end's offers, and its BYE ([`Leaving`]).

use std::time::Instant;

use super::effect::push_reason;
use super::refresh::Refreshing;
use super::reliable::{RAck, is_prack_of};
use super::respond::{accept, body_of, check_in_dialog, is_from_far_end, set_body};
use super::session_timer::{self, SessionTimer, Wants};
use super::{
    Body, Common, Context, Effect, Ended, Handled, Ignored, LegEvent, Over, Purpose, State, q850,
};
use crate::dialog::Dialog;
use crate::message::{HeaderValue, Method, Request, Response};
use crate::options::response;
use crate::timer::Backoff;
use crate::transaction::ServerKey;

/// A 2xx was sent or received.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) dialog: Dialog,
    /// Until then the far end may repeat its 2xx, should our ACKs be lost: 64 × T1 (RFC 3261
    /// §13.3.1.4).
    repeats_until: Instant,
    /// The far end's offer, which the owner has not answered.
    pub(super) offer: Option<Offer>,
    /// Our 2xx, which the far end has not ACKed.
    unacked: Option<Unacked>,
    /// A hang-up that waits for the ACK (§15), and its Reason.
    hang_up: Option<Option<HeaderValue>>,
    /// The Call-ID is ours (§14.1).
    pub(super) is_caller: bool,
    /// What we sent last to describe the session.
    pub(super) description: Option<Body>,
    /// RFC 4028, where both ends agreed on it.
    pub(super) session: Option<SessionTimer>,
    pub(super) refreshing: Refreshing,
    /// Callee: our last reliable provisional, whose PRACK may come late.
    pub(super) provisional: Option<RAck>,
}

/// A re-INVITE or UPDATE to be answered.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) key: ServerKey,
    pub(super) request: Request,
}

impl Offer {
    /// Tells the owner of it.
    pub(super) fn enter(cx: &mut Context<'_>, key: ServerKey, request: &Request) -> Self {
        cx.tell(LegEvent::Offer {
            offer: body_of(&request.headers, &request.body),
            method: request.method.clone(),
        });
        Self { key, request: request.clone() }
    }

    /// The call ends before the owner has answered.
    pub(super) fn terminate(self, cx: &mut Context<'_>) {
        cx.respond(self.key, response(&self.request, 487));
    }
}

/// A 2xx of ours to an INVITE (§13.3.1.4).
#[derive(Debug)]
pub(super) struct Unacked {
    key: ServerKey,
    cseq: u32,
    response: Response,
    backoff: Backoff,
    resend_at: Instant,
    give_up_at: Instant,
    /// It carries our offer: the ACK brings the answer (§13.2.1).
    has_our_offer: bool,
    /// It answers the INVITE that made the dialog.
    is_first: bool,
}

impl Unacked {
    /// Sends the 2xx.
    pub(super) fn enter(
        cx: &mut Context<'_>,
        key: ServerKey,
        invite: &Request,
        response: Response,
        is_first: bool,
    ) -> Self {
        cx.respond(key.clone(), response.clone());
        let backoff = cx.timers.doubling_to_t2();
        Self {
            key,
            cseq: invite.cseq().map_or(0, |cseq| cseq.seq),
            response,
            backoff,
            resend_at: cx.now + backoff.interval(),
            give_up_at: cx.now + cx.timers.transaction_timeout(),
            has_our_offer: invite.body.is_empty(),
            is_first,
        }
    }

    /// Sends the 2xx again if its time has come.
    fn repeat(&mut self, cx: &mut Context<'_>) {
        if self.resend_at <= cx.now {
            cx.respond(self.key.clone(), self.response.clone());
            self.backoff = self.backoff.next();
            self.resend_at = cx.now + self.backoff.interval();
        }
    }
}

impl Answered {
    /// The far end has answered our INVITE.
    pub(super) fn by_callee(
        cx: &Context<'_>,
        dialog: Dialog,
        invite: &Request,
        answer: &Response,
    ) -> Self {
        let repeats_until = cx.now + cx.timers.transaction_timeout();
        let mut it = Self::new(dialog, repeats_until);
        it.is_caller = true;
        it.description = body_of(&invite.headers, &invite.body);
        it.session = SessionTimer::of_answer(cx.now, answer);
        it.refreshing.learn(&answer.headers);
        it
    }

    fn new(dialog: Dialog, repeats_until: Instant) -> Self {
        Self {
            dialog,
            repeats_until,
            offer: None,
            unacked: None,
            hang_up: None,
            is_caller: false,
            description: None,
            session: None,
            refreshing: Refreshing::default(),
            provisional: None,
        }
    }

    /// We have answered the far end's.
    pub(super) fn by_us(
        cx: &Context<'_>,
        dialog: Dialog,
        unacked: Unacked,
        session: Option<SessionTimer>,
        description: Body,
    ) -> Self {
        let mut it = Self::new(dialog, cx.now);
        it.unacked = Some(unacked);
        it.session = session;
        it.description = Some(description);
        it
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let unacked = self.unacked.as_ref().map(|it| it.resend_at.min(it.give_up_at));
        let session = self.session.as_ref().map(SessionTimer::due);
        unacked.into_iter().chain(session).min()
    }

    /// An exchange that the far end began is not settled, or the call is being left.
    pub(super) fn is_busy_with_far_end(&self) -> bool {
        self.offer.is_some() || self.unacked.is_some() || self.hang_up.is_some()
    }

    /// Repeats the 2xx that waits for its ACK; after 64 × T1 the dialog is ended (§13.3.1.4).
    pub(super) fn handle_timeout(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
    ) -> State {
        match &mut self.unacked {
            Some(unacked) if unacked.give_up_at <= cx.now => {
                self.unacked = None;
                if self.hang_up.is_none() {
                    cx.tell(LegEvent::Ended(Ended::NoAck));
                }
                let reason = self.hang_up.take().flatten();
                self.leave(cx, common, reason.as_ref())
            }
            Some(unacked) => {
                unacked.repeat(cx);
                self.keep_session(cx, common)
            }
            None => self.keep_session(cx, common),
        }
    }

    /// What the session timer wants at its time (RFC 4028 §10).
    fn keep_session(mut self: Box<Self>, cx: &mut Context<'_>, common: &Common) -> State {
        match self.session.as_ref().and_then(|timer| timer.wants(cx.now)) {
            Some(Wants::Bye) => {
                if self.hang_up.is_none() {
                    cx.tell(LegEvent::Ended(Ended::Expired));
                }
                let reason = self.hang_up.take().flatten();
                self.leave(cx, common, reason.as_ref())
            }
            Some(Wants::Refresh) => {
                self.refresh(cx, common);
                State::Answered(self)
            }
            None => State::Answered(self),
        }
    }

    /// A request in the dialog.
    pub(super) fn request(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        key: ServerKey,
        request: &Request,
    ) -> (State, Handled) {
        if let Err(refusal) = check_in_dialog(&mut self.dialog, request) {
            cx.respond(key, refusal);
            return (State::Answered(self), Ok(()));
        }
        match request.method {
            Method::Bye => return (self.bye(cx, key, request), Ok(())),
            // The owner has hung up and waits for the ACK: a new INVITE proves as well that our
            // 2xx came.
            Method::Invite if self.hang_up.is_some() => {
                cx.respond(key, response(request, 487));
                let reason = self.hang_up.take().flatten();
                return (self.leave(cx, common, reason.as_ref()), Ok(()));
            }
            Method::Invite | Method::Update => self.refresh_or_offer(cx, common, key, request),
            Method::Prack if is_prack_of(request, self.provisional.as_ref()) => {
                cx.respond(key, response(request, 200));
            }
            Method::Info => cx.take_info(key, request),
            _ => cx.respond_to_other(key, request),
        }
        (State::Answered(self), Ok(()))
    }

    /// A re-INVITE or an UPDATE: what the session timer says of it comes before what it offers.
    fn refresh_or_offer(
        &mut self,
        cx: &mut Context<'_>,
        common: &Common,
        key: ServerKey,
        request: &Request,
    ) {
        if let Some(refusal) = session_timer::refusal_of(request) {
            return cx.respond(key, refusal);
        }
        let is_update = request.method == Method::Update;
        if is_update && request.body.is_empty() {
            let mut ok = cx.refresh(&common.link, &mut self.dialog, request);
            self.agree_on_session(cx, request, &mut ok);
            return cx.respond(key, ok);
        }
        // Glare (§14.1): ours is out. Or the call is being left.
        if self.refreshing.is_out || (is_update && self.hang_up.is_some()) {
            return cx.respond(key, response(request, 491));
        }
        self.offer(cx, key, request);
    }

    fn agree_on_session(&mut self, cx: &Context<'_>, request: &Request, ok: &mut Response) {
        self.refreshing.learn(&request.headers);
        self.session = session_timer::agree(cx.now, request, ok);
    }

    /// §15.1.2: what is still unanswered gets 487.
    fn bye(mut self: Box<Self>, cx: &mut Context<'_>, key: ServerKey, request: &Request) -> State {
        cx.respond(key, response(request, 200));
        self.terminate_offer(cx);
        if self.hang_up.is_none() {
            cx.tell(LegEvent::Ended(Ended::Far { q850: q850(&request.headers) }));
        }
        State::Over(Over { until: self.repeats_until, invite: None })
    }

    /// A re-INVITE, or an UPDATE with an offer: one offer at a time (§14.2, RFC 3311 §5.2).
    fn offer(&mut self, cx: &mut Context<'_>, key: ServerKey, request: &Request) {
        if self.offer.is_some() {
            return cx.respond_try_later(key, request);
        }
        if self.unacked.as_ref().is_some_and(|unacked| unacked.has_our_offer) {
            return cx.respond(key, response(request, 491));
        }
        if let Some(unacked) = self.unacked.take_if(|_| request.method == Method::Invite) {
            // A new INVITE proves that the 2xx to the last one came, though its ACK did not.
            if unacked.is_first {
                cx.tell(LegEvent::Confirmed);
            }
        }
        self.offer = Some(Offer::enter(cx, key, request));
    }

    /// The owner's answer: 2xx, or a refusal after which the session stays as it was (§14.2).
    pub(super) fn answer_offer(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        answer: Result<Body, u16>,
    ) -> (State, Handled) {
        let Some(Offer { key, request }) = self.offer.take() else {
            return (State::Answered(self), Err(Ignored("answer without an offer")));
        };
        match answer {
            Err(status) => cx.respond(key, response(&request, status.clamp(300, 699))),
            Ok(body) => {
                self.dialog.refresh_target(request.contact().ok());
                self.description = Some(body.clone());
                let mut answer = accept(response(&request, 200), &common.link, body);
                self.agree_on_session(cx, &request, &mut answer);
                if request.method == Method::Invite {
                    self.unacked = Some(Unacked::enter(cx, key, &request, answer, false));
                } else {
                    cx.respond(key, answer);
                }
            }
        }
        (State::Answered(self), Ok(()))
    }

    /// The ACK of our 2xx.
    pub(super) fn ack(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        ack: &Request,
    ) -> (State, Handled) {
        let cseq = ack.cseq().map_or(0, |cseq| cseq.seq);
        let is_ours = is_from_far_end(&self.dialog, ack);
        let Some(unacked) = self.unacked.take_if(|unacked| is_ours && unacked.cseq == cseq) else {
            return (State::Answered(self), Err(Ignored("ACK that nothing waits for")));
        };
        if self.hang_up.is_some() {
            let reason = self.hang_up.take().flatten();
            return (self.leave(cx, common, reason.as_ref()), Ok(()));
        }
        if unacked.has_our_offer {
            let body = body_of(&ack.headers, &ack.body);
            cx.tell(LegEvent::OfferAnswered { body });
        }
        if unacked.is_first {
            cx.tell(LegEvent::Confirmed);
        }
        (State::Answered(self), Ok(()))
    }

    /// CANCEL of a re-INVITE that the owner has not answered.
    pub(super) fn cancel(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        key: &ServerKey,
    ) -> (State, Handled) {
        let handled = match self.offer.take_if(|offer| offer.key == *key) {
            Some(offer) => {
                offer.terminate(cx);
                Ok(())
            }
            None => Err(Ignored("CANCEL after the final answer")),
        };
        (State::Answered(self), handled)
    }

    /// §15: the callee waits for the ACK of its first 2xx before it may send BYE.
    pub(super) fn hang_up(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        reason: Option<HeaderValue>,
    ) -> State {
        if self.unacked.as_ref().is_some_and(|unacked| unacked.is_first) {
            self.hang_up = Some(reason);
            return State::Answered(self);
        }
        self.leave(cx, common, reason.as_ref())
    }

    /// The far end does not know the dialog any more (§12.2.1.2).
    pub(super) fn lost(self: Box<Self>, cx: &mut Context<'_>, common: &Common) -> State {
        cx.tell(LegEvent::Ended(Ended::Lost));
        self.leave(cx, common, None)
    }

    /// Sends a digit.
    pub(super) fn info(&mut self, cx: &mut Context<'_>, common: &Common, body: Body) {
        let mut request = self.dialog.request(Method::Info);
        set_body(&mut request.headers, &body);
        request.body = body.bytes;
        common.link.stamp_new(&mut request, cx);
        let remote = common.link.resolve(self.dialog.next_hop());
        cx.out.push(Effect::Transact { request, remote, purpose: Purpose::Info });
    }

    fn leave(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        reason: Option<&HeaderValue>,
    ) -> State {
        self.terminate_offer(cx);
        State::Leaving(Box::new(Leaving::enter(
            cx,
            common,
            self.dialog,
            reason,
            self.repeats_until,
        )))
    }

    fn terminate_offer(&mut self, cx: &mut Context<'_>) {
        if let Some(offer) = self.offer.take() {
            offer.terminate(cx);
        }
    }
}

/// Our BYE is out.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) dialog: Dialog,
    repeats_until: Instant,
}

impl Leaving {
    /// Sends BYE (RFC 3261 §15.1.1).
    pub(super) fn enter(
        cx: &mut Context<'_>,
        common: &Common,
        mut dialog: Dialog,
        reason: Option<&HeaderValue>,
        repeats_until: Instant,
    ) -> Self {
        let mut request = dialog.request(Method::Bye);
        push_reason(&mut request.headers, reason);
        common.link.stamp_new(&mut request, cx);
        let remote = common.link.resolve(dialog.next_hop());
        cx.out.push(Effect::Transact { request, remote, purpose: Purpose::Bye });
        Self { dialog, repeats_until }
    }

    /// Glare: the far end's BYE crosses ours and is answered too.
    pub(super) fn request(
        self: Box<Self>,
        cx: &mut Context<'_>,
        key: ServerKey,
        request: &Request,
    ) -> (State, Handled) {
        if request.method == Method::Bye && is_from_far_end(&self.dialog, request) {
            cx.respond(key, response(request, 200));
            return (self.finish(), Ok(()));
        }
        cx.respond(key, response(request, 481));
        (State::Leaving(self), Ok(()))
    }

    /// The BYE was answered, however, or given up.
    pub(super) fn finish(self) -> State {
        State::Over(Over { until: self.repeats_until, invite: None })
    }
}
