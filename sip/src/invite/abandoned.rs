//! An INVITE of ours whose answer nobody wants any more: CANCEL, and whatever comes late is ended.

use std::time::Instant;

use super::answered::Leaving;
use super::caller::{again, refused};
use super::{Common, Context, Effect, Failure, Handled, LegEvent, Over, Purpose, State};
use crate::dialog::Dialog;
use crate::message::{HeaderValue, Request, Response};
use crate::transaction;

/// Copies of an INVITE with credentials that an earlier process may have sent, each after a challenge.
pub(super) const MAX_COPIES: u8 = 2;

/// The INVITE is out and nobody wants its answer: after a hang-up, or after timer B.
#[derive(Debug)]
pub(super) struct Abandoned {
    invite: Request,
    reason: Option<HeaderValue>,
    is_cancelled: bool,
    /// The owner knows how the INVITE ended.
    is_told: bool,
    /// Copies of it, with credentials, that may be out as well: an earlier process knew.
    pub(super) copies: u8,
    /// 64 × T1 after the hang-up, timer B or the CANCEL (RFC 3261 §9.1).
    pub(super) until: Instant,
}

impl Abandoned {
    pub(super) fn new(
        cx: &Context<'_>,
        invite: Request,
        reason: Option<HeaderValue>,
        is_told: bool,
    ) -> Self {
        let until = cx.now + cx.timers.transaction_timeout();
        Self { invite, reason, is_cancelled: false, is_told, copies: 0, until }
    }

    /// §9.1: CANCEL goes where the INVITE went.
    pub(super) fn cancel(&mut self, cx: &mut Context<'_>, common: &Common) {
        self.is_cancelled = true;
        self.until = cx.now + cx.timers.transaction_timeout();
        cx.out.push(Effect::Transact {
            request: transaction::cancel(&self.invite, self.reason.clone()),
            remote: common.link.hop(),
            purpose: Purpose::Cancel,
        });
    }

    /// The answer to the CANCEL. If an INVITE of an earlier process is not there, the copy that
    /// answered a challenge of it is what rings.
    pub(super) fn cancelled(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        outcome: &Result<Response, Failure>,
    ) -> State {
        let is_unknown = outcome.as_ref().is_ok_and(|response| response.status == 481);
        if is_unknown && self.copies > 0 && common.credentials.is_some() {
            self.copies -= 1;
            if again(&mut self.invite, None).is_some() {
                self.cancel(cx, common);
            }
        }
        State::Abandoned(self)
    }

    /// The provisional that CANCEL waited for.
    pub(super) fn provisional(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
    ) -> (State, Handled) {
        if !self.is_cancelled {
            self.cancel(cx, common);
        }
        (State::Abandoned(self), Ok(()))
    }

    /// A 2xx that crossed our CANCEL, or came after timer B: ACK and BYE (§9.1, §15).
    pub(super) fn success(
        self: Box<Self>,
        cx: &mut Context<'_>,
        common: &mut Common,
        mut dialog: Dialog,
    ) -> (State, Handled) {
        common.ack_success(cx, &dialog);
        dialog.raise_cseq(common.early_cseq);
        let until = cx.now + cx.timers.transaction_timeout();
        (
            State::Leaving(Box::new(Leaving::enter(
                cx,
                common,
                dialog,
                self.reason.as_ref(),
                until,
            ))),
            Ok(()),
        )
    }

    pub(super) fn failure(
        self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        refusal: Response,
        in_transaction: bool,
    ) -> (State, Handled) {
        refused(cx, common, self.invite, &refusal, in_transaction, !self.is_told)
    }

    /// The transaction is gone: its branch is still listened to.
    pub(super) fn no_answer(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        failure: Failure,
    ) -> (State, Handled) {
        if !std::mem::replace(&mut self.is_told, true) {
            cx.tell(LegEvent::NoAnswer(failure.clone()));
        }
        let state = match failure {
            Failure::Timeout => State::Abandoned(self),
            Failure::Transport(_) => State::Over(Over::absorbing(cx, Some(self.invite))),
        };
        (state, Ok(()))
    }

    /// Nothing came in time (§9.1: the transaction is considered cancelled).
    pub(super) fn expire(self: Box<Self>, cx: &mut Context<'_>) -> State {
        if !self.is_told {
            cx.tell(LegEvent::NoAnswer(Failure::Timeout));
        }
        cx.out.push(Effect::DropInvite);
        State::Over(Over { until: cx.now, invite: None })
    }
}
