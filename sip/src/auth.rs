//! Digest authentication as the one who is asked (RFC 8760, RFC 7616, RFC 2617; RFC 3261 §22).
//!
//! Knows challenges, which one to take, how to answer it, and which nonce to use again. Refuses to
//! know where credentials are kept and when a request is sent again. Credentials are bound to a
//! trunk's addresses and a realm: whoever else asks learns nothing, not even a hash, and nothing
//! that was answered goes to another address. Start at [`Authenticator::answer`].
#![warn(clippy::indexing_slicing)]

mod challenge;
mod digest;

pub use challenge::{Algorithm, Challenge, Qop};

use crate::endpoint::Network;
use crate::message::{HeaderName, HeaderValue, Headers, Request, Response};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Answers to one asker's challenges of one request: the first, and one more if the nonce was
/// stale. A peer that challenges for ever would otherwise keep a call, and guess at a password, for
/// ever.
const MAX_TRIES: u8 = 2;

/// Challenges looked at in one response; real ones carry one for each algorithm.
const MAX_CHALLENGES: usize = 8;

/// What one trunk's user can prove, and to whom.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Who we are to the trunk.
    pub username: String,
    /// The secret; never printed.
    pub password: String,
    /// The realm it belongs to. `None`: the one that the trunk's addresses name first to a request,
    /// its proxy and its user agent each.
    pub realm: Option<String>,
    /// The trunk's addresses: only a challenge that comes from one of them is answered.
    pub destinations: Vec<Network>,
}

impl Credentials {
    /// Whether an address is the trunk's.
    #[must_use]
    pub fn belong_to(&self, address: IpAddr) -> bool {
        self.destinations.iter().any(|network| network.contains(address))
    }
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

/// Who asks, by which status, and in which header fields asker and asked speak (RFC 3261 §22.2,
/// §22.3; RFC 7615).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    UserAgent,
    Proxy,
}

impl Asker {
    const ALL: [Self; 2] = [Self::UserAgent, Self::Proxy];

    const fn challenges(self) -> HeaderName {
        match self {
            Self::UserAgent => HeaderName::WWW_AUTHENTICATE,
            Self::Proxy => HeaderName::PROXY_AUTHENTICATE,
        }
    }

    const fn answers(self) -> HeaderName {
        match self {
            Self::UserAgent => HeaderName::AUTHORIZATION,
            Self::Proxy => HeaderName::PROXY_AUTHORIZATION,
        }
    }

    const fn info(self) -> HeaderName {
        match self {
            Self::UserAgent => HeaderName::AUTHENTICATION_INFO,
            Self::Proxy => HeaderName::PROXY_AUTHENTICATION_INFO,
        }
    }
}

/// Challenges to one request that were answered, by each asker: a proxy and the user agent behind
/// it ask in turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    user_agent: u8,
    proxy: u8,
}

impl Tries {
    fn of(&mut self, asker: Asker) -> &mut u8 {
        match asker {
            Asker::UserAgent => &mut self.user_agent,
            Asker::Proxy => &mut self.proxy,
        }
    }
}

/// Answers the challenges to all requests that have the same credentials, and remembers the nonces:
/// the next request brings its answer along (RFC 3261 §22.3).
#[derive(Clone, Debug)]
pub struct Authenticator {
    credentials: Arc<Credentials>,
    /// What each asker was answered last: used again for the next request, with the next count.
    answered: Vec<(Asker, Answered)>,
}

#[derive(Clone, Debug)]
struct Answered {
    challenge: Challenge,
    count: u32,
    /// That of the first answer: all of a `-sess` digest's share it (RFC 7616 §3.4.2).
    cnonce: String,
}

impl Authenticator {
    /// Has seen no challenge yet.
    #[must_use]
    pub fn new(credentials: impl Into<Arc<Credentials>>) -> Self {
        Self { credentials: credentials.into(), answered: Vec::new() }
    }

    /// A new request, before it is sent to `to` for the first time: adds what the last challenges
    /// asked for, so that a peer that knows us need not ask again (RFC 3261 §22.3). An ACK gets
    /// what its INVITE has (§22.1), which is the caller's to copy. `cnonce` is fresh random text.
    pub fn authorize(&mut self, request: &mut Request, to: IpAddr, cnonce: &str) {
        if self.credentials.belong_to(to) {
            for asker in Asker::ALL {
                self.write(asker, request, cnonce);
            }
        }
    }

