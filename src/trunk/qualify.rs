//! OPTIONS to each trunk, again and again: what is asked is what is dialled, by the way on which it
//! is dialled.
//!
//! It knows when a trunk is due. It refuses to know what follows from its silence, which is
//! [`Health`]'s. Start at [`Qualify::round`].
#![allow(clippy::disallowed_methods, reason = "a driver: asks against the clock, one task each")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kaphila_sip::invite::Failure;
use kaphila_sip::net::{PlaceError, Sip};
use rand::RngExt as _;

use super::health::Health;
use super::target::Target;
use crate::store::{Millis, Trunk, TrunkId};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(4);
/// When a trunk that was silent is asked again, unless its turn comes before.
const AGAIN: Duration = Duration::from_secs(5);
/// Within which trunks are first asked: not all in one moment.
const FIRST: Duration = Duration::from_secs(2);

/// The trunks that are asked.
#[derive(Debug)]
pub struct Qualify {
    sip: Sip,
    health: Arc<Health>,
    turns: Arc<Mutex<HashMap<TrunkId, Turn>>>,
}

#[derive(Debug)]
struct Turn {
    updated_at: Millis,
    /// `None`: it is being asked, or never is.
    due: Option<Instant>,
}

/// What became of OPTIONS.
enum Outcome {
    Answered,
    Refused(String),
    Missed(String),
    /// The stack is shut down, or has no room for it.
    Unknown,
}

impl Qualify {
    /// Asks by `sip` and tells `health`.
    #[must_use]
    pub fn new(sip: Sip, health: Arc<Health>) -> Self {
        Self { sip, health, turns: Arc::default() }
    }

    /// One round: whoever of these is due is asked, in a task of its own. What is known of a trunk
    /// that is gone or was changed is forgotten.
    pub fn round(&self, now: Instant, trunks: &[(Arc<Trunk>, Arc<Target>)]) {
        let mut turns = lock(&self.turns);
        turns.retain(|id, _| trunks.iter().any(|(trunk, _)| trunk.id == *id));
        self.health.keep(|id| trunks.iter().any(|(trunk, _)| trunk.id == id));
        for (trunk, target) in trunks {
            let every = every(trunk);
            let first = |every| now + rand::rng().random_range(Duration::ZERO..FIRST.min(every));
            let anew = || Turn { updated_at: trunk.updated_at, due: every.map(first) };
            let turn = turns.entry(trunk.id).or_insert_with(anew);
            if turn.updated_at != trunk.updated_at {
                self.health.forget(trunk.id);
                *turn = anew();
            }
            if let Some(every) = every
                && turn.due.take_if(|due| *due <= now).is_some()
            {
                tokio::spawn(ask(
                    self.sip.clone(),
                    Arc::clone(&self.health),
                    Arc::clone(&self.turns),
                    Arc::clone(trunk),
                    Arc::clone(target),
                    every,
                ));
            }
        }
    }
}

/// Asks a trunk by each way that a call would try, until one answers.
async fn ask(
    sip: Sip,
    health: Arc<Health>,
    turns: Arc<Mutex<HashMap<TrunkId, Turn>>>,
    trunk: Arc<Trunk>,
    target: Arc<Target>,
    every: Duration,
) {
    let mut outcome = Outcome::Unknown;
    let ways = target.ways(&mut rand::rng());
    for way in ways {
        outcome = match sip.options(target.options(way, PATIENCE)).await {
            Ok(Ok(503)) => Outcome::Refused(format!("503 from {}", way.remote)),
            Ok(Ok(_)) => Outcome::Answered,
            Ok(Err(Failure::Timeout)) => Outcome::Missed(format!("no answer from {}", way.remote)),
            Ok(Err(Failure::Transport(why))) => Outcome::Missed(format!("{}: {why}", way.remote)),
            Err(PlaceError::Gone(_)) => return,
            Err(_) => Outcome::Unknown,
        };
        if matches!(outcome, Outcome::Answered) {
            break;
        }
    }
    let (now, name) = (Instant::now(), target.name.as_str());
    let pause = match outcome {
        Outcome::Answered => {
            health.heard(trunk.id, name);
            every
        }
        Outcome::Refused(why) => {
            health.refused(now, trunk.id, name, &why);
            every
        }
        Outcome::Missed(why) => {
            health.missed(now, trunk.id, name, &why);
            every.min(AGAIN)
        }
        Outcome::Unknown => every,
    };
    if let Some(turn) = lock(&turns).get_mut(&trunk.id) {
        // One that was changed meanwhile has its own turn.
        turn.due.get_or_insert(now + pause);
    }
}

/// How often a trunk is asked; `None`: never.
fn every(trunk: &Trunk) -> Option<Duration> {
    let seconds = u64::try_from(trunk.settings.qualify_secs).ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
