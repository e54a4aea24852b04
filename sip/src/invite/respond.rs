//! Responses in a dialog.

use super::{Body, Context, Effect, LegEvent, Link};
use crate::dialog::Dialog;
use crate::info;
use crate::message::{
    Described, HeaderName, HeaderValue, Headers, Request, Response, session_description,
};
use crate::options::{allow, outside_of_calls, response};
use crate::transaction::ServerKey;

/// Latest Retry-After of a 500 to an offer that came too early, in seconds (RFC 3261 §14.2).
const MAX_RETRY_AFTER: u32 = 10;

/// As [`response`], with our tag, and with the request's Record-Route where it makes a dialog
/// (§12.1.1).
pub(super) fn response_with_tag(request: &Request, status: u16, tag: &str) -> Response {
    let mut response = response(request, status);
    response.set_to_tag(tag);
    if (101..300).contains(&status) {
        for (name, value) in request.headers.iter() {
            if *name == HeaderName::RECORD_ROUTE {
                response.headers.push(name.clone(), value.clone());
            }
        }
    }
    response
}

/// A 2xx with a session description (§13.3.1.4).
pub(super) fn accept(mut response: Response, link: &Link, body: Body) -> Response {
    link.contact(&mut response.headers);
    allow(&mut response.headers);
    set_body(&mut response.headers, &body);
    response.body = body.bytes;
    response
}

/// Content-Type of a body; one that cannot stand in a header is none.
pub(super) fn set_body(headers: &mut Headers, body: &Body) {
    if let Ok(content_type) = HeaderValue::try_from(body.content_type.as_str()) {
        headers.set(HeaderName::CONTENT_TYPE, content_type);
    }
}

/// The session description that a message brings, alone or among other parts.
pub(crate) fn body_of(headers: &Headers, bytes: &bytes::Bytes) -> Option<Body> {
    match session_description(headers.content_type(), bytes) {
        Described::By(sdp) => Some(Body::sdp(sdp)),
        Described::ByNothing | Described::Otherwise => None,
    }
}

/// Whether the tags are the dialog's (RFC 3261 §12.2.2). A peer without a tag has the empty one.
pub(super) fn is_from_far_end(dialog: &Dialog, request: &Request) -> bool {
    let tag = |field: Option<crate::message::NameAddr>| {
        field.and_then(|field| field.tag().map(str::to_owned)).unwrap_or_default()
    };
    tag(request.from().ok()) == dialog.remote_tag() && tag(request.to().ok()) == dialog.local_tag()
}

/// Takes a request into its dialog, or says how it is refused: 481 with wrong tags, 500 out of
/// order (§12.2.2).
pub(super) fn check_in_dialog(dialog: &mut Dialog, request: &Request) -> Result<(), Response> {
    if !is_from_far_end(dialog, request) {
        return Err(response(request, 481));
    }
    match request.cseq() {
        Ok(cseq) if dialog.take_cseq(cseq.seq) => Ok(()),
        _ => Err(response(request, 500)),
    }
}

impl Context<'_> {
    pub(super) fn respond(&mut self, key: ServerKey, response: Response) {
        self.out.push(Effect::Respond { key, response });
    }

    /// 500 with a Retry-After of 0 to 10 s: an offer came before the last one was answered.
    pub(super) fn respond_try_later(&mut self, key: ServerKey, request: &Request) {
        use rand::Rng as _;
        let seconds = self.rng.next_u32() % (MAX_RETRY_AFTER + 1);
        let mut refusal = response(request, 500);
        refusal.headers.push(HeaderName::RETRY_AFTER, seconds);
        self.respond(key, refusal);
    }

    /// The 200 to an UPDATE without an offer: target refresh alone (RFC 3311 §5.2).
    pub(super) fn refresh(&self, link: &Link, dialog: &mut Dialog, request: &Request) -> Response {
        dialog.refresh_target(request.contact().ok());
        let mut ok = response(request, 200);
        link.contact(&mut ok.headers);
        ok
    }

    /// INFO: a digit is told, anything else refused (RFC 6086 §4.2.1 for legacy use).
    pub(super) fn take_info(&mut self, key: ServerKey, request: &Request) {
        let content_type = request.content_type().unwrap_or_default();
        let status = match info::parse(content_type, &request.body) {
            Ok(press) => {
                self.tell(LegEvent::Info(press));
                200
            }
            // An INFO without a body is a keep-alive (RFC 2976 §2.3 allows it).
            Err(_) if request.body.is_empty() => 200,
            Err(info::Refusal::UnknownType) => 415,
            Err(info::Refusal::BadBody) => 400,
        };
        self.respond(key, response(request, status));
    }

    /// A request whose method does nothing to the call.
    pub(super) fn respond_to_other(&mut self, key: ServerKey, request: &Request) {
        self.respond(key, outside_of_calls(request));
    }
}
