//! The lock on the data folder: one server a folder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The data folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another server holds it.
    #[error("another kaphila serves from {0}; stop it first, or use another paths.data")]
    Held(PathBuf),
    /// The file cannot be made.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Held for as long as the server lives; the system gives it up when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock and writes this process's number into it.
///
/// # Errors
/// Another process holds it, or the file cannot be written.
pub fn take(path: &Path) -> Result<Lock, LockError> {
    let io = |source| LockError::Io { path: path.to_owned(), source };
    let mut file = open(path).map_err(io)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(LockError::Held(path.parent().unwrap_or(path).to_owned()));
        }
        Err(error) => return Err(io(error.into())),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io)?;
    Ok(Lock { _file: file })
}

/// Whether a server holds the lock now.
#[must_use]
pub fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(!is_held(&path));
        let held = take(&path).unwrap();
        assert!(is_held(&path));
        assert!(matches!(take(&path), Err(LockError::Held(_))));
        drop(held);
        assert!(!is_held(&path));
        take(&path).unwrap();
    }
}
