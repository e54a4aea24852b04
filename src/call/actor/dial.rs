//! From the machine's wish to dial to a leg in the SIP stack: the trunk's target, the room on it,
//! the INVITE.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use kaphila_media::sdp::Codec;
use kaphila_sip::invite::{Body, Identity, InviteSpec, LegEvent, LegId};
use kaphila_sip::net::resolve::Way;
use tokio::sync::mpsc;

use super::Actor;
use crate::call::Settings;
use crate::call::machine::{Destination, Dial, LegNo, NotDialled, TrunkSetup};
use crate::store::{Leg, TrunkId};
use crate::trunk::limits::{Caps, Permit};
use crate::trunk::target::{Target, TargetError};

/// Events of a leg that may wait for the call: a burst of retransmissions in its ladder.
const MAX_LEG_EVENTS: usize = 256;

/// A trunk that this call may dial.
pub(in crate::call) struct Candidate {
    pub(in crate::call) id: TrunkId,
    pub(in crate::call) name: String,
    pub(in crate::call) caps: Caps,
    pub(in crate::call) learn_rtp: bool,
    pub(in crate::call) target: Result<Arc<Target>, TargetError>,
    /// The ways to it that this call tries, in turn.
    pub(in crate::call) ways: Vec<Way>,
}

/// A leg of which something remains in the SIP stack.
pub(super) struct ActiveLeg {
    pub(super) no: LegNo,
    /// When its INVITE was sent, until something above 100 has come; `None` on one that came in.
    pub(super) unanswered: Option<Instant>,
    /// Its INVITE is ours and has no final answer yet.
    pub(super) is_open: bool,
    pub(super) id: LegId,
    pub(super) trunk: usize,
    pub(super) source: IpAddr,
    pub(super) events: mpsc::Receiver<LegEvent>,
    /// The room it takes on its trunk, until nothing of it remains.
    pub(super) permit: Arc<Permit<TrunkId>>,
}

/// A leg that came in.
pub(in crate::call) struct Arrival {
    pub(in crate::call) leg: LegId,
    pub(in crate::call) source: IpAddr,
    pub(in crate::call) events: mpsc::Receiver<LegEvent>,
}

impl Arrival {
    pub(super) fn into_leg(self, permit: Permit<TrunkId>) -> ActiveLeg {
        let Self { leg: id, source, events } = self;
        ActiveLeg {
            no: LegNo(0),
            unanswered: None,
            is_open: false,
            id,
            trunk: 0,
            source,
            events,
            permit: Arc::new(permit),
        }
    }
}

impl Actor {
    pub(super) async fn dial(&mut self, now: Instant, dial: Dial) -> Result<(), NotDialled> {
        let permit = self.permit(now, dial.to.trunk)?;
        let Some(candidate) = self.candidates.get(dial.to.trunk) else {
            return Err(NotDialled::Transport("no such trunk".to_owned()));
        };
        let target = candidate.target.clone();
        let target = target.map_err(|error| NotDialled::Transport(error.to_string()))?;
        let Some(Way { remote, transport }) = candidate.way(&dial.to) else {
            return Err(NotDialled::Transport("no way leads there".to_owned()));
        };
        let is_v4 = self.media.as_ref().is_none_or(|media| media.local().is_ipv4());
        if remote.is_ipv4() != is_v4 {
            let why = format!("media.address has no RTP for the version of IP of {remote}");
            return Err(NotDialled::Transport(why));
        }
        let Some(number) = &self.number else {
            return Err(NotDialled::Transport("the call came in".to_owned()));
        };
        let own = candidate.caller_id();
        let shown = self.machine.own_caller_id().or(own.as_deref()).map(str::to_owned);
        let addressing = target.addressing(number, shown.as_deref(), dial.to.redirect.as_ref());
        self.inner.services.health.tried(now, candidate.id);
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
            transport,
            tls_name: target.tls_name.clone(),
            large_over_tcp: target.large_over_tcp,
            headers: addressing.headers,
            body: Some(Body::sdp(dial.offer)),
            no_answer_timeout: self.inner.settings.no_answer_timeout,
            peers: target.peers.clone(),
            credentials: target.credentials.clone(),
        };
        let (sender, events) = mpsc::channel(MAX_LEG_EVENTS);
        let id = self.inner.services.sip.invite(spec, sender).await;
        let id = id.map_err(|error| NotDialled::Transport(error.to_string()))?;
        self.inner.services.traffic.invited(&target.name);
        self.legs.reserve_exact(1);
        self.legs.push(ActiveLeg {
            no: dial.leg,
            unanswered: Some(now),
            is_open: true,
            id,
            trunk: dial.to.trunk,
            source: remote.ip(),
            events,
            permit,
        });
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
}

