//! Numbers on which trunks may call in.

use sqlx::Pool;

use super::{Apply, Db, Tx};
use crate::store::ops::{PutNumber, RemoveNumber};
use crate::store::types::OwnNumber;

macro_rules! numbers {
    ($rest:literal) => {
        concat!(
            "SELECT n.number, k.key_id, n.webhook_url, n.answer, n.created_at \
             FROM numbers n JOIN api_keys k ON k.id = n.api_key ",
            $rest
        )
    };
}

/// Every number, in their order.
pub(in crate::store) async fn all(pool: &Pool<Db>) -> Result<Vec<OwnNumber>, sqlx::Error> {
    const ALL: &str = numbers!("ORDER BY n.number");
    sqlx::query_as(ALL).fetch_all(pool).await
}

/// A number, whoever it belongs to.
pub(in crate::store) async fn one(
    pool: &Pool<Db>,
    number: &str,
) -> Result<Option<OwnNumber>, sqlx::Error> {
    const ONE: &str = numbers!("WHERE n.number = $1");
    sqlx::query_as(ONE).bind(number).fetch_optional(pool).await
}

/// The same within a transaction.
pub(super) async fn one_in(
    tx: &mut Tx<'_>,
    number: &str,
) -> Result<Option<OwnNumber>, sqlx::Error> {
    const ONE: &str = numbers!("WHERE n.number = $1");
    sqlx::query_as(ONE).bind(number).fetch_optional(&mut *tx.conn).await
}

/// Whether there is any.
pub(in crate::store) async fn any(pool: &Pool<Db>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM numbers)").fetch_one(pool).await
}

impl Apply for PutNumber {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, sqlx::Error> {
        let own = one_in(tx, &self.number.number).await?;
        if let Some(other) = own.filter(|own| own.key_id != self.number.key_id) {
            return Ok(Err(other.key_id));
        }
        sqlx::query(
            "INSERT INTO numbers (number, api_key, webhook_url, answer, created_at) \
             SELECT $1, k.id, $3, $4, $5 FROM api_keys k WHERE k.key_id = $2 AND NOT k.revoked \
             ON CONFLICT (number) DO UPDATE SET webhook_url = excluded.webhook_url, \
             answer = excluded.answer",
        )
        .bind(&self.number.number)
        .bind(&self.number.key_id)
        .bind(&self.number.webhook_url)
        .bind(self.number.answer)
        .bind(self.number.created_at)
        .execute(&mut *tx.conn)
        .await
        .map(|done| Ok(done.rows_affected() == 1))
    }
}

impl Apply for RemoveNumber {
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
        sqlx::query("DELETE FROM numbers WHERE number = $1")
            .bind(&self.number)
            .execute(&mut *tx.conn)
            .await
            .map(|done| done.rows_affected() == 1)
    }
}
