//! Digits on their way out, as telephone-events (RFC 4733) or as tones (ITU-T Q.23).
//!
//! It knows the strings that wait, the key that is down and the stream's timestamps. It refuses to
//! know RTP headers and which of both ways was agreed. Start at [`Sender::push`], then
//! [`Sender::poll_event`] or [`Sender::render`] for each packet.
#![warn(clippy::indexing_slicing)]

use std::collections::VecDeque;

use super::event::Report;
use super::{Digits, WAIT, code, tone};

/// Volume of the events we send: −10 dBm0 (RFC 4733 §2.3.5).
const VOLUME: u8 = 10;

/// Times that the packet which ends an event is sent (RFC 4733 §2.5.1.4).
const ENDINGS: u8 = 3;

/// Digit strings that may wait to be sent, the one under way included.
pub const MAX_QUEUED: usize = 8;

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
    Gap { repeated: Option<(EventPacket, u8)>, until: u32 },
    /// A `w`.
    Wait { until: u32 },
}

/// Sends digits. The timestamps of its events are those of the audio, which runs on; where the way
/// changes in the middle of a key, that key goes on the other way.
#[derive(Clone, Debug)]
pub struct Sender {
    jobs: VecDeque<Job>,
    phase: Phase,
    /// A bit for each key that sounded as a tone since that was asked last.
    sounded: u16,
}

