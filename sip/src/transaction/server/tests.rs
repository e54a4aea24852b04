//! Every cell of the machine, then its timer left alone.

use std::time::Instant;

use super::super::testing::*;
use super::*;

#[rustfmt::skip]
const CELLS: &[Cell] = &[
    ("Trying", "Request",         "17.2.2",   "absorbed",   "Trying",     "-",        "-",       "-"),
    ("Trying", "1xx from TU",     "17.2.2",   "taken",      "Proceeding", "send 100", "-",       "-"),
    ("Trying", "200-699 from TU", "17.2.2",   "taken",      "Completed",  "send 200", "J+32000", "J+0"),
    ("Trying", "Timer J fires",   "no arrow", "unexpected", "Trying",     "-",        "-",       "-"),
    ("Trying", "Transport Err.",  "no arrow", "unexpected", "Trying",     "-",        "-",       "-"),

    ("Proceeding", "Request",         "17.2.2",   "absorbed",   "Proceeding", "again 100",               "-",       "-"),
    ("Proceeding", "1xx from TU",     "17.2.2",   "taken",      "Proceeding", "send 100",                "-",       "-"),
    ("Proceeding", "200-699 from TU", "17.2.2",   "taken",      "Completed",  "send 200",                "J+32000", "J+0"),
    ("Proceeding", "Timer J fires",   "no arrow", "unexpected", "Proceeding", "-",                       "-",       "-"),
    ("Proceeding", "Transport Err.",  "17.2.4",   "taken",      "Terminated", "error to TU, terminated", "-",       "-"),

    ("Completed", "Request",         "17.2.2",   "absorbed",   "Completed",  "again 200",               "J+32000", "J+0"),
    ("Completed", "1xx from TU",     "no arrow", "unexpected", "Completed",  "-",                       "J+32000", "J+0"),
    ("Completed", "200-699 from TU", "17.2.2",   "unexpected", "Completed",  "-",                       "J+32000", "J+0"),
    ("Completed", "Timer J fires",   "17.2.2",   "taken",      "Terminated", "terminated",              "-",       "-"),
    ("Completed", "Transport Err.",  "17.2.4",   "taken",      "Terminated", "error to TU, terminated", "-",       "-"),

    ("Terminated", "Request",         "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "1xx from TU",     "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "200-699 from TU", "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer J fires",   "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Transport Err.",  "no arrow", "unexpected", "Terminated", "-", "-", "-"),
];

const STATES: [&str; 4] = ["Trying", "Proceeding", "Completed", "Terminated"];

fn events() -> Vec<Event> {
    let bye = request("BYE");
    vec![
        Event::Request,
        Event::Provisional(response(&bye, 100).to_bytes()),
        Event::Final(response(&bye, 200).to_bytes()),
        Event::Fires(Timer::J),
        Event::TransportError,
    ]
}

fn machine_in(state: &str, now: Instant, reliable: bool) -> ServerNonInvite {
    let mut machine = ServerNonInvite::new(reliable, &TimerConfig::default());
    let status = match state {
        "Trying" => None,
        "Proceeding" => Some(100),
        _ => Some(200),
    };
    let mut out = Vec::new();
    if let Some(status) = status {
        let response = response(&request("BYE"), status);
        assert_eq!(machine.respond(now, &response, &mut out), Outcome::Taken);
    }
    if state == "Terminated" {
        machine.handle_timeout(now + MS(32_000), &mut out);
    }
    assert_eq!(machine.state(), state);
    machine
}

#[test]
fn every_cell() {
    let now = origin();
    let names: Vec<_> = events().iter().map(Event::name).collect();
    assert_every_cell(CELLS, &STATES, &names, |state, name, reliable| {
        let mut machine = machine_in(state, now, reliable);
        let mut events = events().into_iter();
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
    assert_eq!(CELLS.len(), 20);
}

#[test]
fn timer_j_is_64_t1_or_nothing() {
    let start = origin();
    for (reliable, ms) in [(UNRELIABLE, 32_000), (RELIABLE, 0)] {
        let mut machine = machine_in("Completed", start, reliable);
        let rows = schedule(start, |now, out| {
            if let Some(now) = now {
                machine.handle_timeout(now, out);
            }
            machine.poll_timeout()
        });
        assert_eq!(rows, [(ms, "terminated".to_owned())]);
    }
}
