//! The tap of a recording: frames of one call on their way from the worker to the spool thread.
//!
//! It knows the two directions of one call, sample by sample, and the room that is left in its
//! ring. It refuses to know files, clocks and threads: a full ring is not waited for, the samples
//! are counted as a gap and the spool writes silence of that length at that place, so that the file
//! stays true to the wall clock. Start at [`tap`] and [`Tap::write`].

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

/// Samples a second of every recording.
pub const SAMPLE_RATE: u32 = 8000;

/// Interleaved samples in one ring entry: 20 ms of a mono recording, 10 ms of a dual one.
const FRAME_SAMPLES: usize = 160;

/// Audio that a ring holds. It is emptied every 100 ms by a thread that does not wait for the disk;
/// the rest is for a machine that stands still. Bounded by the memory a call may have (64 KiB).
const RING_MS: usize = 400;

/// How the two directions of a call are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// One channel, the saturated sum of both directions.
    Mono,
    /// Two channels: the far end on the left, ours on the right.
    Dual,
}

impl Channels {
    /// The number of channels in the file, 1 or 2.
    pub fn count(self) -> u16 {
        match self {
            Self::Mono => 1,
            Self::Dual => 2,
        }
    }
}

/// A recording that has ended, as it is on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// The file.
    pub path: PathBuf,
    /// Its size: 44 + samples × 2 × channels; 0 where no file could be made.
    pub bytes: u64,
    /// Its length in ms of audio.
    pub duration_ms: u64,
    /// Its channels, 1 or 2.
    pub channels: u16,
    /// Why the file holds less than the call: the disk was full, a write failed, frames were lost
    /// because the disk was slow (they are silence in the file). `None`: all is there.
    pub partial: Option<String>,
}

/// What passes through the ring. `gap` samples (interleaved) of silence come before `samples`.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    gap: u32,
    len: u16,
    samples: [i16; FRAME_SAMPLES],
}

impl Frame {
    /// Interleaved samples of silence that belong before this frame's.
    pub fn gap(&self) -> u32 {
        self.gap
    }

