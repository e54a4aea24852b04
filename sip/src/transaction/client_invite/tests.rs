//! Every cell of the machine, then its timers left alone.

use std::time::Instant;

use super::super::testing::*;
use super::*;

#[rustfmt::skip]
const CELLS: &[Cell] = &[
    ("Calling", "1xx",            "17.1.1.2", "taken",      "Proceeding", "180 to TU",             "-",              "-"),
    ("Calling", "2xx",            "6026 7.2", "taken",      "Accepted",   "200 to TU",             "M+32000",        "M+32000"),
    ("Calling", "300-699",        "17.1.1.2", "taken",      "Completed",  "send ACK, 486 to TU",   "D+32000",        "D+0"),
    ("Calling", "Timer A fires",  "17.1.1.2", "taken",      "Calling",    "again INVITE",          "A+1000 B+32000", "n/a"),
    ("Calling", "Timer B fires",  "17.1.1.2", "taken",      "Terminated", "timeout to TU, terminated", "-",          "-"),
    ("Calling", "Timer D fires",  "no arrow", "unexpected", "Calling",    "-",                     "A+500 B+32000",  "B+32000"),
    ("Calling", "Timer M fires",  "no arrow", "unexpected", "Calling",    "-",                     "A+500 B+32000",  "B+32000"),
    ("Calling", "Transport Err.", "17.1.4",   "taken",      "Terminated", "error to TU, terminated", "-",            "-"),

    ("Proceeding", "1xx",            "17.1.1.2", "taken",      "Proceeding", "180 to TU",           "-",       "-"),
    ("Proceeding", "2xx",            "6026 7.2", "taken",      "Accepted",   "200 to TU",           "M+32000", "M+32000"),
    ("Proceeding", "300-699",        "17.1.1.2", "taken",      "Completed",  "send ACK, 486 to TU", "D+32000", "D+0"),
    ("Proceeding", "Timer A fires",  "no arrow", "unexpected", "Proceeding", "-",                   "-",       "-"),
    ("Proceeding", "Timer B fires",  "no arrow", "unexpected", "Proceeding", "-",                   "-",       "-"),
    ("Proceeding", "Timer D fires",  "no arrow", "unexpected", "Proceeding", "-",                   "-",       "-"),
    ("Proceeding", "Timer M fires",  "no arrow", "unexpected", "Proceeding", "-",                   "-",       "-"),
    ("Proceeding", "Transport Err.", "no arrow", "unexpected", "Proceeding", "-",                   "-",       "-"),

    ("Completed", "1xx",            "no arrow", "unexpected", "Completed",  "-",                       "D+32000", "D+0"),
    ("Completed", "2xx",            "no arrow", "unexpected", "Completed",  "-",                       "D+32000", "D+0"),
    ("Completed", "300-699",        "17.1.1.2", "absorbed",   "Completed",  "again ACK",               "D+32000", "D+0"),
    ("Completed", "Timer A fires",  "no arrow", "unexpected", "Completed",  "-",                       "D+32000", "D+0"),
    ("Completed", "Timer B fires",  "no arrow", "unexpected", "Completed",  "-",                       "D+32000", "D+0"),
    ("Completed", "Timer D fires",  "17.1.1.2", "taken",      "Terminated", "terminated",              "-",       "-"),
    ("Completed", "Timer M fires",  "no arrow", "unexpected", "Completed",  "-",                       "D+32000", "D+0"),
    ("Completed", "Transport Err.", "17.1.1.2", "taken",      "Terminated", "error to TU, terminated", "-",       "-"),

    ("Accepted", "1xx",            "no arrow", "unexpected", "Accepted",   "-",          "M+32000", "M+32000"),
    ("Accepted", "2xx",            "6026 7.2", "taken",      "Accepted",   "200 to TU",  "M+32000", "M+32000"),
    ("Accepted", "300-699",        "no arrow", "unexpected", "Accepted",   "-",          "M+32000", "M+32000"),
    ("Accepted", "Timer A fires",  "no arrow", "unexpected", "Accepted",   "-",          "M+32000", "M+32000"),
    ("Accepted", "Timer B fires",  "no arrow", "unexpected", "Accepted",   "-",          "M+32000", "M+32000"),
    ("Accepted", "Timer D fires",  "no arrow", "unexpected", "Accepted",   "-",          "M+32000", "M+32000"),
    ("Accepted", "Timer M fires",  "6026 7.2", "taken",      "Terminated", "terminated", "-",       "-"),
    ("Accepted", "Transport Err.", "no arrow", "unexpected", "Accepted",   "-",          "M+32000", "M+32000"),

    ("Terminated", "1xx",            "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "2xx",            "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "300-699",        "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer A fires",  "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer B fires",  "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer D fires",  "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer M fires",  "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Transport Err.", "no arrow", "unexpected", "Terminated", "-", "-", "-"),
];

const STATES: [&str; 5] = ["Calling", "Proceeding", "Completed", "Accepted", "Terminated"];

