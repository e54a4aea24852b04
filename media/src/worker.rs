//! One media thread: it owns its calls outright and gives each of them its turn.
//!
//! **What this file may not do for a packet**: allocate, take a lock, log, wait, or make more system
//! calls than one to receive and one to send. Commands come through a bounded ring, ended calls
//! leave through another, counters have one writer. What a call may do wrong stays its own: a panic
//! in its session ends that call and no other.
//!
//! Time is cut into slots of 2 ms ([`crate::wheel`]). In each the worker takes the commands, drains
//! what can be read (one epoll for all sockets, asked and never waited for) and gives the calls
//! whose slot it is their turn; then it sleeps to the next. A worker without calls sleeps until it
//! is called. Start at `Worker::run`.
#![allow(clippy::disallowed_methods, reason = "a driver: it keeps the time of the slots")]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};
use slab::Slab;

use crate::net::{MAX_DATAGRAM, Poller, raise_priority};
use crate::session::{Command, TickOutput};
use crate::wheel::{self, SLOT, Wheel};

mod call;
pub(crate) mod counters;
pub(crate) mod events;

pub(crate) use call::{Call, CallState};

use call::{NOWHERE, socket_of};
use counters::{Counters, bump};

/// Messages that wait for one worker. They are taken every 2 ms: more than this means that the
/// worker stands still, and who sends is told.
pub(crate) const MESSAGES: usize = 2048;

/// Slots in the window of the load signal: one second.
const LOAD_WINDOW: u64 = 500;

/// What the control side sends.
#[allow(clippy::large_enum_variant, reason = "in its place in the ring: nothing to free here")]
pub(crate) enum Message {
    /// A new call. From here on it is the worker's.
    Open(Box<Call>),
    /// A command for a call.
    Command(Arc<CallState>, Command),
    /// The call must end.
    Close(Arc<CallState>),
    /// Makes the call's next turn panic.
    #[cfg(test)]
    Panic(Arc<CallState>),
}

/// The control side's end of one worker.
pub(crate) struct Link {
    messages: Mutex<Producer<Message>>,
    thread: OnceLock<Thread>,
    stopping: AtomicBool,
    /// A call was closed and there was no room to say so.
    closed_unsaid: AtomicBool,
    pub(crate) counters: Counters,
}

impl Link {
    /// Both ends.
    pub(crate) fn new() -> (Arc<Self>, Consumer<Message>) {
        let (producer, consumer) = RingBuffer::new(MESSAGES);
        let link = Self {
            messages: Mutex::new(producer),
            thread: OnceLock::new(),
            stopping: false.into(),
            closed_unsaid: false.into(),
            counters: Counters::default(),
        };
        (Arc::new(link), consumer)
    }

