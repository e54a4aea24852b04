//! What a call leaves behind is cleared away here, so that no worker frees, closes or locks.
//!
//! It knows calls that have ended. It refuses to do anything in a hurry: it sleeps until a worker
//! wakes it. Start at [`Janitor::run`].

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use super::Shared;
use crate::worker::Call;
use crate::worker::events::Events;

/// Ended calls of one worker that wait; beyond that the worker clears away itself.
const GRAVES: usize = 1024;

/// Between two tries to hand over events that a call's task had no room for.
const RETRY: Duration = Duration::from_millis(20);

/// Where a call is at home.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) worker: usize,
    pub(crate) phase: usize,
    /// The even port of its pair.
    pub(crate) port: u16,
}

/// The thread's own.
pub(crate) struct Janitor {
    shared: Arc<Shared>,
    graves: Vec<Consumer<Box<Call>>>,
    /// Last events of calls that are gone.
    lingering: Vec<Events>,
}

impl Janitor {
    /// A janitor for `workers` workers, and the ends into which they put their ended calls.
    pub(crate) fn new(shared: Arc<Shared>, workers: usize) -> (Self, Vec<Producer<Box<Call>>>) {
        let (producers, graves) = (0..workers).map(|_| RingBuffer::new(GRAVES)).unzip();
        (Self { shared, graves, lingering: Vec::new() }, producers)
    }

    /// Starts the thread. It ends when all workers have ended.
    pub(crate) fn start(self) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("media-janitor".into()).spawn(move || self.run())
    }

    fn run(mut self) {
        loop {
            let over = self.graves.iter().all(Consumer::is_abandoned);
            for at in 0..self.graves.len() {
                while let Some(Ok(call)) = self.graves.get_mut(at).map(Consumer::pop) {
                    self.bury(*call);
                }
            }
            self.lingering.retain_mut(|events| !events.flush());
            if over {
                return;
            }
            if self.lingering.is_empty() {
                std::thread::park();
            } else {
                std::thread::park_timeout(RETRY);
            }
        }
    }

    fn bury(&mut self, call: Call) {
        let place = call.place;
        let (mut events, rest) = call.dismantle();
        // A session that had panicked may do so again.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(rest)));
        self.shared.lock().leave(place, now());
        if !events.flush() {
            self.lingering.push(events);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a driver: it stamps the rest of a port")]
fn now() -> Instant {
    Instant::now()
}
