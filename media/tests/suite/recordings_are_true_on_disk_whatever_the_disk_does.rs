//! The spool: what is on disk is a true WAV at every checkpoint, a full disk ends the recording and
//! nothing else, a slow one costs silence of the right length and never makes the tap wait.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kaphila_media::record::{Channels, Finished};
use kaphila_media::spool::{Deliver, Disk, LocalDisk, Note, Outcome, Spool, SpoolFile, mend};

const PATIENCE: Duration = Duration::from_secs(20);

fn mailbox() -> (Deliver, Receiver<Note>) {
    let (sender, receiver) = sync_channel(4);
    (Box::new(move |note| sender.try_send(note).map_err(|_| panic!("no room"))), receiver)
}

fn finished(notes: &Receiver<Note>) -> Finished {
    loop {
        match notes.recv_timeout(PATIENCE).unwrap() {
            Note::Started(_) => {}
            Note::Finished(finished) => return finished,
        }
    }
}

fn samples(path: &Path) -> Vec<i16> {
    hound::WavReader::open(path).unwrap().into_samples().map(Result::unwrap).collect()
}

#[test]
fn the_file_is_true_while_it_is_written_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("call.wav");
    let spool = Spool::start(LocalDisk).unwrap();
    let (deliver, notes) = mailbox();
    let mut tap = spool.record(path.clone(), Channels::Dual, deliver).unwrap();
    assert_eq!(notes.recv_timeout(PATIENCE).unwrap(), Note::Started(path.clone()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(samples(&path), [0i16; 0], "an empty recording opens");

    tap.write(&[1, 2, 3], &[-1, -2, -3]);
    let expect = [1, -1, 2, -2, 3, -3];
    while samples(&path).is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(samples(&path), expect, "the checkpoint has the first frame");
    assert_eq!(mend(&path).unwrap().outcome, Outcome::InUse);

    tap.skip(2);
    tap.write(&[9], &[8]);
    tap.skip(3);
    drop(tap);
    let end = finished(&notes);
    let expect = [&expect[..], &[0; 4], &[9, 8], &[0; 6]].concat();
    assert_eq!(samples(&path), expect);
    assert_eq!(end.bytes, 44 + 18 * 2);
    assert_eq!(end.bytes, fs::metadata(&path).unwrap().len());
    assert_eq!((end.duration_ms, end.channels, end.partial), (1, 2, None));
    assert_eq!(mend(&path).unwrap().outcome, Outcome::Healthy);
}

#[test]
fn many_recordings_are_all_there_when_the_spool_stops() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = Spool::start(LocalDisk).unwrap();
    let mut all = Vec::new();
    for n in 0..200i16 {
        let (deliver, notes) = mailbox();
        let path = dir.path().join(format!("{n}.wav"));
        let mut tap = spool.record(path.clone(), Channels::Mono, deliver).unwrap();
        tap.write(&[n; 160], &[1; 160]);
        all.push((n, path, notes, tap));
    }
    spool.stop();
    for (n, path, notes, _tap) in all {
        let end = finished(&notes);
        assert_eq!((end.bytes, end.partial), (44 + 320, None));
        assert_eq!(samples(&path), [n + 1; 160]);
    }
}

#[test]
fn a_file_that_cannot_be_made_is_told_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("call.wav");
    fs::write(&path, "somebody else's").unwrap();
    let spool = Spool::start(LocalDisk).unwrap();
    let (deliver, notes) = mailbox();
    let mut tap = spool.record(path.clone(), Channels::Mono, deliver).unwrap();
    let end = finished(&notes);
    assert_eq!(end.bytes, 0);
    assert!(end.partial.unwrap().contains("could not be made"));
    assert_eq!(fs::read(&path).unwrap(), b"somebody else's");
    tap.write(&[1; 160], &[]); // and the call goes on
}

/// A disk with room for `room` bytes in each file.
struct FullDisk {
    room: u64,
}

struct FullFile {
    file: File,
    room: u64,
}