    /// Sends a message and wakes the worker if it sleeps for want of calls; gives the message back
    /// if there is no room.
    #[allow(clippy::result_large_err, reason = "the message is given back, not described")]
    pub(crate) fn send(&self, message: Message) -> Result<(), Message> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let result = messages.push(message);
        drop(messages);
        self.wake();
        result.map_err(|rtrb::PushError::Full(message)| message)
    }

    /// Ends a call. Is never lost: without room for a message the worker looks for itself.
    pub(crate) fn close(&self, state: &Arc<CallState>) {
        state.close();
        if self.send(Message::Close(Arc::clone(state))).is_err() {
            self.closed_unsaid.store(true, Ordering::Release);
        }
    }

    /// Tells whom to wake.
    pub(crate) fn set_thread(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    /// Ends the worker after a last turn of every call.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // A futex call only if the worker is parked.
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// One worker thread's own.
pub(crate) struct Worker {
    link: Arc<Link>,
    messages: Consumer<Message>,
    graves: Producer<Box<Call>>,
    janitor: Thread,
    poller: Poller,
    calls: Slab<Box<Call>>,
    wheel: Wheel,
    /// Slot 0.
    epoch: Instant,
    /// Buffers of the loop, reused for ever.
    buffer: Box<[u8; MAX_DATAGRAM]>,
    output: TickOutput,
    tokens: Vec<u64>,
    due: Vec<u64>,
    over: Vec<usize>,
    worst: Duration,
    window_ends: u64,
}

impl Worker {
    /// A worker that reads `messages` and puts its ended calls into `graves`.
    ///
    /// # Errors
    /// When there is no descriptor left for its epoll.
    pub(crate) fn new(
        link: Arc<Link>,
        messages: Consumer<Message>,
        graves: Producer<Box<Call>>,
        janitor: Thread,
    ) -> io::Result<Self> {
        Ok(Self {
            link,
            messages,
            graves,
            janitor,
            poller: Poller::new()?,
            calls: Slab::new(),
            wheel: Wheel::new(0),
            epoch: Instant::now(),
            buffer: Box::new([0; MAX_DATAGRAM]),
            output: TickOutput::new(),
            tokens: Vec::with_capacity(1024),
            due: Vec::with_capacity(1024),
            over: Vec::with_capacity(64),
            worst: Duration::ZERO,
            window_ends: 0,
        })
    }

    /// The loop, until [`Link::stop`].
    pub(crate) fn run(mut self) {
        raise_priority();
        while !self.link.stopping.load(Ordering::Acquire) {
            let now = self.wait();
            let slot = self.slot(now);
            self.take_messages(now, slot);
            self.read(now, slot);
            self.take_turns(now, slot);
            self.clear_away();
        }
        self.end();
    }

    /// Sleeps until the next slot begins; without calls, until somebody calls.
    fn wait(&mut self) -> Instant {
        if self.calls.is_empty() {
            self.link.counters.recent_lateness_us.store(0, Ordering::Relaxed);
            while self.messages.is_empty() && !self.link.stopping.load(Ordering::Acquire) {
                std::thread::park();
            }
            // The slots slept through are nobody's.
            let now = Instant::now();
            self.due.clear();
            self.wheel.take_due(self.slot(now), &mut self.due);
            return now;
        }
        let begins = self.begin_of(self.wheel.next_slot());
        let now = Instant::now();
        if begins <= now {
            return now;
        }
        std::thread::sleep(begins - now);
        Instant::now()
    }

    fn slot(&self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.epoch).as_micros() / SLOT.as_micros()) as u64
    }

    fn begin_of(&self, slot: u64) -> Instant {
        self.epoch + Duration::from_micros(slot * SLOT.as_micros() as u64)
    }

    fn take_messages(&mut self, now: Instant, slot: u64) {
        // Bounded, so that who sends without end cannot stop the clock.
        for _ in 0..MESSAGES {
            let Ok(message) = self.messages.pop() else { break };
            match message {
                Message::Open(call) => self.open(call, slot),
                Message::Command(state, command) => {
                    self.act(&state, |call| call.handle_command(now, command));
                }
                Message::Close(state) => self.close(now, &state),
                #[cfg(test)]
                Message::Panic(state) => {
                    self.act(&state, |call| call.panics = true);
                }
            }
        }
        // After the messages: the call itself may be among them.
        if self.link.closed_unsaid.swap(false, Ordering::AcqRel) {
            for (key, call) in &mut self.calls {
                let (counters, output) = (&self.link.counters, &mut self.output);
                let last = |call: &mut Call| call.last_turn(now, output, counters);
                if call.state.is_closing() && call.guarded(counters, last) {
                    self.over.push(key);
                }
            }
        }
    }

    fn open(&mut self, mut call: Box<Call>, slot: u64) {
        call.due = wheel::first_turn(slot.max(self.wheel.next_slot()), call.place.phase as u64);
        let due = call.due;
        let state = Arc::clone(&call.state);
        let key = self.calls.insert(call);
        state.key.store(key as u32, Ordering::Release);
        self.wheel.insert(key as u64, due);
        bump(&self.link.counters.calls, 1);
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Err(error) = call.watch(&self.poller, key) {
            call.fail(&self.link.counters, format!("its sockets cannot be watched: {error}"));
            self.over.push(key);
        }
    }

    /// Does something to the call behind `state`, if it is still there.
    fn act(&mut self, state: &CallState, what: impl FnOnce(&mut Call)) {
        let key = state.key.load(Ordering::Acquire);
        if key == NOWHERE || state.is_gone() {
            return;
        }
        if let Some(call) = self.calls.get_mut(key as usize)
            && call.guarded(&self.link.counters, what)
        {
            self.over.push(key as usize);
        }
    }

    /// Ends a call now: who waits for its last event must not wait for its slot.
    fn close(&mut self, now: Instant, state: &CallState) {
        let key = state.key.load(Ordering::Acquire);
        if key == NOWHERE || state.is_gone() {
            return;
        }
        let Some(call) = self.calls.get_mut(key as usize) else { return };
        let (counters, output) = (&self.link.counters, &mut self.output);
        if call.guarded(counters, |call| call.last_turn(now, output, counters)) {
            self.over.push(key as usize);
        }
    }

    /// Drains what can be read.
    fn read(&mut self, now: Instant, slot: u64) {
        self.tokens.clear();
        // Twice the readiness of one system call a slot; level-triggered, the rest is told again.
        for _ in 0..2 {
            match self.poller.readable(&mut self.tokens) {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
        }
        for at in 0..self.tokens.len() {
            let Some(&token) = self.tokens.get(at) else { break };
            let (key, channel) = socket_of(token);
            let Some(call) = self.calls.get_mut(key) else { continue };
            let (counters, buffer) = (&self.link.counters, self.buffer.as_mut_slice());
            if call.guarded(counters, |call| call.read(now, slot, channel, buffer, counters)) {
                self.over.push(key);
            }
        }
    }

    /// Gives every call whose slot has come its turn, the oldest slot first.
    fn take_turns(&mut self, now: Instant, slot: u64) {
        self.count_lateness(now, slot);
        self.due.clear();
        self.wheel.take_due(slot, &mut self.due);
        for at in 0..self.due.len() {
            let Some(&key) = self.due.get(at) else { break };
            let Some(call) = self.calls.get_mut(key as usize) else { continue };
            let (counters, output) = (&self.link.counters, &mut self.output);
            let ended = call.guarded(counters, |call| call.turn(now, output, counters));
            if ended {
                self.over.push(key as usize);
                continue;
            }
            let (next, skipped) = wheel::next_turn(call.due, call.period(), slot);
            call.due = next;
            bump(&counters.skipped, skipped);
            self.wheel.insert(key, next);
        }
    }

    fn count_lateness(&mut self, now: Instant, slot: u64) {
        let first = self.wheel.next_slot();
        // A pause counts as the slots that it cost, but for no longer than a turn of the wheel.
        for late in first.max(slot.saturating_sub(wheel::PHASES as u64))..=slot {
            let lateness = now.saturating_duration_since(self.begin_of(late));
            self.link.counters.late(lateness);
            self.worst = self.worst.max(lateness);
        }
        if slot >= self.window_ends {
            let us = u64::try_from(self.worst.as_micros()).unwrap_or(u64::MAX);
            self.link.counters.recent_lateness_us.store(us, Ordering::Relaxed);
            self.worst = Duration::ZERO;
            self.window_ends = slot + LOAD_WINDOW;
        }
    }

    /// Hands calls that are over to the janitor.
    fn clear_away(&mut self) {
        while let Some(key) = self.over.pop() {
            let Some(call) = self.calls.try_remove(key) else { continue };
            call.unwatch(&self.poller);
            call.state.let_go();
            let calls = &self.link.counters.calls;
            calls.store(calls.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
            self.wheel.remove(key as u64, call.due);
            self.bury(call);
        }
    }

    fn bury(&mut self, call: Box<Call>) {
        let mut call = call;
        while let Err(rtrb::PushError::Full(back)) = self.graves.push(call) {
            // The janitor is far behind: better late than with a port lost.
            call = back;
            self.janitor.unpark();
            std::thread::yield_now();
        }
        self.janitor.unpark();
    }

    /// The engine stops: every call says goodbye at once.
    fn end(mut self) {
        let now = Instant::now();
        let slot = self.slot(now);
        self.take_messages(now, slot);
        let keys: Vec<usize> = self.calls.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(call) = self.calls.get_mut(key) {
                let (counters, output) = (&self.link.counters, &mut self.output);
                call.guarded(counters, |call| {
                    call.tell_to_close(now);
                    call.turn(now, output, counters);
                });
            }
            self.over.push(key);
        }
        self.clear_away();
        let janitor = self.janitor.clone();
        drop(self);
        // It sees that this end of the graves is gone.
        janitor.unpark();
    }
}

#[cfg(test)]
mod tests;
