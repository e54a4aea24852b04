//! RTCP packets: sender and receiver reports, source descriptions and goodbyes (RFC 3550 §6).
//!
//! It knows bytes, and the rules for compound packets of §6.1 and §A.2. It refuses to know when to
//! report and what the figures mean. Start at [`Compound::parse`] and [`write_compound`].
#![warn(clippy::indexing_slicing)]

use bytes::{Buf, BufMut};
use webrtc_util::Error;
use webrtc_util::marshal::{Marshal, MarshalSize, Unmarshal};

use crate::reception;

/// Sender report.
const SR: u8 = 200;
/// Receiver report.
const RR: u8 = 201;
/// Source description.
const SDES: u8 = 202;
/// Goodbye.
const BYE: u8 = 203;

/// Length of the first words of every packet: version, count, type, length.
const HEADER_LEN: usize = 4;
const SENDER_LEN: usize = 20;
const BLOCK_LEN: usize = 24;

/// Report blocks that one packet can hold: the count has five bits.
const MAX_BLOCKS: usize = 31;

/// Length of [`Cname`]: 16 characters (RFC 7022 §4.2 asks for 96 bits' worth at least in base64;
/// ours are 64 random bits in hexadecimal, enough to tell the two ends of one call apart).
pub const CNAME_LEN: usize = 16;

/// The name of an end in RTCP.
pub type Cname = [u8; CNAME_LEN];

/// What is wrong with bytes that should be RTCP. The sender is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// Shorter than it says, or than its contents need.
    #[error("truncated")]
    Truncated,
    /// Not version 2.
    #[error("version {0} instead of 2")]
    Version(u8),
    /// A compound packet begins with a report (§6.1).
    #[error("begins with packet type {0} instead of a report")]
    NoReport(u8),
    /// Padding is for the last packet of a compound only, and must fit (§6.4.1).
    #[error("padding where none can be")]
    Padding,
}

/// The sender's part of a sender report (§6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall time, NTP format: seconds since 1900 and 2^-32 of them.
    pub ntp: u64,
    /// The same instant on the stream's clock.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload octets sent.
    pub octets: u32,
}

/// A report block (§6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The stream as it was received.
    pub reception: reception::Report,
    /// Middle 32 bits of the NTP time of the last sender report from that source; 0: none came.
    pub last_sr: u32,
    /// Time since then, in 2^-16 s.
    pub delay: u32,
}

/// A sender or receiver report with at most one block, which is all that a call of two needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who reports.
    pub ssrc: u32,
    /// Present in sender reports.
    pub sender: Option<SenderInfo>,
    /// The block about `wanted`, see [`Compound::reports`]; or the one to write.
    pub block: Option<Block>,
}

impl MarshalSize for SenderInfo {
    fn marshal_size(&self) -> usize {
        SENDER_LEN
    }
}

impl Marshal for SenderInfo {
    fn marshal_to(&self, mut buf: &mut [u8]) -> Result<usize, Error> {
        if buf.remaining_mut() < SENDER_LEN {
            return Err(Error::ErrBufferShort);
        }
        buf.put_u64(self.ntp);
        buf.put_u32(self.timestamp);
        buf.put_u32(self.packets);
        buf.put_u32(self.octets);
        Ok(SENDER_LEN)
    }
}

impl Unmarshal for SenderInfo {
    fn unmarshal<B: Buf>(buf: &mut B) -> Result<Self, Error> {
        if buf.remaining() < SENDER_LEN {
            return Err(Error::ErrBufferShort);
        }
        Ok(Self {
            ntp: buf.get_u64(),
            timestamp: buf.get_u32(),
            packets: buf.get_u32(),
            octets: buf.get_u32(),
        })
    }
}

impl MarshalSize for Block {
    fn marshal_size(&self) -> usize {
        BLOCK_LEN
    }
}

