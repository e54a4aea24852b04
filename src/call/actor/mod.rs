//! The driver of one call: a task that feeds the machine and carries out what it says.
//!
//! It knows handles, channels and the clock. It refuses to decide anything. Start at
//! [`Actor::run`].
#![allow(clippy::disallowed_methods, reason = "a driver: it reads the clock and sleeps")]

mod dial;
mod write;

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use kaphila_media::engine::MediaCall;
use kaphila_media::record::Channels;
use kaphila_media::session::{Command as Media, MediaEvent};
use kaphila_sip::invite::{Body, Failure, LegEvent};
use kaphila_sip::message::HeaderValue;
use kaphila_sip::net::Gone;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument;

use self::dial::ActiveLeg;
pub(super) use self::dial::{Arrival, Candidate};
use self::write::{Writing, Written, next_written};
use super::journal::Journal;
use super::machine::{Effect, Input, LegNo, Machine, Reply, ReplyId, Setup, Write};
use super::registry::{MAX_COMMANDS, Registered};
use super::{Asked, CallView, CommandError, Inner, PlaceOutcome, RecordingChannels, Services};
use crate::number::Number;
use crate::store::{CallRef, Ended, KeyId, TrunkId};
use crate::trunk::limits::Permit;

/// How long a trunk comes last that refuses our credentials.
const UNAUTHORIZED_REST: Duration = Duration::from_secs(60);

/// What a live call uses up of the server's and the key's caps.
pub(super) struct Permits {
    pub(super) key: Permit<KeyId>,
    pub(super) _capacity: Permit<()>,
}

/// What a call is born with.
pub(super) struct Born {
    pub(super) call: CallRef,
    pub(super) setup: Setup,
    /// Whom it calls; `None`: it came in.
    pub(super) number: Option<Number>,
    pub(super) candidates: Vec<Candidate>,
    /// The room on the first trunk.
    pub(super) first_trunk: Permit<TrunkId>,
    pub(super) permits: Permits,
    pub(super) media: MediaCall,
    pub(super) media_events: mpsc::Receiver<MediaEvent>,
    /// The leg that it came in by.
    pub(super) arrival: Option<Arrival>,
}

/// A call lives, in a task of its own. Who placed it is answered by what this gives.
pub(super) fn begin(inner: &Arc<Inner>, born: Born) -> oneshot::Receiver<PlaceOutcome> {
    let machine = Machine::new(born.setup);
    let (commands, mailbox) = mpsc::channel(MAX_COMMANDS);
    let (view, seen) = watch::channel(Arc::new(machine.view()));
    let (call_id, key) = (born.call.call_id(), born.call.key());
    let registered = inner.registry.enter(call_id, key, commands, seen);
    let (answer, outcome) = oneshot::channel();
    let (first_trunk, legs) = match born.arrival {
        Some(arrival) => (None, vec![arrival.into_leg(born.first_trunk)]),
        None => (Some(Arc::new(born.first_trunk)), Vec::new()),
    };
    // Boxed: its task would keep it twice.
    let actor = Box::new(Actor {
        stopping: inner.registry.stopping(),
        inner: Arc::clone(inner),
        machine,
        call: born.call,
        number: born.number,
        candidates: born.candidates,
        first_trunk,
        live: Some((born.permits, registered)),
        media: Some(born.media),
        media_events: Some(born.media_events),
        mailbox,
        view,
        answer: Some(answer),
        replies: VecDeque::new(),
        next_reply: 0,
        legs,
        journal: Journal::default(),
        writing: None,
        inputs: VecDeque::new(),
    });
    inner.registry.tasks.spawn(actor.run());
    outcome
}

