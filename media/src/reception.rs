//! How one stream reaches us: what was expected, what came, how evenly (RFC 3550 §A.1, §A.3, §A.8).
//!
//! It knows sequence numbers and arrival times. It refuses to know addresses and audio. Start at
//! [`Reception::handle_packet`].

/// A jump in sequence up to this is loss; beyond, the sender began anew (RFC 3550 §A.1).
const MAX_DROPOUT: u16 = 3000;

/// A step back up to this is reordering (RFC 3550 §A.1).
const MAX_MISORDER: u16 = 100;

/// What a report block says of a stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The stream's source.
    pub ssrc: u32,
    /// Share lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost since the beginning; negative where duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// Highest sequence number with its cycles.
    pub highest: u32,
    /// Jitter, in timestamp units.
    pub jitter: u32,
}

/// The stream of one source.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    base: u32,
    highest: u16,
    cycles: u32,
    /// The sequence number that would confirm a restart.
    restart: Option<u16>,
    received: u32,
    expected_prior: u32,
    received_prior: u32,
    transit: Option<i64>,
    /// Scaled by 16, as §A.8 does.
    jitter: u32,
}

impl Stream {
    fn new(ssrc: u32, sequence: u16) -> Self {
        Self {
            ssrc,
            base: u32::from(sequence),
            highest: sequence,
            cycles: 0,
            restart: None,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            transit: None,
            jitter: 0,
        }
    }

    fn extended(&self) -> u32 {
        self.cycles.wrapping_add(u32::from(self.highest))
    }

    fn expected(&self) -> u32 {
        self.extended().wrapping_sub(self.base).wrapping_add(1)
    }
}

/// All streams of a call's far end, one at a time: a new source follows the old one.
#[derive(Clone, Debug, Default)]
pub struct Reception {
    current: Option<Stream>,
    /// Sums of the streams before the current one.
    past_expected: u64,
    past_received: u64,
}

impl Reception {
    /// A packet came. `arrival` and `timestamp` are in units of the audio's clock; `timestamp` is
    /// `None` for packets whose timestamps do not follow time (telephone-events).
    pub fn handle_packet(
        &mut self,
        arrival: i64,
        ssrc: u32,
        sequence: u16,
        timestamp: Option<u32>,
    ) {
        let known = self.current.filter(|s| s.ssrc == ssrc);
        let mut stream = known.unwrap_or_else(|| self.begin(ssrc, sequence));
        if !Self::take(&mut stream, sequence) {
            self.current = Some(stream);
            return;
        }
        if stream.restart.take() == Some(sequence) {
            stream = self.begin(ssrc, sequence);
        }
        stream.received = stream.received.wrapping_add(1);
        if let Some(timestamp) = timestamp {
            let transit = arrival.wrapping_sub(i64::from(timestamp)) as i32;
            if let Some(last) = stream.transit {
                let difference = transit.wrapping_sub(last as i32).unsigned_abs();
                let jitter = stream.jitter;
                stream.jitter = jitter.saturating_add(difference) - (jitter.saturating_add(8) >> 4);
            }
            stream.transit = Some(i64::from(transit));
        }
        self.current = Some(stream);
    }

    /// The report block for what came since the last one; `None` where nothing ever came.
    pub fn report(&mut self) -> Option<Report> {
        let stream = self.current.as_mut()?;
        let expected = stream.expected();
        let lost = (i64::from(expected) - i64::from(stream.received)).clamp(-0x80_0000, 0x7f_ffff);
        let expected_now = expected.wrapping_sub(stream.expected_prior);
        let received_now = stream.received.wrapping_sub(stream.received_prior);
        stream.expected_prior = expected;
        stream.received_prior = stream.received;
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction = (u64::from(lost_now) << 8).checked_div(u64::from(expected_now)).unwrap_or(0);
        Some(Report {
            ssrc: stream.ssrc,
            fraction_lost: fraction.min(255) as u8,
            cumulative_lost: lost as i32,
            highest: stream.extended(),
            jitter: stream.jitter >> 4,
        })
    }

    /// Packets that came, duplicates too.
    pub fn received(&self) -> u64 {
        self.past_received + self.current.map_or(0, |s| u64::from(s.received))
    }

    /// Loss of the whole call, in per cent of what was expected.
    pub fn loss_percent(&self) -> f64 {
        let expected = self.past_expected + self.current.map_or(0, |s| u64::from(s.expected()));
        if expected == 0 {
            return 0.0;
        }
        100.0 * expected.saturating_sub(self.received()) as f64 / expected as f64
    }

