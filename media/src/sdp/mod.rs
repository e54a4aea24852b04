//! Session descriptions: parse, offer and answer (RFC 8866, RFC 3264).
//!
//! It knows one audio stream between us and one peer: which codec under which payload type goes
//! where, in which direction. It refuses to know who carries the bodies (SIP), what sounds (the
//! session) and names (an address must be an address). Start at [`Negotiation`].
#![warn(clippy::indexing_slicing)]

mod list;
mod negotiate;
mod parse;
mod write;

use std::net::SocketAddr;

pub use crate::codec::Codec;
pub use list::{List, MAX_FORMATS};
pub use negotiate::Negotiation;

/// What we are willing to speak on a leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The codecs, the one we like best first. An offer lists them all; an answer takes the first
    /// of the offer's that is here.
    pub codecs: Vec<Codec>,
    /// Whether digits as RFC 4733 telephone-events are offered and taken.
    pub telephone_event: bool,
    /// The packet length that we ask for, in ms: 10, 20, 30, 40 or 60.
    pub ptime_ms: u8,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { codecs: Codec::ALL.to_vec(), telephone_event: true, ptime_ms: 20 }
    }
}

/// Who may send (RFC 8866 §6.7), seen from the side that says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways; what a body means that says nothing.
    #[default]
    SendRecv,
    /// The speaker sends only.
    SendOnly,
    /// The speaker receives only.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// The attribute's name in SDP.
    pub fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the speaker sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the speaker receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same stream seen from the other side.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive]
            .into_iter()
            .find(|direction| direction.name().eq_ignore_ascii_case(name))
    }
}

/// A telephone-event format (RFC 4733): its payload type and its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventFormat {
    /// The payload type, 0–127.
    pub pt: u8,
    /// The rate of its durations, in Hz.
    pub clock: u32,
}

/// What an offer and its answer have settled. `Copy`: it reaches the media threads without an
/// allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Where the peer wants RTP. The address is unspecified (`0.0.0.0`) while it holds us that way.
    pub remote: SocketAddr,
    /// Where the peer wants RTCP: the port above, unless `a=rtcp` says otherwise (RFC 3605).
    pub remote_rtcp: SocketAddr,
    /// Our direction: whether **we** send and receive. The peer holds us when we may not send.
    pub direction: Direction,
    /// The codec that we send.
    pub send: Codec,
    /// Its payload type.
    pub send_pt: u8,
    /// What may come, by payload type: everything offered and answered so far, since a peer may
    /// switch without asking.
    pub receive: List<(u8, Codec)>,
    /// The telephone-events that we send: the peer's own payload type; `None` if not agreed.
    pub event_send: Option<EventFormat>,
    /// Under which payload types telephone-events may come: the offered and the answered ones,
    /// even if the peer's answer leaves them out.
    pub event_receive: List<EventFormat>,
    /// The packet length that we send, in ms: 10, 20, 30, 40 or 60.
    pub ptime_ms: u8,
}

impl Agreed {
    /// The codec that a received payload type means.
    pub fn codec(&self, pt: u8) -> Option<Codec> {
        let mut receive = self.receive.iter();
        receive.find_map(|(known, codec)| (known == pt).then_some(codec))
    }

    /// The telephone-event format that a received payload type means.
    pub fn event(&self, pt: u8) -> Option<EventFormat> {
        self.event_receive.iter().find(|format| format.pt == pt)
    }

    /// Whether the peer holds us: we send nothing until the next description.
    pub fn is_held(&self) -> bool {
        !self.direction.sends()
    }
}

/// Why a body was not agreed to. An offer that fails so is answered 488 and the session stays as it
/// was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// The peer's body cannot be read.
    #[error("unreadable SDP: {0}")]
    Syntax(&'static str),
    /// The peer's body goes over a bound.
    #[error("SDP beyond a limit: {0}")]
    TooLarge(&'static str),
    /// Nothing in the peer's body is an audio stream that is switched on.
    #[error("no audio stream in the SDP")]
    NoAudio,
    /// The peer's audio runs over a profile that we do not speak, SRTP among them.
    #[error("the SDP's profile {0} is not supported")]
    Profile(String),
    /// The peer's audio has no codec of ours.
    #[error("no codec in common")]
    NoCommonCodec,
    /// The peer's address is absent, a host name, a group, or of the other IP version.
    #[error("the SDP's address cannot be used: {0}")]
    Address(String),
    /// An answer came to [`Negotiation::handle_answer`] and nothing had been offered: our mistake.
    #[error("an answer without an offer")]
    NotOffered,
}

/// Runs the parser and the negotiation over arbitrary bytes, for the fuzzer.
#[doc(hidden)]
pub fn fuzz_sdp(data: &[u8]) {
    let local = SocketAddr::from(([192, 0, 2, 1], 10_000));
    let mut callee = Negotiation::new(Capabilities::default(), local, 1);
    if let Ok((answer, _)) = callee.handle_offer(data) {
        // Whatever we answer, we can read, and so can the caller's side of us.
        let mut caller = Negotiation::new(Capabilities::default(), local, 2);
        caller.offer();
        drop(caller.handle_answer(&answer));
        drop(callee.handle_offer(data));
        callee.offer();
    }
    let mut caller = Negotiation::new(Capabilities::default(), local, 3);
    caller.offer();
    drop(caller.handle_answer(data));
}
