//! The folder of spoken prompts, bounded in bytes: the least recently used go first.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use super::SpeechError;

/// Names being spoken whose locks are remembered before dead ones are swept out.
const SWEEP_ABOVE: usize = 256;

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
        for entry in fs::read_dir(folder).map_err(io(folder))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("draft-") {
                // Left by a crash; a draft that cannot be removed only wastes its bytes.
                let _ = fs::remove_file(entry.path());
            }
        }
        let (drafts, turns) = (AtomicU64::new(0), Mutex::default());
        Ok(Self { folder: folder.to_owned(), limit, drafts, turns })
    }

    /// The lock under which this name is spoken.
    pub(super) fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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

    /// The file of this name, marked as used now.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        let path = self.path(name);
        let file = fs::OpenOptions::new().append(true).open(&path).ok()?;
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

    /// Gives a finished draft its name and makes room for it.
    pub(super) fn keep(&self, name: &str, draft: Draft) -> Result<PathBuf, SpeechError> {
        let path = self.path(name);
        fs::set_permissions(&draft.audio, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&draft.audio, &path))
            .map_err(io(&draft.audio))?;
        drop(draft);
        self.evict(&path);
        Ok(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.wav"))
    }

    /// Removes the least recently used files, never `newest`, until the rest fits.
    fn evict(&self, newest: &Path) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with("draft-"))
            .filter_map(|entry| {
                let data = entry.metadata().ok()?;
                let used = data.accessed().or_else(|_| data.modified()).ok()?;
                Some((used, data.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if bytes <= self.limit {
                return;
            }
            if path != newest && fs::remove_file(&path).is_ok() {
                bytes -= size;
            }
        }
    }
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