    /// The interleaved samples.
    pub fn samples(&self) -> &[i16] {
        self.samples.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// What both ends count, read by the spool when the tap is gone.
#[derive(Debug, Default)]
struct Shared {
    /// Interleaved samples of silence after the last frame.
    tail: AtomicU64,
    /// Interleaved samples that found no room.
    lost: AtomicU64,
}

/// The worker's end. Dropping it ends the recording.
pub struct Tap {
    ring: Producer<Frame>,
    channels: Channels,
    gap: u64,
    shared: Arc<Shared>,
}

/// The spool's end.
#[derive(Debug)]
pub struct Drain {
    ring: Consumer<Frame>,
    channels: Channels,
    shared: Arc<Shared>,
}

/// Makes the two ends of a recording. Allocates; not for the worker.
pub fn tap(channels: Channels) -> (Tap, Drain) {
    let samples = RING_MS * SAMPLE_RATE as usize / 1000 * usize::from(channels.count());
    let (producer, consumer) = RingBuffer::new(samples.div_ceil(FRAME_SAMPLES));
    let shared = Arc::new(Shared::default());
    let tap = Tap { ring: producer, channels, gap: 0, shared: Arc::clone(&shared) };
    (tap, Drain { ring: consumer, channels, shared })
}

impl Tap {
    /// Adds one stretch of both directions, 8 kHz linear: `theirs` is what the far end sent, `ours`
    /// what we sent. The shorter one is taken as followed by silence. Never waits, never allocates;
    /// what finds no room becomes a gap.
    pub fn write(&mut self, theirs: &[i16], ours: &[i16]) {
        let step = FRAME_SAMPLES / usize::from(self.channels.count());
        let length = theirs.len().max(ours.len());
        let mut at = 0;
        while at < length {
            let take = step.min(length - at);
            self.push(take, |i| {
                let sample = |side: &[i16]| side.get(at + i).copied().unwrap_or(0);
                (sample(theirs), sample(ours))
            });
            at += take;
        }
    }

    /// Adds `samples` of silence on both sides: a stretch in which the call had no turn.
    pub fn skip(&mut self, samples: u32) {
        self.gap += u64::from(samples) * u64::from(self.channels.count());
    }

    /// Interleaved samples that found no room so far.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Frames (20 ms of mono, 10 ms of dual) that find room now.
    pub fn room(&self) -> usize {
        self.ring.slots()
    }

    /// How the directions are kept.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    fn push(&mut self, take: usize, at: impl Fn(usize) -> (i16, i16)) {
        let len = take * usize::from(self.channels.count());
        if self.ring.is_full() {
            self.gap += len as u64;
            self.shared.lost.fetch_add(len as u64, Ordering::Relaxed);
            return;
        }
        // A gap too long for one frame (74 hours of dual) is carried on to the next.
        let gap = u32::try_from(self.gap).unwrap_or(u32::MAX - 1);
        let mut frame = Frame { gap, len: len as u16, samples: [0; FRAME_SAMPLES] };
        match self.channels {
            Channels::Mono => {
                for (i, out) in frame.samples.iter_mut().take(take).enumerate() {
                    let (theirs, ours) = at(i);
                    *out = theirs.saturating_add(ours);
                }
            }
            Channels::Dual => {
                for (i, out) in frame.samples.chunks_exact_mut(2).take(take).enumerate() {
                    let (theirs, ours) = at(i);
                    out.copy_from_slice(&[theirs, ours]);
                }
            }
        }
        if self.ring.push(frame).is_ok() {
            self.gap -= u64::from(gap);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Before the ring is seen as abandoned: the spool reads it after that.
        self.shared.tail.store(self.gap, Ordering::Release);
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").field("channels", &self.channels).field("gap", &self.gap).finish()
    }
}

impl Drain {
    /// Takes the next frame, if one is there.
    pub fn pop(&mut self) -> Option<Frame> {
        self.ring.pop().ok()
    }

    /// The tap is gone: what is in the ring now, and [`Drain::tail`], is all there will be.
    pub fn is_ended(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// Interleaved samples of silence after the last frame; true once ended.
    pub fn tail(&self) -> u64 {
        self.shared.tail.load(Ordering::Acquire)
    }

    /// Interleaved samples that found no room.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// How the directions are kept.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// Frames that the ring holds at most.
    pub fn capacity(&self) -> usize {
        self.ring.buffer().capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(drain: &mut Drain) -> Vec<i16> {
        let mut all = Vec::new();
        while let Some(frame) = drain.pop() {
            all.resize(all.len() + frame.gap() as usize, 0);
            all.extend_from_slice(frame.samples());
        }
        all
    }

    #[test]
    fn mono_is_the_saturated_sum_and_dual_is_left_and_right() {
        let (mut mono, mut out) = tap(Channels::Mono);
        mono.write(&[1, i16::MAX, 5], &[2, 10]);
        assert_eq!(drain(&mut out), [3, i16::MAX, 5]);

        let (mut dual, mut out) = tap(Channels::Dual);
        dual.write(&[1, 2], &[-1]);
        assert_eq!(drain(&mut out), [1, -1, 2, 0]);
    }

    #[test]
    fn long_stretches_pass_whole() {
        for channels in [Channels::Mono, Channels::Dual] {
            let (mut tap, mut out) = tap(channels);
            let theirs: Vec<i16> = (0..480).collect();
            tap.write(&theirs, &[]);
            let got = drain(&mut out);
            let left: Vec<i16> = got.iter().step_by(channels.count().into()).copied().collect();
            assert_eq!(left, theirs, "{channels:?}");
        }
    }

    #[test]
    fn a_full_ring_becomes_silence_of_the_same_length_at_that_place() {
        let (mut tap, mut out) = tap(Channels::Mono);
        for _ in 0..20 {
            tap.write(&[7; 160], &[]);
        }
        tap.write(&[8; 160], &[]);
        tap.write(&[8; 80], &[]);
        assert_eq!(tap.lost(), 240);
        assert_eq!(drain(&mut out), vec![7; 20 * 160]);
        tap.write(&[9; 160], &[]);
        assert_eq!(drain(&mut out), [vec![0; 240], vec![9; 160]].concat());
        tap.skip(100);
        drop(tap);
        assert!(out.is_ended());
        assert_eq!((out.tail(), out.lost()), (100, 240));
    }
}
