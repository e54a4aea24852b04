//! What is played to the callee, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use kaphila_media::dtmf::Digits;
use kaphila_media::session::{Command as Media, MAX_QUEUED_DIGITS, PlaybackId};

use super::{Effect, Machine, millis};
use crate::call::api::{CommandError, PlayTo, PlaybackStarted, Prompt};
use crate::call::event::{Event, GatherEnd};

/// Playbacks that may wait behind the one that plays: an hour of prompts, and 32 Arcs.
const MAX_QUEUED: usize = 32;

/// A prompt whose audio is ready.
#[derive(Debug, Clone)]
pub(crate) struct NewPlayback {
    /// What it is made of.
    pub(crate) prompt: Prompt,
    /// 8 kHz mono.
    pub(crate) audio: Arc<[i16]>,
    /// Who hears it.
    pub(crate) play_to: PlayTo,
}

/// Who is told the end of a playback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaking {
    /// The customer.
    Playback,
    /// The gather whose prompt it is.
    Gather,
}

#[derive(Debug)]
struct Playback {
    id: PlaybackId,
    name: String,
    what: NewPlayback,
    speaking: Speaking,
    /// When its first frame was asked for.
    started: Option<Instant>,
}

/// The one that plays, and those that wait.
#[derive(Debug, Default)]
pub(super) struct Playlist {
    queue: VecDeque<Playback>,
    next: u64,
    /// The last number in a playback's name: two in a millisecond get different ones.
    last_name: i64,
}

impl Machine {
    /// `/play` and `/voice`.
    pub(super) fn play(
        &mut self,
        now: Instant,
        what: NewPlayback,
    ) -> Result<PlaybackStarted, CommandError> {
        self.enqueue(now, what, Speaking::Playback).map(|(_, started)| started)
    }

    /// Queues a prompt; begins it if nothing plays.
    pub(super) fn enqueue(
        &mut self,
        now: Instant,
        what: NewPlayback,
        speaking: Speaking,
    ) -> Result<(PlaybackId, PlaybackStarted), CommandError> {
        if self.playlist.queue.len() > MAX_QUEUED {
            return Err(CommandError::QueueFull);
        }
        let id = PlaybackId(self.playlist.next);
        self.playlist.next += 1;
        self.playlist.last_name = (self.playlist.last_name + 1).max(self.setup.clock.wall(now).0);
        let kind = match what.prompt {
            Prompt::Text(_) => "tts",
            Prompt::File(_) => "play",
        };
        let name = format!("{kind}-{}-{}", self.setup.call_id, self.playlist.last_name);
        let queued = !self.playlist.queue.is_empty();
        let playback = Playback { id, name: name.clone(), what, speaking, started: None };
        self.playlist.queue.push_back(playback);
        Ok((id, PlaybackStarted { playback_id: name, queued }))
    }

    /// Begins the first of the queue, if it has not begun. Called once a command or an event has
    /// been dealt with, so that a gather knows its prompt before that begins.
    pub(super) fn play_on(&mut self, now: Instant) {
        let Some(first) = self.playlist.queue.front_mut().filter(|it| it.started.is_none()) else {
            return;
        };
        first.started = Some(now);
        let (id, speaking) = (first.id, first.speaking);
        self.effects.push(Effect::Media(Media::Play {
            id,
            audio: Arc::clone(&first.what.audio),
            in_recording: first.what.play_to == PlayTo::Bridge,
        }));
        if speaking == Speaking::Gather {
            self.begin_gather(now, id);
            // Digits that it kept may have cut the prompt short already.
            self.play_on(now);
        }
    }

    /// The media is done with a playback.
    pub(super) fn playback_finished(
        &mut self,
        now: Instant,
        id: PlaybackId,
        played_ms: u64,
        completed: bool,
    ) {
        // One that was cut short here is gone already.
        if self.playlist.queue.front().is_none_or(|first| first.id != id) {
            return;
        }
        if let Some(playback) = self.playlist.queue.pop_front() {
            let played_ms = i64::try_from(played_ms).unwrap_or(i64::MAX);
            self.playback_ended(now, &playback, played_ms, completed);
        }
        self.play_on(now);
    }

    /// Cuts short the playback `id`, playing or queued. Its gather or customer is not told.
    pub(super) fn cut(&mut self, id: PlaybackId) {
        if let Some(at) = self.playlist.queue.iter().position(|it| it.id == id) {
            let playback = self.playlist.queue.remove(at);
            if playback.is_some_and(|it| it.started.is_some()) {
                self.effects.push(Effect::Media(Media::StopPlayback(Some(id))));
            }
        }
    }

    /// `/stop`: all that plays or waits ends, and so does a gather.
    pub(super) fn stop(&mut self, now: Instant) -> usize {
        let stopped = self.playlist.queue.len();
        if stopped > 0 {
            self.effects.push(Effect::Media(Media::StopPlayback(None)));
        }
        self.flush_playlist(now);
        self.gather_timeout(now, GatherEnd::Stopped);
        stopped
    }

    /// Every playback ends, cut short.
    pub(super) fn flush_playlist(&mut self, now: Instant) {
        for playback in std::mem::take(&mut self.playlist.queue) {
            let played = playback.started.map_or(0, |at| millis(now.saturating_duration_since(at)));
            self.playback_ended(now, &playback, played, false);
        }
    }

    /// `/dtmf`.
    pub(super) fn send_digits(
        &mut self,
        digits: Digits,
        duration_ms: u16,
        gap_ms: u16,
    ) -> Result<(), CommandError> {
        // The media would give back one more at once, before those that it holds.
        if self.sending.len() >= MAX_QUEUED_DIGITS {
            return Err(CommandError::QueueFull);
        }
        self.sending.push_back(digits.clone());
        self.effects.push(Effect::Media(Media::SendDigits { digits, duration_ms, gap_ms }));
        Ok(())
    }

    /// The media is done with the first of the digits.
    pub(super) fn digits_sent(&mut self, now: Instant, completed: bool) {
        if let Some(digits) = self.sending.pop_front() {
            let digits = digits.as_str().to_owned();
            self.emit(now, Event::DtmfSent { digits, completed });
        }
    }

    /// What has not been sent will not be.
    pub(super) fn flush_digits(&mut self, now: Instant) {
        while !self.sending.is_empty() {
            self.digits_sent(now, false);
        }
    }

    fn playback_ended(
        &mut self,
        now: Instant,
        playback: &Playback,
        played_ms: i64,
        completed: bool,
    ) {
        if playback.speaking == Speaking::Gather {
            return self.prompt_ended(now, playback.id);
        }
        let (playback_id, duration_ms) = (playback.name.clone(), played_ms);
        let method = playback.what.play_to.as_str();
        let event = match playback.what.prompt.clone() {
            Prompt::Text(text) => {
                Event::TtsPlayed { text, playback_id, method, duration_ms, completed }
            }
            Prompt::File(file) => {
                Event::PlaybackFinished { file, playback_id, method, duration_ms, completed }
            }
        };
        self.emit(now, event);
    }
}
