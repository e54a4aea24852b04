//! Dialogs (RFC 3261 §12): tags, route set, CSeq, target refresh.
//!
//! A [`Dialog`] knows how a request in it is addressed and which requests from the far end belong
//! to it. It refuses to know sessions, transactions and what the requests mean. [`DialogState`]
//! is a dialog as text, from which a later process can send BYE. Start at [`Dialog`].
#![warn(clippy::indexing_slicing)]

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::error::FieldError;
use crate::message::{
    CSeq, HeaderName, HeaderValue, Host, Method, NameAddr, Request, Response, Transport, Uri,
};

/// The peer-to-peer relationship of two user agents (RFC 3261 §12).
#[derive(Clone, Debug, PartialEq)]
pub struct Dialog {
    call_id: HeaderValue,
    /// Our From in requests, with our tag.
    local: NameAddr,
    /// Our To in requests, with the far end's tag, if it gave one (RFC 2543 peers need not).
    remote: NameAddr,
    remote_target: Uri,
    /// In the order in which our requests visit it.
    route_set: Vec<Uri>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}

impl Dialog {
    /// The dialog that a response with a To tag gives the caller (RFC 3261 §12.1.2): the route
    /// set is the Record-Route reversed. `None` if From, To, Call-ID or CSeq is unusable.
    pub fn of_caller(response: &Response) -> Option<Self> {
        let mut route_set = routes(response.record_routes());
        route_set.reverse();
        let remote = response.to().ok()?;
        Some(Self {
            call_id: HeaderValue::try_from(response.call_id().ok()?).ok()?,
            local: response.from().ok()?,
            remote_target: response.contact().map_or_else(|_| remote.uri.clone(), |c| c.uri),
            remote,
            route_set,
            local_cseq: response.cseq().ok()?.seq,
            remote_cseq: None,
        })
    }

    /// The dialog that our response with `local_tag` gives the callee (RFC 3261 §12.1.1): the
    /// route set is the Record-Route as it stands. Our first request will have CSeq `cseq` + 1.
    pub fn of_callee(request: &Request, local_tag: &str, cseq: u32) -> Option<Self> {
        let remote = request.from().ok()?;
        Some(Self {
            call_id: HeaderValue::try_from(request.call_id().ok()?).ok()?,
            local: request.to().ok()?.with_tag(local_tag),
            remote_target: request.contact().map_or_else(|_| remote.uri.clone(), |c| c.uri),
            remote,
            route_set: routes(request.record_routes()),
            local_cseq: cseq,
            remote_cseq: Some(request.cseq().ok()?.seq),
        })
    }

    /// Call-ID.
    pub fn call_id(&self) -> &str {
        self.call_id.as_str()
    }

    /// Our tag.
    pub fn local_tag(&self) -> &str {
        self.local.tag().unwrap_or_default()
    }

    /// The far end's tag; empty where it gave none (RFC 3261 §12.1.1, RFC 2543).
    pub fn remote_tag(&self) -> &str {
        self.remote.tag().unwrap_or_default()
    }

    /// The CSeq number of our latest request.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Where requests go at last.
    pub fn remote_target(&self) -> &Uri {
        &self.remote_target
    }

    /// Whom the next request is handed to: the first route, or the target (§12.2.1.1, §8.1.2).
    pub fn next_hop(&self) -> &Uri {
        self.route_set.first().unwrap_or(&self.remote_target)
    }

