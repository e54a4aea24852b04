//! Talking: the far end's offers, the detector, playbacks, the recording.

use kaphila_media::amd::{Cause, Status as AmdStatus, Verdict};
use kaphila_media::dtmf::Digits;
use kaphila_media::session::MediaEvent;
use kaphila_sip::info::Press;
use kaphila_sip::invite::{Body, LegEvent};
use kaphila_sip::message::Method;
use serde_json::{Value, json};

use super::super::*;
use super::ladder::{ANSWER, Ladder, USELESS, setup, with_amd};
use crate::call::api::AmdMode;
use crate::store::Millis;

fn offer(call: &mut Ladder, sdp: Option<&'static str>) {
    let offer = sdp.map(Body::sdp);
    call.sip(LegEvent::Offer { offer, method: Method::Invite });
}

fn verdict(status: AmdStatus, cause: Cause) -> Verdict {
    Verdict {
        status,
        cause,
        confidence: 0.9,
        decided_ms: 1_200,
        figures: Default::default(),
        revised: false,
    }
}

fn hears(call: &mut Ladder, status: AmdStatus, cause: Cause) {
    call.input(Input::Media(MediaEvent::Amd(verdict(status, cause))));
}

#[test]
fn hold_and_resume_by_re_invite() {
    let mut call = Ladder::talking(setup());
    let hold = "v=0\r\no=- 1 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n";
    offer(&mut call, Some(hold));
    call.expect(&["connect 0 PCMU recvonly", "answer offer 0 sdp"]);
    offer(&mut call, Some(ANSWER));
    call.expect(&["connect 0 PCMU sendrecv", "answer offer 0 sdp"]);
}

#[test]
fn another_codec_is_taken_and_a_foreign_one_is_488_and_changes_nothing() {
    let mut call = Ladder::talking(setup());
    let pcma = "v=0\r\no=- 1 2 IN IP4 192.0.2.77\r\ns=-\r\nc=IN IP4 192.0.2.77\r\nt=0 0\r\n\
        m=audio 4002 RTP/AVP 8\r\n";
    offer(&mut call, Some(pcma));
    call.expect(&["connect 0 PCMA sendrecv", "answer offer 0 sdp"]);
    offer(&mut call, Some(USELESS));
    call.expect(&["answer offer 0 488"]);
    assert_eq!(call.machine.legs[0].negotiation.agreed().unwrap().send, Codec::Pcma);
}

#[test]
fn a_re_invite_without_an_offer_gets_ours_and_the_ack_answers_it() {
    let mut call = Ladder::talking(setup());
    offer(&mut call, None);
    call.expect(&["answer offer 0 sdp"]);
    call.sip(LegEvent::OfferAnswered { body: Some(Body::sdp(ANSWER)) });
    call.expect(&["connect 0 PCMU sendrecv"]);
    // An answer nobody asked for, and one that is missing.
    call.sip(LegEvent::OfferAnswered { body: Some(Body::sdp(ANSWER)) });
    offer(&mut call, None);
    call.sip(LegEvent::OfferAnswered { body: None });
    call.expect(&["answer offer 0 sdp"]);
}

#[test]
fn a_digit_by_info_goes_through_the_media_which_knows_double_presses() {
    let mut call = Ladder::talking(setup());
    call.sip(LegEvent::Info(Press { digit: '5', duration_ms: Some(160) }));
    call.sip(LegEvent::Info(Press { digit: '#', duration_ms: None }));
    call.expect(&["info digit 5 160", "info digit # 250"]);
}

#[test]
fn a_digit_is_an_event_whether_or_not_a_gather_runs() {
    let mut call = Ladder::talking(setup());
    call.digit('5');
    call.expect(&["dtmf.received"]);
    let event = call.event("dtmf.received");
    assert_eq!(
        (&event["digit"], &event["method"], &event["durationMs"]),
        (&json!("5"), &json!("rfc4733"), &json!(20))
    );
}

#[test]
fn digits_are_sent_in_order_and_each_string_has_its_end() {
    let mut call = Ladder::talking(setup());
    let digits = |text: &str| Digits::try_from(text).unwrap();
    call.command(Command::SendDigits(digits("12"), 100, 100));
    call.command(Command::SendDigits(digits("#"), 100, 100));
    call.expect(&["media SendDigits", "reply done", "media SendDigits", "reply done"]);
    let sent = MediaEvent::DigitsSent { digits: digits("12"), completed: true };
    call.input(Input::Media(sent));
    call.expect(&["dtmf.sent"]);
    assert_eq!(call.event("dtmf.sent")["digits"], "12");
    call.bye();
    call.expect(&["dtmf.sent", "close media", "ended"]);
    let event = call.event("dtmf.sent");
    assert_eq!((&event["digits"], &event["completed"]), (&json!("#"), &json!(false)));
    // The media's own word on it comes late and says nothing new.
    let sent = MediaEvent::DigitsSent { digits: digits("#"), completed: false };
    call.input(Input::Media(sent));
    call.expect(&[]);
}

