//! The call machine: one call from its first INVITE to its last event.
//!
//! It knows what a call does: which trunk is dialled next, what an answer means, what is told the
//! customer and in which order. It is pure: inputs and the time go in, effects come out; it refuses
//! to know clocks, sockets, tasks and SQL. Start at [`Machine::handle`].
//!
//! ```text
//!            Start                       200 + usable SDP
//!   new ───────────────► Dialling ───────────────────────────► Talking
//!                        │  ▲  │ ring timeout                     │ BYE, /hangup, watchdog,
//!          next trunk,   └──┘  ▼                                  │ max duration, shutdown
//!          3xx, 488         Cancelling                            ▼
//!                 final answer │ 487 or 2 s    recording, quality: at most 2 s
//!                              └───────────────────────────► Closing ───────► Over
//!
//!            Start: 180        200 is sent            its ACK
//!   new ──────────────► Ringing ──────────► Accepting ──────────► Talking
//!                         │ CANCEL, refusal    │ no ACK, BYE
//!                         └────────────────────┴────────────────► Closing
//! ```

mod answered;
mod ending;
mod gather;
mod io;
mod originate;
mod playback;
mod receive;
mod recording;
mod setup;
mod timer;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kaphila_media::dtmf::Digits;
use kaphila_media::sdp::{Codec, Negotiation};
use kaphila_sip::invite::Identity;
use kaphila_sip::message::Uri;
use rand::SeedableRng;
use rand::rngs::StdRng;

use self::gather::Gather;
use self::playback::Playlist;
use self::receive::Settled;
use self::recording::Recording;
use self::timer::{Timer, Timers};
use super::api::CommandError;
use super::cause::{End, Status};
use super::event::{Attempt, Event, GatherEnd, QualityShown, Subject};
use super::trace::Trace;
use super::view::{AmdView, CallView};
use crate::store::Direction;

pub(crate) use self::io::{
    Command, Destination, Dial, Effect, Input, LegNo, NotDialled, Reply, ReplyId, Write,
};
pub(crate) use self::playback::NewPlayback;
use self::playback::Speaking;
pub use self::setup::Timing;
pub(crate) use self::setup::{Clock, IncomingSetup, Setup, TrunkSetup, millis};

/// Where the call stands: the drawing above.
#[derive(Debug)]
enum Stage {
    New,
    Dialling,
    /// The INVITE is being cancelled after the ring timeout.
    Cancelling(End),
    /// A call came in; its offer, where it made one, is one that we can speak.
    Ringing(Option<Settled>),
    /// Our 200 waits for its ACK.
    Accepting,
    Talking,
    /// Over for everybody outside; recording and quality are waited for.
    Closing(Closing),
    Over,
}

#[derive(Debug)]
struct Closing {
    end: End,
    at: Instant,
    media_closed: bool,
}

/// One INVITE and what came of it.
#[derive(Debug)]
struct Leg {
    trunk: usize,
    /// Which of the trunk's ways.
    way: usize,
    identity: Identity,
    codecs: Vec<Codec>,
    negotiation: Negotiation,
    /// Redirects that led here.
    hops: u8,
    /// Where else the last of them pointed, best first.
    others: Vec<Uri>,
    /// The other codec set has been tried.
    other_codecs: bool,
    started: Instant,
    /// 180–189 was seen.
    rang: bool,
    /// To the first answer above 100.
    provisional: Option<Duration>,
    last: Option<Final>,
    /// A re-INVITE without an offer was answered with ours; the answer comes in the ACK.
    awaits_answer: bool,
}

impl Leg {
    /// One that nothing has come of yet.
    const fn new(
        started: Instant,
        trunk: usize,
        identity: Identity,
        codecs: Vec<Codec>,
        negotiation: Negotiation,
    ) -> Self {
        Self {
            trunk,
            way: 0,
            identity,
            codecs,
            negotiation,
            hops: 0,
            others: Vec::new(),
            other_codecs: false,
            started,
            rang: false,
            provisional: None,
            last: None,
            awaits_answer: false,
        }
    }
}

#[derive(Debug, Clone)]
struct Final {
    after: Duration,
    status: u16,
    reason: String,
}

/// Where the detector stands.
#[derive(Debug)]
enum Amd {
    Off,
    /// Asked for; the call is not answered yet, or no verdict has come.
    Pending,
    Decided(AmdView),
}

/// Digits kept for a gather with `flush: false`: those of the last 5 s.
const KEPT_DIGITS: Duration = Duration::from_secs(5);
/// As many as a gather can take.
const MAX_KEPT_DIGITS: usize = super::api::MAX_GATHER_DIGITS as usize;
/// How long the 487 of a cancelled INVITE is waited for before the call ends without it.
const CANCEL_GRACE: Duration = Duration::from_secs(2);
/// How long `call.ended` waits for the recording and the media's figures.
const CLOSING_GRACE: Duration = Duration::from_secs(2);
/// Redirects that are followed for one trunk (`reference.md` §1).
const MAX_HOPS: u8 = 5;

