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
//! is called. Start at [`Worker::run`].
#![allow(clippy::disallowed_methods, reason = "a driver: it keeps the time of the slots")]

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};
use slab::Slab;

use crate::engine::Place;
use crate::net::{MAX_DATAGRAM, Poller, Socket, raise_priority};
use crate::session::{Channel, Command, MediaEvent, Session, TickOutput};
use crate::wheel::{self, SLOT, Wheel};

pub(crate) mod counters;
pub(crate) mod events;

use counters::{Counters, bump};
use events::Events;

/// Messages that wait for one worker. They are taken every 2 ms: more than this means that the
/// worker stands still, and who sends is told.
pub(crate) const MESSAGES: usize = 2048;

/// Datagrams taken from one socket in one slot when the slot before had some too; else one. A call
/// sends one in 20 ms, and a flood of 4 000 a second must not make the others wait.
const BURST: usize = 8;

/// Turns that a session gets to say goodbye after it was told to close.
const CLOSING_TURNS: u32 = 50;

/// Slots in the window of the load signal: one second.
const LOAD_WINDOW: u64 = 500;

/// What the control side sends.
#[allow(clippy::large_enum_variant, reason = "in its place in the ring: nothing to free here")]
pub(crate) enum Message {
    /// A new call. From here on it is the worker's.
    Open(Box<Call>),
    /// A command for a call.
    Command(Arc<CallState>, Command),
    /// [`CallState::close`] was called.
    Close(Arc<CallState>),
    /// Makes the call's next turn panic.
    #[cfg(test)]
    Panic(Arc<CallState>),
}

/// What the control side and the worker both know of a call.
#[derive(Debug)]
pub(crate) struct CallState {
    /// Where the worker keeps it; [`NOWHERE`] before it has come.
    key: AtomicU32,
    closing: AtomicBool,
    gone: AtomicBool,
}

/// No key of a call.
const NOWHERE: u32 = u32::MAX;

impl Default for CallState {
    fn default() -> Self {
        Self { key: AtomicU32::new(NOWHERE), closing: false.into(), gone: false.into() }
    }
}

impl CallState {
    /// The call must end, also where no message can tell so.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// The worker has let the call go.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// The control side's end of one worker.
pub(crate) struct Link {
    messages: Mutex<Producer<Message>>,
    thread: OnceLock<Thread>,
    stopping: AtomicBool,
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

/// A call as its worker has it.
pub(crate) struct Call {
    session: Session,
    /// By [`Channel`].
    sockets: [Socket; 2],
    /// The source that the session had latched when we looked last.
    followed: Option<SocketAddr>,
    /// The source to which the RTP socket is connected.
    connected: Option<SocketAddr>,
    /// By channel, the last slot in which something was received.
    received_in: [u64; 2],
    events: Events,
    state: Arc<CallState>,
    pub(crate) place: Place,
    /// The slot of its next turn.
    due: u64,
    closing_turns: u32,
    told_to_close: bool,
    /// Takes no part any more; cleared away at the end of the slot.
    over: bool,
    #[cfg(test)]
    panics: bool,
}

impl Call {
    /// A call on its way to a worker; `sockets` are RTP and RTCP.
    pub(crate) fn new(
        session: Session,
        sockets: [Socket; 2],
        events: Events,
        state: Arc<CallState>,
        place: Place,
    ) -> Self {
        Self {
            session,
            sockets,
            followed: None,
            connected: None,
            received_in: [0; 2],
            events,
            state,
            place,
            due: 0,
            closing_turns: 0,
            told_to_close: false,
            over: false,
            #[cfg(test)]
            panics: false,
        }
    }

    /// Its way to the task, and the rest to be dropped.
    pub(crate) fn dismantle(self) -> (Events, impl Sized) {
        (self.events, (self.session, self.sockets))
    }

