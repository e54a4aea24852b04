//! Dialling: from the first INVITE to an answer or the end of the trunk list.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kaphila_media::sdp::{Capabilities, Codec, Negotiation};
use kaphila_sip::dialog::DialogState;
use kaphila_sip::invite::{Body, Failure, Identity, LegEvent};
use kaphila_sip::message::{Scheme, Transport, Uri};

use super::{
    CANCEL_GRACE, Destination, Dial, Effect, Final, Leg, LegNo, MAX_HOPS, Machine, NotDialled,
    Stage, Timer, TrunkSetup, Write,
};
use crate::call::api::{PlaceOutcome, Placed, PlacedEnd};
use crate::call::cause::{self, End, Next};

/// Never written: a trunk that is dialled exists.
const UNSPECIFIED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// Contacts of one redirect that are tried.
const MAX_CONTACTS: usize = 4;
/// Frames we offer, in ms.
const PTIME_MS: u8 = 20;

impl Machine {
    pub(super) fn start(&mut self, now: Instant) {
        if self.setup.incoming.is_some() {
            return self.receive(now);
        }
        self.stage = Stage::Dialling;
        // From the request on: finding the trunks has taken a part of it.
        self.timers.set(Timer::AnswerWithin, self.setup.clock.at + self.setup.timing.answer_within);
        self.dial_next_trunk(now);
    }

    /// Dials the next trunk of the list; at its end, so does the call.
    fn dial_next_trunk(&mut self, now: Instant) {
        let trunk = self.next_trunk;
        let Some(codecs) = self.setup.trunks.get(trunk).map(|trunk| trunk.codecs.clone()) else {
            let end = self.last_failure.unwrap_or(cause::TRANSPORT);
            return self.end_exhausted(now, end);
        };
        self.next_trunk += 1;
        self.dialled.push(trunk);
        self.timers.set(Timer::Ring, now + self.setup.ring_timeout);
        self.dial(now, Destination { trunk, way: 0, redirect: None }, codecs, 0, false);
    }

    fn dial(
        &mut self,
        now: Instant,
        to: Destination,
        codecs: Vec<Codec>,
        hops: u8,
        other_codecs: bool,
    ) {
        let (leg, trunk, way) = (LegNo(self.legs.len()), to.trunk, to.way);
        let mut negotiation = self.negotiation(trunk, codecs.clone());
        let offer = negotiation.offer();
        let identity = match leg.0 {
            0 => self.setup.identity.clone(),
            _ => Identity::generate(&mut self.rng),
        };
        if leg.0 > 0 {
            let write = Write::Dialled(to.clone(), identity.clone());
            self.effects.push(Effect::Store(write));
        }
        // One is the rule; a vector would make room for four.
        self.legs.reserve_exact(1);
        let new = Leg::new(now, trunk, identity.clone(), codecs, negotiation);
        self.legs.push(Leg { way, hops, other_codecs, ..new });
        let name = self.setup.trunks.get(trunk).map_or("", |trunk| &trunk.name);
        self.trace.note(now, format_args!("dial {} over {name}", leg.0));
        self.effects.push(Effect::Dial(Dial { leg, to, identity, offer }));
        self.changed = true;
    }

    /// What we can speak with a trunk, before anything is offered.
    pub(super) fn negotiation(&self, trunk: usize, codecs: Vec<Codec>) -> Negotiation {
        let telephone_event = self.setup.telephone_event;
        let capabilities = Capabilities { codecs, telephone_event, ptime_ms: PTIME_MS };
        let address = self.setup.trunks.get(trunk).map_or(UNSPECIFIED, |trunk| trunk.media);
        let local = SocketAddr::new(address, self.setup.media_port);
        Negotiation::new(capabilities, local, self.setup.session_id)
    }

    /// An event of a leg. Legs that were left behind say nothing that counts any more: the
    /// endpoint cancels, acknowledges and hangs up for them.
    pub(super) fn handle_sip(&mut self, now: Instant, leg: LegNo, event: LegEvent) {
        if let LegEvent::Ladder(row) = &event {
            return self.trace.ladder(leg, row);
        }
        if self.current() != Some(leg) {
            return;
        }
        match self.stage {
            Stage::Dialling => self.handle_dialling(now, leg, event),
            Stage::Cancelling(_) => self.handle_cancelling(now, leg, event),
            Stage::Ringing(_) => self.handle_ringing(now, event),
            Stage::Accepting => self.handle_accepting(now, event),
            Stage::Talking => self.handle_talking(now, leg, event),
            Stage::New | Stage::Closing(_) | Stage::Over => {}
        }
    }

