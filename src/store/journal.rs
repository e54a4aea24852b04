//! What live calls write while the database is away, on local disk until it is back.
//!
//! It knows records, their file and their order. It refuses to know the database: [`Store`] applies
//! what waits here. Start at [`Journal::append`].
//!
//! ```text
//! kaphila-journal 2 9c4f0e…
//! 5b1c0a9e44d2f7e3 {"call":{…},"what":{"ended":{…}}}
//! ```
//!
//! The first line names the database by its identity: calls are written down by the number of their
//! row, which means nothing in another one. Each other line begins with a checksum of the rest. While
//! anything waits, everything goes here, so that a call's writes stay in their order; the file is
//! emptied once all of it is in the database. A record may be applied twice: the database takes it
//! once.
//!
//! [`Store`]: super::Store
#![allow(clippy::disallowed_methods, reason = "a driver: it writes a file away from the runtime")]

mod record;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, Notify};

pub(super) use record::{Record, What};

use super::{Millis, SyncMode, files};

const NAME: &str = "kaphila-journal";
const VERSION: &str = "2";
/// Its first line named no database.
const NAMELESS: &str = "kaphila-journal 1";

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("the journal {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The file is not ours, or a newer version's.
    #[error(
        "the journal {path} begins with `{found}`: it was written by another version of Kaphila; \
         start that one, so that it writes what is in there to the database"
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its first line.
        found: String,
    },
}

/// The journal of a running server.
pub(super) struct Journal {
    path: PathBuf,
    sync: SyncMode,
    state: Arc<Mutex<State>>,
    /// How many records wait; changed under the lock.
    waiting: AtomicU64,
    /// How many writes the disk did not take.
    errors: AtomicU64,
    /// How many records the database refused.
    refused: AtomicU64,
    /// Something waits.
    pub(super) begun: Notify,
}

struct State {
    file: File,
    /// Its first line.
    head: String,
    queue: VecDeque<Record>,
    /// A write failed and may have left half a line.
    torn: bool,
    /// Bytes that are whole.
    length: u64,
}

impl Journal {
    /// Opens the file, or makes it, mode 0600, and reads what an earlier process left for this
    /// database. What is another database's, and what is damaged, is kept aside.
    ///
    /// # Errors
    /// The file.
    pub(super) fn open(path: &Path, sync: SyncMode, database: &str) -> Result<Self, JournalError> {
        let failed = |source: io::Error| JournalError::File {
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed)?,
        };
        let head = format!("{NAME} {VERSION} {database}\n");
        let read = keep_aside(path, read(path, &text, &head)?).map_err(failed)?;
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.map_err(failed)?;
        file.set_len(read.length).map_err(failed)?;
        if sync == SyncMode::Full {
            files::sync_folder(path).map_err(failed)?;
        }
        let waiting = AtomicU64::new(read.records.len() as u64);
        let (queue, length) = (read.records.into(), read.length);
        Ok(Self {
            path: path.to_owned(),
            sync,
            state: Arc::new(Mutex::new(State { file, head, queue, torn: false, length })),
            waiting,
            errors: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            begun: Notify::new(),
        })
    }

    /// How many records wait for the database.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    /// How many writes the disk did not take since the start.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// How many records the database refused since the start.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Writes a record down: from here on it survives what [`SyncMode`] says.
    ///
    /// # Errors
    /// The file, a full disk: the record is not kept.
    pub(super) async fn append(&self, record: Record) -> Result<(), JournalError> {
        let line = record.to_line();
        let mut state = self.state.clone().lock_owned().await;
        let full = self.sync == SyncMode::Full;
        let written = tokio::task::spawn_blocking(move || {
            let written = state.write(&line, full);
            (state, written)
        });
        let (mut state, written) =
            written.await.map_err(|error| self.failed(io::Error::other(error)))?;
        written.map_err(|error| self.failed(error))?;
        // Of signs of life in a row the last one says all.
        if record.call().is_none() && state.queue.back().is_some_and(|it| it.call().is_none()) {
            state.queue.pop_back();
        }
        state.queue.push_back(record);
        self.waiting.store(state.queue.len() as u64, Ordering::Release);
        self.begun.notify_one();
        Ok(())
    }

    /// The records that wait longest, at most `most`.
    pub(super) async fn first(&self, most: usize) -> Vec<Record> {
        self.state.lock().await.queue.iter().take(most).cloned().collect()
    }

    /// The first `done` records are in the database. Once none waits the file is emptied.
    ///
    /// # Errors
    /// The file could not be emptied: its records will be applied again at the next start.
    pub(super) async fn forget(&self, done: usize) -> Result<(), JournalError> {
        let mut state = self.state.lock().await;
        let done = done.min(state.queue.len());
        state.queue.drain(..done);
        let left = state.queue.len() as u64;
        let emptied = if left == 0 { state.empty() } else { Ok(()) };
        self.waiting.store(left, Ordering::Release);
        emptied.map_err(|error| self.failed(error))
    }

    /// Keeps a record that the database refused, with those of earlier starts.
    ///
    /// # Errors
    /// The file: it is not kept.
    pub(super) async fn keep_refused(&self, record: &Record) -> Result<PathBuf, JournalError> {
        let (path, line) = (self.path.with_extension("refused"), record.to_line());
        let (to, sync) = (path.clone(), self.sync);
        let kept = tokio::task::spawn_blocking(move || {
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&to);
            file?.write_all(line.as_bytes())?;
            if sync == SyncMode::Full {
                File::open(&to)?.sync_data()?;
                files::sync_folder(&to)?;
            }
            Ok(())
        });
        let kept = kept.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        kept.map_err(|error| self.failed(error))?;
        self.refused.fetch_add(1, Ordering::Relaxed);
        Ok(path)
    }

    fn failed(&self, source: io::Error) -> JournalError {
        self.errors.fetch_add(1, Ordering::Relaxed);
        JournalError::File { path: self.path.clone(), source: Arc::new(source) }
    }
}

