//! Samples at their timestamps, and which of them are there.

/// Samples that are kept, a power of two and a multiple of 64: the hold, what a slot and a packet
/// need, and how early a packet may be.
pub(super) const CAPACITY: usize = 4096;

/// Samples to a word of the map of those that are there.
const WORD: usize = u64::BITS as usize;

/// A stretch of a timeline as long as [`CAPACITY`], wherever its user looks.
#[derive(Debug)]
pub(super) struct Store {
    samples: Box<[i16; CAPACITY]>,
    present: [u64; CAPACITY / WORD],
}

impl Store {
    pub(super) fn new() -> Self {
        Self { samples: Box::new([0; CAPACITY]), present: [0; CAPACITY / WORD] }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.present = [0; CAPACITY / WORD];
    }

    /// Puts samples at `from` and on.
    pub(super) fn write(&mut self, from: i64, audio: &[i16]) {
        let mut rest = audio;
        let mut at = from;
        while !rest.is_empty() {
            let index = index(at);
            let (part, after) = rest.split_at(rest.len().min(CAPACITY - index));
            if let Some(place) = self.samples.get_mut(index..index + part.len()) {
                place.copy_from_slice(part);
            }
            self.mark(at, part.len(), true);
            at += part.len() as i64;
            rest = after;
        }
    }

    /// Puts silence at `from` and on.
    pub(super) fn silence(&mut self, from: i64, len: usize) {
        const SILENCE: [i16; 160] = [0; 160];
        let mut done = 0;
        while done < len.min(CAPACITY) {
            let part = SILENCE.get(..len - done).unwrap_or(&SILENCE);
            self.write(from + done as i64, part);
            done += part.len();
        }
    }

    /// Takes samples out that [`Self::run`] has told to be there.
    pub(super) fn take(&mut self, from: i64, out: &mut [i16]) {
        self.mark(from, out.len(), false);
        let mut rest = out;
        let mut at = from;
        while !rest.is_empty() {
            let index = index(at);
            let len = rest.len().min(CAPACITY - index);
            let Some((part, after)) = rest.split_at_mut_checked(len) else { return };
            if let Some(place) = self.samples.get(index..index + len) {
                part.copy_from_slice(place);
            }
            at += len as i64;
            rest = after;
        }
    }

    /// Forgets `len` samples from `from` on.
    pub(super) fn forget(&mut self, from: i64, len: usize) {
        self.mark(from, len, false);
    }

    /// Whether the sample at `from` is there, and for how many, up to `max`, that is so.
    pub(super) fn run(&self, from: i64, max: usize) -> (bool, usize) {
        let word_at = |at: i64| {
            let index = index(at);
            let word = self.present.get(index / WORD).copied().unwrap_or(0);
            (word >> (index % WORD), WORD - index % WORD)
        };
        let there = word_at(from).0 & 1 == 1;
        let mut len = 0;
        while len < max {
            let (word, left) = word_at(from + len as i64);
            let unlike = if there { !word } else { word };
            let same = (unlike.trailing_zeros() as usize).min(left);
            len += same;
            if same < left {
                break;
            }
        }
        (there, len.min(max))
    }

    fn mark(&mut self, from: i64, len: usize, there: bool) {
        let len = len.min(CAPACITY);
        let mut done = 0;
        while done < len {
            let index = index(from + done as i64);
            let first = index % WORD;
            let count = (len - done).min(WORD - first);
            let bits = (u64::MAX >> (WORD - count)) << first;
            if let Some(word) = self.present.get_mut(index / WORD) {
                *word = if there { *word | bits } else { *word & !bits };
            }
            done += count;
        }
    }
}

fn index(position: i64) -> usize {
    position.rem_euclid(CAPACITY as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_anywhere_is_there_and_nothing_else() {
        for from in [-5000_i64, -100, -1, 0, 63, 64, 4000, 4095, 1 << 40] {
            for len in [1_usize, 2, 63, 64, 65, 160, 480, 1600] {
                let mut store = Store::new();
                let audio: Vec<i16> = (1..=len as i16).collect();
                store.write(from, &audio);
                assert_eq!(store.run(from - 7, 4000), (false, 7), "{from} {len}");
                assert_eq!(store.run(from, 2000), (true, len), "{from} {len}");
                assert_eq!(store.run(from + len as i64, 1000), (false, 1000));
                assert_eq!(store.run(from, len.min(3)), (true, len.min(3)));
                let mut out = vec![0; len];
                store.take(from, &mut out);
                assert_eq!(out, audio);
                assert_eq!(store.run(from, 4096), (false, 4096));
            }
        }
    }

    #[test]
    fn forgotten_samples_leave_their_neighbours() {
        let mut store = Store::new();
        store.silence(4000, 500);
        store.forget(4090, 10);
        assert_eq!(store.run(4000, 999), (true, 90));
        assert_eq!(store.run(4090, 999), (false, 10));
        assert_eq!(store.run(4100, 999), (true, 400));
        store.clear();
        assert_eq!(store.run(4000, 999), (false, 999));
    }
}