impl Candidate {
    /// Its caller id, where request and key have none.
    pub(in crate::call) fn caller_id(&self) -> Option<String> {
        self.target.as_ref().ok().and_then(|target| target.caller_id().map(str::to_owned))
    }

    /// What its row says of an INVITE to it.
    pub(in crate::call) fn leg(&self, identity: &Identity) -> Leg {
        leg_row(Some(self), identity, &Destination { trunk: 0, way: 0, redirect: None })
    }

    /// Where an INVITE to it goes.
    fn way(&self, to: &Destination) -> Option<Way> {
        let way = self.ways.get(to.way).copied()?;
        Some(to.redirect.as_ref().map_or(way, |uri| Target::redirected(way, uri)))
    }

    /// As the machine sees it.
    pub(in crate::call) fn setup(&self, media: Option<IpAddr>, settings: &Settings) -> TrunkSetup {
        let target = self.target.as_ref().ok();
        let named = target.into_iter().flat_map(|it| &it.codecs);
        let own: Vec<Codec> = named.filter_map(|name| Codec::from_name(name)).collect();
        TrunkSetup {
            name: self.name.clone(),
            caller_id: self.caller_id(),
            media: media.or(target.map(|it| it.local)).unwrap_or(IpAddr::from([127, 0, 0, 1])),
            codecs: if own.is_empty() { settings.codecs.clone() } else { own },
            ways: self.ways.len(),
            hosts: target.map(|it| it.hosts.clone()).unwrap_or_default(),
        }
    }
}

pub(super) fn leg_row(candidate: Option<&Candidate>, identity: &Identity, to: &Destination) -> Leg {
    let way = candidate.and_then(|it| it.way(to));
    Leg {
        sip_call_id: identity.call_id.clone(),
        from_tag: identity.from_tag.clone(),
        branch: identity.branch.clone(),
        cseq: i64::from(identity.cseq),
        remote: way.map_or_else(String::new, |way| way.remote.to_string()),
        transport: way.map_or("udp", |way| way.transport.as_str()).to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use kaphila_sip::message::{Transport, Uri};
    use kaphila_sip::net::resolve::Route;

    use super::*;
    use crate::store::{Millis, Trunk, TrunkSettings};

    /// What an orphaned leg is cancelled by: a redirect may change the address and the transport.
    #[test]
    fn a_row_tells_where_its_invite_went_and_over_what() {
        let trunk = Trunk {
            id: TrunkId(1),
            settings: TrunkSettings::new("t", "sip:127.0.0.2:5070"),
            disabled: false,
            created_at: Millis(0),
            updated_at: Millis(0),
        };
        let way = |last, transport| Way { remote: ([127, 0, 0, last], 5070).into(), transport };
        let ways = vec![way(2, Transport::Udp), way(3, Transport::Tcp)];
        let target = Target::at(&trunk, Route::of(ways.clone())).unwrap();
        let candidate = Candidate {
            id: trunk.id,
            name: "t".to_owned(),
            caps: Caps { concurrent: None, per_second: None },
            learn_rtp: false,
            target: Ok(Arc::new(target)),
            ways,
        };
        let identity = Identity::generate(&mut rand::rng());
        let row = |way, redirect: Option<&Uri>| {
            let to = Destination { trunk: 0, way, redirect: redirect.cloned() };
            let row = leg_row(Some(&candidate), &identity, &to);
            (row.remote, row.transport)
        };
        assert_eq!(row(0, None), ("127.0.0.2:5070".to_owned(), "udp".to_owned()));
        assert_eq!(row(1, None), ("127.0.0.3:5070".to_owned(), "tcp".to_owned()));
        let moved = Uri::parse("sip:4420@127.0.0.2:5080;transport=tcp").unwrap();
        assert_eq!(row(0, Some(&moved)), ("127.0.0.2:5080".to_owned(), "tcp".to_owned()));
    }
}
