//! The media of one call, sans-IO: packets and commands in, packets and events out.
//!
//! It knows one call from its first SDP to its end, on a clock of 8 kHz samples that starts when it
//! opens. It refuses to know sockets, threads and files, reads no clock, and allocates nothing a
//! packet after set-up. Start at [`Session::tick`]; the contract of calling it is there.

mod command;
mod output;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub use command::{
    Command, DIGIT_MS, MAX_QUEUED_DIGITS, MAX_QUEUED_PLAYBACKS, MediaEvent, PlaybackId,
};
pub use output::{Channel, MAX_PACKET, MAX_PACKETS, TickOutput, Transmit};

pub use crate::dtmf::{DigitMethod, Digits};
pub use crate::quality::Quality;

/// What a session starts with. SSRC, sequence number and timestamp must be unguessable
/// (RFC 3550 §5.1): they come from the system's random numbers but in tests.
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// Our one synchronisation source, for the life of the call.
    pub ssrc: u32,
    /// Sequence number of the first packet.
    pub sequence: u16,
    /// Timestamp of the instant of opening.
    pub timestamp: u32,
    /// Names us in RTCP (RFC 7022 short-term identifier) and spreads the times of its reports.
    pub seed: u64,
    /// Wall time of the instant of opening, since 1970 UTC; for RTCP.
    pub unix_time: Duration,
    /// Without a packet for this long after the answer: [`MediaEvent::RtpTimeout`]. `None`: never.
    pub rtp_timeout: Option<Duration>,
    /// The first stream from any address is taken, within 5 s of an SDP.
    pub learn_source: bool,
}

/// The media of one call.
#[derive(Debug)]
pub struct Session {
    #[allow(dead_code)]
    config: SessionConfig,
    events: VecDeque<MediaEvent>,
}

impl Session {
    /// A call's media, not connected yet.
    pub fn new(_now: Instant, config: SessionConfig) -> Self {
        Self { config, events: VecDeque::new() }
    }

    /// How often [`Self::tick`] wants to be called: 20 ms, or 10 ms where the agreed packet length
    /// is no multiple of 20 ms. Changes with [`Command::Connect`] only.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(20)
    }

    /// A datagram came to the RTP port. What is not the call's is counted and dropped.
    pub fn handle_packet(&mut self, _now: Instant, _from: SocketAddr, _data: &[u8]) {}

    /// A datagram came to the RTCP port.
    pub fn handle_rtcp(&mut self, _now: Instant, _from: SocketAddr, _data: &[u8]) {}

    /// The call asks for something.
    pub fn handle_command(&mut self, _now: Instant, _command: Command) {}

    /// The call's slot has come: call this every [`Self::interval`] from the opening on, after the
    /// packets that have arrived were handled. Adds what must be sent to `out`. A call that comes
    /// late by whole intervals skips them: timestamps move on, nothing is sent twice as fast.
    pub fn tick(&mut self, _now: Instant, _out: &mut TickOutput) {}

    /// What happened, oldest first. Drain it after every `handle_*` and [`Self::tick`].
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.pop_front()
    }

    /// The one address from which packets may come until the next SDP, once that is certain: a
    /// socket may be connected to it.
    pub fn latched(&self) -> Option<SocketAddr> {
        None
    }

    /// True after [`MediaEvent::Closed`] was queued: nothing more will be sent.
    pub fn is_closed(&self) -> bool {
        false
    }
}
