//! The thread that brings recordings to disk.
//!
//! It knows files, the half second between two checkpoints and what a disk may do wrong. It refuses
//! to know calls and to make anybody wait: frames come through bounded rings
//! ([`crate::record`]), a slow disk costs silence, a full one ends that recording as partial with
//! the reason. After every checkpoint the file is a true WAV, so that a crash loses less than a
//! second. Start at [`Spool::start`] and [`Spool::record`]; what a crash left is mended by
//! [`repair`].
#![allow(clippy::disallowed_methods, reason = "a driver: it keeps the time of the checkpoints")]

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hound::{SampleFormat, WavSpec, WavWriter};
use rustix::fs::{FlockOperation, flock};

use crate::record::{Channels, Drain, Finished, SAMPLE_RATE, Tap, tap};

mod repair;

pub use repair::{HEADER, Outcome, Report, mend, repair};

/// Between two checkpoints of a recording; a crash loses this and a pass at most.
const CHECKPOINT: Duration = Duration::from_millis(500);

/// Between two looks at all recordings, while there are any: the end of a call waits for the end of
/// its file.
const PASS: Duration = Duration::from_millis(4);

/// Recordings that wait for the thread to see them. With 400 new ones a second that is a disk which
/// has not answered for two seconds: the next one is refused.
const MAX_WAITING: usize = 1024;

/// Samples written at once; bounds the memory that each file's writer keeps.
const BATCH: usize = 4096;

/// What the data of a WAV may be long, in bytes: its length and the file's are 32-bit numbers.
const MAX_DATA: u64 = (u32::MAX - 44) as u64 & !3;

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

/// The handle of the spool thread; dropping it finishes every recording.
pub struct Spool {
    jobs: Option<SyncSender<Recording>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    stats: Arc<SpoolStats>,
}

impl Spool {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(disk: impl Disk) -> io::Result<Self> {
        let (jobs, intake) = sync_channel(MAX_WAITING);
        let (finished, done) = sync_channel(1);
        let stats = Arc::new(SpoolStats::default());
        let writer = Writer {
            disk: Box::new(disk),
            recordings: Vec::new(),
            undelivered: Vec::new(),
            batch: Vec::with_capacity(BATCH),
            stats: Arc::clone(&stats),
        };
        let thread = std::thread::Builder::new().name("spool".into()).spawn(move || {
            writer.run(&intake);
            let _ = finished.send(());
        })?;
        Ok(Self { jobs: Some(jobs), done, thread: Some(thread), stats })
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
        let recording = Recording {
            path,
            drain,
            mailbox: Mailbox { deliver, waiting: VecDeque::new() },
            writer: None,
            due: None,
        };
        let jobs = self.jobs.as_ref().ok_or(SpoolError::Stopped)?;
        match jobs.try_send(recording) {
            Ok(()) => Ok(tap),
            Err(TrySendError::Full(_)) => Err(SpoolError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(SpoolError::Stopped),
        }
    }

    /// What the spool has done since its start.
    pub fn stats(&self) -> &SpoolStats {
        &self.stats
    }

