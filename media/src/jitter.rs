//! Audio that came, placed by its timestamps on the call's clock (RFC 3550 §5.1; `quality` M9).
//!
//! It knows one stream of 8 kHz samples, and the clock of the call as a count of samples. It
//! refuses to know codecs and who sent; telephone-events do not pass through it. Start at
//! [`Jitter::place`] and [`Jitter::read`].
//!
//! Samples are kept at their timestamps. Reading goes on with the call's clock, whatever comes:
//! `read = clock − transit`, where transit is the least (arrival − timestamp) of the last seconds,
//! so the packets that were fastest say where the sender's clock stands. A packet may come
//! [`HOLD`] later than the fastest and is still in its place. Where the two clocks drift apart the
//! reading is stretched or shrunk by a sample a frame, which nobody hears.
#![warn(clippy::indexing_slicing)]

mod store;

use crate::plc::Concealer;
use crate::rtp::TimestampExtension;
use store::{CAPACITY, Store};

/// How long a missing packet is waited for: 60 ms.
pub const HOLD: i64 = 480;

/// How far behind the call's clock a frame is read: the hold, the difference between the
/// clocks that is let be, and what 200 ppm make of the fastest packet's age. 68 ms.
pub const LAG: i64 = HOLD + 2 * SLACK;

/// The longest packet that is taken: 200 ms, more than any agreed packet length.
pub const MAX_SAMPLES: usize = 1600;

/// A packet this much before its time is of another timeline: 200 ms.
const EARLIEST: i64 = 1600;
/// A packet this much after its time is of another timeline: 1 s.
const LATEST: i64 = 8000;

/// This many packets too late with none in time between: the path has become slower, or the
/// sender's timestamps stood still in a pause.
const SLOWER: u32 = 3;

/// Who has not caught up this long after the path became slower will not: 2 s.
const STANDSTILL: i64 = 16_000;

/// The window of the least transit is between one and two of these: 4 s. Long enough to meet a
/// fast packet, short against a drift of 200 ppm (a millisecond and a half).
const WINDOW: i64 = 32_000;

/// A difference between the clocks that is let be: 4 ms.
const SLACK: i64 = 32;
/// A difference that is corrected four times as fast: 20 ms.
const FAR: i64 = 160;
/// A difference that is jumped over: 200 ms.
const JUMP: i64 = 1600;
/// Samples by which a frame is stretched or shrunk, usually and when far.
const STEP: i64 = 1;
const FAR_STEP: i64 = 4;

/// The longest frame that is read: 20 ms, and what shrinking takes from the next.
const FRAME: usize = 160;
const GATHERED: usize = FRAME + FAR_STEP as usize;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// All or a part of it is in its place.
    InTime,
    /// Its time had passed.
    Late,
    /// Its timestamp is of another timeline; a second one in sequence to it begins that.
    Astray,
}

/// One sender's timeline.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    timestamps: TimestampExtension,
    /// A timestamp at which a packet begins.
    begins: i64,
    /// The next timestamp that is read.
    read: i64,
    transit: LeastTransit,
    last_sequence: u16,
    /// The timestamp after the last packet, in the order of the sequence.
    end: i64,
    /// Nothing has been heard of it yet.
    fresh: bool,
    /// Reading is being brought nearer to its goal.
    correcting: bool,
    /// Packets that were too late since the last in time.
    late: u32,
    /// The least transit before the path seemed to become slower, and when that was.
    before: Option<(i64, i64)>,
    /// What the next packet of another timeline must be: sequence, and transit about this.
    astray: Option<(u16, i64)>,
}

/// The least transit of the last one to two windows.
#[derive(Clone, Copy, Debug)]
struct LeastTransit {
    since: i64,
    current: i64,
    previous: i64,
}

impl LeastTransit {
    fn new(now: i64, transit: i64) -> Self {
        Self { since: now, current: transit, previous: transit }
    }

    fn observe(&mut self, now: i64, transit: i64) {
        if now - self.since >= WINDOW {
            // After a pause of two windows and more, what was is not worth anything any more.
            let stale = now - self.since >= 2 * WINDOW;
            self.previous = if stale { transit } else { self.current };
            self.current = transit;
            self.since = now;
        }
        self.current = self.current.min(transit);
    }

