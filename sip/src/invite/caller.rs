//! The caller's INVITE until its final answer; [`Abandoned`] where that is not wanted any more.

use std::cmp::Reverse;
use std::time::Duration;

use super::abandoned::Abandoned;
use super::answered::{Answered, Offer};
use super::reliable::{self, Arrival, RAck};
use super::respond::{accept, body_of, check_in_dialog};
use super::session_timer::{self, SessionExpires};
use super::spec::next_branch;
use super::{
    Body, Common, Context, Effect, Ended, Failure, Handled, Ignored, LegEvent, Over, Purpose,
    State, q850,
};
use crate::dialog::{Dialog, DialogState};
use crate::limits::{MAX_CSEQ, MAX_EARLY_DIALOGS};
use crate::message::{CSeq, HeaderName, HeaderValue, Method, NameAddr, Request, Response};
use crate::options::response;
use crate::transaction::ServerKey;

/// The INVITE is out and its answer is wanted.
#[derive(Debug)]
pub(super) struct Calling {
    invite: Request,
    /// A provisional came: CANCEL is allowed (RFC 3261 §9.1).
    is_provisional: bool,
    is_tried: bool,
    /// A provisional above 100 came.
    has_rung: bool,
    /// The reliable ones (RFC 3262).
    reliable: reliable::Received,
    /// The far end's UPDATE with an offer, which the owner has not answered, and by whose tag.
    offer: Option<(String, Offer)>,
    /// What the owner answered to such an offer last.
    description: Option<Body>,
    /// How often a 422 has raised the session's interval, and timer B of the next INVITE.
    raised: u8,
    no_answer: Duration,
    /// One for each To tag seen in a provisional (§12.1).
    pub(super) early: Vec<Dialog>,
}

impl Calling {
    pub(super) fn new(invite: Request, no_answer: Duration) -> Self {
        Self {
            invite,
            is_provisional: false,
            is_tried: false,
            has_rung: false,
            reliable: reliable::Received::default(),
            offer: None,
            description: None,
            raised: 0,
            no_answer,
            early: Vec::new(),
        }
    }

    /// Whether the INVITE may be sent again with credentials. A telephone that rang would ring
    /// twice.
    pub(super) fn wants_again(&self, request: &Request) -> bool {
        request.method != Method::Invite || !self.has_rung
    }

    /// The INVITE was sent again with credentials: no provisional has come to that one.
    pub(super) fn note_sent(&mut self, invite: &Request) {
        self.invite = invite.clone();
        self.is_provisional = false;
    }

    /// §13.2.2.1.
    pub(super) fn provisional(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &mut Common,
        response: Response,
    ) -> (State, Handled) {
        self.is_provisional = true;
        if response.status == 100 {
            if !self.is_tried {
                self.is_tried = true;
                cx.tell(LegEvent::Trying);
            }
        } else {
            self.has_rung = true;
            self.learn_early_dialog(common, &response);
            match self.reliable.take(&response) {
                Arrival::Unreliable => {}
                Arrival::New(rack) => self.prack(cx, common, &response, &rack),
                Arrival::NotNow => return (State::Calling(self), Ok(())),
            }
            cx.tell(LegEvent::Provisional {
                status: response.status,
                reason: response.reason.clone(),
                body: body_of(&response.headers, &response.body),
            });
        }
        (State::Calling(self), Ok(()))
    }

    /// RFC 3262 §4.
    fn prack(&mut self, cx: &mut Context<'_>, common: &mut Common, of: &Response, rack: &RAck) {
        let to = of.to().ok();
        let tag = to.as_ref().and_then(|to| to.tag()).unwrap_or_default();
        let Some(dialog) = self.early.iter_mut().find(|it| it.remote_tag() == tag) else { return };
        let mut request = dialog.request(Method::Prack);
        common.early_cseq = common.early_cseq.max(dialog.local_cseq());
        if let Ok(value) = HeaderValue::try_from(rack.to_string()) {
            request.headers.push(HeaderName::RACK, value);
        }
        common.link.stamp_new(&mut request, cx);
        let remote = common.link.resolve(dialog.next_hop());
        cx.out.push(Effect::Transact { request, remote, purpose: Purpose::Prack });
    }

    fn learn_early_dialog(&mut self, common: &Common, response: &Response) {
        let Some(dialog) = Dialog::of_caller(response) else { return };
        let is_new = !dialog.remote_tag().is_empty()
            && dialog.local_tag() == common.local_tag
            && self.early.iter().all(|known| known.remote_tag() != dialog.remote_tag());
        if is_new && self.early.len() < MAX_EARLY_DIALOGS {
            self.early.push(dialog);
        }
    }

