//! Trunks, and which key may use which.

use sqlx::Pool;

use super::{Apply, Db, Tx};
use crate::store::ops::{DisableTrunk, PutTrunk, RemoveTrunk};
use crate::store::types::{KeyId, KeyTrunks, Trunk};

macro_rules! trunks {
    ($rest:literal) => {
        concat!(
            "SELECT t.id, t.name, t.uri, t.prefix, t.caller_id, t.from_domain, t.identity, \
             t.max_channels, t.max_cps, t.codecs, t.allow, t.learn_rtp, t.allow_star_hash, \
             t.allow_prefixes, t.deny_prefixes, t.username, t.password, t.realm, t.register, \
             t.qualify_secs, t.strip_digits, t.caller_prefix, t.privacy, t.disabled, t.created_at, t.updated_at \
             FROM trunks t ",
            $rest
        )
    };
}

/// Every trunk, by name.
pub(in crate::store) async fn all(pool: &Pool<Db>) -> Result<Vec<Trunk>, sqlx::Error> {
    const ALL: &str = trunks!("ORDER BY t.name");
    sqlx::query_as(ALL).fetch_all(pool).await
}

/// A trunk by name.
pub(in crate::store) async fn named(
    pool: &Pool<Db>,
    name: &str,
) -> Result<Option<Trunk>, sqlx::Error> {
    const NAMED: &str = trunks!("WHERE t.name = $1");
    sqlx::query_as(NAMED).bind(name).fetch_optional(pool).await
}

/// The same within a transaction.
pub(super) async fn named_in(tx: &mut Tx<'_>, name: &str) -> Result<Option<Trunk>, sqlx::Error> {
    const NAMED: &str = trunks!("WHERE t.name = $1");
    sqlx::query_as(NAMED).bind(name).fetch_optional(&mut *tx.conn).await
}

/// A key's trunks in its order, and where its round robin stands.
pub(in crate::store) async fn of_key(
    pool: &Pool<Db>,
    key: KeyId,
) -> Result<KeyTrunks, sqlx::Error> {
    const OF_KEY: &str =
        trunks!("JOIN key_trunks k ON k.trunk = t.id WHERE k.api_key = $1 ORDER BY k.position");
    let trunks = sqlx::query_as(OF_KEY).bind(key).fetch_all(pool).await?;
    let last = sqlx::query_scalar("SELECT last_trunk FROM api_keys WHERE id = $1")
        .bind(key)
        .fetch_one(pool)
        .await?;
    Ok(KeyTrunks { trunks, last })
}

impl Apply for PutTrunk {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        let trunk = &self.trunk;
        sqlx::query(
            "INSERT INTO trunks (name, uri, prefix, caller_id, from_domain, identity, \
             max_channels, max_cps, codecs, allow, learn_rtp, allow_star_hash, allow_prefixes, \
             deny_prefixes, username, password, realm, register, qualify_secs, strip_digits, \
             caller_prefix, privacy, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, \
             $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $23) \
             ON CONFLICT (name) DO UPDATE SET uri = excluded.uri, prefix = excluded.prefix, \
             caller_id = excluded.caller_id, from_domain = excluded.from_domain, \
             identity = excluded.identity, max_channels = excluded.max_channels, \
             max_cps = excluded.max_cps, codecs = excluded.codecs, allow = excluded.allow, \
             learn_rtp = excluded.learn_rtp, allow_star_hash = excluded.allow_star_hash, \
             allow_prefixes = excluded.allow_prefixes, deny_prefixes = excluded.deny_prefixes, \
             username = excluded.username, password = excluded.password, \
             realm = excluded.realm, register = excluded.register, \
             qualify_secs = excluded.qualify_secs, strip_digits = excluded.strip_digits, \
             caller_prefix = excluded.caller_prefix, privacy = excluded.privacy, \
             updated_at = excluded.updated_at",
        )
        .bind(&trunk.name)
        .bind(&trunk.uri)
        .bind(&trunk.prefix)
        .bind(&trunk.caller_id)
        .bind(&trunk.from_domain)
        .bind(&trunk.identity)
        .bind(trunk.max_channels)
        .bind(trunk.max_cps)
        .bind(trunk.codecs.to_json())
        .bind(trunk.allow.to_json())
        .bind(trunk.learn_rtp)
        .bind(trunk.allow_star_hash)
        .bind(trunk.allow_prefixes.to_json())
        .bind(trunk.deny_prefixes.to_json())
        .bind(&trunk.username)
        .bind(&trunk.password)
        .bind(&trunk.realm)
        .bind(trunk.register)
        .bind(trunk.qualify_secs)
        .bind(trunk.strip_digits)
        .bind(&trunk.caller_prefix)
        .bind(trunk.privacy)
        .bind(self.now)
        .execute(&mut *tx.conn)
        .await
        .map(|_| ())
    }
}

impl Apply for DisableTrunk {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        sqlx::query("UPDATE trunks SET disabled = $2, updated_at = $3 WHERE name = $1")
            .bind(&self.name)
            .bind(self.disabled)
            .bind(self.now)
            .execute(&mut *tx.conn)
            .await
            .map(|done| done.rows_affected() == 1)
    }
}

impl Apply for RemoveTrunk {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        sqlx::query("DELETE FROM trunks WHERE name = $1")
            .bind(&self.name)
            .execute(&mut *tx.conn)
            .await
            .map(|done| done.rows_affected() == 1)
    }
}
