//! The way of a response: to its transaction, to the leg that outlives one, or to nobody.
#![warn(clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::time::Instant;

use super::Endpoint;
use super::table::{Client, Path};
use crate::invite::{Leg, LegId};
use crate::message::{HeaderName, HeaderValue, Method, Request, Response};
use crate::transaction::ClientKey;

impl Endpoint {
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        path: &Path,
        response: Response,
        data: &[u8],
    ) {
        // §8.1.3.3: a second Via says that it was meant for somebody else.
        let Some(key) = ClientKey::of_response(&response)
            .ok()
            .filter(|_| response.headers.get_all(&HeaderName::VIA).count() == 1)
        else {
            self.counters.stray_responses += 1;
            return;
        };
        let id = self.clients.find(&key);
        let client = id.and_then(|id| self.clients.get(id));
        let leg = match client {
            Some(Client { user, .. }) => user.leg(),
            None => self.leg_of_response(&response),
        };
        if let Some(leg) = leg {
            self.ladder(now, leg, false, data);
        }
        let is_invite = response.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        let is_success = response.is_success();
        let in_transaction = id.is_some();
        if let Some(id) = id {
            // A 2xx after a refusal has no arrow in the transaction, but makes a dialog.
            let copy = (is_invite && is_success).then(|| response.clone());
            if self.client_response(now, id, path.remote, response) {
                return;
            }
            if let (Some(leg), Some(copy)) = (leg, copy) {
                self.late_invite_response(now, leg, copy, in_transaction);
            }
            return;
        }
        match leg {
            Some(leg) if is_invite && self.is_answered_by(leg, &response) => {
                self.late_invite_response(now, leg, response, false);
            }
            None if is_invite => self.stray_invite_response(now, path, &response),
            _ => self.counters.stray_responses += 1,
        }
    }

    fn late_invite_response(
        &mut self,
        now: Instant,
        leg: LegId,
        response: Response,
        in_transaction: bool,
    ) {
        let _ = self
            .input(now, leg, |leg, cx| leg.handle_invite_response(cx, response, in_transaction));
    }

    fn is_answered_by(&self, leg: LegId, response: &Response) -> bool {
        self.legs.get(&leg).is_some_and(|entry| entry.leg.is_answered_by(response))
    }

    /// By Call-ID and our tag.
    fn leg_of_response(&self, response: &Response) -> Option<LegId> {
        let tag = response.from().ok()?.tag()?.to_owned();
        self.dialogs.get(&(response.call_id().ok()?.to_owned(), tag)).copied()
    }

    /// An answer to an INVITE that nobody remembers, from a trunk: a process before this one sent
    /// it, or it comes later than anybody waits. A provisional gets CANCEL, for a telephone rings
    /// that nobody will talk to; a 2xx ACK and BYE, a refusal ACK.
    fn stray_invite_response(&mut self, now: Instant, path: &Path, response: &Response) {
        self.counters.stray_responses += 1;
        if !self.is_trusted(path.remote) || self.legs.len() >= self.config.max_legs {
            return;
        }
        let Some(mut link) = self.link_of(path.local, path.remote) else { return };
        link.connection = path.connection;
        if !is_sent_by(response, link.advertised) {
            return;
        }
        if response.is_success() {
            self.counters.stray_answers += 1;
            let account = self.account_at(path.remote.ip());
            self.make_leg(now, |cx| Leg::orphan_answer(cx, link, account, response));
        } else if let Some(invite) = invite_of(response) {
            if response.is_provisional() {
                self.make_leg(now, |cx| {
                    let mut leg = Leg::orphan_early(cx, link, invite);
                    leg.common.is_closed = true; // nobody asked for it
                    Some(leg)
                });
            } else {
                let ack = crate::transaction::ack_for_failure(&invite, response);
                self.send(path, ack.to_bytes());
            }
        }
    }
}

/// Whether the Via says that a request with it was sent by this address (§18.1.2).
fn is_sent_by(response: &Response, advertised: SocketAddr) -> bool {
    response.via().is_ok_and(|via| {
        via.host.ip() == Some(advertised.ip()) && via.port.unwrap_or(5060) == advertised.port()
    })
}

/// The forgotten INVITE of a response, as far as that tells: its Request-URI was the To's, or its
/// far end finds it by the branch alone.
fn invite_of(response: &Response) -> Option<Request> {
    let mut to = response.to().ok()?;
    to.params.remove("tag"); // the far end's
    let mut invite = Request::new(Method::Invite, to.uri.clone().into_request_uri());
    let mut via = response.via().ok()?;
    via.params.remove("received"); // by the far end, as the number in rport
    via.params.set_flag("rport");
    invite.headers.push(HeaderName::VIA, via);
    for name in [HeaderName::FROM, HeaderName::CALL_ID, HeaderName::CSEQ] {
        let value = HeaderValue::try_from(response.headers.get(&name)?).ok()?;
        invite.headers.push(name, value);
    }
    invite.headers.push(HeaderName::TO, to);
    Some(invite)
}
