//! From a request to a call that lives: every check, the row, the task.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use kaphila_media::engine::{MediaCall, OpenOptions};
use kaphila_media::session::MediaEvent;
use kaphila_sip::invite::Identity;
use rand::Rng;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::actor::{self, Born, Candidate, Permits};
use super::event::{Event, Subject};
use super::machine::{Clock, Setup, TrunkSetup};
use super::{Inner, PlaceAnswer, PlaceOutcome, PlaceRefusal, PlaceRequest, Settings, Status};
use crate::number::{Number, prefixes_permit};
use crate::store::{
    self, Authenticated, CallRef, Direction, KeyId, KeyTrunks, Millis, NewCall, NewEvent,
    PlaceError, StoreError, Trunk, TrunkId,
};
use crate::trunk::limits::{Caps, Over, Permit};
use crate::trunk::route::{self, NoRoute};

/// What `Calls::place` does. The work is a task of its own: once it has begun, a client that goes
/// away leaves no call without an owner.
pub(super) async fn place(
    inner: &Arc<Inner>,
    auth: &Authenticated,
    request: PlaceRequest,
) -> Result<PlaceAnswer, PlaceRefusal> {
    let (inner, auth) = (Arc::clone(inner), auth.clone());
    // The end of the server waits for it: what is placed meanwhile is hung up and accounted for.
    let placing = inner.registry.tasks.token();
    let task = Box::pin(async move { Placing { inner, auth, request }.run(placing).await });
    #[allow(clippy::disallowed_methods, reason = "a call outlives its request")]
    let placed = tokio::spawn(task).await;
    placed.unwrap_or_else(|error| {
        tracing::error!(%error, "placing a call failed");
        Err(PlaceRefusal::Internal)
    })
}

struct Placing {
    inner: Arc<Inner>,
    auth: Authenticated,
    request: PlaceRequest,
}

/// What a call over its first trunk is admitted with.
struct Admitted {
    candidates: Vec<Candidate>,
    trunk: Permit<TrunkId>,
    /// Where the round robin stood before.
    previous: Option<TrunkId>,
    /// How many are assigned to the key.
    total: usize,
}

impl Placing {
    #[allow(clippy::disallowed_methods, reason = "a driver: the call's clock begins here")]
    async fn run(self, placing: TaskTrackerToken) -> Result<PlaceAnswer, PlaceRefusal> {
        let (now, wall) = (Instant::now(), Millis::wall_clock());
        let trunks = self.inner.services.store.key_trunks(&self.auth, wall).await;
        // A number that no trunk takes is malformed, which stands before forbidden.
        if let Ok(trunks) = &trunks {
            self.check_characters(trunks)?;
        }
        let caller = self.caller_id()?;
        self.check_destination()?;
        let trunks = trunks.map_err(|error| unavailable(&error))?;
        let order = self.route(now, &trunks)?;
        let caps = key_caps(&self.auth);
        let key = match self.inner.registry.keys.admit(now, self.auth.key, caps) {
            Ok(permit) => permit,
            Err(over) => return Err(self.or_no_credit(over_key(over)).await),
        };
        if self.inner.registry.is_draining() {
            key.give_back();
            return Err(self.or_no_credit(PlaceRefusal::Draining).await);
        }
        let whole = server_caps(&self.inner.settings);
        let Ok(capacity) = self.inner.registry.capacity.admit(now, (), whole) else {
            key.give_back();
            return Err(self.or_no_credit(PlaceRefusal::AtCapacity).await);
        };
        let Some(admitted) = self.admit(now, &trunks, &order).await else {
            key.give_back();
            return Err(self.or_no_credit(PlaceRefusal::TrunkLimit).await);
        };
        let Some((media, events)) = open_media(&self.inner) else {
            let first = admitted.candidates.first().map(|first| first.id);
            self.take_back(first, admitted.trunk, admitted.previous, key);
            return Err(self.or_no_credit(PlaceRefusal::AtCapacity).await);
        };
        let permits = Permits { key, _capacity: capacity };
        // Anew: names may have taken seconds, and rows are listed by when they came.
        let clock = Clock { at: Instant::now(), wall: Millis::wall_clock() };
        let (call, outcome) = self.begin(clock, caller, admitted, permits, media, events).await?;
        drop(placing); // the call has a task of its own now
        let outcome = outcome.await.map_err(|_| PlaceRefusal::Internal)?;
        Ok(PlaceAnswer { call, outcome })
    }