fn events(invite: &Request) -> Vec<Event> {
    vec![
        Event::Provisional(response(invite, 180)),
        Event::Success(response(invite, 200)),
        Event::Failure(response(invite, 486)),
        Event::Fires(Timer::A),
        Event::Fires(Timer::B),
        Event::Fires(Timer::D),
        Event::Fires(Timer::M),
        Event::TransportError,
    ]
}

fn calling(now: Instant, reliable: bool, timer_b: Duration) -> ClientInvite {
    let mut out = Vec::new();
    let config = TimerConfig::default();
    let machine = ClientInvite::new(now, request("INVITE"), reliable, &config, timer_b, &mut out);
    assert_eq!(read(&out), "send INVITE");
    machine
}

fn machine_in(state: &str, now: Instant, reliable: bool) -> ClientInvite {
    let mut machine = calling(now, reliable, MS(32_000));
    let status = match state {
        "Calling" => None,
        "Proceeding" => Some(180),
        "Completed" => Some(486),
        _ => Some(200),
    };
    if let Some(status) = status {
        let response = response(machine.request(), status);
        let _ = machine.handle_response(now, response, &mut Vec::new());
    }
    if state == "Terminated" {
        machine.handle_timeout(now + MS(32_000), &mut Vec::new());
    }
    assert_eq!(machine.state(), state);
    machine
}

#[test]
fn every_cell() {
    let now = origin();
    let names: Vec<_> = events(&request("INVITE")).iter().map(Event::name).collect();
    assert_every_cell(CELLS, &STATES, &names, |state, name, reliable| {
        let mut machine = machine_in(state, now, reliable);
        let mut events = events(&request("INVITE")).into_iter();
        let event = events.find(|event| event.name() == name).unwrap();
        let mut was_set = false;
        if let Event::Fires(timer) = event {
            was_set = machine.core.timers.due(timer).is_some();
            machine.core.timers.stop(timer);
        }
        let mut actions = Vec::new();
        let outcome = machine.handle(now, event, &mut actions);
        let timers = running(&machine.core, now);
        Got { was_set, outcome, state: machine.state(), actions, timers }
    });
    assert_eq!(CELLS.len(), 40);
}

#[test]
fn an_unexpected_event_is_named() {
    let now = origin();
    let mut machine = machine_in("Accepted", now, UNRELIABLE);
    let late = response(machine.request(), 486);
    assert_eq!(
        machine.handle_response(now, late, &mut Vec::new()),
        Outcome::Unexpected(super::super::Unexpected {
            machine: "client_invite",
            state: "Accepted",
            event: "300-699",
        })
    );
}

fn alone(mut machine: ClientInvite, start: Instant) -> Vec<(u64, String)> {
    schedule(start, |now, out| {
        if let Some(now) = now {
            machine.handle_timeout(now, out);
        }
        machine.poll_timeout()
    })
}

#[test]
fn timer_a_doubles_until_timer_b() {
    let start = origin();
    let expected = rows(&[
        (500, "again INVITE"),
        (1_500, "again INVITE"),
        (3_500, "again INVITE"),
        (7_500, "again INVITE"),
        (15_500, "again INVITE"),
        (31_500, "again INVITE"),
        (32_000, "timeout to TU, terminated"),
    ]);
    assert_eq!(alone(calling(start, UNRELIABLE, MS(32_000)), start), expected);
    let expected = rows(&[(32_000, "timeout to TU, terminated")]);
    assert_eq!(alone(calling(start, RELIABLE, MS(32_000)), start), expected);
}

#[test]
fn a_shortened_timer_b_ends_the_attempt_early_and_a_provisional_stops_it() {
    let start = origin();
    let expected = rows(&[
        (500, "again INVITE"),
        (1_500, "again INVITE"),
        (3_500, "again INVITE"),
        (4_000, "timeout to TU, terminated"),
    ]);
    assert_eq!(alone(calling(start, UNRELIABLE, MS(4_000)), start), expected);

    let mut machine = calling(start, UNRELIABLE, MS(4_000));
    let trying = response(machine.request(), 100);
    assert_eq!(machine.handle_response(start, trying, &mut Vec::new()), Outcome::Taken);
    assert_eq!(alone(machine, start), []);
}

#[test]
fn timer_d_is_32_s_or_nothing_and_timer_m_32_s_on_any_transport() {
    let start = origin();
    for (state, reliable, ms) in [
        ("Completed", UNRELIABLE, 32_000),
        ("Completed", RELIABLE, 0),
        ("Accepted", UNRELIABLE, 32_000),
        ("Accepted", RELIABLE, 32_000),
    ] {
        let machine = machine_in(state, start, reliable);
        assert_eq!(alone(machine, start), rows(&[(ms, "terminated")]), "{state} {reliable}");
    }
}

#[test]
fn a_late_wake_up_sends_one_retransmission_not_a_burst() {
    let start = origin();
    let mut machine = calling(start, UNRELIABLE, MS(32_000));
    let mut out = Vec::new();
    machine.handle_timeout(start + MS(20_000), &mut out);
    assert_eq!(read(&out), "again INVITE");
    assert_eq!(machine.poll_timeout(), Some(start + MS(21_000)));
}
