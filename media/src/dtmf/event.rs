//! Telephone-events, in and out (RFC 4733).
//!
//! It knows payloads of four octets, timestamps, and what makes two packets one press. It refuses
//! to know RTP headers and sockets. Start at [`Receiver::handle_packet`] and [`Sender::poll`].
#![warn(clippy::indexing_slicing)]

use std::collections::VecDeque;

use super::{Digits, WAIT, code};

/// Volume of the events we send: −10 dBm0 (RFC 4733 §2.3.5).
const VOLUME: u8 = 10;

/// Times that the packet which ends an event is sent (RFC 4733 §2.5.1.4).
const ENDINGS: u8 = 3;

/// The whole span of the duration field: a longer press comes in segments (RFC 4733 §2.5.2.3).
const SEGMENT: u32 = 0xffff;

/// Presses remembered, to know their late packets again: three seconds of the fastest dialling,
/// far more than packets are ever out of order.
const REMEMBERED: usize = 16;

/// Digit strings that may wait to be sent, the one under way included.
pub const MAX_QUEUED: usize = 8;

/// Events taken from one packet (RFC 4733 §2.5.1.5 lets short ones be packed together).
const MAX_REPORTS: usize = 4;

/// One event of a payload (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Event code; 0–15 are digits.
    pub code: u8,
    /// The event is over.
    pub end: bool,
    /// Power below 0 dBm0, in dB, 0–63.
    pub volume: u8,
    /// How long it has lasted, in units of the event's clock.
    pub duration: u16,
}

impl Report {
    /// Length of one in a payload.
    pub const LEN: usize = 4;

    /// Reads the first one of a payload; `None` where that is too short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, high, low] = *payload.first_chunk()?;
        let duration = u16::from_be_bytes([high, low]);
        Some(Self { code, end: flags & 0x80 != 0, volume: flags & 0x3f, duration })
    }

    /// Its bytes; the reserved bit is zero.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let flags = u8::from(self.end) << 7 | self.volume & 0x3f;
        let [high, low] = self.duration.to_be_bytes();
        [self.code, flags, high, low]
    }
}

/// What a received event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A new press of this digit, `duration_ms` long so far.
    Pressed {
        /// The key.
        digit: char,
        /// In ms.
        duration_ms: u32,
    },
    /// More of a press that was told already.
    Continued {
        /// The key.
        digit: char,
    },
    /// No digit: another event, a stale press, or no event at all.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    ssrc: u32,
    timestamp: u32,
    code: u8,
}

/// The presses of one far end. A press is a (source, timestamp).
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    presses: [Option<Press>; REMEMBERED],
    next: usize,
}

impl Receiver {
    /// A telephone-event packet came; `clock` is its format's rate in Hz. Calls `heard` for each
    /// event in it.
    pub fn handle_packet(
        &mut self,
        ssrc: u32,
        timestamp: u32,
        payload: &[u8],
        clock: u32,
        mut heard: impl FnMut(Heard),
    ) {
        let mut timestamp = timestamp;
        for (i, bytes) in payload.chunks_exact(Report::LEN).take(MAX_REPORTS).enumerate() {
            let Some(report) = Report::parse(bytes) else { return };
            // What follows the first one is an event only if it can be: padding is not.
            if i > 0 && report.duration == 0 {
                return;
            }
            heard(self.handle_report(ssrc, timestamp, report, clock));
            if !report.end {
                return;
            }
            timestamp = timestamp.wrapping_add(u32::from(report.duration));
        }
    }

    fn handle_report(&mut self, ssrc: u32, timestamp: u32, report: Report, clock: u32) -> Heard {
        let Some(digit) = super::key(report.code) else { return Heard::Nothing };
        let mut known = self.presses.iter().flatten().filter(|p| p.ssrc == ssrc);
        if let Some(press) = known.clone().find(|p| p.timestamp == timestamp) {
            return match super::key(press.code) {
                Some(digit) => Heard::Continued { digit },
                None => Heard::Nothing,
            };
        }
        let continues =
            known.any(|p| p.code == report.code && timestamp.wrapping_sub(p.timestamp) == SEGMENT);
        if self.is_stale(ssrc, timestamp) {
            return Heard::Nothing;
        }
        if let Some(place) = self.presses.get_mut(self.next) {
            *place = Some(Press { ssrc, timestamp, code: report.code });
        }
        self.next = (self.next + 1) % REMEMBERED;
        if continues {
            return Heard::Continued { digit };
        }
        let duration_ms = (u64::from(report.duration) * 1000).checked_div(u64::from(clock));
        Heard::Pressed { digit, duration_ms: duration_ms.unwrap_or(0) as u32 }
    }

