//! Sound files → what a call plays: 8 kHz mono samples, decoded once and shared.
//!
//! It knows files and their bounds; `wav` knows the format, [`resample`](crate::resample) the
//! rates. It refuses to know calls and time. Everything here blocks: keep it off the workers and the
//! async threads. Start at [`Cache`].
#![warn(clippy::indexing_slicing)]

mod cache;
mod wav;

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use cache::Cache;

/// A file longer than this is refused: an hour is 58 MB of memory, and nobody listens to more.
pub const MAX_SECONDS: u32 = 3_600;

/// A file larger than this is refused unread: an hour at 48 kHz in 24-bit stereo has 1.04 GB.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// A sound file that cannot be played, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct PlayError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub reason: Reason,
}

/// What is wrong with a sound file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// It cannot be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is a folder, a pipe or a device.
    #[error("not a regular file")]
    NotAFile,
    /// It is no WAV file.
    #[error("not a WAV file")]
    NotWav,
    /// It is a WAV file of a kind that is not played.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// Its header contradicts itself or ends early.
    #[error("broken WAV header: {0}")]
    Malformed(&'static str),
    /// It holds no sample.
    #[error("no audio in it")]
    Empty,
    /// It goes over [`MAX_SECONDS`].
    #[error("longer than {MAX_SECONDS} s")]
    TooLong,
    /// It goes over [`MAX_FILE_BYTES`].
    #[error("larger than {MAX_FILE_BYTES} bytes")]
    TooLarge,
}

/// Decodes a WAV file: PCM of 8, 16, 24 or 32 bits, 32-bit float, μ-law or A-law, 1 to 16 channels
/// (averaged), 1 to 192 kHz. A file cut short gives what is there.
///
/// # Errors
/// What is wrong with the file, by name.
pub fn load(path: &Path) -> Result<Arc<[i16]>, PlayError> {
    decode_file(path).map_err(|reason| PlayError { path: path.to_owned(), reason })
}

fn decode_file(path: &Path) -> Result<Arc<[i16]>, Reason> {
    // Before opening: a pipe without a writer would block there.
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(Reason::NotAFile);
    }
    if about.len() > MAX_FILE_BYTES {
        return Err(Reason::TooLarge);
    }
    let samples = wav::decode(BufReader::new(File::open(path)?))?;
    Ok(samples.into())
}

/// Decodes arbitrary bytes, for the fuzzer.
#[doc(hidden)]
pub fn fuzz_wav(data: &[u8]) {
    if let Ok(samples) = wav::decode(data) {
        assert!(!samples.is_empty());
        // A byte is at most one sample of 1 kHz.
        assert!(samples.len() <= data.len() * 8);
    }
}
