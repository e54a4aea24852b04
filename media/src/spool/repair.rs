//! What a crash left of a recording, made a true WAV again.
//!
//! It knows the 44 bytes that [`super`] writes before its samples, at whatever byte the process may
//! have died. It refuses to touch anything else: a healthy file stays byte-identical, a file that
//! is not of our making is reported and left alone. Start at [`repair`].
#![warn(clippy::indexing_slicing)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::record::SAMPLE_RATE;

/// Bytes before the samples of a recording.
pub const HEADER: u64 = 44;

/// What was done with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was true already and has not been touched.
    Healthy,
    /// Its header now tells what is there.
    Mended,
    /// A recording that is being written; not touched.
    InUse,
    /// Not a recording of ours, for this reason; not touched.
    Foreign(&'static str),
    /// The file system refused, with this error.
    Failed(String),
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The file.
    pub path: PathBuf,
    /// What was done with it.
    pub outcome: Outcome,
    /// Its size afterwards; 0 unless healthy or mended.
    pub bytes: u64,
    /// Its length in ms of audio; 0 unless healthy or mended.
    pub duration_ms: u64,
    /// Its channels, 1 or 2; 0 unless healthy or mended.
    pub channels: u16,
}

/// Mends every `*.wav` that stands directly in `dir`; links are not followed. One report a file.
///
/// # Errors
/// When the folder cannot be read; what goes wrong with one file is in its report.
pub fn repair(dir: &Path) -> io::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        let is_wav = path.extension().is_some_and(|extension| extension == "wav");
        if !is_wav || !entry.file_type()?.is_file() {
            continue;
        }
        reports.push(
            mend(&path)
                .unwrap_or_else(|error| report(path, Outcome::Failed(error.to_string()), 0, 0)),
        );
    }
    Ok(reports)
}

/// Mends one file.
///
/// # Errors
/// Those of the file system.
pub fn mend(path: &Path) -> io::Result<Report> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let file = OpenOptions::new().read(true).write(true).custom_flags(no_follow).open(path)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(report(path.to_owned(), Outcome::InUse, 0, 0));
    }
    let length = file.metadata()?.len();
    let found = read_header(&file, length)?;
    let channels = match channels(&found, length) {
        Ok(channels) => channels,
        Err(why) => return Ok(report(path.to_owned(), Outcome::Foreign(why), 0, 0)),
    };
    let block = u64::from(channels) * 2;
    let data = length.saturating_sub(HEADER) / block * block;
    let Ok(data_size) = u32::try_from(data) else {
        let why = "longer than a WAV can be";
        return Ok(report(path.to_owned(), Outcome::Foreign(why), 0, 0));
    };
    let true_header = header(channels, data_size);
    let healthy = length == HEADER + data && found == true_header;
    if !healthy {
        if length > HEADER + data {
            file.set_len(HEADER + data)?;
        }
        file.write_all_at(&true_header, 0)?;
    }
    let outcome = if healthy { Outcome::Healthy } else { Outcome::Mended };
    Ok(report(path.to_owned(), outcome, HEADER + data, channels))
}

fn report(path: PathBuf, outcome: Outcome, bytes: u64, channels: u16) -> Report {
    let block = u64::from(channels.max(1)) * 2;
    let frames = bytes.saturating_sub(HEADER) / block;
    let duration_ms = frames * 1000 / u64::from(SAMPLE_RATE);
    Report { path, outcome, bytes, duration_ms, channels }
}

/// The first bytes of the file; what it is too short for stays zero.
fn read_header(file: &File, length: u64) -> io::Result<[u8; HEADER as usize]> {
    let mut header = [0; HEADER as usize];
    let there = length.min(HEADER) as usize;
    if let Some(there) = header.get_mut(..there) {
        file.read_exact_at(there, 0)?;
    }
    Ok(header)
}

/// The channels of a recording of ours, told by the parts of its header that never change. A file
/// that ends within them is one whose first write was cut: it holds no sample, mono will do.
fn channels(found: &[u8; HEADER as usize], length: u64) -> Result<u16, &'static str> {
    let there = length.min(HEADER) as usize;
    // The two sizes (at 4 and at 40) are what may be untrue.
    let same = |expect: &[u8; HEADER as usize]| {
        found
            .iter()
            .zip(expect)
            .take(there)
            .enumerate()
            .all(|(at, (is, should))| matches!(at, 4..8 | 40..44) || is == should)
    };
    [1, 2]
        .into_iter()
        .find(|&channels| same(&header(channels, 0)))
        .ok_or("not an 8 kHz 16-bit WAV with a header of 44 bytes")
}