    /// A 401 or 407 to `request` came from `from`: puts the answers into `request`, which is then
    /// to be sent again with the next CSeq and a new branch (RFC 3261 §22.2). A proxy may have
    /// gathered challenges of both kinds in either (§22.3).
    ///
    /// # Errors
    /// If it must not or cannot be answered; the request is untouched.
    pub fn answer(
        &mut self,
        response: &Response,
        from: IpAddr,
        request: &mut Request,
        tries: &mut Tries,
        cnonce: &str,
    ) -> Result<(), Refusal> {
        if !self.credentials.belong_to(from) {
            return Err(Refusal::Stranger(from.to_canonical()));
        }
        if !matches!(response.status, 401 | 407) {
            return Err(Refusal::Unknown);
        }
        let asked = |asker: &Asker| response.headers.has(&asker.challenges());
        let askers: Vec<Asker> = Asker::ALL.into_iter().filter(asked).collect();
        // All or nothing: half an answer is refused again.
        let mut chosen = Vec::new();
        for asker in askers {
            let challenge = self.choose(asker, response, *tries.of(asker) > 0)?;
            if *tries.of(asker) >= MAX_TRIES || (*tries.of(asker) > 0 && !challenge.stale) {
                self.answered.retain(|(other, _)| *other != asker);
                return Err(Refusal::Refused);
            }
            chosen.push((asker, challenge));
        }
        if chosen.is_empty() {
            return Err(Refusal::Unknown);
        }
        for (asker, challenge) in chosen {
            *tries.of(asker) += 1;
            self.remember(asker, challenge);
            self.write(asker, request, cnonce);
        }
        Ok(())
    }

    /// A response without a challenge came from `from`: the nonce that it gives for the next
    /// request (RFC 7616 §3.5, RFC 7615).
    pub fn learn(&mut self, response: &Response, from: IpAddr) {
        if !self.credentials.belong_to(from) {
            return;
        }
        for (asker, answered) in &mut self.answered {
            let info = response.headers.get(&asker.info());
            if let Some(nonce) = info.and_then(challenge::next_nonce) {
                answered.challenge.nonce = nonce;
                answered.count = 0;
            }
        }
    }

    /// The strongest challenge for our realm that we can answer (RFC 8760 §2.4). `again`: the asker
    /// has named its realm to this request.
    fn choose(&self, asker: Asker, response: &Response, again: bool) -> Result<Challenge, Refusal> {
        let challenges: Vec<_> =
            (response.headers.get_all(&asker.challenges()).take(MAX_CHALLENGES))
                .filter_map(Challenge::parse)
                .collect();
        if challenges.is_empty() {
            return Err(Refusal::Unknown);
        }
        let named = || self.last(asker).filter(|_| again).map(|last| &last.realm);
        let realm = self.credentials.realm.as_ref().or_else(named);
        let ours = |challenge: &Challenge| realm.is_none_or(|realm| challenge.realm == *realm);
        // Of equals the first counts: the order is the server's preference.
        let strongest = challenges
            .into_iter()
            .filter(ours)
            .reduce(|best, next| if next.algorithm > best.algorithm { next } else { best });
        strongest.ok_or(Refusal::Realm)
    }

    fn last(&self, asker: Asker) -> Option<&Challenge> {
        let (_, last) = self.answered.iter().find(|(other, _)| *other == asker)?;
        Some(&last.challenge)
    }

    fn remember(&mut self, asker: Asker, challenge: Challenge) {
        self.answered.retain(|(other, _)| *other != asker);
        let answered = Answered { challenge, count: 0, cnonce: String::new() };
        self.answered.push((asker, answered));
    }

    fn write(&mut self, asker: Asker, request: &mut Request, cnonce: &str) {
        let last = self.answered.iter_mut().find(|(other, _)| *other == asker);
        let Some((_, last)) = last else { return };
        if last.count == 0 {
            cnonce.clone_into(&mut last.cnonce);
        }
        let cnonce = if last.challenge.session { &last.cnonce } else { cnonce };
        last.count = last.count.saturating_add(1);
        let value =
            digest::response(&last.challenge, &self.credentials, request, last.count, cnonce);
        request.headers.set(asker.answers(), HeaderValue::cleaned(&value));
    }
}

/// The header fields by which a request proves who sent it: those of an INVITE are its ACK's too
/// (RFC 3261 §22.1).
pub(crate) fn proofs(headers: &Headers) -> Vec<(HeaderName, HeaderValue)> {
    let is_proof = |name: &HeaderName| Asker::ALL.into_iter().any(|asker| asker.answers() == *name);
    let proofs = headers.iter().filter(|(name, _)| is_proof(name));
    proofs.map(|(name, value)| (name.clone(), value.clone())).collect()
}
