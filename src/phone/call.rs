//! One call of the telephone, from its INVITE to its report.
#![allow(clippy::disallowed_methods, reason = "a driver: answers calls against the clock")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kaphila_media::amd;
use kaphila_media::dtmf::Digits;
use kaphila_media::session::{Command, MediaEvent, Quality};
use kaphila_sip::invite::{LegEvent, LegId};
use kaphila_sip::net::Incoming;
use serde_json::json;
use tokio::sync::mpsc;

use super::line::Line;
use super::report::Report;
use super::scenario::{Scenario, beep};
use super::{Phone, codecs};

/// How long a person lets it ring.
const RINGING: Duration = Duration::from_secs(1);

/// How long a telephone rings that nobody answers, before it gives up (480).
const UNANSWERED: Duration = Duration::from_secs(180);

/// How long the last events of media may take after the call.
const LAST_MEDIA: Duration = Duration::from_secs(2);

/// What happened before the answer.
enum Rung {
    Answer,
    Gone(&'static str),
}

pub(super) async fn take(
    phone: &Phone,
    incoming: Incoming,
    report: &Report,
    record: Option<PathBuf>,
) {
    let Incoming { leg, call, mut events } = incoming;
    let user = |uri: &kaphila_sip::message::Uri| uri.user.clone().unwrap_or_default();
    report.tell("ringing", json!({ "from": user(&call.from.uri), "to": user(&call.request_uri) }));
    if phone.scenario == Scenario::Busy {
        // The caller that is gone needs no answer.
        let _ = phone.sip.reject(leg, 486).await;
        return report.ended("busy", 0.0, "", None);
    }
    let opened = Line::open(&phone.engine, phone.address, call.remote.ip(), codecs(), phone.dtmf);
    let (mut line, media) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let _ = phone.sip.reject(leg, 503).await;
            return report.tell("failed", json!({ "error": error.to_string() }));
        }
    };
    let answer = match line.answer(call.body.as_ref()) {
        Ok(answer) => answer,
        Err(error) => {
            let _ = phone.sip.reject(leg, 488).await;
            return report.tell("failed", json!({ "error": error.to_string() }));
        }
    };
    let _ = phone.sip.ring(leg, None).await;
    if let Rung::Gone(why) = ring(phone, &mut events).await {
        if why == "unanswered" {
            let _ = phone.sip.reject(leg, 480).await;
        }
        return report.ended(why, 0.0, "", None);
    }
    let _ = phone.sip.accept(leg, answer).await;
    let answered = Answered { phone, leg, report, since: Instant::now(), digits: String::new() };
    answered.talk(line, events, media, record).await;
}

async fn ring(phone: &Phone, events: &mut mpsc::Receiver<LegEvent>) -> Rung {
    let patience = match phone.scenario {
        Scenario::NoAnswer => UNANSWERED,
        Scenario::Voicemail => Duration::ZERO,
        _ => RINGING,
    };
    let deadline = tokio::time::sleep(patience);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            () = &mut deadline => {
                let unanswered = phone.scenario == Scenario::NoAnswer;
                return if unanswered { Rung::Gone("unanswered") } else { Rung::Answer };
            }
            event = events.recv() => match event {
                Some(LegEvent::Ladder(_)) => {}
                Some(LegEvent::Cancelled { .. }) => return Rung::Gone("caller"),
                None | Some(LegEvent::Closed) => return Rung::Gone("lost"),
                Some(_) => {}
            },
        }
    }
}

/// A call in progress.
struct Answered<'a> {
    phone: &'a Phone,
    leg: LegId,
    report: &'a Report,
    since: Instant,
    digits: String,
}

