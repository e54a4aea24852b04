//! What a call to place, or an orphaned leg to end, is made of.
//!
//! It knows the values the caller of this crate hands in; it refuses to know how they become
//! messages (that is [`super`]). Start at [`InviteSpec`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;

use crate::auth::Credentials;
use crate::dialog::DialogState;
use crate::endpoint::Network;
use crate::message::{HeaderName, HeaderValue, NameAddr, Transport, Uri};

/// One leg of the endpoint: from INVITE to its last message. Never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

/// What must be known to CANCEL an INVITE: made before the INVITE is sent, so that it can be
/// stored first and the leg be ended after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Call-ID, without a host part.
    pub call_id: String,
    /// Our From tag.
    pub from_tag: String,
    /// Branch of the INVITE's Via, magic cookie included (RFC 3261 §8.1.1.7).
    pub branch: String,
    /// CSeq number of the INVITE.
    pub cseq: u32,
}

impl Identity {
    /// A new identity: 128 random bits of Call-ID, 64 of tag, 96 of branch. A response is
    /// recognised by its branch, a request by Call-ID and tag, so nobody may guess them.
    pub fn generate<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self {
            call_id: token(rng, 32),
            from_tag: token(rng, 16),
            branch: branch(rng),
            cseq: 1 + (rng.next_u32() & 0xFFFF),
        }
    }
}

/// A message body and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Content-Type, such as `application/sdp`.
    pub content_type: String,
    /// The bytes as they travel.
    pub bytes: Bytes,
}

impl Body {
    /// A session description.
    pub fn sdp(bytes: impl Into<Bytes>) -> Self {
        Self { content_type: "application/sdp".to_owned(), bytes: bytes.into() }
    }
}

/// An INVITE to send. From and To are given without tags; the tag of `identity` is added.
#[derive(Clone, Debug)]
pub struct InviteSpec {
    /// Call-ID, tag, branch and CSeq, made (and stored) beforehand.
    pub identity: Identity,
    /// Request-URI.
    pub request_uri: Uri,
    /// From, without a tag.
    pub from: NameAddr,
    /// To, without a tag.
    pub to: NameAddr,
    /// Where the INVITE goes.
    pub remote: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// What the certificate of `remote` must prove over TLS: the host of the URI that was dialled
    /// (RFC 5922); its address where there is none.
    pub tls_name: Option<String>,
    /// Whether requests that are too large for UDP go over TCP (RFC 3261 §18.1.1): where the URI
    /// that was dialled does not insist on UDP.
    pub large_over_tcp: bool,
    /// Further headers, such as P-Asserted-Identity. Headers that the stack writes itself
    /// (Via, From, To, Call-ID, CSeq, Contact, Max-Forwards, Content-*) are refused.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The offer. Without one the far end makes it in its 200.
    pub body: Option<Body>,
    /// Timer B until a provisional comes: how long a silent trunk is waited for.
    pub no_answer_timeout: Duration,
    /// From where requests in this dialog are taken, besides `remote` and the hosts of the
    /// route set and the remote target.
    pub peers: Vec<Network>,
    /// Who we are to the trunk, should it ask.
    pub credentials: Option<Arc<Credentials>>,
}

/// A leg that a process before this one left behind.
#[derive(Clone, Debug)]
pub enum Orphan {
    /// It was placed and not known to be answered: CANCEL, and a late 200 gets ACK and BYE.
    Early {
        /// As it was placed.
        identity: Identity,
        /// The INVITE's Request-URI.
        request_uri: Uri,
        /// The INVITE's From, without its tag.
        from: NameAddr,
        /// The INVITE's To.
        to: NameAddr,
        /// Where the INVITE went.
        remote: SocketAddr,
        /// Over what.
        transport: Transport,
        /// As [`InviteSpec::tls_name`].
        tls_name: Option<String>,
    },
    /// It was answered: BYE, with a margin on its CSeq.
    Confirmed {
        /// As it was stored at the answer.
        dialog: DialogState,
    },
}

/// An INVITE that came in, already answered 100 where that was due.
#[derive(Clone, Debug)]
pub struct IncomingCall {
    /// The number or URI dialled.
    pub request_uri: Uri,
    /// The caller.
    pub from: NameAddr,
    /// Whom it says it calls.
    pub to: NameAddr,
    /// Its Call-ID.
    pub call_id: String,
    /// The offer, if it made one.
    pub body: Option<Body>,
    /// Where it came from.
    pub remote: SocketAddr,
    /// P-Asserted-Identity, as sent, for a trunk that is trusted with it (RFC 3325).
    pub asserted_identity: Option<String>,
    /// User-Agent, as sent.
    pub user_agent: Option<String>,
    /// What a later process needs to send BYE, once the call is answered.
    pub dialog: Box<DialogState>,
}

impl IncomingCall {
    /// The address the call came from, without its port.
    pub fn source(&self) -> IpAddr {
        self.remote.ip()
    }
}

/// A branch with the magic cookie of RFC 3261 §8.1.1.7.
pub(crate) fn branch<R: Rng + ?Sized>(rng: &mut R) -> String {
    format!("z9hG4bK{}", token(rng, 24))
}

/// The branch of a request that is sent again with credentials: it can be told from that of the
/// first, which is all that a later process knows of an INVITE.
pub(crate) fn next_branch(branch: &str) -> String {
    let (first, times) = branch.rsplit_once('.').unwrap_or((branch, "0"));
    let times: u32 = times.parse().unwrap_or(0);
    format!("{first}.{}", times.saturating_add(1))
}

/// Whether `branch` is `first`, or that of the same request sent again.
pub(crate) fn is_branch_of(first: &str, branch: &str) -> bool {
    branch.strip_prefix(first).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// `length` random lower-case hexadecimal digits.
pub(crate) fn token<R: Rng + ?Sized>(rng: &mut R, length: usize) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut text = String::with_capacity(length);
    let mut bits = 0u64;
    for at in 0..length {
        if at % 16 == 0 {
            bits = rng.next_u64();
        }
        text.extend(DIGITS.get((bits & 0xF) as usize));
        bits >>= 4;
    }
    text
}
