//! The one writer: a task that owns the writing connection and lets all who wait share one
//! transaction (group commit), so that a burst of calls costs one commit, not one each.
//!
//! Nothing is answered before its transaction is committed. When an operation fails, the shared
//! transaction is undone and each is applied again alone, so that one never harms another.
#![allow(clippy::disallowed_methods, reason = "a driver: it spawns its task and reads the clock")]

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use sqlx::{Database, Executor};
use tokio::sync::{mpsc, oneshot};

use super::{Apply, BEGIN, Db, HANGS, Pools, Tx};
use crate::store::error::is_away;
use crate::store::ops::Flush;
use crate::store::types::Outgoing;
use crate::store::{StoreError, handover::Handover, limits};

/// Operations that may wait: more than a second's worth at full load. Beyond it a refusable one
/// is refused at once; others wait for room.
const QUEUE: usize = 2_048;
/// Operations that share a transaction: bounds what is done again when one of them fails.
const BATCH: usize = 128;
/// A refusable operation that waited longer than this is refused untried: with the time that a
/// stuck database takes to say so, its client has its 503 within a second.
const PATIENCE: Duration = Duration::from_millis(300);

/// Sends operations to the writer.
#[derive(Clone)]
pub(in crate::store) struct Writer(mpsc::Sender<Box<dyn Job>>);

impl Writer {
    /// Starts the writer; it ends when every `Writer` is gone and the queue is written.
    pub(in crate::store) async fn start(
        pools: &Pools,
        node: i64,
        handover: Handover,
    ) -> Result<Self, StoreError> {
        // Calls that were taken over have ids below 0.
        let last: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) FROM calls WHERE id > 0")
            .fetch_one(&pools.write)
            .await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let task = Task { pool: pools.write.clone(), queue, node, next_call: last + 1, handover };
        tokio::spawn(task.run());
        Ok(Self(jobs))
    }

    /// Writes `op`; returns once it is committed.
    pub(in crate::store) async fn write<O: Apply>(&self, op: O) -> Result<O::Output, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Typed { op, output: None, reply, since: Instant::now() });
        if O::REFUSABLE {
            self.0.try_send(job).map_err(|_| StoreError::Busy)?;
        } else {
            self.0.send(job).await.map_err(|_| StoreError::Closed)?;
        }
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

struct Task {
    pool: sqlx::Pool<Db>,
    queue: mpsc::Receiver<Box<dyn Job>>,
    node: i64,
    next_call: i64,
    handover: Handover,
}

/// Where a transaction failed: what an operation did wrong can be undone and told from the rest,
/// what the database did concerns all.
enum Failure {
    Operation(sqlx::Error),
    Database(sqlx::Error),
}

impl Failure {
    /// Of an operation, unless it is the database that went away in its midst: then the others
    /// need not be tried one by one.
    fn of(error: sqlx::Error) -> Self {
        if is_away(&error) { Self::Database(error) } else { Self::Operation(error) }
    }

    /// The connection is of no use any more.
    fn is_stuck(&self) -> bool {
        let (Self::Operation(error) | Self::Database(error)) = self;
        is_lost(error)
    }
}

fn is_lost(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_))
}

/// Waits no longer than `limit` where the database may hang.
async fn bounded<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    if HANGS { limits::within(limit, answer).await } else { answer.await }
}

impl Task {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            batch.retain_mut(|job| !job.give_up());
            self.write(&mut batch).await;
        }
    }

    async fn write(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        match self.transaction(batch).await {
            Ok(()) => batch.drain(..).for_each(|job| job.finish()),
            Err(Failure::Operation(_)) if batch.len() > 1 => {
                for job in batch.drain(..) {
                    let mut alone = vec![job];
                    Box::pin(self.write(&mut alone)).await;
                }
            }
            Err(Failure::Operation(error) | Failure::Database(error)) => {
                let error = StoreError::from(error);
                if error.is_unavailable() {
                    // The heartbeat tells the operator, once.
                    tracing::debug!(%error, operations = batch.len(), "a write failed");
                } else {
                    tracing::warn!(%error, operations = batch.len(), "a write failed");
                }
                batch.drain(..).for_each(|job| job.fail(error.again()));
            }
        }
    }

    /// Applies all of `batch` and commits, or leaves nothing behind.
    async fn transaction(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut events = Vec::new();
        let mut conn = self.pool.acquire().await.map_err(Failure::Database)?;
        let done = self.apply(&mut conn, batch, &mut events).await;
        if let Err(failure) = done {
            // A connection that hangs, or cannot even roll back, must not be used again.
            if failure.is_stuck() || bounded(limits::WRITE, conn.execute("ROLLBACK")).await.is_err()
            {
                drop(conn.detach());
            }
            return Err(failure);
        }
        self.handover.send(events);
        Ok(())
    }

    async fn apply(
        &mut self,
        conn: &mut <Db as Database>::Connection,
        batch: &mut [Box<dyn Job>],
        events: &mut Vec<Outgoing>,
    ) -> Result<(), Failure> {
        let short = limits::WRITE;
        bounded(short, conn.execute(BEGIN)).await.map_err(Failure::Database)?;
        let mut tx = Tx { conn, events, next_call: &mut self.next_call, node: self.node };
        let mut longest = short;
        for job in batch {
            let limit = if job.is_long() { limits::LONG_WRITE } else { short };
            longest = longest.max(limit);
            bounded(limit, job.apply(&mut tx)).await.map_err(Failure::of)?;
        }
        bounded(longest, conn.execute("COMMIT")).await.map(|_| ()).map_err(Failure::Database)
    }
}

/// An operation with the one who waits for it.
pub(in crate::store) trait Job: Send {
    /// Applies it and keeps its output.
    fn apply<'a>(
        &'a mut self,
        tx: &'a mut Tx<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<(), sqlx::Error>> + Send + 'a>>;
    /// It may take its time.
    fn is_long(&self) -> bool;
    /// Answers: committed.
    fn finish(self: Box<Self>);
    /// Answers: not written.
    fn fail(self: Box<Self>, error: StoreError);
    /// Refused untried, or nobody waits any more.
    fn give_up(&mut self) -> bool;
}

struct Typed<O: Apply> {
    op: O,
    output: Option<O::Output>,
    reply: oneshot::Sender<Result<O::Output, StoreError>>,
    since: Instant,
}

impl<O: Apply> Job for Typed<O> {
    fn apply<'a>(
        &'a mut self,
        tx: &'a mut Tx<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<(), sqlx::Error>> + Send + 'a>> {
        Box::pin(async move {
            self.output = Some(self.op.apply(tx).await?);
            Ok(())
        })
    }

    fn is_long(&self) -> bool {
        O::IS_LONG
    }

    fn finish(self: Box<Self>) {
        if let Some(output) = self.output {
            let _ = self.reply.send(Ok(output));
        }
    }

    fn fail(self: Box<Self>, error: StoreError) {
        let _ = self.reply.send(Err(error));
    }

    fn give_up(&mut self) -> bool {
        // Dropping the job answers `Closed`, which is `Unavailable` to a client.
        O::REFUSABLE && (self.reply.is_closed() || self.since.elapsed() > PATIENCE)
    }
}

impl Apply for Flush {
    async fn apply(&self, _tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
        Ok(())
    }
}
