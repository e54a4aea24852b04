//! RTCP of one call: when to report, what the far end reported, and the round trip.

use std::time::{Duration, Instant};

use super::SessionConfig;
use super::outbound::Sent;
use crate::reception::Reception;
use crate::rtcp::{self, Cname, Compound, Report, RtcpError, SenderInfo};

/// Mean time between reports (RFC 3550 §6.2): each is 0.5 to 1.5 of it away from the last.
const INTERVAL: Duration = Duration::from_secs(5);

/// Seconds from the NTP epoch to the Unix epoch.
const NTP_UNIX: u64 = 2_208_988_800;

/// What both ends report.
#[derive(Debug)]
pub(super) struct Reports {
    ssrc: u32,
    cname: Cname,
    random: u64,
    opened: Instant,
    unix_time: Duration,
    next: Option<Instant>,
    /// The last sender report that came: middle of its NTP time, and when.
    last_sr: Option<(u32, Instant)>,
    /// Packets sent up to the last report.
    reported_packets: u64,
    pub(super) rtt: Option<Duration>,
    /// Packets of ours that the far end has lost, as it says.
    pub(super) far_lost: Option<i32>,
}

impl Reports {
    pub(super) fn new(now: Instant, config: &SessionConfig) -> Self {
        Self {
            ssrc: config.ssrc,
            cname: cname(config.seed),
            // A generator of this kind must not start at zero.
            random: config.seed | 1,
            opened: now,
            unix_time: config.unix_time,
            next: None,
            last_sr: None,
            reported_packets: 0,
            rtt: None,
            far_lost: None,
        }
    }

    /// The call was answered: reports begin (half as long away as usual, RFC 3550 §6.3.2).
    pub(super) fn start(&mut self, now: Instant) {
        self.next = Some(now + self.interval() / 2);
    }

    /// True where a report is due; the next one is set.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.next.is_some_and(|next| now >= next);
        if due {
            self.next = Some(now + self.interval());
        }
        due
    }

    /// RTCP of the far end came.
    pub(super) fn handle(&mut self, now: Instant, data: &[u8]) -> Result<(), RtcpError> {
        for report in Compound::parse(data)?.reports(self.ssrc) {
            if let Some(sender) = report.sender {
                self.last_sr = Some((middle(sender.ntp), now));
            }
            let Some(block) = report.block else { continue };
            self.far_lost = Some(block.reception.cumulative_lost);
            if block.last_sr != 0 {
                // §6.4.1: A − LSR − DLSR. What comes out negative is a clock that lies.
                let passed = middle(self.ntp(now)).wrapping_sub(block.last_sr);
                let units = passed.wrapping_sub(block.delay);
                if units < 1 << 31 {
                    self.rtt = Some(Duration::from_micros((u64::from(units) * 1_000_000) >> 16));
                }
            }
        }
        Ok(())
    }

    /// Writes a compound packet: a sender report where we have sent since the last one, else a
    /// receiver report; with a goodbye at the end of the call.
    pub(super) fn write(
        &mut self,
        now: Instant,
        sent: Sent,
        reception: &mut Reception,
        goodbye: bool,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let sender = (sent.packets > self.reported_packets).then(|| SenderInfo {
            ntp: self.ntp(now),
            timestamp: sent.timestamp,
            packets: sent.packets as u32,
            octets: sent.octets as u32,
        });
        self.reported_packets = sent.packets;
        let (last_sr, delay) = self.last_sr.map_or((0, 0), |(ntp, at)| {
            let delay = now.saturating_duration_since(at).as_micros() as u64;
            (ntp, u32::try_from((delay << 16) / 1_000_000).unwrap_or(u32::MAX))
        });
        let block = reception.report().map(|reception| rtcp::Block { reception, last_sr, delay });
        let report = Report { ssrc: self.ssrc, sender, block };
        rtcp::write_compound(buffer, &report, &self.cname, goodbye)
    }

    /// Wall time in NTP format.
    fn ntp(&self, now: Instant) -> u64 {
        let unix = self.unix_time + now.saturating_duration_since(self.opened);
        let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
        (unix.as_secs() + NTP_UNIX) << 32 | fraction
    }

    /// 0.5 to 1.5 of [`INTERVAL`].
    fn interval(&mut self) -> Duration {
        // xorshift64: spreads reports of many calls, nothing more is asked of it.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        INTERVAL / 2 + INTERVAL * (self.random >> 54) as u32 / 1024
    }
}

fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

fn cname(seed: u64) -> Cname {
    let mut name = [0; rtcp::CNAME_LEN];
    for (i, place) in name.iter_mut().enumerate() {
        let digit = (seed >> (60 - 4 * i)) & 0xf;
        *place = char::from_digit(digit as u32, 16).map_or(b'0', |c| c as u8);
    }
    name
}
