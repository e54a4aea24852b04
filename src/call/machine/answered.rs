//! Talking: the answer, what the far end offers meanwhile, digits and the detector.

use std::time::{Duration, Instant};

use kaphila_media::amd::Verdict;
use kaphila_media::session::{Command as Media, MediaEvent};
use kaphila_sip::invite::{Body, Ended, LegEvent};

use super::{Amd, Effect, LegNo, Machine, Stage, Timer, Write};
use crate::call::api::AmdMode;
use crate::call::cause::{self, Status};
use crate::call::event::Event;
use crate::call::view::AmdView;
use crate::store::{AmdResult, Answered};

/// How long a key was down where an INFO does not say.
const INFO_DIGIT_MS: u32 = 250;
/// How long after the analysis time the detector's own verdict is waited for.
const VERDICT_GRACE: Duration = Duration::from_secs(1);

impl Machine {
    /// The call is up, and its media connected: the callee's 200 came with something we can
    /// speak, or the caller's ACK. `dialog` is what a later process needs to send BYE.
    pub(super) fn answered(&mut self, now: Instant, dialog: String) {
        self.stage = Stage::Talking;
        self.status = Status::Answered;
        self.answered = Some(now);
        self.changed = true;
        self.timers.stop(Timer::Ring);
        self.timers.set(Timer::MaxDuration, now + self.setup.timing.max_duration);
        self.effects.push(Effect::Media(Media::Answered));
        self.effects.push(Effect::Store(Write::Answered(Answered {
            at: self.setup.clock.wall(now),
            trunk: Some(self.trunk_name().to_owned()),
            dialog,
        })));
        self.reply_placed(None);
        if self.setup.record && self.recording.is_none() {
            self.start_recording(now);
        }
        self.start_amd(now);
        if !self.verdict_is_awaited() {
            self.emit_answered(now);
        }
    }

    fn start_amd(&mut self, now: Instant) {
        if let Some(amd) = &self.setup.amd {
            let total = Duration::from_millis(u64::from(amd.params.total_analysis_time));
            self.timers.set(Timer::Verdict, now + total + VERDICT_GRACE);
            self.effects.push(Effect::Media(Media::StartAmd(amd.params)));
        }
    }

    /// Whether `call.answered` has to wait for the detector.
    fn verdict_is_awaited(&self) -> bool {
        let sync = self.setup.amd.as_ref().is_some_and(|amd| amd.mode == AmdMode::Sync);
        sync && matches!(self.amd, Amd::Pending)
    }

    /// `call.answered`, and what had to wait for it.
    fn emit_answered(&mut self, now: Instant) {
        let answered_at = self.answered.map(|at| self.setup.clock.wall(at));
        let trunk = self.trunk_name().to_owned();
        self.emit(now, Event::Answered { trunk, answered_at });
        self.announce_recording(now);
    }

    /// Whether `recording.started` may be told: it follows `call.answered`.
    pub(super) fn may_announce_recording(&self) -> bool {
        self.answered.is_none() || !self.verdict_is_awaited()
    }

    pub(super) fn handle_talking(&mut self, now: Instant, leg: LegNo, event: LegEvent) {
        match event {
            LegEvent::Offer { offer, .. } => self.offered(now, leg, offer),
            LegEvent::OfferAnswered { body } => self.offer_answered(now, leg, body),
            LegEvent::Info(press) => self.effects.push(Effect::Media(Media::InfoDigit {
                digit: press.digit,
                duration_ms: press.duration_ms.unwrap_or(INFO_DIGIT_MS),
            })),
            LegEvent::Ended(Ended::Far { q850 }) => {
                self.end(now, cause::NORMAL_HANGUP.with_q850(q850));
            }
            // The far end forgot the dialog, or the leg ended without a word: gone all the same.
            LegEvent::Ended(Ended::NoAck | Ended::Lost | Ended::Expired)
            | LegEvent::NoAnswer(_)
            | LegEvent::Cancelled { .. }
            | LegEvent::Closed => self.end(now, cause::LOST_DIALOG),
            LegEvent::Trying
            | LegEvent::Provisional { .. }
            | LegEvent::Answered { .. }
            | LegEvent::Refused { .. }
            | LegEvent::Confirmed
            | LegEvent::Ladder(_) => {}
        }
    }

    /// A re-INVITE or UPDATE: hold, resume, another address, another codec. What we cannot speak
    /// is 488, and what was agreed before goes on.
    pub(super) fn offered(&mut self, now: Instant, leg: LegNo, offer: Option<Body>) {
        let Some(it) = self.legs.get_mut(leg.0) else { return };
        let answer = match offer {
            Some(offer) => match it.negotiation.handle_offer(&offer.bytes) {
                Ok((answer, agreed)) => {
                    self.effects.push(Effect::Connect(leg, Box::new(agreed)));
                    Ok(answer)
                }
                Err(error) => {
                    self.trace.note(now, format_args!("offer refused: {error}"));
                    Err(488)
                }
            },
            // An INVITE without an offer is answered with ours (RFC 3261 §14.2).
            None => {
                it.awaits_answer = true;
                Ok(it.negotiation.offer())
            }
        };
        self.effects.push(Effect::AnswerOffer(leg, answer));
    }