    /// §13.2.2.4: the first 2xx is the answer; its dialog's route set and target are computed
    /// anew from it.
    pub(super) fn success(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &mut Common,
        mut dialog: Dialog,
        answer: &Response,
    ) -> (State, Handled) {
        common.ack_answer(cx, &dialog);
        if let Some(early) = self.early.iter().find(|e| e.remote_tag() == dialog.remote_tag()) {
            dialog.continue_from(early);
        }
        dialog.raise_cseq(common.early_cseq);
        let state = DialogState {
            dialog: dialog.clone(),
            remote: common.link.remote,
            transport: common.link.transport,
            tls_name: common.link.name.as_deref().map(str::to_owned),
        };
        cx.tell(LegEvent::Answered {
            status: answer.status,
            reason: answer.reason.clone(),
            body: body_of(&answer.headers, &answer.body),
            dialog: Box::new(state),
        });
        let mut answered = Answered::by_callee(cx, dialog, &self.invite, answer);
        answered.description = self.description.take().or(answered.description);
        match self.offer.take() {
            Some((tag, offer)) if tag == answered.dialog.remote_tag() => {
                answered.offer = Some(offer);
            }
            Some((_, offer)) => offer.terminate(cx), // another telephone's
            None => {}
        }
        (State::Answered(Box::new(answered)), Ok(()))
    }

    pub(super) fn failure(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        refusal: Response,
        in_transaction: bool,
    ) -> (State, Handled) {
        if refusal.status == 422 && self.lengthen(&refusal) {
            if !in_transaction {
                common.ack_failure(cx, &self.invite, &refusal);
            }
            return match again(&mut self.invite, None) {
                Some(()) => {
                    self.is_provisional = false;
                    let (request, timer_b) = (self.invite.clone(), self.no_answer);
                    cx.out.push(Effect::Invite { request, timer_b });
                    (State::Calling(self), Ok(()))
                }
                None => refused(cx, common, self.invite, &refusal, true, true),
            };
        }
        if let Some((_, offer)) = self.offer.take() {
            offer.terminate(cx);
        }
        refused(cx, common, self.invite, &refusal, in_transaction, true)
    }

    /// Asks for the session's interval that the far end wants at least (RFC 4028 §7.4). Not once a
    /// telephone has rung: it would ring twice.
    fn lengthen(&mut self, refusal: &Response) -> bool {
        let asked = SessionExpires::of(&self.invite.headers).map(|asked| asked.interval);
        let Some(min) = asked.and_then(|asked| session_timer::raised(refusal, asked)) else {
            return false;
        };
        if self.has_rung || self.raised == MAX_RAISED {
            return false;
        }
        self.raised += 1;
        let asked = SessionExpires { interval: min, refresher: None };
        session_timer::ask_for(&mut self.invite.headers, asked, Some(min));
        true
    }

    /// Timer B, or the transport failed. A branch that timed out lives on: what it answers late
    /// must not ring or talk to nobody.
    pub(super) fn no_answer(
        self: Box<Self>,
        cx: &mut Context<'_>,
        failure: Failure,
    ) -> (State, Handled) {
        if let Some((_, offer)) = self.offer {
            offer.terminate(cx);
        }
        cx.tell(LegEvent::NoAnswer(failure.clone()));
        let state = match failure {
            Failure::Timeout => {
                State::Abandoned(Box::new(Abandoned::new(cx, self.invite, None, true)))
            }
            Failure::Transport(_) => State::Over(Over::absorbing(cx, Some(self.invite))),
        };
        (state, Ok(()))
    }

    /// §9.1: no CANCEL before a provisional.
    pub(super) fn hang_up(
        self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        reason: Option<HeaderValue>,
    ) -> State {
        self.abandon(cx, common, reason, false)
    }

    fn abandon(
        self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        reason: Option<HeaderValue>,
        is_told: bool,
    ) -> State {
        if let Some((_, offer)) = self.offer {
            offer.terminate(cx);
        }
        let mut abandoned = Abandoned::new(cx, self.invite, reason, is_told);
        if self.is_provisional {
            abandoned.cancel(cx, common);
        }
        State::Abandoned(Box::new(abandoned))
    }

