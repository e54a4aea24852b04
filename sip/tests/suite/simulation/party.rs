//! An endpoint with its owner's books: what each leg's owner was told and has done, and in it the
//! checks of what must hold always.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use kaphila_sip::endpoint::{Advertised, Endpoint, EndpointConfig, Event, Network, OptionsId};
use kaphila_sip::invite::{Ended, Failure, LegEvent, LegId};
use kaphila_sip::message::Transport;

use super::{LOCAL, Side};

/// What the owner of a leg was told and has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) call_id: String,
    pub(crate) is_caller: bool,
    // Told.
    pub(crate) answered: bool,
    pub(crate) refused: Option<u16>,
    pub(crate) no_answer: Option<Failure>,
    pub(crate) confirmed: bool,
    pub(crate) cancelled: bool,
    pub(crate) ended: Option<Ended>,
    pub(crate) closed_at: Option<Instant>,
    pub(crate) offers: u32,
    // Done.
    pub(crate) accepted_at: Option<Instant>,
    pub(crate) rejected: bool,
    pub(crate) hung_up_at: Option<Instant>,
}

impl Account {
    /// Books an event; panics if it must not come now.
    fn book(&mut self, now: Instant, event: &LegEvent) {
        assert!(self.closed_at.is_none(), "{event:?} after Closed: {self:?}");
        match event {
            LegEvent::Answered { .. } => {
                assert!(self.is_caller && !self.has_final(), "second final answer: {self:?}");
                assert!(self.hung_up_at.is_none(), "answered after a hang-up: {self:?}");
                self.answered = true;
            }
            LegEvent::Refused { status, .. } => {
                assert!(self.is_caller && !self.has_final(), "second final answer: {self:?}");
                self.refused = Some(*status);
            }
            LegEvent::NoAnswer(failure) => {
                assert!(self.is_caller && !self.has_final(), "second final answer: {self:?}");
                self.no_answer = Some(failure.clone());
            }
            LegEvent::Confirmed => {
                assert!(self.accepted_at.is_some() && !self.confirmed, "{self:?}");
                self.confirmed = true;
            }
            LegEvent::Cancelled { .. } => {
                assert!(!self.is_caller && self.accepted_at.is_none(), "{self:?}");
                self.cancelled = true;
            }
            LegEvent::Ended(ended) => {
                assert!(self.ended.is_none(), "ended twice: {self:?}");
                self.ended = Some(ended.clone());
            }
            LegEvent::Offer { .. } => self.offers += 1,
            LegEvent::Closed => {
                assert!(self.has_end(), "closed without an end: {self:?}");
                self.closed_at = Some(now);
            }
            LegEvent::Trying
            | LegEvent::Provisional { .. }
            | LegEvent::OfferAnswered { .. }
            | LegEvent::Info { .. }
            | LegEvent::Ladder(_) => {}
        }
    }

    fn has_final(&self) -> bool {
        self.answered || self.refused.is_some() || self.no_answer.is_some()
    }

    /// The owner knows why the leg is over.
    fn has_end(&self) -> bool {
        let never_began = self.refused.is_some() || self.no_answer.is_some() || self.cancelled;
        never_began || self.rejected || self.hung_up_at.is_some() || self.ended.is_some()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.closed_at.is_none()
    }
}

/// One endpoint and its owner's books.
pub(crate) struct Party {
    pub(crate) endpoint: Endpoint,
    pub(crate) legs: BTreeMap<LegId, Account>,
    /// By Call-ID.
    pub(crate) by_call: HashMap<String, LegId>,
    /// Calls that came in and were not looked at.
    pub(crate) incoming: VecDeque<LegId>,
    /// Offers that were not answered.
    pub(crate) offers: VecDeque<LegId>,
    /// OPTIONS that wait for their answer.
    pub(crate) options: Vec<OptionsId>,
}

impl Party {
    pub(super) fn new(side: Side, seed: u64) -> Self {
        // Every other one holds its ACKs, as the server does; nobody tells it to send them.
        let hold_ack = std::time::Duration::from_millis(seed % 2 * 400);
        let config = EndpointConfig {
            seed,
            hold_ack,
            session_interval: if seed.is_multiple_of(3) { 1_800 } else { 90 },
            reliable_provisionals: seed / 2 % 2 == 1,
            ..EndpointConfig::default()
        };
        let mut endpoint = Endpoint::new(config);
        let address = side.address();
        endpoint.add_local(LOCAL, Transport::Udp, address, Advertised::Fixed(address));
        endpoint.set_trusted(vec![Network::from(side.other().address().ip())]);
        Self {
            endpoint,
            legs: BTreeMap::new(),
            by_call: HashMap::new(),
            incoming: VecDeque::new(),
            offers: VecDeque::new(),
            options: Vec::new(),
        }
    }

    pub(super) fn enter(&mut self, leg: LegId, account: Account) {
        self.by_call.insert(account.call_id.clone(), leg);
        assert!(self.legs.insert(leg, account).is_none(), "{leg:?} was used before");
    }

    pub(crate) fn account(&mut self, leg: LegId) -> &mut Account {
        self.legs.get_mut(&leg).unwrap()
    }

    pub(super) fn book(&mut self, now: Instant, event: Event) {
        match event {
            Event::Incoming { leg, call } => {
                self.enter(leg, Account { call_id: call.call_id, ..Account::default() });
                self.incoming.push_back(leg);
            }
            Event::Leg(leg, event) => {
                if let LegEvent::Offer { .. } = event {
                    self.offers.push_back(leg);
                }
                self.account(leg).book(now, &event);
            }
            Event::Options { id, .. } => {
                let at = self.options.iter().position(|other| *other == id);
                self.options.swap_remove(at.expect("a second result"));
            }
            Event::Registration { .. } => unreachable!("nobody registers"),
        }
    }
}

impl Account {
    pub(crate) fn is_callee_undecided(&self) -> bool {
        let by_us = self.accepted_at.is_some() || self.rejected || self.hung_up_at.is_some();
        let decided = by_us || self.cancelled || self.ended.is_some();
        !self.is_caller && self.is_open() && !decided
    }
}
