//! The media of one call, sans-IO: packets and commands in, packets and events out.
//!
//! It knows one call from its first SDP to its end, on a clock of 8 kHz samples that starts when it
//! opens. It refuses to know sockets, threads and files, reads no clock, and allocates nothing a
//! packet after set-up. Start at [`Session::tick`]; the contract of calling it is there.
//!
//! ```text
//!  handle_packet ─► source ─► jitter ─────── 68 ms later ──► AMD
//!                       │                                └─► recording ◄─ own voice
//!                       └─► events ─► presses ─► Digit   └─► tones ─► presses ─► Digit
//!  handle_command ─► playlist, digits ─► tick ─► packets
//! ```
#![warn(clippy::indexing_slicing)]

mod command;
mod events;
mod fuzz;
mod hearing;
mod inbound;
mod outbound;
mod output;
mod playlist;
mod reports;
mod slots;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

pub use command::{
    Command, DIGIT_MS, MAX_QUEUED_DIGITS, MAX_QUEUED_PLAYBACKS, MediaEvent, PlaybackId,
};
#[doc(hidden)]
pub use fuzz::fuzz_rtp;
pub use inbound::Counters;
pub use output::{Channel, MAX_PACKET, MAX_PACKETS, TickOutput, Transmit};

pub use crate::dtmf::{DigitMethod, Digits, Listening};
pub use crate::quality::Quality;

use crate::amd;
use crate::jitter::{HOLD, LAG};
use crate::mix::OwnVoice;
use crate::quality;
use crate::sdp::{Agreed, Direction};
use events::Events;
use hearing::{Amd, Recording, tell};
use inbound::Inbound;
use outbound::{Outbound, Sink};
use reports::Reports;
use slots::{Slot, SlotClock};

/// Samples of a slot of 20 ms, and of one of 10 ms.
const LONG_SLOT: i64 = 160;
const SHORT_SLOT: i64 = 80;

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
    /// How keys are listened for.
    pub dtmf: Listening,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not answered.
    Early,
    Answered,
    /// [`Command::Close`] came; the last packets go with the next tick.
    Closing,
    Closed,
}

/// The media of one call.
#[derive(Debug)]
pub struct Session {
    rtp_timeout: Option<Duration>,
    dtmf: Listening,
    stage: Stage,
    agreed: Option<Agreed>,
    clock: SlotClock,
    /// The far end's audio before this clock position has been read; `None` before the first tick.
    heard_until: Option<i64>,
    /// Something of the far end's audio was heard.
    heard_any: bool,
    inbound: Inbound,
    outbound: Outbound,
    voice: OwnVoice,
    recording: Option<Recording>,
    amd: Amd,
    reports: Reports,
    /// The RTP watchdog counts from here; `None`: it does not count.
    watch_from: Option<Instant>,
    events: Events,
}

impl Session {
    /// A call's media, not connected yet.
    pub fn new(now: Instant, config: SessionConfig) -> Self {
        Self {
            rtp_timeout: config.rtp_timeout,
            dtmf: config.dtmf,
            stage: Stage::Early,
            agreed: None,
            clock: SlotClock::new(now),
            heard_until: None,
            heard_any: false,
            inbound: Inbound::new(config.learn_source),
            outbound: Outbound::new(&config),
            voice: OwnVoice::new(0),
            recording: None,
            amd: Amd::Off,
            reports: Reports::new(now, &config),
            watch_from: None,
            events: Events::new(),
        }
    }

