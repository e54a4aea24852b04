//! The WAV reader: RIFF chunks → frames → mono → 8 kHz.
//!
//! Its own and not hound's, which refuses G.711, half a frame at the end and the lengths of streamed
//! files. Lengths in the file are claims: only the bytes that come are believed.
#![warn(clippy::indexing_slicing)]

use std::io::{self, Read};

use super::{MAX_SECONDS, Reason};
use crate::codec::g711;
use crate::resample::{RATE, RATES, To8k};

/// More channels than this are refused; it bounds a frame at 64 bytes.
pub(super) const MAX_CHANNELS: u16 = 16;

/// Frames decoded at a time.
const BLOCK_FRAMES: usize = 4_096;

/// `WAVE_FORMAT_EXTENSIBLE`: the kind of sample stands further down.
const EXTENSIBLE: u16 = 0xFFFE;

/// How one sample stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Alaw,
    Ulaw,
}

/// The `fmt ` chunk.
#[derive(Clone, Copy, Debug)]
struct Format {
    encoding: Encoding,
    channels: usize,
    rate: u32,
}

/// Decodes a whole WAV file to 8 kHz mono.
pub(super) fn decode(mut input: impl Read) -> Result<Vec<i16>, Reason> {
    let (format, length) = read_header(&mut input)?;
    let unsupported = || Reason::Unsupported(format!("a rate of {} Hz", format.rate));
    let mut output = To8k::new(format.rate).ok_or_else(unsupported)?;
    let mut data = input.take(length);
    let mut bytes = vec![0; BLOCK_FRAMES * format.frame_bytes()];
    let mut mono = Vec::with_capacity(BLOCK_FRAMES);
    loop {
        let filled = read_full(&mut data, &mut bytes)?;
        let Some(block) = bytes.get(..filled) else {
            break;
        };
        mono.clear();
        // What remains of a frame cut in two is left.
        mono.extend(block.chunks_exact(format.frame_bytes()).map(|frame| format.mono(frame)));
        output.push(&mono);
        if output.len() > (MAX_SECONDS * RATE) as usize {
            return Err(Reason::TooLong);
        }
        if filled < bytes.len() {
            break;
        }
    }
    let samples = output.finish();
    if samples.is_empty() {
        return Err(Reason::Empty);
    }
    Ok(samples)
}

/// Reads up to the samples: their format and how many bytes of them the file claims to have.
fn read_header(input: &mut impl Read) -> Result<(Format, u64), Reason> {
    let mut riff = [0; 12];
    let filled = read_full(input, &mut riff)?;
    match (riff.get(..4), riff.get(8..)) {
        (Some(b"RIFF"), Some(b"WAVE")) if filled == riff.len() => {}
        (Some(kind @ (b"RF64" | b"RIFX")), Some(b"WAVE")) => {
            let kind = String::from_utf8_lossy(kind);
            return Err(Reason::Unsupported(format!("the {kind} kind of WAV")));
        }
        _ => return Err(Reason::NotWav),
    }
    let mut format = None;
    loop {
        let mut chunk = [0; 8];
        if read_full(input, &mut chunk)? < chunk.len() {
            return Err(Reason::Malformed("it ends before the data chunk"));
        }
        let [id @ .., l0, l1, l2, l3] = chunk;
        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        match &id {
            b"data" => {
                let format = format.ok_or(Reason::Malformed("the data chunk comes first"))?;
                return Ok((format, length));
            }
            b"fmt " => {
                let mut body = Vec::new();
                input.take(length.min(40)).read_to_end(&mut body)?;
                format = Some(Format::parse(&body)?);
                let rest = padded(length).saturating_sub(body.len() as u64);
                skip(input, rest)?;
            }
            _ => skip(input, padded(length))?,
        }
    }
}

/// Chunks begin at even offsets.
fn padded(length: u64) -> u64 {
    length + length % 2
}

fn skip(input: &mut impl Read, length: u64) -> io::Result<()> {
    io::copy(&mut input.take(length), &mut io::sink()).map(drop)
}

