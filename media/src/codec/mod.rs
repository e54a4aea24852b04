//! The audio codecs: linear samples at 8 kHz on one side, payload bytes on the other.
//!
//! It knows how each codec is called in SDP and how to turn a payload into samples and back. It
//! refuses to know payload type numbers a peer chose, packets and time. Start at [`Codec`].
#![warn(clippy::indexing_slicing)]

pub mod g711;

/// A codec that Kaphila can receive and send (RFC 3551).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 μ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Codec {
    /// Every codec that is built, in the order of preference of a server that is told nothing.
    pub const ALL: [Self; 2] = [Self::Pcmu, Self::Pcma];

    /// The codec of an encoding name of SDP or of the configuration; case does not matter
    /// (RFC 8866 §6.6, RFC 4855 §3).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// The codec of a static payload type (RFC 3551 §6).
    pub fn from_static_pt(pt: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.static_pt() == Some(pt))
    }

    /// The encoding name as SDP writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// The rate of its RTP timestamps, in Hz.
    pub fn clock(self) -> u32 {
        8_000
    }

    /// Its payload type number in RFC 3551's table, where it has one.
    pub fn static_pt(self) -> Option<u8> {
        match self {
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
        }
    }

    /// The payload byte that decodes to silence.
    pub fn silence(self) -> u8 {
        match self {
            Self::Pcmu => g711::ULAW_SILENCE,
            Self::Pcma => g711::ALAW_SILENCE,
        }
    }

    /// Decodes `payload` into `out`, 8 kHz linear; returns the number of samples written, at most
    /// `out.len()`. Allocates nothing.
    pub fn decode(self, payload: &[u8], out: &mut [i16]) -> usize {
        let expand = match self {
            Self::Pcmu => g711::ulaw_to_linear,
            Self::Pcma => g711::alaw_to_linear,
        };
        let pairs = out.iter_mut().zip(payload);
        pairs.map(|(sample, &code)| *sample = expand(code)).count()
    }

    /// Encodes `samples` into `out`; returns the number of bytes written, at most `out.len()`.
    /// Allocates nothing.
    pub fn encode(self, samples: &[i16], out: &mut [u8]) -> usize {
        let compress = match self {
            Self::Pcmu => g711::linear_to_ulaw,
            Self::Pcma => g711::linear_to_alaw,
        };
        let pairs = out.iter_mut().zip(samples);
        pairs.map(|(code, &sample)| *code = compress(sample)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::Codec;

    #[test]
    fn names_and_numbers_are_those_of_rfc_3551() {
        assert_eq!(Codec::from_name("pcmu"), Some(Codec::Pcmu));
        assert_eq!(Codec::from_name("PCMA"), Some(Codec::Pcma));
        assert_eq!(Codec::from_name("G729"), None);
        assert_eq!(Codec::from_static_pt(8), Some(Codec::Pcma));
        assert_eq!(Codec::from_static_pt(18), None);
    }

    #[test]
    fn the_shorter_side_limits_what_is_converted() {
        let mut samples = [1i16; 4];
        assert_eq!(Codec::Pcmu.decode(&[0x80, 0x00], &mut samples), 2);
        assert_eq!(samples, [32124, -32124, 1, 1]);
        let mut payload = [9u8; 2];
        assert_eq!(Codec::Pcma.encode(&samples, &mut payload), 2);
        assert_eq!(payload, [0xAA, 0x2A]);
    }

    #[test]
    fn the_silence_byte_is_silent() {
        for codec in Codec::ALL {
            let mut sample = [99i16];
            codec.decode(&[codec.silence()], &mut sample);
            assert!(sample[0].abs() <= 8, "{codec:?}");
        }
    }
}
