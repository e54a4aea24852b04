//! Answers that keep no state (RFC 3261 §8.2.7): to strangers, and to what cannot be served.
#![warn(clippy::indexing_slicing)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::Instant;

use super::Endpoint;
use super::table::Path;
use crate::invite::LegId;
use crate::message::{HeaderName, HeaderValue, Method, Request, Response, Transport, Via};
use crate::options::{is_offer_understood, not_built, response};
use crate::transaction::ServerKey;

/// A request, and how it came.
pub(super) struct Received<'a> {
    pub(super) request: Request,
    pub(super) key: ServerKey,
    pub(super) path: Path,
    pub(super) remote: SocketAddr,
    pub(super) data: &'a [u8],
}

impl Received<'_> {
    pub(super) fn to_tag(&self) -> Option<String> {
        self.request.to().ok()?.tag().map(str::to_owned)
    }
}

impl Endpoint {
    /// Design rule 8: one stateless answer at most, never longer than the request.
    pub(super) fn stranger(&mut self, received: &Received<'_>) {
        self.counters.strangers += 1;
        let data = self.tagged(&received.request, Response::to_request(&received.request, 403, ""));
        if data.len() <= received.data.len() {
            self.counters.stateless_replies += 1;
            self.send_last(&received.path, data);
        }
    }

    pub(super) fn reply(&mut self, received: &Received<'_>, status: u16) {
        self.reply_with(None, received, response(&received.request, status));
    }

    /// Answers without keeping state (RFC 3261 §8.2.7): a repetition is answered the same.
    pub(super) fn reply_with(
        &mut self,
        leg: Option<(Instant, LegId)>,
        received: &Received<'_>,
        response: Response,
    ) {
        self.counters.stateless_replies += 1;
        let data = self.tagged(&received.request, response);
        if let Some((now, leg)) = leg {
            self.ladder(now, leg, true, &data);
        }
        self.send_if_open(&received.path, data);
    }

    /// With a To tag that is the same for each repetition (§8.2.7).
    fn tagged(&self, request: &Request, mut response: Response) -> bytes::Bytes {
        let mut hasher = DefaultHasher::new();
        self.salt.hash(&mut hasher);
        request.headers.get(&HeaderName::CALL_ID).hash(&mut hasher);
        request.headers.get(&HeaderName::FROM).hash(&mut hasher);
        response.set_to_tag(&format!("{:x}", hasher.finish()));
        response.to_bytes()
    }
}

/// Where the responses to a datagram go: to where it came from if it asks so (RFC 3581 §4), else to
/// its address and the port of its Via (RFC 3261 §18.2.2). Never to an address that only its
/// Via names: nobody is to be flooded in another's name.
pub(super) fn reply_to(via: &Via, remote: SocketAddr) -> SocketAddr {
    if via.params.has("rport") || via.transport != Transport::Udp {
        return remote;
    }
    SocketAddr::new(remote.ip(), via.port.unwrap_or(5060))
}

/// What a request asks for that is not built: extensions (420, §8.2.2.3), encodings and bodies
/// (415, §8.2.3), other answers than ours (406).
pub(super) fn refusal_of(request: &Request) -> Option<Response> {
    let required = not_built(request);
    if !required.is_empty() {
        let mut refusal = response(request, 420);
        if let Ok(names) = HeaderValue::try_from(required.join(", ")) {
            refusal.headers.push(HeaderName::UNSUPPORTED, names);
        }
        return Some(refusal);
    }
    let is_plain = |encoding: &str| encoding.eq_ignore_ascii_case("identity");
    if !request.headers.get_all(&HeaderName::CONTENT_ENCODING).all(is_plain) {
        let mut refusal = response(request, 415);
        let identity = HeaderValue::from_static("identity");
        refusal.headers.push(HeaderName::ACCEPT_ENCODING, identity);
        return Some(refusal);
    }
    let is_offer = matches!(request.method, Method::Invite | Method::Update);
    if is_offer && !is_offer_understood(request) {
        return Some(response(request, 415));
    }
    let takes_sdp = |range: &str| {
        let range = range.split(';').next().unwrap_or_default().trim();
        ["application/sdp", "application/*", "*/*"].iter().any(|r| range.eq_ignore_ascii_case(r))
    };
    let mut accepted = request.headers.get_all(&HeaderName::ACCEPT).peekable();
    if is_offer && accepted.peek().is_some() && !accepted.any(takes_sdp) {
        return Some(response(request, 406));
    }
    None
}
