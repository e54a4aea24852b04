//! The playbacks of a call, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use super::command::{MAX_QUEUED_PLAYBACKS, MediaEvent, PlaybackId};

/// Samples in a millisecond.
const PER_MS: u64 = 8;

#[derive(Debug)]
struct Playback {
    id: PlaybackId,
    audio: Arc<[i16]>,
    in_recording: bool,
    /// Samples played.
    played: usize,
    started: bool,
}

impl Playback {
    fn finished(&self, completed: bool) -> MediaEvent {
        let played_ms = self.played as u64 / PER_MS;
        MediaEvent::PlaybackFinished { id: self.id, played_ms, completed }
    }
}

/// What plays and what waits.
#[derive(Debug)]
pub(super) struct Playlist(VecDeque<Playback>);

impl Playlist {
    pub(super) fn new() -> Self {
        Self(VecDeque::with_capacity(MAX_QUEUED_PLAYBACKS + 1))
    }

    /// Queues a playback; the event of its refusal where the queue is full.
    pub(super) fn push(
        &mut self,
        id: PlaybackId,
        audio: Arc<[i16]>,
        in_recording: bool,
    ) -> Option<MediaEvent> {
        let playback = Playback { id, audio, in_recording, played: 0, started: false };
        if self.0.len() > MAX_QUEUED_PLAYBACKS {
            return Some(playback.finished(false));
        }
        self.0.push_back(playback);
        None
    }

    /// Ends one playback or all, each with its event.
    pub(super) fn stop(&mut self, which: Option<PlaybackId>, mut tell: impl FnMut(MediaEvent)) {
        self.0.retain(|playback| {
            let stopped = which.is_none_or(|id| id == playback.id);
            if stopped {
                tell(playback.finished(false));
            }
            !stopped
        });
    }

    /// Plays the next samples into `heard`, and what of them is to be recorded into `recorded` of
    /// the same length; both are silent before. One playback follows the other without a gap.
    pub(super) fn play(
        &mut self,
        heard: &mut [i16],
        recorded: &mut [i16],
        mut tell: impl FnMut(MediaEvent),
    ) {
        let mut at = 0;
        while at < heard.len() {
            let Some(playback) = self.0.front_mut() else { return };
            if !playback.started {
                playback.started = true;
                tell(MediaEvent::PlaybackStarted { id: playback.id });
            }
            let rest = playback.audio.get(playback.played..).unwrap_or(&[]);
            let len = rest.len().min(heard.len() - at);
            let copy = |to: &mut [i16]| {
                if let Some((to, from)) = to.get_mut(at..at + len).zip(rest.get(..len)) {
                    to.copy_from_slice(from);
                }
            };
            copy(heard);
            if playback.in_recording {
                copy(recorded);
            }
            playback.played += len;
            at += len;
            if playback.played == playback.audio.len() {
                tell(playback.finished(true));
                self.0.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audio(value: i16, len: usize) -> Arc<[i16]> {
        vec![value; len].into()
    }

    fn finished(id: u64, played_ms: u64, completed: bool) -> MediaEvent {
        MediaEvent::PlaybackFinished { id: PlaybackId(id), played_ms, completed }
    }

    #[test]
    fn playbacks_follow_each_other_within_a_frame_and_channel_ones_are_not_recorded() {
        let mut list = Playlist::new();
        let mut events = Vec::new();
        assert_eq!(list.push(PlaybackId(1), audio(5, 8), true), None);
        assert_eq!(list.push(PlaybackId(2), audio(6, 8), false), None);
        let (mut heard, mut recorded) = ([0; 20], [0; 20]);
        list.play(&mut heard, &mut recorded, |e| events.push(e));
        assert_eq!(heard, [[5; 8].as_slice(), &[6; 8], &[0; 4]].concat()[..]);
        assert_eq!(recorded, [[5; 8].as_slice(), &[0; 12]].concat()[..]);
        let started = |id| MediaEvent::PlaybackStarted { id: PlaybackId(id) };
        assert_eq!(events, [started(1), finished(1, 1, true), started(2), finished(2, 1, true)]);
    }

    #[test]
    fn a_stop_tells_how_much_was_played() {
        let mut list = Playlist::new();
        let mut events = Vec::new();
        for id in 1..4 {
            list.push(PlaybackId(id), audio(1, 1600), true);
        }
        list.play(&mut [0; 160], &mut [0; 160], |_| ());
        list.stop(Some(PlaybackId(2)), |e| events.push(e));
        list.stop(None, |e| events.push(e));
        assert_eq!(events, [finished(2, 0, false), finished(1, 20, false), finished(3, 0, false)]);
    }

    #[test]
    fn one_more_than_the_queue_holds_is_refused() {
        let mut list = Playlist::new();
        let taken = (0..100).filter(|i| list.push(PlaybackId(*i), audio(1, 8), true).is_none());
        assert_eq!(taken.count(), MAX_QUEUED_PLAYBACKS + 1);
        assert_eq!(list.push(PlaybackId(7), audio(1, 8), true), Some(finished(7, 0, false)));
    }

    #[test]
    fn an_empty_playback_starts_and_finishes() {
        let mut list = Playlist::new();
        let mut events = Vec::new();
        list.push(PlaybackId(1), audio(1, 0), true);
        list.play(&mut [0; 160], &mut [0; 160], |e| events.push(e));
        assert_eq!(events.last(), Some(&finished(1, 0, true)));
    }
}
