//! What an operator does with keys, trunks, recordings and deliveries. Changes made here hold at
//! once in this process, and within [`limits::CACHE_MS`] in another.

use super::ops::{Act, Audited, Subject};
use super::types::{
    AuditEntry, Delivery, Key, KeyChanges, KeyTrunks, NewKey, NewSecrets, Recording, Replayed,
    Trunk, TrunkSettings,
};
use super::{AdminError, Millis, Store, StoreError, limits, ops, read, secret};

impl Store {
    fn changed(&self) {
        self.inner.keys.clear();
        self.inner.trunks.clear();
        self.inner.secrets.clear();
        self.inner.numbers.clear();
    }

    /// Who administers through this handle and its clones, for the audit trail. Only the first
    /// name counts.
    pub fn acts_for(&self, actor: String) {
        let _ = self.inner.actor.set(actor);
    }

    /// An operation with its entry in the audit trail.
    pub(super) fn audited<O>(&self, act: &'static str, subject: Subject, op: O) -> Audited<O> {
        let actor = self.inner.actor.get().map_or("kaphila", String::as_str).to_owned();
        // The time is that of the clock: nobody may date an act otherwise.
        let at = Millis::wall_clock();
        Audited { op, act: Act { act, actor, at, subject, unseen: false } }
    }

    /// The same for one that changes a secret.
    fn audited_secret<O>(&self, act: &'static str, key_id: &str, op: O) -> Audited<O> {
        let mut audited = self.audited(act, Subject::Key(key_id.to_owned()), op);
        audited.act.unseen = true;
        audited
    }

    /// The newest `limit` administrative acts since a time (of one key, or all), oldest first;
    /// with what calls took of credits if `calls` is set.
    ///
    /// # Errors
    /// The database.
    pub async fn audit(
        &self,
        since: Millis,
        key_id: Option<&str>,
        calls: bool,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let limit = i64::from(limit);
        let mut entries = if calls {
            read!(long: self, sql, pool => sql::audit::with_calls_since(pool, since, key_id, limit))?
        } else {
            read!(long: self, sql, pool => sql::audit::since(pool, since, key_id, limit))?
        };
        entries.reverse();
        Ok(entries)
    }

    // --- Keys ---

    /// Makes a key. Its secrets are in the answer and nowhere else.
    ///
    /// # Errors
    /// A trunk that does not exist; the database.
    pub async fn create_key(&self, key: NewKey, now: Millis) -> Result<NewSecrets, AdminError> {
        let secrets = NewSecrets {
            key_id: secret::new_key_id(),
            key: secret::new_key(),
            webhook_secret: secret::new_webhook_secret(),
        };
        let op = ops::CreateKey {
            key,
            key_id: secrets.key_id.clone(),
            hash: secret::hash(&secrets.key).unwrap_or_default(),
            webhook_secret: secrets.webhook_secret.clone(),
            now,
        };
        let op = self.audited("key.create", Subject::Key(secrets.key_id.clone()), op);
        self.write(op).await?.map_err(|trunk| AdminError::NotFound(format!("trunk {trunk}")))?;
        Ok(secrets)
    }

    /// Every key, oldest first, revoked ones too.
    ///
    /// # Errors
    /// The database.
    pub async fn keys(&self) -> Result<Vec<Key>, StoreError> {
        read!(long: self, sql, pool => sql::keys::all(pool))
    }

    /// A key by its public name, and its trunks.
    ///
    /// # Errors
    /// No such key; the database.
    pub async fn key(&self, key_id: &str) -> Result<(Key, KeyTrunks), AdminError> {
        let key = read!(self, sql, pool => sql::keys::named(pool, key_id))?;
        let key = key.ok_or_else(|| missing_key(key_id))?;
        let trunks = read!(self, sql, pool => sql::trunks::of_key(pool, key.key))?;
        Ok((key, trunks))
    }

    /// Credits and holds as the ledger's sums; the key's own figures must be the same.
    ///
    /// # Errors
    /// No such key; the database.
    pub async fn ledger_sums(&self, key_id: &str) -> Result<(i64, i64), AdminError> {
        let (key, _) = self.key(key_id).await?;
        Ok(read!(long: self, sql, pool => sql::keys::ledger_sums(pool, key.key))?)
    }

