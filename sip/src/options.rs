//! What this stack says it can do: Allow, Accept, Supported, the answer to OPTIONS (RFC 3261 §11)
//! and to what is not built.
//!
//! It knows one request at a time and no call. Start at [`outside_of_calls`].

use crate::message::{
    Described, HeaderName, HeaderValue, Headers, Method, Request, Response, session_description,
};

/// Every method that is built: Allow says no other.
const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO";

/// The bodies a request may bring: session descriptions, alone or among others, and digits in INFO.
const ACCEPT: &str = "application/sdp, multipart/mixed, application/dtmf-relay, application/dtmf";

/// Allow.
pub(crate) fn allow(headers: &mut Headers) {
    headers.push(HeaderName::ALLOW, HeaderValue::from_static(ALLOW));
}

/// Accept.
pub(crate) fn accept_types(headers: &mut Headers) {
    headers.push(HeaderName::ACCEPT, HeaderValue::from_static(ACCEPT));
}

/// The extensions that are built: reliable provisionals (RFC 3262) and session timers (RFC 4028).
const EXTENSIONS: [&str; 2] = ["100rel", "timer"];

/// Supported.
pub(crate) fn supported(headers: &mut Headers) {
    headers.push(HeaderName::SUPPORTED, HeaderValue::from_static("100rel, timer"));
}

/// The extensions that a request requires and that are not built (RFC 3261 §8.2.2.3).
pub(crate) fn not_built(request: &Request) -> Vec<&str> {
    let required = request.headers.get_all(&HeaderName::REQUIRE).map(str::trim);
    let is_built = |tag: &&str| EXTENSIONS.iter().any(|it| it.eq_ignore_ascii_case(tag));
    required.filter(|tag| !is_built(tag)).collect()
}

/// A response to `request` with what each response of its status must tell: 405 Allow (RFC 3261
/// §21.4.6), 415 Accept (§21.4.13).
pub(crate) fn response(request: &Request, status: u16) -> Response {
    let mut response = Response::to_request(request, status, "");
    match status {
        405 | 501 => allow(&mut response.headers),
        406 | 415 => accept_types(&mut response.headers),
        _ => {}
    }
    response
}

/// The answer to a request that does nothing to a call: OPTIONS (RFC 3261 §11.2); a PRACK for no
/// provisional of ours; methods that are known and not built (405, §8.2.1) or not
/// known (501, §21.5.2).
pub(crate) fn outside_of_calls(request: &Request) -> Response {
    match request.method {
        Method::Options => {
            let mut ok = response(request, 200);
            allow(&mut ok.headers);
            accept_types(&mut ok.headers);
            supported(&mut ok.headers);
            ok
        }
        Method::Prack | Method::Bye | Method::Info | Method::Update => response(request, 481),
        Method::Other(_) => response(request, 501),
        _ => response(request, 405),
    }
}

/// Whether a body is one that INVITE and UPDATE may bring: a session description, alone or among
/// parts that the sender lets us leave alone (RFC 3261 §20.11).
pub(crate) fn is_offer_understood(request: &Request) -> bool {
    session_description(request.content_type(), &request.body) != Described::Otherwise
}
