//! Registration at a trunk's registrar (RFC 3261 §10): when REGISTER is sent, and what its answers
//! mean.
//!
//! ```text
//!              +--------+  2xx                           +---------+
//!  ----------> | Asking | -----------------------------> | Resting |
//!  REGISTER    +--------+  refused, or no address of the +---------+
//!                ^ |  ^    registrar answers: a pause         | the pause is over, or
//!                | |  |                                       | a refresh is due: REGISTER
//!                +-+  +---------------------------------------+
//!   423: with the Min-Expires
//!   no answer: the next address
//!
//!              +---------+  any answer, or none in time  +-------+
//!  ----------> | Leaving | ----------------------------> | Ended |
//!  unregister: +---------+                               +-------+
//!  REGISTER with expires=0
//! ```
//!
//! A [`Registration`] knows time as a value and responses as messages. It refuses to know sockets,
//! transactions and credentials: a challenge never comes here, unless it cannot be answered. Start
//! at [`Registration`]; what the owner is told is a [`RegistrationState`].
#![warn(clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;

use crate::auth::Credentials;
use crate::invite::Failure;
use crate::message::{HeaderName, NameAddr, Response, Transport, Uri, decimal};

/// How long one address may leave a REGISTER without an answer: then the next one is asked. Timer F
/// (32 s) would leave a trunk without calls for too long.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// How long the end of a registration is waited for.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(4);

/// The pause after the first round of addresses that all failed; it doubles (RFC 5626 §4.5).
const FIRST_PAUSE: Duration = Duration::from_secs(4);

/// The longest pause between rounds: a registrar that comes back is found within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The pause after a refusal that will last: somebody has to change something.
const REFUSED_PAUSE: Duration = Duration::from_secs(600);

/// A Retry-After longer than this is not believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// The longest expiry that a registrar's Min-Expires may make us ask for.
const LONGEST_EXPIRY: u32 = 86_400;

/// How often Min-Expires may raise the expiry in one round.
const MAX_RAISES: u8 = 2;

/// A refresh is never sooner: a registrar that grants less leaves a gap, not a flood.
const SOONEST_REFRESH: Duration = Duration::from_secs(5);

/// A refresh is at least this long before the end, where the expiry has room for it.
const MARGIN: Duration = Duration::from_secs(30);

/// The first REGISTERs of many trunks are spread over this long.
const SPREAD: Duration = Duration::from_millis(500);

/// Where and as whom to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterSpec {
    /// The registrar: the Request-URI, without a user (RFC 3261 §10.2).
    pub registrar: Uri,
    /// The address of record: From and To.
    pub aor: NameAddr,
    /// The user of our Contact, by which calls to it are known.
    pub contact_user: String,
    /// The registrar's addresses, the first asked first.
    pub remotes: Vec<std::net::SocketAddr>,
    /// Over what.
    pub transport: Transport,
    /// What the certificate of each of them must prove over TLS.
    pub tls_name: Option<String>,
    /// Who we are to it.
    pub credentials: Option<Arc<Credentials>>,
    /// The expiry asked for, in seconds.
    pub expires: u32,
}

/// What a registration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationState {
    /// Asked for; nothing is known yet.
    Trying,
    /// Calls can come in.
    Registered,
    /// No address of the registrar answers as it should; tried again and again.
    Unreachable(String),
    /// The registrar refuses, and will until somebody changes something here or there.
    Refused {
        /// Its final status.
        status: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// Unregistered, or given up; nothing follows.
    Ended,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send REGISTER to this address (by its number), asking for this expiry.
    Send { at: usize, expires: u32 },
    /// The REGISTER that is out is of no use any more.
    Drop,
    /// Tell the owner.
    Tell(RegistrationState),
}

/// One registration.
#[derive(Debug)]
pub(crate) struct Registration {
    phase: Phase,
    /// How many addresses there are, the one in use, and how many failed in this round.
    addresses: usize,
    at: usize,
    failed: usize,
    /// Rounds that failed in a row.
    rounds: u32,
    /// The expiry asked for, in seconds, and how often it was raised in this round.
    expires: u32,
    raises: u8,
    /// The end of what was granted last.
    bound_until: Option<Instant>,
    fault: Option<RegistrationState>,
    told: RegistrationState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Asking { give_up_at: Instant },
    Resting { until: Instant },
    Leaving { give_up_at: Instant },
    Ended,
}

