//! Reliable provisional responses (RFC 3262).
//!
//! It knows the numbers that make them reliable, from the caller's side ([`Received`]) and the
//! callee's ([`Sent`]). It refuses to know what the responses say. Start at [`Received::take`].
#![warn(clippy::indexing_slicing)]

use std::fmt;
use std::time::Instant;

use rand::Rng as _;

use super::Context;
use super::respond::body_of;
use crate::limits::MAX_EARLY_DIALOGS;
use crate::message::{
    CSeq, HeaderName, HeaderValue, Headers, Method, Request, Response, decimal, has_token,
};
use crate::timer::Backoff;
use crate::transaction::ServerKey;

/// The option tag.
pub(crate) const OPTION: &str = "100rel";

/// `RAck`: which provisional of which request a PRACK is for (§7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RAck {
    pub(super) rseq: u32,
    pub(super) cseq: CSeq,
}

impl RAck {
    pub(super) fn of(request: &Request) -> Option<Self> {
        let text = request.headers.get(&HeaderName::RACK)?.trim();
        let (rseq, cseq) = text.split_once([' ', '\t'])?;
        Some(Self { rseq: decimal(rseq)?, cseq: CSeq::parse(cseq).ok()? })
    }
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

/// What a provisional is to the caller.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It asks for nothing.
    Unreliable,
    /// PRACK it.
    New(RAck),
    /// It was taken already (its PRACK repeats itself), or the one before it is missing (§4).
    NotNow,
}

/// Caller: the last number of each early dialog, by the far end's tag.
#[derive(Debug, Default)]
pub(super) struct Received(Vec<Early>);

#[derive(Debug)]
struct Early {
    tag: String,
    last: u32,
    /// One of them has described the session.
    is_described: bool,
}

impl Received {
    /// Takes a provisional above 100 (§4).
    pub(super) fn take(&mut self, response: &Response) -> Arrival {
        if !has_token(&response.headers, &HeaderName::REQUIRE, OPTION) {
            return Arrival::Unreliable;
        }
        let rseq = response.headers.get(&HeaderName::RSEQ).map(str::trim).and_then(decimal);
        let tag = response.to().ok().and_then(|to| to.tag().map(str::to_owned));
        let (Some(rseq), Some(tag), Ok(cseq)) = (rseq, tag, response.cseq()) else {
            return Arrival::Unreliable; // it cannot be PRACKed, and is told all the same
        };
        let is_full = self.0.len() == MAX_EARLY_DIALOGS;
        let describes = body_of(&response.headers, &response.body).is_some();
        match self.0.iter_mut().find(|known| known.tag == tag) {
            Some(early) if rseq == early.last.wrapping_add(1) => {
                early.last = rseq;
                early.is_described |= describes;
            }
            Some(_) => return Arrival::NotNow,
            None if is_full => return Arrival::NotNow,
            None => self.0.push(Early { tag, last: rseq, is_described: describes }),
        }
        Arrival::New(RAck { rseq, cseq })
    }

    /// Whether our offer has its answer in the early dialog with this tag.
    pub(super) fn is_described(&self, tag: &str) -> bool {
        self.0.iter().any(|early| early.tag == tag && early.is_described)
    }
}

/// Callee: a reliable provisional that is repeated until its PRACK (§3).
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) rack: RAck,
    key: ServerKey,
    response: Response,
    backoff: Backoff,
    resend_at: Instant,
    pub(super) give_up_at: Instant,
}

impl Sent {
    /// Sends it. `last`: the number of the one before.
    pub(super) fn enter(
        cx: &mut Context<'_>,
        key: ServerKey,
        cseq: CSeq,
        mut response: Response,
        last: Option<u32>,
    ) -> Self {
        // The first is anywhere in the lower half (§3).
        let rseq =
            last.map_or_else(|| (cx.rng.next_u32() >> 1).max(1), |last| last.wrapping_add(1));
        response.headers.push(HeaderName::REQUIRE, HeaderValue::from_static(OPTION));
        response.headers.push(HeaderName::RSEQ, rseq);
        cx.respond(key.clone(), response.clone());
        let backoff = cx.timers.doubling();
        Self {
            rack: RAck { rseq, cseq },
            key,
            response,
            backoff,
            resend_at: cx.now + backoff.interval(),
            give_up_at: cx.now + cx.timers.transaction_timeout(),
        }
    }

    pub(super) fn due(&self) -> Instant {
        self.resend_at.min(self.give_up_at)
    }

    /// Whether its body is an answer that the far end must have before the call is accepted (§5).
    pub(super) fn has_description(&self) -> bool {
        !self.response.body.is_empty()
    }

    /// Sends it again if its time has come.
    pub(super) fn repeat(&mut self, cx: &mut Context<'_>) {
        if self.resend_at <= cx.now {
            cx.respond(self.key.clone(), self.response.clone());
            self.backoff = self.backoff.next();
            self.resend_at = cx.now + self.backoff.interval();
        }
    }
}

/// Whether our provisionals to an INVITE are reliable: where it requires that, or supports what we
/// would have ourselves.
pub(super) fn is_wanted(headers: &Headers, by_us: bool) -> bool {
    has_token(headers, &HeaderName::REQUIRE, OPTION)
        || (by_us && has_token(headers, &HeaderName::SUPPORTED, OPTION))
}

/// Whether a request is a PRACK for a provisional with this number.
pub(super) fn is_prack_of(request: &Request, sent: Option<&RAck>) -> bool {
    request.method == Method::Prack && sent.is_some() && RAck::of(request).as_ref() == sent
}
