//! Calls: placed, steered, ended, accounted for.
//!
//! It knows a call from its request to its last event. It refuses to know HTTP and SQL. Start at
//! [`Calls`]; what a call does is in `machine`, which is pure; `actor` carries out what it says, one
//! task a call.
#![warn(clippy::large_futures)]

mod actor;
mod api;
#[cfg(test)]
mod bench;
pub mod cause;
mod event;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod further;
mod journal;
mod machine;
mod place;
mod receive;
mod recover;
mod registry;
pub(crate) mod schema;
mod trace;
mod view;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use kaphila_media::amd::{
    ParamError as AmdParamError, Params as AmdParams, Status as AmdStatus,
};
use kaphila_media::dtmf::Listening;
pub use kaphila_media::dtmf::{Digits, DigitsError, MAX_DIGITS};
use kaphila_media::engine::Engine;
use kaphila_media::sdp::Codec;
use kaphila_sip::net::Sip;
use tokio::sync::oneshot;

pub use self::api::{
    AmdMode, AmdRequest, CommandError, GatherRequest, MAX_GATHER_DIGITS, PlaceAnswer, PlaceOutcome,
    PlaceRefusal, PlaceRequest, Placed, PlacedEnd, PlayTo, PlaybackStarted, Prompt, PromptError,
    Prompts, RecordingChannels, RecordingView,
};
pub use self::cause::{EndReason, EndedBy, Status};
pub(crate) use self::event::schemas as event_schemas;
pub use self::machine::Timing;
use self::machine::{Command, NewPlayback, Reply};
pub use self::recover::{Recovered, recover};
use self::registry::Registry;
pub use self::view::{AmdShown, AmdView, CallView, GatherShown, GatherView, RecordingShown};
use crate::store::{Authenticated, Store, Trunk};
use crate::trunk::health::Health;
use crate::trunk::target::{Target, Targets};
use crate::trunk::traffic::Traffic;
pub use crate::tts::{DEFAULT_VOICE, ENGINES as SPEECH_ENGINES, check_voice};
pub use crate::webhook::guard::{Policy as WebhookPolicy, check_url as check_webhook_url};

/// How calls are made, told once.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Limits of time.
    pub timing: Timing,
    /// Numbers nobody may dial (`calls.deny_numbers`).
    pub deny_numbers: Vec<String>,
    /// Calls at a time (`media.max_calls`).
    pub max_calls: u32,
    /// How long a silent trunk is waited for before the next one is tried.
    pub no_answer_timeout: Duration,
    /// Codecs offered over trunks that name none, best first.
    pub codecs: Vec<Codec>,
    /// How keys are listened for (`media.dtmf`).
    pub dtmf: Listening,
    /// An answered call without RTP for this long ends; `None`: never.
    pub rtp_timeout: Option<Duration>,
    /// The address in our SDP; `None`: the one that RTP is bound to, else that of the route.
    pub media_address: Option<IpAddr>,
    /// Where recordings are written.
    pub recordings: PathBuf,
    /// Whether calls are recorded of which nobody says; `false`: only where a request asks for it.
    pub record: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let deny = ["112", "911", "999", "000", "110", "118", "119"];
        Self {
            timing: Timing::default(),
            deny_numbers: deny.map(str::to_owned).to_vec(),
            max_calls: 1_000,
            no_answer_timeout: Duration::from_secs(4),
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            dtmf: Listening::default(),
            rtp_timeout: Some(Duration::from_secs(60)),
            media_address: None,
            recordings: PathBuf::from("recordings"),
            record: true,
        }
    }
}

/// What calls are made with.
#[derive(Clone)]
pub struct Services {
    /// The database.
    pub store: Store,
    /// The SIP stack.
    pub sip: Sip,
    /// Where trunks are.
    pub targets: Arc<Targets>,
    /// Which trunks answer.
    pub health: Arc<Health>,
    /// What trunks are asked and answer, counted.
    pub traffic: Traffic,
    /// The media threads.
    pub media: Arc<Engine>,
    /// Sounds and speech.
    pub prompts: Arc<dyn Prompts>,
}

