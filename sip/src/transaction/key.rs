//! Which transaction a message belongs to: RFC 3261 §17.1.3 for responses, §17.2.3 for requests.

use crate::error::{FieldError, ParseError};
use crate::message::{Method, Request, Response, Via};

/// What every branch made by RFC 3261 begins with (§8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// Port of a sent-by that names none, for transports but TLS (§18.2.2 with RFC 3263).
const DEFAULT_PORT: u16 = 5060;

const NO_BRANCH: FieldError =
    FieldError::Bad { name: "Via", problem: ParseError("no branch parameter") };

/// A client transaction: the branch of the top Via and the method of the CSeq (§17.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    branch: String,
    method: Method,
}

impl ClientKey {
    /// The key of a request of ours; an error if it has no branch.
    pub fn of_request(request: &Request) -> Result<Self, FieldError> {
        Self::new(&request.via()?, request.method.clone())
    }

    /// The transaction a response answers. Its sent-by must be ours as well (§18.1.2): that is
    /// the caller's to check, who knows its addresses.
    pub fn of_response(response: &Response) -> Result<Self, FieldError> {
        Self::new(&response.via()?, response.cseq()?.method)
    }

    fn new(via: &Via, method: Method) -> Result<Self, FieldError> {
        let branch = via.branch().ok_or(NO_BRANCH)?.to_ascii_lowercase();
        Ok(Self { branch, method })
    }
}

/// A server transaction (§17.2.3). The ACK of a non-2xx has the key of its INVITE.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerKey(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// The branch begins with the magic cookie and says it all, with the sent-by: two clients may
    /// have made the same branch.
    Branch { branch: String, host: String, port: u16, method: Method },
    /// RFC 2543: everything that was the same in a retransmission. The To tag is left out for
    /// INVITE and ACK, where it is the one thing that differs between the two; a re-INVITE has
    /// another CSeq.
    Rfc2543 {
        uri: String,
        from_tag: Option<String>,
        to_tag: Option<String>,
        call_id: String,
        cseq: u32,
        via: String,
        method: Method,
    },
}

impl ServerKey {
    /// The transaction a request belongs to or begins.
    pub fn of_request(request: &Request) -> Result<Self, FieldError> {
        Self::new(request, acknowledged(&request.method))
    }

    /// The INVITE a CANCEL is for (§9.2).
    pub fn of_cancelled(cancel: &Request) -> Result<Self, FieldError> {
        Self::new(cancel, Method::Invite)
    }

    fn new(request: &Request, method: Method) -> Result<Self, FieldError> {
        let via = request.via()?;
        let branch = via.branch().map(str::to_ascii_lowercase);
        let cookie = MAGIC_COOKIE.to_ascii_lowercase();
        let kind = match branch.filter(|branch| branch.starts_with(&cookie)) {
            Some(branch) => Kind::Branch {
                branch,
                host: via.host.to_string().to_ascii_lowercase(),
                port: via.port.unwrap_or(DEFAULT_PORT),
                method,
            },
            None => Kind::Rfc2543 {
                uri: request.uri.to_string(),
                from_tag: request.from()?.tag().map(str::to_owned),
                to_tag: match method {
                    Method::Invite => None,
                    _ => request.to()?.tag().map(str::to_owned),
                },
                call_id: request.call_id()?.to_owned(),
                cseq: request.cseq()?.seq,
                via: via.to_string(),
                method,
            },
        };
        Ok(Self(kind))
    }
}

/// ACK belongs to the INVITE it acknowledges.
fn acknowledged(method: &Method) -> Method {
    match method {
        Method::Ack => Method::Invite,
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::parse;
    use super::*;

    /// A request with what the keys look at.
    fn key_of(method: &str, via: &str, to: &str, uri: &str) -> ServerKey {
        ServerKey::of_request(&ask(method, via, to, uri)).unwrap()
    }

    fn ask(method: &str, via: &str, to: &str, uri: &str) -> Request {
        parse(&format!(
            "{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nTo: {to}\r\n\
             From: <sip:a@example.com>;tag=f\r\nCall-ID: c1\r\nCSeq: 7 {method}\r\n\
             Content-Length: 0\r\n\r\n"
        ))
    }

    const VIA: &str = "SIP/2.0/UDP a.example.com;branch=z9hG4bKabc";
    const TO: &str = "<sip:b@example.com>";
    const URI: &str = "sip:b@192.0.2.1";

    /// §17.2.3: branch, sent-by and method, ACK standing for INVITE; nothing else counts.
    #[test]
    fn branch_matching() {
        let invite = key_of("INVITE", VIA, TO, URI);
        for (method, via, same) in [
            ("INVITE", VIA, true),
            ("ACK", VIA, true),
            ("CANCEL", VIA, false),
            ("INVITE", "SIP/2.0/UDP A.EXAMPLE.COM:5060;branch=Z9HG4BKABC", true),
            ("INVITE", "SIP/2.0/UDP a.example.com:5062;branch=z9hG4bKabc", false),
            ("INVITE", "SIP/2.0/UDP b.example.com;branch=z9hG4bKabc", false),
            ("INVITE", "SIP/2.0/UDP a.example.com;branch=z9hG4bKabd", false),
        ] {
            let other = key_of(method, via, "<sip:b@example.com>;tag=t", "sip:other@192.0.2.9");
            assert_eq!(invite == other, same, "{method} {via}");
        }
        let cancel = ask("CANCEL", VIA, TO, URI);
        assert_eq!(ServerKey::of_cancelled(&cancel).unwrap(), invite);
    }

    /// §17.2.3, second half: no magic cookie, so everything of the retransmission counts.
    #[test]
    fn rfc_2543_matching() {
        let old = "SIP/2.0/UDP a.example.com;branch=1";
        let tagged = "<sip:b@example.com>;tag=t";
        let invite = key_of("INVITE", old, TO, URI);
        for (method, via, to, uri, same) in [
            ("INVITE", old, TO, URI, true),
            ("ACK", old, tagged, URI, true),
            ("BYE", old, TO, URI, false),
            ("INVITE", "SIP/2.0/UDP a.example.com", TO, URI, false),
            ("INVITE", old, TO, "sip:c@192.0.2.1", false),
        ] {
            assert_eq!(invite == key_of(method, via, to, uri), same, "{method} {via} {to} {uri}");
        }
        assert_ne!(key_of("BYE", old, tagged, URI), key_of("BYE", old, TO, URI));
    }

    /// §17.1.3: the CSeq method tells the answer to a CANCEL from the answer to its INVITE.
    #[test]
    fn a_response_finds_its_client_transaction() {
        let invite = ask("INVITE", VIA, TO, URI);
        let cancel = ask("CANCEL", VIA, TO, URI);
        let key = |request: &Request| ClientKey::of_request(request).unwrap();
        let answered = |request: &Request| {
            ClientKey::of_response(&Response::to_request(request, 200, "OK")).unwrap()
        };
        assert_eq!(key(&invite), answered(&invite));
        assert_eq!(key(&cancel), answered(&cancel));
        assert_ne!(key(&invite), key(&cancel));
        assert!(ClientKey::of_request(&ask("OPTIONS", "SIP/2.0/UDP a", TO, URI)).is_err());
    }
}
