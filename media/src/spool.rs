//! The threads that bring recordings to disk.
//!
//! They know files and what a disk may do wrong. They refuse to know calls and to make anybody wait.
//! One thread, which never touches the disk, empties the rings ([`crate::record`]) into batches of
//! a quarter of a second; the other writes each batch and makes the header true, so that a crash loses less
//! than a second. While the disk stands still the batches wait in a pool that all recordings share;
//! when that is full the rings are, and what comes then is silence in the file. A disk that is full
//! ends that recording as partial with the reason.
//!
//! Start at [`Spool::start`] and [`Spool::record`]; what a crash left is mended by [`fn@repair`].

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::record::{Channels, Drain, Finished, Tap, tap};

mod gather;
mod repair;
mod write;

pub use repair::{HEADER, Outcome, Report, mend, repair};

/// Recordings that wait to be begun. With 400 new ones a second that is a disk which has not
/// answered for two seconds beyond what the pool holds: the next one is refused.
const MAX_WAITING: usize = 1024;

/// Batches that wait for the disk: some four seconds of 2 000 recordings.
const MAX_ORDERS: usize = 32_768;

/// Bytes of audio that wait for the disk: four seconds of 1 000 recordings, more of fewer.
const POOL: usize = 64 << 20;

/// Samples in a batch at most; bounds what is kept for each recording.
const BATCH: usize = 2048;

/// Where the end of the process waits for a disk that hangs.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Where files are made; the disk, or a test's stand-in for a bad one.
pub trait Disk: Send + 'static {
    /// Makes a new file, readable by its owner only.
    ///
    /// # Errors
    /// Those of the file system; `AlreadyExists` when there is one.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SpoolFile>>;
}

/// What a recording is written to.
pub trait SpoolFile: io::Write + io::Seek + Send {}

impl<T: io::Write + io::Seek + Send> SpoolFile for T {}

/// The file system.
#[derive(Debug, Default)]
pub struct LocalDisk;

impl Disk for LocalDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SpoolFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        // The umask may have taken the owner's own rights away.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        // Tells a repair from another process that this file is being written; where the file
        // system knows no locks it must do without.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Box::new(file))
    }
}

/// What the spool tells of a recording.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// The file is there.
    Started(PathBuf),
    /// The recording has ended. Comes once, last, and also where no file could be made.
    Finished(Finished),
}

/// Carries a note to its call; gives it back, to be tried again later, when the call has no room.
pub type Deliver = Box<dyn Fn(Note) -> Result<(), Note> + Send>;

/// No recording can be begun now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// Too many recordings wait for the disk.
    #[error("the disk does not keep up: {MAX_WAITING} recordings wait to be begun")]
    Busy,
    /// The spool has been stopped.
    #[error("the spool has been stopped")]
    Stopped,
}

/// What the spool has done since its start.
#[derive(Debug, Default)]
pub struct SpoolStats {
    /// Recordings being written.
    pub active: AtomicU64,
    /// Recordings that ended whole.
    pub completed: AtomicU64,
    /// Recordings that ended as partial.
    pub partial: AtomicU64,
}

/// The handle of the spool's threads; dropping it finishes every recording.
pub struct Spool {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<()>,
    threads: Vec<JoinHandle<()>>,
    stats: Arc<SpoolStats>,
}

impl Spool {
    /// Starts the threads.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(disk: impl Disk) -> io::Result<Self> {
        let (jobs, intake) = sync_channel(MAX_WAITING);
        let (orders, work) = sync_channel(MAX_ORDERS);
        let (finished, done) = sync_channel(1);
        let stats = Arc::new(SpoolStats::default());
        let pool = Arc::new(AtomicUsize::new(0));
        let gatherer = gather::Gatherer::new(orders, Arc::clone(&pool));
        let writer = write::Writer::new(Box::new(disk), pool, Arc::clone(&stats));
        let gather = std::thread::Builder::new()
            .name("spool-gather".into())
            .spawn(move || gatherer.run(&intake))?;
        let write = std::thread::Builder::new().name("spool-write".into()).spawn(move || {
            writer.run(&work);
            let _ = finished.send(());
        })?;
        Ok(Self { jobs: Some(jobs), done, threads: vec![gather, write], stats })
    }

    /// Begins a recording: the file is made by the thread, which tells through `deliver` of its
    /// beginning and, once, whatever happens, of its end. It goes on until the tap is dropped.
    ///
    /// # Errors
    /// [`SpoolError`]; nothing is recorded then and nothing delivered.
    pub fn record(
        &self,
        path: PathBuf,
        channels: Channels,
        deliver: Deliver,
    ) -> Result<Tap, SpoolError> {
        let (tap, drain) = tap(channels);
        let job = Job { path, drain, mailbox: Mailbox { deliver, waiting: VecDeque::new() } };
        let jobs = self.jobs.as_ref().ok_or(SpoolError::Stopped)?;
        match jobs.try_send(job) {
            Ok(()) => Ok(tap),
            Err(TrySendError::Full(_)) => Err(SpoolError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(SpoolError::Stopped),
        }
    }

    /// What the spool has done since its start.
    pub fn stats(&self) -> &SpoolStats {
        &self.stats
    }

    /// Finishes every recording and ends the threads; a disk that hangs is waited for 5 s.
    pub fn stop(&mut self) {
        self.jobs = None;
        if self.done.recv_timeout(STOP_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the disk hangs: recordings may be unfinished");
            self.threads.clear();
            return;
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.jobs.is_some() {
            self.stop();
        }
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("stats", &self.stats).finish_non_exhaustive()
    }
}

/// A recording on its way to the gathering thread.
struct Job {
    path: PathBuf,
    drain: Drain,
    mailbox: Mailbox,
}

/// What the gathering thread tells the writing one, by the number of the recording.
enum Order {
    /// Make the file.
    Begin { id: u64, path: PathBuf, channels: Channels, mailbox: Box<Mailbox> },
    /// Write these (interleaved) samples.
    Samples { id: u64, samples: Vec<i16> },
    /// Write so many (interleaved) samples of silence.
    Silence { id: u64, samples: u64 },
    /// All is there, but for so many samples that found no room.
    End { id: u64, lost: u64 },
}

/// The notes of one recording: two at most wait, in their order.
struct Mailbox {
    deliver: Deliver,
    waiting: VecDeque<Note>,
}

impl Mailbox {
    fn post(&mut self, note: Note) {
        self.waiting.push_back(note);
        self.flush();
    }

    /// Delivers what waits; true when nothing is left.
    fn flush(&mut self) -> bool {
        while let Some(note) = self.waiting.pop_front() {
            if let Err(note) = (self.deliver)(note) {
                self.waiting.push_front(note);
                return false;
            }
        }
        true
    }
}
