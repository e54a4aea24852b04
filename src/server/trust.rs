//! From where SIP requests are taken, who we are there and where we are registered: the trunks'
//! addresses and accounts, kept up to date with their settings.
#![allow(clippy::disallowed_methods, reason = "a driver: looks names up against the clock")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use kaphila_sip::net::Sip;
use tokio::sync::Mutex;

use crate::call::Calls;
use crate::store::{Store, Trunk, TrunkId};
use crate::trunk::qualify::Qualify;
use crate::trunk::registrations::Registrations;
use crate::trunk::target::{Target, Targets};

/// What `kaphila trunk` changes holds within two seconds.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// Each trunk by its name, as it was when its own was last found.
type Known = BTreeMap<String, (Arc<Trunk>, Arc<Target>)>;

/// One round: the call layer and the stack are told every trunk that may call us, and who we are
/// there; those that are due are asked whether they are there.
pub(super) fn keep(
    store: Store,
    sip: Sip,
    calls: Calls,
    targets: Arc<Targets>,
    qualify: Qualify,
    registrations: Arc<Registrations>,
) -> impl FnMut() -> BoxFuture<'static, ()> {
    let (known, qualify) = (Arc::<Mutex<Known>>::default(), Arc::new(qualify));
    move || {
        let (store, sip, calls) = (store.clone(), sip.clone(), calls.clone());
        let (targets, known, qualify) = (targets.clone(), known.clone(), qualify.clone());
        let registrations = registrations.clone();
        async move {
            let trunks = match store.trunks().await {
                Ok(trunks) => trunks,
                Err(error) => return tracing::debug!(%error, "trunks could not be read"),
            };
            let enabled: Vec<Trunk> = trunks.into_iter().filter(|trunk| !trunk.disabled).collect();
            let ids: Vec<TrunkId> = enabled.iter().map(|trunk| trunk.id).collect();
            let now = Instant::now();
            let found = join_all(enabled.iter().map(|trunk| targets.resolve(now, trunk))).await;
            let mut known = known.lock().await;
            known.retain(|name, _| enabled.iter().any(|trunk| trunk.settings.name == *name));
            for (trunk, found) in enabled.into_iter().zip(found) {
                let name = trunk.settings.name.clone();
                match found {
                    Ok(target) => drop(known.insert(name, (Arc::new(trunk), target))),
                    Err(error) => tracing::debug!(trunk = name, %error, "not resolved"),
                }
            }
            calls.know_trunks(known.values().cloned());
            qualify.round(now, &known.values().cloned().collect::<Vec<_>>());
            let targets: Vec<Arc<Target>> =
                known.values().map(|(_, target)| Arc::clone(target)).collect();
            let peers = targets.iter().flat_map(|target| target.peers.clone());
            let accounts = targets.iter().filter_map(|target| target.credentials.clone());
            // A stack that is gone is being shut down.
            let _ = sip.set_trusted(peers.collect()).await;
            let _ = sip.set_accounts(accounts.collect()).await;
            let _ = registrations.keep(&ids, &targets).await;
        }
        .boxed()
    }
}