    /// How often [`Self::tick`] wants to be called: 20 ms, or 10 ms where the agreed packet length
    /// is no multiple of 20 ms. Changes with [`Command::Connect`] only.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.slot_length() as u64 / 8)
    }

    /// A datagram came to the RTP port. What is not the call's is counted and dropped.
    pub fn handle_packet(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        if matches!(self.stage, Stage::Closing | Stage::Closed) {
            return;
        }
        let first = self.inbound.last_packet.is_none();
        let position = self.clock.position(now);
        self.inbound.listened = self.is_listened_to();
        let agreed = self.agreed.as_ref();
        let taken = self.inbound.handle_packet(now, position, from, data, agreed, &mut self.events);
        if !taken {
            return;
        }
        if first && self.stage == Stage::Early {
            self.events.push(MediaEvent::EarlyMedia);
        }
        if self.stage == Stage::Answered && self.is_watched() {
            self.watch_from = Some(now);
        }
    }

    /// A datagram came to the RTCP port. What is not the call's is counted and dropped.
    pub fn handle_rtcp(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        let expected = self.inbound.source.destination();
        if expected.is_none_or(|peer| peer.ip().to_canonical() != from.ip().to_canonical()) {
            self.inbound.counters.rtcp_strangers += 1;
        } else if self.reports.handle(now, data).is_err() {
            self.inbound.counters.rtcp_malformed += 1;
        }
    }

    /// The call asks for something. Commands after [`Command::Close`] do nothing.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        if matches!(self.stage, Stage::Closing | Stage::Closed) {
            return;
        }
        match command {
            Command::LearnSource(learn) => self.inbound.source.set_learn(learn),
            Command::Connect { agreed, signalling } => self.connect(now, agreed, signalling),
            Command::Answered => self.answer(now),
            Command::Play { id, audio, in_recording } => {
                let refused = self.outbound.playlist.push(id, audio, in_recording);
                refused.into_iter().for_each(|event| self.events.push(event));
            }
            Command::StopPlayback(which) => {
                self.outbound.playlist.stop(which, |event| self.events.push(event));
            }
            Command::SendDigits { digits, duration_ms, gap_ms } => {
                self.send_digits(digits, duration_ms, gap_ms);
            }
            Command::InfoDigit { digit, duration_ms } => {
                self.inbound.handle_info(now, digit, duration_ms, &mut self.events);
            }
            Command::StartRecording(tap) => {
                let answered = self.stage == Stage::Answered;
                let from = answered.then(|| self.clock.position(now));
                self.begin_listening();
                self.recording = Some(Recording { tap, from, until: None });
            }
            Command::StopRecording => self.stop_recording(now),
            Command::StartAmd(params) => {
                self.begin_listening();
                self.amd = Amd::Waiting(params);
                if self.stage == Stage::Answered {
                    self.listen(now);
                }
            }
            Command::Close => self.stage = Stage::Closing,
        }
    }

    /// The call's slot has come: call this every [`Self::interval`] from the opening on, after the
    /// packets that have arrived were handled. Adds what must be sent to `out`. A call that comes
    /// late by whole intervals skips them: timestamps move on, nothing is sent twice as fast.
    pub fn tick(&mut self, now: Instant, out: &mut TickOutput) {
        match self.stage {
            Stage::Closed => return,
            Stage::Closing => return self.close(now, out),
            Stage::Early | Stage::Answered => {}
        }
        let step = self.slot_length();
        let Some(slot) = self.clock.tick(now, step) else { return };
        self.hear(now, slot.position - LAG, step);
        self.poll_amd_timeout(now);
        if self.stage == Stage::Answered {
            self.send(now, slot, out);
            self.watch(now);
        }
    }

    /// What happened, oldest first. Drain it after every `handle_*` and [`Self::tick`].
    pub fn poll_event(&mut self) -> Option<MediaEvent> {
        self.events.poll()
    }

    /// The one address from which packets are taken at `now`, if there is but one: a socket may be
    /// connected to it as long as this says so.
    pub fn sole_source(&self, now: Instant) -> Option<SocketAddr> {
        self.inbound.source.sole(now)
    }

    /// Where our packets go; `None` before the first SDP.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.inbound.source.destination()
    }

    /// What was dropped so far, and why.
    pub fn counters(&self) -> Counters {
        Counters { events_lost: self.events.lost, ..self.inbound.counters }
    }

    /// How the call has sounded so far.
    pub fn quality(&self) -> Quality {
        let loss_percent = self.inbound.reception.loss_percent();
        let rtt_ms = self.reports.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0);
        let packet = self.agreed.as_ref().map_or(20.0, |agreed| f64::from(agreed.ptime_ms));
        let delay = rtt_ms.unwrap_or(0.0) / 2.0 + HOLD as f64 / 8.0 + packet;
        let sent = self.outbound.sent(0).packets;
        let far_loss = |lost: i32| 100.0 * f64::from(lost.max(0)) / sent.max(1) as f64;
        Quality {
            codec: self.inbound.codec,
            mos: self.inbound.codec.map(|_| quality::mean_opinion_score(loss_percent, delay)),
            loss_percent,
            jitter_ms: self.inbound.reception.jitter() / 8.0,
            rtt_ms,
            sent,
            received: self.inbound.reception.received(),
            far_loss_percent: self.reports.far_lost.map(|lost| far_loss(lost).min(100.0)),
        }
    }

    /// True after [`MediaEvent::Closed`] was queued: nothing more will be sent.
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// The far end holds us: we send nothing, and need not be sent anything.
    fn is_held(&self) -> bool {
        self.agreed.as_ref().is_none_or(Agreed::is_held)
    }

    /// The far end has to send: it neither holds us nor only listens (RFC 3264 §5.1).
    fn is_watched(&self) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.direction == Direction::SendRecv)
    }

    fn slot_length(&self) -> i64 {
        match self.agreed {
            Some(agreed) if agreed.ptime_ms % 20 != 0 => SHORT_SLOT,
            _ => LONG_SLOT,
        }
    }

    fn connect(&mut self, now: Instant, agreed: Agreed, signalling: IpAddr) {
        self.inbound.source.connect(now, agreed.remote, signalling);
        let was_watched = self.is_watched();
        self.agreed = Some(agreed);
        self.listen_for_tones(&agreed);
        if self.is_held() {
            self.outbound.pause();
        }
        if !self.is_watched() {
            self.watch_from = None;
        } else if !was_watched && self.stage == Stage::Answered {
            self.watch_from = Some(now);
        }
    }

    fn answer(&mut self, now: Instant) {
        if self.stage != Stage::Early {
            return;
        }
        self.stage = Stage::Answered;
        self.reports.start(now);
        if self.is_watched() {
            self.watch_from = Some(now);
        }
        let position = self.clock.position(now);
        if let Some(recording) = &mut self.recording {
            recording.from.get_or_insert(position);
        }
        self.listen(now);
    }

    fn listen(&mut self, now: Instant) {
        if let Amd::Waiting(params) = self.amd {
            let detector = Box::new(amd::Detector::new(now, params));
            let from = self.clock.position(now);
            self.amd = Amd::Listening { detector, framer: Box::default(), from, told: false };
        }
    }

    fn send_digits(&mut self, digits: Digits, duration_ms: u16, gap_ms: u16) {
        let bounded = |ms: u16| ms.clamp(*DIGIT_MS.start(), *DIGIT_MS.end());
        let queued = match self.agreed.is_some() {
            true => self.outbound.digits.push(digits, bounded(duration_ms), bounded(gap_ms)),
            false => Err(digits),
        };
        if let Err(digits) = queued {
            self.events.push(MediaEvent::DigitsSent { digits, completed: false });
        }
    }

    fn stop_recording(&mut self, now: Instant) {
        let position = self.clock.position(now);
        match &mut self.recording {
            Some(recording) if recording.from.is_some() => {
                recording.until.get_or_insert(position);
            }
            _ => self.recording = None,
        }
    }

    fn send(&mut self, now: Instant, slot: Slot, out: &mut TickOutput) {
        let Some(mut sink) = self.sink(out) else { return };
        if !sink.agreed.is_held() {
            self.outbound.handle_slot(slot, &mut sink, &mut self.voice, &mut self.events);
            for digit in self.outbound.take_tones() {
                self.inbound.handle_sent(now, digit);
            }
        }
        if self.reports.is_due(now) {
            self.report(now, slot.position, false, out);
        }
    }

    /// Where packets go; `None` where nothing can be sent.
    fn sink<'a>(&self, out: &'a mut TickOutput) -> Option<Sink<'a>> {
        let to = self.inbound.source.destination()?;
        let reachable = !to.ip().is_unspecified() && to.port() != 0;
        self.agreed.filter(|_| reachable).map(|agreed| Sink { agreed, to, out })
    }

    fn report(&mut self, now: Instant, position: i64, goodbye: bool, out: &mut TickOutput) {
        let Some(sink) = self.sink(out) else { return };
        let rtcp = sink.agreed.remote_rtcp;
        let Some(to) = self.inbound.source.rtcp_destination(rtcp) else { return };
        let sent = self.outbound.sent(position);
        let reception = &mut self.inbound.reception;
        let reports = &mut self.reports;
        out.push(Channel::Rtcp, to, |buffer| reports.write(now, sent, reception, goodbye, buffer));
    }

    fn watch(&mut self, now: Instant) {
        let timed_out = self
            .watch_from
            .zip(self.rtp_timeout)
            .is_some_and(|(from, limit)| now.saturating_duration_since(from) >= limit);
        if timed_out {
            self.watch_from = None;
            self.events.push(MediaEvent::RtpTimeout);
        }
    }

    /// Hears what has come, sends what must still go, tells the end.
    fn close(&mut self, now: Instant, out: &mut TickOutput) {
        let position = self.clock.position(now);
        let answered = self.recording.as_ref().is_some_and(|r| r.from.is_some());
        if let Some(at) = self.heard_until.filter(|_| answered) {
            // The tail without its hold: the call has no more time to wait in.
            self.hear(now, position, (position - at).clamp(1, LONG_SLOT));
            let at = self.heard_until.unwrap_or(position);
            if at < position {
                self.hear_frame(now, at, position - at);
            }
        }
        self.recording = None;
        if let Amd::Listening { detector, told, .. } = &mut self.amd {
            tell(detector.handle_hangup(now), told, &mut self.events);
        }
        let mut sink = self.sink(out);
        self.outbound.close(position, sink.as_mut(), &mut self.events);
        if self.outbound.sent(position).packets > 0 {
            self.report(now, position, true, out);
        }
        self.stage = Stage::Closed;
        let quality = self.quality();
        self.events.push(MediaEvent::Closed(quality));
    }
}
