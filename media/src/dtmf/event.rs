//! Telephone-events: their payload, and the presses in those that come (RFC 4733).
//!
//! It knows payloads of four octets, timestamps, and what makes two packets one press. It refuses
//! to know RTP headers and sockets. Start at [`Receiver::handle_packet`].
#![warn(clippy::indexing_slicing)]

/// The whole span of the duration field: a longer press comes in segments (RFC 4733 §2.5.2.3).
const SEGMENT: u32 = 0xffff;

/// Presses remembered, to know their late packets again: three seconds of the fastest dialling,
/// far more than packets are ever out of order.
const REMEMBERED: usize = 16;

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