/// Fills `buffer` as far as the input goes; how many bytes came.
fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Format {
    fn parse(body: &[u8]) -> Result<Self, Reason> {
        let short = Reason::Malformed("the fmt chunk is too short");
        let word = |at: usize| match body.get(at..at + 2) {
            Some(&[low, high]) => Some(u16::from_le_bytes([low, high])),
            _ => None,
        };
        let fields = (word(0), word(2), word(4), word(6), word(12), word(14));
        let (Some(tag), Some(channels), Some(low), Some(high), Some(frame), Some(bits)) = fields
        else {
            return Err(short);
        };
        let tag = match tag {
            EXTENSIBLE => word(24).ok_or(short)?,
            tag => tag,
        };
        let encoding = Encoding::new(tag, bits)?;
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(Reason::Unsupported(format!("{channels} channels")));
        }
        let rate = u32::from(high) << 16 | u32::from(low);
        if !RATES.contains(&rate) {
            return Err(Reason::Unsupported(format!("a rate of {rate} Hz")));
        }
        let format = Self { encoding, channels: usize::from(channels), rate };
        if usize::from(frame) != format.frame_bytes() {
            return Err(Reason::Malformed("width and frame size disagree"));
        }
        Ok(format)
    }

    fn frame_bytes(self) -> usize {
        self.encoding.bytes() * self.channels
    }

    /// One frame as one sample: the mean, so that no sum clips and equal channels keep their level.
    fn mono(self, frame: &[u8]) -> f32 {
        let samples = frame.chunks_exact(self.encoding.bytes());
        let sum: f32 = samples.map(|sample| self.encoding.sample(sample)).sum();
        sum / self.channels as f32
    }
}

impl Encoding {
    fn new(tag: u16, bits: u16) -> Result<Self, Reason> {
        Ok(match (tag, bits) {
            (1, 8) => Self::Unsigned8,
            (1, 16) => Self::Signed16,
            (1, 24) => Self::Signed24,
            (1, 32) => Self::Signed32,
            (3, 32) => Self::Float32,
            (6, 8) => Self::Alaw,
            (7, 8) => Self::Ulaw,
            (1, _) => return Err(Reason::Unsupported(format!("PCM of {bits} bits"))),
            (3, _) => return Err(Reason::Unsupported(format!("float of {bits} bits"))),
            (2, _) => return Err(Reason::Unsupported("Microsoft ADPCM".to_owned())),
            (0x11, _) => return Err(Reason::Unsupported("IMA ADPCM".to_owned())),
            (0x31, _) => return Err(Reason::Unsupported("GSM".to_owned())),
            (0x55, _) => return Err(Reason::Unsupported("MP3 in WAV".to_owned())),
            _ => return Err(Reason::Unsupported(format!("WAV format {tag:#06x}"))),
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::Unsigned8 | Self::Alaw | Self::Ulaw => 1,
            Self::Signed16 => 2,
            Self::Signed24 => 3,
            Self::Signed32 | Self::Float32 => 4,
        }
    }

    /// One sample on the scale of 16 bits.
    fn sample(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Self::Unsigned8, &[a]) => (f32::from(a) - 128.0) * 256.0,
            (Self::Signed16, &[a, b]) => f32::from(i16::from_le_bytes([a, b])),
            (Self::Signed24, &[a, b, c]) => i32::from_le_bytes([0, a, b, c]) as f32 / 65_536.0,
            (Self::Signed32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]) as f32 / 65_536.0,
            (Self::Float32, &[a, b, c, d]) => {
                let sample = f32::from_le_bytes([a, b, c, d]);
                // A float file may go over full scale; NaN and infinity may not spread.
                let clipped = sample.clamp(-1.0, 1.0) * 32_768.0;
                if clipped.is_nan() { 0.0 } else { clipped }
            }
            (Self::Alaw, &[a]) => f32::from(g711::alaw_to_linear(a)),
            (Self::Ulaw, &[a]) => f32::from(g711::ulaw_to_linear(a)),
            // `chunks_exact` by `bytes()` gives nothing else.
            _ => 0.0,
        }
    }
}
