//! Carries out what the schedule says: one task that takes committed events from the store, sends
//! them, and writes down what became of them. Calls never wait for it.
//!
//! The database is the truth: what memory does not hold (after a start, an overflow, a long pause
//! between attempts) is read from there.
#![allow(clippy::disallowed_methods, reason = "a driver: it spawns, sleeps and reads the clock")]

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::guard::{self, GuardedResolver, Lookup, Policy};
use super::schedule::{HOLD_MS, MAX_HELD, Schedule};
use super::sign;
use crate::store::{Committed, Mark, Millis, Outgoing, Store};

/// The contract's word for us.
const USER_AGENT: &str = "Kaphila-API-API/2.0";
/// Of an answer's body this much is read, so that its connection can be used again.
const MAX_ANSWER: usize = 64 * 1_024;
/// Connections kept open to a receiver that has nothing to do.
const MAX_IDLE: usize = 64;
/// Marks written at a time.
const MARKS: usize = 256;
/// How long a mark may wait for company: a crash in between sends those events once more.
const MARK_EVERY: Duration = Duration::from_millis(100);
/// Marks kept while the database is away; beyond that the oldest are lost (and sent again).
const MAX_MARKS: usize = 20_000;
/// How often the database is asked for events whose time has come.
const SCAN_EVERY: Duration = Duration::from_secs(15);
/// How often the database is asked for what an operator wants sent again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How far back: an operator's clock may be as much slower than ours.
const LOOK_BACK_MS: i64 = 5_000;
/// How soon again when it could not be asked.
const SCAN_AGAIN: Duration = Duration::from_secs(1);
/// Events read at a time beside those that are known.
const SCAN: u32 = 2_000;
/// Below this many in memory an overflow is read back.
const LOW_WATER: usize = MAX_HELD / 2;

/// How events are delivered.
#[derive(Clone)]
pub struct Options {
    /// Where they may go.
    pub policy: Policy,
    /// How long a receiver has to answer.
    pub timeout: Duration,
    /// Pauses between attempts; after them it is hourly, until 24 h are over.
    pub retry: Vec<Duration>,
    /// Who resolves names.
    pub lookup: Lookup,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            timeout: Duration::from_millis(5_000),
            retry: [1, 5, 30, 120, 600].map(Duration::from_secs).to_vec(),
            lookup: guard::system_lookup(),
        }
    }
}

/// Why delivery could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The HTTP client (TLS, most likely: a provider must be installed first).
    #[error("webhook client: {0}")]
    Client(#[from] reqwest::Error),
    /// Somebody else delivers this store's events.
    #[error("this store's events are delivered already")]
    Taken,
}

/// Delivery under way.
pub struct Deliverer {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Deliverer {
    /// Starts to deliver the store's events, those of earlier processes first.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(store: Store, options: Options) -> Result<Self, StartError> {
        let resolver = GuardedResolver { lookup: options.lookup, policy: options.policy };
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .timeout(options.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(MAX_IDLE)
            .dns_resolver(resolver)
            .build()?;
        let committed = store.take_committed().ok_or(StartError::Taken)?;
        let (stop, stopped) = watch::channel(false);
        let task = Task {
            sender: Sender { client, store: store.clone(), policy: options.policy },
            store,
            committed,
            stopped,
            schedule: Schedule::new(&options.retry),
            sending: JoinSet::new(),
            marks: Vec::new(),
            next_scan: Millis(0),
            next_look: Millis(0),
            overflown: false,
        };
        Ok(Self { stop, task: tokio::spawn(task.run()) })
    }

    /// Sends what is due, for as long as `within`, then stops; the rest is sent after the next
    /// start. Returns when all results are written.
    pub async fn shutdown(self, within: Duration) {
        let _ = self.stop.send(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(within, self.task).await.is_err() {
            abort.abort();
        }
    }
}

struct Task {
    store: Store,
    sender: Sender,
    committed: Committed,
    stopped: watch::Receiver<bool>,
    schedule: Schedule,
    sending: JoinSet<(Arc<Outgoing>, Result<(), String>)>,
    marks: Vec<Mark>,
    next_scan: Millis,
    next_look: Millis,
    /// Some events are in the database alone.
    overflown: bool,
}

impl Task {
    async fn run(mut self) {
        let mut flush = tokio::time::interval(MARK_EVERY);
        flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut open = true;
        loop {
            let now = Millis::wall_clock();
            self.scan_when_due(now).await;
            self.look_when_due(now).await;
            self.take_committed(now);
            while let Some(event) = self.schedule.poll_attempt(now) {
                let send = AssertUnwindSafe(self.sender.clone().send(Arc::clone(&event)));
                // A fault of ours in one request is a failed attempt, not an event that waits for
                // the next start.
                self.sending.spawn(async move {
                    let sent = send.catch_unwind().await;
                    sent.unwrap_or_else(|_| (event, Err("internal error".to_owned())))
                });
            }
            let stopping = *self.stopped.borrow() || !open;
            if stopping && self.schedule.in_flight() == 0 {
                self.write_marks().await;
                return;
            }
            let wake = self.schedule.poll_timeout().unwrap_or(self.next_scan);
            let wake = wake.min(self.next_scan).min(self.next_look).since(now).max(1);
            tokio::select! {
                event = self.committed.next(), if open => match event {
                    Some(event) => self.take(Millis::wall_clock(), event),
                    None => open = false,
                },
                Some(done) = self.sending.join_next() => self.finished(done),
                _ = flush.tick(), if !self.marks.is_empty() => self.write_marks().await,
                () = tokio::time::sleep(Duration::from_millis(wake.unsigned_abs())) => {}
                _ = self.stopped.changed(), if !stopping => {}
            }
        }
    }