/// One call.
#[derive(Debug)]
pub(crate) struct Machine {
    setup: Setup,
    stage: Stage,
    legs: Vec<Leg>,
    /// Index of the trunk that is dialled next.
    next_trunk: usize,
    /// Trunks dialled so far.
    dialled: Vec<usize>,
    /// What the last trunk's failure meant.
    last_failure: Option<End>,
    status: Status,
    answered: Option<Instant>,
    placed: bool,
    /// Every trunk was tried in vain.
    is_exhausted: bool,
    amd: Amd,
    playlist: Playlist,
    /// Digits that are being sent or wait to be.
    sending: VecDeque<Digits>,
    gather: Option<Gather>,
    kept_digits: VecDeque<(Instant, char)>,
    recording: Option<Recording>,
    quality: Option<QualityShown>,
    sequence: i64,
    rng: StdRng,
    timers: Timers,
    trace: Trace,
    effects: Vec<Effect>,
    changed: bool,
}

impl Machine {
    /// A call whose row is about to be stored. `call.initiated` is the store's part of the placing,
    /// so that the machine's own events begin at sequence number 2.
    pub(crate) fn new(setup: Setup) -> Self {
        let amd = if setup.amd.is_some() { Amd::Pending } else { Amd::Off };
        let placed = setup.incoming.is_some();
        let trace = Trace::new(setup.clock);
        let rng = StdRng::from_seed(setup.seed);
        Self {
            setup,
            stage: Stage::New,
            legs: Vec::new(),
            next_trunk: 0,
            dialled: Vec::new(),
            last_failure: None,
            status: Status::Ringing,
            answered: None,
            // Nobody waits for what a call that came in brings.
            placed,
            is_exhausted: false,
            amd,
            playlist: Playlist::default(),
            sending: VecDeque::new(),
            gather: None,
            kept_digits: VecDeque::new(),
            recording: None,
            quality: None,
            sequence: 1,
            rng,
            timers: Timers::default(),
            trace,
            effects: Vec::new(),
            changed: true,
        }
    }

    /// Takes one input and says what is to be done, in order.
    pub(crate) fn handle(&mut self, now: Instant, input: Input) -> Vec<Effect> {
        match input {
            Input::Start => self.start(now),
            Input::Sip(leg, event) => self.handle_sip(now, leg, event),
            Input::NotDialled(leg, why) => self.handle_not_dialled(now, leg, why),
            Input::Media(event) => self.handle_media(now, event),
            Input::MediaLost => self.handle_media_lost(now),
            Input::Command(reply, command) => self.handle_command(now, reply, command),
            Input::Shutdown => self.handle_shutdown(now),
            Input::Timeout => self.handle_timeout(now),
        }
        std::mem::take(&mut self.effects)
    }