/// Every call of this server. Cheap to clone.
#[derive(Clone)]
pub struct Calls {
    inner: Arc<Inner>,
}

struct Inner {
    services: Services,
    settings: Settings,
    registry: Registry,
}

impl Calls {
    /// No calls yet.
    #[must_use]
    pub fn new(services: Services, settings: Settings) -> Self {
        let registry = Registry::default();
        Self { inner: Arc::new(Inner { services, settings, registry }) }
    }

    /// Places a call and answers when `semantics.md` says so: at the first sign of the callee, at
    /// the end of the trunk list, or after some time; the call goes on by itself. A caller that
    /// goes away changes nothing.
    ///
    /// # Errors
    /// [`PlaceRefusal`]: nothing was placed.
    pub async fn place(
        &self,
        auth: &Authenticated,
        request: PlaceRequest,
    ) -> Result<PlaceAnswer, PlaceRefusal> {
        place::place(&self.inner, auth, request).await
    }

    /// The key's live calls, oldest first.
    #[must_use]
    pub fn active(&self, auth: &Authenticated) -> Vec<Arc<CallView>> {
        self.inner.registry.of_key(auth.key)
    }

    /// A live call of the key.
    #[must_use]
    pub fn view(&self, auth: &Authenticated, call_id: &str) -> Option<Arc<CallView>> {
        self.inner.registry.view(auth.key, call_id)
    }

    /// Ends a call, whatever its state.
    ///
    /// # Errors
    /// [`CommandError::NotFound`], as for every command here that names no live call of the key.
    pub async fn hang_up(&self, auth: &Authenticated, call_id: &str) -> Result<(), CommandError> {
        match self.command(auth, call_id, Command::HangUp).await? {
            Reply::Done => Ok(()),
            _ => Err(CommandError::Internal),
        }
    }

    /// Answers a call that came in and rings.
    ///
    /// # Errors
    /// [`CommandError::NotRinging`] where there is nothing to answer.
    pub async fn answer(&self, auth: &Authenticated, call_id: &str) -> Result<(), CommandError> {
        match self.command(auth, call_id, Command::Answer).await? {
            Reply::Done => Ok(()),
            _ => Err(CommandError::Internal),
        }
    }

