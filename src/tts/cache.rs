//! The folder of spoken prompts, bounded in bytes: the least recently used go first, and none that
//! is in use.
//!
//! A file has its name only when it is on the disk whole, and is looked at again before it is used.
//! Everything here but [`Cache::turn`] blocks.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use super::SpeechError;

/// Names being spoken whose locks are remembered before dead ones are swept out.
const SWEEP_ABOVE: usize = 256;
/// A draft as old as this was left by a crash: none is written for so long. Younger ones may be
/// those of another process.
const STALE: Duration = Duration::from_secs(120);
/// The header of a WAV file ends within so many bytes.
const HEADER: usize = 4_096;

/// The lock under which a name is spoken. Its file is not evicted while somebody holds this.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    limit: u64,
    drafts: AtomicU64,
    turns: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// Two files being written; whatever is left of them goes when this is dropped.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) text: PathBuf,
    pub(super) audio: PathBuf,
}

impl Drop for Draft {
    fn drop(&mut self) {
        for path in [&self.text, &self.audio] {
            // Either may be gone already; nothing else can be done about it here.
            let _ = fs::remove_file(path);
        }
    }
}

impl Cache {
    pub(super) fn open(folder: &Path, limit: u64) -> Result<Self, SpeechError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io(folder))?;
        let (drafts, turns) = (AtomicU64::new(0), Mutex::default());
        let cache = Self { folder: folder.to_owned(), limit, drafts, turns };
        cache.evict();
        Ok(cache)
    }

    /// Where the files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The lock under which this name is spoken.
    pub(super) fn turn(&self, name: &str) -> Turn {
        let mut turns = self.turns();
        if let Some(turn) = turns.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        if turns.len() > SWEEP_ABOVE {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        turns.insert(name.to_owned(), Arc::downgrade(&turn));
        turn
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<String, Weak<tokio::sync::Mutex<()>>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of this name, marked as used now. One that is not whole goes.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        let path = self.path(name);
        let file = fs::OpenOptions::new().read(true).append(true).open(&path).ok()?;
        if !holds_whole_wav(&file).unwrap_or(false) {
            tracing::warn!(path = %path.display(), "a spoken prompt is damaged; it is spoken again");
            // Should it stay, the next draft takes its place.
            let _ = fs::remove_file(&path);
            return None;
        }
        // The time only orders evictions.
        let _ = file.set_times(fs::FileTimes::new().set_accessed(SystemTime::now()));
        Some(path)
    }

    /// Fresh files for one engine run, the text written.
    pub(super) fn draft(&self, name: &str, text: &str) -> Result<Draft, SpeechError> {
        let draft = self.unwritten(name);
        write(&draft.text, text.as_bytes())?;
        Ok(draft)
    }

    /// Keeps audio that came whole.
    pub(super) fn store(&self, name: &str, audio: &[u8]) -> Result<PathBuf, SpeechError> {
        let draft = self.unwritten(name);
        write(&draft.audio, audio)?;
        self.keep(name, draft)
    }

    fn unwritten(&self, name: &str) -> Draft {
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let stem =
            format!("draft-{}-{number}-{}", std::process::id(), name.get(..16).unwrap_or(name));
        Draft {
            text: self.folder.join(format!("{stem}.txt")),
            audio: self.folder.join(format!("{stem}.wav")),
        }
    }

    /// Gives a finished draft its name, once it is on the disk, and makes room for it. Its turn is
    /// the caller's.
    pub(super) fn keep(&self, name: &str, draft: Draft) -> Result<PathBuf, SpeechError> {
        let path = self.path(name);
        fs::set_permissions(&draft.audio, fs::Permissions::from_mode(0o600))
            .and_then(|()| sync(&draft.audio))
            .and_then(|()| fs::rename(&draft.audio, &path))
            .map_err(io(&draft.audio))?;
        drop(draft);
        self.evict();
        Ok(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.wav"))
    }

    /// Removes the least recently used files, none in use, until the rest fits; and drafts that a
    /// crash left.
    fn evict(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let now = SystemTime::now();
        let mut files: Vec<(SystemTime, u64, String)> = Vec::new();
        for entry in entries.flatten() {
            let (Ok(data), Ok(file)) = (entry.metadata(), entry.file_name().into_string()) else {
                continue;
            };
            if file.starts_with("draft-") {
                let age = data.modified().ok().and_then(|at| now.duration_since(at).ok());
                if age.is_some_and(|age| age > STALE) {
                    // One that cannot be removed only wastes its bytes.
                    let _ = fs::remove_file(entry.path());
                }
                continue;
            }
            let Some(name) = file.strip_suffix(".wav") else { continue };
            if let Ok(used) = data.accessed().or_else(|_| data.modified()) {
                files.push((used, data.len(), name.to_owned()));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, name) in files {
            if bytes <= self.limit {
                return;
            }
            if self.remove_unused(&name) {
                bytes -= size;
            }
        }
    }

    /// Nobody can begin to use the file meanwhile: a turn is given under the same lock.
    fn remove_unused(&self, name: &str) -> bool {
        let turns = self.turns();
        let is_used = turns.get(name).is_some_and(|turn| turn.strong_count() > 0);
        !is_used && fs::remove_file(self.path(name)).is_ok()
    }
}

/// Sees to it that a file is on the disk, and whole: an engine may not notice that the disk is full.
fn sync(audio: &Path) -> std::io::Result<()> {
    let file = File::open(audio)?;
    if !holds_whole_wav(&file)? {
        let what = "the engine wrote no whole WAV file";
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, what));
    }
    file.sync_all()
}