    /// Finishes every recording and ends the thread; a disk that hangs is waited for 5 s.
    pub fn stop(&mut self) {
        self.jobs = None;
        if self.done.recv_timeout(STOP_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the disk hangs: recordings may be unfinished");
            return;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("stats", &self.stats).finish_non_exhaustive()
    }
}

/// One recording. `writer` is there once the file is.
struct Recording {
    path: PathBuf,
    drain: Drain,
    mailbox: Mailbox,
    writer: Option<WavWriter<Box<dyn SpoolFile>>>,
    due: Option<Instant>,
}

/// The notes of one recording: two at most wait, in their order.
struct Mailbox {
    deliver: Deliver,
    waiting: VecDeque<Note>,
}

/// The thread's own.
struct Writer {
    disk: Box<dyn Disk>,
    recordings: Vec<Recording>,
    /// Of recordings that have ended, with notes that their calls had no room for yet.
    undelivered: Vec<Mailbox>,
    batch: Vec<i16>,
    stats: Arc<SpoolStats>,
}

impl Writer {
    fn run(mut self, intake: &Receiver<Recording>) {
        let mut next_pass = Instant::now();
        loop {
            let idle = self.recordings.is_empty() && self.undelivered.is_empty();
            let job = if idle {
                intake.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                intake.recv_timeout(next_pass.saturating_duration_since(Instant::now()))
            };
            match job {
                Ok(recording) => {
                    self.begin(recording);
                    while let Ok(recording) = intake.try_recv() {
                        self.begin(recording);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish_all(),
            }
            let now = Instant::now();
            if now >= next_pass {
                self.pass(now);
                next_pass = now + PASS;
            }
        }
    }

    fn begin(&mut self, mut recording: Recording) {
        let spec = WavSpec {
            channels: recording.drain.channels().count(),
            sample_rate: SAMPLE_RATE,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let created = self.disk.create(&recording.path);
        let exists = created.is_ok();
        let made = created.map_err(hound::Error::IoError);
        match made.and_then(|file| WavWriter::new(file, spec)) {
            Ok(mut writer) => {
                // The sizes in the header of an empty recording are true as well.
                let flushed = writer.flush();
                recording.writer = Some(writer);
                recording.due = Some(Instant::now() + CHECKPOINT);
                self.stats.active.fetch_add(1, Ordering::Relaxed);
                recording.mailbox.post(Note::Started(recording.path.clone()));
                match flushed {
                    Ok(()) => self.recordings.push(recording),
                    Err(error) => self.fail(recording, &error.to_string()),
                }
            }
            Err(error) => {
                if exists {
                    // No room for as much as a header.
                    let _ = fs::remove_file(&recording.path);
                }
                self.stats.partial.fetch_add(1, Ordering::Relaxed);
                let channels = recording.drain.channels().count();
                let partial = Some(format!("the file could not be made: {error}"));
                let Recording { path, mailbox, .. } = recording;
                let end = Finished { path, bytes: 0, duration_ms: 0, channels, partial };
                self.deliver(mailbox, end);
            }
        }
    }

    /// Looks at every recording: ends those whose tap is gone, brings those to disk that are due.
    fn pass(&mut self, now: Instant) {
        self.undelivered.retain_mut(|mailbox| !mailbox.flush());
        let mut at = 0;
        while let Some(recording) = self.recordings.get_mut(at) {
            let ended = recording.drain.is_ended();
            if !ended && recording.due.is_some_and(|due| now < due) {
                at += 1;
                continue;
            }
            recording.due = Some(now + CHECKPOINT);
            recording.mailbox.flush();
            let result = recording.checkpoint(&mut self.batch, ended);
            if result.is_ok() && !ended {
                at += 1;
                continue;
            }
            let recording = self.recordings.swap_remove(at);
            match result {
                Ok(()) => self.complete(recording),
                Err(error) => self.fail(recording, &error.to_string()),
            }
        }
    }

    /// The process ends: what is in the rings is written, whether the taps are gone or not.
    fn finish_all(mut self) {
        for mut recording in std::mem::take(&mut self.recordings) {
            match recording.checkpoint(&mut self.batch, true) {
                Ok(()) => self.complete(recording),
                Err(error) => self.fail(recording, &error.to_string()),
            }
        }
        self.undelivered.retain_mut(|mailbox| !mailbox.flush());
    }

    fn complete(&mut self, mut recording: Recording) {
        let samples = recording.writer.as_ref().map_or(0, |writer| u64::from(writer.len()));
        let finalized = recording.writer.take().map_or(Ok(()), WavWriter::finalize);
        if let Err(error) = finalized {
            return self.fail(recording, &error.to_string());
        }
        let expected = HEADER + samples * 2;
        let partial = match fs::metadata(&recording.path).map(|file| file.len()) {
            Ok(bytes) if bytes == expected => recording.lost(),
            Ok(bytes) => Some(format!("the file has {bytes} bytes instead of {expected}")),
            Err(error) => Some(format!("the file is gone: {error}")),
        };
        self.end(recording, expected, samples, partial);
    }

    /// A write failed: what is on disk is made a true WAV and the recording ends there.
    fn fail(&mut self, mut recording: Recording, reason: &str) {
        // Its drop tries to write the header once more; whatever comes of it, `mend` has the word.
        recording.writer = None;
        let (bytes, frames) = match mend(&recording.path) {
            Ok(report) => (report.bytes, report.duration_ms * u64::from(SAMPLE_RATE) / 1000),
            Err(_) => (0, 0),
        };
        let samples = frames * u64::from(recording.drain.channels().count());
        self.end(recording, bytes, samples, Some(reason.to_owned()));
    }

    fn end(&mut self, recording: Recording, bytes: u64, samples: u64, partial: Option<String>) {
        self.stats.active.fetch_sub(1, Ordering::Relaxed);
        let count = if partial.is_some() { &self.stats.partial } else { &self.stats.completed };
        count.fetch_add(1, Ordering::Relaxed);
        let channels = recording.drain.channels().count();
        let duration_ms = samples_ms(samples, channels);
        let Recording { path, mailbox, .. } = recording;
        self.deliver(mailbox, Finished { path, bytes, duration_ms, channels, partial });
    }

    fn deliver(&mut self, mut mailbox: Mailbox, finished: Finished) {
        mailbox.post(Note::Finished(finished));
        if !mailbox.flush() {
            self.undelivered.push(mailbox);
        }
    }
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

impl Recording {
    /// Writes what the ring holds and makes the header true; with `last`, the tail as well.
    fn checkpoint(&mut self, batch: &mut Vec<i16>, last: bool) -> Result<(), hound::Error> {
        let Some(writer) = self.writer.as_mut() else { return Ok(()) };
        batch.clear();
        // A tap that is still written to could keep this loop busy: one ring's worth is enough.
        for _ in 0..self.drain.capacity() {
            let Some(frame) = self.drain.pop() else { break };
            silence(writer, batch, frame.gap().into())?;
            if batch.len() + frame.samples().len() > BATCH {
                write(writer, batch)?;
            }
            batch.extend_from_slice(frame.samples());
        }
        if last && self.drain.is_ended() {
            silence(writer, batch, self.drain.tail())?;
        }
        write(writer, batch)?;
        writer.flush()
    }

    fn lost(&self) -> Option<String> {
        let lost = self.drain.lost();
        let ms = samples_ms(lost, self.drain.channels().count());
        (lost > 0).then(|| format!("the disk was slow: {ms} ms are silence"))
    }
}

/// Adds `samples` of silence, in batches.
fn silence(
    writer: &mut WavWriter<Box<dyn SpoolFile>>,
    batch: &mut Vec<i16>,
    mut samples: u64,
) -> Result<(), hound::Error> {
    while samples > 0 {
        let room = BATCH - batch.len();
        if room == 0 {
            write(writer, batch)?;
            continue;
        }
        let take = samples.min(room as u64);
        batch.resize(batch.len() + take as usize, 0);
        samples -= take;
    }
    Ok(())
}

/// Writes the batch and empties it.
fn write(
    writer: &mut WavWriter<Box<dyn SpoolFile>>,
    batch: &mut Vec<i16>,
) -> Result<(), hound::Error> {
    if batch.is_empty() {
        return Ok(());
    }
    if (u64::from(writer.len()) + batch.len() as u64) * 2 > MAX_DATA {
        let full = io::Error::other("the file is as long as a WAV can be (4 GiB)");
        return Err(hound::Error::IoError(full));
    }
    let mut samples = writer.get_i16_writer(batch.len() as u32);
    for &sample in batch.iter() {
        samples.write_sample(sample);
    }
    samples.flush()?;
    batch.clear();
    Ok(())
}

/// Interleaved samples in ms of audio.
fn samples_ms(samples: u64, channels: u16) -> u64 {
    samples * 1000 / u64::from(SAMPLE_RATE) / u64::from(channels)
}