impl Marshal for Block {
    fn marshal_to(&self, mut buf: &mut [u8]) -> Result<usize, Error> {
        if buf.remaining_mut() < BLOCK_LEN {
            return Err(Error::ErrBufferShort);
        }
        let lost = self.reception.cumulative_lost as u32 & 0x00ff_ffff;
        buf.put_u32(self.reception.ssrc);
        buf.put_u32(u32::from(self.reception.fraction_lost) << 24 | lost);
        buf.put_u32(self.reception.highest);
        buf.put_u32(self.reception.jitter);
        buf.put_u32(self.last_sr);
        buf.put_u32(self.delay);
        Ok(BLOCK_LEN)
    }
}

impl Unmarshal for Block {
    fn unmarshal<B: Buf>(buf: &mut B) -> Result<Self, Error> {
        if buf.remaining() < BLOCK_LEN {
            return Err(Error::ErrBufferShort);
        }
        let ssrc = buf.get_u32();
        let lost = buf.get_u32();
        let reception = reception::Report {
            ssrc,
            fraction_lost: (lost >> 24) as u8,
            // 24 bits, signed.
            cumulative_lost: ((lost << 8) as i32) >> 8,
            highest: buf.get_u32(),
            jitter: buf.get_u32(),
        };
        Ok(Self { reception, last_sr: buf.get_u32(), delay: buf.get_u32() })
    }
}

impl MarshalSize for Report {
    fn marshal_size(&self) -> usize {
        let sender = self.sender.map_or(0, |s| s.marshal_size());
        HEADER_LEN + 4 + sender + self.block.map_or(0, |b| b.marshal_size())
    }
}

impl Marshal for Report {
    fn marshal_to(&self, buf: &mut [u8]) -> Result<usize, Error> {
        let kind = if self.sender.is_some() { SR } else { RR };
        let size = self.marshal_size();
        let mut rest = header(buf, u8::from(self.block.is_some()), kind, size)?;
        rest.put_u32(self.ssrc);
        if let Some(sender) = self.sender {
            let len = sender.marshal_to(rest)?;
            rest.advance_mut_by(len);
        }
        if let Some(block) = self.block {
            block.marshal_to(rest)?;
        }
        Ok(size)
    }
}

/// Writes a compound packet: the report, our name, and a goodbye where `goodbye` (§6.1, §6.5,
/// §6.6). Its length; `None` where `buf` is too short.
pub fn write_compound(
    buf: &mut [u8],
    report: &Report,
    cname: &Cname,
    goodbye: bool,
) -> Option<usize> {
    let mut len = report.marshal_to(buf).ok()?;
    len += write_description(buf.get_mut(len..)?, report.ssrc, cname).ok()?;
    if goodbye {
        let mut rest = header(buf.get_mut(len..)?, 1, BYE, 8).ok()?;
        rest.put_u32(report.ssrc);
        len += 8;
    }
    Some(len)
}

/// One chunk with one item, the CNAME; then the null octet that ends the list, padded to 32 bits.
fn write_description(buf: &mut [u8], ssrc: u32, cname: &Cname) -> Result<usize, Error> {
    const SIZE: usize = HEADER_LEN + 4 + (2 + CNAME_LEN + 1).next_multiple_of(4);
    let mut rest = header(buf, 1, SDES, SIZE)?;
    rest.put_u32(ssrc);
    rest.put_u8(1);
    rest.put_u8(CNAME_LEN as u8);
    rest.put_slice(cname);
    rest.put_bytes(0, SIZE - HEADER_LEN - 4 - 2 - CNAME_LEN);
    Ok(SIZE)
}

/// The common header of a packet of `size` bytes, and the place of its contents.
fn header(buf: &mut [u8], count: u8, kind: u8, size: usize) -> Result<&mut [u8], Error> {
    let mut place = buf.get_mut(..size).ok_or(Error::ErrBufferShort)?;
    place.put_u8(2 << 6 | count);
    place.put_u8(kind);
    place.put_u16((size / 4 - 1) as u16);
    Ok(place)
}

/// Steps over bytes that another writer has put in.
trait AdvanceBy {
    fn advance_mut_by(&mut self, len: usize);
}

impl AdvanceBy for &mut [u8] {
    fn advance_mut_by(&mut self, len: usize) {
        let whole = std::mem::take(self);
        *self = whole.get_mut(len..).unwrap_or_default();
    }
}