impl Default for Sender {
    fn default() -> Self {
        Self { jobs: VecDeque::with_capacity(MAX_QUEUED), phase: Phase::Ready, sounded: 0 }
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

    /// As events: what goes in the packet time that begins at `timestamp` and lasts `samples` of 8 kHz; `clock`
    /// is the rate of the agreed events. `sent` is called with digits that are complete.
    pub fn poll_event(
        &mut self,
        timestamp: u32,
        samples: u32,
        clock: u32,
        sent: impl FnOnce(Digits),
    ) -> Slot {
        match self.phase {
            Phase::Gap { repeated: Some((packet, times)), until } if times > 0 => {
                self.phase = Phase::Gap { repeated: Some((packet, times - 1)), until };
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

    /// As tones: writes into `audio`, which begins at `timestamp` and is silent. False where there
    /// is nothing to send and other audio may go.
    pub fn render(
        &mut self,
        timestamp: u32,
        audio: &mut [i16],
        mut sent: impl FnMut(Digits),
    ) -> bool {
        let (mut rest, mut at) = (audio, timestamp);
        let mut is_busy = false;
        while !rest.is_empty() {
            let written = match self.phase {
                Phase::Gap { until, .. } | Phase::Wait { until } if is_before(at, until) => {
                    until.wrapping_sub(at)
                }
                Phase::Tone { code, since, .. } => self.sound(code, at.wrapping_sub(since), rest),
                _ => {
                    self.phase = Phase::Ready;
                    match self.begin(at, &mut sent) {
                        Some(Slot::Free) => return is_busy,
                        _ => 0,
                    }
                }
            };
            is_busy = true;
            let written = (written as usize).min(rest.len());
            at = at.wrapping_add(written as u32);
            rest = rest.get_mut(written..).unwrap_or_default();
        }
        is_busy
    }

    /// The keys that sounded as tones since this was asked last: one that fits into a packet is up
    /// again by then.
    pub fn take_sounded(&mut self) -> impl Iterator<Item = char> + use<> {
        let sounded = std::mem::take(&mut self.sounded);
        (0..16).filter(move |code| sounded & 1 << code != 0).filter_map(super::key)
    }

    /// Writes the tone of the key that is down since `passed` samples; how many are done.
    fn sound(&mut self, code: u8, passed: u32, audio: &mut [i16]) -> u32 {
        let Some(job) = self.jobs.front() else {
            self.phase = Phase::Ready;
            return 0;
        };
        self.sounded |= 1_u16.checked_shl(u32::from(code)).unwrap_or(0);
        let left = job.tone.saturating_sub(passed).min(audio.len() as u32);
        for (sample, at) in audio.iter_mut().zip(passed..passed + left) {
            *sample = tone::sample(code, at, job.tone);
        }
        if passed + left >= job.tone
            && let Phase::Tone { since, .. } = self.phase
        {
            let until = since.wrapping_add(passed + left).wrapping_add(job.gap);
            self.phase = Phase::Gap { repeated: None, until };
        }
        left
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
            Phase::Gap { repeated: Some((packet, ENDINGS - 1)), until }
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
    use super::super::event::{Heard, Receiver};
    use super::*;

    #[test]
    fn one_press_of_100_ms_has_these_bytes_at_20_ms() {
        let mut sender = Sender::default();
        sender.push(Digits::try_from("5").unwrap(), 100, 100).unwrap();
        let mut bytes = Vec::new();
        let mut done = 0;
        for slot in 0..12 {
            let timestamp = 1000 + 160 * slot;
            match sender.poll_event(timestamp, 160, 8000, |_| done = slot) {
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
            if let Slot::Event(p) = sender.poll_event(160 * slot, 160, 8000, |_| ())
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
        let Slot::Event(packet) = sender.poll_event(0, 160, 48_000, |_| ()) else { panic!() };
        assert_eq!(packet.report.duration, 960);
        let mut receiver = Receiver::default();
        let mut all = Vec::new();
        let bytes = packet.report.to_bytes();
        receiver.handle_packet(1, 0, &bytes, 48_000, |heard| all.push(heard));
        assert_eq!(all, [Heard::Pressed { digit: '1', duration_ms: 20 }]);
    }

    #[test]
    fn a_hang_up_ends_the_key_that_is_down() {
        let mut sender = Sender::default();
        sender.push(Digits::try_from("9").unwrap(), 100, 100).unwrap();
        assert_eq!(sender.hang_up(0, 8000), None);
        sender.poll_event(0, 160, 8000, |_| ());
        sender.poll_event(160, 160, 8000, |_| ());
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
    fn tones_are_exact_to_the_sample_whatever_the_packets() {
        for packet in [80_usize, 160, 240, 480] {
            let mut sender = Sender::default();
            sender.push(Digits::try_from("1w2").unwrap(), 45, 55).unwrap();
            let (mut line, mut done, mut at) = (Vec::new(), None, 5_u32);
            while done.is_none() {
                let mut audio = vec![0; packet];
                sender.render(at, &mut audio, |digits| done = Some(digits));
                at += packet as u32;
                line.extend(audio);
            }
            // 45 ms of tone, 55 and 500 of silence, 45 of tone, silence: 8 samples a ms.
            let sounds = |range: std::ops::Range<usize>| {
                line[range].chunks(8).all(|ms| ms.iter().any(|sample| sample.abs() > 20))
            };
            let silent = |range: std::ops::Range<usize>| line[range].iter().all(|s| *s == 0);
            assert!(sounds(0..360) && silent(360..4800), "{packet}");
            assert!(sounds(4800..5160) && silent(5160..line.len()), "{packet}");
            assert!(line.len() >= 5160 + 440);
        }
    }

    /// However long a packet is: its echo must be known.
    #[test]
    fn what_sounded_is_told_once_whatever_the_packets() {
        for packet in [160_usize, 480] {
            let mut sender = Sender::default();
            sender.push(Digits::try_from("1D").unwrap(), 40, 40).unwrap();
            let mut told = String::new();
            for at in (0..1_440).step_by(packet) {
                sender.render(at as u32, &mut vec![0; packet], |_| ());
                told.extend(sender.take_sounded());
            }
            told = told.chars().fold(String::new(), |mut all, key| {
                if !all.ends_with(key) {
                    all.push(key);
                }
                all
            });
            assert_eq!(told, "1D", "{packet}");
            assert_eq!(sender.take_sounded().count(), 0);
        }
    }

    #[test]
    fn a_key_goes_on_as_a_tone_where_events_are_not_agreed_any_more() {
        let mut sender = Sender::default();
        sender.push(Digits::try_from("7").unwrap(), 100, 40).unwrap();
        assert!(matches!(sender.poll_event(0, 160, 8000, |_| ()), Slot::Event(_)));
        let mut audio = [0; 1600];
        assert!(sender.render(160, &mut audio, |_| ()));
        assert!(audio[600] != 0 || audio[601] != 0, "it sounds to its 800th sample");
        assert!(audio[640..].iter().all(|sample| *sample == 0));
        assert!(!sender.render(1760, &mut [0; 160], |_| ()));
    }
}
