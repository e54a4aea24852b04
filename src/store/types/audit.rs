//! The audit trail.

use crate::store::Millis;

/// What was done by whom: an administrative act, or a call's deduction of credit.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AuditEntry {
    /// When.
    pub at: Millis,
    /// The OS user of the command line; `call` is a call.
    pub actor: String,
    /// `key.create`, `trunk.disable`, `call.deduct` …
    pub act: String,
    /// The key that it concerns, `key_…`; `None` for a trunk.
    pub key_id: Option<String>,
    /// What it was done to: a key's id, a trunk's name, a recording's or a call's id.
    pub subject: String,
    /// `{"name": [old, new], …}` as JSON; `null` for what was not there. Never a secret.
    pub changes: String,
}
