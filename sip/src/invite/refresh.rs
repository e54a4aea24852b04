//! Our refresh of a session (RFC 4028 §7.4, §10): an UPDATE, or a re-INVITE with the description as
//! it was where the far end knows no UPDATE; glare with the far end's own (RFC 3261 §14.1).
//!
//! It knows one refresh at a time. It refuses to know when one is due; that is
//! `session_timer`. Start at [`Answered::refresh`].
#![warn(clippy::indexing_slicing)]

use std::time::Duration;

use rand::Rng as _;

use super::answered::Answered;
use super::respond::set_body;
use super::session_timer::{self, Refresher, SessionExpires, SessionTimer};
use super::{Common, Context, Effect, Failure, Purpose, State, cseq_to_ack, is_lost};
use crate::message::{HeaderName, Method, Response, has_token};
use crate::options::{allow, supported};

/// How long a refresh waits while another exchange of the dialog runs.
const BUSY: Duration = Duration::from_secs(1);

/// How long a refused refresh waits before it is tried again: the shortest session is given up 15 s
/// after its refresh was due, which leaves one more try.
const AGAIN: Duration = Duration::from_secs(10);

/// What we know about refreshing this dialog.
#[derive(Debug, Default)]
pub(super) struct Refreshing {
    /// A request of ours is out.
    pub(super) is_out: bool,
    /// The far end takes UPDATE (RFC 3311 §5.1).
    takes_update: bool,
    /// The Min-SE of a 422.
    min: Option<u32>,
}

impl Refreshing {
    /// What the far end's last INVITE, UPDATE or 2xx to one says it takes. One that says nothing
    /// changes nothing.
    pub(super) fn learn(&mut self, headers: &crate::message::Headers) {
        if headers.get(&HeaderName::ALLOW).is_some() {
            self.takes_update = has_token(headers, &HeaderName::ALLOW, "UPDATE");
        }
    }
}

impl Answered {
    /// Sends a refresh, or waits while something else of the dialog is not settled.
    pub(super) fn refresh(&mut self, cx: &mut Context<'_>, common: &Common) {
        let is_busy = self.refreshing.is_out || self.is_busy_with_far_end();
        let Some(timer) = &mut self.session else { return };
        if is_busy {
            return timer.postpone(cx.now, BUSY);
        }
        // Its end, or the end of the session, comes first.
        timer.postpone(cx.now, Duration::from_secs(timer.interval.into()));
        let asked = SessionExpires {
            interval: timer.interval.max(self.refreshing.min.unwrap_or_default()),
            refresher: Some(Refresher::Uac), // it is ours to send: so it stays
        };
        let body = self.description.clone().filter(|_| !self.refreshing.takes_update);
        let method = if body.is_some() { Method::Invite } else { Method::Update };
        let mut request = self.dialog.request(method);
        common.link.contact(&mut request.headers);
        allow(&mut request.headers);
        supported(&mut request.headers);
        session_timer::ask_for(&mut request.headers, asked, self.refreshing.min);
        if let Some(body) = body {
            set_body(&mut request.headers, &body);
            request.body = body.bytes;
        }
        common.link.stamp_new(&mut request, cx);
        let remote = common.link.resolve(self.dialog.next_hop());
        self.refreshing.is_out = true;
        cx.out.push(Effect::Transact { request, remote, purpose: Purpose::Refresh });
    }

    /// What our refresh came to.
    pub(super) fn refreshed(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        common: &mut Common,
        outcome: &Result<Response, Failure>,
    ) -> State {
        self.refreshing.is_out = false;
        if is_lost(outcome) {
            return self.lost(cx, common);
        }
        match outcome {
            Ok(answer) if answer.is_success() => self.taken(cx, common, answer),
            Ok(refusal) => self.refused(cx, common, refusal),
            Err(_) => self.try_again(cx, AGAIN),
        }
        State::Answered(self)
    }

    fn taken(&mut self, cx: &mut Context<'_>, common: &mut Common, answer: &Response) {
        self.dialog.refresh_target(answer.contact().ok());
        if let Some(cseq) = cseq_to_ack(answer) {
            common.ack_refresh(cx, &self.dialog, cseq);
        }
        self.refreshing.learn(&answer.headers);
        self.session = SessionTimer::of_answer(cx.now, answer);
    }

    fn refused(&mut self, cx: &mut Context<'_>, common: &Common, refusal: &Response) {
        let asked = self.session.map_or(0, |timer| timer.interval);
        match refusal.status {
            422 => {
                match session_timer::raised(refusal, asked.max(self.refreshing.min.unwrap_or(0))) {
                    Some(min) => {
                        self.refreshing.min = Some(min);
                        self.refresh(cx, common);
                    }
                    None => self.try_again(cx, AGAIN),
                }
            }
            405 | 501 if self.refreshing.takes_update => {
                self.refreshing.takes_update = false;
                self.refresh(cx, common);
            }
            491 => {
                let wait = self.glare(cx);
                self.try_again(cx, wait);
            }
            _ => self.try_again(cx, refusal.headers.retry_after().unwrap_or(AGAIN)),
        }
    }

    fn try_again(&mut self, cx: &Context<'_>, after: Duration) {
        if let Some(timer) = &mut self.session {
            timer.postpone(cx.now, after);
        }
    }

    /// RFC 3261 §14.1: who made the Call-ID waits 2.1 to 4 s, the other up to 2 s, in units of 10 ms.
    fn glare(&self, cx: &mut Context<'_>) -> Duration {
        let (from, units) = if self.is_caller { (210, 191) } else { (0, 201) };
        Duration::from_millis(u64::from(from + cx.rng.next_u32() % units) * 10)
    }
}