/// A compound packet that came, checked as a whole (§A.2).
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a>(&'a [u8]);

/// One packet of a compound: its count and type, and what is behind its header without padding.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    count: u8,
    kind: u8,
    body: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Checks a datagram: version 2 throughout, lengths that add up, a report first (§6.1, §A.2;
    /// RFC 5506's reduced size is not agreed, so not taken), padding on the last packet only.
    pub fn parse(data: &'a [u8]) -> Result<Self, RtcpError> {
        let mut rest = data;
        let mut first = true;
        while first || !rest.is_empty() {
            let (part, after) = split(rest)?;
            if first && !matches!(part.kind, SR | RR) {
                return Err(RtcpError::NoReport(part.kind));
            }
            if matches!(part.kind, SR | RR) {
                let sender = if part.kind == SR { SENDER_LEN } else { 0 };
                if part.body.len() < 4 + sender + usize::from(part.count) * BLOCK_LEN {
                    return Err(RtcpError::Truncated);
                }
            }
            if part.kind == BYE && part.body.len() < usize::from(part.count) * 4 {
                return Err(RtcpError::Truncated);
            }
            first = false;
            rest = after;
        }
        Ok(Self(data))
    }

    /// The reports in it, each with its block about the source `wanted` only.
    pub fn reports(&self, wanted: u32) -> impl Iterator<Item = Report> + 'a {
        let reports = self.parts().filter(|part| matches!(part.kind, SR | RR));
        reports.filter_map(move |part| {
            let mut body = part.body;
            let ssrc = body.try_get_u32().ok()?;
            let sender = match part.kind {
                SR => Some(SenderInfo::unmarshal(&mut body).ok()?),
                _ => None,
            };
            let blocks = (0..usize::from(part.count).min(MAX_BLOCKS))
                .filter_map(|_| Block::unmarshal(&mut body).ok());
            let block = blocks.filter(|block| block.reception.ssrc == wanted).last();
            Some(Report { ssrc, sender, block })
        })
    }

    /// The sources that say goodbye.
    pub fn goodbyes(&self) -> impl Iterator<Item = u32> + 'a {
        self.parts().filter(|part| part.kind == BYE).flat_map(|part| {
            let mut body = part.body;
            (0..part.count).filter_map(move |_| body.try_get_u32().ok())
        })
    }

    fn parts(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (part, after) = split(rest).ok()?;
            rest = after;
            Some(part)
        })
    }
}