impl Registration {
    /// Asks soon.
    pub(crate) fn new(now: Instant, addresses: usize, expires: u32, rng: &mut impl Rng) -> Self {
        Self {
            phase: Phase::Resting { until: now + share(SPREAD, rng) },
            addresses: addresses.max(1),
            at: 0,
            failed: 0,
            rounds: 0,
            expires,
            raises: 0,
            bound_until: None,
            fault: None,
            told: RegistrationState::Trying,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Asking { give_up_at } | Phase::Leaving { give_up_at } => give_up_at,
            Phase::Resting { until } => until,
            Phase::Ended => return None,
        };
        Some(self.bound_until.map_or(phase, |bound| bound.min(phase)))
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// A time has come: to refresh, to try again, to give up, or what was granted has run out.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        rng: &mut impl Rng,
        out: &mut Vec<Output>,
    ) {
        self.bound_until = self.bound_until.filter(|bound| *bound > now);
        match self.phase {
            Phase::Resting { until } if until <= now => self.ask(now, out),
            Phase::Asking { give_up_at } if give_up_at <= now => {
                out.push(Output::Drop);
                let why = format!("no answer within {} s", ANSWER_WITHIN.as_secs());
                self.next_address(now, why, None, rng, out);
            }
            Phase::Leaving { give_up_at } if give_up_at <= now => {
                out.push(Output::Drop);
                self.phase = Phase::Ended;
            }
            _ => {}
        }
        self.tell(out);
    }

    /// The answer to the REGISTER that is out, or why there is none. `contact`: what it carried.
    pub(crate) fn handle_result(
        &mut self,
        now: Instant,
        contact: &Uri,
        result: Result<&Response, &Failure>,
        rng: &mut impl Rng,
        out: &mut Vec<Output>,
    ) {
        match (self.phase, result) {
            (Phase::Leaving { .. }, _) => self.phase = Phase::Ended,
            (Phase::Asking { .. }, Ok(response)) => {
                self.answered(now, contact, response, rng, out);
            }
            (Phase::Asking { .. }, Err(Failure::Timeout)) => {
                self.next_address(now, "no answer".to_owned(), None, rng, out);
            }
            (Phase::Asking { .. }, Err(Failure::Transport(why))) => {
                self.next_address(now, why.clone(), None, rng, out);
            }
            (Phase::Resting { .. } | Phase::Ended, _) => {} // nothing is out
        }
        self.tell(out);
    }