    fn handle_dialling(&mut self, now: Instant, leg: LegNo, event: LegEvent) {
        match event {
            LegEvent::Trying => self.trying(now),
            LegEvent::Provisional { status, reason: _, body } => {
                self.provisional(now, leg, status, body);
            }
            LegEvent::Answered { status, reason, body, dialog } => {
                self.record_final(now, leg, status, reason);
                self.answer(now, leg, body, &dialog);
            }
            LegEvent::Refused { status, reason, q850, retry_after, contacts } => {
                self.record_final(now, leg, status, reason);
                self.refused(now, leg, status, q850, retry_after, &contacts);
            }
            LegEvent::NoAnswer(Failure::Timeout) => {
                self.out_of_order(now, leg, cause::NO_ANSWER_FROM_TRUNK);
            }
            LegEvent::NoAnswer(Failure::Transport(why)) => {
                self.trace.note(now, format_args!("transport: {why}"));
                self.out_of_order(now, leg, cause::TRANSPORT);
            }
            LegEvent::Offer { offer, .. } => self.offered(now, leg, offer),
            // A BYE on an early dialog, or a leg that ended without a word: the callee's side
            // gave up, as by a 487 that we did not ask for.
            LegEvent::Ended(_) | LegEvent::Cancelled { .. } | LegEvent::Closed => {
                self.end(now, cause::verdict(487, true).0);
            }
            LegEvent::OfferAnswered { .. }
            | LegEvent::Info(_)
            | LegEvent::Confirmed
            | LegEvent::Ladder(_) => {}
        }
    }

    fn handle_cancelling(&mut self, now: Instant, leg: LegNo, event: LegEvent) {
        match event {
            LegEvent::Refused { status, reason, .. } => {
                self.record_final(now, leg, status, reason);
                self.cancelled(now);
            }
            LegEvent::NoAnswer(_) | LegEvent::Ended(_) | LegEvent::Closed => self.cancelled(now),
            LegEvent::Offer { .. } => self.effects.push(Effect::AnswerOffer(leg, Err(488))),
            _ => {}
        }
    }

    fn trying(&mut self, now: Instant) {
        if !self.placed && !self.timers.is_set(Timer::AnswerAfterTrying) {
            let at = now + self.setup.timing.answer_after_trying;
            self.timers.set(Timer::AnswerAfterTrying, at);
        }
    }

    fn provisional(&mut self, now: Instant, leg: LegNo, status: u16, body: Option<Body>) {
        let Some(it) = self.legs.get_mut(leg.0) else { return };
        it.provisional.get_or_insert(now.saturating_duration_since(it.started));
        it.rang |= (180..=189).contains(&status);
        self.reply_placed(None);
        if let Some(body) = body {
            self.early_media(now, leg, &body.bytes);
        }
    }

    /// A description before the answer. An unusable one is no reason to give up: the 200 decides.
    fn early_media(&mut self, now: Instant, leg: LegNo, sdp: &Bytes) {
        let Some(it) = self.legs.get_mut(leg.0) else { return };
        match it.negotiation.handle_answer(sdp) {
            Ok(agreed) => self.effects.push(Effect::Connect(leg, Box::new(agreed))),
            Err(error) => self.trace.note(now, format_args!("early media unusable: {error}")),
        }
    }

    fn answer(&mut self, now: Instant, leg: LegNo, body: Option<Body>, dialog: &DialogState) {
        let Some(it) = self.legs.get_mut(leg.0) else { return };
        // The answer may have come in a 183 already, and the 200 need not repeat it.
        let agreed = match body {
            Some(body) => it.negotiation.handle_answer(&body.bytes).map_err(|e| e.to_string()),
            None => it.negotiation.agreed().cloned().ok_or_else(|| "none".to_owned()),
        };
        match agreed {
            Ok(agreed) => {
                self.effects.push(Effect::Connect(leg, Box::new(agreed)));
                self.answered(now, dialog.to_string());
            }
            Err(why) => {
                self.trace.note(now, format_args!("answer unusable: {why}"));
                self.effects.push(Effect::HangUp(leg, cause::UNUSABLE_SDP.cause));
                self.end(now, cause::UNUSABLE_SDP);
            }
        }
    }

    pub(super) fn record_final(&mut self, now: Instant, leg: LegNo, status: u16, reason: String) {
        if let Some(it) = self.legs.get_mut(leg.0) {
            let after = now.saturating_duration_since(it.started);
            it.last = Some(Final { after, status, reason });
        }
    }