    /// Gives (or, below zero, takes) credits; the new balance.
    ///
    /// # Errors
    /// No such key; less would be left than calls in progress hold; the database.
    pub async fn credit_key(
        &self,
        key_id: &str,
        credits: i64,
        note: &str,
        now: Millis,
    ) -> Result<i64, AdminError> {
        let op = ops::Credit { key_id: key_id.to_owned(), credits, note: note.to_owned(), now };
        let op = self.audited("key.credit", Subject::Key(key_id.to_owned()), op);
        let balance = self.write(op).await?.ok_or_else(|| missing_key(key_id))?;
        self.changed();
        balance.ok_or(AdminError::BelowHolds)
    }

    /// Sets the requests an hour.
    ///
    /// # Errors
    /// No such key; the database.
    pub async fn limit_key(&self, key_id: &str, rate_limit: i64) -> Result<(), AdminError> {
        let changes = KeyChanges::default();
        let op =
            ops::ChangeKey { key_id: key_id.to_owned(), changes, rate_limit: Some(rate_limit) };
        let op = self.audited("key.limit", Subject::Key(key_id.to_owned()), op);
        let found = self.write(op).await?;
        self.found(found, || missing_key(key_id))
    }

    /// Changes a key's settings.
    ///
    /// # Errors
    /// No such key; the database.
    pub async fn change_key(&self, key_id: &str, changes: KeyChanges) -> Result<(), AdminError> {
        let op = ops::ChangeKey { key_id: key_id.to_owned(), changes, rate_limit: None };
        let op = self.audited("key.set", Subject::Key(key_id.to_owned()), op);
        let found = self.write(op).await?;
        self.found(found, || missing_key(key_id))
    }

    /// Gives the key these trunks, in this order, instead of those it had.
    ///
    /// # Errors
    /// No such key or trunk; the database.
    pub async fn assign_trunks(&self, key_id: &str, trunks: Vec<String>) -> Result<(), AdminError> {
        let op = ops::AssignTrunks { key_id: key_id.to_owned(), trunks };
        let op = self.audited("key.trunks", Subject::Key(key_id.to_owned()), op);
        let found = self.write(op).await?;
        let found = found.map_err(|trunk| AdminError::NotFound(format!("trunk {trunk}")))?;
        self.found(found, || missing_key(key_id))
    }

    /// A new key string; the old one dies after `grace_ms`.
    ///
    /// # Errors
    /// No such key; the database.
    pub async fn rotate_key(
        &self,
        key_id: &str,
        grace_ms: i64,
        now: Millis,
    ) -> Result<String, AdminError> {
        let key = secret::new_key();
        let op = ops::RotateKey {
            key_id: key_id.to_owned(),
            hash: secret::hash(&key).unwrap_or_default(),
            old_expires: now.plus(grace_ms),
        };
        let op = self.audited_secret("key.rotate", key_id, op);
        let found = self.write(op).await?;
        self.found(found, || missing_key(key_id))?;
        Ok(key)
    }

    /// A new webhook secret; the old one signs too for 24 h.
    ///
    /// # Errors
    /// No such key; the database.
    pub async fn rotate_webhook_secret(
        &self,
        key_id: &str,
        now: Millis,
    ) -> Result<String, AdminError> {
        let secret = secret::new_webhook_secret();
        let op = ops::RotateWebhook {
            key_id: key_id.to_owned(),
            secret: secret.clone(),
            old_until: now.plus(limits::OLD_WEBHOOK_SECRET_MS),
        };
        let op = self.audited_secret("key.rotate-webhook", key_id, op);
        let found = self.write(op).await?;
        self.found(found, || missing_key(key_id))?;
        Ok(secret)
    }

    /// The key is no longer accepted.
    ///
    /// # Errors
    /// No such key; the database.
    pub async fn revoke_key(&self, key_id: &str) -> Result<(), AdminError> {
        let op = ops::Revoke { key_id: key_id.to_owned() };
        let op = self.audited("key.revoke", Subject::Key(key_id.to_owned()), op);
        let found = self.write(op).await?;
        self.found(found, || missing_key(key_id))
    }

