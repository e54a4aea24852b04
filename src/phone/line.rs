//! A call without the server: one SIP leg with its media, as the telephone and `dial` hold it.
//!
//! It knows offer and answer, playing, digits and recording. It refuses to know what the call is
//! for.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use kaphila_media::dtmf::{Digits, Listening};
use kaphila_media::engine::{Engine, MediaCall, OpenError, OpenOptions};
use kaphila_media::record::Channels;
use kaphila_media::sdp::{Capabilities, Codec, Negotiation, SdpError};
use kaphila_media::session::{Command, MediaEvent, PlaybackId};
use kaphila_sip::invite::{Body, LegId};
use kaphila_sip::net::Sip;
use tokio::sync::mpsc;

/// Tone and pause of a digit that is sent, in ms.
const DIGIT: (u16, u16) = (100, 100);

/// The status for an offer that cannot be taken (RFC 3261 §21.4.26).
const NOT_ACCEPTABLE_HERE: u16 = 488;

/// The media of one call, and what was agreed about it.
#[derive(Debug)]
pub struct Line {
    media: MediaCall,
    negotiation: Negotiation,
    /// Where the far end's signalling comes from.
    signalling: IpAddr,
    next_playback: u64,
}

impl Line {
    /// Opens media on `address` towards a far end whose signalling is at `signalling`.
    ///
    /// # Errors
    /// No port, no descriptor.
    pub fn open(
        engine: &Engine,
        address: IpAddr,
        signalling: IpAddr,
        codecs: Vec<Codec>,
        dtmf: Listening,
    ) -> Result<(Self, mpsc::Receiver<MediaEvent>), OpenError> {
        let options = OpenOptions { address: Some(address), dtmf, ..OpenOptions::default() };
        let (media, events) = engine.open(options)?;
        let capabilities =
            Capabilities { codecs, telephone_event: dtmf.takes_events(), ptime_ms: 20 };
        let local = SocketAddr::new(address, media.local().port());
        let session_id = u64::from(rand::random::<u32>());
        let negotiation = Negotiation::new(capabilities, local, session_id);
        Ok((Self { media, negotiation, signalling, next_playback: 0 }, events))
    }

    /// Our offer.
    pub fn offer(&mut self) -> Body {
        Body::sdp(self.negotiation.offer())
    }

    /// The far end's answer: media is connected as agreed.
    ///
    /// # Errors
    /// The answer is none to our offer.
    pub fn take_answer(&mut self, body: &Body) -> Result<(), SdpError> {
        let agreed = self.negotiation.handle_answer(&body.bytes)?;
        self.command(Command::Connect { agreed, signalling: self.signalling });
        Ok(())
    }

    /// Our answer to the far end's offer; without one, our offer.
    ///
    /// # Errors
    /// The offer holds nothing that we take.
    pub fn answer(&mut self, offer: Option<&Body>) -> Result<Body, SdpError> {
        let Some(offer) = offer else { return Ok(self.offer()) };
        let (answer, agreed) = self.negotiation.handle_offer(&offer.bytes)?;
        self.command(Command::Connect { agreed, signalling: self.signalling });
        Ok(Body::sdp(answer))
    }

    /// Answers a re-INVITE or UPDATE: 488 keeps what was agreed before.
    pub async fn answer_offer(&mut self, sip: &Sip, leg: LegId, offer: Option<&Body>) {
        let answer = self.answer(offer).map_err(|_| NOT_ACCEPTABLE_HERE);
        // A stack that is gone has ended the call already.
        let _ = sip.answer_offer(leg, answer).await;
    }

    /// The call was answered.
    pub fn answered(&self) {
        self.command(Command::Answered);
    }

    /// Plays audio after what plays already.
    pub fn play(&mut self, audio: Arc<[i16]>) -> PlaybackId {
        let id = PlaybackId(self.next_playback);
        self.next_playback += 1;
        self.command(Command::Play { id, audio, in_recording: true });
        id
    }

    /// Sends digits, as telephone-events or as tones.
    pub fn send_digits(&self, digits: Digits) {
        let (duration_ms, gap_ms) = DIGIT;
        self.command(Command::SendDigits { digits, duration_ms, gap_ms });
    }

    /// Records both directions: the far end on the left, ours on the right.
    pub fn record(&self, path: PathBuf) {
        if let Err(error) = self.media.record(path.clone(), Channels::Dual) {
            eprintln!("kaphila: {} is not recorded: {error}", path.display());
        }
    }

    /// Any other command. Media that has ended has told so by its events.
    pub fn command(&self, command: Command) {
        let _ = self.media.command(command);
    }
}
