//! The INVITE usage (RFC 3261 §13–§15): one leg from its INVITE to its last repetition.
//!
//! ```text
//!       caller                                           callee
//!    +---------+  2xx: ACK   +----------+   accept: 200  +---------+
//!    | Calling |-----------> | Answered | <------------- | Ringing |
//!    +---------+             +----------+                +---------+
//!         | hang-up,            |    | hang-up, no ACK:        | reject, CANCEL, BYE
//!         | timer B             |    | BYE                     |
//!         V                 BYE |    V                         |
//!   +-----------+               |  +---------+            +---------+
//!   | Abandoned |               |  | Leaving |            | Refused |
//!   +-----------+               |  +---------+            +---------+
//!         | final answer,       |    | BYE answered            | ACK, timer H
//!         | 64 x T1             V    V or timer F              |
//!         |                   +--------+                       |
//!         +-----------------> |  Over  | <---------------------+
//!                             +--------+   absorbs what is repeated, then nothing is left
//! ```
//!
//! A [`Leg`] knows the dialogs that one INVITE made and what each request and response means to
//! them. It refuses to know transactions' timers, sockets, and what a body says. What it wants
//! done comes out as [`Effect`]s; the endpoint carries them out. Start at [`Leg`].
#![warn(clippy::indexing_slicing)]

mod abandoned;
mod answered;
mod callee;
mod caller;
mod command;
mod common;
mod effect;
mod event;
mod refresh;
mod reliable;
mod respond;
mod session_timer;
mod spec;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

pub use event::{Ended, Failure, LadderRow, LegEvent};
pub use spec::{Body, Identity, IncomingCall, InviteSpec, LegId, Orphan};

use self::abandoned::{Abandoned, MAX_COPIES};
use self::answered::{Answered, Leaving};
use self::callee::Ringing;
use self::caller::Calling;
pub(crate) use self::caller::again;
pub(crate) use self::common::Common;
use self::common::OurInvite;
pub(crate) use self::effect::{Context, Effect, Hop, Link, Purpose};
pub(crate) use self::respond::body_of;
pub(crate) use self::session_timer::{ask_for_extensions, refusal_of as session_refusal};
use self::spec::is_branch_of;
pub(crate) use self::spec::{branch, token};
use crate::auth::{Credentials, proofs};
use crate::dialog::Dialog;
use crate::endpoint::Network;
use crate::error::FieldError;
use crate::message::{Host, Method, Request, Response, Via};
use crate::options::response;
use crate::reason::q850;
use crate::transaction::ServerKey;

/// One leg. Every input says where it is handled; an input that the state has no arrow for is
/// named in [`Ignored`].
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) common: Common,
    state: State,
}

#[derive(Debug)]
enum State {
    Calling(Box<Calling>),
    Abandoned(Box<Abandoned>),
    Ringing(Box<Ringing>),
    Answered(Box<Answered>),
    Leaving(Box<Leaving>),
    /// Our refusal of the far end's INVITE is out; its ACK is waited for by the transaction.
    Refused,
    Over(Over),
}

/// The leg is over; it answers repetitions until `until`.
#[derive(Debug)]
pub(crate) struct Over {
    until: Instant,
    /// The INVITE that we sent, to ACK a late refusal.
    invite: Option<Box<Request>>,
}

impl Over {
    /// Nothing is repeated to us.
    fn now(cx: &Context<'_>) -> Self {
        Self { until: cx.now, invite: None }
    }

    /// Our INVITE's branches may answer late for 64 × T1.
    fn absorbing(cx: &Context<'_>, invite: Option<Request>) -> Self {
        let until = cx.now + cx.timers.transaction_timeout();
        Self { until, invite: invite.map(Box::new) }
    }
}

/// An input that the leg's state has no arrow for: nothing was done; it is to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ignored(pub(crate) &'static str);

/// What becomes of an input.
pub(crate) type Handled = Result<(), Ignored>;

