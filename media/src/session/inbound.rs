//! What we receive: packets of the call's far end, their audio placed, their digits told.

use std::net::SocketAddr;
use std::time::Instant;

use super::command::MediaEvent;
use super::events::Events;
use crate::codec::Codec;
use crate::dtmf::event::{Heard, Receiver};
use crate::dtmf::{self, DigitMethod, Presses, tone};
use crate::jitter::{Jitter, LAG, MAX_SAMPLES, Placed};
use crate::reception::Reception;
use crate::rtp::Packet;
use crate::sdp::{Agreed, EventFormat};
use crate::source::{Admission, Source};

/// What was dropped, and why. Counts since the opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that are no RTP.
    pub malformed: u64,
    /// Packets before the first SDP.
    pub unconnected: u64,
    /// Packets of a payload type that was not agreed.
    pub unknown_type: u64,
    /// Packets from addresses that are not the call's.
    pub strangers: u64,
    /// Packets that were watched to find the far end's port.
    pub probes: u64,
    /// Audio packets that came after their time.
    pub late: u64,
    /// Audio packets whose timestamp fits nothing, or that are longer than any packet may be.
    pub astray: u64,
    /// Datagrams that are no RTCP.
    pub rtcp_malformed: u64,
    /// RTCP from addresses that are not the call's.
    pub rtcp_strangers: u64,
    /// Digits in SIP INFO that are no digits.
    pub bad_digits: u64,
    /// Events lost because they were not drained.
    pub events_lost: u64,
}

/// The far end's media.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) source: Source,
    pub(super) jitter: Jitter,
    pub(super) reception: Reception,
    pub(super) counters: Counters,
    pub(super) codec: Option<Codec>,
    /// Audio is wanted; where it is not, it is not decoded.
    pub(super) listened: bool,
    /// When the last packet of the call came.
    pub(super) last_packet: Option<Instant>,
    /// Hears the keys in the audio, where they are listened for.
    pub(super) tones: Option<Box<tone::Detector>>,
    events: Receiver,
    presses: Presses,
}

impl Inbound {
    pub(super) fn new(learn: bool) -> Self {
        Self {
            source: Source::new(learn),
            jitter: Jitter::new(-LAG),
            reception: Reception::default(),
            counters: Counters::default(),
            codec: None,
            listened: false,
            last_packet: None,
            tones: None,
            events: Receiver::default(),
            presses: Presses::default(),
        }
    }

    /// A datagram came, at clock position `position`. True where it was the call's.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        position: i64,
        from: SocketAddr,
        data: &[u8],
        agreed: Option<&Agreed>,
        events: &mut Events,
    ) -> bool {
        let Ok(packet) = Packet::parse(data) else {
            self.counters.malformed += 1;
            return false;
        };
        let Some(agreed) = agreed else {
            self.counters.unconnected += 1;
            return false;
        };
        let payload_type = packet.header.payload_type;
        let (codec, event) = (agreed.codec(payload_type), agreed.event(payload_type));
        if codec.is_none() && event.is_none() {
            self.counters.unknown_type += 1;
            return false;
        }
        match self.source.handle_packet(now, from, packet.header.sequence) {
            Admission::Ours => {}
            Admission::Probe => {
                self.counters.probes += 1;
                return false;
            }
            Admission::Stranger => {
                self.counters.strangers += 1;
                return false;
            }
        }
        self.last_packet = Some(now);
        let header = packet.header;
        // Events keep the timestamp of their beginning: no measure of jitter.
        let timestamp = codec.map(|_| header.timestamp);
        self.reception.handle_packet(position, header.ssrc, header.sequence, timestamp);
        match (codec, event) {
            (Some(codec), _) => self.handle_audio(position, &packet, codec),
            (None, Some(format)) => self.handle_event(now, &packet, format, events),
            (None, None) => {}
        }
        true
    }

    /// A digit came in a SIP INFO.
    pub(super) fn handle_info(
        &mut self,
        now: Instant,
        digit: char,
        duration_ms: u32,
        events: &mut Events,
    ) {
        let Some(digit) = dtmf::code(digit).and_then(dtmf::key) else {
            self.counters.bad_digits += 1;
            return;
        };
        let method = DigitMethod::Info;
        if self.presses.handle(now, digit, method) {
            events.push(MediaEvent::Digit { digit, method, duration_ms });
        }
    }

    /// A frame of the far end's audio, in the order of its clock.
    pub(super) fn handle_frame(&mut self, now: Instant, frame: &[i16], events: &mut Events) {
        let Some(tones) = &mut self.tones else { return };
        let (presses, method) = (&mut self.presses, DigitMethod::Inband);
        tones.push(frame, |heard| match heard {
            tone::Heard::Pressed { digit, duration_ms, .. } => {
                if presses.handle(now, digit, method) {
                    events.push(MediaEvent::Digit { digit, method, duration_ms });
                }
            }
            tone::Heard::Released { .. } => {}
        });
        if let Some(digit) = tones.down() {
            presses.handle_continued(now, digit, method);
        }
    }

    /// We send this key as a tone, and its echo is none of the far end's.
    pub(super) fn handle_sent(&mut self, now: Instant, digit: char) {
        if self.tones.is_some() {
            self.presses.handle_sent(now, digit);
        }
    }

    fn handle_audio(&mut self, position: i64, packet: &Packet<'_>, codec: Codec) {
        self.codec = Some(codec);
        if packet.payload.len() > MAX_SAMPLES {
            self.counters.astray += 1;
            return;
        }
        if !self.listened {
            return;
        }
        let mut audio = [0; MAX_SAMPLES];
        let len = codec.decode(packet.payload, &mut audio);
        let audio = audio.get(..len).unwrap_or(&[]);
        let header = packet.header;
        let placed =
            self.jitter.place(position, header.ssrc, header.sequence, header.timestamp, audio);
        match placed {
            Placed::InTime => {}
            Placed::Late => self.counters.late += 1,
            Placed::Astray => self.counters.astray += 1,
        }
    }

    fn handle_event(
        &mut self,
        now: Instant,
        packet: &Packet<'_>,
        format: EventFormat,
        events: &mut Events,
    ) {
        let header = packet.header;
        let method = DigitMethod::Rfc4733;
        let presses = &mut self.presses;
        self.events.handle_packet(
            header.ssrc,
            header.timestamp,
            packet.payload,
            format.clock,
            |heard| match heard {
                Heard::Pressed { digit, duration_ms } => {
                    if presses.handle(now, digit, method) {
                        events.push(MediaEvent::Digit { digit, method, duration_ms });
                    }
                }
                Heard::Continued { digit } => presses.handle_continued(now, digit, method),
                Heard::Nothing => {}
            },
        );
    }
}