    fn check_characters(&self, trunks: &KeyTrunks) -> Result<(), PlaceRefusal> {
        let refuse = |field| Err(PlaceRefusal::InvalidNumber(field));
        let refused =
            |number: &Number| !route::takes_characters(&trunks.trunks, number.has_star_or_hash());
        if refused(&self.request.number) {
            return refuse("number");
        }
        if self.request.caller_id.as_ref().is_some_and(refused) {
            refuse("callerId")
        } else {
            Ok(())
        }
    }

    /// The caller id of the request, else the key's.
    fn caller_id(&self) -> Result<Option<String>, PlaceRefusal> {
        let Some(asked) = &self.request.caller_id else {
            return Ok(self.auth.caller_id.clone());
        };
        let allowed = &self.auth.allowed_caller_ids;
        let own = self.auth.caller_id.as_deref() == Some(asked.as_str());
        if allowed.is_empty() || own || allowed.iter().any(|it| it == asked.as_str()) {
            return Ok(Some(asked.as_str().to_owned()));
        }
        Err(PlaceRefusal::CallerIdDenied)
    }

    fn check_destination(&self) -> Result<(), PlaceRefusal> {
        let number = self.request.number.as_str();
        // A `#` at the end only says that the number ends.
        let dialled = number.trim_end_matches('#');
        let denied = self.inner.settings.deny_numbers.iter().any(|it| it == dialled);
        let permitted =
            prefixes_permit(number, &self.auth.allow_prefixes, &self.auth.deny_prefixes);
        if denied || !permitted { Err(PlaceRefusal::DestinationDenied) } else { Ok(()) }
    }

    fn route(&self, now: Instant, trunks: &KeyTrunks) -> Result<Vec<usize>, PlaceRefusal> {
        let registry = &self.inner.registry;
        let last = registry.last_start(self.auth.key).or(trunks.last);
        let health = &self.inner.services.health;
        let reachable = |id| !registry.rest.is_resting(now, &id) && health.is_reachable(now, id);
        let number = &self.request.number;
        let caller = self.request.caller_id.as_ref();
        let special = number.has_star_or_hash() || caller.is_some_and(Number::has_star_or_hash);
        let order = route::order(&trunks.trunks, last, number, special, reachable);
        order.map_err(|no| match no {
            NoRoute::NoTrunks => PlaceRefusal::NoTrunks,
            NoRoute::StarOrHash => PlaceRefusal::InvalidNumber("number"),
            NoRoute::Denied => PlaceRefusal::DestinationDenied,
        })
    }

    /// Of two reasons, the one that stands first in `semantics.md`: credit before caps.
    async fn or_no_credit(&self, refusal: PlaceRefusal) -> PlaceRefusal {
        match self.inner.services.store.account(&self.auth).await {
            Ok(Some(key)) if key.credits - key.holds < 1 => PlaceRefusal::InsufficientCredits,
            _ => refusal,
        }
    }

    /// The trunks to dial, from the first one with room.
    async fn admit(&self, now: Instant, trunks: &KeyTrunks, order: &[usize]) -> Option<Admitted> {
        let mut ordered = order.iter().filter_map(|at| trunks.trunks.get(*at));
        let limits = &self.inner.registry.trunks;
        let (first, trunk) = ordered.find_map(|trunk| {
            let permit = limits.admit(now, trunk.id, trunk_caps(trunk)).ok()?;
            Some((trunk, permit))
        })?;
        let previous = self.inner.registry.note_start(self.auth.key, first.id);
        let targets = &self.inner.services.targets;
        // All at once: several names that nobody answers for cost what one of them does.
        let candidates = std::iter::once(first).chain(ordered).map(async |trunk| {
            let target = targets.resolve(now, trunk).await;
            let ways = target.as_ref().map(|target| target.ways(&mut rand::rng()));
            Candidate {
                id: trunk.id,
                name: trunk.settings.name.clone(),
                caps: trunk_caps(trunk),
                learn_rtp: trunk.settings.learn_rtp,
                ways: ways.unwrap_or_default(),
                target,
            }
        });
        let candidates = join_all(candidates).await;
        Some(Admitted { candidates, trunk, previous, total: trunks.trunks.len() })
    }

