//! The thread that writes, and waits for the disk.
//!
//! It knows files and what may go wrong with them. It refuses to know where the samples come from.
//! Start at [`Writer::run`].

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use hound::{SampleFormat, WavSpec, WavWriter};

use super::{BATCH, Disk, HEADER, Mailbox, Note, Order, SpoolFile, SpoolStats, mend};
use crate::record::{Channels, Finished, SAMPLE_RATE};

/// Samples written at once: hound keeps a buffer of the longest piece for each recording.
const PIECE: usize = 512;

/// Between two tries to hand over notes that a call had no room for.
const RETRY: Duration = Duration::from_millis(20);

/// What the data of a WAV may be long, in bytes: its length and the file's are 32-bit numbers.
const MAX_DATA: u64 = (u32::MAX - 44) as u64 & !3;

/// The thread's own.
pub(super) struct Writer {
    disk: Box<dyn Disk>,
    files: HashMap<u64, Recording>,
    /// Of recordings that have ended, with notes that their calls had no room for yet.
    undelivered: Vec<Mailbox>,
    /// Bytes of audio that wait for the disk.
    pool: Arc<AtomicUsize>,
    stats: Arc<SpoolStats>,
}

/// A recording that is being written.
struct Recording {
    path: PathBuf,
    channels: Channels,
    wav: WavWriter<Box<dyn SpoolFile>>,
    mailbox: Mailbox,
}

impl Writer {
    pub(super) fn new(disk: Box<dyn Disk>, pool: Arc<AtomicUsize>, stats: Arc<SpoolStats>) -> Self {
        Self { disk, files: HashMap::new(), undelivered: Vec::new(), pool, stats }
    }

    /// Until the gathering thread has handed on everything.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let order = if self.undelivered.is_empty() {
                orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                orders.recv_timeout(RETRY)
            };
            match order {
                Ok(order) => self.carry_out(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.undelivered.retain_mut(|mailbox| !mailbox.flush());
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Begin { id, path, channels, mailbox } => {
                self.begin(id, path, channels, *mailbox);
            }
            Order::Samples { id, samples } => {
                self.checkpoint(id, |wav| write(wav, &samples));
                self.pool.fetch_sub(samples.len() * 2, Ordering::Relaxed);
            }
            Order::Silence { id, samples } => self.checkpoint(id, |wav| silence(wav, samples)),
            Order::End { id, lost } => {
                if let Some(recording) = self.files.remove(&id) {
                    self.complete(recording, lost);
                }
            }
        }
    }

    fn begin(&mut self, id: u64, path: PathBuf, channels: Channels, mut mailbox: Mailbox) {
        let spec = WavSpec {
            channels: channels.count(),
            sample_rate: SAMPLE_RATE,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let created = self.disk.create(&path);
        let exists = created.is_ok();
        let made = created.map_err(hound::Error::IoError);
        match made.and_then(|file| WavWriter::new(file, spec)) {
            Ok(wav) => {
                self.stats.active.fetch_add(1, Ordering::Relaxed);
                mailbox.post(Note::Started(path.clone()));
                self.files.insert(id, Recording { path, channels, wav, mailbox });
                // The sizes in the header of an empty recording are true as well.
                self.checkpoint(id, |_| Ok(()));
            }
            Err(error) => {
                if exists {
                    // No room for as much as a header.
                    let _ = fs::remove_file(&path);
                }
                self.stats.partial.fetch_add(1, Ordering::Relaxed);
                let channels = channels.count();
                let partial = Some(format!("the file could not be made: {error}"));
                self.deliver(
                    mailbox,
                    Finished { path, bytes: 0, duration_ms: 0, channels, partial },
                );
            }
        }
    }

    /// Writes something and makes the header true; what goes wrong ends the recording there. One
    /// that has ended so gets no more.
    fn checkpoint(
        &mut self,
        id: u64,
        what: impl FnOnce(&mut WavWriter<Box<dyn SpoolFile>>) -> Result<(), hound::Error>,
    ) {
        let Some(recording) = self.files.get_mut(&id) else { return };
        recording.mailbox.flush();
        let done = what(&mut recording.wav).and_then(|()| recording.wav.flush());
        if let Err(error) = done
            && let Some(recording) = self.files.remove(&id)
        {
            self.fail(recording, &error.to_string());
        }
    }

    fn complete(&mut self, recording: Recording, lost: u64) {
        let Recording { path, channels, wav, mailbox } = recording;
        let samples = u64::from(wav.len());
        let expected = HEADER + samples * 2;
        let partial = match wav.finalize().map_err(|error| error.to_string()).and_then(|()| {
            fs::metadata(&path).map(|file| file.len()).map_err(|error| error.to_string())
        }) {
            Ok(bytes) if bytes != expected => {
                Some(format!("the file has {bytes} bytes instead of {expected}"))
            }
            Ok(_) if lost > 0 => {
                let ms = samples_ms(lost, channels);
                Some(format!("the disk was slow: {ms} ms are silence"))
            }
            Ok(_) => None,
            Err(error) => Some(error),
        };
        let duration_ms = samples_ms(samples, channels);
        self.end(mailbox, path, channels, expected, duration_ms, partial);
    }

    /// A write failed: what is on disk is made a true WAV and the recording ends there.
    fn fail(&mut self, recording: Recording, reason: &str) {
        let Recording { path, channels, wav, mailbox } = recording;
        // Its drop tries to write the header once more; whatever comes of it, `mend` has the word.
        drop(wav);
        let (bytes, duration_ms) =
            mend(&path).map_or((0, 0), |report| (report.bytes, report.duration_ms));
        self.end(mailbox, path, channels, bytes, duration_ms, Some(reason.to_owned()));
    }

    fn end(
        &mut self,
        mailbox: Mailbox,
        path: PathBuf,
        channels: Channels,
        bytes: u64,
        duration_ms: u64,
        partial: Option<String>,
    ) {
        self.stats.active.fetch_sub(1, Ordering::Relaxed);
        let count = if partial.is_some() { &self.stats.partial } else { &self.stats.completed };
        count.fetch_add(1, Ordering::Relaxed);
        let channels = channels.count();
        self.deliver(mailbox, Finished { path, bytes, duration_ms, channels, partial });
    }

    fn deliver(&mut self, mut mailbox: Mailbox, finished: Finished) {
        mailbox.post(Note::Finished(finished));
        if !mailbox.flush() {
            self.undelivered.push(mailbox);
        }
    }
}

/// Adds silence, in batches.
fn silence(wav: &mut WavWriter<Box<dyn SpoolFile>>, mut samples: u64) -> Result<(), hound::Error> {
    while samples > 0 {
        let take = samples.min(BATCH as u64);
        write(wav, [0; BATCH].get(..take as usize).unwrap_or_default())?;
        samples -= take;
    }
    Ok(())
}

/// Adds samples.
fn write(wav: &mut WavWriter<Box<dyn SpoolFile>>, samples: &[i16]) -> Result<(), hound::Error> {
    if (u64::from(wav.len()) + samples.len() as u64) * 2 > MAX_DATA {
        let full = io::Error::other("the file is as long as a WAV can be (4 GiB)");
        return Err(hound::Error::IoError(full));
    }
    for piece in samples.chunks(PIECE) {
        let mut writer = wav.get_i16_writer(piece.len() as u32);
        for &sample in piece {
            writer.write_sample(sample);
        }
        writer.flush()?;
    }
    Ok(())
}

/// Interleaved samples in ms of audio.
fn samples_ms(samples: u64, channels: Channels) -> u64 {
    samples * 1000 / u64::from(SAMPLE_RATE) / u64::from(channels.count())
}