    /// The registrar's addresses, or ours, have changed: registers anew at once.
    pub(crate) fn readdress(&mut self, now: Instant, addresses: usize, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Leaving { .. } | Phase::Ended) {
            return;
        }
        if matches!(self.phase, Phase::Asking { .. }) {
            out.push(Output::Drop);
        }
        (self.addresses, self.at, self.failed) = (addresses.max(1), 0, 0);
        self.ask(now, out);
        self.tell(out);
    }

    /// No more calls are to come in (§10.2.2).
    pub(crate) fn unregister(&mut self, now: Instant, out: &mut Vec<Output>) {
        match self.phase {
            Phase::Leaving { .. } | Phase::Ended => return,
            // Its answer may be on its way.
            Phase::Asking { .. } => out.push(Output::Drop),
            Phase::Resting { .. } if self.bound_until.is_none() => {
                self.phase = Phase::Ended;
                return self.tell(out);
            }
            Phase::Resting { .. } => {}
        }
        self.bound_until = None;
        self.phase = Phase::Leaving { give_up_at: now + LEAVE_WITHIN };
        out.push(Output::Send { at: self.at, expires: 0 });
    }

    fn ask(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.phase = Phase::Asking { give_up_at: now + ANSWER_WITHIN };
        out.push(Output::Send { at: self.at, expires: self.expires });
    }

    fn rest(&mut self, now: Instant, pause: Duration) {
        (self.failed, self.raises) = (0, 0);
        self.phase = Phase::Resting { until: now + pause };
    }

    /// §10.2.4, §10.2.8, §10.3.
    fn answered(
        &mut self,
        now: Instant,
        contact: &Uri,
        response: &Response,
        rng: &mut impl Rng,
        out: &mut Vec<Output>,
    ) {
        let said = || format!("{} {}", response.status, response.reason);
        match response.status {
            200..300 => match granted(response, contact, self.expires) {
                0 => {
                    self.next_address(now, "an expiry of 0 was granted".to_owned(), None, rng, out)
                }
                seconds => self.bound(now, Duration::from_secs(seconds.into()), rng),
            },
            423 => match min_expires(response).filter(|it| *it > self.expires) {
                Some(more) if self.raises < MAX_RAISES && more <= LONGEST_EXPIRY => {
                    self.raises += 1;
                    self.expires = more;
                    self.ask(now, out);
                }
                _ => self.refused(now, response, rng),
            },
            // It may be better elsewhere, or later (RFC 3263 §4.3).
            408 | 430 | 480 | 491 | 500..600 => {
                let retry_after = response.headers.retry_after();
                self.next_address(now, said(), retry_after, rng, out);
            }
            _ => self.refused(now, response, rng),
        }
    }

    fn bound(&mut self, now: Instant, granted: Duration, rng: &mut impl Rng) {
        self.bound_until = Some(now + granted);
        (self.rounds, self.fault) = (0, None);
        let margin = MARGIN.max(granted / 10).min(granted / 2);
        // Earlier by up to a tenth, so that trunks that were set up together do not stay together.
        let refresh = granted - margin;
        let refresh = refresh - share(refresh / 10, rng);
        self.rest(now, refresh.max(SOONEST_REFRESH));
    }

    fn refused(&mut self, now: Instant, response: &Response, rng: &mut impl Rng) {
        let (status, reason) = (response.status, response.reason.clone());
        self.bound_until = None;
        self.fault = Some(RegistrationState::Refused { status, reason });
        self.rest(now, REFUSED_PAUSE - share(REFUSED_PAUSE / 4, rng));
    }

    /// An address failed: the next one is asked at once, and once all have failed the first one
    /// after a pause.
    fn next_address(
        &mut self,
        now: Instant,
        why: String,
        retry_after: Option<Duration>,
        rng: &mut impl Rng,
        out: &mut Vec<Output>,
    ) {
        self.failed += 1;
        self.at = (self.at + 1) % self.addresses;
        if self.failed < self.addresses {
            return self.ask(now, out);
        }
        self.fault = Some(RegistrationState::Unreachable(why));
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.rounds.min(16)).min(LONGEST_PAUSE);
        self.rounds += 1;
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        self.rest(now, asked.max(doubled / 2 + share(doubled / 2, rng)));
    }

    /// What was granted holds until its end, whatever a refresh comes to, but a refusal.
    fn tell(&mut self, out: &mut Vec<Output>) {
        let state = match (&self.phase, self.bound_until, &self.fault) {
            (Phase::Ended, ..) => RegistrationState::Ended,
            (Phase::Leaving { .. }, ..) => return,
            (_, Some(_), _) => RegistrationState::Registered,
            (_, None, Some(fault)) => fault.clone(),
            (_, None, None) => RegistrationState::Trying,
        };
        if state != self.told {
            self.told = state.clone();
            out.push(Output::Tell(state));
        }
    }
}

/// The expiry of our binding (§10.2.4, §10.3): that of our Contact among all that are bound, the
/// Expires header field, or what was asked for.
fn granted(response: &Response, contact: &Uri, asked: u32) -> u32 {
    let contacts = response.contacts().unwrap_or_default();
    let is_ours = |other: &&NameAddr| {
        (&other.uri.user, &other.uri.host, other.uri.port)
            == (&contact.user, &contact.host, contact.port)
    };
    // A registrar behind a border controller may name another host.
    let is_ours_renamed = |other: &&NameAddr| other.uri.user == contact.user;
    let ours = (contacts.iter().find(is_ours)).or_else(|| contacts.iter().find(is_ours_renamed));
    let of_contact = ours.and_then(|ours| decimal(ours.params.value("expires")?));
    let of_header = || decimal(response.headers.get(&HeaderName::EXPIRES)?);
    of_contact.or_else(of_header).unwrap_or(asked)
}

fn min_expires(response: &Response) -> Option<u32> {
    decimal(response.headers.get(&HeaderName::MIN_EXPIRES)?)
}

/// A random part of a time.
fn share(whole: Duration, rng: &mut impl Rng) -> Duration {
    whole.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX))
}