impl Leg {
    /// Sends an INVITE; `request` is complete.
    pub(crate) fn call(
        cx: &mut Context<'_>,
        spec: &InviteSpec,
        link: Link,
        request: Request,
    ) -> Self {
        let Identity { call_id, from_tag, .. } = &spec.identity;
        let common = Common::new(call_id, from_tag, link, OurInvite::of(request.via()))
            .with_peers(spec.peers.clone())
            .with_credentials(spec.credentials.clone(), &request);
        cx.out.push(Effect::Invite { request: request.clone(), timer_b: spec.no_answer_timeout });
        Self {
            common,
            state: State::Calling(Box::new(Calling::new(request, spec.no_answer_timeout))),
        }
    }

    /// An INVITE that an earlier process sent: CANCEL goes out at once, for nobody knows whether
    /// a provisional had come; whatever answers late is ended.
    pub(crate) fn orphan_early(cx: &mut Context<'_>, link: Link, invite: Request) -> Self {
        let call_id = invite.call_id().unwrap_or_default().to_owned();
        let tag = invite.from().ok().and_then(|f| f.tag().map(str::to_owned)).unwrap_or_default();
        let common = Common::new(&call_id, &tag, link, OurInvite::of(invite.via()));
        let mut abandoned = Abandoned::new(cx, invite, None, true);
        abandoned.copies = MAX_COPIES;
        abandoned.cancel(cx, &common);
        Self { common, state: State::Abandoned(Box::new(abandoned)) }
    }

    /// A dialog that an earlier process had: BYE.
    pub(crate) fn orphan_confirmed(cx: &mut Context<'_>, link: Link, dialog: Dialog) -> Self {
        let (call_id, tag) = (dialog.call_id(), dialog.local_tag());
        let common = Common::new(call_id, tag, link, OurInvite::Forgotten);
        let until = cx.now + cx.timers.transaction_timeout();
        let leaving = Leaving::enter(cx, &common, dialog, None, until);
        Self { common, state: State::Leaving(Box::new(leaving)) }
    }

    /// A dialog that a 2xx nobody waits for would make: ACK and BYE.
    pub(crate) fn orphan_answer(
        cx: &mut Context<'_>,
        link: Link,
        credentials: Option<Arc<Credentials>>,
        answer: &Response,
    ) -> Option<Self> {
        let dialog = Dialog::of_caller(answer)?;
        let invite = OurInvite::of(answer.via());
        let mut common = Common::new(dialog.call_id(), dialog.local_tag(), link, invite);
        let until = cx.now + cx.timers.transaction_timeout();
        let state = State::Over(Over { until, invite: None });
        common.is_closed = true; // nobody asked for it
        common.credentials = credentials;
        common.dismiss(cx, dialog);
        Some(Self { common, state })
    }

    /// A call that came in: the endpoint has checked that it can be taken.
    pub(crate) fn incoming(
        link: Link,
        peers: Vec<Network>,
        key: ServerKey,
        request: Request,
        dialog: Dialog,
    ) -> Self {
        let (call_id, tag) = (dialog.call_id(), dialog.local_tag());
        let common = Common::new(call_id, tag, link, OurInvite::Theirs).with_peers(peers);
        let ringing = Ringing::new(key, request, dialog);
        Self { common, state: State::Ringing(Box::new(ringing)) }
    }

    /// Whether a response is to the INVITE that made this leg, or a 2xx that was ACKed: another with
    /// our tag answers a request that we have not sent.
    pub(crate) fn is_answered_by(&self, response: &Response) -> bool {
        let is_of_invite = match &self.common.invite {
            OurInvite::Branch(branch) => {
                let is_of = |via: Via| via.branch().is_some_and(|it| is_branch_of(branch, it));
                response.via().is_ok_and(is_of)
            }
            OurInvite::Forgotten => true,
            OurInvite::Theirs => false,
        };
        is_of_invite || self.common.has_acked(response)
    }