impl State {
    fn write(&mut self, line: &str, full: bool) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.torn = false;
        }
        let head = if self.length == 0 { self.head.as_str() } else { "" };
        let bytes = [head.as_bytes(), line.as_bytes()].concat();
        self.torn = true;
        self.file.write_all(&bytes)?;
        if full {
            self.file.sync_data()?;
        }
        self.torn = false;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn empty(&mut self) -> io::Result<()> {
        if self.length > 0 {
            self.file.set_len(0)?;
            self.length = 0;
        }
        Ok(())
    }
}

/// What a file holds.
struct Read {
    records: Vec<Record>,
    /// Bytes of its whole lines.
    length: u64,
    /// More was lost than a last line that was being written.
    damaged: bool,
    /// Its records are of another database.
    is_others: bool,
}

/// Keeps what cannot be used, under a name of its own; what can.
fn keep_aside(path: &Path, read: Read) -> io::Result<Read> {
    let aside = |what: &str| files::beside(path, &format!(".{what}-{}", Millis::wall_clock().0));
    let records = read.records.len();
    if read.is_others {
        if records > 0 || read.damaged {
            let aside = aside("other");
            std::fs::rename(path, &aside)?;
            tracing::error!(
                journal = %path.display(),
                kept_in = %aside.display(),
                records,
                "the journal is of another database than database.url names: none of it was written"
            );
        }
        return Ok(Read { records: Vec::new(), length: 0, damaged: false, is_others: false });
    }
    if read.damaged {
        let aside = aside("damaged");
        std::fs::copy(path, &aside)?;
        tracing::error!(
            journal = %path.display(),
            kept_in = %aside.display(),
            records,
            "the journal is damaged: what comes after its whole records is lost"
        );
    }
    Ok(read)
}

fn read(path: &Path, bytes: &[u8], ours: &str) -> Result<Read, JournalError> {
    let mut read = Read { records: Vec::new(), length: 0, damaged: false, is_others: false };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let Some(head) = lines.next() else { return Ok(read) };
    if head.last() != Some(&b'\n') && NAME.as_bytes().starts_with(head.get(..4).unwrap_or(head)) {
        return Ok(read); // not even its first line was whole
    }
    let found = String::from_utf8_lossy(head).trim_end().to_owned();
    let is_known = found == NAMELESS || found.starts_with(&format!("{NAME} {VERSION} "));
    if !is_known {
        let found = found.chars().take(40).collect();
        return Err(JournalError::Version { path: path.to_owned(), found });
    }
    read.is_others = found != NAMELESS && found != ours.trim_end();
    read.length = head.len() as u64;
    while let Some(line) = lines.next() {
        let Some(record) = Record::from_line(line) else {
            read.damaged = line.last() == Some(&b'\n') || lines.next().is_some();
            break;
        };
        read.records.push(record);
        read.length += line.len() as u64;
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
