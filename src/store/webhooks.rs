//! What the deliverer of webhooks reads and writes.

use std::sync::Arc;

use super::{Committed, KeyId, Mark, Millis, Outgoing, Store, StoreError, ops, read};

impl Store {
    /// The stream of committed events, for the deliverer; only the first caller gets it.
    pub fn take_committed(&self) -> Option<Committed> {
        self.inner.committed.lock().ok()?.take()
    }

    /// Undelivered events due until `until`, at most `limit`.
    ///
    /// # Errors
    /// The database.
    pub async fn due_events(&self, until: Millis, limit: u32) -> Result<Vec<Outgoing>, StoreError> {
        read!(long: self, sql, pool => sql::outbox::due(pool, until, i64::from(limit)))
    }

    /// What operators asked for again between `since` and `now`, at most `limit`.
    ///
    /// # Errors
    /// The database.
    pub async fn replayed_events(
        &self,
        since: Millis,
        now: Millis,
        limit: u32,
    ) -> Result<Vec<Outgoing>, StoreError> {
        read!(self, sql, pool => sql::outbox::replayed(pool, since, now, i64::from(limit)))
    }

    /// Writes down what became of deliveries.
    ///
    /// # Errors
    /// The database.
    pub async fn mark_events(&self, marks: Vec<Mark>) -> Result<(), StoreError> {
        self.write(ops::Marks { marks }).await
    }

    /// The secrets that sign a key's webhooks, the present one first; none: no such key. Up to
    /// 1 s old.
    ///
    /// # Errors
    /// The database.
    pub async fn signing_secrets(
        &self,
        key: KeyId,
        now: Millis,
    ) -> Result<Arc<Vec<String>>, StoreError> {
        if let Some(known) = self.inner.secrets.fresh(&key, now) {
            return Ok(known);
        }
        let secrets = read!(self, sql, pool => sql::keys::webhook_secrets(pool, key, now))?;
        let secrets = Arc::new(secrets);
        self.inner.secrets.put(key, secrets.clone(), now);
        Ok(secrets)
    }
}
