//! The driver of one call: a task that feeds the machine and carries out what it says.
//!
//! It knows handles, channels and the clock. It refuses to decide anything. Start at
//! [`Actor::run`].
#![allow(clippy::disallowed_methods, reason = "a driver: it reads the clock and sleeps")]

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kaphila_media::engine::MediaCall;
use kaphila_media::record::Channels;
use kaphila_media::sdp::Codec;
use kaphila_media::session::{Command as Media, MediaEvent};
use kaphila_sip::invite::{Body, Identity, InviteSpec, LegEvent, LegId};
use kaphila_sip::message::{HeaderValue, Uri};
use kaphila_sip::net::Gone;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument;

use super::journal::{Batch, Journal};
use super::machine::{Dial, Effect, Input, LegNo, Machine, NotDialled, Reply, ReplyId, TrunkSetup};
use super::registry::Registered;
use super::{Asked, CallView, CommandError, Inner, PlaceOutcome, RecordingChannels, Settings};
use crate::number::Number;
use crate::store::{CallRef, KeyId, Leg, Millis, StoreError, TrunkId};
use crate::trunk::limits::{Caps, Permit};
use crate::trunk::target::{Target, TargetError};

/// Events of a leg that may wait for the call: a burst of retransmissions in its ladder.
const MAX_LEG_EVENTS: usize = 256;
/// The pause before a write is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a further INVITE waits for its row.
const NOTE_TIME: Duration = Duration::from_millis(400);
/// How often a write is tried that the database refuses for another reason than being away.
const MAX_REFUSALS: u32 = 5;

/// A trunk that this call may dial.
pub(super) struct Candidate {
    pub(super) id: TrunkId,
    pub(super) name: String,
    pub(super) caps: Caps,
    pub(super) learn_rtp: bool,
    pub(super) target: Result<Arc<Target>, TargetError>,
}

/// What a live call uses up of the server's and the key's caps.
pub(super) struct Permits {
    pub(super) key: Permit<KeyId>,
    pub(super) _capacity: Permit<()>,
}

/// What an actor is made of.
pub(super) struct Parts {
    pub(super) inner: Arc<Inner>,
    pub(super) machine: Machine,
    pub(super) call: CallRef,
    pub(super) number: Number,
    pub(super) candidates: Vec<Candidate>,
    /// The room on the first trunk.
    pub(super) first_trunk: Permit<TrunkId>,
    pub(super) permits: Permits,
    pub(super) registered: Registered,
    pub(super) media: MediaCall,
    pub(super) media_events: mpsc::Receiver<MediaEvent>,
    pub(super) mailbox: mpsc::Receiver<Asked>,
    pub(super) view: watch::Sender<Arc<CallView>>,
    pub(super) answer: oneshot::Sender<PlaceOutcome>,
}

/// One call's task.
pub(super) struct Actor {
    inner: Arc<Inner>,
    machine: Machine,
    call: CallRef,
    number: Number,
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

/// A leg of which something remains in the SIP stack.
struct ActiveLeg {
    no: LegNo,
    id: LegId,
    trunk: usize,
    source: IpAddr,
    events: mpsc::Receiver<LegEvent>,
    /// The room it takes on its trunk, until nothing of it remains.
    permit: Arc<Permit<TrunkId>>,
}

type Written = (Batch, Result<(), StoreError>);

/// A transaction under way, and how often it has failed.
struct Writing {
    future: BoxFuture<'static, Written>,
    failures: u32,
}

/// What woke the actor.
enum Wake {
    Input(Input),
    Asked(Asked),
    Written(Written),
}

impl Actor {
    /// Boxed: its task would keep it twice.
    pub(super) fn new(parts: Parts) -> Box<Self> {
        Box::new(Self {
            stopping: parts.inner.registry.stopping(),
            inner: parts.inner,
            machine: parts.machine,
            call: parts.call,
            number: parts.number,
            candidates: parts.candidates,
            first_trunk: Some(Arc::new(parts.first_trunk)),
            live: Some((parts.permits, parts.registered)),
            media: Some(parts.media),
            media_events: Some(parts.media_events),
            mailbox: parts.mailbox,
            view: parts.view,
            answer: Some(parts.answer),
            replies: VecDeque::new(),
            next_reply: 0,
            legs: Vec::new(),
            journal: Journal::default(),
            writing: None,
            inputs: VecDeque::new(),
        })
    }

