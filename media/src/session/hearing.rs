//! What the far end says, read once for all that listen: keys, detector, recording.

use std::time::Instant;

use super::command::MediaEvent;
use super::events::Events;
use super::{LONG_SLOT, Session};
use crate::amd;
use crate::jitter::HOLD;
use crate::record::Tap;
use crate::sdp::Agreed;

/// What is read at most after missed slots: more than [`crate::jitter`] keeps. The rest of the gap
/// is known to be silent.
const CATCH_UP: i64 = 4800;

/// A recording: its tap, and the stretch of the call's clock it holds.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) tap: Tap,
    /// `None` until the answer.
    pub(super) from: Option<i64>,
    pub(super) until: Option<i64>,
}

/// The answering machine detector of a call.
#[derive(Debug)]
pub(super) enum Amd {
    /// Not asked for.
    Off,
    /// Waits for the answer.
    Waiting(amd::Params),
    /// Listens from this clock position on.
    Listening { detector: Box<amd::Detector>, framer: Box<amd::Framer>, from: i64, told: bool },
}

impl Session {
    /// Reads the far end's audio, in frames of a slot, as long as they end by clock position
    /// `until`.
    pub(super) fn hear(&mut self, now: Instant, until: i64, step: i64) {
        let mut at = self.heard_until.unwrap_or(until - step);
        let kept = at + CATCH_UP;
        while at + step <= until.min(kept) {
            self.hear_frame(now, at, step);
            at += step;
        }
        if at + step <= until {
            // The rest of a long pause of ours: neither side is known to have said anything.
            let gap = until - at;
            if let Some(recording) = self.recording.as_mut().filter(|r| r.covers(at)) {
                recording.tap.skip(u32::try_from(gap).unwrap_or(u32::MAX));
            }
            at = until;
        }
        self.heard_until = Some(at);
    }

    /// Somebody wants what the far end says. Where nobody does it is not even decoded.
    pub(super) fn is_listened_to(&self) -> bool {
        self.recording.is_some() || self.inbound.tones.is_some() || !matches!(self.amd, Amd::Off)
    }

    /// What was kept from a time when somebody listened is of no use any more.
    pub(super) fn begin_listening(&mut self) {
        if !self.is_listened_to() {
            self.inbound.jitter.restart(self.heard_until.unwrap_or(-HOLD));
        }
    }

    /// Reads one frame of the call's clock for those that listen.
    pub(super) fn hear_frame(&mut self, now: Instant, at: i64, len: i64) {
        if !self.is_listened_to() {
            return;
        }
        let (mut theirs, mut ours) = ([0; LONG_SLOT as usize], [0; LONG_SLOT as usize]);
        let len = (len as usize).min(theirs.len());
        let theirs = theirs.get_mut(..len).unwrap_or_default();
        let ours = ours.get_mut(..len).unwrap_or_default();
        self.heard_any |= self.inbound.jitter.read(at, theirs);
        self.voice.read(at, ours);
        self.inbound.handle_frame(now, theirs, &mut self.events);
        if let Amd::Listening { detector, framer, from, told } = &mut self.amd {
            // A detector that has heard nothing at all must find that out by itself.
            let before = (*from - at).max(0) as usize;
            if let Some(audio) = theirs.get(before..).filter(|_| self.heard_any) {
                let ahead = self.inbound.jitter.until_next(amd::FRAME);
                framer.push(audio, ahead, |frame| {
                    tell(detector.handle_frame(frame), told, &mut self.events);
                });
            }
        }
        if let Some(recording) = &mut self.recording {
            recording.write(at, theirs, ours);
            if recording.until.is_some_and(|until| at + len as i64 >= until) {
                self.recording = None;
            }
        }
    }

    pub(super) fn poll_amd_timeout(&mut self, now: Instant) {
        if let Amd::Listening { detector, told, .. } = &mut self.amd
            && detector.poll_timeout().is_some_and(|at| now >= at)
        {
            tell(detector.handle_timeout(now), told, &mut self.events);
        }
    }

    pub(super) fn listen_for_tones(&mut self, agreed: &Agreed) {
        let wanted = self.dtmf.hears_tones(agreed.event_send.is_some());
        if wanted && self.inbound.tones.is_none() {
            self.begin_listening();
            self.inbound.tones = Some(Box::default());
        } else if !wanted {
            self.inbound.tones = None;
        }
    }
}

impl Recording {
    /// Whether it holds this clock position.
    pub(super) fn covers(&self, at: i64) -> bool {
        self.from.is_some_and(|from| at >= from) && self.until.is_none_or(|until| at < until)
    }

    /// Writes what of a frame at clock position `at` belongs to it, to the sample.
    pub(super) fn write(&mut self, at: i64, theirs: &[i16], ours: &[i16]) {
        let Some(from) = self.from else { return };
        let index = |position: i64| (position - at).clamp(0, theirs.len() as i64) as usize;
        let part = index(from)..self.until.map_or(theirs.len(), index);
        if let Some((theirs, ours)) = theirs.get(part.clone()).zip(ours.get(part)) {
            self.tap.write(theirs, ours);
        }
    }
}

/// Tells a verdict: the first as such, a second as its correction.
pub(super) fn tell(verdict: Option<amd::Verdict>, told: &mut bool, events: &mut Events) {
    let Some(verdict) = verdict else { return };
    let event = if *told { MediaEvent::AmdRevised(verdict) } else { MediaEvent::Amd(verdict) };
    *told = true;
    events.push(event);
}