    fn refused(
        &mut self,
        now: Instant,
        leg: LegNo,
        status: u16,
        q850: Option<u8>,
        retry_after: Option<Duration>,
        contacts: &[Uri],
    ) {
        let Some(it) = self.legs.get(leg.0) else { return };
        let (trunk, way, hops) = (it.trunk, it.way, it.hops);
        let (other_codecs, rang) = (it.other_codecs, self.rang());
        match (status, retry_after) {
            // One of several servers says so for itself.
            (503, Some(rest)) if self.next_way(leg).is_none() => {
                self.effects.push(Effect::RestTrunk(trunk, rest))
            }
            (401 | 407, _) => self.effects.push(Effect::Unauthorized(trunk)),
            _ => {}
        }
        if (300..=399).contains(&status) && !rang && hops < MAX_HOPS {
            let own = self.setup.trunks.get(trunk);
            let own = contacts.iter().filter(|uri| own.is_some_and(|trunk| trunk.owns(uri)));
            let own: Vec<Uri> = own.take(MAX_CONTACTS).cloned().collect();
            if self.dial_contact(now, leg, own, hops + 1) {
                return;
            }
        }
        let (end, next) = cause::verdict(status, rang);
        let end = end.with_q850(q850);
        match next {
            Next::Trunk if status == 503 => self.out_of_order(now, leg, end),
            Next::Trunk => self.fail_over(now, leg, end),
            Next::OtherCodecs if !other_codecs => {
                let Some(it) = self.legs.get(leg.0) else { return };
                let codecs = other_codec_set(&it.codecs);
                let to = Destination { trunk, way, redirect: None };
                self.dial(now, to, codecs, hops, true);
            }
            Next::OtherCodecs | Next::Nothing => self.end(now, end),
        }
    }

    /// The trunk's way after this leg's, where a leg that failed may be followed there: nobody's
    /// telephone rang, and it was not sent on by the trunk itself.
    fn next_way(&self, leg: LegNo) -> Option<Destination> {
        let it = self.legs.get(leg.0).filter(|it| it.hops == 0 && !self.rang())?;
        let to = Destination { trunk: it.trunk, way: it.way + 1, redirect: None };
        (to.way < self.setup.trunks.get(it.trunk)?.ways).then_some(to)
    }

    /// The server that the leg went to is out of order: the trunk's next one (RFC 3263 §4.3), or
    /// the next trunk.
    fn out_of_order(&mut self, now: Instant, leg: LegNo, end: End) {
        let (Some(to), Some(it)) = (self.next_way(leg), self.legs.get(leg.0)) else {
            return self.fail_over(now, leg, end);
        };
        let (codecs, other_codecs) = (it.codecs.clone(), it.other_codecs);
        self.trace.note(now, format_args!("leg {} failed, the trunk's next server", leg.0));
        self.last_failure = Some(end);
        self.timers.set(Timer::Ring, now + self.setup.ring_timeout);
        self.dial(now, to, codecs, 0, other_codecs);
    }

    /// Dials the first of these, where a redirect of the leg's trunk points, and keeps the others for
    /// when that fails (RFC 3261 §8.1.3.4). False where there is none.
    fn dial_contact(&mut self, now: Instant, leg: LegNo, contacts: Vec<Uri>, hops: u8) -> bool {
        let mut contacts = contacts.into_iter();
        let (Some(it), Some(first)) = (self.legs.get(leg.0), contacts.next()) else { return false };
        let (codecs, other_codecs) = (it.codecs.clone(), it.other_codecs);
        let to = Destination { trunk: it.trunk, way: it.way, redirect: Some(first) };
        self.dial(now, to, codecs, hops, other_codecs);
        if let Some(new) = self.legs.last_mut() {
            new.others = contacts.collect();
        }
        true
    }

    /// The next contact of a redirect, the next trunk; nothing where a telephone rang.
    fn fail_over(&mut self, now: Instant, leg: LegNo, end: End) {
        if self.rang() {
            let rang_out = end == cause::NO_ANSWER_FROM_TRUNK;
            return self.end(now, if rang_out { cause::verdict(408, true).0 } else { end });
        }
        self.trace.note(now, format_args!("leg {} failed, cause {}", leg.0, end.cause));
        self.last_failure = Some(end);
        if let Some(it) = self.legs.get_mut(leg.0) {
            let (others, hops) = (std::mem::take(&mut it.others), it.hops);
            if self.dial_contact(now, leg, others, hops) {
                return;
            }
        }
        self.dial_next_trunk(now);
    }

