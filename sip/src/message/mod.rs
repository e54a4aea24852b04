//! The SIP message: requests, responses, their header fields and typed values.
//!
//! Knows RFC 3261 §7, §19.1, §20 and §25 and how a message is written. Refuses to know how bytes
//! are read ([`wire`](crate::wire)) and what a message means to a transaction or dialog. Start at
//! [`Request`] and [`Response`]; [`HeaderValue`] is why nobody's text becomes a header.
//!
//! The values are ours: rsip fails on IPv6 hosts, `tel:` and unknown methods, which each of Via,
//! URIs and CSeq may have. It is the second opinion of the tests.

mod header;
mod headers;
mod lex;
mod method;
mod multipart;
mod name_addr;
mod params;
mod status;
mod uri;
mod uri_compare;
mod values;
mod via;
mod write;

pub use header::{HeaderName, HeaderValue};
pub use headers::Headers;
pub(crate) use headers::has_token;
pub(crate) use lex::{quoted_string, split_outside, trim, write_quoted};
pub use method::{Method, Token};
pub(crate) use multipart::{Described, session_description};
pub use name_addr::NameAddr;
pub use params::Params;
pub use status::reason_phrase;
pub use uri::{Host, Scheme, Uri, escape_user};
pub(crate) use values::decimal;
pub use values::{CSeq, is_media_type, retry_after};
pub use via::{Transport, Via};

use crate::error::FieldError;
use bytes::Bytes;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// The Request-URI: of whom.
    pub uri: Uri,
    /// Its header fields; Content-Length is not among them, the writer counts.
    pub headers: Headers,
    /// Its body.
    pub body: Bytes,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code, 100 to 699.
    pub status: u16,
    /// Reason phrase; for people only.
    pub reason: String,
    /// Its header fields; Content-Length is not among them, the writer counts.
    pub headers: Headers,
    /// Its body.
    pub body: Bytes,
}

/// A request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

impl Request {
    /// A request without header fields and body.
    #[must_use]
    pub const fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: Headers::new(), body: Bytes::new() }
    }
}

impl Response {
    /// A response without header fields and body, with the usual reason phrase.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let reason = reason_phrase(status).to_owned();
        Self { status, reason, headers: Headers::new(), body: Bytes::new() }
    }

    /// The answer to a request: every Via, From, To, Call-ID and CSeq as they stand there, and the
    /// Timestamp in a 100 (RFC 3261 §8.2.6). An empty `reason` stands for the usual phrase; the To
    /// tag is still to be added ([`Response::set_to_tag`]).
    #[must_use]
    pub fn to_request(request: &Request, status: u16, reason: &str) -> Self {
        let mut response = Self::to_headers(&request.headers, status);
        if !reason.is_empty() {
            reason.clone_into(&mut response.reason);
        }
        response
    }

    /// [`Response::to_request`] for a request of which only the header fields could be read.
    pub(crate) fn to_headers(request: &Headers, status: u16) -> Self {
        const COPIED: [HeaderName; 5] = [
            HeaderName::VIA,
            HeaderName::FROM,
            HeaderName::TO,
            HeaderName::CALL_ID,
            HeaderName::CSEQ,
        ];
        let mut response = Self::new(status);
        for (name, value) in request.iter() {
            if COPIED.contains(name) || (status == 100 && *name == HeaderName::TIMESTAMP) {
                response.headers.push(name.clone(), value.clone());
            }
        }
        response
    }

    /// Adds a tag to To, unless it has one already (RFC 3261 §8.2.6.2).
    pub fn set_to_tag(&mut self, tag: &str) {
        if let Ok(to) = self.headers.to()
            && to.tag().is_none()
        {
            self.headers.set(HeaderName::TO, to.with_tag(tag));
        }
    }

    /// 100 to 199.
    #[must_use]
    pub const fn is_provisional(&self) -> bool {
        self.status < 200
    }

    /// 200 to 299.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

impl Message {
    /// Its header fields.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }

    /// Its body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        match self {
            Self::Request(request) => &request.body,
            Self::Response(response) => &response.body,
        }
    }

    /// As it goes on the wire, with Content-Length.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Request(request) => request.to_bytes(),
            Self::Response(response) => response.to_bytes(),
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

/// The header fields that everybody asks for, straight from the message.
macro_rules! header_accessors {
    ($type:ty, $($headers:tt)+) => {
        impl $type {
            /// The top Via.
            ///
            /// # Errors
            /// If there is none or it is bad.
            pub fn via(&self) -> Result<Via, FieldError> {
                self.$($headers)+.via()
            }

            /// `Call-ID`.
            ///
            /// # Errors
            /// If there is none.
            pub fn call_id(&self) -> Result<&str, FieldError> {
                self.$($headers)+.call_id()
            }

            /// `CSeq`.
            ///
            /// # Errors
            /// If there is none or it is bad.
            pub fn cseq(&self) -> Result<CSeq, FieldError> {
                self.$($headers)+.cseq()
            }

            /// `From`.
            ///
            /// # Errors
            /// If there is none or it is bad.
            pub fn from(&self) -> Result<NameAddr, FieldError> {
                self.$($headers)+.from()
            }

            /// `To`.
            ///
            /// # Errors
            /// If there is none or it is bad.
            pub fn to(&self) -> Result<NameAddr, FieldError> {
                self.$($headers)+.to()
            }

            /// The first `Contact`.
            ///
            /// # Errors
            /// If there is none or it is bad.
            pub fn contact(&self) -> Result<NameAddr, FieldError> {
                self.$($headers)+.contact()
            }

            /// Every `Contact`.
            ///
            /// # Errors
            /// If one is bad.
            pub fn contacts(&self) -> Result<Vec<NameAddr>, FieldError> {
                self.$($headers)+.contacts()
            }

            /// Every `Record-Route`, top first.
            ///
            /// # Errors
            /// If one is bad.
            pub fn record_routes(&self) -> Result<Vec<NameAddr>, FieldError> {
                self.$($headers)+.record_routes()
            }

            /// `Content-Type`, as it stands.
            #[must_use]
            pub fn content_type(&self) -> Option<&str> {
                self.$($headers)+.content_type()
            }
        }
    };
}

header_accessors!(Request, headers);
header_accessors!(Response, headers);
header_accessors!(Message, headers());
