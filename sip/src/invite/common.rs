//! What every state of a leg needs: its names, its way, and the ACKs it has sent.
#![warn(clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Instant;

use super::effect::{Context, Effect, Hop, Link, Purpose};
use crate::auth::{Credentials, proofs};
use crate::dialog::Dialog;
use crate::endpoint::Network;
use crate::limits::MAX_ACKS;
use crate::message::{HeaderName, HeaderValue, Method, Request, Response};

/// What every state of a leg needs.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) call_id: String,
    pub(crate) local_tag: String,
    pub(crate) link: Link,
    pub(super) peers: Vec<Network>,
    pub(super) invite: OurInvite,
    /// Who we are to the trunk, should it ask.
    pub(crate) credentials: Option<Arc<Credentials>>,
    /// By what our last INVITE proved that; its ACK repeats it (RFC 3261 §22.1).
    pub(super) proofs: Vec<(HeaderName, HeaderValue)>,
    /// The ACKs of 2xx that were sent, to be sent again (RFC 3261 §13.2.2.4).
    acks: Vec<Ack>,
    /// The ACK of the answer, while it waits for the owner to have noted it; at the latest until
    /// then.
    held: Option<(Ack, Instant)>,
    /// The highest CSeq number of an early dialog: what follows in a dialog of the same tags goes on
    /// from it.
    pub(super) early_cseq: u32,
    /// `LegEvent::Closed` was told.
    pub(crate) is_closed: bool,
}

/// By what the responses to the INVITE that made a leg are known (RFC 3261 §17.1.3).
#[derive(Debug)]
pub(super) enum OurInvite {
    /// By the branch it was sent with.
    Branch(String),
    /// An earlier process sent it; its branch is forgotten.
    Forgotten,
    /// The far end sent it: there are no responses.
    Theirs,
}

#[derive(Debug)]
struct Ack {
    cseq: u32,
    remote_tag: String,
    request: Request,
    remote: Hop,
}

impl Common {
    pub(super) fn new(call_id: &str, local_tag: &str, link: Link, invite: OurInvite) -> Self {
        Self {
            call_id: call_id.to_owned(),
            local_tag: local_tag.to_owned(),
            link,
            peers: Vec::new(),
            invite,
            credentials: None,
            proofs: Vec::new(),
            acks: Vec::new(),
            held: None,
            early_cseq: 0,
            is_closed: false,
        }
    }

    pub(super) fn with_peers(self, peers: Vec<Network>) -> Self {
        Self { peers, ..self }
    }

    pub(super) fn with_credentials(
        self,
        credentials: Option<Arc<Credentials>>,
        invite: &Request,
    ) -> Self {
        Self { credentials, proofs: proofs(&invite.headers), ..self }
    }

    /// Sends the ACK of a 2xx to our INVITE and keeps it for repetitions of that 2xx.
    pub(super) fn ack_success(&mut self, cx: &mut Context<'_>, dialog: &Dialog) {
        let ack = self.make_ack(cx, dialog);
        ack.send(cx);
        self.keep(ack);
    }

    /// The ACK of the answer, which may wait for its owner.
    pub(super) fn ack_answer(&mut self, cx: &mut Context<'_>, dialog: &Dialog) {
        if cx.hold_ack.is_zero() {
            return self.ack_success(cx, dialog);
        }
        let ack = self.make_ack(cx, dialog);
        self.held = Some((ack, cx.now + cx.hold_ack));
    }

    /// When a held ACK goes by itself.
    pub(super) fn ack_due(&self) -> Option<Instant> {
        self.held.as_ref().map(|(_, until)| *until)
    }

    /// Sends the ACK that is held, if there is one.
    pub(super) fn release_ack(&mut self, cx: &mut Context<'_>) {
        if let Some((ack, _)) = self.held.take() {
            ack.send(cx);
            self.keep(ack);
        }
    }

    /// A repeated 2xx gets the same ACK; false if this 2xx is a new one.
    pub(super) fn repeat_ack(&mut self, cx: &mut Context<'_>, response: &Response) -> bool {
        if self.held.as_ref().is_some_and(|(ack, _)| ack.is_of(response)) {
            // The far end has waited long enough.
            self.release_ack(cx);
            return true;
        }
        let ack = self.acks.iter().find(|ack| ack.is_of(response));
        if let Some(ack) = ack {
            ack.send(cx);
        }
        ack.is_some()
    }

    /// Whether a 2xx is one that was ACKed before.
    pub(super) fn has_acked(&self, response: &Response) -> bool {
        self.acks.iter().any(|ack| ack.is_of(response))
    }

    /// Sends the ACK of a 2xx to a re-INVITE of ours and keeps it.
    pub(super) fn ack_refresh(&mut self, cx: &mut Context<'_>, dialog: &Dialog, cseq: u32) {
        let ack = self.make_ack_of(cx, dialog, cseq);
        ack.send(cx);
        self.keep(ack);
    }

    fn make_ack(&self, cx: &mut Context<'_>, dialog: &Dialog) -> Ack {
        self.make_ack_of(cx, dialog, dialog.local_cseq())
    }

    fn make_ack_of(&self, cx: &mut Context<'_>, dialog: &Dialog, cseq: u32) -> Ack {
        let mut request = dialog.ack(cseq);
        self.link.stamp_new(&mut request, cx);
        let remote = self.link.resolve(dialog.next_hop());
        // To nobody but the trunk.
        if self.credentials.as_ref().is_some_and(|it| it.belong_to(remote.remote.ip())) {
            for (name, value) in &self.proofs {
                request.headers.push(name.clone(), value.clone());
            }
        }
        Ack { cseq, remote_tag: dialog.remote_tag().to_owned(), request, remote }
    }

    fn keep(&mut self, ack: Ack) {
        if self.acks.len() == MAX_ACKS {
            self.acks.remove(0); // the eldest: the refreshes of a long call go on
        }
        // One is the rule; a vector would make room for four.
        self.acks.reserve_exact(1);
        self.acks.push(ack);
    }

    /// ACK and BYE for a dialog that nobody wants.
    pub(super) fn dismiss(&mut self, cx: &mut Context<'_>, mut dialog: Dialog) {
        self.ack_success(cx, &dialog);
        dialog.raise_cseq(self.early_cseq);
        let mut request = dialog.request(Method::Bye);
        self.link.stamp_new(&mut request, cx);
        let remote = self.link.resolve(dialog.next_hop());
        cx.out.push(Effect::Transact { request, remote, purpose: Purpose::StrayBye });
    }

    /// The ACK of a refusal whose transaction is gone (RFC 3261 §17.1.1.3).
    pub(super) fn ack_failure(&self, cx: &mut Context<'_>, invite: &Request, response: &Response) {
        let request = crate::transaction::ack_for_failure(invite, response);
        cx.out.push(Effect::Send { request, remote: self.link.hop() });
    }
}

impl Ack {
    /// Whether it is that of this 2xx.
    fn is_of(&self, response: &Response) -> bool {
        let (Ok(cseq), Ok(to)) = (response.cseq(), response.to()) else { return false };
        self.cseq == cseq.seq && self.remote_tag == to.tag().unwrap_or_default()
    }

    fn send(&self, cx: &mut Context<'_>) {
        cx.out.push(Effect::Send { request: self.request.clone(), remote: self.remote });
    }
}