    fn least(&self) -> i64 {
        self.current.min(self.previous)
    }
}

/// The placing of one call's audio.
#[derive(Debug)]
pub struct Jitter {
    store: Store,
    stream: Option<Stream>,
    concealer: Concealer,
    /// The clock position that is read next.
    clock: i64,
}

impl Jitter {
    /// Nothing has come; the first [`Self::read`] will be of clock position `clock`.
    pub fn new(clock: i64) -> Self {
        Self { store: Store::new(), stream: None, concealer: Concealer::default(), clock }
    }

    /// Forgets all that came, as if it were new; nothing is allocated.
    pub fn restart(&mut self, clock: i64) {
        self.store.clear();
        self.stream = None;
        self.concealer = Concealer::default();
        self.clock = clock;
    }

    /// A packet came at clock position `now`: its samples go where its timestamp says.
    pub fn place(
        &mut self,
        now: i64,
        ssrc: u32,
        sequence: u16,
        timestamp: u32,
        audio: &[i16],
    ) -> Placed {
        let known = self.stream.filter(|s| s.ssrc == ssrc);
        let mut stream = match known {
            Some(stream) => stream,
            None => self.begin(now, ssrc, sequence, timestamp),
        };
        let at = stream.timestamps.peek(timestamp);
        let transit = now - at;
        let lateness = transit - stream.transit.least();
        if !(-EARLIEST..=LATEST).contains(&lateness) {
            let confirmed = stream
                .astray
                .is_some_and(|(next, about)| next == sequence && (transit - about).abs() < HOLD);
            if !confirmed {
                stream.astray = Some((sequence.wrapping_add(1), transit));
                self.stream = Some(stream);
                return Placed::Astray;
            }
            stream = self.begin(now, ssrc, sequence, timestamp);
        }
        let at = stream.timestamps.peek(timestamp);
        stream.astray = None;
        stream.transit.observe(now, now - at);
        self.settle(&mut stream, now, now - at);
        let outcome = self.write(&mut stream, now, sequence, at, audio);
        self.stream = Some(stream);
        outcome
    }

    /// Reads the frame of the call's clock at `clock`: the next one, of up to 160 samples. False
    /// where all of it is made up.
    pub fn read(&mut self, clock: i64, frame: &mut [i16]) -> bool {
        let len = frame.len().min(FRAME) as i64;
        self.clock = clock + len;
        let Some(mut stream) = self.stream else {
            self.concealer.conceal(frame);
            return false;
        };
        let step = self.steer(&mut stream, clock);
        let mut gathered = [0; GATHERED];
        let wanted = (len + step) as usize;
        let source = gathered.get_mut(..wanted).unwrap_or_default();
        let heard = self.gather(stream.read, source);
        stream.read += len + step;
        stream.fresh &= !heard;
        self.stream = Some(stream);
        stretch(source, frame);
        heard
    }

    /// Samples from the end of what was read to where the sender's next frame of `frame` samples
    /// begins, less than `frame`; 0 where nothing has come.
    pub fn until_next(&self, frame: usize) -> usize {
        let until = |s: Stream| (s.begins - s.read).rem_euclid(frame.max(1) as i64) as usize;
        self.stream.map_or(0, until)
    }

    /// A new timeline. What the old one left unread is dropped.
    fn begin(&mut self, now: i64, ssrc: u32, sequence: u16, timestamp: u32) -> Stream {
        self.store.clear();
        let timestamps = TimestampExtension::new(timestamp);
        let at = timestamps.peek(timestamp);
        let transit = LeastTransit::new(now, now - at);
        Stream {
            ssrc,
            timestamps,
            begins: at,
            read: self.clock - transit.least(),
            transit,
            last_sequence: sequence.wrapping_sub(1),
            end: at,
            fresh: true,
            correcting: false,
            late: 0,
            before: None,
            astray: None,
        }
    }

    /// A packet as fast as those before the path seemed slower: its sender had only stood still,
    /// and has caught up. Back to its clock at once; what came too late for that is given up.
    fn settle(&mut self, stream: &mut Stream, now: i64, transit: i64) {
        let Some((least, since)) = stream.before else { return };
        let has_caught_up = transit <= least + SLACK;
        if has_caught_up {
            self.skip_to(stream, self.clock - stream.transit.least());
        }
        if has_caught_up || now - since > STANDSTILL {
            stream.before = None;
        }
    }

