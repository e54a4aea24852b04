//! RTP packets: a checked view of what came, the writer of what goes, and counters that wrap made
//! into numbers that do not (RFC 3550 §5.1).
//!
//! It knows one header at a time. It refuses to know streams: who may send is [`crate::source`],
//! where audio belongs is [`crate::jitter`]. Start at [`Packet::parse`] and [`Header::write`].
#![warn(clippy::indexing_slicing)]

use rtp_rs::{RtpPacketBuilder, RtpReader, RtpReaderError, Seq};

/// Length of a header without contributing sources and extension.
pub const HEADER_LEN: usize = 12;

/// What a packet says of itself, without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Payload type, 0–127.
    pub payload_type: u8,
    /// The marker bit: first packet of a talkspurt or of an event.
    pub marker: bool,
    /// Sequence number, modulo 2^16.
    pub sequence: u16,
    /// Timestamp in units of the payload's clock, modulo 2^32.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

/// A packet that came: well-formed, its padding, contributing sources and extension set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its header.
    pub header: Header,
    /// Its payload, without padding; may be empty.
    pub payload: &'a [u8],
}

/// What is wrong with bytes that should be an RTP packet. The sender is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Not version 2: something else than RTP.
    #[error("version {0} instead of 2")]
    Version(u8),
    /// The header says more than there is.
    #[error("{0} bytes are too few for the header")]
    Truncated(usize),
    /// The count of padding is 0 or more than there is.
    #[error("padding of {0} bytes cannot be")]
    Padding(u8),
}

impl From<RtpReaderError> for RtpError {
    fn from(error: RtpReaderError) -> Self {
        match error {
            RtpReaderError::UnsupportedVersion(version) => Self::Version(version),
            RtpReaderError::BufferTooShort(len) => Self::Truncated(len),
            RtpReaderError::HeadersTruncated { buffer_len, .. } => Self::Truncated(buffer_len),
            RtpReaderError::PaddingLengthInvalid(len) => Self::Padding(len),
        }
    }
}

impl<'a> Packet<'a> {
    /// Reads a datagram (RFC 3550 §5.1, §5.3.1; validity as far as §A.1 asks for one packet).
    pub fn parse(data: &'a [u8]) -> Result<Self, RtpError> {
        let reader = RtpReader::new(data)?;
        let header = Header {
            payload_type: reader.payload_type(),
            marker: reader.mark(),
            sequence: reader.sequence_number().into(),
            timestamp: reader.timestamp(),
            ssrc: reader.ssrc(),
        };
        Ok(Self { header, payload: reader.payload() })
    }
}

impl Header {
    /// Writes a packet without padding into `buffer`: the header, then what `payload` puts behind
    /// it, telling its length. The packet's length; `None` where the buffer is too short.
    pub fn write(
        &self,
        buffer: &mut [u8],
        payload: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Option<usize> {
        let (head, rest) = buffer.split_at_mut_checked(HEADER_LEN)?;
        RtpPacketBuilder::new()
            .payload_type(self.payload_type)
            .marked(self.marker)
            .sequence(Seq::from(self.sequence))
            .timestamp(self.timestamp)
            .ssrc(self.ssrc)
            .build_into(head)
            .ok()?;
        Some(HEADER_LEN + payload(rest)?)
    }
}

/// Sequence numbers without wrap: each is taken as the nearest to the highest so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct SequenceExtension(Option<i64>);

impl SequenceExtension {
    /// The extended number; remembers it where it is the highest.
    pub fn extend(&mut self, sequence: u16) -> i64 {
        let Some(highest) = self.0 else {
            self.0 = Some(i64::from(sequence));
            return i64::from(sequence);
        };
        let extended = highest + i64::from(sequence.wrapping_sub(highest as u16) as i16);
        self.0 = Some(highest.max(extended));
        extended
    }
}

/// Timestamps without wrap: each is taken as the nearest to the newest that is remembered.
#[derive(Clone, Copy, Debug)]
pub struct TimestampExtension(i64);

impl TimestampExtension {
    /// Starts at a timestamp, which extends to itself.
    pub fn new(timestamp: u32) -> Self {
        Self(i64::from(timestamp))
    }

