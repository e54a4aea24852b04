//! Decoded files in memory, bounded in bytes.
#![warn(clippy::indexing_slicing)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{PlayError, load};

/// Decoded files, shared by every call that plays them.
///
/// A file is decoded once, however many ask for it at a time, and again when its time of change or
/// its length is another. What was used longest ago goes first when the bound is reached; calls that
/// still play it keep their share.
#[derive(Debug)]
pub struct Cache {
    max_bytes: usize,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    entries: HashMap<PathBuf, Entry>,
    bytes: usize,
    /// Counts the uses, to tell which was last.
    uses: u64,
}

#[derive(Debug, Default)]
struct Entry {
    /// Its lock is held while the file is decoded: others who want it wait there.
    slot: Arc<Mutex<Option<Decoded>>>,
    /// 0 while it is decoded for the first time.
    bytes: usize,
    last_use: u64,
}

#[derive(Debug)]
struct Decoded {
    stamp: Stamp,
    audio: Arc<[i16]>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    changed: Option<SystemTime>,
    length: u64,
}

impl Cache {
    /// A cache that keeps at most `max_bytes` of decoded audio (16 000 bytes a second).
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, files: Mutex::default() }
    }

    /// The file's audio, decoded now if it is not here or has changed. Blocks.
    ///
    /// # Errors
    /// As [`load`]; a failure is not kept.
    pub fn get(&self, path: &Path) -> Result<Arc<[i16]>, PlayError> {
        let slot = self.slot(path);
        let mut decoded = lock(&slot);
        let stamp = stamp(path);
        if let (Some(known), Some(stamp)) = (decoded.as_ref(), stamp)
            && known.stamp == stamp
        {
            return Ok(Arc::clone(&known.audio));
        }
        *decoded = None;
        let loaded = load(path);
        match (&loaded, stamp) {
            (Ok(audio), Some(stamp)) => {
                let audio = Arc::clone(audio);
                let bytes = std::mem::size_of_val(&*audio);
                *decoded = Some(Decoded { stamp, audio });
                self.keep(path, &slot, bytes);
            }
            _ => self.forget(path, &slot),
        }
        loaded
    }

    /// How many bytes of audio it keeps.
    pub fn bytes(&self) -> usize {
        lock(&self.files).bytes
    }

    fn slot(&self, path: &Path) -> Arc<Mutex<Option<Decoded>>> {
        let mut files = lock(&self.files);
        files.uses += 1;
        let now = files.uses;
        let entry = files.entries.entry(path.to_owned()).or_default();
        entry.last_use = now;
        Arc::clone(&entry.slot)
    }

    /// Counts what was decoded, and makes room.
    fn keep(&self, path: &Path, slot: &Arc<Mutex<Option<Decoded>>>, bytes: usize) {
        let mut files = lock(&self.files);
        let Some(entry) = files.entries.get_mut(path) else {
            return;
        };
        if !Arc::ptr_eq(&entry.slot, slot) {
            return;
        }
        let before = std::mem::replace(&mut entry.bytes, bytes);
        files.bytes = files.bytes - before + bytes;
        if bytes > self.max_bytes {
            files.remove(path);
        }
        while files.bytes > self.max_bytes {
            let held = files.entries.iter().filter(|(_, entry)| entry.bytes > 0);
            let oldest = held.min_by_key(|(_, entry)| entry.last_use);
            let Some(oldest) = oldest.map(|(path, _)| path.clone()) else {
                return;
            };
            files.remove(&oldest);
        }
    }

    fn forget(&self, path: &Path, slot: &Arc<Mutex<Option<Decoded>>>) {
        let mut files = lock(&self.files);
        let entry = files.entries.get(path);
        if entry.is_some_and(|entry| Arc::ptr_eq(&entry.slot, slot)) {
            files.remove(path);
        }
    }
}

impl Files {
    fn remove(&mut self, path: &Path) {
        if let Some(entry) = self.entries.remove(path) {
            self.bytes -= entry.bytes;
        }
    }
}

/// `None` where the file cannot be looked at: [`load`] will say why.
fn stamp(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    Some(Stamp { changed: about.modified().ok(), length: about.len() })
}

/// A panic elsewhere leaves nothing half done here: the audio is a cache.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
