//! Every cell of the machine, then its timers left alone.

use std::time::Instant;

use super::super::testing::*;
use super::*;

#[rustfmt::skip]
const CELLS: &[Cell] = &[
    ("Trying", "1xx",            "17.1.2.2", "taken",      "Proceeding", "100 to TU",                 "E+500 F+32000",  "F+32000"),
    ("Trying", "200-699",        "17.1.2.2", "taken",      "Completed",  "200 to TU",                 "K+5000",         "K+0"),
    ("Trying", "Timer E fires",  "17.1.2.2", "taken",      "Trying",     "again OPTIONS",             "E+1000 F+32000", "n/a"),
    ("Trying", "Timer F fires",  "17.1.2.2", "taken",      "Terminated", "timeout to TU, terminated", "-",              "-"),
    ("Trying", "Timer K fires",  "no arrow", "unexpected", "Trying",     "-",                         "E+500 F+32000",  "F+32000"),
    ("Trying", "Transport Err.", "17.1.4",   "taken",      "Terminated", "error to TU, terminated",   "-",              "-"),

    ("Proceeding", "1xx",            "17.1.2.2", "taken",      "Proceeding", "100 to TU",                 "E+500 F+32000",  "F+32000"),
    ("Proceeding", "200-699",        "17.1.2.2", "taken",      "Completed",  "200 to TU",                 "K+5000",         "K+0"),
    ("Proceeding", "Timer E fires",  "17.1.2.2", "taken",      "Proceeding", "again OPTIONS",             "E+4000 F+32000", "n/a"),
    ("Proceeding", "Timer F fires",  "17.1.2.2", "taken",      "Terminated", "timeout to TU, terminated", "-",              "-"),
    ("Proceeding", "Timer K fires",  "no arrow", "unexpected", "Proceeding", "-",                         "E+500 F+32000",  "F+32000"),
    ("Proceeding", "Transport Err.", "17.1.4",   "taken",      "Terminated", "error to TU, terminated",   "-",              "-"),

    ("Completed", "1xx",            "17.1.2.2", "absorbed",   "Completed",  "-",          "K+5000", "K+0"),
    ("Completed", "200-699",        "17.1.2.2", "absorbed",   "Completed",  "-",          "K+5000", "K+0"),
    ("Completed", "Timer E fires",  "no arrow", "unexpected", "Completed",  "-",          "K+5000", "K+0"),
    ("Completed", "Timer F fires",  "no arrow", "unexpected", "Completed",  "-",          "K+5000", "K+0"),
    ("Completed", "Timer K fires",  "17.1.2.2", "taken",      "Terminated", "terminated", "-",      "-"),
    ("Completed", "Transport Err.", "no arrow", "unexpected", "Completed",  "-",          "K+5000", "K+0"),

    ("Terminated", "1xx",            "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "200-699",        "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer E fires",  "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer F fires",  "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer K fires",  "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Transport Err.", "no arrow", "unexpected", "Terminated", "-", "-", "-"),
];

const STATES: [&str; 4] = ["Trying", "Proceeding", "Completed", "Terminated"];

fn events(options: &Request) -> Vec<Event> {
    vec![
        Event::Provisional(response(options, 100)),
        Event::Final(response(options, 200)),
        Event::Fires(Timer::E),
        Event::Fires(Timer::F),
        Event::Fires(Timer::K),
        Event::TransportError,
    ]
}

fn trying(now: Instant, reliable: bool) -> ClientNonInvite {
    let mut out = Vec::new();
    let config = TimerConfig::default();
    let machine = ClientNonInvite::new(now, request("OPTIONS"), reliable, &config, &mut out);
    assert_eq!(read(&out), "send OPTIONS");
    machine
}

fn machine_in(state: &str, now: Instant, reliable: bool) -> ClientNonInvite {
    let mut machine = trying(now, reliable);
    let status = match state {
        "Trying" => None,
        "Proceeding" => Some(100),
        _ => Some(200),
    };
    if let Some(status) = status {
        let response = response(machine.request(), status);
        let _ = machine.handle_response(now, response, &mut Vec::new());
    }
    if state == "Terminated" {
        machine.handle_timeout(now + MS(5_000), &mut Vec::new());
    }
    assert_eq!(machine.state(), state);
    machine
}

#[test]
fn every_cell() {
    let now = origin();
    let names: Vec<_> = events(&request("OPTIONS")).iter().map(Event::name).collect();
    assert_every_cell(CELLS, &STATES, &names, |state, name, reliable| {
        let mut machine = machine_in(state, now, reliable);
        let mut events = events(&request("OPTIONS")).into_iter();
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
    assert_eq!(CELLS.len(), 24);
}

fn alone(mut machine: ClientNonInvite, start: Instant) -> Vec<(u64, String)> {
    schedule(start, |now, out| {
        if let Some(now) = now {
            machine.handle_timeout(now, out);
        }
        machine.poll_timeout()
    })
}

#[test]
fn timer_e_doubles_up_to_t2_until_timer_f() {
    let start = origin();
    let expected = rows(&[
        (500, "again OPTIONS"),
        (1_500, "again OPTIONS"),
        (3_500, "again OPTIONS"),
        (7_500, "again OPTIONS"),
        (11_500, "again OPTIONS"),
        (15_500, "again OPTIONS"),
        (19_500, "again OPTIONS"),
        (23_500, "again OPTIONS"),
        (27_500, "again OPTIONS"),
        (31_500, "again OPTIONS"),
        (32_000, "timeout to TU, terminated"),
    ]);
    assert_eq!(alone(trying(start, UNRELIABLE), start), expected);
    let expected = rows(&[(32_000, "timeout to TU, terminated")]);
    assert_eq!(alone(trying(start, RELIABLE), start), expected);
}

#[test]
fn after_a_provisional_timer_e_is_t2_and_timer_f_runs_on() {
    let start = origin();
    let expected = rows(&[
        (500, "again OPTIONS"),
        (4_500, "again OPTIONS"),
        (8_500, "again OPTIONS"),
        (12_500, "again OPTIONS"),
        (16_500, "again OPTIONS"),
        (20_500, "again OPTIONS"),
        (24_500, "again OPTIONS"),
        (28_500, "again OPTIONS"),
        (32_000, "timeout to TU, terminated"),
    ]);
    assert_eq!(alone(machine_in("Proceeding", start, UNRELIABLE), start), expected);
}

#[test]
fn timer_k_is_t4_or_nothing() {
    let start = origin();
    for (reliable, ms) in [(UNRELIABLE, 5_000), (RELIABLE, 0)] {
        let machine = machine_in("Completed", start, reliable);
        assert_eq!(alone(machine, start), rows(&[(ms, "terminated")]));
    }
}