    fn socket(&self, channel: Channel) -> &Socket {
        let [rtp, rtcp] = &self.sockets;
        match channel {
            Channel::Rtp => rtp,
            Channel::Rtcp => rtcp,
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
            return Instant::now();
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
            let Ok(message) = self.messages.pop() else { return };
            match message {
                Message::Open(call) => self.open(call, slot),
                Message::Command(state, command) => {
                    self.act(&state, |call| call.session.handle_command(now, command));
                }
                Message::Close(state) => {
                    self.act(&state, |call| call.tell_to_close(now));
                }
                #[cfg(test)]
                Message::Panic(state) => {
                    self.act(&state, |call| call.panics = true);
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
        for (channel, socket) in call.sockets.iter().enumerate() {
            if let Err(error) = self.poller.add(socket, token(key, channel)) {
                let reason = format!("its socket cannot be watched: {error}");
                call.fail(&self.link.counters, reason);
                self.over.push(key);
                return;
            }
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
            let (key, channel) =
                (token >> 1, if token & 1 == 0 { Channel::Rtp } else { Channel::Rtcp });
            let Some(call) = self.calls.get_mut(key as usize) else { continue };
            let (counters, buffer) = (&self.link.counters, self.buffer.as_mut_slice());
            if call.guarded(counters, |call| call.read(now, slot, channel, buffer, counters)) {
                self.over.push(key as usize);
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
            let period = wheel::period_slots(call.session.interval().as_millis() as u32);
            let (next, skipped) = wheel::next_turn(call.due, period, slot);
            call.due = next;
            bump(&counters.skipped, skipped);
            if ended {
                self.over.push(key as usize);
            } else {
                self.wheel.insert(key, next);
            }
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
            for socket in &call.sockets {
                self.poller.remove(socket);
            }
            call.state.gone.store(true, Ordering::Release);
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
                call.state.close();
                let (counters, output) = (&self.link.counters, &mut self.output);
                call.guarded(counters, |call| call.turn(now, output, counters));
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

impl Call {
    /// Does `what`, passes the events on, and tells whether the call is over: its session has
    /// closed, or has panicked and is never asked again.
    fn guarded(&mut self, counters: &Counters, what: impl FnOnce(&mut Self)) -> bool {
        if self.over {
            return true;
        }
        let done = catch_unwind(AssertUnwindSafe(|| {
            what(self);
            while let Some(event) = self.session.poll_event() {
                bump(&counters.events_dropped, self.events.push(event));
            }
            self.over |= self.session.is_closed();
        }));
        if done.is_err() {
            bump(&counters.panics, 1);
            self.fail(counters, "a panic in its media".to_owned());
        }
        self.over
    }

    fn fail(&mut self, counters: &Counters, reason: String) {
        self.over = true;
        bump(&counters.events_dropped, self.events.push(MediaEvent::Failed { reason }));
    }

    fn tell_to_close(&mut self, now: Instant) {
        if !self.told_to_close {
            self.told_to_close = true;
            self.session.handle_command(now, Command::Close);
        }
    }

    fn read(
        &mut self,
        now: Instant,
        slot: u64,
        channel: Channel,
        buffer: &mut [u8],
        counters: &Counters,
    ) {
        let index = channel as usize;
        let before = self.received_in.get_mut(index).map_or(0, |at| std::mem::replace(at, slot));
        let most = if before + 1 == slot { BURST } else { 1 };
        for _ in 0..most {
            // With the source also where connected: what a stranger had sent before is still there.
            let Ok((length, from)) = self.socket(channel).receive(buffer) else { return };
            bump(&counters.received, 1);
            let Some(datagram) = buffer.get(..length) else { return };
            match channel {
                Channel::Rtp => self.session.handle_packet(now, from, datagram),
                Channel::Rtcp => self.session.handle_rtcp(now, from, datagram),
            }
            self.follow_source();
        }
    }

    /// Connects the RTP socket to the source once that is certain, so that the kernel drops
    /// strangers; an SDP that opens the question again disconnects it.
    fn follow_source(&mut self) {
        let latched = self.session.latched();
        if latched == self.followed {
            return;
        }
        self.followed = latched;
        let socket = self.socket(Channel::Rtp);
        let done = match latched {
            Some(source) => socket.connect(source),
            None => socket.disconnect(),
        };
        // If it cannot be connected the session alone drops strangers.
        self.connected = latched.filter(|_| done.is_ok());
    }

    fn turn(&mut self, now: Instant, output: &mut TickOutput, counters: &Counters) {
        #[cfg(test)]
        assert!(!self.panics, "asked for by a test");
        if self.state.closing.load(Ordering::Acquire) {
            self.tell_to_close(now);
            self.closing_turns += 1;
            self.over |= self.closing_turns > CLOSING_TURNS;
        }
        self.events.flush();
        self.follow_source();
        output.clear();
        self.session.tick(now, output);
        for packet in output.packets() {
            let connected = packet.channel == Channel::Rtp && self.connected == Some(packet.to);
            match self.socket(packet.channel).send(packet.to, connected, packet.data) {
                Ok(_) => bump(&counters.sent, 1),
                Err(_) => bump(&counters.send_errors, 1),
            }
        }
    }
}

/// Names a socket to the poller. A slab key is used again only after its sockets have been taken
/// off the poller, at the end of a slot: no token outlives its call.
fn token(key: usize, channel: usize) -> u64 {
    (key as u64) << 1 | channel as u64
}
