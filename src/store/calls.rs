//! The life of a call, from its placing to its end or the crash that ended it.

use super::journal::{Record, What};
use super::ops::Refused;
use super::{
    AmdResult, Answered, Authenticated, CallRef, CallRow, Ended, Leg, Millis, NewCall, NewEvent,
    OpenCall, PlaceError, Placed, Remembered, Store, StoreError, ops, read,
};

impl Store {
    /// Stores a call in one transaction: credit check and hold, row, idempotency token, and the
    /// event that `first` builds now that the id is known (`first` may be called more than once).
    /// Once begun it must be awaited to its end, or a call stays `ringing` that nobody owns: do
    /// not call it from a future that a client's disconnect drops.
    ///
    /// # Errors
    /// [`PlaceError`]; nothing is stored then.
    pub async fn place(
        &self,
        auth: &Authenticated,
        call: NewCall,
        first: impl Fn(&Placed) -> NewEvent + Send + Sync + 'static,
    ) -> Result<Placed, PlaceError> {
        let placed = self.write(ops::Place { key: auth.key, call, first: Box::new(first) }).await?;
        placed.map_err(|refused| match refused {
            Refused::InsufficientCredits => PlaceError::InsufficientCredits,
            Refused::KeyGone => PlaceError::KeyGone,
            Refused::Repeated(known) => PlaceError::Repeated(known),
        })
    }

    /// Another leg on another trunk: stored before its INVITE is sent.
    ///
    /// # Errors
    /// The database.
    pub async fn trunk_tried(
        &self,
        call: &CallRef,
        trunk: &str,
        leg: Leg,
    ) -> Result<(), StoreError> {
        let what = What::TrunkTried(trunk.to_owned(), leg);
        self.record(Record::of(call, what)).await.map(drop)
    }

    /// The call was answered: its hold becomes a deduction, in one transaction with `events`.
    /// `false`: it had been answered or had ended already; its row and money are as they were.
    ///
    /// # Errors
    /// The database; it may be called again.
    pub async fn answered(
        &self,
        call: &CallRef,
        answered: Answered,
        events: Vec<NewEvent>,
    ) -> Result<bool, StoreError> {
        self.record(Record::of(call, What::Answered(answered, events))).await
    }

    /// What the detector says, with `events`. A call that has ended keeps what its end said.
    ///
    /// # Errors
    /// The database; it may be called again.
    pub async fn heard(
        &self,
        call: &CallRef,
        now: Millis,
        amd: AmdResult,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        self.record(Record::of(call, What::Heard(now, amd, events))).await.map(drop)
    }

    /// The call has ended: final row, settlement of its hold and `events` in one transaction.
    /// `false`: it had ended already; its row and money are as they were.
    ///
    /// # Errors
    /// The database; it may be called again.
    pub async fn ended(
        &self,
        call: &CallRef,
        ended: Ended,
        events: Vec<NewEvent>,
    ) -> Result<bool, StoreError> {
        self.record(Record::of(call, What::Ended(ended, events))).await
    }

    /// Events that change nothing else. Numbers already stored are left as they are.
    ///
    /// # Errors
    /// The database; it may be called again.
    pub async fn append_events(
        &self,
        call: &CallRef,
        now: Millis,
        events: Vec<NewEvent>,
    ) -> Result<(), StoreError> {
        if call.webhook_url.is_none() || events.is_empty() {
            return Ok(());
        }
        self.record(Record::of(call, What::Events(now, events))).await.map(drop)
    }

    /// One call of the key, live or ended.
    ///
    /// # Errors
    /// The database.
    pub async fn call(
        &self,
        auth: &Authenticated,
        call_id: &str,
    ) -> Result<Option<CallRow>, StoreError> {
        read!(self, sql, pool => sql::calls::call(pool, auth.key, call_id))
    }

    /// What an idempotency token of the key stands for, for 24 h.
    ///
    /// # Errors
    /// The database.
    pub async fn remembered(
        &self,
        auth: &Authenticated,
        token: &str,
        now: Millis,
    ) -> Result<Option<Remembered>, StoreError> {
        read!(self, sql, pool => sql::calls::remembered(pool, auth.key, token, now))
    }

    /// Keeps the answer to the request that placed `call`, for its idempotency token.
    ///
    /// # Errors
    /// The database.
    pub async fn remember_answer(
        &self,
        call: &CallRef,
        status: u16,
        response: String,
    ) -> Result<(), StoreError> {
        let status = i64::from(status);
        self.write(ops::Remember { call: call.clone(), status, response }).await
    }

    // --- After a crash ---

    /// Says that this node lives. To be called every second; calls that die with the process end
    /// at the last of these.
    ///
    /// # Errors
    /// The database.
    pub async fn heartbeat(&self, now: Millis) -> Result<(), StoreError> {
        let beat = self.write(ops::Heartbeat { node: self.inner.node, now }).await;
        if beat.as_ref().is_err_and(StoreError::is_unavailable) {
            self.note_heartbeat(now).await;
        }
        beat
    }

    /// This node's calls that have not ended.
    ///
    /// # Errors
    /// The database.
    pub async fn open_calls(&self) -> Result<Vec<OpenCall>, StoreError> {
        read!(long: self, sql, pool => sql::calls::open_calls(pool, self.inner.node))
    }

    /// At start, before any call: ends every open call of this node as `server_shutdown` at the
    /// last heartbeat, settles its hold, and queues the events that `last` builds for it, all in
    /// one transaction. What is returned holds what its orphaned leg needs.
    ///
    /// # Errors
    /// The database.
    pub async fn close_open_calls(
        &self,
        now: Millis,
        last: impl Fn(&OpenCall, &Ended) -> Vec<NewEvent> + Send + Sync + 'static,
    ) -> Result<Vec<OpenCall>, StoreError> {
        self.write(ops::CloseOpen { node: self.inner.node, now, events: Box::new(last) }).await
    }
}