#[test]
fn digits_beyond_what_the_media_queues_are_refused_here() {
    let mut call = Ladder::talking(setup());
    for _ in 0..kaphila_media::session::MAX_QUEUED_DIGITS {
        call.command(Command::SendDigits(Digits::try_from("1").unwrap(), 100, 100));
        call.expect(&["media SendDigits", "reply done"]);
    }
    // Sent on, it would come back at once and be taken for the end of the first.
    call.command(Command::SendDigits(Digits::try_from("2").unwrap(), 100, 100));
    call.expect(&["reply QueueFull"]);
}

#[test]
fn digits_go_to_the_media_where_the_far_end_takes_no_telephone_events() {
    const NO_EVENTS: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\n\
        t=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let mut call = Ladder::dialled(setup());
    call.ok_with(Some(NO_EVENTS));
    call.said_clear();
    call.command(Command::SendDigits(Digits::try_from("1").unwrap(), 100, 100));
    call.expect(&["media SendDigits", "reply done"]);
}

#[test]
fn a_synchronous_verdict_is_what_call_answered_waits_for() {
    let mut call = Ladder::dialled(with_amd(AmdMode::Sync));
    call.ok();
    call.expect(&[
        "connect 0 PCMU sendrecv",
        "media Answered",
        "row answered",
        "placed answered a 1",
        "media StartAmd",
    ]);
    // Between the 200 and the verdict playing is allowed.
    call.say("Hello");
    call.expect(&["reply playing", "play 0"]);
    call.at(1_200);
    hears(&mut call, AmdStatus::Human, Cause::Human);
    call.expect(&["row heard HUMAN", "call.answered"]);
    let event = call.event("call.answered");
    assert_eq!(event["amd"]["status"], "HUMAN");
    assert_eq!(event["amd"]["cause"], "HUMAN");
    assert_eq!(event["amd"]["confidence"], 0.9);
    assert_eq!(event["answeredAt"], "2023-11-14T22:13:20.000Z", "when it was answered");
    hears(&mut call, AmdStatus::Machine, Cause::MaxWords);
    call.expect(&[]);
}

#[test]
fn an_asynchronous_verdict_follows_call_answered() {
    let mut call = Ladder::dialled(with_amd(AmdMode::Async));
    call.ok();
    call.expect(&[
        "connect 0 PCMU sendrecv",
        "media Answered",
        "row answered",
        "placed answered a 1",
        "media StartAmd",
        "call.answered",
    ]);
    assert_eq!(call.event("call.answered")["amd"], Value::Null);
    hears(&mut call, AmdStatus::Machine, Cause::MaxWords);
    call.expect(&["row heard MACHINE", "amd.result"]);
    assert_eq!(call.event("amd.result")["amd"]["status"], "MACHINE");
    assert_eq!(call.event("amd.result")["revised"], false);
}

#[test]
fn a_verdict_that_is_taken_back_is_told_and_call_ended_carries_the_last() {
    let mut call = Ladder::talking(with_amd(AmdMode::Sync));
    hears(&mut call, AmdStatus::Human, Cause::Human);
    let revised = verdict(AmdStatus::Machine, Cause::LongGreeting);
    call.input(Input::Media(MediaEvent::AmdRevised(revised)));
    call.expect(&["row heard HUMAN", "call.answered", "row heard MACHINE", "amd.result"]);
    assert_eq!(call.event("amd.result")["revised"], true);
    call.bye();
    call.media_closed();
    assert_eq!(call.event("call.ended")["amd"]["status"], "MACHINE");
    assert_eq!(call.ended[0].amd.as_ref().unwrap().cause, "LONGGREETING");
}

#[test]
fn a_hang_up_before_the_verdict_is_notsure_by_hangup() {
    let mut call = Ladder::talking(with_amd(AmdMode::Sync));
    call.at(700);
    call.bye();
    call.media_closed();
    call.expect(&[
        "row heard NOTSURE",
        "call.answered",
        "close media",
        "ended",
        "row completed normal_hangup 16 by callee",
        "call.ended",
    ]);
    let amd = &call.event("call.answered")["amd"];
    assert_eq!((&amd["status"], &amd["cause"]), (&json!("NOTSURE"), &json!("HANGUP")));
    assert_eq!(amd["confidence"], 0.0);
}