    /// Older than everything that is remembered: it was told long ago.
    fn is_stale(&self, ssrc: u32, timestamp: u32) -> bool {
        let all = self.presses.iter().flatten().filter(|p| p.ssrc == ssrc);
        all.clone().count() == REMEMBERED
            && all.map(|p| timestamp.wrapping_sub(p.timestamp) as i32).all(|age| age < 0)
    }
}

/// One packet of an event to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// The first packet of its event.
    pub marker: bool,
    /// The beginning of the event, on the stream's clock.
    pub timestamp: u32,
    /// The event.
    pub report: Report,
}

/// What a [`Sender`] puts into a packet's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Nothing to do with digits: audio goes.
    Free,
    /// A pause between digits: silence goes.
    Pause,
    /// An event.
    Event(EventPacket),
}

/// One string of digits on its way.
#[derive(Clone, Debug)]
struct Job {
    digits: Digits,
    /// The next of its characters.
    next: usize,
    /// In samples of 8 kHz.
    tone: u32,
    gap: u32,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Between two digits.
    Ready,
    /// A key is down since this timestamp.
    Tone { code: u8, since: u32, marker: bool },
    /// It was let go; its end is repeated, and nothing else goes until the time is over.
    Gap { packet: EventPacket, repeats: u8, until: u32 },
    /// A `w`.
    Wait { until: u32 },
}

/// Sends digits, one packet for each packet time of the call. The timestamps of its events are
/// those of the audio, which runs on.
#[derive(Clone, Debug)]
pub struct Sender {
    jobs: VecDeque<Job>,
    phase: Phase,
}

impl Default for Sender {
    fn default() -> Self {
        Self { jobs: VecDeque::with_capacity(MAX_QUEUED), phase: Phase::Ready }
    }
}

impl Sender {
    /// Queues digits; tone and gap in ms. Hands them back where the queue is full.
    pub fn push(&mut self, digits: Digits, tone_ms: u16, gap_ms: u16) -> Result<(), Digits> {
        if self.jobs.len() >= MAX_QUEUED {
            return Err(digits);
        }
        let samples = |ms| u32::from(ms) * 8;
        self.jobs.push_back(Job { digits, next: 0, tone: samples(tone_ms), gap: samples(gap_ms) });
        Ok(())
    }

    /// What goes in the packet time that begins at `timestamp` and lasts `samples` of 8 kHz; `clock`
    /// is the rate of the agreed events. `sent` is called with digits that are complete.
    pub fn poll(
        &mut self,
        timestamp: u32,
        samples: u32,
        clock: u32,
        sent: impl FnOnce(Digits),
    ) -> Slot {
        match self.phase {
            Phase::Gap { packet, repeats, until } if repeats > 0 => {
                self.phase = Phase::Gap { packet, repeats: repeats - 1, until };
                return Slot::Event(packet);
            }
            Phase::Gap { until, .. } | Phase::Wait { until } => {
                if is_before(timestamp, until) {
                    return Slot::Pause;
                }
                self.phase = Phase::Ready;
            }
            Phase::Ready | Phase::Tone { .. } => {}
        }
        if matches!(self.phase, Phase::Ready)
            && let Some(slot) = self.begin(timestamp, sent)
        {
            return slot;
        }
        self.tone(timestamp, samples, clock)
    }

    /// The call ends: the packet that ends the key that is down, if one is. To be sent
    /// [`Self::ENDINGS`] times.
    pub fn hang_up(&mut self, timestamp: u32, clock: u32) -> Option<EventPacket> {
        let Phase::Tone { code, since, marker } = self.phase else { return None };
        self.phase = Phase::Ready;
        let duration = duration(timestamp.wrapping_sub(since), clock);
        let report = Report { code, end: true, volume: VOLUME, duration };
        Some(EventPacket { marker, timestamp: since, report })
    }

    /// How often an event's last packet is sent.
    pub const ENDINGS: u8 = ENDINGS;