/// One call's task.
struct Actor {
    inner: Arc<Inner>,
    machine: Machine,
    call: CallRef,
    number: Option<Number>,
    candidates: Vec<Candidate>,
    first_trunk: Option<Arc<Permit<TrunkId>>>,
    /// While the call is live.
    live: Option<(Permits, Registered)>,
    media: Option<MediaCall>,
    media_events: Option<mpsc::Receiver<MediaEvent>>,
    mailbox: mpsc::Receiver<Asked>,
    view: watch::Sender<Arc<CallView>>,
    answer: Option<oneshot::Sender<PlaceOutcome>>,
    stopping: watch::Receiver<bool>,
    replies: VecDeque<(ReplyId, oneshot::Sender<Result<Reply, CommandError>>)>,
    next_reply: u64,
    legs: Vec<ActiveLeg>,
    journal: Journal,
    writing: Option<Writing>,
    /// Inputs that came of carrying out effects.
    inputs: VecDeque<Input>,
}

/// What woke the actor.
enum Wake {
    Input(Input),
    Asked(Asked),
    Written(Written),
}

impl Actor {
    /// Lives until the call is accounted for and nothing of its legs remains. A fault on the way
    /// ends this call (`internal_error`) and no other.
    async fn run(mut self: Box<Self>) {
        let span = tracing::info_span!("call", call_id = self.machine.call_id());
        async {
            let lived = AssertUnwindSafe(async {
                self.take(Input::Start).await;
                self.live().await;
            });
            if lived.catch_unwind().await.is_err() {
                tracing::error!("a fault in a call's task: the call ends");
                self.inputs.clear();
                self.crashed().await;
                self.live().await;
            }
            self.keep_trace();
        }
        .instrument(span)
        .await;
    }

    async fn live(&mut self) {
        while !self.is_done() {
            match self.next().await {
                Wake::Input(input) => {
                    self.judge(&input);
                    self.take(input).await;
                }
                Wake::Asked((command, reply)) => {
                    let id = ReplyId(self.next_reply);
                    self.next_reply += 1;
                    self.replies.push_back((id, reply));
                    self.take(Input::Command(id, *command)).await;
                }
                Wake::Written((batch, result)) => {
                    if result.is_ok() && batch.is_answer() {
                        self.acknowledge().await;
                    }
                    self.written(batch, result);
                }
            }
        }
    }

    /// What an INVITE of ours shows of its trunk: for the breaker, to which a 503 and a mere 100 say
    /// nothing, and for the counters.
    fn judge(&mut self, input: &Input) {
        let Input::Sip(no, event) = input else { return };
        let Some(leg) = self.legs.iter_mut().find(|leg| leg.no == *no && leg.is_open) else {
            return;
        };
        let Some(candidate) = self.candidates.get(leg.trunk) else { return };
        let Services { health, traffic, .. } = &self.inner.services;
        let (now, id, name) = (Instant::now(), candidate.id, &candidate.name);
        let missed = |why| health.missed(now, id, name, why);
        let code = match event {
            LegEvent::Provisional { .. } => None,
            LegEvent::Answered { status, .. } => Some(*status),
            LegEvent::Refused { status, .. } => Some(*status),
            LegEvent::NoAnswer(why) => {
                match why {
                    Failure::Timeout => missed("no answer to INVITE"),
                    Failure::Transport(why) => missed(why),
                }
                leg.is_open = false;
                return traffic.ended(name, None);
            }
            _ => return,
        };
        if code != Some(503) {
            health.heard(id, name);
        }
        if let Some(sent) = leg.unanswered.take() {
            traffic.rang(name, now.saturating_duration_since(sent));
        }
        if code.is_some() {
            leg.is_open = false;
            traffic.ended(name, code);
        }
    }

    fn is_done(&self) -> bool {
        self.machine.is_over() && self.legs.is_empty() && self.writing.is_none()
    }

    /// Waits for whatever comes first. Commands and the far end before timers, all before writes.
    async fn next(&mut self) -> Wake {
        let deadline = self.machine.poll_timeout();
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        let is_live = self.live.is_some();
        tokio::select! {
            biased;
            Some(asked) = self.mailbox.recv(), if is_live => Wake::Asked(asked),
            input = next_leg_event(&mut self.legs) => Wake::Input(input),
            event = next_media_event(&mut self.media_events) => {
                Wake::Input(event.map_or(Input::MediaLost, Input::Media))
            }
            Ok(_) = self.stopping.wait_for(|stop| *stop), if is_live => {
                Wake::Input(Input::Shutdown)
            }
            () = timer => Wake::Input(Input::Timeout),
            written = next_written(&mut self.writing) => Wake::Written(written),
        }
    }