fn holds_whole_wav(file: &File) -> std::io::Result<bool> {
    let mut header = Vec::new();
    file.take(HEADER as u64).read_to_end(&mut header)?;
    Ok(is_whole_wav(&header, file.metadata()?.len()))
}

/// Whether a file that begins so and has so many bytes is a WAV file with all the samples that it
/// claims, and any.
pub(super) fn is_whole_wav(begin: &[u8], length: u64) -> bool {
    if !begin.starts_with(b"RIFF") || begin.get(8..12) != Some(b"WAVE") {
        return false;
    }
    let mut at = 12;
    while let Some((kind, size)) = begin.get(at..).and_then(<[u8]>::first_chunk::<8>).map(chunk) {
        if kind == *b"data" {
            return size > 0 && at as u64 + 8 + u64::from(size) <= length;
        }
        // Chunks begin at even places.
        let Some(next) = (size as usize).checked_next_multiple_of(2) else { return false };
        at = at.saturating_add(8).saturating_add(next);
    }
    false
}

/// The kind of a RIFF chunk and its size.
fn chunk(head: &[u8; 8]) -> ([u8; 4], u32) {
    let [a, b, c, d, size @ ..] = *head;
    ([a, b, c, d], u32::from_le_bytes(size))
}

/// A new file, its owner's alone.
fn write(path: &Path, bytes: &[u8]) -> Result<(), SpeechError> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(io(path))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SpeechError + '_ {
    move |source| SpeechError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A WAV file of 8 kHz with so many bytes of samples.
    fn wav(bytes: u32) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        file.extend([0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0]);
        file.extend(b"data");
        file.extend(bytes.to_le_bytes());
        file.resize(44 + bytes as usize, 1);
        file
    }

    #[test]
    fn a_file_that_lost_its_end_is_not_used_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 1 << 20).unwrap();
        let whole = wav(1_000);
        let path = cache.store("a", &whole).unwrap();
        assert_eq!(cache.find("a"), Some(path.clone()));
        for damaged in [&whole[..0], &whole[..44], &whole[..1_043], &[0; 1_044], &wav(0)] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(cache.find("a"), None, "{} bytes", damaged.len());
            assert!(!path.exists());
        }
        assert!(cache.store("a", &whole[..1_043]).is_err() && !path.exists());
        cache.store("a", &whole).unwrap();
        assert_eq!(cache.find("a"), Some(path));
    }

    #[test]
    fn a_header_is_a_claim() {
        let whole = wav(10);
        assert!(is_whole_wav(&whole, 54) && is_whole_wav(&whole, 60));
        let mut odd = whole[..12].to_vec();
        odd.extend(b"LIST\x03\0\0\0abc\0");
        odd.extend(&whole[12..]);
        assert!(is_whole_wav(&odd, 66));
        for size in [[0xff; 4], [0xfe, 0xff, 0xff, 0xff], [0; 4]] {
            let mut bad = whole.clone();
            bad[40..44].copy_from_slice(&size);
            assert!(!is_whole_wav(&bad, 54), "{size:?}");
            let mut bad = whole.clone();
            bad[16..20].copy_from_slice(&size);
            assert!(!is_whole_wav(&bad, 54), "{size:?}");
        }
    }

    #[test]
    fn what_is_in_use_is_not_evicted() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 0).unwrap();
        let (first, second) = (cache.turn("a"), cache.turn("b"));
        let one = cache.store("a", &wav(1_000)).unwrap();
        let two = cache.store("b", &wav(1_000)).unwrap();
        assert!(one.exists() && two.exists());
        drop(first);
        let _third = cache.turn("c");
        cache.store("c", &wav(1_000)).unwrap();
        assert!(!one.exists() && two.exists());
        drop(second);
    }

    #[test]
    fn only_what_is_ours_and_old_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, age: u64| {
            let path = folder.path().join(name);
            let file = File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            path
        };
        let (left, anothers, notes) =
            (file("draft-1-0-a.wav", 3_600), file("draft-2-0-a.txt", 1), file("notes.txt", 3_600));
        Cache::open(folder.path(), 0).unwrap();
        assert!(!left.exists() && anothers.exists() && notes.exists());
    }
}