    /// The extended timestamp. Remembers nothing.
    pub fn peek(&self, timestamp: u32) -> i64 {
        self.0 + i64::from(timestamp.wrapping_sub(self.0 as u32) as i32)
    }

    /// Remembers an extended timestamp where it is the newest.
    pub fn remember(&mut self, extended: i64) {
        self.0 = self.0.max(extended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand from the figure of RFC 3550 §5.1: V=2, P, X, CC=1; M, PT=0; sequence 0x1234; and a
    /// one-word extension (§5.3.1), two bytes of payload, two of padding (the last counts them).
    const FULL: [u8; 28] = [
        0xb1, 0x80, 0x12, 0x34, 0x00, 0x00, 0x00, 0xa0, 0xde, 0xad, 0xbe, 0xef, // header
        0x00, 0x00, 0x00, 0x07, // one contributing source
        0xbe, 0xde, 0x00, 0x01, 0x10, 0xff, 0x00, 0x00, // extension
        0xd5, 0x55, 0x00, 0x02, // payload and padding
    ];

    #[test]
    fn extension_sources_and_padding_are_set_aside() {
        let packet = Packet::parse(&FULL).unwrap();
        let header = Header {
            payload_type: 0,
            marker: true,
            sequence: 0x1234,
            timestamp: 160,
            ssrc: 0xdead_beef,
        };
        assert_eq!(packet, Packet { header, payload: &[0xd5, 0x55] });
    }

    #[test]
    fn what_cannot_be_rtp_is_refused() {
        for len in 0..24 {
            assert!(Packet::parse(&FULL[..len]).is_err(), "{len} bytes");
        }
        let mut bad = FULL;
        bad[0] = 0x31;
        assert_eq!(Packet::parse(&bad), Err(RtpError::Version(0)));
        for padding in [0, 5, 255] {
            let mut bad = FULL;
            bad[27] = padding;
            assert_eq!(Packet::parse(&bad), Err(RtpError::Padding(padding)));
        }
        // All that is left is padding: an empty payload is well-formed.
        let mut empty = FULL;
        empty[27] = 4;
        assert_eq!(Packet::parse(&empty).unwrap().payload, [0; 0]);
    }

    #[test]
    fn a_written_packet_has_the_bytes_of_the_rfc() {
        let header = Header {
            payload_type: 101,
            marker: true,
            sequence: 0xffff,
            timestamp: 0x0102_0304,
            ssrc: 0x0506_0708,
        };
        let mut buffer = [0xee; 16];
        let len = header.write(&mut buffer, |payload| {
            payload[..4].copy_from_slice(&[1, 0x8a, 3, 0x20]);
            Some(4)
        });
        assert_eq!(len, Some(16));
        let expected = [
            0x80, 0xe5, 0xff, 0xff, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 1, 0x8a, 3,
            0x20,
        ];
        assert_eq!(buffer, expected);
        assert_eq!(header.write(&mut [0; 11], |_| Some(0)), None);
    }

    #[test]
    fn sequence_numbers_go_on_over_their_wrap_in_any_order() {
        let mut sequence = SequenceExtension::default();
        let got = [0xfffe, 0x0001, 0xffff, 0x0000, 0x0002].map(|s| sequence.extend(s));
        assert_eq!(got, [0xfffe, 0x1_0001, 0xffff, 0x1_0000, 0x1_0002]);
    }

    #[test]
    fn timestamps_go_on_over_their_wrap() {
        let mut timestamp = TimestampExtension::new(0xffff_ff60);
        assert_eq!(timestamp.peek(0), 0x1_0000_0000);
        timestamp.remember(0x1_0000_0000);
        assert_eq!(timestamp.peek(0xffff_ff60), 0xffff_ff60);
        assert_eq!(timestamp.peek(160), 0x1_0000_00a0);
    }
}
