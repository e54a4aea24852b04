//! Numbers on which trunks may call in: given to keys, and asked for with each call.

use std::sync::Arc;

use super::ops::Subject;
use super::types::{Authenticated, Called, OwnNumber};
use super::{AdminError, Millis, Store, StoreError, ops, read};

impl Store {
    /// Gives a number to a key, or changes what is done with its calls.
    ///
    /// # Errors
    /// No such key, or it is revoked; the number is another key's; the database.
    pub async fn put_number(&self, number: OwnNumber) -> Result<(), AdminError> {
        let key_id = number.key_id.clone();
        let subject = Subject::Number(number.number.clone());
        let op = self.audited("number.add", subject, ops::PutNumber { number });
        let put = self.write(op).await?;
        self.inner.numbers.clear();
        match put {
            Ok(true) => Ok(()),
            Ok(false) => Err(AdminError::NotFound(format!("live key {key_id}"))),
            Err(other) => Err(AdminError::NumberTaken(other)),
        }
    }

    /// Every number, in their order.
    ///
    /// # Errors
    /// The database.
    pub async fn numbers(&self) -> Result<Vec<OwnNumber>, StoreError> {
        read!(long: self, sql, pool => sql::numbers::all(pool))
    }

    /// Takes a number away from its key.
    ///
    /// # Errors
    /// No such number; the database.
    pub async fn remove_number(&self, number: &str) -> Result<(), AdminError> {
        let op = ops::RemoveNumber { number: number.to_owned() };
        let op = self.audited("number.remove", Subject::Number(number.to_owned()), op);
        let found = self.write(op).await?;
        self.inner.numbers.clear();
        if found { Ok(()) } else { Err(AdminError::NotFound(format!("number {number}"))) }
    }

    /// Who is called by a number, as of 1 s ago at most. A revoked key's number is nobody's.
    ///
    /// # Errors
    /// The database.
    pub async fn called(&self, number: &str, now: Millis) -> Result<Called, StoreError> {
        let asked = number.to_owned();
        if let Some(known) = self.inner.numbers.fresh(&asked, now) {
            return Ok(known);
        }
        let called = self.look_up(number).await?;
        self.inner.numbers.put(asked, called.clone(), now);
        Ok(called)
    }

    async fn look_up(&self, number: &str) -> Result<Called, StoreError> {
        let own = read!(self, sql, pool => sql::numbers::one(pool, number))?;
        let Some(own) = own else {
            let any = read!(self, sql, pool => sql::numbers::any(pool))?;
            return Ok(if any { Called::Unknown } else { Called::NoNumbers });
        };
        let key = read!(self, sql, pool => sql::keys::named(pool, &own.key_id))?;
        let live = key.filter(|key| !key.revoked);
        Ok(live.map_or(Called::Unknown, |key| Called::Own(Authenticated(Arc::new(key)), own)))
    }
}