    /// Feeds the machine, and what follows from its effects.
    async fn take(&mut self, input: Input) {
        self.inputs.push_back(input);
        while let Some(input) = self.inputs.pop_front() {
            if let Input::MediaLost = input {
                self.media_events = None;
            }
            let now = Instant::now();
            for effect in self.machine.handle(now, input) {
                self.carry_out(now, effect).await;
            }
        }
        self.settle();
    }

    /// Ends the call after a fault, whatever state it left.
    async fn crashed(&mut self) {
        let now = Instant::now();
        for (_, reply) in self.replies.drain(..) {
            let _ = reply.send(Err(CommandError::Internal));
        }
        for effect in self.machine.crashed(now) {
            self.carry_out(now, effect).await;
        }
        self.settle();
    }

    /// Shows what has changed, and writes what is to be written.
    fn settle(&mut self) {
        if self.machine.take_changed() {
            self.view.send_replace(Arc::new(self.machine.view()));
        }
        if self.live.is_none() {
            self.keep_trace();
        }
        if self.writing.is_none() {
            self.write_next();
        }
    }

    /// The answer is noted, so that a crash could not forget the dialog: its ACK may go.
    async fn acknowledge(&mut self) {
        for leg in &self.legs {
            note_gone(self.inner.services.sip.acknowledge(leg.id).await);
        }
    }

    async fn carry_out(&mut self, now: Instant, effect: Effect) {
        match effect {
            Effect::Dial(dial) => {
                self.noted().await;
                let leg = dial.leg;
                // Boxed: what it holds would stay in the task for the whole call.
                if let Err(why) = Box::pin(self.dial(now, dial)).await {
                    self.inputs.push_back(Input::NotDialled(leg, why));
                }
            }
            Effect::HangUp(leg, cause) => {
                if let Some(id) = self.leg(leg).map(|it| it.id) {
                    let reason = HeaderValue::try_from(format!("Q.850;cause={cause}")).ok();
                    let told = self.inner.services.sip.hang_up(id, reason).await;
                    note_gone(told);
                }
            }
            Effect::Ring(leg) => {
                if let Some(id) = self.leg(leg).map(|it| it.id) {
                    note_gone(self.inner.services.sip.ring(id, None).await);
                }
            }
            Effect::Accept(leg, answer) => {
                if let Some(id) = self.leg(leg).map(|it| it.id) {
                    note_gone(self.inner.services.sip.accept(id, Body::sdp(answer)).await);
                }
            }
            Effect::Refuse(leg, status) => {
                if let Some(id) = self.leg(leg).map(|it| it.id) {
                    note_gone(self.inner.services.sip.reject(id, status).await);
                }
            }
            Effect::AnswerOffer(leg, answer) => {
                if let Some(id) = self.leg(leg).map(|it| it.id) {
                    let answer = answer.map(Body::sdp);
                    let told = self.inner.services.sip.answer_offer(id, answer).await;
                    note_gone(told);
                }
            }
            Effect::Connect(leg, agreed) => {
                if let Some((trunk, signalling)) = self.leg(leg).map(|it| (it.trunk, it.source)) {
                    self.let_learn(trunk);
                    self.media(Media::Connect { agreed: *agreed, signalling });
                }
            }
            Effect::Media(command) => self.media(command),
            Effect::Record(id, channels) => self.record(&id, channels),
            Effect::CloseMedia => drop(self.media.take()),
            Effect::Store(write) => {
                if let Write::Ended(row) = &write {
                    self.sum_up(row);
                }
                self.journal.push(write);
            }
            Effect::Placed(outcome) => {
                // Nobody waits any more where the client went away.
                let _ = self.answer.take().map(|answer| answer.send(outcome));
            }
            Effect::Reply(id, result) => {
                if let Some(at) = self.replies.iter().position(|(known, _)| *known == id) {
                    let _ = self.replies.remove(at).map(|(_, reply)| reply.send(result));
                }
            }
            Effect::RestTrunk(trunk, duration) => {
                if let Some(candidate) = self.candidates.get(trunk) {
                    self.inner.registry.rest.begin(now, candidate.id, duration);
                }
            }
            Effect::Unauthorized(trunk) => {
                if let Some(candidate) = self.candidates.get(trunk) {
                    let has = candidate.target.as_ref().is_ok_and(|it| it.credentials.is_some());
                    let why = if has { "does not take our credentials" } else { "asks for some" };
                    tracing::warn!(trunk = candidate.name, "a trunk {why}: other trunks first");
                    self.inner.registry.rest.begin(now, candidate.id, UNAUTHORIZED_REST);
                }
            }
            Effect::Ended => self.ended(),
        }
    }

