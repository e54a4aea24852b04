//! What is taken over from another service.

use super::ops::Subject;
use super::types::{BadLine, ImportedCall, ImportedCalls, ImportedKey};
use super::{Millis, Store, StoreError, ops, read, secret};

/// Calls of one transaction: a second of the writer at most.
const CALLS: usize = 2_000;

impl Store {
    /// Takes keys over, all of them or none: what is wrong with which lines. A key that exists is
    /// changed with `update`, else it is wrong. Their clients go on with the keys they have.
    ///
    /// # Errors
    /// The database.
    pub async fn import_keys(
        &self,
        keys: Vec<ImportedKey>,
        update: bool,
        now: Millis,
    ) -> Result<Result<(), Vec<BadLine>>, StoreError> {
        let mut imports = Vec::new();
        for key in keys {
            let known = match &key.key_id {
                Some(_) => None,
                None => read!(self, sql, pool => sql::keys::by_hash(pool, &key.hash, now))?,
            };
            let key_id = key.key_id.clone().or(known.map(|known| known.key_id));
            let key_id = key_id.unwrap_or_else(secret::new_key_id);
            let webhook_secret = secret::new_webhook_secret();
            let op = ops::ImportKey { key, key_id: key_id.clone(), webhook_secret, now };
            imports.push(self.audited("key.import", Subject::Key(key_id), op));
        }
        let op = ops::ImportKeys { keys: imports, update };
        let done = self.write(op).await?;
        self.inner.keys.clear();
        self.inner.trunks.clear();
        Ok(done)
    }

    /// Takes ended calls over, some at a time, so that a server may go on beside it: a call that is
    /// there already stays as it is, and an import that was cut off is finished by repeating it.
    /// `told` hears how many of them have been looked at.
    ///
    /// # Errors
    /// The database: what was looked at before is taken over.
    pub async fn import_calls(
        &self,
        calls: Vec<ImportedCall>,
        mut told: impl FnMut(usize),
    ) -> Result<ImportedCalls, StoreError> {
        let (mut all, mut done) = (ImportedCalls::default(), 0);
        for some in calls.chunks(CALLS) {
            let op = ops::ImportCalls { calls: some.to_vec() };
            let op = self.audited("calls.import", Subject::Calls("imported".to_owned()), op);
            let imported = self.write(op).await?;
            all.taken += imported.taken;
            all.known += imported.known;
            all.refused.extend(imported.refused);
            done += some.len();
            told(done);
        }
        Ok(all)
    }

    /// The SHA-256 that stands for a key; `None`: no key is that long.
    #[must_use]
    pub fn hash_of(key: &str) -> Option<String> {
        secret::hash(key)
    }
}