#[test]
fn a_detector_that_never_speaks_does_not_hold_call_answered_for_ever() {
    let mut call = Ladder::talking(with_amd(AmdMode::Sync));
    call.at(5_999);
    call.expect(&[]);
    call.at(6_000);
    call.expect(&["row heard UNKNOWN", "call.answered"]);
    let amd = &call.event("call.answered")["amd"];
    assert_eq!((&amd["status"], &amd["cause"]), (&json!("UNKNOWN"), &json!("NOAUDIO")));
}

#[test]
fn playbacks_queue_up_and_play_in_order() {
    let mut call = Ladder::talking(setup());
    call.say("One");
    call.play("custom/two");
    call.expect(&["reply playing", "play 0", "reply queued"]);
    call.played(0, 1_000);
    call.expect(&["tts.played", "play 1"]);
    call.played(1, 900);
    call.expect(&["playback.finished"]);
    let (first, second) = (call.event("tts.played"), call.event("playback.finished"));
    assert_eq!((&first["text"], &first["method"]), (&json!("One"), &json!("bridge")));
    assert_eq!((&first["durationMs"], &first["completed"]), (&json!(1_000), &json!(true)));
    assert_eq!((&second["file"], &second["method"]), (&json!("custom/two"), &json!("channel")));
    assert_eq!(first["playbackId"], "tts-1700000000.7-1700000000000");
    assert_eq!(second["playbackId"], "play-1700000000.7-1700000000001", "no two alike");
}

#[test]
fn stop_ends_all_and_each_gets_its_end() {
    let mut call = Ladder::talking(setup());
    call.say("One");
    call.play("two");
    call.at(300);
    call.command(Command::Stop);
    call.expect(&[
        "reply playing",
        "play 0",
        "reply queued",
        "stop all",
        "tts.played",
        "playback.finished",
        "reply stopped 2",
    ]);
    assert_eq!(call.event("tts.played")["durationMs"], 300);
    assert_eq!(call.event("tts.played")["completed"], false);
    assert_eq!(call.event("playback.finished")["durationMs"], 0);
    // The media's own word on it comes late and says nothing new.
    call.played(0, 310);
    call.command(Command::Stop);
    call.expect(&["reply stopped 0"]);
}

#[test]
fn a_queue_has_an_end() {
    let mut call = Ladder::talking(setup());
    for _ in 0..33 {
        call.play("x");
    }
    call.said_clear();
    call.play("x");
    call.expect(&["reply QueueFull"]);
}

#[test]
fn what_needs_an_answer_is_refused_before_it() {
    let mut call = Ladder::dialled(setup());
    call.say("Hello");
    call.command(Command::Stop);
    call.command(Command::StopRecording);
    call.expect(&["reply NotAnswered", "reply NotAnswered", "reply NoRecording"]);
}

#[test]
fn a_recording_from_the_answer_to_the_end() {
    let mut call = Ladder::dialled(Setup { record: true, ..setup() });
    call.at(1_000);
    call.ok();
    call.expect(&[
        "connect 0 PCMU sendrecv",
        "media Answered",
        "row answered",
        "placed answered a 1",
        "record",
        "call.answered",
    ]);
    assert_eq!(call.event("call.answered")["recording"], Value::Null, "not told yet");
    call.recording_started();
    call.expect(&["row recording started", "recording.started"]);
    let event = call.event("recording.started");
    assert_eq!(event["filename"], "call-1700000000.7-1700000001000.wav");
    assert_eq!(event["recordingId"], "call-1700000000.7-1700000001000");
    assert_eq!(event["recording"]["active"], true);
    call.at(2_000);
    call.bye();
    call.expect(&["close media", "ended"]);
    call.media_closed();
    call.expect(&[]);
    call.recording_finished();
    call.expect(&[
        "row recording finished",
        "recording.completed",
        "row completed normal_hangup 16 by callee",
        "call.ended",
    ]);
    let event = call.event("recording.completed");
    assert_eq!((&event["duration"], &event["size"]), (&json!(1.0), &json!(16_044)));
    assert_eq!(event["channels"], 1);
    assert_eq!(
        event["recordingUrl"],
        "/recordings/file/call-1700000000.7-1700000001000.wav/download"
    );
    assert_eq!(call.event("call.ended")["recording"]["active"], false);
}

