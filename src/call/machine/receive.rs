//! A call that came from a trunk: from its INVITE to the ACK of our answer, or its refusal.

use std::time::Instant;

use bytes::Bytes;
use kaphila_media::sdp::Agreed;
use kaphila_sip::invite::{Body, Ended, LegEvent};

use super::{Effect, Leg, LegNo, Machine, Stage, Timer};
use crate::call::api::CommandError;
use crate::call::cause::{self, End, EndReason};

/// The only leg of a call that came in.
const LEG: LegNo = LegNo(0);

/// What was agreed when the INVITE brought an offer: our answer, which the 200 will carry.
#[derive(Debug)]
pub(super) struct Settled {
    answer: Bytes,
    agreed: Box<Agreed>,
}

impl Machine {
    /// Rings, and answers where the number's calls are answered at once. An offer that we cannot
    /// speak is refused before anybody is told to wait.
    pub(super) fn receive(&mut self, now: Instant) {
        let Some(offer) = self.setup.incoming.as_ref().map(|it| it.offer.clone()) else { return };
        let codecs = self.setup.trunks.first().map(|it| it.codecs.clone()).unwrap_or_default();
        let mut negotiation = self.negotiation(0, codecs.clone());
        let settled = offer.map(|offer| negotiation.handle_offer(&offer)).transpose();
        self.dialled.push(0);
        self.legs.push(Leg::new(now, 0, self.setup.identity.clone(), codecs, negotiation));
        match settled {
            Ok(settled) => {
                let settled = settled.map(|(answer, agreed)| {
                    let agreed = Box::new(agreed);
                    Settled { answer, agreed }
                });
                self.stage = Stage::Ringing(settled);
                self.effects.push(Effect::Ring(LEG));
                self.timers.set(Timer::Ring, now + self.setup.ring_timeout);
                if self.setup.incoming.as_ref().is_some_and(|it| it.answer) {
                    self.accept(now);
                }
            }
            Err(error) => {
                self.trace.note(now, format_args!("offer refused: {error}"));
                self.stage = Stage::Ringing(None);
                self.end_by_us(now, cause::UNUSABLE_SDP);
            }
        }
    }

    /// `POST /answer`.
    pub(super) fn answer_ringing(&mut self, now: Instant) -> Result<(), CommandError> {
        if !matches!(self.stage, Stage::Ringing(_)) {
            return Err(CommandError::NotRinging);
        }
        self.accept(now);
        Ok(())
    }

    /// Sends the 200: with the answer, or with our offer where the INVITE had none. The call is
    /// answered once its ACK has come.
    fn accept(&mut self, now: Instant) {
        let Stage::Ringing(settled) = &mut self.stage else { return };
        let settled = settled.take();
        let Some(leg) = self.legs.get_mut(LEG.0) else { return };
        let answer = match settled {
            Some(settled) => {
                self.effects.push(Effect::Connect(LEG, settled.agreed));
                settled.answer
            }
            None => {
                leg.awaits_answer = true;
                leg.negotiation.offer()
            }
        };
        self.timers.stop(Timer::Ring);
        self.stage = Stage::Accepting;
        self.effects.push(Effect::Accept(LEG, answer));
        self.record_final(now, LEG, 200, "OK".to_owned());
    }

    /// The caller gave up, or its carrier did.
    pub(super) fn handle_ringing(&mut self, now: Instant, event: LegEvent) {
        match event {
            LegEvent::Cancelled { q850 } | LegEvent::Ended(Ended::Far { q850 }) => {
                self.record_final(now, LEG, 487, "Request Terminated".to_owned());
                self.end(now, cause::CALLER_CANCELED.with_q850(q850));
            }
            LegEvent::Ended(_) | LegEvent::NoAnswer(_) | LegEvent::Closed => {
                self.end(now, cause::TRANSPORT);
            }
            // The endpoint answers what comes before our own answer.
            _ => {}
        }
    }

    /// Between our 200 and its ACK.
    pub(super) fn handle_accepting(&mut self, now: Instant, event: LegEvent) {
        match event {
            LegEvent::OfferAnswered { body } => self.our_offer_answered(now, body),
            LegEvent::Confirmed => self.confirmed(now),
            // Whoever hangs up has taken our answer, though its ACK was lost.
            LegEvent::Ended(Ended::Far { q850 }) => {
                self.confirmed(now);
                self.end(now, cause::NORMAL_HANGUP.with_q850(q850));
            }
            LegEvent::Ended(_)
            | LegEvent::NoAnswer(_)
            | LegEvent::Cancelled { .. }
            | LegEvent::Closed => self.end(now, cause::NO_ACK),
            LegEvent::Offer { offer, .. } => self.offered(now, LEG, offer),
            _ => {}
        }
    }

    /// The ACK of an INVITE without an offer has to bring the answer to ours.
    fn our_offer_answered(&mut self, now: Instant, body: Option<Body>) {
        let Some(leg) = self.legs.get_mut(LEG.0) else { return };
        leg.awaits_answer = false;
        match body.map(|body| leg.negotiation.handle_answer(&body.bytes)) {
            Some(Ok(agreed)) => self.effects.push(Effect::Connect(LEG, Box::new(agreed))),
            Some(Err(error)) => self.refuse_answer(now, &error.to_string()),
            None => self.refuse_answer(now, "none"),
        }
    }

    fn refuse_answer(&mut self, now: Instant, why: &str) {
        self.trace.note(now, format_args!("answer in ACK unusable: {why}"));
        self.end_by_us(now, cause::UNUSABLE_SDP);
    }

    fn confirmed(&mut self, now: Instant) {
        let dialog = self.setup.incoming.as_ref().map(|it| it.dialog.clone());
        self.answered(now, dialog.unwrap_or_default());
    }

    /// Refuses a call that rings, in the way that its end asks for.
    pub(super) fn refuse(&mut self, now: Instant, end: End) {
        let (status, reason) = match end.reason {
            EndReason::NoAnswer => (480, "Temporarily Unavailable"),
            EndReason::ServerShutdown | EndReason::InternalError => (503, "Service Unavailable"),
            EndReason::Rejected if end == cause::UNUSABLE_SDP => (488, "Not Acceptable Here"),
            _ => (603, "Decline"),
        };
        self.record_final(now, LEG, status, reason.to_owned());
        self.effects.push(Effect::Refuse(LEG, status));
    }
}