    /// Whether a telephone rang on any leg: then nothing is tried again.
    fn rang(&self) -> bool {
        self.legs.iter().any(|leg| leg.rang)
    }

    pub(super) fn handle_not_dialled(&mut self, now: Instant, leg: LegNo, why: NotDialled) {
        if self.current() != Some(leg) || !matches!(self.stage, Stage::Dialling) {
            return;
        }
        match why {
            NotDialled::OverLimit => {
                self.trace.note(now, format_args!("trunk at its limit, skipped"));
                self.legs.pop();
                self.dialled.pop();
                self.dial_next_trunk(now);
            }
            NotDialled::Transport(why) => {
                self.trace.note(now, format_args!("not dialled: {why}"));
                self.out_of_order(now, leg, cause::TRANSPORT);
            }
        }
    }

    pub(super) fn ring_timeout(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Ringing(_)) {
            return self.end_by_us(now, cause::RING_TIMEOUT);
        }
        let (Stage::Dialling, Some(leg)) = (&self.stage, self.current()) else { return };
        self.stage = Stage::Cancelling(cause::RING_TIMEOUT);
        self.effects.push(Effect::HangUp(leg, cause::RING_TIMEOUT.cause));
        self.timers.set(Timer::CancelGrace, now + CANCEL_GRACE);
    }

    /// The cancelled INVITE has its final answer, or none will come.
    pub(super) fn cancelled(&mut self, now: Instant) {
        if let Stage::Cancelling(end) = self.stage {
            self.end(now, end);
        }
    }

    /// Answers `/makecall`, once.
    pub(super) fn reply_placed(&mut self, end: Option<End>) {
        if std::mem::replace(&mut self.placed, true) {
            return;
        }
        self.timers.stop(Timer::AnswerAfterTrying);
        self.timers.stop(Timer::AnswerWithin);
        if self.is_exhausted {
            return self.reply_exhausted();
        }
        let sip_status = self.final_answer().map(|last| last.status);
        let placed = Placed {
            call_id: self.setup.call_id.clone(),
            status: end.map_or(self.status, |end| end.status),
            credits: self.setup.credits,
            trunk: self.trunk_name().to_owned(),
            trunk_attempts: self.dialled.len(),
            total_trunks: self.setup.total_trunks,
            caller_id: self.caller_id().map(str::to_owned),
            end: end.map(|end| PlacedEnd { reason: end.reason, cause: end.cause, sip_status }),
        };
        self.effects.push(Effect::Placed(PlaceOutcome::Placed(placed)));
    }

    /// Every trunk was tried.
    fn end_exhausted(&mut self, now: Instant, end: End) {
        self.is_exhausted = true;
        self.end(now, end);
    }

    fn reply_exhausted(&mut self) {
        let name = |trunk: &usize| self.setup.trunks.get(*trunk).map(|it| it.name.clone());
        self.effects.push(Effect::Placed(PlaceOutcome::Failed {
            call_id: self.setup.call_id.clone(),
            attempted_trunks: self.dialled.iter().filter_map(name).collect(),
            total_trunks: self.setup.total_trunks,
        }));
    }

    /// The final answer of the leg that counts.
    pub(super) fn final_answer(&self) -> Option<&Final> {
        self.legs.last().and_then(|leg| leg.last.as_ref())
    }
}

impl TrunkSetup {
    /// Whether a redirect to `uri` stays within this trunk, names somebody and can be dialled.
    fn owns(&self, uri: &Uri) -> bool {
        let host = uri.host.to_string();
        let host = host.trim_matches(['[', ']']);
        let is_built = match uri.transport() {
            None | Some(Transport::Tcp | Transport::Tls) => true,
            Some(Transport::Udp) => uri.scheme == Scheme::Sip,
            Some(_) => false,
        };
        matches!(uri.scheme, Scheme::Sip | Scheme::Sips)
            && uri.user.is_some()
            && is_built
            && self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }
}

/// What to offer after a 488: the codecs that were not offered, or the same in another order
/// where all were.
fn other_codec_set(offered: &[Codec]) -> Vec<Codec> {
    let rest: Vec<Codec> =
        [Codec::Pcmu, Codec::Pcma].into_iter().filter(|codec| !offered.contains(codec)).collect();
    if rest.is_empty() { offered.iter().rev().copied().collect() } else { rest }
}
