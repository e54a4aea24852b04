//! From a trunk's INVITE to a call that lives, or to the status that refuses it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kaphila_sip::dialog::DialogState;
use kaphila_sip::invite::{Identity, IncomingCall};
use kaphila_sip::message::{NameAddr, Uri};
use kaphila_sip::net::Incoming;
use rand::Rng;
use tokio::sync::mpsc;

use super::actor::{self, Arrival, Born, Candidate, Permits};
use super::event::{Event, Subject};
use super::machine::{Clock, IncomingSetup, Setup};
use super::place::{key_caps, open_media, own_address, server_caps, trunk_caps};
use super::registry::Peer;
use super::{Calls, DEFAULT_VOICE, Inner, RecordingChannels, Status};
use crate::number::Number;
use crate::store::{
    self, Authenticated, Called, Direction, Leg, Millis, NewCall, NewEvent, OwnNumber, PlaceError,
};
use crate::trunk::limits::{Caps, Over};

/// How long a call that came in may ring.
const RING_TIME: Duration = Duration::from_secs(60);
/// The number of a caller that hides its own.
const ANONYMOUS: &str = "anonymous";

/// Why a call is not taken: what its caller is told, and what the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal {
    status: u16,
    why: &'static str,
}

const fn refusal(status: u16, why: &'static str) -> Refusal {
    Refusal { status, why }
}

const NO_TRUNK: Refusal = refusal(403, "it comes from no enabled trunk's address");
const NO_NUMBERS: Refusal = refusal(403, "no key has a number (kaphila number add)");
const UNKNOWN: Refusal = refusal(404, "no key has this number");
const DRAINING: Refusal = refusal(503, "the server is draining");
const AT_CAPACITY: Refusal = refusal(503, "the server is at its capacity");
const TRUNK_LIMIT: Refusal = refusal(503, "the trunk is at its limit");
const KEY_BUSY: Refusal = refusal(486, "the key has as many calls as it may");
const KEY_RATE: Refusal = refusal(503, "the key has as many new calls a second as it may");
const NO_DATABASE: Refusal = refusal(503, "the database is away");
const INTERNAL: Refusal = refusal(500, "a fault of ours");

impl Calls {
    /// Takes the calls that come from trunks, until the SIP stack is gone.
    pub async fn receive(&self, mut incoming: mpsc::Receiver<Incoming>) {
        while let Some(call) = incoming.recv().await {
            let inner = Arc::clone(&self.inner);
            self.inner.registry.tasks.spawn(take(inner, call));
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a driver: the call's clock begins here")]
async fn take(inner: Arc<Inner>, incoming: Incoming) {
    let clock = Clock { at: Instant::now(), wall: Millis::wall_clock() };
    let Incoming { leg, call, events } = incoming;
    let (source, sip_call_id) = (call.remote, call.call_id.clone());
    let arrival = Arrival { leg, source: source.ip(), events };
    let taken = Receiving { inner: &inner, clock, call }.run(arrival).await;
    if let Err(Refusal { status, why }) = taken {
        tracing::info!(%source, sip_call_id, status, why, "a call from a trunk is refused");
        // A stack that is gone refuses nothing more.
        let _ = inner.services.sip.reject(leg, status).await;
    }
}

struct Receiving<'a> {
    inner: &'a Arc<Inner>,
    clock: Clock,
    call: IncomingCall,
}

impl Receiving<'_> {
    async fn run(self, arrival: Arrival) -> Result<(), Refusal> {
        let registry = &self.inner.registry;
        let peer = registry.peers.of(self.call.remote).ok_or(NO_TRUNK)?;
        let (key, number) = self.called().await?;
        if registry.is_draining() {
            return Err(DRAINING);
        }
        let now = self.clock.at;
        let per_key = registry.keys.admit(now, key.key, key_caps(&key)).map_err(over_key)?;
        let whole = server_caps(&self.inner.settings);
        let capacity = registry.capacity.admit(now, (), whole).map_err(|_| AT_CAPACITY)?;
        let caps = trunk_caps(&peer.trunk);
        let trunk = registry.trunks.admit(now, peer.trunk.id, caps).map_err(|_| TRUNK_LIMIT)?;
        let (media, media_events) = open_media(self.inner).ok_or(AT_CAPACITY)?;
        let caller = caller(&self.call);
        let placed = self.store(&key, &number, &peer, caller.as_deref()).await?;
        let candidate = candidate(&peer, caps);
        let setup = self.setup(&key, &number, &placed, &candidate, caller, media.local());
        // Nobody waits for what an outbound call's client is told.
        drop(actor::begin(
            self.inner,
            Born {
                call: placed.call,
                setup,
                number: None,
                candidates: vec![candidate],
                first_trunk: trunk,
                permits: Permits { key: per_key, _capacity: capacity },
                media,
                media_events,
                arrival: Some(arrival),
            },
        ));
        Ok(())
    }

    /// The key whose number is called.
    async fn called(&self) -> Result<(Authenticated, OwnNumber), Refusal> {
        let number = number_of(&self.call.request_uri).ok_or(UNKNOWN)?;
        let called = self.inner.services.store.called(number.as_str(), self.clock.wall).await;
        match called {
            Ok(Called::Own(key, number)) => Ok((key, number)),
            Ok(Called::Unknown) => Err(UNKNOWN),
            Ok(Called::NoNumbers) => Err(NO_NUMBERS),
            Err(error) => {
                tracing::warn!(%error, "a call from a trunk is refused");
                Err(NO_DATABASE)
            }
        }
    }

    /// The row, and `call.incoming`, in one transaction.
    async fn store(
        &self,
        key: &Authenticated,
        number: &OwnNumber,
        peer: &Peer,
        caller: Option<&str>,
    ) -> Result<store::Placed, Refusal> {
        let dialog = &*self.call.dialog;
        let trunk = &peer.trunk;
        let row = NewCall {
            now: self.clock.wall,
            direction: Direction::Inbound,
            number: caller.unwrap_or(ANONYMOUS).to_owned(),
            callee: number.number.clone(),
            caller_id: caller.map(str::to_owned),
            webhook_url: number.webhook_url.clone(),
            metadata: None,
            use_amd: false,
            voice_name: Some(DEFAULT_VOICE.to_owned()),
            ring_timeout_ms: super::machine::millis(RING_TIME),
            record: self.is_recorded(key),
            trunk: Some((trunk.id, trunk.settings.name.clone())),
            leg: leg(&self.call, dialog),
            dialog: Some(dialog.to_string()),
            idempotency: None,
        };
        let incoming = self.incoming(number, peer, caller);
        let stored = self.inner.services.store.place(key, row, incoming).await;
        stored.map_err(|error| match error {
            PlaceError::KeyGone => UNKNOWN,
            PlaceError::Store(error) if error.is_unavailable() => NO_DATABASE,
            PlaceError::Store(error) => {
                tracing::error!(%error, "a call from a trunk cannot be stored");
                INTERNAL
            }
            PlaceError::InsufficientCredits | PlaceError::Repeated(_) => INTERNAL,
        })
    }

    /// What builds `call.incoming` once the call's id is known.
    fn incoming(
        &self,
        number: &OwnNumber,
        peer: &Peer,
        caller: Option<&str>,
    ) -> impl Fn(&store::Placed) -> NewEvent + Send + Sync + 'static {
        let (at, own) = (self.clock.wall, number.number.clone());
        let (trunk, caller) = (peer.trunk.settings.name.clone(), caller.map(str::to_owned));
        move |placed| {
            let subject = Subject {
                call_id: placed.call.call_id(),
                direction: Direction::Inbound,
                number: caller.as_deref().unwrap_or(ANONYMOUS),
                to: &own,
                caller_id: caller.as_deref(),
                status: Status::Ringing,
                metadata: None,
                amd: None,
                gather: None,
                recording: None,
            };
            subject.tell(&Event::Incoming { trunk: trunk.clone() }, at, 1)
        }
    }