impl Answered<'_> {
    async fn talk(
        mut self,
        mut line: Line,
        mut events: mpsc::Receiver<LegEvent>,
        mut media: mpsc::Receiver<MediaEvent>,
        record: Option<PathBuf>,
    ) {
        line.answered();
        self.report.tell("answered", json!({}));
        if let Some(path) = record {
            line.record(path);
        }
        if let Some(greeting) = &self.phone.greeting {
            line.play(greeting.clone());
        }
        let mut groups = match &self.phone.scenario {
            Scenario::Ivr(groups) => groups.clone().into_iter(),
            _ => Vec::new().into_iter(),
        };
        if groups.len() > 0 {
            line.command(Command::StartAmd(end_of_speech()));
        }
        if self.phone.scenario == Scenario::Voicemail {
            line.play(beep());
        }
        let limit = self.phone.hangup_after.unwrap_or(Duration::from_secs(86_400));
        let hangup = tokio::time::sleep(limit);
        tokio::pin!(hangup);
        let by = loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(LegEvent::Offer { offer, .. }) => {
                        line.answer_offer(&self.phone.sip, self.leg, offer.as_ref()).await;
                    }
                    Some(LegEvent::OfferAnswered { body: Some(body) }) => {
                        if let Err(error) = line.take_answer(&body) {
                            self.report.tell("warning", json!({ "error": error.to_string() }));
                        }
                    }
                    Some(LegEvent::Info(press)) => line.command(Command::InfoDigit {
                        digit: press.digit,
                        duration_ms: press.duration_ms.unwrap_or(0),
                    }),
                    Some(LegEvent::Ended(ended)) => break ended_by(&ended),
                    None | Some(LegEvent::Closed) => break "lost",
                    Some(_) => {}
                },
                event = media.recv() => match event {
                    Some(MediaEvent::Digit { digit, method, .. }) => self.heard(digit, &method),
                    // The prompt has ended: the next group of digits is due.
                    Some(MediaEvent::Amd(verdict)) if verdict.status == amd::Status::Human => {
                        if let Some(Ok(group)) = groups.next().map(|group| Digits::try_from(group.as_str())) {
                            line.send_digits(group);
                        }
                    }
                    Some(MediaEvent::DigitsSent { digits, completed }) => {
                        let text = digits.to_string();
                        self.report.tell("sent", json!({ "digits": text, "completed": completed }));
                        line.command(Command::StartAmd(end_of_speech()));
                    }
                    Some(MediaEvent::Failed { reason }) => {
                        self.report.tell("failed", json!({ "error": reason }));
                    }
                    Some(_) => {}
                    None => break "media",
                },
                () = &mut hangup => break "us",
            }
        };
        // Where the far end has hung up this says nothing more.
        let _ = self.phone.sip.hang_up(self.leg, None).await;
        line.command(Command::Close);
        self.finish(by, media).await;
    }

    fn heard(&mut self, digit: char, method: &kaphila_media::dtmf::DigitMethod) {
        self.digits.push(digit);
        let method = format!("{method:?}").to_lowercase();
        self.report.tell("digit", json!({ "digit": digit, "method": method }));
    }

    /// Waits for the last words of media: how it sounded, and that the recording is complete.
    async fn finish(mut self, by: &str, mut media: mpsc::Receiver<MediaEvent>) {
        let seconds = self.since.elapsed().as_secs_f64();
        let mut quality: Option<Quality> = None;
        let mut recorded = None;
        let rest = async {
            while let Some(event) = media.recv().await {
                match event {
                    MediaEvent::Digit { digit, method, .. } => self.heard(digit, &method),
                    MediaEvent::Closed(it) => quality = Some(it),
                    MediaEvent::RecordingFinished(it) => recorded = Some(it.path),
                    _ => {}
                }
            }
        };
        // What comes later is not reported.
        let _ = tokio::time::timeout(LAST_MEDIA, rest).await;
        if let Some(path) = recorded {
            self.report.recorded(&path);
        }
        self.report.ended(by, seconds, &self.digits, quality.as_ref());
    }
}

const fn ended_by(ended: &kaphila_sip::invite::Ended) -> &'static str {
    match ended {
        kaphila_sip::invite::Ended::Far { .. } => "caller",
        kaphila_sip::invite::Ended::NoAck => "no ack",
        kaphila_sip::invite::Ended::Lost => "lost",
        kaphila_sip::invite::Ended::Expired => "session expired",
    }
}

/// The detector as a listener for the end of what is said: a word, then most of a second of
/// silence. Its other rules are out of the way.
fn end_of_speech() -> amd::Params {
    let never = amd::Params::MAX_MS;
    amd::Params {
        initial_silence: never,
        greeting: never,
        after_greeting_silence: 800,
        total_analysis_time: never,
        maximum_number_of_words: u32::MAX,
        maximum_word_length: never,
        ..amd::Params::default()
    }
}
