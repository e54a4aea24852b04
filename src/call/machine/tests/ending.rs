//! Every way a call may end, in every state it may be in: one terminal row, one `call.ended`, last.

use kaphila_media::session::MediaEvent;
use kaphila_sip::invite::{Ended as SipEnded, Failure, LegEvent};
use serde_json::{Value, json};

use super::super::*;
use super::ladder::{ANSWER, Ladder, audio, setup, with_amd};
use crate::call::api::{AmdMode, GatherRequest, PlayTo, Prompt};

#[test]
fn the_callee_hangs_up() {
    let mut call = Ladder::talking(setup());
    call.at(43_999);
    call.bye();
    call.expect(&["close media", "ended"]);
    call.media_closed();
    call.expect(&["row completed normal_hangup 16 by callee", "call.ended"]);
    let event = call.event("call.ended");
    assert_eq!((&event["callDuration"], &event["duration"]), (&json!(43), &json!(43)));
    assert_eq!(event["wasAnswered"], true);
    assert_eq!((&event["sipStatus"], &event["sipReason"]), (&json!(200), &json!("OK")));
    assert_eq!(event["sipCallId"], "first");
    assert_eq!(
        event["quality"],
        json!({
            "codec": "PCMU", "mos": 4.41, "lossPercent": 0.0, "jitterMs": 1.3, "rttMs": null,
            "packetsSent": 100, "packetsReceived": 99,
        })
    );
    assert_eq!(call.ended[0].duration_secs, 43);
    assert!(call.machine.is_over());
}

#[test]
fn the_callees_reason_is_the_cause() {
    let mut call = Ladder::talking(setup());
    call.sip(LegEvent::Ended(SipEnded::Far { q850: Some(31) }));
    call.media_closed();
    call.expect(&[
        "close media",
        "ended",
        "row completed normal_hangup 31 by callee",
        "call.ended",
    ]);
}

/// The media is a queue away: a key may be on its way while the BYE comes.
#[test]
fn a_key_pressed_just_before_the_hang_up_is_told() {
    let mut call = Ladder::talking(setup());
    call.bye();
    call.digit('7');
    call.expect(&["close media", "ended", "dtmf.received"]);
    call.media_closed();
    call.expect(&["row completed normal_hangup 16 by callee", "call.ended"]);
    call.digit('8');
    call.expect(&[]);
}

#[test]
fn hangup_while_talking_and_again() {
    let mut call = Ladder::talking(setup());
    call.hang_up();
    call.expect(&["hang up 0 cause 16", "close media", "ended", "reply done"]);
    call.hang_up();
    call.expect(&["reply NotFound"]);
    call.media_closed();
    call.expect(&["row completed api_hangup 16 by api", "call.ended"]);
    call.hang_up();
    call.expect(&["reply NotFound"]);
}

#[test]
fn hangup_while_makecall_waits() {
    let mut call = Ladder::dialled(setup());
    call.at(100);
    call.sip(LegEvent::Trying);
    call.hang_up();
    call.expect(&[
        "hang up 0 cause 16",
        "close media",
        "ended",
        "placed canceled a 1",
        "row canceled canceled 16 by api",
        "call.ended",
        "reply done",
    ]);
    assert_eq!(call.event("call.ended")["sipStatus"], Value::Null);
    // The 487 that follows says nothing new.
    call.refused(487);
    call.expect(&[]);
    assert!(call.machine.is_over());
}

#[test]
fn hangup_while_the_ring_timeout_cancels() {
    let mut call = Ladder::dialled(setup());
    call.provisional(180);
    call.at(30_000);
    call.said_clear();
    call.hang_up();
    call.expect(&[
        "close media",
        "ended",
        "row canceled canceled 16 by api",
        "call.ended",
        "reply done",
    ]);
}

#[test]
fn the_rtp_watchdog_hangs_up() {
    let mut call = Ladder::talking(setup());
    call.input(Input::Media(MediaEvent::RtpTimeout));
    call.media_closed();
    call.expect(&[
        "hang up 0 cause 44",
        "close media",
        "ended",
        "row completed media_timeout 44 by system",
        "call.ended",
    ]);
}

