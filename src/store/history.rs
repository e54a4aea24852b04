//! What dashboards and call logs read.

use super::{
    Authenticated, CallStatus, DayTally, LogLine, LogPage, Millis, Standing, Store, StoreError,
    Stretch, read,
};

impl Store {
    /// The key's calls placed in `stretch`, by local day, those that are up included; days without
    /// any are left out.
    ///
    /// # Errors
    /// The database.
    pub async fn days(
        &self,
        auth: &Authenticated,
        stretch: Stretch,
    ) -> Result<Vec<DayTally>, StoreError> {
        read!(long: self, sql, pool => sql::history::days(pool, auth.key, stretch))
    }

    /// A page of the key's call log, newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn call_log(
        &self,
        auth: &Authenticated,
        page: LogPage,
    ) -> Result<Vec<LogLine>, StoreError> {
        read!(long: self, sql, pool => sql::history::log(pool, auth.key, page))
    }

    /// How many lines all pages of the key's call log have.
    ///
    /// # Errors
    /// The database.
    pub async fn call_log_length(
        &self,
        auth: &Authenticated,
        status: Option<CallStatus>,
        as_of: Millis,
    ) -> Result<i64, StoreError> {
        read!(long: self, sql, pool => sql::history::log_length(pool, auth.key, status, as_of))
    }

    /// The key's credits and calls in all; `None` should it be gone.
    ///
    /// # Errors
    /// The database.
    pub async fn standing(&self, auth: &Authenticated) -> Result<Option<Standing>, StoreError> {
        read!(self, sql, pool => sql::history::standing(pool, auth.key))
    }
}
