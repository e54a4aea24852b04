//! The two requests that are made from another one: ACK of a refused INVITE, and CANCEL.

use crate::message::{CSeq, HeaderName, HeaderValue, Method, Request, Response};

/// Max-Forwards of a new request (RFC 3261 §8.1.1.6).
const MAX_FORWARDS: u32 = 70;

/// The ACK of a non-2xx final `response` to `invite` (RFC 3261 §17.1.1.3): all of the INVITE's but
/// the To, which carries the tag of the response.
pub fn ack_for_failure(invite: &Request, response: &Response) -> Request {
    let mut ack = companion(invite, Method::Ack);
    if let Some((_, to)) = response.headers.iter().find(|(name, _)| **name == HeaderName::TO) {
        ack.headers.set(HeaderName::TO, to.clone());
    }
    ack
}

/// The CANCEL of `invite` (RFC 3261 §9.1), with a Reason if one is given (RFC 3326).
///
/// To be sent as a new non-INVITE transaction, and not before a provisional response has come.
pub fn cancel(invite: &Request, reason: Option<HeaderValue>) -> Request {
    let mut cancel = companion(invite, Method::Cancel);
    if let Some(reason) = reason {
        cancel.headers.push(HeaderName::REASON, reason);
    }
    cancel
}

/// A request that must go the way of `invite` and match it hop by hop: the same Request-URI, Via
/// (a request of ours has one), Route, From, To, Call-ID and CSeq number; and the credentials, for
/// neither ACK nor CANCEL may be challenged (§22.1).
fn companion(invite: &Request, method: Method) -> Request {
    const SAME: [HeaderName; 7] = [
        HeaderName::VIA,
        HeaderName::ROUTE,
        HeaderName::FROM,
        HeaderName::TO,
        HeaderName::CALL_ID,
        HeaderName::AUTHORIZATION,
        HeaderName::PROXY_AUTHORIZATION,
    ];
    let mut request = Request::new(method.clone(), invite.uri.clone());
    for (name, value) in invite.headers.iter().filter(|(name, _)| SAME.contains(name)) {
        request.headers.push(name.clone(), value.clone());
    }
    if let Ok(CSeq { seq, .. }) = invite.cseq() {
        request.headers.push(HeaderName::CSEQ, CSeq { seq, method });
    }
    request.headers.push(HeaderName::MAX_FORWARDS, MAX_FORWARDS);
    request
}

#[cfg(test)]
mod tests {
    use super::super::testing::{parse, request, response};
    use super::*;

    fn assert_wire(request: &Request, expected: &str) {
        assert_eq!(parse(&String::from_utf8_lossy(&request.to_bytes())), parse(expected));
    }

    /// §17.1.1.3: Request-URI, Call-ID, From, CSeq number, the top Via and the Routes are the
    /// INVITE's, To is the response's; nothing else is carried over.
    #[test]
    fn ack_of_a_refusal() {
        let invite = request("INVITE");
        assert_wire(
            &ack_for_failure(&invite, &response(&invite, 486)),
            "ACK sip:bob@192.0.2.4 SIP/2.0\r\n\
             Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds\r\n\
             Route: <sip:p1.example;lr>, <sip:p2.example;lr>\r\n\
             To: <sip:bob@biloxi.com>;tag=t486\r\n\
             From: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n\
             Call-ID: a84b4c76e66710\r\n\
             CSeq: 314159 ACK\r\n\
             Max-Forwards: 70\r\n\
             Content-Length: 0\r\n\r\n",
        );
    }

    /// §9.1: as the INVITE, tags included, and "MUST NOT contain any Require or Proxy-Require".
    #[test]
    fn cancel_of_an_invite() {
        let reason = HeaderValue::try_from("Q.850;cause=16").unwrap();
        assert_wire(
            &cancel(&request("INVITE"), Some(reason)),
            "CANCEL sip:bob@192.0.2.4 SIP/2.0\r\n\
             Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds\r\n\
             Route: <sip:p1.example;lr>, <sip:p2.example;lr>\r\n\
             To: <sip:bob@biloxi.com>\r\n\
             From: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n\
             Call-ID: a84b4c76e66710\r\n\
             CSeq: 314159 CANCEL\r\n\
             Max-Forwards: 70\r\n\
             Reason: Q.850;cause=16\r\n\
             Content-Length: 0\r\n\r\n",
        );
    }
}