#[test]
fn a_call_lasts_as_long_as_it_may() {
    let timing = Timing { max_duration: Duration::from_secs(60), ..Timing::default() };
    let mut call = Ladder::talking(Setup { timing, ..setup() });
    call.at(59_999);
    call.expect(&[]);
    call.at(60_000);
    call.media_closed();
    call.expect(&[
        "hang up 0 cause 16",
        "close media",
        "ended",
        "row completed max_duration 16 by system",
        "call.ended",
    ]);
}

#[test]
fn a_shutdown_ends_what_rings_and_what_talks() {
    let mut call = Ladder::dialled(setup());
    call.input(Input::Shutdown);
    call.expect(&[
        "hang up 0 cause 41",
        "close media",
        "ended",
        "placed failed a 1",
        "row failed server_shutdown 41 by system",
        "call.ended",
    ]);
    let mut call = Ladder::talking(setup());
    call.input(Input::Shutdown);
    call.media_closed();
    call.expect(&[
        "hang up 0 cause 41",
        "close media",
        "ended",
        "row completed server_shutdown 41 by system",
        "call.ended",
    ]);
}

#[test]
fn a_lost_dialog_ends_the_call() {
    for event in
        [LegEvent::Ended(SipEnded::Lost), LegEvent::NoAnswer(Failure::Timeout), LegEvent::Closed]
    {
        let mut call = Ladder::talking(setup());
        call.sip(event);
        call.media_closed();
        call.expect(&[
            "close media",
            "ended",
            "row completed trunk_failure 41 by carrier",
            "call.ended",
        ]);
    }
}

#[test]
fn lost_media_ends_the_call() {
    let mut call = Ladder::talking(setup());
    call.input(Input::MediaLost);
    call.expect(&["hang up 0 cause 41", "close media", "ended"]);
    call.input(Input::MediaLost);
    call.expect(&["row completed internal_error 41 by system", "call.ended"]);
}

#[test]
fn figures_that_do_not_come_are_not_waited_for() {
    let mut call = Ladder::talking(setup());
    call.bye();
    call.at(1_999);
    call.expect(&["close media", "ended"]);
    call.at(2_000);
    call.expect(&["row completed normal_hangup 16 by callee", "call.ended"]);
    assert_eq!(call.event("call.ended")["quality"], Value::Null);
}

#[test]
fn a_fault_in_any_state_ends_the_call_once() {
    for state in STATES {
        let mut call = state.reached();
        let fault = std::panic::AssertUnwindSafe(|| {
            call.machine.handle(Instant::now(), Input::Command(ReplyId(0), Command::Fault));
        });
        assert!(std::panic::catch_unwind(fault).is_err());
        call.crash();
        call.crash();
        call.one_end(&format!("{state:?}"));
    }
}

/// The states of the drawing, and what may be open in them.
#[derive(Debug, Clone, Copy)]
enum State {
    Dialling,
    Tried,
    Ringing,
    EarlyMedia,
    SecondTrunk,
    Cancelling,
    AwaitingVerdict,
    Talking,
    Recording,
    Playing,
    Gathering,
    Closing,
    Over,
}

const STATES: [State; 13] = [
    State::Dialling,
    State::Tried,
    State::Ringing,
    State::EarlyMedia,
    State::SecondTrunk,
    State::Cancelling,
    State::AwaitingVerdict,
    State::Talking,
    State::Recording,
    State::Playing,
    State::Gathering,
    State::Closing,
    State::Over,
];