    /// Plays a prompt after what plays already; answers once it has started or is queued.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn play(
        &self,
        auth: &Authenticated,
        call_id: &str,
        prompt: Prompt,
        play_to: PlayTo,
    ) -> Result<PlaybackStarted, CommandError> {
        let view = self.answered(auth, call_id)?;
        let audio = self.prepare(&prompt, &view).await?;
        let playback = NewPlayback { prompt, audio, play_to };
        match self.command(auth, call_id, Command::Play(playback)).await? {
            Reply::Playing(started) => Ok(started),
            _ => Err(CommandError::Internal),
        }
    }

    /// Plays a prompt and collects digits; they come by webhook.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn gather(
        &self,
        auth: &Authenticated,
        call_id: &str,
        request: GatherRequest,
    ) -> Result<(), CommandError> {
        let view = self.answered(auth, call_id)?;
        if view.gather.is_some() {
            return Err(CommandError::GatherInProgress);
        }
        let audio = self.prepare(&request.prompt, &view).await?;
        match self.command(auth, call_id, Command::Gather(request, audio)).await? {
            Reply::Done => Ok(()),
            _ => Err(CommandError::Internal),
        }
    }

    /// Ends what plays, what is queued and the gather; says how many playbacks that were.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn stop(&self, auth: &Authenticated, call_id: &str) -> Result<usize, CommandError> {
        match self.command(auth, call_id, Command::Stop).await? {
            Reply::Stopped(count) => Ok(count),
            _ => Err(CommandError::Internal),
        }
    }

    /// Sends digits: each `tone_ms` long with `gap_ms` after it, brought into 40–1000 ms. Answers
    /// once they are on their way; `dtmf.sent` tells the end.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn send_digits(
        &self,
        auth: &Authenticated,
        call_id: &str,
        digits: Digits,
        tone_ms: u16,
        gap_ms: u16,
    ) -> Result<(), CommandError> {
        match self.command(auth, call_id, Command::SendDigits(digits, tone_ms, gap_ms)).await? {
            Reply::Done => Ok(()),
            _ => Err(CommandError::Internal),
        }
    }

    /// Ends the recording of a call that goes on.
    ///
    /// # Errors
    /// [`CommandError::NoRecording`] where nothing is being recorded.
    pub async fn stop_recording(
        &self,
        auth: &Authenticated,
        call_id: &str,
    ) -> Result<RecordingView, CommandError> {
        match self.command(auth, call_id, Command::StopRecording).await? {
            Reply::Recording(view) => Ok(view),
            _ => Err(CommandError::Internal),
        }
    }

    /// From now on calls come from these trunks, by name.
    pub fn know_trunks(&self, trunks: impl IntoIterator<Item = (Arc<Trunk>, Arc<Target>)>) {
        let peers = trunks.into_iter().map(|(trunk, target)| registry::Peer { trunk, target });
        self.inner.registry.peers.set(peers.collect());
    }

    /// Live calls of all keys.
    #[must_use]
    pub fn active_count(&self) -> usize {
        self.inner.registry.len()
    }

    /// What happened in a call, live or among the last ones that ended, as text. For the operator.
    pub async fn trace(&self, call_id: &str) -> Option<String> {
        let Some(commands) = self.inner.registry.any(call_id) else {
            return self.inner.registry.trace(call_id);
        };
        match registry::ask(&commands, Command::Trace).await {
            Ok(Reply::Trace(text)) => Some(text),
            _ => self.inner.registry.trace(call_id),
        }
    }

    /// From now on nothing is placed ([`PlaceRefusal::Draining`]); what is there goes on.
    pub fn drain(&self) {
        self.inner.registry.drain();
    }

    /// Whether [`drain`](Self::drain) was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.registry.is_draining()
    }

    /// Hangs up every call (`server_shutdown`).
    pub fn hang_up_all(&self) {
        self.inner.registry.hang_up_all();
    }

    /// Waits until no call is live.
    pub async fn idle(&self) {
        self.inner.registry.idle().await;
    }

    /// Waits until every call is accounted for: rows and events written, files complete, legs
    /// ended at the far end too.
    pub async fn finished(&self) {
        self.inner.registry.finished().await;
    }

    /// An answered call of the key, for what needs one.
    fn answered(&self, auth: &Authenticated, call_id: &str) -> Result<Arc<CallView>, CommandError> {
        let view = self.view(auth, call_id).ok_or(CommandError::NotFound)?;
        if view.status == Status::Answered { Ok(view) } else { Err(CommandError::NotAnswered) }
    }

    async fn prepare(&self, prompt: &Prompt, call: &CallView) -> Result<Arc<[i16]>, CommandError> {
        let prompts = &self.inner.services.prompts;
        let audio = match prompt {
            Prompt::File(name) => prompts.sound(name).await,
            Prompt::Text(text) => prompts.speech(text, &call.voice_name).await,
        };
        audio.map_err(|error| match error {
            PromptError::Bad(why) => CommandError::BadPrompt(why),
            PromptError::NotFound => CommandError::SoundNotFound,
            PromptError::Failed(why) => {
                tracing::warn!(call_id = call.call_id, why, "a prompt could not be prepared");
                CommandError::PromptFailed
            }
        })
    }

    async fn command(
        &self,
        auth: &Authenticated,
        call_id: &str,
        command: Command,
    ) -> Result<Reply, CommandError> {
        let commands =
            self.inner.registry.commands(auth.key, call_id).ok_or(CommandError::NotFound)?;
        registry::ask(&commands, command).await
    }
}

/// A command on its way to its call, and who waits for the outcome. Boxed, as a mailbox keeps room
/// for 32 of them.
type Asked = (Box<Command>, oneshot::Sender<Result<Reply, CommandError>>);
