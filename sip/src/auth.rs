//! Digest authentication as the one who is asked (RFC 8760, RFC 7616, RFC 2617; RFC 3261 §22).
//!
//! Knows challenges, which one to take, and how to answer it. Refuses to know where credentials are
//! kept and when a request is sent again. Credentials are bound to a trunk's addresses and a realm:
//! whoever else asks learns nothing, not even a hash. Start at [`Authenticator::answer`].
#![warn(clippy::indexing_slicing)]

mod challenge;
mod digest;

pub use challenge::{Algorithm, Challenge, Qop};

use crate::message::{HeaderName, HeaderValue, Request, Response};
use std::fmt;
use std::net::IpAddr;

/// Answers to challenges for one request: the first, and one more if the nonce was stale. A peer
/// that challenges for ever would otherwise keep a call, and guess at a password, for ever.
const MAX_TRIES: u8 = 2;

/// Challenges looked at in one response; real ones carry one for each algorithm.
const MAX_CHALLENGES: usize = 8;

/// What one trunk's user can prove, and to whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who we are to the trunk.
    pub username: String,
    /// The secret; never printed.
    pub password: String,
    /// The realm it belongs to. `None`: the first that one of the trunk's addresses names.
    pub realm: Option<String>,
    /// The trunk's addresses: only a challenge that comes from one of them is answered.
    pub destinations: Vec<IpAddr>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("realm", &self.realm)
            .field("destinations", &self.destinations)
            .finish_non_exhaustive()
    }
}

/// Why a challenge is not answered. The call ends as if refused; each is a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It came from an address that is not the trunk's. Blame: an attacker, or a redirect.
    #[error("challenge from {0}, which is not the trunk")]
    Stranger(IpAddr),
    /// No challenge is for our realm.
    #[error("challenge for another realm")]
    Realm,
    /// None that we know: no Digest, or only algorithms and qualities that we do not know.
    #[error("no challenge that we can answer")]
    Unknown,
    /// The peer has seen our answer and does not take it: username or password is wrong.
    #[error("credentials refused")]
    Refused,
}

/// Answers the challenges to one leg or registration.
#[derive(Clone, Debug)]
pub struct Authenticator {
    credentials: Credentials,
    /// What was answered last: used again for the next request, with the next count.
    last: Option<Answered>,
    /// Challenges to the present request that were answered.
    tries: u8,
}

#[derive(Clone, Debug)]
struct Answered {
    header: HeaderName,
    challenge: Challenge,
    count: u32,
}

impl Authenticator {
    /// Has seen no challenge yet.
    #[must_use]
    pub const fn new(credentials: Credentials) -> Self {
        Self { credentials, last: None, tries: 0 }
    }

    /// A new request, before it is sent for the first time: adds what the last challenge asked for,
    /// so that a peer that knows us need not ask again (RFC 3261 §22.3). An ACK gets what its
    /// INVITE has (§22.1), which is the caller's to copy. `cnonce` is fresh random text.
    pub fn authorize(&mut self, request: &mut Request, cnonce: &str) {
        self.tries = 0;
        self.write(request, cnonce);
    }

    /// A 401 or 407 to `request` came from `from`: puts the answer into `request`, which is then
    /// to be sent again with the next CSeq and a new branch (RFC 3261 §22.2).
    ///
    /// # Errors
    /// If it must not or cannot be answered; the request is untouched.
    pub fn answer(
        &mut self,
        response: &Response,
        from: IpAddr,
        request: &mut Request,
        cnonce: &str,
    ) -> Result<(), Refusal> {
        let from = from.to_canonical();
        if !self.credentials.destinations.iter().any(|ip| ip.to_canonical() == from) {
            return Err(Refusal::Stranger(from));
        }
        let (header, challenge) = self.choose(response)?;
        if self.tries >= MAX_TRIES || (self.tries > 0 && !challenge.stale) {
            return Err(Refusal::Refused);
        }
        self.tries += 1;
        self.credentials.realm.get_or_insert_with(|| challenge.realm.clone());
        self.last = Some(Answered { header, challenge, count: 0 });
        self.write(request, cnonce);
        Ok(())
    }

    /// The strongest challenge for our realm that we can answer (RFC 8760 §2.4), and the header
    /// that answers it.
    fn choose(&self, response: &Response) -> Result<(HeaderName, Challenge), Refusal> {
        let (asked, header) = match response.status {
            401 => (HeaderName::WWW_AUTHENTICATE, HeaderName::AUTHORIZATION),
            407 => (HeaderName::PROXY_AUTHENTICATE, HeaderName::PROXY_AUTHORIZATION),
            _ => return Err(Refusal::Unknown),
        };
        let challenges: Vec<_> = (response.headers.get_all(&asked).take(MAX_CHALLENGES))
            .filter_map(Challenge::parse)
            .collect();
        if challenges.is_empty() {
            return Err(Refusal::Unknown);
        }
        let ours = |challenge: &Challenge| match &self.credentials.realm {
            Some(realm) => challenge.realm == *realm,
            None => true,
        };
        // Of equals the first counts: the order is the server's preference.
        let strongest = challenges
            .into_iter()
            .filter(ours)
            .reduce(|best, next| if next.algorithm > best.algorithm { next } else { best });
        strongest.map(|challenge| (header, challenge)).ok_or(Refusal::Realm)
    }

    fn write(&mut self, request: &mut Request, cnonce: &str) {
        let Some(last) = &mut self.last else { return };
        last.count = last.count.saturating_add(1);
        let value =
            digest::response(&last.challenge, &self.credentials, request, last.count, cnonce);
        request.headers.set(last.header.clone(), HeaderValue::cleaned(&value));
    }
}