    /// When [`Input::Timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_timeout()
    }

    /// Whether nothing more can come of this call but the ends of its legs.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over) && self.recording.as_ref().is_none_or(Recording::is_done)
    }

    /// Whether [`view`](Self::view) has changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The call as the API shows it.
    pub(crate) fn view(&self) -> CallView {
        CallView {
            call_id: self.setup.call_id.clone(),
            status: self.status,
            direction: self.direction(),
            number: self.setup.number.clone(),
            to: self.to().to_owned(),
            caller_id: self.caller_id().map(str::to_owned),
            trunk: self.trunk_name().to_owned(),
            amd: self.amd_view().cloned(),
            gather: self.gather.as_ref().map(|gather| gather.view(self.setup.clock)),
            recording: self.recording.as_ref().map(Recording::view),
            voice_name: self.setup.voice_name.clone(),
            has_bridge: self.answered.is_some() && !self.is_ended(),
            metadata: self.setup.metadata.clone(),
            created_at: self.setup.clock.wall,
            answered_at: self.answered.map(|at| self.setup.clock.wall(at)),
        }
    }

    /// What happened, as text.
    pub(crate) fn trace(&self) -> String {
        self.trace.render()
    }

    /// The call's id.
    pub(crate) fn call_id(&self) -> &str {
        &self.setup.call_id
    }

    /// The caller id of the request or the key.
    pub(crate) fn own_caller_id(&self) -> Option<&str> {
        self.setup.caller_id.as_deref()
    }
    fn handle_command(&mut self, now: Instant, id: ReplyId, command: Command) {
        #[cfg(test)]
        assert!(!matches!(command, Command::Fault), "a fault");
        let result = if let Command::Trace = command {
            Ok(Reply::Trace(self.trace.render()))
        } else if self.is_ended() {
            Err(CommandError::NotFound)
        } else {
            match command {
                Command::HangUp => return self.hang_up(now, id),
                Command::Answer => self.answer_ringing(now).map(|()| Reply::Done),
                Command::StopRecording => self.stop_recording(now).map(Reply::Recording),
                _ if self.answered.is_none() => Err(CommandError::NotAnswered),
                Command::Play(playback) => self.play(now, playback).map(Reply::Playing),
                Command::Gather(request, audio) => {
                    self.start_gather(now, request, audio).map(|()| Reply::Done)
                }
                Command::Stop => Ok(Reply::Stopped(self.stop(now))),
                Command::SendDigits(digits, tone_ms, gap_ms) => {
                    self.send_digits(digits, tone_ms, gap_ms).map(|()| Reply::Done)
                }
                Command::Trace => Ok(Reply::Trace(self.trace.render())),
                #[cfg(test)]
                Command::Fault => Err(CommandError::Internal),
            }
        };
        self.effects.push(Effect::Reply(id, result));
        self.play_on(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.expired(now) {
            self.trace.note(now, format_args!("timer {timer:?}: {}", timer.meaning()));
            match timer {
                Timer::Ring => self.ring_timeout(now),
                Timer::CancelGrace => self.cancelled(now),
                Timer::AnswerAfterTrying | Timer::AnswerWithin => self.reply_placed(None),
                Timer::MaxDuration => self.max_duration(now),
                Timer::Verdict => self.no_verdict(now),
                Timer::Gather => self.gather_timeout(now, GatherEnd::Timeout),
                Timer::InterDigit => self.gather_timeout(now, GatherEnd::InterDigitTimeout),
                Timer::Closing => self.finish(now),
            }
        }
    }

    /// Whether the customer sees it as ended.
    fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Closing(_) | Stage::Over)
    }

    /// The leg that counts: the last one.
    fn current(&self) -> Option<LegNo> {
        self.legs.len().checked_sub(1).map(LegNo)
    }

    /// The trunk dialled last, or the one that will be dialled first.
    fn trunk(&self) -> Option<&TrunkSetup> {
        self.setup.trunks.get(self.dialled.last().copied().unwrap_or(0))
    }

    fn trunk_name(&self) -> &str {
        self.trunk().map_or("", |trunk| &trunk.name)
    }

    pub(crate) fn direction(&self) -> Direction {
        self.setup.incoming.as_ref().map_or(Direction::Outbound, |_| Direction::Inbound)
    }

    /// Whom it calls: on a call that came in, us.
    fn to(&self) -> &str {
        self.setup.incoming.as_ref().map_or(&self.setup.number, |it| &it.number)
    }

    fn caller_id(&self) -> Option<&str> {
        let own = self.setup.caller_id.as_deref();
        if self.setup.incoming.is_some() {
            return own; // a trunk's own is for calls over it
        }
        own.or_else(|| self.trunk().and_then(|trunk| trunk.caller_id.as_deref()))
    }

    fn amd_view(&self) -> Option<&AmdView> {
        match &self.amd {
            Amd::Decided(view) => Some(view),
            Amd::Off | Amd::Pending => None,
        }
    }

    /// Tells the customer, with what belongs to this event only. The sequence has no gaps: an
    /// event counts when it is put among the effects.
    fn emit(&mut self, now: Instant, event: Event) {
        self.trace.note(now, format_args!("event {}", event.name()));
        if !self.setup.webhook {
            return;
        }
        self.sequence += 1;
        let caller_id = self.caller_id();
        let subject = Subject {
            call_id: &self.setup.call_id,
            direction: self.direction(),
            number: &self.setup.number,
            to: self.to(),
            caller_id,
            status: self.status,
            metadata: self.setup.metadata.as_ref(),
            amd: self.amd_view(),
            gather: self.gather.as_ref().map(|gather| gather.view(self.setup.clock)),
            recording: self.recording.as_ref().filter(|it| it.is_announced()).map(Recording::view),
        };
        let event = subject.tell(&event, self.setup.clock.wall(now), self.sequence);
        self.effects.push(Effect::Store(Write::Event(event)));
    }

    /// `attempts` of `call.ended`.
    fn attempts(&self) -> Vec<Attempt> {
        let attempt = |leg: &Leg| Attempt {
            trunk: self.setup.trunks.get(leg.trunk).map(|trunk| trunk.name.clone()),
            status: leg.last.as_ref().map(|last| last.status),
            reason: leg.last.as_ref().map(|last| last.reason.clone()),
            provisional_ms: leg.provisional.map(millis),
            final_ms: leg.last.as_ref().map(|last| millis(last.after)),
        };
        let dialled = self.legs.iter().filter(|_| self.setup.incoming.is_none());
        dialled.map(attempt).collect()
    }
}