    /// Stores the call and lets it live.
    async fn begin(
        self,
        clock: Clock,
        caller: Option<String>,
        admitted: Admitted,
        permits: Permits,
        media: MediaCall,
        media_events: mpsc::Receiver<MediaEvent>,
    ) -> Result<(CallRef, oneshot::Receiver<PlaceOutcome>), PlaceRefusal> {
        let Some(first) = admitted.candidates.first() else { return Err(PlaceRefusal::Internal) };
        let identity = Identity::generate(&mut rand::rng());
        let shown = caller.clone().or_else(|| first.caller_id());
        let row = self.row(clock.wall, first, &identity, shown.clone());
        let initiated = self.initiated(clock.wall, first.name.clone(), shown);
        let stored = self.inner.services.store.place(&self.auth, row, initiated).await;
        let placed = match stored {
            Ok(placed) => placed,
            Err(error) => {
                self.take_back(Some(first.id), admitted.trunk, admitted.previous, permits.key);
                return Err(refusal(error));
            }
        };

        let setup = self.setup(clock, caller, &admitted, &placed, identity, media.local());
        let outcome = actor::begin(
            &self.inner,
            Born {
                call: placed.call.clone(),
                setup,
                number: Some(self.request.number.clone()),
                candidates: admitted.candidates,
                first_trunk: admitted.trunk,
                permits,
                media,
                media_events,
                arrival: None,
            },
        );
        Ok((placed.call, outcome))
    }

    /// Nothing was placed: neither a cap nor the round robin has moved.
    fn take_back(
        &self,
        first: Option<TrunkId>,
        trunk: Permit<TrunkId>,
        previous: Option<TrunkId>,
        key: Permit<KeyId>,
    ) {
        if let Some(first) = first {
            self.inner.registry.take_start_back(self.auth.key, first, previous);
        }
        trunk.give_back();
        key.give_back();
    }

    fn row(
        &self,
        now: Millis,
        first: &Candidate,
        identity: &Identity,
        caller_id: Option<String>,
    ) -> NewCall {
        let request = &self.request;
        let number = request.number.as_str().to_owned();
        NewCall {
            now,
            direction: Direction::Outbound,
            callee: number.clone(),
            number,
            caller_id,
            webhook_url: request.webhook_url.clone(),
            metadata: request.metadata.as_ref().map(|it| json!(it).to_string()),
            use_amd: request.amd.is_some(),
            voice_name: Some(request.voice_name.clone()),
            ring_timeout_ms: super::machine::millis(request.ring_timeout),
            record: self.is_recorded(),
            trunk: Some((first.id, first.name.clone())),
            leg: first.leg(identity),
            dialog: None,
            idempotency: request.idempotency.clone(),
        }
    }

    fn is_recorded(&self) -> bool {
        let unasked = self.auth.record_default && self.inner.settings.record;
        self.request.record.unwrap_or(unasked)
    }