    fn write(
        &mut self,
        stream: &mut Stream,
        now: i64,
        sequence: u16,
        at: i64,
        audio: &[i16],
    ) -> Placed {
        if stream.fresh {
            // Nothing is heard yet: the fastest packet so far says where reading stands.
            self.skip_to(stream, self.clock - stream.transit.least());
        }
        let end = at + audio.len().min(MAX_SAMPLES) as i64;
        if end <= stream.read {
            stream.late += 1;
            if stream.late >= SLOWER {
                // Follow it. Where it was but a burst after a stall, the faster packets that come
                // next bring reading back before anything is heard.
                stream.before.get_or_insert((stream.transit.least(), now));
                stream.transit = LeastTransit::new(now, now - at);
                stream.fresh = true;
                stream.late = 0;
            }
            return Placed::Late;
        }
        if end - stream.read > CAPACITY as i64 {
            return Placed::Astray;
        }
        stream.late = 0;
        if sequence == stream.last_sequence.wrapping_add(1) && at > stream.end {
            // In sequence, yet later: the sender was silent. That is no loss to conceal.
            let from = stream.end.max(stream.read);
            self.store.silence(from, (at - from).max(0) as usize);
        }
        if sequence.wrapping_sub(stream.last_sequence) < 1 << 15 {
            stream.last_sequence = sequence;
            stream.end = end;
        }
        stream.timestamps.remember(at);
        if (at - stream.begins) % (end - at).max(1) != 0 {
            stream.begins = at; // it began to talk again at a moment of its own
        }
        let passed = (stream.read - at).max(0);
        let audio = audio.get(passed as usize..(end - at) as usize).unwrap_or(&[]);
        self.store.write(at + passed, audio);
        Placed::InTime
    }

    /// Where reading should be is followed; how many samples more (or fewer) this frame takes.
    fn steer(&mut self, stream: &mut Stream, clock: i64) -> i64 {
        let goal = clock - stream.transit.least();
        let off = goal - stream.read;
        if stream.fresh || self.concealer.is_silent() || off.abs() > JUMP {
            self.skip_to(stream, goal);
            stream.correcting = false;
            return 0;
        }
        stream.correcting = off != 0 && (stream.correcting || off.abs() > SLACK);
        if !stream.correcting {
            return 0;
        }
        let step = if off.abs() > FAR { FAR_STEP } else { STEP };
        off.clamp(-step, step)
    }

    /// Reads on from elsewhere. What lay between is forgotten, or would come up again when the
    /// store has gone round.
    fn skip_to(&mut self, stream: &mut Stream, read: i64) {
        let between = (stream.read - read).unsigned_abs() as usize;
        self.store.forget(stream.read.min(read), between);
        stream.read = read;
    }

    /// Takes the samples from `from` on out of the store and conceals those that are not there.
    fn gather(&mut self, from: i64, out: &mut [i16]) -> bool {
        let mut heard = false;
        let mut rest = out;
        let mut at = from;
        while !rest.is_empty() {
            let (here, run) = self.store.run(at, rest.len());
            let Some((part, after)) = rest.split_at_mut_checked(run) else { break };
            if here {
                self.store.take(at, part);
                self.concealer.pass(part);
                heard = true;
            } else {
                self.concealer.conceal(part);
            }
            at += run as i64;
            rest = after;
        }
        heard
    }
}

/// Brings `from` to the length of `to`, a few samples more or less, by linear interpolation.
fn stretch(from: &[i16], to: &mut [i16]) {
    if from.len() == to.len() {
        to.copy_from_slice(from);
        return;
    }
    let ratio = from.len() as f32 / to.len() as f32;
    for (i, sample) in to.iter_mut().enumerate() {
        let position = i as f32 * ratio;
        let index = position as usize;
        let at = |i: usize| f32::from(from.get(i).or(from.last()).copied().unwrap_or(0));
        let part = position - index as f32;
        *sample = (at(index) * (1.0 - part) + at(index + 1) * part).round() as i16;
    }
}
