//! A call on a virtual clock, and its effects as one line each.

use std::net::IpAddr;
use std::sync::Arc;

use kaphila_media::dtmf::DigitMethod;
use kaphila_media::quality::Quality;
use kaphila_media::record::Finished;
use kaphila_media::session::{self as media, MediaEvent};
use kaphila_sip::invite::{Ended as SipEnded, Failure, LegEvent};
use kaphila_sip::message::Uri;
use serde_json::Value;

use super::super::*;
use crate::call::api::{AmdMode, AmdRequest, PlaceOutcome, PlayTo, Prompt, RecordingChannels};
use crate::store::{Answered, Ended, Millis};

/// An answer that takes PCMU and telephone-events.
pub(super) const ANSWER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\n\
    t=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";
/// One that has nothing for us.
pub(super) const USELESS: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\n\
    t=0 0\r\nm=audio 4000 RTP/AVP 18\r\n";

const DIALOG: &str = "call-id: abc\nlocal: <sip:kaphila@192.0.2.1>;tag=1\n\
    remote: <sip:callee@192.0.2.9>;tag=2\ntarget: sip:callee@192.0.2.9\nlocal-cseq: 1\n\
    transport: UDP\naddress: 192.0.2.9:5060\n";

/// A call, its time, and what it has said.
pub(super) struct Ladder {
    pub(super) machine: Machine,
    start: Instant,
    now: Instant,
    said: Vec<String>,
    /// Every event's payload, in order.
    pub(super) events: Vec<Value>,
    pub(super) answered: Vec<Answered>,
    pub(super) ended: Vec<Ended>,
    replies: u64,
    placed: usize,
}

/// A plain call over two trunks, without recording and detector.
pub(super) fn setup() -> Setup {
    let trunk = |name: &str, host: &str| TrunkSetup {
        name: name.to_owned(),
        caller_id: None,
        media: IpAddr::from([192, 0, 2, 1]),
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        ways: 1,
        hosts: vec![host.to_owned()],
    };
    Setup {
        call_id: "1700000000.7".to_owned(),
        number: "14155550100".to_owned(),
        incoming: None,
        caller_id: Some("19172452367".to_owned()),
        webhook: true,
        metadata: None,
        amd: None,
        voice_name: "en-US-Neural2-A".to_owned(),
        ring_timeout: Duration::from_secs(30),
        record: false,
        channels: RecordingChannels::Mono,
        record_early_media: false,
        trunks: vec![trunk("a", "192.0.2.9"), trunk("b", "192.0.2.10")],
        total_trunks: 3,
        credits: 50,
        identity: Identity {
            call_id: "first".to_owned(),
            from_tag: "tag".to_owned(),
            branch: "z9hG4bKfirst".to_owned(),
            cseq: 1,
        },
        seed: [7; 32],
        media_port: 10_000,
        session_id: 4711,
        telephone_event: true,
        timing: Timing::default(),
        clock: Clock { at: Instant::now(), wall: Millis(1_700_000_000_000) },
    }
}

pub(super) fn with_amd(mode: AmdMode) -> Setup {
    let params = kaphila_media::amd::Params::default();
    Setup { amd: Some(AmdRequest { mode, params }), ..setup() }
}

/// A call from the first trunk, with this offer.
pub(super) fn incoming(offer: Option<&'static str>, answer: bool) -> Setup {
    let base = setup();
    let trunks = base.trunks.into_iter().take(1).collect();
    Setup {
        incoming: Some(IncomingSetup {
            number: "4930901820".to_owned(),
            answer,
            offer: offer.map(|sdp| bytes::Bytes::from_static(sdp.as_bytes())),
            dialog: DIALOG.to_owned(),
        }),
        caller_id: Some(base.number),
        ring_timeout: Duration::from_secs(60),
        trunks,
        ..setup()
    }
}

impl Ladder {
    /// The call before its first input.
    pub(super) fn new(setup: Setup) -> Self {
        let start = setup.clock.at;
        Self {
            machine: Machine::new(setup),
            start,
            now: start,
            said: Vec::new(),
            events: Vec::new(),
            answered: Vec::new(),
            ended: Vec::new(),
            replies: 0,
            placed: 0,
        }
    }

    /// Dialled.
    pub(super) fn dialled(setup: Setup) -> Self {
        let mut it = Self::new(setup);
        it.input(Input::Start);
        it.expect(&["dial 0 a"]);
        it
    }

    /// Dialled, rung and answered; what was said meanwhile is forgotten.
    pub(super) fn talking(setup: Setup) -> Self {
        let mut it = Self::dialled(setup);
        it.provisional(180);
        it.ok();
        it.said.clear();
        it
    }

