//! From where SIP requests are taken: the trunks' addresses, kept up to date with their settings.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kaphila_sip::net::Sip;

use crate::store::Store;
use crate::trunk::target::Target;

/// What `kaphila trunk` changes holds within two seconds.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// One round: all trunks resolved, all their networks told to the stack.
pub(super) fn keep(store: Store, sip: Sip) -> impl FnMut() -> BoxFuture<'static, ()> {
    move || {
        let (store, sip) = (store.clone(), sip.clone());
        async move {
            let trunks = match store.trunks().await {
                Ok(trunks) => trunks,
                Err(error) => return tracing::debug!(%error, "trunks could not be read"),
            };
            let mut networks = Vec::new();
            for trunk in trunks.iter().filter(|trunk| !trunk.disabled) {
                match Target::resolve(trunk).await {
                    Ok(target) => networks.extend(target.peers),
                    Err(error) => {
                        tracing::debug!(trunk = trunk.settings.name, %error, "not resolved");
                    }
                }
            }
            // A stack that is gone is being shut down.
            let _ = sip.set_trusted(networks).await;
        }
        .boxed()
    }
}
