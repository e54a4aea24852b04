//! What goes into the machine, and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kaphila_media::dtmf::Digits;
use kaphila_media::sdp::Agreed;
use kaphila_media::session as media;
use kaphila_sip::invite::{Identity, LegEvent};
use kaphila_sip::message::Uri;

use super::NewPlayback;
use crate::call::api::{
    CommandError, GatherRequest, PlaceOutcome, PlaybackStarted, RecordingChannels, RecordingView,
};
use crate::store::{AmdResult, Answered, Ended, FinishedRecording, NewEvent, NewRecording};

/// An INVITE of this call, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LegNo(pub(crate) usize);

/// Whom to tell the outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReplyId(pub(crate) u64);

/// What happens to a call.
#[derive(Debug)]
pub(crate) enum Input {
    /// Its row is stored: dial.
    Start,
    /// Something on a leg.
    Sip(LegNo, LegEvent),
    /// An INVITE could not be sent.
    NotDialled(LegNo, NotDialled),
    /// Something in its media.
    Media(media::MediaEvent),
    /// Its media is gone without having been closed.
    MediaLost,
    /// The customer wants something.
    Command(ReplyId, Command),
    /// The server stops.
    Shutdown,
    /// A time of `Machine::poll_timeout` has come.
    Timeout,
}

/// Why an INVITE could not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotDialled {
    /// The trunk's channels or calls per second are used up: not an attempt.
    OverLimit,
    /// No address, no socket, no route.
    Transport(String),
}

/// What a customer may do with a call.
#[derive(Debug)]
pub(crate) enum Command {
    /// `/hangup`.
    HangUp,
    /// `/answer`.
    Answer,
    /// `/play`, `/voice`.
    Play(NewPlayback),
    /// `/gather`, with its prompt.
    Gather(GatherRequest, Arc<[i16]>),
    /// `/stop`.
    Stop,
    /// `/dtmf`: digits, and the length of each tone and of the pause after it in ms.
    SendDigits(Digits, u16, u16),
    /// `/recordings/:callId/stop`.
    StopRecording,
    /// `kaphila trace`.
    Trace,
    /// A fault, for the tests of what a fault does.
    #[cfg(test)]
    Fault,
}

/// What a command brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The call is being hung up or answered; the gather runs; digits are on their way.
    Done,
    /// A prompt has started or is queued.
    Playing(PlaybackStarted),
    /// As many playbacks were ended.
    Stopped(usize),
    /// The recording that was stopped.
    Recording(RecordingView),
    /// The call's trace.
    Trace(String),
}

/// What is to be done, in this order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Send an INVITE.
    Dial(Dial),
    /// End a leg, whatever its state, with this Q.850 cause.
    HangUp(LegNo, u8),
    /// Tell the caller that its call rings.
    Ring(LegNo),
    /// Answer a call that rings, with this description.
    Accept(LegNo, Bytes),
    /// Refuse a call that rings, with this status.
    Refuse(LegNo, u16),
    /// Answer the offer of a leg: a description, or a refusal by status.
    AnswerOffer(LegNo, Result<Bytes, u16>),
    /// Media flows as agreed on this leg.
    Connect(LegNo, Box<Agreed>),
    /// Tell the media.
    Media(media::Command),
    /// Begin the recording under this id.
    Record(String, RecordingChannels),
    /// End the media.
    CloseMedia,
    /// Write this; in order, until it is stored.
    Store(Write),
    /// Answer `/makecall`. At most once.
    Placed(PlaceOutcome),
    /// Answer a command.
    Reply(ReplyId, Result<Reply, CommandError>),
    /// A trunk asked to be left alone (Retry-After).
    RestTrunk(usize, Duration),
    /// A trunk refused our credentials.
    Unauthorized(usize),
    /// The customer sees the call no more.
    Ended,
}

/// An INVITE to send.
#[derive(Debug)]
pub(crate) struct Dial {
    /// Its leg.
    pub(crate) leg: LegNo,
    /// Where it goes.
    pub(crate) to: Destination,
    /// Call-ID, tag and branch.
    pub(crate) identity: Identity,
    /// The offer.
    pub(crate) offer: Bytes,
}

/// Where an INVITE goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// Index in `Setup::trunks`.
    pub(crate) trunk: usize,
    /// Which of the trunk's ways, below its `ways`.
    pub(crate) way: usize,
    /// Where a redirect points; `None`: the number at the trunk.
    pub(crate) redirect: Option<Uri>,
}

/// What is written about a call.
#[derive(Debug)]
pub(crate) enum Write {
    /// A further INVITE, before it is sent: where it goes, and what is needed to cancel it.
    Dialled(Destination, Identity),
    /// The 200.
    Answered(Answered),
    /// The detector's verdict, the one that stands.
    Heard(AmdResult),
    /// The end.
    Ended(Box<Ended>),
    /// An event.
    Event(NewEvent),
    /// A recording begins.
    RecordingStarted(NewRecording),
    /// A recording is complete.
    RecordingFinished(FinishedRecording),
}
