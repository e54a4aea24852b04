//! What live calls write while the database is away, on local disk until it is back.
//!
//! It knows records, their file and their order. It refuses to know the database: [`Store`] applies
//! what waits here. Start at [`Journal::append`].
//!
//! ```text
//! kaphila-journal 1
//! 5b1c0a9e44d2f7e3 {"call":{…},"what":{"ended":{…}}}
//! ```
//!
//! Each line begins with a checksum of the rest. While anything waits, everything goes here, so that
//! a call's writes stay in their order; the file is emptied once all of it is in the database. A
//! record may be applied twice: the database takes it once.
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

use super::SyncMode;

const NAME: &str = "kaphila-journal";
const VERSION: &str = "1";

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
    /// Something waits.
    pub(super) begun: Notify,
}

struct State {
    file: File,
    queue: VecDeque<Record>,
    /// A write failed and may have left half a line.
    torn: bool,
    /// Bytes that are whole.
    length: u64,
}

impl Journal {
    /// Opens the file, or makes it, mode 0600, and reads what an earlier process left.
    ///
    /// # Errors
    /// The file.
    pub(super) fn open(path: &Path, sync: SyncMode) -> Result<Self, JournalError> {
        let failed = |source: io::Error| JournalError::File {
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(failed)?,
        };
        let read = read(path, &text)?;
        if read.damaged {
            let aside = path.with_extension("damaged");
            std::fs::write(&aside, &text).map_err(failed)?;
            tracing::error!(
                journal = %path.display(),
                kept_in = %aside.display(),
                records = read.records.len(),
                "the journal is damaged: what comes after its whole records is lost"
            );
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.map_err(failed)?;
        file.set_len(read.length).map_err(failed)?;
        let waiting = AtomicU64::new(read.records.len() as u64);
        let (queue, length) = (read.records.into(), read.length);
        let state = Arc::new(Mutex::new(State { file, queue, torn: false, length }));
        Ok(Self { path: path.to_owned(), sync, state, waiting, begun: Notify::new() })
    }

    /// How many records wait for the database.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
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

    fn failed(&self, source: io::Error) -> JournalError {
        JournalError::File { path: self.path.clone(), source: Arc::new(source) }
    }
}

impl State {
    fn write(&mut self, line: &str, full: bool) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.length)?;
            self.torn = false;
        }
        let head = if self.length == 0 { format!("{NAME} {VERSION}\n") } else { String::new() };
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
}

fn read(path: &Path, bytes: &[u8]) -> Result<Read, JournalError> {
    let mut read = Read { records: Vec::new(), length: 0, damaged: false };
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let Some(head) = lines.next() else { return Ok(read) };
    if head.last() != Some(&b'\n') && NAME.as_bytes().starts_with(head.get(..4).unwrap_or(head)) {
        return Ok(read); // not even its first line was whole
    }
    let found = String::from_utf8_lossy(head).trim_end().to_owned();
    if found != format!("{NAME} {VERSION}") {
        let found = found.chars().take(40).collect();
        return Err(JournalError::Version { path: path.to_owned(), found });
    }
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