/// Takes the first packet off a compound.
fn split(data: &[u8]) -> Result<(Part<'_>, &[u8]), RtcpError> {
    let mut head = data;
    let first = head.try_get_u8().map_err(|_| RtcpError::Truncated)?;
    let kind = head.try_get_u8().map_err(|_| RtcpError::Truncated)?;
    let words = head.try_get_u16().map_err(|_| RtcpError::Truncated)?;
    if first >> 6 != 2 {
        return Err(RtcpError::Version(first >> 6));
    }
    let len = usize::from(words) * 4;
    let (body, after) = head.split_at_checked(len).ok_or(RtcpError::Truncated)?;
    let padding = match body.last() {
        _ if first & 0x20 == 0 => 0,
        Some(&count) if after.is_empty() && count > 0 && count % 4 == 0 => usize::from(count),
        _ => return Err(RtcpError::Padding),
    };
    let kept = body.len().checked_sub(padding).ok_or(RtcpError::Padding)?;
    let body = body.get(..kept).ok_or(RtcpError::Padding)?;
    Ok((Part { count: first & 0x1f, kind, body }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEPTION: reception::Report = reception::Report {
        ssrc: 0x0a0b_0c0d,
        fraction_lost: 0x40,
        cumulative_lost: -2,
        highest: 0x0001_0009,
        jitter: 7,
    };
    const SENDER: SenderInfo =
        SenderInfo { ntp: 0x0102_0304_0506_0708, timestamp: 0x1111_2222, packets: 3, octets: 480 };
    const BLOCK: Block = Block { reception: RECEPTION, last_sr: 0x0304_0506, delay: 0x0001_8000 };

    /// By hand from the figures of RFC 3550 §6.4.1, §6.5 and §6.6.
    const FULL: [u8; 88] = [
        0x81, 200, 0, 12, 0xde, 0xad, 0xbe, 0xef, // V=2, RC=1, SR, 13 words; SSRC
        1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x11, 0x22, 0x22, 0, 0, 0, 3, 0, 0, 1, 0xe0, // sender
        10, 11, 12, 13, 0x40, 0xff, 0xff, 0xfe, 0, 1, 0, 9, // block: SSRC, lost, highest
        0, 0, 0, 7, 3, 4, 5, 6, 0, 1, 0x80, 0, // jitter, LSR, DLSR
        0x81, 202, 0, 6, 0xde, 0xad, 0xbe, 0xef, 1, 16, // V=2, SC=1, SDES, 7 words; CNAME
        b'0', b'1', b'2', b'3', b'4', b'5', b'6', b'7', b'8', b'9', b'a', b'b', b'c', b'd', b'e',
        b'f', 0, 0, // end of the list, padding
        0x81, 203, 0, 1, 0xde, 0xad, 0xbe, 0xef, // V=2, SC=1, BYE, 2 words
    ];

    #[test]
    fn a_compound_has_the_bytes_of_the_rfc() {
        let report = Report { ssrc: 0xdead_beef, sender: Some(SENDER), block: Some(BLOCK) };
        let mut buf = [0xee; 100];
        let len = write_compound(&mut buf, &report, b"0123456789abcdef", true).unwrap();
        assert_eq!(buf[..len], FULL);
        for short in 0..len {
            assert_eq!(write_compound(&mut buf[..short], &report, b"0123456789abcdef", true), None);
        }
    }

    #[test]
    fn what_we_write_we_read() {
        let compound = Compound::parse(&FULL).unwrap();
        let report = Report { ssrc: 0xdead_beef, sender: Some(SENDER), block: Some(BLOCK) };
        assert_eq!(compound.reports(0x0a0b_0c0d).collect::<Vec<_>>(), [report]);
        let other = Report { block: None, ..report };
        assert_eq!(compound.reports(1).collect::<Vec<_>>(), [other]);
        assert_eq!(compound.goodbyes().collect::<Vec<_>>(), [0xdead_beef]);
    }

    #[test]
    fn a_receiver_report_without_blocks_is_whole() {
        let report = Report { ssrc: 5, sender: None, block: None };
        let mut buf = [0; 64];
        let len = write_compound(&mut buf, &report, b"0123456789abcdef", false).unwrap();
        assert_eq!(buf[..8], [0x80, 201, 0, 1, 0, 0, 0, 5]);
        let compound = Compound::parse(&buf[..len]).unwrap();
        assert_eq!(compound.reports(1).collect::<Vec<_>>(), [report]);
    }

    #[test]
    fn what_cannot_be_a_compound_is_refused() {
        for len in 0..FULL.len() {
            let whole = matches!(len, 52 | 80);
            assert_eq!(Compound::parse(&FULL[..len]).is_ok(), whole, "{len} bytes");
        }
        let mut bad = FULL;
        bad[52] = 0x41;
        assert_eq!(Compound::parse(&bad).unwrap_err(), RtcpError::Version(1));
        assert_eq!(Compound::parse(&FULL[52..]).unwrap_err(), RtcpError::NoReport(202));
        // More blocks than there is room for.
        let mut bad = FULL;
        bad[0] = 0x82;
        assert_eq!(Compound::parse(&bad).unwrap_err(), RtcpError::Truncated);
        // Padding anywhere but at the end.
        let mut bad = FULL;
        bad[0] |= 0x20;
        assert_eq!(Compound::parse(&bad).unwrap_err(), RtcpError::Padding);
    }

    #[test]
    fn padding_of_the_last_packet_is_set_aside() {
        let padded = [0xa0, 201, 0, 2, 0, 0, 0, 5, 0, 0, 0, 4];
        let compound = Compound::parse(&padded).unwrap();
        let report = Report { ssrc: 5, sender: None, block: None };
        assert_eq!(compound.reports(1).collect::<Vec<_>>(), [report]);
        for wrong in [0, 3, 12] {
            let mut bad = padded;
            bad[11] = wrong;
            assert!(Compound::parse(&bad).is_err(), "{wrong}");
        }
    }
}
