//! Every cell of the machine, then its timers left alone.

use std::time::Instant;

use super::super::testing::*;
use super::*;

/// `Proceeding` is the state before the TU has said anything, `Proceeding/180` after its 180.
#[rustfmt::skip]
const CELLS: &[Cell] = &[
    ("Proceeding", "INVITE",          "17.2.1",   "absorbed",   "Proceeding", "-",           "100+200",       "100+200"),
    ("Proceeding", "ACK",             "no arrow", "unexpected", "Proceeding", "-",           "100+200",       "100+200"),
    ("Proceeding", "1xx from TU",     "17.2.1",   "taken",      "Proceeding", "send 180",    "-",             "-"),
    ("Proceeding", "2xx from TU",     "6026 7.1", "taken",      "Accepted",   "send 200",    "L+32000",       "L+32000"),
    ("Proceeding", "300-699 from TU", "17.2.1",   "taken",      "Completed",  "send 486",    "G+500 H+32000", "H+32000"),
    ("Proceeding", "200 ms pass",     "17.2.1",   "taken",      "Proceeding", "send 100",    "-",             "-"),
    ("Proceeding", "Timer G fires",   "no arrow", "unexpected", "Proceeding", "-",           "100+200",       "100+200"),
    ("Proceeding", "Timer H fires",   "no arrow", "unexpected", "Proceeding", "-",           "100+200",       "100+200"),
    ("Proceeding", "Timer I fires",   "no arrow", "unexpected", "Proceeding", "-",           "100+200",       "100+200"),
    ("Proceeding", "Timer L fires",   "no arrow", "unexpected", "Proceeding", "-",           "100+200",       "100+200"),
    ("Proceeding", "Transport Err.",  "6026 7.1", "taken",      "Proceeding", "error to TU", "100+200",       "100+200"),

    ("Proceeding/180", "INVITE",          "17.2.1",   "absorbed",   "Proceeding", "again 180",   "-",             "-"),
    ("Proceeding/180", "ACK",             "no arrow", "unexpected", "Proceeding", "-",           "-",             "-"),
    ("Proceeding/180", "1xx from TU",     "17.2.1",   "taken",      "Proceeding", "send 180",    "-",             "-"),
    ("Proceeding/180", "2xx from TU",     "6026 7.1", "taken",      "Accepted",   "send 200",    "L+32000",       "L+32000"),
    ("Proceeding/180", "300-699 from TU", "17.2.1",   "taken",      "Completed",  "send 486",    "G+500 H+32000", "H+32000"),
    ("Proceeding/180", "200 ms pass",     "n/a",      "taken",      "n/a",        "n/a",         "n/a",           "n/a"),
    ("Proceeding/180", "Timer G fires",   "no arrow", "unexpected", "Proceeding", "-",           "-",             "-"),
    ("Proceeding/180", "Timer H fires",   "no arrow", "unexpected", "Proceeding", "-",           "-",             "-"),
    ("Proceeding/180", "Timer I fires",   "no arrow", "unexpected", "Proceeding", "-",           "-",             "-"),
    ("Proceeding/180", "Timer L fires",   "no arrow", "unexpected", "Proceeding", "-",           "-",             "-"),
    ("Proceeding/180", "Transport Err.",  "6026 7.1", "taken",      "Proceeding", "error to TU", "-",             "-"),

    ("Completed", "INVITE",          "17.2.1",   "absorbed",   "Completed",  "again 486",   "G+500 H+32000",  "H+32000"),
    ("Completed", "ACK",             "17.2.1",   "taken",      "Confirmed",  "-",           "I+5000",         "I+0"),
    ("Completed", "1xx from TU",     "no arrow", "unexpected", "Completed",  "-",           "G+500 H+32000",  "H+32000"),
    ("Completed", "2xx from TU",     "no arrow", "unexpected", "Completed",  "-",           "G+500 H+32000",  "H+32000"),
    ("Completed", "300-699 from TU", "17.2.1",   "unexpected", "Completed",  "-",           "G+500 H+32000",  "H+32000"),
    ("Completed", "200 ms pass",     "no arrow", "unexpected", "Completed",  "-",           "G+500 H+32000",  "H+32000"),
    ("Completed", "Timer G fires",   "17.2.1",   "taken",      "Completed",  "again 486",   "G+1000 H+32000", "n/a"),
    ("Completed", "Timer H fires",   "17.2.1",   "taken",      "Terminated", "timeout to TU, terminated", "-", "-"),
    ("Completed", "Timer I fires",   "no arrow", "unexpected", "Completed",  "-",           "G+500 H+32000",  "H+32000"),
    ("Completed", "Timer L fires",   "no arrow", "unexpected", "Completed",  "-",           "G+500 H+32000",  "H+32000"),
    ("Completed", "Transport Err.",  "6026 7.1", "taken",      "Completed",  "error to TU", "G+500 H+32000",  "H+32000"),

    ("Confirmed", "INVITE",          "no arrow", "unexpected", "Confirmed",  "-",          "I+5000", "I+0"),
    ("Confirmed", "ACK",             "17.2.1",   "absorbed",   "Confirmed",  "-",          "I+5000", "I+0"),
    ("Confirmed", "1xx from TU",     "no arrow", "unexpected", "Confirmed",  "-",          "I+5000", "I+0"),
    ("Confirmed", "2xx from TU",     "no arrow", "unexpected", "Confirmed",  "-",          "I+5000", "I+0"),
    ("Confirmed", "300-699 from TU", "no arrow", "unexpected", "Confirmed",  "-",          "I+5000", "I+0"),
    ("Confirmed", "200 ms pass",     "no arrow", "unexpected", "Confirmed",  "-",          "I+5000", "I+0"),
    ("Confirmed", "Timer G fires",   "no arrow", "unexpected", "Confirmed",  "-",          "I+5000", "I+0"),
    ("Confirmed", "Timer H fires",   "no arrow", "unexpected", "Confirmed",  "-",          "I+5000", "I+0"),
    ("Confirmed", "Timer I fires",   "17.2.1",   "taken",      "Terminated", "terminated", "-",      "-"),
    ("Confirmed", "Timer L fires",   "no arrow", "unexpected", "Confirmed",  "-",          "I+5000", "I+0"),
    ("Confirmed", "Transport Err.",  "no arrow", "unexpected", "Confirmed",  "-",          "I+5000", "I+0"),

    ("Accepted", "INVITE",          "6026 7.1", "absorbed",   "Accepted",   "-",           "L+32000", "L+32000"),
    ("Accepted", "ACK",             "6026 7.1", "taken",      "Accepted",   "ACK to TU",   "L+32000", "L+32000"),
    ("Accepted", "1xx from TU",     "no arrow", "unexpected", "Accepted",   "-",           "L+32000", "L+32000"),
    ("Accepted", "2xx from TU",     "6026 7.1", "taken",      "Accepted",   "again 200",   "L+32000", "L+32000"),
    ("Accepted", "300-699 from TU", "no arrow", "unexpected", "Accepted",   "-",           "L+32000", "L+32000"),
    ("Accepted", "200 ms pass",     "no arrow", "unexpected", "Accepted",   "-",           "L+32000", "L+32000"),
    ("Accepted", "Timer G fires",   "no arrow", "unexpected", "Accepted",   "-",           "L+32000", "L+32000"),
    ("Accepted", "Timer H fires",   "no arrow", "unexpected", "Accepted",   "-",           "L+32000", "L+32000"),
    ("Accepted", "Timer I fires",   "no arrow", "unexpected", "Accepted",   "-",           "L+32000", "L+32000"),
    ("Accepted", "Timer L fires",   "6026 7.1", "taken",      "Terminated", "terminated",  "-",       "-"),
    ("Accepted", "Transport Err.",  "6026 7.1", "taken",      "Accepted",   "error to TU", "L+32000", "L+32000"),

    ("Terminated", "INVITE",          "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "ACK",             "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "1xx from TU",     "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "2xx from TU",     "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "300-699 from TU", "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "200 ms pass",     "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer G fires",   "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer H fires",   "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer I fires",   "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Timer L fires",   "no arrow", "unexpected", "Terminated", "-", "-", "-"),
    ("Terminated", "Transport Err.",  "no arrow", "unexpected", "Terminated", "-", "-", "-"),
];

const STATES: [&str; 6] =
    ["Proceeding", "Proceeding/180", "Completed", "Confirmed", "Accepted", "Terminated"];

fn events(invite: &Request) -> Vec<Event> {
    vec![
        Event::Invite,
        Event::Ack(request("ACK")),
        Event::Provisional(response(invite, 180).to_bytes()),
        Event::Success(response(invite, 200).to_bytes()),
        Event::Failure(response(invite, 486).to_bytes()),
        Event::Fires(Timer::Trying),
        Event::Fires(Timer::G),
        Event::Fires(Timer::H),
        Event::Fires(Timer::I),
        Event::Fires(Timer::L),
        Event::TransportError,
    ]
}

fn machine_in(state: &str, now: Instant, reliable: bool) -> ServerInvite {
    let invite = request("INVITE");
    let mut machine = ServerInvite::new(now, &invite, reliable, &TimerConfig::default());
    let mut out = Vec::new();
    let status = match state {
        "Proceeding" => None,
        "Proceeding/180" => Some(180),
        "Completed" | "Confirmed" => Some(486),
        _ => Some(200),
    };
    if let Some(status) = status {
        assert_eq!(machine.respond(now, &response(&invite, status), &mut out), Outcome::Taken);
    }
    if state == "Confirmed" {
        assert_eq!(machine.handle_ack(now, request("ACK"), &mut out), Outcome::Taken);
    }
    if state == "Terminated" {
        machine.handle_timeout(now + MS(32_000), &mut out);
    }
    assert!(state.starts_with(machine.state()));
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
    assert_eq!(CELLS.len(), 66);
}

fn alone(mut machine: ServerInvite, start: Instant) -> Vec<(u64, String)> {
    schedule(start, |now, out| {
        if let Some(now) = now {
            machine.handle_timeout(now, out);
        }
        machine.poll_timeout()
    })
}

#[test]
fn timer_g_doubles_up_to_t2_until_timer_h() {
    let start = origin();
    let expected = rows(&[
        (500, "again 486"),
        (1_500, "again 486"),
        (3_500, "again 486"),
        (7_500, "again 486"),
        (11_500, "again 486"),
        (15_500, "again 486"),
        (19_500, "again 486"),
        (23_500, "again 486"),
        (27_500, "again 486"),
        (31_500, "again 486"),
        (32_000, "timeout to TU, terminated"),
    ]);
    assert_eq!(alone(machine_in("Completed", start, UNRELIABLE), start), expected);
    let expected = rows(&[(32_000, "timeout to TU, terminated")]);
    assert_eq!(alone(machine_in("Completed", start, RELIABLE), start), expected);
}

#[test]
fn timer_i_is_t4_or_nothing_and_timer_l_32_s_on_any_transport() {
    let start = origin();
    for (state, reliable, ms) in [
        ("Confirmed", UNRELIABLE, 5_000),
        ("Confirmed", RELIABLE, 0),
        ("Accepted", UNRELIABLE, 32_000),
        ("Accepted", RELIABLE, 32_000),
    ] {
        let machine = machine_in(state, start, reliable);
        assert_eq!(alone(machine, start), rows(&[(ms, "terminated")]), "{state} {reliable}");
    }
}

#[test]
fn a_silent_user_is_covered_by_a_100_after_200_ms_which_is_then_repeated() {
    let start = origin();
    let mut machine = machine_in("Proceeding", start, UNRELIABLE);
    assert_eq!(machine.poll_timeout(), Some(start + MS(200)));
    let mut out = Vec::new();
    machine.handle_timeout(start + MS(200), &mut out);
    assert_eq!(machine.handle_request(start + MS(500), &mut out), Outcome::Retransmission);
    assert_eq!(read(&out), "send 100, again 100");
    assert_eq!(machine.poll_timeout(), None);
}
