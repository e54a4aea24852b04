//! The callee's INVITE until our final answer.

use super::answered::{Answered, Unacked};
use super::respond::{accept, check_in_dialog, response_with_tag, set_body};
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
}

impl Ringing {
    pub(super) fn new(key: ServerKey, invite: Request, dialog: Dialog) -> Self {
        Self { key, invite, dialog }
    }

    /// RFC 3261 §13.3.1.1.
    pub(super) fn ring(&mut self, cx: &mut Context<'_>, common: &Common, body: Option<Body>) {
        let status = if body.is_some() { 183 } else { 180 };
        let mut ringing = self.response(status);
        common.link.contact(&mut ringing.headers);
        if let Some(body) = body {
            set_body(&mut ringing.headers, &body);
            ringing.body = body.bytes;
        }
        cx.respond(self.key.clone(), ringing);
    }

    /// §13.3.1.4: the 200 is repeated until its ACK.
    pub(super) fn accept(
        self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        body: Body,
    ) -> State {
        let response = accept(self.response(200), &common.link, body);
        let unacked = Unacked::enter(cx, self.key, &self.invite, response, true);
        State::Answered(Box::new(Answered::by_us(cx, self.dialog, unacked)))
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
        cx.tell(LegEvent::Cancelled { q850 });
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
            Method::Update => cx.refresh(key, &common.link, &mut self.dialog, request),
            Method::Info => cx.take_info(key, request),
            _ => cx.respond_to_other(key, request),
        }
        (State::Ringing(self), Ok(()))
    }

    /// A response to the INVITE, with our tag and its Record-Route (§12.1.1).
    fn response(&self, status: u16) -> Response {
        response_with_tag(&self.invite, status, self.dialog.local_tag())
    }
}