    /// Jitter now, in timestamp units.
    pub fn jitter(&self) -> f64 {
        self.current.map_or(0.0, |s| f64::from(s.jitter) / 16.0)
    }

    fn begin(&mut self, ssrc: u32, sequence: u16) -> Stream {
        if let Some(past) = self.current.take() {
            self.past_expected += u64::from(past.expected());
            self.past_received += u64::from(past.received);
        }
        Stream::new(ssrc, sequence)
    }

    /// §A.1 `update_seq` without probation. False for the first packet after a jump that cannot be
    /// loss; a second one in sequence to it is a restart, which the caller carries out.
    fn take(stream: &mut Stream, sequence: u16) -> bool {
        let ahead = sequence.wrapping_sub(stream.highest);
        if ahead < MAX_DROPOUT {
            if sequence < stream.highest {
                stream.cycles = stream.cycles.wrapping_add(1 << 16);
            }
            stream.highest = sequence;
            stream.restart = None;
        } else if ahead <= u16::MAX - MAX_MISORDER && stream.restart != Some(sequence) {
            stream.restart = Some(sequence.wrapping_add(1));
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(reception: &mut Reception, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            reception.handle_packet(0, 1, sequence, None);
        }
    }

    #[test]
    fn loss_is_counted_over_the_wrap_as_in_a_3() {
        let mut reception = Reception::default();
        // 65530..=65535 and 0..=9 are 16 expected; 4 of them are missing.
        feed(&mut reception, (65530..=65535).filter(|s| *s != 65533));
        feed(&mut reception, (0..10).filter(|s| ![2, 3, 7].contains(s)));
        let report = reception.report().unwrap();
        assert_eq!((report.cumulative_lost, report.highest), (4, 0x1_0009));
        assert_eq!(report.fraction_lost, 64);
        assert!((reception.loss_percent() - 25.0).abs() < 1e-9);
        // Nothing lost since: the fraction is of the interval only.
        feed(&mut reception, 10..20);
        let report = reception.report().unwrap();
        assert_eq!((report.cumulative_lost, report.fraction_lost), (4, 0));
    }

    #[test]
    fn duplicates_make_the_sum_negative_and_never_the_fraction() {
        let mut reception = Reception::default();
        feed(&mut reception, [1, 1, 2, 2, 3]);
        let report = reception.report().unwrap();
        assert_eq!((report.cumulative_lost, report.fraction_lost), (-2, 0));
        assert_eq!(reception.loss_percent(), 0.0);
    }

    #[test]
    fn one_wild_packet_is_ignored_and_two_in_sequence_are_a_restart() {
        let mut reception = Reception::default();
        feed(&mut reception, [100, 101, 30_000, 102]);
        assert_eq!(reception.report().unwrap().highest, 102);
        feed(&mut reception, [40_000, 40_001, 40_002]);
        let report = reception.report().unwrap();
        assert_eq!((report.highest, report.cumulative_lost), (40_002, 0));
        assert_eq!(reception.received(), 5);
    }

    #[test]
    fn a_new_source_begins_anew_and_the_call_keeps_its_sums() {
        let mut reception = Reception::default();
        feed(&mut reception, [1, 2, 4]);
        reception.handle_packet(0, 2, 900, None);
        let report = reception.report().unwrap();
        assert_eq!((report.ssrc, report.highest, report.cumulative_lost), (2, 900, 0));
        assert!((reception.loss_percent() - 20.0).abs() < 1e-9);
    }

    #[test]
    fn jitter_is_that_of_a_8_by_hand() {
        let mut reception = Reception::default();
        // Transit 0, then 16: J = 16/16 = 1. Then transit 16 again: J = 1 − 1/16.
        reception.handle_packet(1000, 1, 1, Some(1000));
        reception.handle_packet(1176, 1, 2, Some(1160));
        assert!((reception.jitter() - 1.0).abs() < 0.07, "{}", reception.jitter());
        reception.handle_packet(1336, 1, 3, Some(1320));
        assert!((reception.jitter() - 0.9375).abs() < 0.07, "{}", reception.jitter());
        assert_eq!(reception.report().unwrap().jitter, 0);
    }

    #[test]
    fn jitter_does_not_jump_where_the_timestamp_wraps() {
        let mut reception = Reception::default();
        reception.handle_packet(50, 1, 1, Some(u32::MAX - 159));
        reception.handle_packet(210, 1, 2, Some(0));
        assert_eq!(reception.jitter(), 0.0);
    }
}