    /// A request in an early dialog.
    pub(super) fn request(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        key: ServerKey,
        request: &Request,
    ) -> (State, Handled) {
        let tag = request.from().ok().and_then(|from| from.tag().map(str::to_owned));
        let dialog = self.early.iter_mut().find(|d| tag.as_deref() == Some(d.remote_tag()));
        let Some(dialog) = dialog else {
            if request.method == Method::Bye {
                // Its 200 may still be on its way; the BYE will come again after it.
                return (State::Calling(self), Err(Ignored("BYE before its dialog")));
            }
            cx.respond(key, response(request, 481));
            return (State::Calling(self), Ok(()));
        };
        if let Err(refusal) = check_in_dialog(dialog, request) {
            cx.respond(key, refusal);
            return (State::Calling(self), Ok(()));
        }
        match request.method {
            Method::Bye => {
                cx.respond(key, response(request, 200));
                cx.tell(LegEvent::Ended(Ended::Far { q850: q850(&request.headers) }));
                return (self.abandon(cx, common, None, true), Ok(()));
            }
            // Our offer has no answer yet (RFC 3261 §14.2, RFC 3311 §5.2).
            Method::Invite => cx.respond(key, response(request, 491)),
            Method::Update if !request.body.is_empty() => {
                let tag = dialog.remote_tag().to_owned();
                return (self.offered(cx, tag, key, request), Ok(()));
            }
            Method::Update => {
                let ok = cx.refresh(&common.link, dialog, request);
                cx.respond(key, ok);
            }
            Method::Info => cx.take_info(key, request),
            _ => cx.respond_to_other(key, request),
        }
        (State::Calling(self), Ok(()))
    }

    /// An offer before the answer to the INVITE: taken once ours has its answer in a reliable
    /// provisional (RFC 3311 §5.1, RFC 6337 §3.1), one at a time.
    fn offered(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        tag: String,
        key: ServerKey,
        request: &Request,
    ) -> State {
        if !self.reliable.is_described(&tag) {
            cx.respond(key, response(request, 491));
        } else if self.offer.is_some() {
            cx.respond_try_later(key, request);
        } else {
            self.offer = Some((tag, Offer::enter(cx, key, request)));
        }
        State::Calling(self)
    }

    /// The owner's answer to it.
    pub(super) fn answer_offer(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &Common,
        answer: Result<Body, u16>,
    ) -> (State, Handled) {
        let Some((tag, Offer { key, request })) = self.offer.take() else {
            return (State::Calling(self), Err(Ignored("answer without an offer")));
        };
        match answer {
            Err(status) => cx.respond(key, response(&request, status.clamp(300, 699))),
            Ok(body) => {
                if let Some(dialog) = self.early.iter_mut().find(|it| it.remote_tag() == tag) {
                    dialog.refresh_target(request.contact().ok());
                }
                self.description = Some(body.clone());
                cx.respond(key, accept(response(&request, 200), &common.link, body));
            }
        }
        (State::Calling(self), Ok(()))
    }
}

/// How often a 422 is answered: each proxy on the way may want more than the one before.
const MAX_RAISED: u8 = 4;

/// Makes a request the one that follows it after a challenge (§22.2): with the next branch, and the
/// next CSeq number of its dialog, if it has one.
pub(crate) fn again(request: &mut Request, seq: Option<u32>) -> Option<()> {
    let CSeq { seq: last, method } = request.cseq().ok()?;
    let mut via = request.via().ok()?;
    let branch = next_branch(via.branch()?);
    via.params.set("branch", &branch);
    request.headers.replace_first(&HeaderName::VIA, via);
    let seq = seq.unwrap_or(last.wrapping_add(1) & MAX_CSEQ);
    request.headers.set(HeaderName::CSEQ, CSeq { seq, method });
    Some(())
}

/// A final answer that is no 2xx: §13.2.2.2, §13.2.2.3.
pub(super) fn refused(
    cx: &mut Context<'_>,
    common: &Common,
    invite: Request,
    refusal: &Response,
    in_transaction: bool,
    is_news: bool,
) -> (State, Handled) {
    if !in_transaction {
        common.ack_failure(cx, &invite, refusal);
    }
    if is_news {
        let mut contacts = refusal.contacts().unwrap_or_default();
        contacts.sort_by_key(|contact| Reverse(preference(contact)));
        cx.tell(LegEvent::Refused {
            status: refusal.status,
            reason: refusal.reason.clone(),
            q850: q850(&refusal.headers),
            retry_after: refusal.headers.retry_after(),
            contacts: contacts.into_iter().map(|contact| contact.uri).collect(),
        });
    }
    (State::Over(Over::absorbing(cx, Some(invite))), Ok(()))
}

/// How much a Contact wants to be tried (RFC 3261 §8.1.3.4, §20.10): its q in thousandths, the most
/// where it says none or none that is one.
fn preference(contact: &NameAddr) -> u16 {
    let q = contact.params.value("q").and_then(|q| q.parse::<f32>().ok());
    let q = q.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0);
    (q * 1_000.0).round() as u16
}
