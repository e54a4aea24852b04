//! Frames that begin where the sender's begin.
//!
//! The call's clock stands anywhere in the sender's packets. A burst of 80 ms, cut by our clock, is
//! voice in five frames of 20 ms instead of four: a word. Start at [`Framer::push`].
#![warn(clippy::indexing_slicing)]

/// Samples of a frame: 20 ms, as packets usually bring.
pub const FRAME: usize = 160;

/// Cuts audio, as it is read, where the sender's frames begin. It allocates nothing.
#[derive(Clone, Debug)]
pub struct Framer {
    held: [i16; 2 * FRAME],
    len: usize,
    /// The first boundary has passed.
    begun: bool,
}

impl Default for Framer {
    fn default() -> Self {
        Self { held: [0; 2 * FRAME], len: 0, begun: false }
    }
}

impl Framer {
    /// Adds `audio`; a frame of the sender begins `ahead` samples after its end, and every
    /// [`FRAME`] before and after. `each` gets the frames that are complete; what came before the
    /// first boundary is not one.
    pub fn push(&mut self, audio: &[i16], ahead: usize, mut each: impl FnMut(&[i16])) {
        let mut rest = audio;
        let mut to_boundary = (audio.len() + ahead) % FRAME;
        while let Some((part, after)) = rest.split_at_checked(to_boundary) {
            self.hold(part);
            self.cut(&mut each);
            rest = after;
            to_boundary = FRAME;
        }
        self.hold(rest);
    }

    fn hold(&mut self, part: &[i16]) {
        let room = self.held.get_mut(self.len..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(part) {
            *to = *from;
        }
        self.len = (self.len + part.len()).min(self.held.len());
    }

    /// A boundary. Where clocks drift, a frame is a sample longer or shorter.
    fn cut(&mut self, each: &mut impl FnMut(&[i16])) {
        let len = std::mem::take(&mut self.len);
        if std::mem::replace(&mut self.begun, true) && len > 0 {
            each(self.held.get(..len).unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths and first samples of the frames of 0, 1, 2, … read in pieces of `piece` samples,
    /// where the sender's frames begin at `boundary`.
    fn frames(pieces: usize, piece: usize, boundary: usize) -> Vec<(usize, i16)> {
        let mut framer = Framer::default();
        let mut frames = Vec::new();
        for n in 0..pieces {
            let audio: Vec<i16> = (n * piece..(n + 1) * piece).map(|at| at as i16).collect();
            let ahead = (boundary + 100 * FRAME - (n + 1) * piece) % FRAME;
            framer.push(&audio, ahead, |frame| frames.push((frame.len(), frame[0])));
        }
        frames
    }

    #[test]
    fn frames_begin_where_the_senders_begin() {
        assert_eq!(frames(3, 160, 0), [(160, 0), (160, 160), (160, 320)]);
        assert_eq!(frames(3, 160, 56), [(160, 56), (160, 216)]);
        assert_eq!(frames(3, 160, 159), [(160, 159), (160, 319)]);
        assert_eq!(frames(6, 80, 0), [(160, 0), (160, 160), (160, 320)]);
        assert_eq!(frames(6, 80, 100), [(160, 100), (160, 260)]);
    }

    #[test]
    fn a_step_of_the_clock_makes_one_frame_longer_or_shorter() {
        for (ahead, lengths) in [(41, [160, 161]), (39, [160, 159])] {
            let mut framer = Framer::default();
            let mut seen = Vec::new();
            framer.push(&[0; 160], 40, |_| unreachable!());
            framer.push(&[0; 160], 40, |frame| seen.push(frame.len()));
            framer.push(&[0; 160], ahead, |frame| seen.push(frame.len()));
            assert_eq!(seen, lengths, "{ahead}");
        }
    }
}
