//! The thread that empties the rings of all recordings, and never waits for the disk.
//!
//! It knows when a ring was looked at last and what has been gathered since the last batch. It
//! refuses to know files. Start at [`Gatherer::run`].
#![allow(clippy::disallowed_methods, reason = "a driver: it keeps the time of the batches")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use super::{BATCH, Job, Order, POOL};
use crate::net;
use crate::record::Drain;

/// Between two looks at all recordings, while there are any: the end of a call waits for the end of
/// its file.
const PASS: Duration = Duration::from_millis(4);

/// Between two looks into one ring.
const TAKE: Duration = Duration::from_millis(100);

/// Between two batches of one recording; a crash loses this and a little.
const SHIP: Duration = Duration::from_millis(250);

/// The thread's own.
pub(super) struct Gatherer {
    orders: SyncSender<Order>,
    /// Orders that found no room; while there are any nothing more is taken from the rings.
    outbox: VecDeque<Order>,
    taps: Vec<Gathered>,
    /// The index at which the next pass begins.
    next_tap: usize,
    next_id: u64,
    /// Bytes of audio that wait for the disk.
    pool: Arc<AtomicUsize>,
}

/// What has been gathered of one recording.
struct Gathered {
    id: u64,
    drain: Drain,
    samples: Vec<i16>,
    take_at: Instant,
    ship_at: Instant,
}

impl Gatherer {
    pub(super) fn new(orders: SyncSender<Order>, pool: Arc<AtomicUsize>) -> Self {
        Self { orders, outbox: VecDeque::new(), taps: Vec::new(), next_tap: 0, next_id: 0, pool }
    }

    /// Until the handle of the spool is gone: then everything that is there is handed on.
    pub(super) fn run(mut self, intake: &Receiver<Job>) {
        net::raise_nice();
        let mut next_pass = Instant::now();
        loop {
            let wait = next_pass.saturating_duration_since(Instant::now());
            let job = if !self.outbox.is_empty() {
                // What has come must wait: its order would have to, too.
                std::thread::sleep(wait);
                Err(RecvTimeoutError::Timeout)
            } else if self.taps.is_empty() {
                intake.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                intake.recv_timeout(wait)
            };
            match job {
                Ok(job) => self.begin(job),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            let now = Instant::now();
            if now >= next_pass {
                self.pass(now);
                next_pass = now + PASS;
            }
        }
    }

    fn begin(&mut self, job: Job) {
        let (id, now) = (self.next_id, Instant::now());
        self.next_id += 1;
        let channels = job.drain.channels();
        let mailbox = Box::new(job.mailbox);
        self.outbox.push_back(Order::Begin { id, path: job.path, channels, mailbox });
        let samples = Vec::new();
        let gathered =
            Gathered { id, drain: job.drain, samples, take_at: now + TAKE, ship_at: now + SHIP };
        self.taps.push(gathered);
        self.send();
    }

    /// Looks at every recording: takes what is due, hands on what has been gathered or has ended.
    fn pass(&mut self, now: Instant) {
        self.send();
        // From where the last pass ran out of room, so that each has its turn.
        for _ in 0..self.taps.len() {
            if !self.has_room() {
                return;
            }
            if self.next_tap >= self.taps.len() {
                self.next_tap = 0;
            }
            let Some(tap) = self.taps.get_mut(self.next_tap) else { break };
            let ended = tap.drain.is_ended();
            if ended || now >= tap.take_at {
                tap.take(&self.pool, &mut self.outbox);
                tap.take_at = now + TAKE;
            }
            if ended {
                tap.end(&self.pool, &mut self.outbox);
                self.taps.swap_remove(self.next_tap);
            } else {
                if now >= tap.ship_at {
                    tap.ship(&self.pool, &mut self.outbox);
                    tap.ship_at = now + SHIP;
                }
                self.next_tap += 1;
            }
            self.send();
        }
    }

    /// What is in the rings is handed on, whether the taps are gone or not.
    fn finish(mut self) {
        for mut tap in std::mem::take(&mut self.taps) {
            tap.take(&self.pool, &mut self.outbox);
            tap.end(&self.pool, &mut self.outbox);
        }
        for order in self.outbox {
            // Waits for the disk, as there is nothing else to do.
            let _ = self.orders.send(order);
        }
    }

    fn has_room(&self) -> bool {
        self.outbox.is_empty() && self.pool.load(Ordering::Relaxed) < POOL
    }

    fn send(&mut self) {
        while let Some(order) = self.outbox.pop_front() {
            if let Err(TrySendError::Full(order)) = self.orders.try_send(order) {
                return self.outbox.push_front(order);
            }
        }
    }
}

impl Gathered {
    /// Takes what is in the ring: one ring's worth at most, since it may be written to meanwhile.
    fn take(&mut self, pool: &AtomicUsize, outbox: &mut VecDeque<Order>) {
        for _ in 0..self.drain.capacity() {
            let Some(frame) = self.drain.pop() else { return };
            self.silence(frame.gap().into(), pool, outbox);
            if self.samples.len() + frame.samples().len() > BATCH {
                self.ship(pool, outbox);
            }
            self.samples.reserve_exact(BATCH - self.samples.len());
            self.samples.extend_from_slice(frame.samples());
        }
    }

    fn silence(&mut self, samples: u64, pool: &AtomicUsize, outbox: &mut VecDeque<Order>) {
        if samples > 0 {
            self.ship(pool, outbox);
            outbox.push_back(Order::Silence { id: self.id, samples });
        }
    }

    fn ship(&mut self, pool: &AtomicUsize, outbox: &mut VecDeque<Order>) {
        if !self.samples.is_empty() {
            let samples = std::mem::take(&mut self.samples);
            pool.fetch_add(samples.len() * 2, Ordering::Relaxed);
            outbox.push_back(Order::Samples { id: self.id, samples });
        }
    }

    fn end(&mut self, pool: &AtomicUsize, outbox: &mut VecDeque<Order>) {
        self.ship(pool, outbox);
        if self.drain.is_ended() {
            self.silence(self.drain.tail(), pool, outbox);
        }
        outbox.push_back(Order::End { id: self.id, lost: self.drain.lost() });
    }
}
