//! One call as its worker has it: its session, its sockets, its way to its task.
//!
//! It knows how a packet gets from a socket into the session and from the session to a socket, and
//! that a session may panic. It refuses to know other calls and when it is whose turn. What
//! [`super`] may not do holds here as well. Start at [`Call::guarded`].

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use super::counters::{Counters, bump};
use super::events::Events;
use crate::engine::Place;
use crate::net::{Poller, Socket};
use crate::session::{Channel, Command, MediaEvent, Session, TickOutput};
use crate::wheel;

/// Datagrams taken from one socket in one slot when the slot before had some too; else one. A call
/// sends one in 20 ms, and a flood of 4 000 a second must not make the others wait.
const BURST: usize = 8;

/// Turns that a session gets to say goodbye after it was told to close.
const CLOSING_TURNS: u32 = 50;

/// What the control side and the worker both know of a call.
#[derive(Debug)]
pub(crate) struct CallState {
    /// Where the worker keeps it; [`NOWHERE`] before it has come.
    pub(super) key: AtomicU32,
    closing: AtomicBool,
    gone: AtomicBool,
}

/// No key of a call.
pub(super) const NOWHERE: u32 = u32::MAX;

impl Default for CallState {
    fn default() -> Self {
        Self { key: AtomicU32::new(NOWHERE), closing: false.into(), gone: false.into() }
    }
}

impl CallState {
    /// The call must end, also where no message can tell so.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// [`Self::close`] was called.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The worker lets the call go.
    pub(super) fn let_go(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// The worker has let the call go.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// A call as its worker has it.
pub(crate) struct Call {
    session: Session,
    /// By [`Channel`].
    sockets: [Socket; 2],
    /// What the session said of its source when we looked last.
    followed: Option<SocketAddr>,
    /// The source to which the RTP socket is connected.
    connected: Option<SocketAddr>,
    /// By channel, the last slot in which something was received.
    received_in: [u64; 2],
    events: Events,
    pub(super) state: Arc<CallState>,
    pub(crate) place: Place,
    /// The slot of its next turn.
    pub(super) due: u64,
    closing_turns: u32,
    told_to_close: bool,
    /// Takes no part any more; cleared away at the end of the slot.
    over: bool,
    #[cfg(test)]
    pub(super) panics: bool,
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

    /// Puts its sockets on the poller under `key`.
    ///
    /// # Errors
    /// That of `epoll_ctl`.
    pub(super) fn watch(&self, poller: &Poller, key: usize) -> io::Result<()> {
        let [rtp, rtcp] = &self.sockets;
        poller.add(rtp, token(key, Channel::Rtp))?;
        poller.add(rtcp, token(key, Channel::Rtcp))
    }

    /// Takes its sockets off the poller.
    pub(super) fn unwatch(&self, poller: &Poller) {
        self.sockets.iter().for_each(|socket| poller.remove(socket));
    }

    /// How many slots there are between two turns.
    pub(super) fn period(&self) -> u64 {
        wheel::period_slots(self.session.interval().as_millis() as u32)
    }

    /// Hands a command to the session.
    pub(super) fn handle_command(&mut self, now: Instant, command: Command) {
        self.session.handle_command(now, command);
    }

    /// Its way to the task, and the rest to be dropped.
    pub(crate) fn dismantle(self) -> (Events, impl Sized) {
        (self.events, (self.session, self.sockets))
    }

    /// Does `what`, passes the events on, and tells whether the call is over: its session has
    /// closed, or has panicked and is never asked again.
    pub(super) fn guarded(&mut self, counters: &Counters, what: impl FnOnce(&mut Self)) -> bool {
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

    pub(super) fn fail(&mut self, counters: &Counters, reason: String) {
        self.over = true;
        bump(&counters.events_dropped, self.events.push(MediaEvent::Failed { reason }));
    }

    pub(super) fn tell_to_close(&mut self, now: Instant) {
        if !self.told_to_close {
            self.told_to_close = true;
            self.session.handle_command(now, Command::Close);
        }
    }

    /// Closes the session and sends what must still go, outside of the call's slot.
    pub(super) fn last_turn(&mut self, now: Instant, output: &mut TickOutput, counters: &Counters) {
        self.tell_to_close(now);
        self.turn(now, output, counters);
    }

    pub(super) fn read(
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
            self.follow_source(now);
        }
    }

    /// Connects the RTP socket to the source while there is but one, so that the kernel drops
    /// strangers and keeps the route; a silence or an SDP that opens the question disconnects it.
    fn follow_source(&mut self, now: Instant) {
        let source = self.session.sole_source(now);
        if source == self.followed {
            return;
        }
        self.followed = source;
        let socket = self.socket(Channel::Rtp);
        let done = match source {
            Some(source) => socket.connect(source),
            None => socket.disconnect(),
        };
        // If it cannot be connected the session alone drops strangers.
        self.connected = source.filter(|_| done.is_ok());
    }

    pub(super) fn turn(&mut self, now: Instant, output: &mut TickOutput, counters: &Counters) {
        #[cfg(test)]
        assert!(!self.panics, "asked for by a test");
        if self.told_to_close {
            self.closing_turns += 1;
            if self.closing_turns > CLOSING_TURNS {
                return self.fail(counters, "its session does not close".to_owned());
            }
        }
        self.events.flush();
        self.follow_source(now);
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

    fn socket(&self, channel: Channel) -> &Socket {
        let [rtp, rtcp] = &self.sockets;
        match channel {
            Channel::Rtp => rtp,
            Channel::Rtcp => rtcp,
        }
    }
}

/// Names a socket to the poller. A key is used again only after the sockets have been taken off the
/// poller, at the end of a slot: no token outlives its call.
fn token(key: usize, channel: Channel) -> u64 {
    (key as u64) << 1 | channel as u64
}

/// What [`token`] was made of.
pub(super) fn socket_of(token: u64) -> (usize, Channel) {
    let channel = if token & 1 == 0 { Channel::Rtp } else { Channel::Rtcp };
    ((token >> 1) as usize, channel)
}
