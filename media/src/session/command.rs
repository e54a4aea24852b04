//! What a call asks of its media, and what its media tells the call.

use std::net::IpAddr;
use std::sync::Arc;

use crate::amd;
pub use crate::dtmf::send::MAX_QUEUED as MAX_QUEUED_DIGITS;
use crate::dtmf::{DigitMethod, Digits};
use crate::quality::Quality;
use crate::record;
use crate::sdp::Agreed;

/// Playbacks that may wait behind the one that plays. A playback more is refused at once, as a
/// [`MediaEvent::PlaybackFinished`] with nothing played.
pub const MAX_QUEUED_PLAYBACKS: usize = 32;

/// Shortest and longest tone or gap of a digit that is sent, in ms.
pub const DIGIT_MS: std::ops::RangeInclusive<u16> = 40..=1000;

/// Names a playback of one call; chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlaybackId(pub u64);

/// What a call asks of its media.
#[derive(Debug)]
pub enum Command {
    /// Whether the first stream from any address is taken, within 5 s of an SDP; until then as
    /// [`super::SessionConfig::learn_source`] says.
    LearnSource(bool),
    /// An SDP was agreed, at first or anew. Packets are taken from now on.
    Connect {
        /// What both sides agreed.
        agreed: Agreed,
        /// Where the far end's signalling comes from: replaces an address in its SDP that cannot
        /// be reached.
        signalling: IpAddr,
    },
    /// The call was answered: the clocks of recording, AMD and the RTP watchdog start, and we send
    /// from here on.
    Answered,
    /// Plays audio after what is queued already.
    Play {
        /// Names it in the events.
        id: PlaybackId,
        /// 8 kHz linear, mono.
        audio: Arc<[i16]>,
        /// The recording has it too (`playTo: "bridge"`).
        in_recording: bool,
    },
    /// Ends one playback, playing or queued; `None` ends all of them.
    StopPlayback(Option<PlaybackId>),
    /// Sends digits, as telephone-events or, where those are not agreed, as tones; after those under
    /// way, [`MAX_QUEUED_DIGITS`] strings in all. Playback waits meanwhile, and no recording has
    /// them.
    SendDigits {
        /// The digits.
        digits: Digits,
        /// Length of each tone in ms; brought into [`DIGIT_MS`].
        duration_ms: u16,
        /// Pause after each tone in ms; brought into [`DIGIT_MS`].
        gap_ms: u16,
    },
    /// A digit came in a SIP INFO.
    InfoDigit {
        /// The key.
        digit: char,
        /// How long it was down, in ms, as the INFO says.
        duration_ms: u32,
    },
    /// Records both directions from the answer, or from now where that was before. Dropping the
    /// tap, at the end, finishes the recording.
    StartRecording(record::Tap),
    /// Ends the recording at this instant.
    StopRecording,
    /// Listens for an answering machine from the answer, or from now where that was before.
    StartAmd(amd::Params),
    /// The call is over. What must still be sent comes with the next [`super::Session::tick`],
    /// then [`MediaEvent::Closed`].
    Close,
}

/// What a call's media tells the call.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaEvent {
    /// A key was pressed: once a press, whatever its ways in, at its first packet or as soon as its
    /// tone is sure.
    Digit {
        /// The key: `0`–`9`, `*`, `#`, `A`–`D`.
        digit: char,
        /// How it came first.
        method: DigitMethod,
        /// How long it was down so far as is known now, in ms.
        duration_ms: u32,
    },
    /// The first frame of a playback goes out.
    PlaybackStarted {
        /// Which.
        id: PlaybackId,
    },
    /// A playback is over.
    PlaybackFinished {
        /// Which.
        id: PlaybackId,
        /// Audio of it that was sent, in ms.
        played_ms: u64,
        /// False where it was cut short or refused.
        completed: bool,
    },
    /// Digits have been sent, or were not.
    DigitsSent {
        /// As asked for.
        digits: Digits,
        /// False where no media is agreed, the queue was full or the call ended.
        completed: bool,
    },
    /// The answering machine detector has decided.
    Amd(amd::Verdict),
    /// The line showed itself otherwise after the verdict.
    AmdRevised(amd::Verdict),
    /// The recording has begun (told by the engine, which owns the file).
    RecordingStarted {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The recording is complete on disk (told by the engine).
    RecordingFinished(record::Finished),
    /// The first packet of the call came before the answer.
    EarlyMedia,
    /// Nothing came for as long as the watchdog waits. Told once until something comes again.
    RtpTimeout,
    /// The call's media broke down and is gone (told by the engine, instead of [`Self::Closed`]).
    Failed {
        /// What broke.
        reason: String,
    },
    /// The last event: how the call sounded.
    Closed(Quality),
}