    /// Lives until the call is accounted for and nothing of its legs remains. A fault on the way
    /// ends this call (`internal_error`) and no other.
    pub(super) async fn run(mut self: Box<Self>) {
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
                Wake::Input(input) => self.take(input).await,
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

    /// Waits for what is to be written, for a while: the next start knows a leg by its row alone.
    /// The first leg's was written when the call was placed.
    async fn noted(&mut self) {
        let until = tokio::time::Instant::now() + NOTE_TIME;
        loop {
            if self.writing.is_none() {
                self.write_next();
            }
            if self.writing.is_none() {
                return;
            }
            let Ok((batch, result)) =
                tokio::time::timeout_at(until, next_written(&mut self.writing)).await
            else {
                return tracing::warn!("a leg is dialled before its row is written");
            };
            self.written(batch, result);
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
            Effect::Store(write) => self.journal.push(write),
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
                let trunk = self.candidates.get(trunk).map(|it| it.name.as_str());
                tracing::warn!(trunk, "the trunk asks for credentials, which are not built yet");
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
        let (status, dropped) = (self.machine.status(), self.journal.dropped());
        tracing::info!(%status, dropped_events = dropped, "call ended");
    }

    fn keep_trace(&self) {
        self.inner.registry.keep_trace(self.machine.call_id(), self.machine.trace());
    }

    async fn dial(&mut self, now: Instant, dial: Dial) -> Result<(), NotDialled> {
        let permit = self.permit(now, dial.trunk)?;
        let Some(candidate) = self.candidates.get(dial.trunk) else {
            return Err(NotDialled::Transport("no such trunk".to_owned()));
        };
        let target = candidate.target.clone();
        let target = target.map_err(|error| NotDialled::Transport(error.to_string()))?;
        let remote = target.remote_of(dial.target.as_ref());
        let is_v4 = self.media.as_ref().is_none_or(|media| media.local().is_ipv4());
        if remote.is_ipv4() != is_v4 {
            let why = "media.address has no RTP for the trunk's version of IP";
            return Err(NotDialled::Transport(why.to_owned()));
        }
        let own = candidate.caller_id();
        let shown = self.machine.own_caller_id().or(own.as_deref()).map(str::to_owned);
        let addressing = target.addressing(&self.number, shown.as_deref(), dial.target.as_ref());
        tracing::info!(
            trunk = target.name,
            sip_call_id = dial.identity.call_id,
            %remote,
            "dialling"
        );
        let spec = InviteSpec {
            identity: dial.identity,
            request_uri: addressing.request_uri,
            from: addressing.from,
            to: addressing.to,
            remote,
            transport: target.transport,
            headers: addressing.headers,
            body: Some(Body::sdp(dial.offer)),
            no_answer_timeout: self.inner.settings.no_answer_timeout,
            peers: target.peers.clone(),
        };
        let (sender, events) = mpsc::channel(MAX_LEG_EVENTS);
        let id = self.inner.services.sip.invite(spec, sender).await;
        let id = id.map_err(|error| NotDialled::Transport(error.to_string()))?;
        let (no, trunk, source) = (dial.leg, dial.trunk, remote.ip());
        self.legs.reserve_exact(1);
        self.legs.push(ActiveLeg { no, id, trunk, source, events, permit });
        Ok(())
    }

    /// Room on a trunk: what was admitted for the first leg; what a leg of the same trunk has
    /// already (a redirect, another codec set); else a new one.
    fn permit(&mut self, now: Instant, trunk: usize) -> Result<Arc<Permit<TrunkId>>, NotDialled> {
        if let Some(first) = self.first_trunk.take() {
            return Ok(first);
        }
        if let Some(leg) = self.legs.iter().rev().find(|leg| leg.trunk == trunk) {
            return Ok(Arc::clone(&leg.permit));
        }
        let candidate = self.candidates.get(trunk).ok_or(NotDialled::OverLimit)?;
        let limits = &self.inner.registry.trunks;
        let admitted = limits.admit(now, candidate.id, candidate.caps);
        admitted.map(Arc::new).map_err(|_| NotDialled::OverLimit)
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

    /// Begins the next transaction, if there is something to write.
    fn write_next(&mut self) {
        let candidates = &self.candidates;
        let batch = self.journal.next_batch(|trunk, identity, redirect| {
            let candidate = candidates.get(trunk);
            let name = candidate.map_or_else(String::new, |it| it.name.clone());
            (name, leg_row(candidate, &identity, redirect))
        });
        if let Some(batch) = batch {
            self.write(batch, 0);
        }
    }

    fn write(&mut self, batch: Batch, failures: u32) {
        let (store, call) = (self.inner.services.store.clone(), self.call.clone());
        let pause = match failures {
            0 => None,
            _ => Some(RETRY.0.saturating_mul(1 << failures.min(10)).min(RETRY.1)),
        };
        let future = async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let written = batch.clone().write(&store, &call, Millis::wall_clock()).await;
            (batch, written)
        };
        self.writing = Some(Writing { future: Box::pin(future), failures });
    }

    /// A transaction is through, or has to be tried again: nothing of a call is lost while its
    /// process lives.
    fn written(&mut self, batch: Batch, result: Result<(), StoreError>) {
        let failures = self.writing.take().map_or(0, |writing| writing.failures);
        match result {
            Ok(()) => self.write_next(),
            Err(error) if error.is_unavailable() || failures < MAX_REFUSALS => {
                tracing::warn!(%error, what = batch.name(), "not written yet");
                self.write(batch, failures + 1);
            }
            Err(error) => {
                tracing::error!(%error, what = batch.name(), "cannot be written");
                self.write_next();
            }
        }
    }
}

impl Candidate {
    /// Its caller id, where request and key have none.
    pub(super) fn caller_id(&self) -> Option<String> {
        self.target.as_ref().ok().and_then(|target| target.caller_id().map(str::to_owned))
    }

    /// What its row says of an INVITE to it.
    pub(super) fn leg(&self, identity: &Identity) -> Leg {
        leg_row(Some(self), identity, None)
    }

    /// As the machine sees it.
    pub(super) fn setup(&self, media: Option<IpAddr>, settings: &Settings) -> TrunkSetup {
        let target = self.target.as_ref().ok();
        let named = target.into_iter().flat_map(|it| &it.codecs);
        let own: Vec<Codec> = named.filter_map(|name| Codec::from_name(name)).collect();
        TrunkSetup {
            name: self.name.clone(),
            caller_id: self.caller_id(),
            media: media.or(target.map(|it| it.local)).unwrap_or(IpAddr::from([127, 0, 0, 1])),
            codecs: if own.is_empty() { settings.codecs.clone() } else { own },
            hosts: target.map(|it| it.hosts.clone()).unwrap_or_default(),
        }
    }
}

fn leg_row(candidate: Option<&Candidate>, identity: &Identity, redirect: Option<&Uri>) -> Leg {
    let target = candidate.and_then(|it| it.target.as_ref().ok());
    Leg {
        sip_call_id: identity.call_id.clone(),
        from_tag: identity.from_tag.clone(),
        branch: identity.branch.clone(),
        cseq: i64::from(identity.cseq),
        remote: target.map_or_else(String::new, |it| it.remote_of(redirect).to_string()),
        transport: target.map_or("udp", |it| it.transport.as_str()).to_ascii_lowercase(),
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

async fn next_written(writing: &mut Option<Writing>) -> Written {
    match writing {
        Some(writing) => (&mut writing.future).await,
        None => pending().await,
    }
}
