//! The end of a call: one reason, one row, one `call.ended`, whatever else happens.

use std::time::{Duration, Instant};

use kaphila_media::quality::Quality;
use serde_json::json;

use super::{CLOSING_GRACE, Closing, Effect, Machine, Recording, ReplyId, Stage, Timer, Write};
use crate::call::cause::{self, End, EndedBy};
use crate::call::event::{Event, GatherEnd, QualityShown};
use crate::store::{AmdResult, Ended};

impl Machine {
    /// `/hangup`: answered at once, and the call is over at once.
    pub(super) fn hang_up(&mut self, now: Instant, id: ReplyId) {
        let end = match self.stage {
            Stage::Talking => cause::API_HANGUP,
            Stage::Ringing(_) | Stage::Accepting => cause::DECLINED,
            _ => cause::CANCELED,
        };
        self.end_by_us(now, end);
        self.effects.push(Effect::Reply(id, Ok(super::Reply::Done)));
    }

    pub(super) fn handle_shutdown(&mut self, now: Instant) {
        if !self.is_ended() {
            self.end_by_us(now, cause::server_shutdown(self.answered.is_some()));
        }
    }

    pub(super) fn end_talking(&mut self, now: Instant, end: End) {
        self.end_by_us(now, end);
    }

    /// We end the call: the leg is told.
    pub(super) fn end_by_us(&mut self, now: Instant, end: End) {
        match (&self.stage, self.current()) {
            // A cancelled INVITE has been told already.
            (Stage::Cancelling(_), _) | (_, None) => {}
            (Stage::Ringing(_), Some(_)) => self.refuse(now, end),
            (_, Some(leg)) => self.effects.push(Effect::HangUp(leg, end.cause)),
        }
        self.end(now, end);
    }

    /// The call is over. What is still open is told first: an answer that waits for the detector,
    /// a gather, playbacks; then recording and figures are waited for.
    pub(super) fn end(&mut self, now: Instant, end: End) {
        if self.is_ended() {
            return;
        }
        self.trace
            .note(now, format_args!("ends: {} {} cause {}", end.status, end.reason, end.cause));
        self.verdict_by_hangup(now);
        self.timers.clear();
        self.gather_timeout(now, GatherEnd::Hangup);
        self.flush_playlist(now);
        self.flush_digits(now);
        self.status = end.status;
        self.recording_ends();
        self.changed = true;
        self.effects.push(Effect::CloseMedia);
        // Its place is free before anybody is told that it is over, who may ask for another.
        self.effects.push(Effect::Ended);
        self.reply_placed(Some(end));
        self.stage = Stage::Closing(Closing { end, at: now, media_closed: false });
        if self.answered.is_none() && self.recording.is_none() {
            return self.finish(now);
        }
        self.timers.set(Timer::Closing, now + CLOSING_GRACE);
        self.closed_further(now);
    }

    /// The media's figures have come: the last that it says.
    pub(super) fn media_closed(&mut self, now: Instant, quality: &Quality) {
        self.trace.note(now, format_args!("media closed: {quality}"));
        self.quality = self.answered.map(|_| QualityShown::from(quality));
        match &mut self.stage {
            Stage::Closing(closing) => closing.media_closed = true,
            Stage::Over => return,
            // Closed by nobody here.
            _ => return self.handle_media_lost(now),
        }
        self.closed_further(now);
    }

    /// Ends what waits for recording and figures once both are there.
    pub(super) fn closed_further(&mut self, now: Instant) {
        let Stage::Closing(closing) = &self.stage else { return };
        if closing.media_closed && self.recording.as_ref().is_none_or(Recording::is_done) {
            self.finish(now);
        }
    }

    /// The terminal row and the terminal event, once.
    pub(super) fn finish(&mut self, now: Instant) {
        let Stage::Closing(closing) = &self.stage else { return };
        let (end, at) = (closing.end, closing.at);
        self.stage = Stage::Over;
        self.timers.clear();
        self.record_end(now, end, at);
    }

    /// A fault of ours in the midst of an input: whatever state it left, the call ends.
    pub(crate) fn crashed(&mut self, now: Instant) -> Vec<Effect> {
        // What was to be written happened, and its events are counted.
        self.effects.retain(|effect| matches!(effect, Effect::Store(_)));
        if matches!(self.stage, Stage::Over) {
            return std::mem::take(&mut self.effects);
        }
        let already = match &self.stage {
            Stage::Closing(closing) => Some((closing.end, closing.at)),
            _ => None,
        };
        self.stage = Stage::Over;
        self.timers.clear();
        self.gather = None;
        self.recording_ends();
        self.effects.extend(self.current().map(|leg| Effect::HangUp(leg, 41)));
        self.effects.push(Effect::CloseMedia);
        let (end, at) =
            already.unwrap_or_else(|| (cause::internal_error(self.answered.is_some()), now));
        self.status = end.status;
        self.effects.push(Effect::Ended);
        self.reply_placed(Some(end));
        self.record_end(now, end, at);
        std::mem::take(&mut self.effects)
    }

    fn record_end(&mut self, now: Instant, end: End, at: Instant) {
        let duration = self.answered.map(|from| at.saturating_duration_since(from));
        let seconds = duration.as_ref().map_or(0, Duration::as_secs);
        let last = self.final_answer().cloned();
        let attempts = self.attempts();
        let trunk = self.trunk_name().to_owned();
        let by = match end.by {
            EndedBy::Callee if self.setup.incoming.is_some() => EndedBy::Caller,
            by => by,
        };
        let row = Ended {
            at: self.setup.clock.wall(at),
            status: end.status,
            end_reason: end.reason.as_str().to_owned(),
            hangup_cause: end.cause.to_string(),
            ended_by: by.as_str().to_owned(),
            answered_at: self.answered.map(|at| self.setup.clock.wall(at)),
            duration_secs: i64::try_from(seconds).unwrap_or(i64::MAX),
            sip_status: last.as_ref().map(|last| i64::from(last.status)),
            sip_reason: last.map(|last| last.reason),
            trunk: Some(trunk),
            amd: self.amd_view().map(AmdResult::from),
            attempts: Some(json!(attempts).to_string()),
            quality: self.quality.as_ref().map(|it| json!(it).to_string()),
        };
        let sip_call_id = self.legs.last().map(|leg| leg.identity.call_id.clone());
        let told = Event::ended(&row, sip_call_id, attempts, self.quality.clone());
        self.effects.push(Effect::Store(Write::Ended(Box::new(row))));
        self.emit(now, told);
    }
}
