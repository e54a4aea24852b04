//! Challenges to requests of ours (RFC 3261 §22): one that is answered 401 or 407 is sent again,
//! with what its trunk's credentials prove, as a new transaction for the same user.
//!
//! It knows whose request it was and where it went. It refuses to know what the request is for.
//! Start at [`Endpoint::answers_challenge`].
#![warn(clippy::indexing_slicing)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::Endpoint;
use super::table::ClientUser;
use crate::auth::{Authenticator, Credentials, Refusal};
use crate::invite::{again, token};
use crate::limits::MAX_AUTHENTICATORS;
use crate::message::{Method, Request, Response};

impl Endpoint {
    /// The accounts of the trunks, for calls that come in from them and for what nobody remembers.
    pub fn set_accounts(&mut self, accounts: Vec<Arc<Credentials>>) {
        self.accounts = accounts;
    }

    /// The account of the trunk at an address.
    pub(super) fn account_at(&self, address: IpAddr) -> Option<Arc<Credentials>> {
        self.accounts.iter().find(|account| account.belong_to(address)).cloned()
    }

    /// A request before it is sent to `to` for the first time: with the answer to the challenge
    /// that its trunk gave last (§22.3). CANCEL and ACK have their INVITE's (§22.1).
    pub(super) fn authorize(
        &mut self,
        credentials: Option<&Arc<Credentials>>,
        to: IpAddr,
        request: &mut Request,
    ) {
        let Some(credentials) = credentials else { return };
        if !matches!(request.method, Method::Ack | Method::Cancel) {
            let cnonce = self.cnonce();
            self.authenticator(credentials).authorize(request, to, &cnonce);
        }
    }

    /// A final answer to a client transaction. True: it was a challenge, and its request is on its
    /// way once more, with the next CSeq number and a new branch (§22.2), so that this answer
    /// concerns nobody.
    pub(super) fn answers_challenge(&mut self, now: Instant, id: u64, response: &Response) -> bool {
        let Some(client) = self.clients.get(id).filter(|_| !response.is_provisional()) else {
            return false;
        };
        let (user, path, mut how) = (client.user, client.path.clone(), client.how);
        let mut request = client.machine.request().clone();
        let Some(from) = client.answered_from.map(|from| from.ip()) else { return false };
        let Some(credentials) = self.credentials_of(user) else { return false };
        if matches!(request.method, Method::Ack | Method::Cancel) {
            return false;
        }
        if !matches!(response.status, 401 | 407) {
            self.authenticator(&credentials).learn(response, from);
            return false;
        }
        if !self.is_wanted(user, &request) {
            return false;
        }
        let cnonce = self.cnonce();
        let authenticator = self.authenticator(&credentials);
        if let Err(refusal) =
            authenticator.answer(response, from, &mut request, &mut how.tries, &cnonce)
        {
            self.refused_challenge(refusal);
            return false;
        }
        let seq = self.next_cseq(user, &request);
        if again(&mut request, seq).is_none() {
            return false;
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.user = ClientUser::Nobody(user.leg());
        }
        self.counters.challenges_answered += 1;
        self.resend(now, user, path, request, how);
        true
    }

    /// Whose credentials answer for a request.
    pub(super) fn credentials_of(&self, user: ClientUser) -> Option<Arc<Credentials>> {
        match user {
            ClientUser::Invite(leg) | ClientUser::Leg(leg, _) => {
                self.legs.get(&leg)?.leg.common.credentials.clone()
            }
            ClientUser::Options(id) => self.options.get(&id)?.credentials.clone(),
            ClientUser::Registration(id) => self.registrations.get(&id)?.credentials(),
            ClientUser::Nobody(_) => None,
        }
    }

    /// Whether a challenged request still has a use.
    fn is_wanted(&self, user: ClientUser, request: &Request) -> bool {
        match user.leg() {
            Some(leg) => self.legs.get(&leg).is_some_and(|it| it.leg.wants_again(request)),
            None => true,
        }
    }

    fn next_cseq(&mut self, user: ClientUser, request: &Request) -> Option<u32> {
        match user {
            ClientUser::Invite(leg) | ClientUser::Leg(leg, _) => {
                self.legs.get_mut(&leg)?.leg.next_cseq(request)
            }
            ClientUser::Registration(id) => Some(self.registrations.get_mut(&id)?.next_cseq()),
            ClientUser::Options(_) | ClientUser::Nobody(_) => None,
        }
    }

    fn authenticator(&mut self, credentials: &Arc<Credentials>) -> &mut Authenticator {
        if self.authenticators.len() >= MAX_AUTHENTICATORS
            && !self.authenticators.contains_key(credentials)
        {
            // Those of trunks as they were once; whoever is forgotten is challenged again.
            self.authenticators.clear();
        }
        let new = || Authenticator::new(Arc::clone(credentials));
        self.authenticators.entry(Arc::clone(credentials)).or_insert_with(new)
    }

    fn cnonce(&mut self) -> String {
        token(&mut self.rng, 16)
    }

    fn refused_challenge(&mut self, refusal: Refusal) {
        let name = match refusal {
            Refusal::Stranger(_) => "from a stranger",
            Refusal::Realm => "for another realm",
            Refusal::Unknown => "of an unknown kind",
            Refusal::Refused => "again",
        };
        *self.counters.challenges_refused.entry(name).or_default() += 1;
    }
}
