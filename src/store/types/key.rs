//! Keys, and the proof that a request showed one.

use std::fmt;
use std::sync::Arc;

use super::{KeyId, List};
use crate::store::Millis;

/// An API key's account as stored. No secret is in it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct Key {
    /// Row number.
    #[sqlx(rename = "id")]
    pub key: KeyId,
    /// Public name, `key_…`.
    pub key_id: String,
    /// What its owner calls it.
    pub name: String,
    /// Credits not yet deducted; holds are part of them.
    pub credits: i64,
    /// Credits held by calls that still ring.
    pub holds: i64,
    /// Requests an hour.
    pub rate_limit: i64,
    /// Calls ever placed.
    pub total_calls: i64,
    /// Calls that ended `completed`.
    pub successful_calls: i64,
    /// The caller id of calls that name none.
    pub caller_id: Option<String>,
    /// The caller ids it may use; empty: any.
    #[sqlx(try_from = "String")]
    pub allowed_caller_ids: List,
    /// Whether calls are recorded unless the request says otherwise.
    pub record_default: bool,
    /// Calls at a time; `None`: no cap.
    pub max_calls: Option<i64>,
    /// New calls in any second; `None`: no cap.
    pub max_cps: Option<i64>,
    /// Number prefixes it may dial; empty: any.
    #[sqlx(try_from = "String")]
    pub allow_prefixes: List,
    /// Number prefixes it may not dial.
    #[sqlx(try_from = "String")]
    pub deny_prefixes: List,
    /// No longer accepted.
    pub revoked: bool,
    /// When it was made.
    pub created_at: Millis,
    /// When it last made a request.
    pub last_used: Option<Millis>,
}

/// Proof that a request showed a valid key: only [`Store::authenticate`](crate::store::Store::authenticate)
/// makes one, and every query on behalf of a customer takes it. Its figures are as old as the
/// authentication (1 s at most); [`Store::account`](crate::store::Store::account) reads fresh ones.
#[derive(Clone, Debug)]
pub struct Authenticated(pub(in crate::store) Arc<Key>);

impl std::ops::Deref for Authenticated {
    type Target = Key;

    fn deref(&self) -> &Key {
        &self.0
    }
}

/// What `count_request` decided and what the rate-limit headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateDecision {
    /// Within the limit.
    pub allowed: bool,
    /// Requests an hour.
    pub limit: i64,
    /// Requests left in this window.
    pub remaining: i64,
    /// Seconds until the window ends, rounded up; 1 to 3600.
    pub reset_secs: i64,
}

/// The secrets of a new or rotated key, shown once.
#[derive(Clone)]
pub struct NewSecrets {
    /// `key_…`.
    pub key_id: String,
    /// `ak_…`.
    pub key: String,
    /// `whsec_…`.
    pub webhook_secret: String,
}

impl fmt::Debug for NewSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSecrets").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What its owner calls it.
    pub name: String,
    /// Credits to begin with.
    pub credits: i64,
    /// Requests an hour.
    pub rate_limit: i64,
    /// Trunk names, in order.
    pub trunks: Vec<String>,
}

/// What `kaphila key set` changes; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default)]
pub struct KeyChanges {
    /// New name.
    pub name: Option<String>,
    /// New default caller id; an empty one removes it.
    pub caller_id: Option<String>,
    /// New list of permitted caller ids.
    pub allowed_caller_ids: Option<Vec<String>>,
    /// New recording default.
    pub record_default: Option<bool>,
    /// Calls at a time; 0 removes the cap.
    pub max_calls: Option<i64>,
    /// New calls a second; 0 removes the cap.
    pub max_cps: Option<i64>,
    /// New list of permitted prefixes.
    pub allow_prefixes: Option<Vec<String>>,
    /// New list of denied prefixes.
    pub deny_prefixes: Option<Vec<String>>,
}

/// A key of another service, to be taken over. `None` leaves a setting as it is, or at its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportedKey {
    /// Where it stands in its file, for errors.
    pub line: u64,
    /// SHA-256 of the key, in hexadecimal.
    pub hash: String,
    /// Its public name.
    pub key_id: Option<String>,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Its balance.
    pub credits: Option<i64>,
    /// Requests an hour.
    pub rate_limit: Option<i64>,
    /// Calls placed so far.
    pub total_calls: Option<i64>,
    /// Of them, those that completed.
    pub successful_calls: Option<i64>,
    /// When it was made.
    pub created_at: Option<Millis>,
    /// Trunk names, in order.
    pub trunks: Option<Vec<String>>,
}

/// A line of a file that cannot be taken over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1, the heading included.
    pub line: u64,
    /// What is wrong, with the field.
    pub what: String,
}

impl std::fmt::Display for BadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_secrets_are_not_shown() {
        let secrets = NewSecrets {
            key_id: "key_1".into(),
            key: "ak_geheim".into(),
            webhook_secret: "whsec_geheim".into(),
        };
        let shown = format!("{secrets:?}");
        assert!(shown.contains("key_1") && !shown.contains("geheim"), "{shown}");
    }
}
