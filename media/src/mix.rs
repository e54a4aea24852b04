//! What we say, kept until what the far end said at the same time is known.
//!
//! It knows a stretch of the call's clock, sample by sample. It refuses to know packets. The far
//! end's audio is known only after the hold of [`crate::jitter`]; ours waits here for it, so that a
//! recording adds (and saturates, see [`crate::record::Tap::write`]) what belongs to one instant.
//! Start at [`OwnVoice::write`].
#![warn(clippy::indexing_slicing)]

/// Samples kept: the hold, a slot, and the longest packet sent ahead, rounded up to a power of two.
const CAPACITY: usize = 2048;

/// Our own voice on the call's clock. What was never said is silence.
#[derive(Clone, Debug)]
pub struct OwnVoice {
    samples: Box<[i16; CAPACITY]>,
    /// The next position to be read.
    read: i64,
}

impl OwnVoice {
    /// Nothing said; the first position read will be `clock`.
    pub fn new(clock: i64) -> Self {
        Self { samples: Box::new([0; CAPACITY]), read: clock }
    }

    /// We say this from clock position `at` on. What lies beyond the store is not kept.
    pub fn write(&mut self, at: i64, audio: &[i16]) {
        let kept = self.read..self.read + CAPACITY as i64;
        for (position, sample) in (at..).zip(audio) {
            if kept.contains(&position) {
                *self.place(position) = *sample;
            }
        }
    }

    /// What we said from clock position `at` on, which is never before the end of what was read.
    /// What lies between was never said.
    pub fn read(&mut self, at: i64, frame: &mut [i16]) {
        self.read = at;
        for sample in frame {
            let read = self.read;
            *sample = std::mem::take(self.place(read));
            self.read += 1;
        }
    }

    #[allow(clippy::indexing_slicing, reason = "the remainder is below the length")]
    fn place(&mut self, position: i64) -> &mut i16 {
        &mut self.samples[position.rem_euclid(CAPACITY as i64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_back_at_its_time_and_once() {
        let mut voice = OwnVoice::new(-640);
        voice.write(0, &[1, 2, 3]);
        // Neither the past nor what is too far ahead.
        voice.write(-700, &[9; 10]);
        voice.write(5000, &[9; 10]);
        let mut heard = vec![7; 640 + 6];
        voice.read(-640, &mut heard);
        assert!(heard[..640].iter().all(|s| *s == 0));
        assert_eq!(heard[640..], [1, 2, 3, 0, 0, 0]);
        let mut again = vec![7; 3 * CAPACITY];
        voice.read(6, &mut again);
        assert!(again.iter().all(|s| *s == 0));
    }
}