#[test]
fn recording_started_follows_call_answered() {
    let mut call = Ladder::talking(Setup { record: true, ..with_amd(AmdMode::Sync) });
    call.recording_started();
    call.expect(&["row recording started"]);
    hears(&mut call, AmdStatus::Human, Cause::Human);
    call.expect(&["row heard HUMAN", "call.answered", "recording.started"]);
}

#[test]
fn a_recording_of_early_media_begins_with_it() {
    let mut call = Ladder::dialled(Setup { record: true, record_early_media: true, ..setup() });
    call.early(ANSWER);
    call.input(Input::Media(MediaEvent::EarlyMedia));
    call.recording_started();
    call.expect(&[
        "placed ringing a 1",
        "connect 0 PCMU sendrecv",
        "record",
        "row recording started",
        "recording.started",
    ]);
    call.ok();
    call.expect(&["connect 0 PCMU sendrecv", "media Answered", "row answered", "call.answered"]);
}

#[test]
fn a_recording_that_is_stopped_completes_while_the_call_goes_on() {
    let mut call = Ladder::talking(Setup { record: true, ..setup() });
    call.recording_started();
    call.command(Command::StopRecording);
    call.expect(&[
        "row recording started",
        "recording.started",
        "media StopRecording",
        "recording.stopped",
        "reply recording",
    ]);
    call.command(Command::StopRecording);
    call.expect(&["reply NoRecording"]);
    call.recording_finished();
    call.expect(&["row recording finished", "recording.completed"]);
    call.hang_up();
    call.media_closed();
    assert_eq!(call.event_names().last(), Some(&"call.ended"));
}

#[test]
fn a_file_that_is_there_only_after_the_end_has_its_row_all_the_same() {
    let mut call = Ladder::talking(Setup { record: true, ..setup() });
    call.bye();
    call.recording_started();
    call.recording_finished();
    call.expect(&[
        "close media",
        "ended",
        "row recording started",
        "recording.started",
        "row recording finished",
        "recording.completed",
    ]);
    assert_eq!(call.event("recording.started")["recording"]["active"], false);
}

#[test]
fn a_file_that_could_not_be_made_has_a_row_that_says_why() {
    let mut call = Ladder::talking(Setup { record: true, ..setup() });
    call.recording_finished();
    call.expect(&[
        "row recording started",
        "recording.started",
        "row recording finished",
        "recording.completed",
    ]);
}

#[test]
fn nothing_is_told_of_a_recording_before_call_answered() {
    let mut call = Ladder::talking(Setup { record: true, ..with_amd(AmdMode::Sync) });
    call.recording_started();
    call.command(Command::StopRecording);
    call.recording_finished();
    call.expect(&[
        "row recording started",
        "media StopRecording",
        "reply recording",
        "row recording finished",
    ]);
    hears(&mut call, AmdStatus::Human, Cause::Human);
    call.expect(&[
        "row heard HUMAN",
        "call.answered",
        "recording.started",
        "recording.stopped",
        "recording.completed",
    ]);
}

#[test]
fn a_file_that_takes_too_long_is_told_after_call_ended() {
    let mut call = Ladder::talking(Setup { record: true, ..setup() });
    call.recording_started();
    call.at(1_000);
    call.bye();
    call.media_closed();
    call.at(2_999);
    call.expect(&["row recording started", "recording.started", "close media", "ended"]);
    call.at(3_000);
    call.expect(&["row completed normal_hangup 16 by callee", "call.ended"]);
    assert_eq!(call.ended[0].at, Millis(1_700_000_001_000), "when it ended, not when it was told");
    assert!(!call.machine.is_over());
    call.at(9_000);
    call.recording_finished();
    call.expect(&["row recording finished", "recording.completed"]);
    assert!(call.machine.is_over());
}

#[test]
fn metadata_is_in_every_event() {
    let metadata = json!({"order": 7}).as_object().cloned();
    let mut call = Ladder::talking(Setup { metadata, ..setup() });
    call.digit('1');
    call.bye();
    call.media_closed();
    assert!(call.events.iter().all(|event| event["metadata"]["order"] == 7));
}

#[test]
fn without_a_webhook_nothing_is_told_and_the_rows_are_written() {
    let mut call = Ladder::talking(Setup { webhook: false, ..setup() });
    call.digit('1');
    call.bye();
    call.media_closed();
    call.expect(&["close media", "ended", "row completed normal_hangup 16 by callee"]);
}
