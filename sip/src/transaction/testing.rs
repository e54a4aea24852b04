//! What the tables of the four machines share: an INVITE, its answers, and the reading of actions.

use std::time::{Duration, Instant};

use super::core::Core;
use super::{Action, Outcome};
use crate::message::{Message, Request, Response};
use crate::timer::Timer;
use crate::wire;

/// State, event, section: outcome, next state, actions, timers then running with the ms they have
/// left on unreliable and on reliable transports. `n/a`: the timer does not run there.
pub(super) type Cell = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

/// What a machine did with one event.
pub(super) struct Got {
    /// The event is a timer and it was running.
    pub(super) was_set: bool,
    pub(super) outcome: Outcome,
    pub(super) state: &'static str,
    pub(super) actions: Vec<Action>,
    pub(super) timers: String,
}

/// Runs each cell on both kinds of transport; every state must meet every event once.
pub(super) fn assert_every_cell(
    cells: &[Cell],
    states: &[&str],
    events: &[&str],
    run: impl Fn(&str, &str, bool) -> Got,
) {
    for state in states {
        for event in events {
            let rows = cells.iter().filter(|cell| (cell.0, cell.1) == (*state, *event)).count();
            assert_eq!(rows, 1, "rows of {state} x {event}");
        }
    }
    assert_eq!(cells.len(), states.len() * events.len());
    for (state, event, section, outcome, next, actions, udp, tcp) in cells {
        for (reliable, timers) in [(UNRELIABLE, udp), (RELIABLE, tcp)] {
            let cell = format!("{state} x {event} ({section}), reliable: {reliable}");
            let got = run(state, event, reliable);
            if *timers == "n/a" {
                assert!(!got.was_set, "{cell}: the timer runs");
                continue;
            }
            assert_eq!(verdict(got.outcome), *outcome, "{cell}: outcome");
            assert_eq!(got.state, *next, "{cell}: next state");
            assert_eq!(read(&got.actions), *actions, "{cell}: actions");
            assert_eq!(got.timers, *timers, "{cell}: timers");
        }
    }
}

/// Either kind of transport, as a column of the tables.
pub(super) const UNRELIABLE: bool = false;
pub(super) const RELIABLE: bool = true;

pub(super) fn request(method: &str) -> Request {
    let text = format!(
        "{method} sip:bob@192.0.2.4 SIP/2.0\r\n\
         Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds\r\n\
         Max-Forwards: 69\r\n\
         Route: <sip:p1.example;lr>, <sip:p2.example;lr>\r\n\
         To: <sip:bob@biloxi.com>\r\n\
         From: Alice <sip:alice@atlanta.com>;tag=1928301774\r\n\
         Call-ID: a84b4c76e66710\r\n\
         CSeq: 314159 {method}\r\n\
         Require: 100rel\r\n\
         Proxy-Require: sec\r\n\
         Content-Length: 0\r\n\r\n"
    );
    parse(&text)
}

pub(super) fn parse(text: &str) -> Request {
    match wire::parse_datagram(text.as_bytes()) {
        Ok(wire::Input::Message(Message::Request(request))) => request,
        other => panic!("not a request: {other:?}"),
    }
}

pub(super) fn response(request: &Request, status: u16) -> Response {
    let mut response = Response::to_request(request, status, "Because");
    response.set_to_tag(&format!("t{status}"));
    response
}

/// The actions as a line: `send INVITE, again ACK, 180 to TU, timeout to TU, terminated`.
pub(super) fn read(actions: &[Action]) -> String {
    let words: Vec<String> = actions.iter().map(word).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn word(action: &Action) -> String {
    match action {
        Action::Send { data, retransmission } => {
            let text = String::from_utf8_lossy(data);
            let text = text.trim_start_matches("SIP/2.0 ");
            let what = text.split(' ').next().unwrap();
            format!("{} {what}", if *retransmission { "again" } else { "send" })
        }
        Action::Response(response) => format!("{} to TU", response.status),
        Action::Ack(_) => "ACK to TU".to_owned(),
        Action::Timeout => "timeout to TU".to_owned(),
        Action::TransportError => "error to TU".to_owned(),
        Action::Terminated => "terminated".to_owned(),
    }
}

/// The timers that run, with the milliseconds they have left: `A+500 B+32000`.
pub(super) fn running(core: &Core, now: Instant) -> String {
    use Timer::*;
    let names = [
        (A, "A"),
        (B, "B"),
        (D, "D"),
        (E, "E"),
        (F, "F"),
        (G, "G"),
        (H, "H"),
        (I, "I"),
        (J, "J"),
        (K, "K"),
        (L, "L"),
        (M, "M"),
        (Trying, "100"),
    ];
    let left = |(timer, name): &(Timer, &str)| {
        let at = core.timers.due(*timer)?;
        Some(format!("{name}+{}", (at - now).as_millis()))
    };
    let words: Vec<String> = names.iter().filter_map(left).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(" ") }
}

fn verdict(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Taken => "taken",
        Outcome::Retransmission => "absorbed",
        Outcome::Unexpected(_) => "unexpected",
    }
}

/// The rows of a schedule, written short.
pub(super) fn rows(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
    expected.iter().map(|(ms, what)| (*ms, (*what).to_owned())).collect()
}

/// Lets a machine alone: at each wake-up the milliseconds since the start and what it did.
pub(super) fn schedule(
    start: Instant,
    mut wake: impl FnMut(Option<Instant>, &mut Vec<Action>) -> Option<Instant>,
) -> Vec<(u64, String)> {
    let mut rows = Vec::new();
    let mut due = wake(None, &mut Vec::new());
    while let Some(at) = due {
        let mut out = Vec::new();
        due = wake(Some(at), &mut out);
        rows.push(((at - start).as_millis() as u64, read(&out)));
        assert!(rows.len() < 100, "it never ends: {rows:?}");
    }
    rows
}

pub(super) const MS: fn(u64) -> Duration = Duration::from_millis;

/// Where the virtual clock begins.
#[allow(clippy::disallowed_methods, reason = "an Instant can be had nowhere else")]
pub(super) fn origin() -> Instant {
    Instant::now()
}
