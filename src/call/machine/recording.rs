//! The recording of a call, as far as the call tells of it.

use std::time::Instant;

use kaphila_media::record::Finished;
use kaphila_media::session::Command as Media;

use super::{Effect, Machine, Stage, Write};
use crate::call::api::{CommandError, RecordingChannels, RecordingView};
use crate::call::event::Event;
use crate::store::{FinishedRecording, NewRecording};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Asked for.
    Starting,
    Writing,
    /// Stopped, by the customer or with the call; its last samples are being written.
    Stopping,
    Done,
}

/// One recording.
#[derive(Debug)]
pub(super) struct Recording {
    id: String,
    phase: Phase,
    /// Its row is among the effects.
    has_row: bool,
    /// `recording.started` was told.
    announced: bool,
    /// What is to be told after that, in order.
    untold: Vec<Event>,
    started: Instant,
}

impl Recording {
    pub(super) fn view(&self) -> RecordingView {
        RecordingView {
            recording_id: self.id.clone(),
            filename: format!("{}.wav", self.id),
            active: matches!(self.phase, Phase::Starting | Phase::Writing),
        }
    }

    /// Its media is gone: what has not come will not.
    pub(super) fn forget(&mut self) {
        self.phase = Phase::Done;
    }

    /// Nothing more comes of it.
    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Whether the customer knows of it.
    pub(super) fn is_announced(&self) -> bool {
        self.announced
    }
}

impl Machine {
    pub(super) fn start_recording(&mut self, now: Instant) {
        let wall = self.setup.clock.wall(now);
        let id = format!("call-{}-{}", self.setup.call_id, wall.0);
        self.effects.push(Effect::Record(id.clone(), self.setup.channels));
        self.recording = Some(Recording {
            id,
            phase: Phase::Starting,
            has_row: false,
            announced: false,
            untold: Vec::new(),
            started: now,
        });
        self.changed = true;
    }

    /// The first RTP before the answer: where the customer wants it, the recording begins here.
    pub(super) fn early_audio(&mut self, now: Instant) {
        self.trace.note(now, format_args!("early media"));
        let wanted = self.setup.record && self.setup.record_early_media;
        if wanted && self.recording.is_none() && matches!(self.stage, Stage::Dialling) {
            self.start_recording(now);
        }
    }

    pub(super) fn recording_started(&mut self, now: Instant) {
        let Some(recording) = &mut self.recording else { return };
        match recording.phase {
            Phase::Starting => recording.phase = Phase::Writing,
            // The call ended while the file was being made.
            Phase::Stopping => {}
            Phase::Writing | Phase::Done => return,
        }
        self.changed = true;
        self.store_recording();
        self.announce_recording(now);
    }

    /// The recording's row, once: whatever becomes of the file, its customer finds it there.
    fn store_recording(&mut self) {
        let Some(recording) = self.recording.as_mut().filter(|it| !it.has_row) else { return };
        recording.has_row = true;
        let channels = match self.setup.channels {
            RecordingChannels::Mono => 1,
            RecordingChannels::Dual => 2,
        };
        let at = self.setup.clock.wall(recording.started);
        let row = NewRecording { recording_id: recording.id.clone(), channels, at };
        self.effects.push(Effect::Store(Write::RecordingStarted(row)));
    }

    /// `recording.started`, once it is being written and `call.answered` is told.
    pub(super) fn announce_recording(&mut self, now: Instant) {
        let may = self.may_announce_recording();
        let Some(recording) = &mut self.recording else { return };
        if !may || recording.announced || recording.phase == Phase::Starting {
            return;
        }
        recording.announced = true;
        let RecordingView { filename, recording_id, .. } = recording.view();
        let untold = std::mem::take(&mut recording.untold);
        self.emit(now, Event::RecordingStarted { filename, recording_id });
        for event in untold {
            self.emit(now, event);
        }
    }

    /// Tells of the recording, after `recording.started`.
    fn tell_of_recording(&mut self, now: Instant, event: Event) {
        self.announce_recording(now);
        match self.recording.as_mut().filter(|it| !it.announced) {
            Some(recording) => recording.untold.push(event),
            None => self.emit(now, event),
        }
    }

    /// `/recordings/:callId/stop`.
    pub(super) fn stop_recording(&mut self, now: Instant) -> Result<RecordingView, CommandError> {
        let writing = |it: &&mut Recording| it.phase == Phase::Writing;
        let Some(recording) = self.recording.as_mut().filter(writing) else {
            return Err(CommandError::NoRecording);
        };
        recording.phase = Phase::Stopping;
        let view = recording.view();
        self.changed = true;
        self.effects.push(Effect::Media(Media::StopRecording));
        let (filename, recording_id) = (view.filename.clone(), view.recording_id.clone());
        self.tell_of_recording(now, Event::RecordingStopped { filename, recording_id });
        Ok(view)
    }

    /// The call is over: so is its recording.
    pub(super) fn recording_ends(&mut self) {
        if let Some(recording) = self.recording.as_mut().filter(|it| !it.is_done()) {
            recording.phase = Phase::Stopping;
        }
    }

    pub(super) fn recording_finished(&mut self, now: Instant, finished: Finished) {
        let Some(recording) = &mut self.recording else { return };
        if recording.phase == Phase::Done {
            return;
        }
        recording.phase = Phase::Done;
        let (id, view) = (recording.id.clone(), recording.view());
        self.changed = true;
        if let Some(why) = &finished.partial {
            self.trace.note(now, format_args!("recording partial: {why}"));
        }
        let bytes = i64::try_from(finished.bytes).unwrap_or(i64::MAX);
        let duration_ms = i64::try_from(finished.duration_ms).unwrap_or(i64::MAX);
        self.store_recording();
        self.announce_recording(now);
        let row = FinishedRecording {
            recording_id: id,
            at: self.setup.clock.wall(now),
            bytes,
            duration_ms,
            partial: finished.partial,
        };
        let told = Event::recording_completed(view, &row, i64::from(finished.channels));
        self.effects.push(Effect::Store(Write::RecordingFinished(row)));
        self.tell_of_recording(now, told);
        self.closed_further(now);
    }
}