    /// Takes back everything that was not sent completely.
    pub fn drain(&mut self) -> impl Iterator<Item = Digits> + '_ {
        self.phase = Phase::Ready;
        self.jobs.drain(..).map(|job| job.digits)
    }

    /// Goes to the next character. `Some` where no key goes down now.
    fn begin(&mut self, timestamp: u32, sent: impl FnOnce(Digits)) -> Option<Slot> {
        let Some(job) = self.jobs.front_mut() else { return Some(Slot::Free) };
        match job.digits.as_str().as_bytes().get(job.next) {
            Some(&byte) => {
                job.next += 1;
                let Some(code) = code(char::from(byte)) else {
                    let until = timestamp.wrapping_add(WAIT.as_millis() as u32 * 8);
                    self.phase = Phase::Wait { until };
                    return Some(Slot::Pause);
                };
                self.phase = Phase::Tone { code, since: timestamp, marker: true };
                None
            }
            None => {
                if let Some(job) = self.jobs.pop_front() {
                    sent(job.digits);
                }
                Some(Slot::Free)
            }
        }
    }

    /// The packet of the key that is down.
    fn tone(&mut self, timestamp: u32, samples: u32, clock: u32) -> Slot {
        let Phase::Tone { code, since, marker } = self.phase else { return Slot::Free };
        let Some(job) = self.jobs.front() else { return Slot::Free };
        let lasted = timestamp.wrapping_sub(since).wrapping_add(samples);
        let end = lasted >= job.tone;
        let duration = duration(lasted.min(job.tone), clock);
        let report = Report { code, end, volume: VOLUME, duration };
        let packet = EventPacket { marker, timestamp: since, report };
        self.phase = if end {
            let until = since.wrapping_add(lasted.max(job.tone)).wrapping_add(job.gap);
            let packet = EventPacket { marker: false, ..packet };
            Phase::Gap { packet, repeats: ENDINGS - 1, until }
        } else {
            Phase::Tone { code, since, marker: false }
        };
        Slot::Event(packet)
    }
}

/// Samples of 8 kHz in units of an event's clock, as far as the field goes. At least 1: a duration
/// of zero means a state, not an event (RFC 4733 §2.5.1.3).
fn duration(samples: u32, clock: u32) -> u16 {
    let units = u64::from(samples) * u64::from(clock) / 8000;
    u16::try_from(units.max(1)).unwrap_or(u16::MAX)
}

fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(receiver: &mut Receiver, timestamp: u32, bytes: [u8; 4]) -> Heard {
        let mut all = Vec::new();
        receiver.handle_packet(1, timestamp, &bytes, 8000, |heard| all.push(heard));
        assert_eq!(all.len(), 1);
        all[0]
    }

    fn pressed(digit: char, duration_ms: u32) -> Heard {
        Heard::Pressed { digit, duration_ms }
    }

    #[test]
    fn one_press_of_100_ms_has_these_bytes_at_20_ms() {
        let mut sender = Sender::default();
        sender.push(Digits::try_from("5").unwrap(), 100, 100).unwrap();
        let mut bytes = Vec::new();
        let mut done = 0;
        for slot in 0..12 {
            let timestamp = 1000 + 160 * slot;
            match sender.poll(timestamp, 160, 8000, |_| done = slot) {
                Slot::Event(p) => bytes.push((p.marker, p.timestamp, p.report.to_bytes())),
                Slot::Pause => assert!((7..10).contains(&slot), "pause in {slot}"),
                Slot::Free => assert!(slot >= 10),
            }
        }
        // RFC 4733 §2.3: event 5; E=0 R=0 volume 10; the duration counts up by 160 = 0xa0, and the
        // packet that ends it comes three times (§2.5.1.4).
        let by_hand = [
            (true, 1000, [5, 0x0a, 0x00, 0xa0]),
            (false, 1000, [5, 0x0a, 0x01, 0x40]),
            (false, 1000, [5, 0x0a, 0x01, 0xe0]),
            (false, 1000, [5, 0x0a, 0x02, 0x80]),
            (false, 1000, [5, 0x8a, 0x03, 0x20]),
            (false, 1000, [5, 0x8a, 0x03, 0x20]),
            (false, 1000, [5, 0x8a, 0x03, 0x20]),
        ];
        assert_eq!(bytes, by_hand);
        assert_eq!(done, 10);
    }

    #[test]
    fn digits_follow_each_other_after_tone_and_gap_and_w_waits_half_a_second() {
        let mut sender = Sender::default();
        sender.push(Digits::try_from("1w#").unwrap(), 40, 60).unwrap();
        let mut firsts = Vec::new();
        for slot in 0..60_u32 {
            if let Slot::Event(p) = sender.poll(160 * slot, 160, 8000, |_| ())
                && p.marker
            {
                firsts.push((slot * 20, p.report.code));
            }
        }
        assert_eq!(firsts, [(0, 1), (600, 11)]);
    }

    #[test]
    fn durations_are_in_the_events_own_clock() {
        let mut sender = Sender::default();
        sender.push(Digits::try_from("1").unwrap(), 100, 100).unwrap();
        let Slot::Event(packet) = sender.poll(0, 160, 48_000, |_| ()) else { panic!() };
        assert_eq!(packet.report.duration, 960);
        let mut receiver = Receiver::default();
        let mut all = Vec::new();
        let bytes = packet.report.to_bytes();
        receiver.handle_packet(1, 0, &bytes, 48_000, |heard| all.push(heard));
        assert_eq!(all, [pressed('1', 20)]);
    }

    #[test]
    fn a_hang_up_ends_the_key_that_is_down() {
        let mut sender = Sender::default();
        sender.push(Digits::try_from("9").unwrap(), 100, 100).unwrap();
        assert_eq!(sender.hang_up(0, 8000), None);
        sender.poll(0, 160, 8000, |_| ());
        sender.poll(160, 160, 8000, |_| ());
        let packet = sender.hang_up(320, 8000).unwrap();
        assert_eq!((packet.timestamp, packet.report.to_bytes()), (0, [9, 0x8a, 0x01, 0x40]));
        assert_eq!(sender.drain().count(), 1);
    }

    #[test]
    fn a_full_queue_hands_the_digits_back() {
        let mut sender = Sender::default();
        let digits = Digits::try_from("1").unwrap();
        let taken = (0..100).filter(|_| sender.push(digits.clone(), 40, 40).is_ok()).count();
        assert_eq!(taken, MAX_QUEUED);
        assert_eq!(sender.push(digits.clone(), 40, 40), Err(digits));
    }

    #[test]
    fn marker_end_order_and_duplicates_do_not_matter() {
        let mut receiver = Receiver::default();
        assert_eq!(one(&mut receiver, 0, [1, 0x8a, 0x03, 0x20]), pressed('1', 100));
        assert_eq!(one(&mut receiver, 0, [1, 0x0a, 0x00, 0xa0]), Heard::Continued { digit: '1' });
        assert_eq!(one(&mut receiver, 1600, [1, 0x0a, 0x00, 0x00]), pressed('1', 0));
        // The end of the first press once more, after the second began.
        assert_eq!(one(&mut receiver, 0, [1, 0x8a, 0x03, 0x20]), Heard::Continued { digit: '1' });
    }

    #[test]
    fn a_long_press_in_segments_is_one_press() {
        let mut receiver = Receiver::default();
        let start = 0xffff_0000_u32;
        assert_eq!(one(&mut receiver, start, [2, 10, 0xff, 0xff]), pressed('2', 8191));
        let second = start.wrapping_add(0xffff);
        assert_eq!(one(&mut receiver, second, [2, 10, 0, 160]), Heard::Continued { digit: '2' });
        let third = second.wrapping_add(0xffff);
        assert_eq!(one(&mut receiver, third, [2, 0x8a, 0, 160]), Heard::Continued { digit: '2' });
        // One off is a new press; so is another digit.
        let other = third.wrapping_add(0xfffe);
        assert_eq!(one(&mut receiver, other, [2, 10, 0, 160]), pressed('2', 20));
        assert_eq!(
            one(&mut receiver, other.wrapping_add(0xffff), [3, 10, 0, 160]),
            pressed('3', 20)
        );
    }

    #[test]
    fn what_is_no_digit_or_too_old_or_too_short_is_nothing() {
        let mut receiver = Receiver::default();
        // Flash (16), and a tone of another table.
        assert_eq!(one(&mut receiver, 0, [16, 10, 0, 160]), Heard::Nothing);
        assert_eq!(one(&mut receiver, 0, [255, 10, 0, 160]), Heard::Nothing);
        for i in 1..=16 {
            assert_eq!(one(&mut receiver, 1600 * i, [3, 10, 0, 160]), pressed('3', 20));
        }
        assert_eq!(one(&mut receiver, 800, [3, 10, 0, 160]), Heard::Nothing);
        let mut any = false;
        receiver.handle_packet(1, 0, &[1, 10, 0], 8000, |_| any = true);
        assert!(!any);
    }

    #[test]
    fn short_events_packed_into_one_packet_are_all_heard() {
        let mut receiver = Receiver::default();
        let mut all = Vec::new();
        let payload = [1, 0x8a, 1, 0x40, 2, 0x8a, 1, 0x40, 0, 0, 0, 0];
        receiver.handle_packet(1, 100, &payload, 8000, |heard| all.push(heard));
        assert_eq!(all, [pressed('1', 40), pressed('2', 40)]);
    }
}