    /// Nobody asks for it: as the key and the server say.
    fn is_recorded(&self, key: &Authenticated) -> bool {
        key.record_default && self.inner.settings.record
    }

    fn setup(
        &self,
        key: &Authenticated,
        number: &OwnNumber,
        placed: &store::Placed,
        candidate: &Candidate,
        caller: Option<String>,
        media: SocketAddr,
    ) -> Setup {
        let settings = &self.inner.settings;
        let dialog = &*self.call.dialog;
        let mut seed = [0; 32];
        rand::rng().fill_bytes(&mut seed);
        Setup {
            call_id: placed.call.call_id().to_owned(),
            number: caller.clone().unwrap_or_else(|| ANONYMOUS.to_owned()),
            incoming: Some(IncomingSetup {
                number: number.number.clone(),
                answer: number.answer,
                offer: self.call.body.as_ref().map(|body| body.bytes.clone()),
                dialog: dialog.to_string(),
            }),
            caller_id: caller,
            webhook: number.webhook_url.is_some(),
            metadata: None,
            amd: None,
            voice_name: DEFAULT_VOICE.to_owned(),
            ring_timeout: RING_TIME,
            record: self.is_recorded(key),
            channels: RecordingChannels::default(),
            record_early_media: false,
            trunks: vec![candidate.setup(own_address(settings, media), settings)],
            total_trunks: 1,
            credits: placed.credits,
            identity: Identity {
                call_id: self.call.call_id.clone(),
                from_tag: dialog.dialog.local_tag().to_owned(),
                branch: String::new(),
                cseq: dialog.dialog.local_cseq(),
            },
            seed,
            media_port: media.port(),
            session_id: rand::random(),
            telephone_event: settings.dtmf.takes_events(),
            timing: settings.timing,
            clock: self.clock,
        }
    }
}

fn candidate(peer: &Peer, caps: Caps) -> Candidate {
    Candidate {
        id: peer.trunk.id,
        name: peer.trunk.settings.name.clone(),
        caps,
        learn_rtp: peer.trunk.settings.learn_rtp,
        target: Ok(Arc::clone(&peer.target)),
        ways: vec![peer.target.first_way()],
    }
}

fn over_key(over: Over) -> Refusal {
    match over {
        Over::Concurrent => KEY_BUSY,
        Over::PerSecond => KEY_RATE,
    }
}

/// The row's own columns; what a BYE needs is in the dialog.
fn leg(call: &IncomingCall, dialog: &DialogState) -> Leg {
    Leg {
        sip_call_id: call.call_id.clone(),
        from_tag: dialog.dialog.local_tag().to_owned(),
        branch: String::new(),
        cseq: i64::from(dialog.dialog.local_cseq()),
        remote: call.remote.to_string(),
        transport: dialog.transport.as_str().to_ascii_lowercase(),
    }
}

/// Who calls: as From says, or the trunk's assertion where From hides it (RFC 3325 §9.1).
fn caller(call: &IncomingCall) -> Option<String> {
    let asserted = || {
        let text = call.asserted_identity.as_deref()?;
        number_of(&text.parse::<NameAddr>().ok()?.uri)
    };
    let number = number_of(&call.from.uri).or_else(asserted)?;
    Some(number.as_str().to_owned())
}

/// The number that a URI names: its user without what may follow it (`;phone-context=…`).
fn number_of(uri: &Uri) -> Option<Number> {
    let user = uri.user_text()?;
    Number::parse(user.split(';').next()?).ok()
}
