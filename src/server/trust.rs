//! From where SIP requests are taken: the trunks' addresses, kept up to date with their settings.
#![allow(clippy::disallowed_methods, reason = "a driver: looks names up against the clock")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use kaphila_sip::endpoint::Network;
use kaphila_sip::net::Sip;
use tokio::sync::Mutex;

use crate::store::{Store, Trunk, TrunkId};
use crate::trunk::target::Targets;

/// What `kaphila trunk` changes holds within two seconds.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The addresses that each trunk had when its name was last found.
type Known = HashMap<TrunkId, Vec<Network>>;

/// One round: every trunk's networks are told to the stack. A trunk whose name is not found any
/// more keeps those it had.
pub(super) fn keep(store: Store, sip: Sip) -> impl FnMut() -> BoxFuture<'static, ()> {
    let (targets, known): (Arc<Targets>, Arc<Mutex<Known>>) = Default::default();
    move || {
        let (store, sip) = (store.clone(), sip.clone());
        let (targets, known) = (targets.clone(), known.clone());
        async move {
            let trunks = match store.trunks().await {
                Ok(trunks) => trunks,
                Err(error) => return tracing::debug!(%error, "trunks could not be read"),
            };
            let enabled: Vec<&Trunk> = trunks.iter().filter(|trunk| !trunk.disabled).collect();
            let now = Instant::now();
            let found = join_all(enabled.iter().map(|trunk| targets.resolve(now, trunk))).await;
            let mut known = known.lock().await;
            known.retain(|id, _| enabled.iter().any(|trunk| trunk.id == *id));
            for (trunk, found) in enabled.iter().zip(found) {
                match found {
                    Ok(target) => drop(known.insert(trunk.id, target.peers.clone())),
                    Err(error) => {
                        tracing::debug!(trunk = trunk.settings.name, %error, "not resolved");
                    }
                }
            }
            let networks = known.values().flatten().copied().collect();
            // A stack that is gone is being shut down.
            let _ = sip.set_trusted(networks).await;
        }
        .boxed()
    }
}