    /// What builds `call.initiated` once the call's id is known.
    fn initiated(
        &self,
        now: Millis,
        trunk: String,
        caller_id: Option<String>,
    ) -> impl Fn(&store::Placed) -> NewEvent + Send + Sync + 'static {
        let (number, metadata) = (self.request.number.clone(), self.request.metadata.clone());
        move |placed| {
            let subject = Subject {
                call_id: placed.call.call_id(),
                direction: Direction::Outbound,
                number: number.as_str(),
                to: number.as_str(),
                caller_id: caller_id.as_deref(),
                status: Status::Ringing,
                metadata: metadata.as_ref(),
                amd: None,
                gather: None,
                recording: None,
            };
            subject.tell(&Event::Initiated { trunk: trunk.clone() }, now, 1)
        }
    }

    fn setup(
        &self,
        clock: Clock,
        caller_id: Option<String>,
        admitted: &Admitted,
        placed: &store::Placed,
        identity: Identity,
        media: SocketAddr,
    ) -> Setup {
        let request = &self.request;
        let settings = &self.inner.settings;
        let address = own_address(settings, media);
        let trunk = |candidate: &Candidate| candidate.setup(address, settings);
        let (mut seed, session_id) = ([0; 32], rand::random());
        rand::rng().fill_bytes(&mut seed);
        Setup {
            call_id: placed.call.call_id().to_owned(),
            number: request.number.as_str().to_owned(),
            incoming: None,
            caller_id,
            webhook: request.webhook_url.is_some(),
            metadata: request.metadata.clone(),
            amd: request.amd.clone(),
            voice_name: request.voice_name.clone(),
            ring_timeout: request.ring_timeout,
            record: self.is_recorded(),
            channels: request.recording_channels,
            record_early_media: request.record_early_media,
            trunks: admitted.candidates.iter().map(trunk).collect::<Vec<TrunkSetup>>(),
            total_trunks: admitted.total,
            credits: placed.credits,
            identity,
            seed,
            media_port: media.port(),
            session_id,
            telephone_event: settings.dtmf.takes_events(),
            timing: settings.timing,
            clock,
        }
    }
}

/// A port of its own; without one there is no call.
pub(super) fn open_media(inner: &Inner) -> Option<(MediaCall, mpsc::Receiver<MediaEvent>)> {
    let (rtp_timeout, dtmf) = (inner.settings.rtp_timeout, inner.settings.dtmf);
    let options = OpenOptions { rtp_timeout, dtmf, ..OpenOptions::default() };
    let opened = inner.services.media.open(options);
    opened.inspect_err(|error| tracing::warn!(%error, "no media for a call")).ok()
}

/// The address in our descriptions, unless it is that of the route.
pub(super) fn own_address(settings: &Settings, media: SocketAddr) -> Option<IpAddr> {
    let bound = Some(media.ip()).filter(|ip| !ip.is_unspecified());
    settings.media_address.or(bound)
}

fn over_key(over: Over) -> PlaceRefusal {
    match over {
        Over::Concurrent => PlaceRefusal::ConcurrentCalls,
        Over::PerSecond => PlaceRefusal::CallsPerSecond,
    }
}

pub(super) fn server_caps(settings: &Settings) -> Caps {
    Caps { concurrent: Some(settings.max_calls), per_second: None }
}

pub(super) fn key_caps(key: &Authenticated) -> Caps {
    Caps { concurrent: cap(key.max_calls), per_second: cap(key.max_cps) }
}

pub(super) fn trunk_caps(trunk: &Trunk) -> Caps {
    let settings = &trunk.settings;
    Caps { concurrent: cap(settings.max_channels), per_second: cap(settings.max_cps) }
}

fn cap(value: Option<i64>) -> Option<u32> {
    value.map(|most| u32::try_from(most).unwrap_or(0))
}

fn unavailable(error: &StoreError) -> PlaceRefusal {
    if error.is_unavailable() {
        tracing::warn!(%error, "a call was refused");
        return PlaceRefusal::DatabaseUnavailable;
    }
    tracing::error!(%error, "a call was refused");
    PlaceRefusal::Internal
}

fn refusal(error: PlaceError) -> PlaceRefusal {
    match error {
        PlaceError::InsufficientCredits => PlaceRefusal::InsufficientCredits,
        PlaceError::KeyGone => PlaceRefusal::KeyGone,
        PlaceError::Repeated(known) => PlaceRefusal::Repeated(Box::new(known)),
        PlaceError::Store(error) => unavailable(&error),
    }
}