impl State {
    fn reached(self) -> Ladder {
        let mut call = match self {
            Self::AwaitingVerdict => return Ladder::talking(with_amd(AmdMode::Sync)),
            Self::Recording => {
                let mut call = Ladder::talking(Setup { record: true, ..setup() });
                call.recording_started();
                return call;
            }
            Self::Talking | Self::Playing | Self::Gathering | Self::Closing | Self::Over => {
                Ladder::talking(setup())
            }
            _ => Ladder::dialled(setup()),
        };
        match self {
            Self::Tried => call.sip(LegEvent::Trying),
            Self::Ringing => call.provisional(180),
            Self::EarlyMedia => call.early(ANSWER),
            Self::SecondTrunk => call.refused(503),
            Self::Cancelling => {
                call.provisional(180);
                call.at(30_000);
            }
            Self::Playing => {
                call.say("One");
                call.play("two");
            }
            Self::Gathering => call.command(Command::Gather(
                GatherRequest {
                    prompt: Prompt::Text("PIN".to_owned()),
                    num_digits: 4,
                    timeout: Duration::from_secs(10),
                    inter_digit_timeout: None,
                    finish_on_key: None,
                    barge_in: true,
                    flush: true,
                    play_to: PlayTo::Bridge,
                },
                audio(),
            )),
            Self::Closing => call.bye(),
            Self::Over => {
                call.bye();
                call.media_closed();
            }
            _ => {}
        }
        call
    }
}

type Trigger = (&'static str, fn(&mut Ladder));

/// What may end a call, or happen while it ends.
const TRIGGERS: [Trigger; 16] = [
    ("hangup", Ladder::hang_up),
    ("bye", Ladder::bye),
    ("486", |call| call.refused(486)),
    ("503", |call| call.refused(503)),
    ("302", |call| call.refused_with(302, None, None, &["sip:x@192.0.2.9"])),
    ("488", |call| call.refused(488)),
    ("200 with SDP", Ladder::ok),
    ("200 without", |call| call.ok_with(None)),
    ("180", |call| call.provisional(180)),
    ("timer B", Ladder::silence),
    ("transport", |call| {
        call.sip(LegEvent::NoAnswer(Failure::Transport("x".to_owned())));
    }),
    ("closed", |call| call.sip(LegEvent::Closed)),
    ("lost", |call| call.sip(LegEvent::Ended(SipEnded::Lost))),
    ("media lost", |call| call.input(Input::MediaLost)),
    ("watchdog", |call| call.input(Input::Media(MediaEvent::RtpTimeout))),
    ("shutdown", |call| call.input(Input::Shutdown)),
];

#[test]
fn every_state_and_trigger_has_exactly_one_end() {
    for state in STATES {
        for (first, trigger) in TRIGGERS {
            for (second, other) in TRIGGERS {
                let mut call = state.reached();
                trigger(&mut call);
                other(&mut call);
                call.recording_finished();
                call.media_closed();
                // An hour later nobody rings, waits or talks any more.
                call.at(5 * 3_600_000);
                call.input(Input::MediaLost);
                call.one_end(&format!("{state:?}, then {first}, then {second}"));
            }
        }
    }
}

impl Ladder {
    #[track_caller]
    fn one_end(&self, what: &str) {
        let trace = self.machine.trace();
        assert_eq!(self.ended.len(), 1, "{what}: one terminal row\n{trace}");
        let ends = self.event_names().iter().filter(|it| **it == "call.ended").count();
        assert_eq!(ends, 1, "{what}: one terminal event\n{trace}");
        let last = self.event_names().last().copied();
        assert_eq!(last, Some("call.ended"), "{what}: it is the last\n{trace}");
        assert!(self.ended[0].status.is_terminal(), "{what}");
        assert!(
            self.machine.is_ended() && self.machine.poll_timeout().is_none(),
            "{what}\n{trace}"
        );
        assert!(self.answered.len() <= 1, "{what}: charged once at most");
        let wrong = self.answered.is_empty() && self.ended[0].status == Status::Completed;
        assert!(!wrong, "{what}: completed without an answer");
        assert_eq!(self.placed(), 1, "{what}: makecall is answered once");
    }
}

/// A fault in the midst of an input loses none of the events before it: the numbers have no gap.
#[test]
fn what_was_told_before_a_fault_is_told() {
    let mut call = Ladder::talking(setup());
    let now = call.machine.setup.clock.at;
    call.machine.emit(now, Event::AmdResult { revised: false });
    call.machine.effects.push(Effect::CloseMedia);
    call.crash();
    call.expect(&[
        "amd.result",
        "hang up 0 cause 41",
        "close media",
        "ended",
        "row completed internal_error 41 by system",
        "call.ended",
    ]);
}