impl Disk for FullDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SpoolFile>> {
        Ok(Box::new(FullFile { file: File::create_new(path)?, room: self.room }))
    }
}

impl Write for FullFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = self.file.stream_position()?;
        let fits = self.room.saturating_sub(at).min(bytes.len() as u64) as usize;
        if fits == 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.file.write(&bytes[..fits])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for FullFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn a_full_disk_ends_a_recording_as_partial_with_a_true_file() {
    let dir = tempfile::tempdir().unwrap();
    for (room, frames) in [(20, 0), (44, 0), (45, 0), (44 + 4 * 100 + 3, 100)] {
        let path = dir.path().join(format!("{room}.wav"));
        let spool = Spool::start(FullDisk { room }).unwrap();
        let (deliver, notes) = mailbox();
        let mut tap = spool.record(path.clone(), Channels::Dual, deliver).unwrap();
        tap.write(&[5; 400], &[6; 400]);
        let end = finished(&notes);
        assert!(end.partial.unwrap().contains("no storage space"), "room for {room}");
        if room < 44 {
            assert!(!path.exists(), "not even a header: no file at all");
            continue;
        }
        assert_eq!(samples(&path), [5, 6].repeat(frames), "room for {room}");
        assert_eq!(end.bytes, 44 + frames as u64 * 4);
        assert_eq!(end.bytes, fs::metadata(&path).unwrap().len());
        tap.write(&[5; 160], &[6; 160]);
    }
}

/// A disk that stands still while the test holds its lock.
struct SlowDisk(Arc<Mutex<()>>);

struct SlowFile(File, Arc<Mutex<()>>);

impl Disk for SlowDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SpoolFile>> {
        Ok(Box::new(SlowFile(File::create_new(path)?, Arc::clone(&self.0))))
    }
}

impl Write for SlowFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _turn = self.1.lock().unwrap();
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Seek for SlowFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_disk_that_stands_still_for_seconds_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("call.wav");
    let turn = Arc::new(Mutex::new(()));
    let spool = Spool::start(SlowDisk(Arc::clone(&turn))).unwrap();
    let (deliver, notes) = mailbox();
    let mut tap = spool.record(path.clone(), Channels::Mono, deliver).unwrap();
    assert_eq!(notes.recv_timeout(PATIENCE).unwrap(), Note::Started(path.clone()));

    let still = turn.lock().unwrap();
    let frames = 30 * 50;
    for n in 0..frames {
        while tap.room() == 0 {
            std::thread::yield_now();
        }
        tap.write(&[n + 1; 160], &[]);
    }
    drop(still);
    assert_eq!(tap.lost(), 0);
    drop(tap);
    assert_eq!(finished(&notes).partial, None);
    let expect: Vec<i16> = (0..frames).flat_map(|n| [n + 1; 160]).collect();
    assert_eq!(samples(&path), expect);
}

#[test]
fn what_finds_no_room_is_silence_of_the_same_length_and_the_tap_never_waits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("call.wav");
    let spool = Spool::start(LocalDisk).unwrap();
    let (deliver, notes) = mailbox();
    let mut tap = spool.record(path.clone(), Channels::Mono, deliver).unwrap();
    // Faster than any thread can take it.
    let frames = 20_000;
    for n in 0..frames {
        tap.write(&[n + 1; 160], &[]);
    }
    let lost = tap.lost();
    assert!(lost > 0);
    while tap.room() == 0 {
        std::thread::yield_now();
    }
    tap.write(&[-1; 160], &[]);
    drop(tap);
    let end = finished(&notes);
    let got = samples(&path);
    assert_eq!(got.len(), (frames as usize + 1) * 160);
    assert_eq!(got[got.len() - 160..], [-1; 160]);
    let silent = got.iter().filter(|&&sample| sample == 0).count();
    assert_eq!(silent as u64, lost);
    for (n, frame) in got.chunks_exact(160).take(frames as usize).enumerate() {
        assert!(frame == [n as i16 + 1; 160] || frame == [0; 160], "frame {n} is at its place");
    }
    assert!(end.partial.unwrap().contains("slow"));
}