/// The header before `data` bytes of samples, as [`super`] writes it.
fn header(channels: u16, data: u32) -> [u8; HEADER as usize] {
    let block = channels * 2;
    let mut header = [0; HEADER as usize];
    let fields: [&[u8]; 13] = [
        b"RIFF",
        &(data.saturating_add(36)).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16u32.to_le_bytes(),
        &1u16.to_le_bytes(),
        &channels.to_le_bytes(),
        &SAMPLE_RATE.to_le_bytes(),
        &(SAMPLE_RATE * u32::from(block)).to_le_bytes(),
        &block.to_le_bytes(),
        &16u16.to_le_bytes(),
        b"data",
        &data.to_le_bytes(),
    ];
    for (out, byte) in header.iter_mut().zip(fields.into_iter().flatten()) {
        *out = *byte;
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recording as hound writes it: nothing here uses [`header`].
    fn recording(path: &Path, channels: u16, frames: u32) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for sample in 0..frames * u32::from(channels) {
            writer.write_sample(sample as i16).unwrap();
        }
        writer.finalize().unwrap();
        fs::read(path).unwrap()
    }

    fn samples(path: &Path) -> Vec<i16> {
        hound::WavReader::open(path).unwrap().into_samples().map(Result::unwrap).collect()
    }

    #[test]
    fn a_recording_cut_at_any_byte_opens_and_keeps_its_samples() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        for channels in [1, 2] {
            let whole = recording(&path, channels, 20);
            for cut in 0..=whole.len() {
                fs::write(&path, &whole[..cut]).unwrap();
                let report = mend(&path).unwrap();
                // Below 23 bytes the channels are not told yet.
                let channels = if cut < 23 { 1 } else { channels };
                let frames = cut.saturating_sub(44) / (2 * usize::from(channels));
                let bytes = 44 + frames * 2 * usize::from(channels);
                assert_eq!(report.bytes, bytes as u64, "cut at {cut}");
                assert_eq!(report.channels, channels, "cut at {cut}");
                assert_eq!(fs::metadata(&path).unwrap().len(), bytes as u64);
                let expect: Vec<i16> =
                    (0..frames * usize::from(channels)).map(|n| n as i16).collect();
                assert_eq!(samples(&path), expect, "cut at {cut}");
                let healthy = cut == whole.len();
                let outcome = if healthy { Outcome::Healthy } else { Outcome::Mended };
                assert_eq!(report.outcome, outcome, "cut at {cut}");
                assert_eq!(mend(&path).unwrap().outcome, Outcome::Healthy);
            }
        }
    }

    #[test]
    fn sizes_of_an_older_checkpoint_or_half_written_ones_are_made_true() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("call.wav");
        let whole = recording(&path, 1, 8000);
        for torn in [&[(4, 36u32), (40, 0u32)][..], &[(4, 16036)], &[(40, 0xFFFF_FFFF)]] {
            let mut bytes = whole.clone();
            for &(at, size) in torn {
                bytes[at..at + 4].copy_from_slice(&size.to_le_bytes());
            }
            let same = bytes == whole;
            fs::write(&path, &bytes).unwrap();
            let report = mend(&path).unwrap();
            let outcome = if same { Outcome::Healthy } else { Outcome::Mended };
            assert_eq!((report.outcome, report.duration_ms), (outcome, 1000));
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn a_folder_is_mended_and_what_is_not_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let healthy = recording(&at("healthy.wav"), 2, 100);
        let cut = recording(&at("cut.wav"), 1, 100);
        fs::write(at("cut.wav"), &cut[..45]).unwrap();
        fs::write(at("rubbish.wav"), [7; 100]).unwrap();
        fs::write(at("note.txt"), "RIFF").unwrap();
        std::os::unix::fs::symlink(at("note.txt"), at("link.wav")).unwrap();
        recording(&at("used.wav"), 1, 100);
        let used = File::open(at("used.wav")).unwrap();
        flock(&used, FlockOperation::NonBlockingLockExclusive).unwrap();
        let before = fs::metadata(at("healthy.wav")).unwrap().modified().unwrap();

        let mut reports = repair(dir.path()).unwrap();
        reports.sort_by(|a, b| a.path.cmp(&b.path));
        let told: Vec<_> = reports
            .iter()
            .map(|r| (r.path.file_name().unwrap().to_str().unwrap(), r.outcome.clone()))
            .collect();
        let foreign = Outcome::Foreign("not an 8 kHz 16-bit WAV with a header of 44 bytes");
        assert_eq!(
            told,
            [
                ("cut.wav", Outcome::Mended),
                ("healthy.wav", Outcome::Healthy),
                ("rubbish.wav", foreign),
                ("used.wav", Outcome::InUse),
            ]
        );
        assert_eq!(fs::read(at("healthy.wav")).unwrap(), healthy);
        assert_eq!(fs::metadata(at("healthy.wav")).unwrap().modified().unwrap(), before);
        assert_eq!(fs::read(at("rubbish.wav")).unwrap(), [7; 100]);
        assert_eq!(fs::metadata(at("cut.wav")).unwrap().len(), 44);
    }
}