    /// Goes to `ms` after the placing; timers on the way fire at their time.
    pub(super) fn at(&mut self, ms: u64) {
        let target = self.start + Duration::from_millis(ms);
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= target) {
            self.now = self.now.max(due);
            self.input(Input::Timeout);
        }
        self.now = target;
    }

    pub(super) fn input(&mut self, input: Input) {
        let effects = self.machine.handle(self.now, input);
        self.note(effects);
    }

    pub(super) fn crash(&mut self) {
        let effects = self.machine.crashed(self.now);
        self.note(effects);
    }

    pub(super) fn sip(&mut self, event: LegEvent) {
        let leg = self.machine.current().unwrap();
        self.input(Input::Sip(leg, event));
    }

    pub(super) fn provisional(&mut self, status: u16) {
        self.sip(LegEvent::Provisional { status, reason: String::new(), body: None });
    }

    pub(super) fn early(&mut self, sdp: &'static str) {
        let body = Some(kaphila_sip::invite::Body::sdp(sdp));
        self.sip(LegEvent::Provisional { status: 183, reason: String::new(), body });
    }

    pub(super) fn ok(&mut self) {
        self.ok_with(Some(ANSWER));
    }

    pub(super) fn ok_with(&mut self, sdp: Option<&'static str>) {
        let body = sdp.map(kaphila_sip::invite::Body::sdp);
        self.sip(LegEvent::Answered {
            status: 200,
            reason: "OK".to_owned(),
            body,
            dialog: Box::new(DIALOG.parse().unwrap()),
        });
    }

    pub(super) fn refused(&mut self, status: u16) {
        self.refused_with(status, None, None, &[]);
    }

    pub(super) fn refused_with(
        &mut self,
        status: u16,
        q850: Option<u8>,
        retry_after: Option<Duration>,
        contacts: &[&str],
    ) {
        let contacts = contacts.iter().map(|uri| Uri::parse(uri).unwrap()).collect();
        let reason = format!("Reason {status}");
        self.sip(LegEvent::Refused { status, reason, q850, retry_after, contacts });
    }

    pub(super) fn silence(&mut self) {
        self.sip(LegEvent::NoAnswer(Failure::Timeout));
    }

    pub(super) fn bye(&mut self) {
        self.sip(LegEvent::Ended(SipEnded::Far { q850: None }));
    }

    pub(super) fn digit(&mut self, digit: char) {
        let method = DigitMethod::Rfc4733;
        self.input(Input::Media(MediaEvent::Digit { digit, method, duration_ms: 20 }));
    }

    pub(super) fn played(&mut self, id: u64, ms: u64) {
        let id = media::PlaybackId(id);
        let event = MediaEvent::PlaybackFinished { id, played_ms: ms, completed: true };
        self.input(Input::Media(event));
    }

    pub(super) fn media_closed(&mut self) {
        self.input(Input::Media(MediaEvent::Closed(Quality {
            codec: Some(Codec::Pcmu),
            mos: Some(4.409),
            loss_percent: 0.0,
            jitter_ms: 1.26,
            rtt_ms: None,
            sent: 100,
            received: 99,
            far_loss_percent: None,
        })));
    }

    pub(super) fn recording_started(&mut self) {
        self.input(Input::Media(MediaEvent::RecordingStarted { path: "x.wav".into() }));
    }

    pub(super) fn recording_finished(&mut self) {
        self.input(Input::Media(MediaEvent::RecordingFinished(Finished {
            path: "x.wav".into(),
            bytes: 16_044,
            duration_ms: 1_000,
            channels: 1,
            partial: None,
        })));
    }

    pub(super) fn command(&mut self, command: Command) {
        self.replies += 1;
        self.input(Input::Command(ReplyId(self.replies), command));
    }

    pub(super) fn hang_up(&mut self) {
        self.command(Command::HangUp);
    }

    pub(super) fn say(&mut self, text: &str) {
        self.command(Command::Play(NewPlayback {
            prompt: Prompt::Text(text.to_owned()),
            audio: audio(),
            play_to: PlayTo::Bridge,
        }));
    }

    pub(super) fn play(&mut self, file: &str) {
        self.command(Command::Play(NewPlayback {
            prompt: Prompt::File(file.to_owned()),
            audio: audio(),
            play_to: PlayTo::Channel,
        }));
    }

    /// Forgets what has been said.
    pub(super) fn said_clear(&mut self) {
        self.said.clear();
    }

    /// How often `/makecall` was answered.
    pub(super) fn placed(&self) -> usize {
        self.placed
    }

    /// What has been said since the last expectation is exactly this.
    #[track_caller]
    pub(super) fn expect(&mut self, lines: &[&str]) {
        let said = std::mem::take(&mut self.said);
        assert_eq!(said, lines, "\n{}", self.machine.trace());
    }

    /// The last event of this name.
    #[track_caller]
    pub(super) fn event(&self, name: &str) -> &Value {
        self.events.iter().rev().find(|it| it["event"] == name).expect("no such event")
    }

    /// The names of all events so far.
    pub(super) fn event_names(&self) -> Vec<&str> {
        self.events.iter().map(|it| it["event"].as_str().unwrap()).collect()
    }

    fn note(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.placed += usize::from(matches!(effect, Effect::Placed(_)));
            let line = self.line(effect);
            self.said.push(line);
        }
    }

    fn line(&mut self, effect: Effect) -> String {
        let name = |trunk: usize| self.machine.setup.trunks[trunk].name.clone();
        match effect {
            Effect::Dial(dial) => {
                let way = match dial.to.way {
                    0 => String::new(),
                    way => format!(" way {way}"),
                };
                let to = dial.to.redirect.map(|uri| format!(" to {uri}")).unwrap_or_default();
                format!("dial {} {}{way}{to}", dial.leg.0, name(dial.to.trunk))
            }
            Effect::HangUp(leg, cause) => format!("hang up {} cause {cause}", leg.0),
            Effect::Ring(leg) => format!("ring {}", leg.0),
            Effect::Accept(leg, _) => format!("accept {}", leg.0),
            Effect::Refuse(leg, status) => format!("refuse {} {status}", leg.0),
            Effect::AnswerOffer(leg, Ok(_)) => format!("answer offer {} sdp", leg.0),
            Effect::AnswerOffer(leg, Err(status)) => format!("answer offer {} {status}", leg.0),
            Effect::Connect(leg, agreed) => {
                format!("connect {} {} {}", leg.0, agreed.send.name(), agreed.direction.name())
            }
            Effect::Media(media::Command::Play { id, .. }) => format!("play {}", id.0),
            Effect::Media(media::Command::StopPlayback(None)) => "stop all".to_owned(),
            Effect::Media(media::Command::StopPlayback(Some(id))) => format!("stop {}", id.0),
            Effect::Media(media::Command::InfoDigit { digit, duration_ms }) => {
                format!("info digit {digit} {duration_ms}")
            }
            Effect::Media(command) => {
                let text = format!("{command:?}");
                format!("media {}", text.split(['(', ' ']).next().unwrap())
            }
            Effect::Record(_, _) => "record".to_owned(),
            Effect::CloseMedia => "close media".to_owned(),
            Effect::Store(Write::Dialled(to, _)) => format!("row dialled {}", name(to.trunk)),
            Effect::Store(Write::Heard(amd)) => format!("row heard {}", amd.status),
            Effect::Store(Write::Answered(row)) => {
                self.answered.push(row);
                "row answered".to_owned()
            }
            Effect::Store(Write::Ended(row)) => {
                let line = format!(
                    "row {} {} {} by {}",
                    row.status, row.end_reason, row.hangup_cause, row.ended_by
                );
                self.ended.push(*row);
                line
            }
            Effect::Store(Write::Event(event)) => {
                let body: Value = serde_json::from_str(&event.payload).unwrap();
                assert_eq!(body["sequenceNumber"], event.sequence);
                assert_eq!(event.sequence, self.events.len() as i64 + 2, "no gaps");
                self.events.push(body);
                event.event
            }
            Effect::Store(Write::RecordingStarted(_)) => "row recording started".to_owned(),
            Effect::Store(Write::RecordingFinished(_)) => "row recording finished".to_owned(),
            Effect::Placed(PlaceOutcome::Placed(placed)) => {
                format!("placed {} {} {}", placed.status, placed.trunk, placed.trunk_attempts)
            }
            Effect::Placed(PlaceOutcome::Failed { attempted_trunks, .. }) => {
                format!("origination failed {}", attempted_trunks.join(" "))
            }
            Effect::Reply(_, Ok(reply)) => match reply {
                Reply::Done => "reply done".to_owned(),
                Reply::Playing(it) if it.queued => "reply queued".to_owned(),
                Reply::Playing(_) => "reply playing".to_owned(),
                Reply::Stopped(count) => format!("reply stopped {count}"),
                Reply::Recording(_) => "reply recording".to_owned(),
                Reply::Trace(_) => "reply trace".to_owned(),
            },
            Effect::Reply(_, Err(error)) => format!("reply {error:?}"),
            Effect::RestTrunk(trunk, rest) => format!("rest {} {}", name(trunk), rest.as_secs()),
            Effect::Unauthorized(trunk) => format!("unauthorized {}", name(trunk)),
            Effect::Ended => "ended".to_owned(),
        }
    }
}

/// A second of silence.
pub(super) fn audio() -> Arc<[i16]> {
    Arc::from(vec![0; 8_000])
}
