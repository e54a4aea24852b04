//! What we send: one packet for each packet time from the answer on, silence where nothing else is.

use std::net::SocketAddr;

use super::SessionConfig;
use super::command::MediaEvent;
use super::events::Events;
use super::output::{Channel, TickOutput};
use super::playlist::Playlist;
use crate::dtmf::event::Report;
use crate::dtmf::send::{EventPacket, Sender, Slot};
use crate::mix::OwnVoice;
use crate::rtp::Header;
use crate::sdp::{Agreed, EventFormat};

/// Samples of the longest packet that is agreed: 60 ms.
const MAX_SAMPLES: usize = 480;

/// Samples in a millisecond.
const PER_MS: i64 = 8;

/// What is agreed, where it goes, and the place for it.
pub(super) struct Sink<'a> {
    pub(super) agreed: Agreed,
    pub(super) to: SocketAddr,
    pub(super) out: &'a mut TickOutput,
}

/// What was sent so far, as sender reports have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// The stream's timestamp now.
    pub(super) timestamp: u32,
    pub(super) packets: u64,
    /// Payload octets.
    pub(super) octets: u64,
}

/// What of digits goes in a packet.
enum Digit {
    /// Nothing: other audio goes.
    None,
    /// A tone or a pause.
    Audio,
    /// An event.
    Event(EventPacket, EventFormat),
}

/// The stream we send. Its timestamps are the call's clock, whatever its packets hold.
#[derive(Debug)]
pub(super) struct Outbound {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// The next packet begins a talkspurt: packets were missing before it.
    marker: bool,
    /// Clock position of the next packet; `None` begins with the next slot.
    next: Option<i64>,
    pub(super) playlist: Playlist,
    pub(super) digits: Sender,
    packets: u64,
    octets: u64,
}

impl Outbound {
    pub(super) fn new(config: &SessionConfig) -> Self {
        Self {
            ssrc: config.ssrc,
            sequence: config.sequence,
            timestamp: config.timestamp,
            marker: true,
            next: None,
            playlist: Playlist::new(),
            digits: Sender::default(),
            packets: 0,
            octets: 0,
        }
    }

    /// The stream's timestamp at a clock position.
    fn timestamp_at(&self, position: i64) -> u32 {
        self.timestamp.wrapping_add(position as u32)
    }

    /// The far end holds us: nothing goes, and what goes next begins a talkspurt.
    pub(super) fn pause(&mut self) {
        self.next = None;
        self.marker = true;
    }

    /// A slot has come: sends the packet whose time it is.
    pub(super) fn handle_slot(
        &mut self,
        slot: super::Slot,
        sink: &mut Sink<'_>,
        voice: &mut OwnVoice,
        events: &mut Events,
    ) {
        if self.next.is_some_and(|next| slot.position < next) {
            return;
        }
        self.marker |= slot.skipped > 0;
        let length = i64::from(sink.agreed.ptime_ms) * PER_MS;
        self.next = Some(slot.position + length);
        let (mut heard, mut recorded) = ([0; MAX_SAMPLES], [0; MAX_SAMPLES]);
        let samples = (length as usize).min(MAX_SAMPLES);
        let heard = heard.get_mut(..samples).unwrap_or_default();
        match self.poll_digits(slot.position, heard, sink.agreed.event_send, events) {
            Digit::Event(packet, format) => return self.send_event(packet, format, sink),
            Digit::Audio => {}
            Digit::None => {
                let recorded = recorded.get_mut(..samples).unwrap_or_default();
                self.playlist.play(heard, recorded, |event| events.push(event));
                voice.write(slot.position, recorded);
            }
        }
        self.send_audio(slot.position, heard, sink);
    }

    /// The keys that went out as tones in this packet.
    pub(super) fn take_tones(&mut self) -> impl Iterator<Item = char> + use<> {
        self.digits.take_sounded()
    }

    /// The call ends: a key that is down is let go, and what was not sent is told.
    pub(super) fn close(
        &mut self,
        position: i64,
        sink: Option<&mut Sink<'_>>,
        events: &mut Events,
    ) {
        if let Some(sink) = sink
            && let Some(format) = sink.agreed.event_send
            && let Some(packet) = self.digits.hang_up(self.timestamp_at(position), format.clock)
        {
            for _ in 0..Sender::ENDINGS {
                self.send_event(packet, format, sink);
            }
        }
        self.abandon_digits(events);
        self.playlist.stop(None, |event| events.push(event));
    }

    /// What sender reports count, at a clock position.
    pub(super) fn sent(&self, position: i64) -> Sent {
        let timestamp = self.timestamp_at(position);
        Sent { timestamp, packets: self.packets, octets: self.octets }
    }

    /// What of digits goes in the packet that begins at `position`; tones are written to `audio`.
    fn poll_digits(
        &mut self,
        position: i64,
        audio: &mut [i16],
        format: Option<EventFormat>,
        events: &mut Events,
    ) -> Digit {
        let timestamp = self.timestamp_at(position);
        let sent = |digits| events.push(MediaEvent::DigitsSent { digits, completed: true });
        let Some(format) = format else {
            return match self.digits.render(timestamp, audio, sent) {
                true => Digit::Audio,
                false => Digit::None,
            };
        };
        match self.digits.poll_event(timestamp, audio.len() as u32, format.clock, sent) {
            Slot::Event(packet) => Digit::Event(packet, format),
            Slot::Pause => Digit::Audio,
            Slot::Free => Digit::None,
        }
    }

    fn abandon_digits(&mut self, events: &mut Events) {
        for digits in self.digits.drain() {
            events.push(MediaEvent::DigitsSent { digits, completed: false });
        }
    }

    fn send_audio(&mut self, position: i64, audio: &[i16], sink: &mut Sink<'_>) {
        let header = self.header(sink.agreed.send_pt, self.marker, self.timestamp_at(position));
        let codec = sink.agreed.send;
        self.send(header, sink, |payload| Some(codec.encode(audio, payload)));
        self.marker = false;
    }

    fn send_event(&mut self, packet: EventPacket, format: EventFormat, sink: &mut Sink<'_>) {
        let header = self.header(format.pt, packet.marker, packet.timestamp);
        self.send(header, sink, |payload| {
            *payload.first_chunk_mut()? = packet.report.to_bytes();
            Some(Report::LEN)
        });
    }

    fn header(&self, payload_type: u8, marker: bool, timestamp: u32) -> Header {
        Header { payload_type, marker, sequence: self.sequence, timestamp, ssrc: self.ssrc }
    }

    fn send(
        &mut self,
        header: Header,
        sink: &mut Sink<'_>,
        payload: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) {
        let mut octets = 0;
        let written = sink.out.push(Channel::Rtp, sink.to, |buffer| {
            header.write(buffer, |place| {
                octets = payload(place)?;
                Some(octets)
            })
        });
        if written {
            self.sequence = self.sequence.wrapping_add(1);
            self.packets += 1;
            self.octets += octets as u64;
        }
    }
}