    /// Whether a request in this leg's dialogs may come from `source`.
    pub(crate) fn allows(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.common.link.remote.ip().to_canonical() == source
            || self.common.peers.iter().any(|network| network.contains(source))
            || self
                .dialogs()
                .flat_map(Dialog::hosts)
                .filter_map(Host::ip)
                .any(|host| host.to_canonical() == source)
    }

    /// Whether a request of ours that was challenged is to be sent again: not after a hang-up, and
    /// not once a telephone has rung for it.
    pub(crate) fn wants_again(&self, request: &Request) -> bool {
        match &self.state {
            State::Calling(state) => state.wants_again(request),
            State::Leaving(_) | State::Over(_) => request.method == Method::Bye,
            State::Ringing(_) | State::Answered(_) => true,
            State::Abandoned(_) | State::Refused => false,
        }
    }

    /// The CSeq number of a request that is sent again: the next one of its dialog, if it is in one.
    pub(crate) fn next_cseq(&mut self, request: &Request) -> Option<u32> {
        let to = request.to().ok()?;
        let tag = to.tag().unwrap_or_default();
        let dialog = match &mut self.state {
            State::Calling(state) => {
                let early = state.early.iter_mut().find(|it| it.remote_tag() == tag)?;
                let seq = early.next_cseq();
                self.common.early_cseq = self.common.early_cseq.max(seq);
                return Some(seq);
            }
            State::Ringing(state) => Some(&mut state.dialog),
            State::Answered(state) => Some(&mut state.dialog),
            State::Leaving(state) => Some(&mut state.dialog),
            State::Abandoned(_) | State::Refused | State::Over(_) => None,
        };
        // Else it is the INVITE that makes a dialog, or the BYE of one that nobody wants.
        dialog.filter(|dialog| dialog.remote_tag() == tag).map(Dialog::next_cseq)
    }

    /// A request of ours is sent with credentials: an INVITE's ACK and CANCEL follow it.
    pub(crate) fn note_sent(&mut self, request: &Request) {
        if request.method != Method::Invite {
            return;
        }
        self.common.proofs = proofs(&request.headers);
        if let State::Calling(state) = &mut self.state {
            state.note_sent(request);
        }
    }

    /// Nothing of the leg is left.
    pub(crate) fn is_gone(&self, now: Instant) -> bool {
        matches!(&self.state, State::Over(over) if over.until <= now)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let state = match &self.state {
            State::Calling(_) | State::Refused => None,
            State::Ringing(state) => state.poll_timeout(),
            State::Abandoned(state) => Some(state.until),
            State::Answered(state) => state.poll_timeout(),
            State::Leaving(_) => None, // timer F of the BYE
            State::Over(state) => Some(state.until),
        };
        state.into_iter().chain(self.common.ack_due()).min()
    }