    /// All events that have been committed since.
    fn take_committed(&mut self, now: Millis) {
        while let Some(event) = self.committed.try_next() {
            self.take(now, event);
        }
    }

    fn take(&mut self, now: Millis, event: Outgoing) {
        // Once some are in the database alone, the later ones wait there too: order.
        self.overflown = self.overflown || !self.schedule.handle_event(now, event);
    }

    fn finished(
        &mut self,
        done: Result<(Arc<Outgoing>, Result<(), String>), tokio::task::JoinError>,
    ) {
        match done {
            Ok((event, result)) => {
                let mark = self.schedule.handle_result(Millis::wall_clock(), &event, result);
                self.marks.extend(mark);
            }
            Err(error) => tracing::error!(%error, "a webhook request was lost"),
        }
    }

    async fn write_marks(&mut self) {
        while !self.marks.is_empty() {
            let some = self.marks.len().min(MARKS);
            let batch: Vec<Mark> = self.marks.iter().take(some).cloned().collect();
            if let Err(error) = self.store.mark_events(batch).await {
                tracing::debug!(%error, "webhook results are not written yet");
                let excess = self.marks.len().saturating_sub(MAX_MARKS);
                self.marks.drain(..excess);
                return;
            }
            self.marks.drain(..some);
        }
    }

    /// Reads from the database what is due and not in memory.
    async fn scan_when_due(&mut self, now: Millis) {
        self.overflown |= self.committed.take_missed();
        let refill = self.overflown && self.schedule.held() < LOW_WATER;
        if now < self.next_scan && !refill {
            return;
        }
        self.next_scan = after(now, SCAN_EVERY);
        // What has been delivered must not be read as due.
        self.write_marks().await;
        if !self.marks.is_empty() {
            self.next_scan = after(now, SCAN_AGAIN);
            return;
        }
        // As many more than are held: the oldest may all be in memory already.
        let limit = SCAN + u32::try_from(self.schedule.held()).unwrap_or(0);
        match self.store.due_events(now.plus(HOLD_MS), limit).await {
            Ok(events) => {
                self.overflown = events.len() >= limit as usize;
                for event in events {
                    self.overflown |= !self.schedule.handle_event(now, event);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "due webhooks can't be read");
                self.next_scan = after(now, SCAN_AGAIN);
            }
        }
    }

    /// Reads what an operator has asked to be sent again.
    async fn look_when_due(&mut self, now: Millis) {
        if now < self.next_look {
            return;
        }
        self.next_look = after(now, LOOK_EVERY);
        // What has been delivered must not be read as pending.
        self.write_marks().await;
        if !self.marks.is_empty() {
            return;
        }
        match self.store.replayed_events(now.plus(-LOOK_BACK_MS), now, SCAN).await {
            // Without room for it the scan finds it.
            Ok(events) => events.into_iter().for_each(|event| self.take(now, event)),
            Err(error) => tracing::debug!(%error, "replayed webhooks can't be read"),
        }
    }
}

fn after(now: Millis, pause: Duration) -> Millis {
    now.plus(i64::try_from(pause.as_millis()).unwrap_or(0))
}

#[derive(Clone)]
struct Sender {
    client: reqwest::Client,
    store: Store,
    policy: Policy,
}

impl Sender {
    async fn send(self, event: Arc<Outgoing>) -> (Arc<Outgoing>, Result<(), String>) {
        let result = self.post(&event).await;
        if let Err(error) = &result {
            tracing::debug!(
                call_id = &*event.call_id, sequence = event.sequence, %error, "webhook failed"
            );
        }
        (event, result)
    }

    async fn post(&self, event: &Outgoing) -> Result<(), String> {
        // Literal addresses never reach the resolver.
        let url = guard::check_url(&event.url, self.policy).map_err(|error| error.to_string())?;
        let now = Millis::wall_clock();
        let secrets = self.store.signing_secrets(event.key, now).await;
        let secrets = secrets.map_err(|error| error.to_string())?;
        let id = format!("msg_{}_{}", event.call_id.replace('.', "-"), event.sequence);
        let signature = sign::sign(&secrets, &id, now.unix_seconds(), &event.payload);
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", now.unix_seconds())
            .header("webhook-signature", signature)
            .body(event.payload.clone());
        let mut answer = request.send().await.map_err(|error| reason(&error))?;
        let status = answer.status();
        let mut read = 0;
        while read < MAX_ANSWER {
            match answer.chunk().await {
                Ok(Some(chunk)) => read += chunk.len(),
                Ok(None) | Err(_) => break,
            }
        }
        if status.is_success() { Ok(()) } else { Err(format!("HTTP {}", status.as_u16())) }
    }
}

/// The error's innermost cause: reqwest's own words say only that something failed.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timeout".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