    fn offer_answered(&mut self, now: Instant, leg: LegNo, body: Option<Body>) {
        let Some(it) = self.legs.get_mut(leg.0) else { return };
        if !std::mem::take(&mut it.awaits_answer) {
            return;
        }
        match body.map(|body| it.negotiation.handle_answer(&body.bytes)) {
            Some(Ok(agreed)) => self.effects.push(Effect::Connect(leg, Box::new(agreed))),
            // The ACK cannot be refused: what was agreed before goes on.
            Some(Err(error)) => self.trace.note(now, format_args!("answer in ACK: {error}")),
            None => self.trace.note(now, format_args!("no answer in ACK")),
        }
    }

    pub(super) fn handle_media(&mut self, now: Instant, event: MediaEvent) {
        match event {
            MediaEvent::Digit { digit, method, duration_ms } => {
                // One that was pressed just before the hang-up is told too.
                if self.answered.is_some() && !matches!(self.stage, Stage::Over) {
                    self.digit(now, digit, method, duration_ms);
                }
            }
            MediaEvent::PlaybackFinished { id, played_ms, completed } => {
                self.playback_finished(now, id, played_ms, completed);
            }
            MediaEvent::Amd(verdict) => self.verdict(now, &verdict),
            MediaEvent::AmdRevised(verdict) => self.revised(now, &verdict),
            MediaEvent::RecordingStarted { .. } => self.recording_started(now),
            MediaEvent::RecordingFinished(finished) => self.recording_finished(now, finished),
            MediaEvent::EarlyMedia => self.early_audio(now),
            MediaEvent::RtpTimeout => self.rtp_timeout(now),
            MediaEvent::Closed(quality) => self.media_closed(now, &quality),
            MediaEvent::Failed { reason } => {
                self.trace.note(now, format_args!("media failed: {reason}"));
                self.handle_media_lost(now);
            }
            MediaEvent::DigitsSent { completed, .. } => self.digits_sent(now, completed),
            MediaEvent::PlaybackStarted { .. } => {}
        }
    }

    fn verdict(&mut self, now: Instant, verdict: &Verdict) {
        if !matches!(self.amd, Amd::Pending) || self.is_ended() || self.answered.is_none() {
            return;
        }
        self.trace.note(now, format_args!("amd {} ({verdict})", verdict.status));
        self.decide(now, AmdView::from(verdict));
    }

    /// The detector is silent long after it should have spoken.
    pub(super) fn no_verdict(&mut self, now: Instant) {
        if matches!(self.amd, Amd::Pending) && !self.is_ended() {
            let at = self.answered.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            self.decide(now, AmdView::unheard(at));
        }
    }

    /// The call ended first.
    pub(super) fn verdict_by_hangup(&mut self, now: Instant) {
        if matches!(self.amd, Amd::Pending) && self.answered.is_some() {
            let at = self.answered.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            self.decide(now, AmdView::hung_up(at));
        }
    }

    fn decide(&mut self, now: Instant, view: AmdView) {
        self.timers.stop(Timer::Verdict);
        let awaited = self.verdict_is_awaited();
        self.note_verdict(view);
        self.changed = true;
        if awaited {
            self.emit_answered(now);
        } else {
            self.emit(now, Event::AmdResult { revised: false });
        }
    }

    fn revised(&mut self, now: Instant, verdict: &Verdict) {
        if !matches!(self.amd, Amd::Decided(_)) || self.is_ended() {
            return;
        }
        self.trace.note(now, format_args!("amd revised {} ({verdict})", verdict.status));
        self.note_verdict(AmdView::from(verdict));
        self.changed = true;
        self.emit(now, Event::AmdResult { revised: true });
    }

    /// Stored at once: should this process die, the end of the call must not deny what was told.
    fn note_verdict(&mut self, view: AmdView) {
        self.effects.push(Effect::Store(Write::Heard(AmdResult::from(&view))));
        self.amd = Amd::Decided(view);
    }

    fn rtp_timeout(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Talking) {
            self.end_talking(now, cause::MEDIA_TIMEOUT);
        }
    }

    pub(super) fn max_duration(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Talking) {
            self.end_talking(now, cause::MAX_DURATION);
        }
    }

    /// The media says no more: it was closed and all is told, or it was lost.
    pub(super) fn handle_media_lost(&mut self, now: Instant) {
        if let Some(recording) = &mut self.recording {
            recording.forget();
        }
        if let Stage::Closing(closing) = &mut self.stage {
            closing.media_closed = true;
            self.closed_further(now);
        } else if !self.is_ended() {
            self.trace.note(now, format_args!("media lost"));
            self.end_by_us(now, cause::internal_error(self.answered.is_some()));
        }
    }
}