    /// The customer sees the call no more: its caps are free, its mailbox is closed.
    fn ended(&mut self) {
        // Before it leaves the registry: whoever asks finds it in one place or the other.
        self.keep_trace();
        self.live = None;
        self.mailbox.close();
        while let Ok((_, reply)) = self.mailbox.try_recv() {
            let _ = reply.send(Err(CommandError::NotFound));
        }
    }

    /// The line of the log that says what became of the call.
    fn sum_up(&self, row: &Ended) {
        tracing::info!(
            direction = self.machine.direction().as_str(),
            status = row.status.as_str(),
            reason = row.end_reason,
            cause = row.hangup_cause,
            by = row.ended_by,
            seconds = row.duration_secs,
            sip_status = row.sip_status,
            trunk = row.trunk,
            amd = row.amd.as_ref().map(|amd| amd.status.as_str()),
            attempts = row.attempts,
            quality = row.quality,
            dropped_events = self.journal.dropped(),
            "call ended"
        );
    }

    fn keep_trace(&self) {
        self.inner.registry.keep_trace(self.machine.call_id(), self.machine.trace());
    }

    fn leg(&self, no: LegNo) -> Option<&ActiveLeg> {
        self.legs.iter().find(|leg| leg.no == no)
    }

    /// `--learn-rtp` holds for its own trunk alone.
    fn let_learn(&self, trunk: usize) {
        if self.candidates.iter().any(|candidate| candidate.learn_rtp) {
            let learn = self.candidates.get(trunk).is_some_and(|candidate| candidate.learn_rtp);
            self.media(Media::LearnSource(learn));
        }
    }

    fn media(&self, command: Media) {
        if let Some(Err(error)) = self.media.as_ref().map(|media| media.command(command)) {
            tracing::warn!(%error, "a media command was lost");
        }
    }

    fn record(&self, id: &str, channels: RecordingChannels) {
        let channels = match channels {
            RecordingChannels::Mono => Channels::Mono,
            RecordingChannels::Dual => Channels::Dual,
        };
        let path = self.inner.settings.recordings.join(format!("{id}.wav"));
        if let Some(Err(error)) = self.media.as_ref().map(|media| media.record(path, channels)) {
            tracing::error!(%error, "a recording could not be begun");
        }
    }
}

/// A stack that is gone has told its legs so: nothing follows here.
fn note_gone(told: Result<(), Gone>) {
    if let Err(error) = told {
        tracing::debug!(%error, "a leg could not be told");
    }
}

/// The next event of any leg. A leg that is closed is forgotten, and its room on the trunk is free.
async fn next_leg_event(legs: &mut Vec<ActiveLeg>) -> Input {
    poll_fn(|context| {
        for at in 0..legs.len() {
            let Some(leg) = legs.get_mut(at) else { break };
            let no = leg.no;
            match leg.events.poll_recv(context) {
                Poll::Ready(Some(event)) => {
                    if matches!(event, LegEvent::Closed) {
                        legs.swap_remove(at);
                    }
                    return Poll::Ready(Input::Sip(no, event));
                }
                // The stack is gone, and the leg with it.
                Poll::Ready(None) => {
                    legs.swap_remove(at);
                    return Poll::Ready(Input::Sip(no, LegEvent::Closed));
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    })
    .await
}

async fn next_media_event(events: &mut Option<mpsc::Receiver<MediaEvent>>) -> Option<MediaEvent> {
    match events {
        Some(events) => events.recv().await,
        None => pending().await,
    }
}
