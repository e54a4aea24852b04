//! From where SIP requests are taken, who we are there and where we are registered: the trunks'
//! addresses and accounts, kept up to date with their settings.
#![allow(clippy::disallowed_methods, reason = "a driver: looks names up against the clock")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use kaphila_sip::net::Sip;

use crate::call::Calls;
use crate::store::{Store, Trunk, TrunkId};
use crate::trunk::qualify::Qualify;
use crate::trunk::registrations::Registrations;
use crate::trunk::target::{Target, Targets};

/// What `kaphila trunk` changes holds within two seconds.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// One round: the call layer and the stack are told every trunk that may call us, and who we are
/// there; those that are due are asked whether they are there. One whose name leads nowhere is none
/// of them.
pub(super) fn keep(
    store: Store,
    sip: Sip,
    calls: Calls,
    targets: Arc<Targets>,
    qualify: Qualify,
    registrations: Arc<Registrations>,
) -> impl FnMut() -> BoxFuture<'static, ()> {
    let qualify = Arc::new(qualify);
    move || {
        let (store, sip, calls) = (store.clone(), sip.clone(), calls.clone());
        let (targets, qualify) = (targets.clone(), qualify.clone());
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
            let mut known: Vec<(Arc<Trunk>, Arc<Target>)> = Vec::new();
            for (trunk, found) in enabled.into_iter().zip(found) {
                match found {
                    Ok(target) => known.push((Arc::new(trunk), target)),
                    Err(error) => {
                        tracing::debug!(trunk = trunk.settings.name, %error, "not resolved");
                    }
                }
            }
            qualify.round(now, &known);
            let targets: Vec<Arc<Target>> =
                known.iter().map(|(_, target)| Arc::clone(target)).collect();
            calls.know_trunks(known);
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
