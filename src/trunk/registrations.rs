//! Which trunks we are registered at: kept in step with the operator's settings.
//!
//! It knows targets and the stack's registrations, and tells a lasting fault once. It refuses to
//! know when REGISTER is sent, which is the stack's. Start at [`Registrations::keep`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kaphila_sip::auth::Credentials;
use kaphila_sip::endpoint::RegistrationId;
use kaphila_sip::net::{Gone, Sip};
use kaphila_sip::register::{RegisterSpec, RegistrationState};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::target::{Target, local_towards};
use crate::store::TrunkId;

/// A trunk's registration, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The trunk's name.
    pub trunk: String,
    /// `trying`, `registered`, `unreachable` or `refused`.
    pub state: String,
    /// What the registrar said, or why it said nothing.
    pub reason: Option<String>,
}

/// The registrations of a running server.
#[derive(Debug)]
pub struct Registrations {
    sip: Sip,
    kept: Mutex<HashMap<TrunkId, Kept>>,
}

#[derive(Debug)]
struct Kept {
    trunk: String,
    spec: RegisterSpec,
    /// Our address towards it.
    local: Option<IpAddr>,
    id: RegistrationId,
    state: watch::Receiver<RegistrationState>,
    told: RegistrationState,
}

impl Registrations {
    /// None yet.
    #[must_use]
    pub fn new(sip: Sip) -> Self {
        Self { sip, kept: Mutex::default() }
    }

    /// One round: trunks that ask for it are registered, those that changed anew, those that are
    /// not `enabled` any more no longer. A trunk of which nothing is known at the moment (its name
    /// is not found) stays as it is.
    ///
    /// # Errors
    /// The stack is shut down.
    pub async fn keep(&self, enabled: &[TrunkId], targets: &[Arc<Target>]) -> Result<(), Gone> {
        let unwanted = {
            let mut kept = self.lock();
            let is_unwanted = |id: &TrunkId| {
                let target = targets.iter().find(|target| target.id == *id);
                !enabled.contains(id) || target.is_some_and(|it| it.registration().is_none())
            };
            let ids: Vec<TrunkId> = kept.keys().copied().filter(is_unwanted).collect();
            ids.iter().filter_map(|id| kept.remove(id)).collect::<Vec<_>>()
        };
        for gone in unwanted {
            tracing::info!(trunk = gone.trunk, "unregistering");
            self.sip.unregister(gone.id).await?;
        }
        for target in targets {
            if let Some(spec) = target.registration() {
                self.keep_one(target, spec).await?;
            }
        }
        self.tell();
        Ok(())
    }

    async fn keep_one(&self, target: &Target, spec: RegisterSpec) -> Result<(), Gone> {
        let local = local_towards(target.remote);
        let known = {
            let kept = self.lock();
            kept.get(&target.id)
                .map(|kept| (kept.id, kept.is_same(&spec), kept.is_at(&spec, local)))
        };
        match known {
            Some((_, true, true)) => return Ok(()),
            Some((id, true, false)) => {
                tracing::info!(trunk = target.name, "an address has changed: registering anew");
                let (remotes, credentials) = (spec.remotes.clone(), spec.credentials.clone());
                self.sip.readdress(id, remotes, credentials).await?;
                if let Some(kept) = self.lock().get_mut(&target.id) {
                    (kept.spec, kept.local) = (spec, local);
                }
                return Ok(());
            }
            Some((id, false, _)) => self.sip.unregister(id).await?,
            None => {}
        }
        let (id, state) = self.sip.register(spec.clone()).await?;
        let (trunk, told) = (target.name.clone(), RegistrationState::Trying);
        self.lock().insert(target.id, Kept { trunk, spec, local, id, state, told });
        Ok(())
    }

    /// Says what has changed, once.
    fn tell(&self) {
        for kept in self.lock().values_mut() {
            let state = kept.state.borrow().clone();
            if state == kept.told {
                continue;
            }
            let trunk = kept.trunk.as_str();
            match &state {
                RegistrationState::Trying | RegistrationState::Ended => {}
                RegistrationState::Registered => tracing::info!(trunk, "registered"),
                RegistrationState::Unreachable(why) => {
                    tracing::warn!(trunk, why, "not registered: the registrar does not answer");
                }
                RegistrationState::Refused { status, reason } => {
                    tracing::error!(trunk, status, reason, "not registered: {}", advice(*status));
                }
            }
            kept.told = state;
        }
    }

    /// Each registration, by the name of its trunk.
    #[must_use]
    pub fn statuses(&self) -> Vec<Status> {
        let of = |kept: &Kept| {
            let (state, reason) = match &*kept.state.borrow() {
                RegistrationState::Registered => ("registered", None),
                RegistrationState::Unreachable(why) => ("unreachable", Some(why.clone())),
                RegistrationState::Refused { status, reason } => {
                    ("refused", Some(format!("{status} {reason}")))
                }
                RegistrationState::Trying | RegistrationState::Ended => ("trying", None),
            };
            Status { trunk: kept.trunk.clone(), state: state.to_owned(), reason }
        };
        let mut statuses: Vec<Status> = self.lock().values().map(of).collect();
        statuses.sort_by(|one, other| one.trunk.cmp(&other.trunk));
        statuses
    }

    /// Takes every registration back, and waits `patience` at most for the registrars.
    pub async fn end(&self, patience: Duration) {
        let all: Vec<Kept> = self.lock().drain().map(|(_, kept)| kept).collect();
        for kept in &all {
            if self.sip.unregister(kept.id).await.is_err() {
                return;
            }
        }
        let ended = async {
            for mut kept in all {
                // The sender is dropped after the last state.
                let _ = kept.state.wait_for(|state| *state == RegistrationState::Ended).await;
            }
        };
        if tokio::time::timeout(patience, ended).await.is_err() {
            tracing::warn!("a registrar does not answer; its registration runs out by itself");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TrunkId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The same account at the same registrar, wherever that is.
    fn is_same(&self, spec: &RegisterSpec) -> bool {
        let elsewhere = |credentials: &Option<Arc<Credentials>>| {
            let credentials = credentials.as_deref()?.clone();
            Some(Arc::new(Credentials { destinations: Vec::new(), ..credentials }))
        };
        let bare = |spec: &RegisterSpec| RegisterSpec {
            remotes: Vec::new(),
            credentials: elsewhere(&spec.credentials),
            ..spec.clone()
        };
        bare(&self.spec) == bare(spec)
    }

    /// The same addresses, in any order: DNS turns them round.
    fn is_at(&self, spec: &RegisterSpec, local: Option<IpAddr>) -> bool {
        let sorted = |spec: &RegisterSpec| {
            let mut remotes = spec.remotes.clone();
            remotes.sort_unstable();
            remotes
        };
        self.local == local && sorted(&self.spec) == sorted(spec)
    }
}

/// What an operator looks at.
const fn advice(status: u16) -> &'static str {
    match status {
        401 | 407 => "the registrar does not take the username, password or realm",
        403 => "the registrar forbids it; ask the carrier about the account",
        404 => "the registrar does not know the account; look at --username and --from-domain",
        423 => "the registrar takes no expiry of ours",
        _ => "the registrar refuses",
    }
}