    fn found(&self, found: bool, missing: impl Fn() -> AdminError) -> Result<(), AdminError> {
        self.changed();
        if found { Ok(()) } else { Err(missing()) }
    }

    // --- Trunks ---

    /// Adds a trunk, or changes the one of that name.
    ///
    /// # Errors
    /// The database.
    pub async fn put_trunk(&self, trunk: TrunkSettings, now: Millis) -> Result<(), StoreError> {
        let subject = Subject::Trunk(trunk.name.clone());
        let has_password = trunk.password.is_some();
        let mut op = self.audited("trunk.add", subject, ops::PutTrunk { trunk, now });
        op.act.unseen = has_password; // it may be another one than before
        let done = self.write(op).await;
        self.changed();
        done
    }

    /// Every trunk, by name.
    ///
    /// # Errors
    /// The database.
    pub async fn trunks(&self) -> Result<Vec<Trunk>, StoreError> {
        read!(self, sql, pool => sql::trunks::all(pool))
    }

    /// A trunk by name.
    ///
    /// # Errors
    /// No such trunk; the database.
    pub async fn trunk(&self, name: &str) -> Result<Trunk, AdminError> {
        let trunk = read!(self, sql, pool => sql::trunks::named(pool, name))?;
        trunk.ok_or_else(|| missing_trunk(name))
    }

    /// Stops or resumes dialling a trunk.
    ///
    /// # Errors
    /// No such trunk; the database.
    pub async fn disable_trunk(
        &self,
        name: &str,
        disabled: bool,
        now: Millis,
    ) -> Result<(), AdminError> {
        let op = ops::DisableTrunk { name: name.to_owned(), disabled, now };
        let act = if disabled { "trunk.disable" } else { "trunk.enable" };
        let op = self.audited(act, Subject::Trunk(name.to_owned()), op);
        let found = self.write(op).await?;
        self.found(found, || missing_trunk(name))
    }

    /// Removes a trunk, from its keys too.
    ///
    /// # Errors
    /// No such trunk; the database.
    pub async fn remove_trunk(&self, name: &str) -> Result<(), AdminError> {
        let op = ops::RemoveTrunk { name: name.to_owned() };
        let op = self.audited("trunk.remove", Subject::Trunk(name.to_owned()), op);
        let found = self.write(op).await?;
        self.found(found, || missing_trunk(name))
    }

    // --- Recordings and deliveries ---

    /// Every key's recordings that began before `before`, oldest first, at most 1 000.
    ///
    /// # Errors
    /// The database.
    pub async fn recordings_before(&self, before: Millis) -> Result<Vec<Recording>, StoreError> {
        read!(long: self, sql, pool => sql::recordings::before(pool, before, limits::LIST))
    }

    /// Removes a recording's row once its file is gone; `false`: there was none.
    ///
    /// # Errors
    /// The database.
    pub async fn forget_recording(&self, recording_id: &str) -> Result<bool, StoreError> {
        let op = ops::ForgetRecording { recording_id: recording_id.to_owned() };
        let subject = Subject::Recording(recording_id.to_owned());
        self.write(self.audited("recording.prune", subject, op)).await
    }

    /// Deliveries and their state, newest first, at most 1 000.
    ///
    /// # Errors
    /// The database.
    pub async fn deliveries(&self, only_dead: bool) -> Result<Vec<Delivery>, StoreError> {
        read!(long: self, sql, pool => sql::outbox::deliveries(pool, only_dead))
    }

    /// Has a delivery made again, and at once if it is waiting. A running server sees it within
    /// 2 s.
    ///
    /// # Errors
    /// The database.
    pub async fn replay_event(
        &self,
        call_id: &str,
        sequence: i64,
        now: Millis,
    ) -> Result<Replayed, StoreError> {
        let op = ops::Replay { call_id: call_id.to_owned(), sequence, now };
        let subject = Subject::Deliveries(call_id.to_owned());
        self.write(self.audited("webhook.replay", subject, op)).await
    }
}

fn missing_key(key_id: &str) -> AdminError {
    AdminError::NotFound(format!("key {key_id}"))
}

fn missing_trunk(name: &str) -> AdminError {
    AdminError::NotFound(format!("trunk {name}"))
}
