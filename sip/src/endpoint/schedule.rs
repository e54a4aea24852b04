//! Who wants to be woken when.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use super::config::{OptionsId, RegistrationId};
use crate::invite::LegId;

/// Who set a wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Owner {
    /// A client transaction.
    Client(u64),
    /// A server transaction.
    Server(u64),
    /// A leg.
    Leg(LegId),
    /// An OPTIONS that waits for its answer.
    Options(OptionsId),
    /// A registration.
    Registration(RegistrationId),
}

/// One wake-up an owner at most, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    by_time: BTreeSet<(Instant, Owner)>,
    by_owner: HashMap<Owner, Instant>,
}

impl Schedule {
    /// Sets, moves or takes away an owner's wake-up.
    pub(super) fn set(&mut self, owner: Owner, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.by_owner.insert(owner, at),
            None => self.by_owner.remove(&owner),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, owner));
        }
        if let Some(at) = at {
            self.by_time.insert((at, owner));
        }
    }

    /// The earliest wake-up.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one owner whose time has come.
    pub(super) fn expired(&mut self, now: Instant) -> Option<Owner> {
        let (at, owner) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.set(owner, None);
        Some(owner)
    }

    /// How many wake-ups are set.
    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }
}