    /// The leg's time has come.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) -> Handled {
        if self.common.ack_due().is_some_and(|due| due <= cx.now) {
            self.common.release_ack(cx);
        }
        self.step(cx, |state, cx, common| match state {
            State::Abandoned(state) if state.until <= cx.now => (state.expire(cx), Ok(())),
            State::Ringing(state) => (state.handle_timeout(cx), Ok(())),
            State::Answered(state) => (state.handle_timeout(cx, common), Ok(())),
            state => (state, Ok(())),
        })
    }

    /// A response to our INVITE. `in_transaction`: its transaction lives and has sent the ACK of
    /// a refusal.
    pub(crate) fn handle_invite_response(
        &mut self,
        cx: &mut Context<'_>,
        response: Response,
        in_transaction: bool,
    ) -> Handled {
        match response.status {
            ..200 => self.step(cx, |state, cx, common| match state {
                State::Calling(state) => state.provisional(cx, common, response),
                State::Abandoned(state) => state.provisional(cx, common),
                state => (state, Err(Ignored("1xx after the final answer"))),
            }),
            200..300 => {
                if self.common.repeat_ack(cx, &response) {
                    return Ok(());
                }
                let Some(dialog) = Dialog::of_caller(&response) else {
                    return Err(Ignored("2xx that makes no dialog"));
                };
                self.step(cx, |state, cx, common| match state {
                    State::Calling(state) => state.success(cx, common, dialog, &response),
                    State::Abandoned(state) => state.success(cx, common, dialog),
                    state => {
                        common.dismiss(cx, dialog); // a fork that answered later (§13.2.2.4)
                        (state, Ok(()))
                    }
                })
            }
            300.. => self.step(cx, |state, cx, common| match state {
                State::Calling(state) => state.failure(cx, common, response, in_transaction),
                State::Abandoned(state) => state.failure(cx, common, response, in_transaction),
                State::Over(state) => {
                    if let Some(invite) = state.invite.as_deref().filter(|_| !in_transaction) {
                        common.ack_failure(cx, invite, &response);
                    }
                    (State::Over(state), Ok(()))
                }
                state => (state, Err(Ignored("refusal after a 2xx"))),
            }),
        }
    }

    /// Our INVITE's transaction ended without a final answer.
    pub(crate) fn handle_no_answer(&mut self, cx: &mut Context<'_>, failure: Failure) -> Handled {
        self.step(cx, |state, cx, _| match state {
            State::Calling(state) => state.no_answer(cx, failure),
            State::Abandoned(state) => state.no_answer(cx, failure),
            state => (state, Err(Ignored("INVITE failed after the final answer"))),
        })
    }

    /// The end of a request of ours.
    pub(crate) fn handle_outcome(
        &mut self,
        cx: &mut Context<'_>,
        purpose: Purpose,
        outcome: &Result<Response, Failure>,
    ) -> Handled {
        match purpose {
            // §9.1: what the INVITE comes to is told by the INVITE's own answer. A fork's BYE
            // has nothing to tell either.
            Purpose::Cancel => self.step(cx, |state, cx, common| match state {
                State::Abandoned(state) => (state.cancelled(cx, common, outcome), Ok(())),
                state => (state, Ok(())),
            }),
            Purpose::StrayBye => Ok(()),
            // The INVITE's own answer decides (RFC 3262 §4 asks for nothing).
            Purpose::Prack => Ok(()),
            Purpose::Refresh => self.refreshed(cx, outcome),
            Purpose::Bye => self.step(cx, |state, _, _| match state {
                State::Leaving(state) => (state.finish(), Ok(())),
                state => (state, Err(Ignored("answer to a BYE"))),
            }),
            Purpose::Info => self.step(cx, |state, cx, common| match state {
                State::Answered(state) if is_lost(outcome) => (state.lost(cx, common), Ok(())),
                state => (state, Ok(())),
            }),
        }
    }

    /// The answer to a refresh of ours. A 2xx to a re-INVITE is ACKed whatever has come between.
    fn refreshed(&mut self, cx: &mut Context<'_>, outcome: &Result<Response, Failure>) -> Handled {
        if let Ok(answer) = outcome
            && answer.is_success()
            && self.common.repeat_ack(cx, answer)
        {
            return Ok(());
        }
        self.step(cx, |state, cx, common| match state {
            State::Answered(state) => (state.refreshed(cx, common, outcome), Ok(())),
            State::Leaving(state) => {
                if let Some(cseq) = outcome.as_ref().ok().and_then(cseq_to_ack) {
                    common.ack_refresh(cx, &state.dialog, cseq);
                }
                (State::Leaving(state), Ok(()))
            }
            state => (state, Ok(())),
        })
    }

    /// A request in one of the leg's dialogs, other than ACK and CANCEL.
    pub(crate) fn handle_request(
        &mut self,
        cx: &mut Context<'_>,
        key: ServerKey,
        request: &Request,
    ) -> Handled {
        self.common.release_ack(cx); // before whatever comes of it
        self.step(cx, |state, cx, common| match state {
            State::Calling(state) => state.request(cx, common, key, request),
            State::Ringing(state) => state.request(cx, common, key, request),
            State::Answered(state) => state.request(cx, common, key, request),
            State::Leaving(state) => state.request(cx, key, request),
            state @ (State::Abandoned(_) | State::Refused | State::Over(_)) => {
                cx.respond(key, response(request, 481));
                (state, Ok(()))
            }
        })
    }

    /// An ACK: of our 2xx.
    pub(crate) fn handle_ack(&mut self, cx: &mut Context<'_>, ack: &Request) -> Handled {
        self.step(cx, |state, cx, common| match state {
            State::Answered(state) => state.ack(cx, common, ack),
            state => (state, Err(Ignored("ACK"))),
        })
    }

    /// The far end has taken our refusal, or timer H has run out: nothing is left to do.
    pub(crate) fn handle_refusal_taken(&mut self, cx: &mut Context<'_>) -> Handled {
        self.step(cx, |state, cx, _| match state {
            State::Refused => (State::Over(Over::now(cx)), Ok(())),
            state => (state, Ok(())), // the refusal of a re-INVITE
        })
    }

    /// CANCEL of the INVITE that made this leg, or of a re-INVITE. The endpoint answers it.
    pub(crate) fn handle_cancel(
        &mut self,
        cx: &mut Context<'_>,
        key: &ServerKey,
        cancel: &Request,
    ) -> Handled {
        let q850 = q850(&cancel.headers);
        self.step(cx, |state, cx, _| match state {
            State::Ringing(state) => state.cancel(cx, q850),
            State::Answered(state) => state.cancel(cx, key),
            state => (state, Err(Ignored("CANCEL after the final answer"))),
        })
    }

    /// One arrow: the state is consumed and the next one takes its place.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        arrow: impl FnOnce(State, &mut Context<'_>, &mut Common) -> (State, Handled),
    ) -> Handled {
        let placeholder = State::Over(Over::now(cx));
        let state = std::mem::replace(&mut self.state, placeholder);
        let (state, handled) = arrow(state, cx, &mut self.common);
        self.state = state;
        if matches!(self.state, State::Over(_)) && !self.common.is_closed {
            self.common.is_closed = true;
            cx.tell(LegEvent::Closed);
        }
        handled
    }

    fn dialogs(&self) -> impl Iterator<Item = &Dialog> {
        let (many, one): (&[Dialog], Option<&Dialog>) = match &self.state {
            State::Calling(state) => (&state.early, None),
            State::Ringing(state) => (&[], Some(&state.dialog)),
            State::Answered(state) => (&[], Some(&state.dialog)),
            State::Leaving(state) => (&[], Some(&state.dialog)),
            State::Abandoned(_) | State::Refused | State::Over(_) => (&[], None),
        };
        many.iter().chain(one)
    }
}

impl OurInvite {
    fn of(via: Result<Via, FieldError>) -> Self {
        let branch = via.ok().and_then(|via| via.branch().map(str::to_owned));
        branch.map_or(Self::Forgotten, Self::Branch)
    }
}

/// The CSeq number of the ACK that a response wants: that of a 2xx to a re-INVITE.
fn cseq_to_ack(response: &Response) -> Option<u32> {
    let cseq = response.cseq().ok().filter(|_| response.is_success())?;
    (cseq.method == Method::Invite).then_some(cseq.seq)
}

/// 408, 481 or silence to a request in a dialog: the far end has lost it (RFC 3261 §12.2.1.2).
fn is_lost(outcome: &Result<Response, Failure>) -> bool {
    match outcome {
        Ok(response) => matches!(response.status, 408 | 481),
        Err(Failure::Timeout) => true,
        Err(Failure::Transport(_)) => false, // one ICMP error is no proof
    }
}