    /// The hosts from which requests may come: those of the route set and the remote target.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.route_set.iter().chain([&self.remote_target]).map(|uri| &uri.host)
    }

    /// A new request of ours, CSeq one higher (§12.2.1.1). Via, Contact and Max-Forwards are
    /// added by who sends it.
    pub fn request(&mut self, method: Method) -> Request {
        let seq = self.next_cseq();
        self.request_with(method, seq)
    }

    /// The CSeq number of a new request of ours, or of one that is sent again with credentials
    /// (§22.2).
    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.wrapping_add(1) & 0x7FFF_FFFF;
        self.local_cseq
    }

    /// Our requests go on from this number: that of one which the early dialog has seen.
    pub(crate) fn raise_cseq(&mut self, seq: u32) {
        self.local_cseq = self.local_cseq.max(seq);
    }

    /// The ACK of a 2xx to our INVITE with `cseq` (§13.2.2.4).
    pub fn ack(&self, cseq: u32) -> Request {
        self.request_with(Method::Ack, cseq)
    }

    /// Loose routing keeps the target in the Request-URI and the whole set in Route; a strict
    /// router gets itself in the Request-URI and the target last (§12.2.1.1).
    fn request_with(&self, method: Method, seq: u32) -> Request {
        let (uri, routes): (Uri, Vec<&Uri>) = match self.route_set.split_first() {
            None => (self.remote_target.clone(), Vec::new()),
            Some((first, _)) if first.params.has("lr") => {
                (self.remote_target.clone(), self.route_set.iter().collect())
            }
            Some((first, rest)) => {
                (first.clone(), rest.iter().chain([&self.remote_target]).collect())
            }
        };
        let mut request = Request::new(method.clone(), uri.into_request_uri());
        for route in routes {
            request.headers.push(HeaderName::ROUTE, NameAddr::from(route.clone()));
        }
        request.headers.push(HeaderName::FROM, self.local.clone());
        request.headers.push(HeaderName::TO, self.remote.clone());
        request.headers.push(HeaderName::CALL_ID, self.call_id.clone());
        request.headers.push(HeaderName::CSEQ, CSeq { seq, method });
        request
    }

    /// Takes the CSeq number of a request from the far end; false if it is not higher than its
    /// last one: the request is out of order and gets 500 (§12.2.2).
    #[must_use]
    pub fn take_cseq(&mut self, seq: u32) -> bool {
        let in_order = self.remote_cseq.is_none_or(|last| seq > last);
        if in_order {
            self.remote_cseq = Some(seq);
        }
        in_order
    }

    /// As it is used by a later process, which does not know how many requests were sent since it
    /// was stored: its CSeq is `margin` higher.
    #[must_use]
    pub fn after_restart(mut self, margin: u32) -> Self {
        self.local_cseq = self.local_cseq.saturating_add(margin);
        self
    }

    /// Goes on counting the far end's requests where the early dialog of the same tags was.
    pub(crate) fn continue_from(&mut self, early: &Self) {
        self.remote_cseq = early.remote_cseq;
    }

    /// Target refresh by the Contact of an INVITE, an UPDATE or the 2xx to one (§12.2, RFC 3311
    /// §5.1). The route set stays.
    pub fn refresh_target(&mut self, contact: Option<NameAddr>) {
        if let Some(contact) = contact {
            self.remote_target = contact.uri;
        }
    }
}

/// A dialog, and where its next hop was: what a later process needs to end it. As text, one
/// `name: value` a line.
#[derive(Clone, Debug, PartialEq)]
pub struct DialogState {
    /// The dialog as it was when this was made.
    pub dialog: Dialog,
    /// Where the far end was reached last.
    pub remote: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// What its certificate must prove (TLS).
    pub tls_name: Option<String>,
}

/// A stored dialog that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored dialog: {0} is missing or unusable")]
pub struct DialogStateError(&'static str);

impl fmt::Display for DialogState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dialog = &self.dialog;
        writeln!(f, "call-id: {}", dialog.call_id())?;
        writeln!(f, "local: {}", dialog.local)?;
        writeln!(f, "remote: {}", dialog.remote)?;
        writeln!(f, "target: {}", dialog.remote_target)?;
        for route in &dialog.route_set {
            writeln!(f, "route: {route}")?;
        }
        writeln!(f, "local-cseq: {}", dialog.local_cseq)?;
        if let Some(seq) = dialog.remote_cseq {
            writeln!(f, "remote-cseq: {seq}")?;
        }
        writeln!(f, "transport: {}", self.transport)?;
        if let Some(name) = &self.tls_name {
            writeln!(f, "tls-name: {name}")?;
        }
        writeln!(f, "address: {}", self.remote)
    }
}

impl FromStr for DialogState {
    type Err = DialogStateError;

    fn from_str(text: &str) -> Result<Self, DialogStateError> {
        let all = |name: &'static str| {
            text.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Ok(Self {
            dialog: Dialog {
                call_id: all("call-id")
                    .next()
                    .and_then(|text| HeaderValue::try_from(text).ok())
                    .ok_or(DialogStateError("call-id"))?,
                local: parse(all("local").next(), "local")?,
                remote: parse(all("remote").next(), "remote")?,
                remote_target: parse(all("target").next(), "target")?,
                route_set: all("route")
                    .map(|route| parse(Some(route), "route"))
                    .collect::<Result<_, _>>()?,
                local_cseq: parse(all("local-cseq").next(), "local-cseq")?,
                remote_cseq: match all("remote-cseq").next() {
                    Some(seq) => Some(parse(Some(seq), "remote-cseq")?),
                    None => None,
                },
            },
            remote: parse(all("address").next(), "address")?,
            transport: transport(all("transport").next())?,
            tls_name: all("tls-name").next().map(str::to_owned),
        })
    }
}

/// A Record-Route that cannot be read counts as none: the far end can then at least be told so.
fn routes(record_routes: Result<Vec<NameAddr>, FieldError>) -> Vec<Uri> {
    record_routes.unwrap_or_default().into_iter().map(|route| route.uri).collect()
}

fn transport(name: Option<&str>) -> Result<Transport, DialogStateError> {
    [Transport::Udp, Transport::Tcp, Transport::Tls]
        .into_iter()
        .find(|transport| Some(transport.as_str()) == name)
        .ok_or(DialogStateError("transport"))
}

fn parse<T: FromStr>(value: Option<&str>, name: &'static str) -> Result<T, DialogStateError> {
    value.and_then(|value| value.parse().ok()).ok_or(DialogStateError(name))
}
