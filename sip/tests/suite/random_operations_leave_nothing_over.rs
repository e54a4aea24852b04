//! S3 of `quality.md`: random operations on a pair of endpoints: calls and commands in any state,
//! loss, duplicates, reordering, time, replayed, changed and damaged messages, transport errors.
//! Every transaction ends, each leg has one final outcome, nothing is left over.
//!
//! `KAPHILA_SIP_SEQUENCES` (10 000) and `KAPHILA_SIP_SEED` (3, the first sequence's) change how
//! many and which. A failure prints the seed of its sequence: set it, and one sequence.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use kaphila_sip::invite::LegId;
use kaphila_sip::message::{CSeq, HeaderName, HeaderValue, Message, Method, Request, Response};
use kaphila_sip::transaction::Unexpected;
use kaphila_sip::wire::{self, Input};
use rand::RngExt;

use super::simulation::{Account, Link, Past, STRANGER, Side, Simulation, number, sdp};

/// Wake-ups and datagrams after the last operation: far more than any ending takes.
const MAX_STEPS: u64 = 20_000;

/// Time after the last operation in which everything must have ended: a leg cancelled late waits
/// 64×T1, its late answer's BYE too, and what answers that for as long again.
const MAX_AFTERMATH: Duration = Duration::from_secs(4 * 32 + 10);

/// How often each outcome came.
type Tally = BTreeMap<String, u64>;

/// What 10 000 sequences must have met, or they prove nothing.
const OUTCOMES: [&str; 10] = [
    "answered",
    "refused",
    "no answer: Timeout",
    "no answer: Transport",
    "confirmed",
    "cancelled",
    "ended: Far",
    "ended: NoAck",
    "ended: Lost",
    "offer",
];

#[test]
fn nothing_is_left_over() {
    let first = number("KAPHILA_SIP_SEED", 3);
    let sequences = number("KAPHILA_SIP_SEQUENCES", 10_000);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    println!("sequences of seeds {first}..{}", first + sequences);
    let tally = std::thread::scope(|scope| {
        let workers: Vec<_> = (first..first + threads)
            .map(|offset| {
                let seeds = (offset..first + sequences).step_by(threads as usize);
                scope.spawn(move || seeds.map(sequence).fold(Tally::new(), add))
            })
            .collect();
        let join = |worker: ScopedJoinHandle<'_, Tally>| {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        workers.into_iter().map(join).fold(Tally::new(), add)
    });
    println!("{tally:#?}");
    for outcome in OUTCOMES.iter().filter(|_| sequences >= 10_000) {
        assert!(tally.contains_key(*outcome), "never met: {outcome}");
    }
}

/// One sequence, and what came out of it.
fn sequence(seed: u64) -> Tally {
    let run = AssertUnwindSafe(|| {
        let no_delay = (Duration::ZERO, Duration::ZERO);
        let mut simulation =
            Simulation::new(seed, Link { loss: 0.0, duplication: 0.0, delay: no_delay });
        simulation.link = random_link(&mut simulation);
        for _ in 0..simulation.rng.random_range(4..32) {
            operate(&mut simulation);
        }
        end_everything(&mut simulation);
        simulation.assert_nothing_left();
        tally(&mut simulation)
    });
    catch_unwind(run).unwrap_or_else(|panic| {
        eprintln!("the sequence of KAPHILA_SIP_SEED={seed} failed");
        resume_unwind(panic)
    })
}

fn tally(simulation: &mut Simulation) -> Tally {
    let mut tally = Tally::from([("steps".to_owned(), simulation.steps)]);
    let mut count = |name: String, times: u64| *tally.entry(name).or_default() += times;
    for side in Side::BOTH {
        let party = simulation.party(side);
        for account in party.legs.values() {
            for (name, is_so) in [
                ("leg", true),
                ("answered", account.answered),
                ("refused", account.refused.is_some()),
                ("confirmed", account.confirmed),
                ("cancelled", account.cancelled),
                ("offer", account.offers > 0),
            ] {
                count(name.to_owned(), u64::from(is_so));
            }
            if let Some(failure) = &account.no_answer {
                count(format!("no answer: {}", variant(failure)), 1);
            }
            if let Some(ended) = &account.ended {
                count(format!("ended: {}", variant(ended)), 1);
            }
        }
        for (name, times) in &party.endpoint.counters().ignored {
            count(format!("ignored: {name}"), *times);
        }
        for (event, times) in &party.endpoint.counters().unexpected {
            let Unexpected { machine, state, event } = event;
            count(format!("unexpected: {machine}, {state}, {event}"), *times);
        }
    }
    tally.retain(|_, times| *times > 0);
    tally
}

/// The name of a variant, without what it carries.
fn variant(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").chars().take_while(|c| c.is_alphabetic()).collect()
}

fn add(mut sum: Tally, other: Tally) -> Tally {
    for (name, times) in other {
        *sum.entry(name).or_default() += times;
    }
    sum
}

fn random_link(simulation: &mut Simulation) -> Link {
    let rng = &mut simulation.rng;
    let least = rng.random_range(0..200);
    let spread = if rng.random_bool(0.2) { 3_000 } else { 100 };
    let most = least + rng.random_range(0..spread);
    Link {
        loss: rng.random_range(0.0..0.4),
        duplication: rng.random_range(0.0..0.3),
        delay: (Duration::from_millis(least), Duration::from_millis(most)),
    }
}

/// One operation on one side.
fn operate(simulation: &mut Simulation) {
    let side = if simulation.rng.random_bool(0.5) { Side::A } else { Side::B };
    let leg = random_leg(simulation, side, Account::is_open);
    let callee = random_leg(simulation, side, Account::is_callee_undecided);
    let callee = callee.filter(|_| simulation.rng.random_bool(0.9)).or(leg);
    match (simulation.rng.random_range(0..100), leg) {
        (0..10, _) => {
            let patience = simulation.rng.random_range(1_000..32_000);
            simulation.invite(side, Duration::from_millis(patience));
        }
        (10..15, _) => {
            let Some(leg) = callee else { return pass_time(simulation) };
            let body = simulation.rng.random_bool(0.3).then(sdp);
            simulation.ring(side, leg, body);
        }
        (15..32, _) => {
            let Some(leg) = callee else { return pass_time(simulation) };
            simulation.accept(side, leg);
        }
        (32..34, _) => {
            let Some(leg) = callee else { return pass_time(simulation) };
            let status = simulation.rng.random_range(300..700);
            simulation.reject(side, leg, status);
        }
        (34..39, Some(leg)) => simulation.hang_up(side, leg),
        (39..43, Some(leg)) => simulation.info(side, leg),
        (43..50, _) => answer_offer(simulation, side),
        (50..52, _) => simulation.options(side),
        (52..53, _) if simulation.rng.random_bool(0.3) => simulation.transport_error(side),
        (53..58, _) => replay(simulation),
        (58..78, _) => change(simulation),
        _ => pass_time(simulation),
    }
}

/// One that is so, mostly.
fn random_leg(
    simulation: &mut Simulation,
    side: Side,
    is_so: fn(&Account) -> bool,
) -> Option<LegId> {
    let any = simulation.rng.random_bool(0.1);
    let legs = simulation.party(side).legs.iter().filter(|(_, account)| any || is_so(account));
    let legs: Vec<LegId> = legs.map(|(leg, _)| *leg).collect();
    (!legs.is_empty()).then(|| legs[simulation.rng.random_range(0..legs.len())])
}

fn answer_offer(simulation: &mut Simulation, side: Side) {
    let leg = simulation
        .party(side)
        .offers
        .pop_front()
        .or_else(|| random_leg(simulation, side, Account::is_open));
    let Some(leg) = leg else { return };
    let answer = if simulation.rng.random_bool(0.7) { Ok(sdp()) } else { Err(488) };
    simulation.answer_offer(side, leg, answer);
}

fn pass_time(simulation: &mut Simulation) {
    let most = match simulation.rng.random_range(0..10) {
        0..7 => 500,
        7..9 => 5_000,
        _ => 40_000,
    };
    let time = Duration::from_millis(simulation.rng.random_range(0..most));
    simulation.run_until(simulation.now + time);
}

fn random_past(simulation: &mut Simulation) -> Option<Past> {
    let len = simulation.history.len();
    (len > 0).then(|| simulation.history[simulation.rng.random_range(0..len)].clone())
}

/// Something old comes again, perhaps from somewhere else.
fn replay(simulation: &mut Simulation) {
    let Some(Past { to, data }) = random_past(simulation) else { return };
    let from = random_source(simulation, to);
    simulation.deliver(to, from, &data);
}

fn random_source(simulation: &mut Simulation, to: Side) -> SocketAddr {
    match simulation.rng.random_range(0..5) {
        0 => STRANGER,
        _ => to.other().address(),
    }
}

/// Something old comes changed: damaged, or meant for another state; each other time a request
/// of a dialog, if there was one.
fn change(simulation: &mut Simulation) {
    let in_dialog = |past: &&Past| [b"ACK", b"BYE"].iter().any(|m| past.data.starts_with(*m));
    let of_a_dialog = simulation.history.iter().rev().find(in_dialog).cloned();
    let past = match of_a_dialog {
        Some(past) if simulation.rng.random_bool(0.5) => Some(past),
        _ => random_past(simulation),
    };
    let Some(Past { to, data }) = past else { return };
    let from = random_source(simulation, to);
    let message = match wire::parse_datagram(&data) {
        Ok(Input::Message(message)) if simulation.rng.random_bool(0.9) => message,
        _ => {
            let mut damaged = data.to_vec();
            let at = simulation.rng.random_range(0..damaged.len());
            damaged[at] = simulation.rng.random();
            return simulation.deliver(to, from, &damaged);
        }
    };
    let changed = match message {
        Message::Request(request) => change_request(simulation, request).to_bytes(),
        Message::Response(response) => change_response(simulation, response).to_bytes(),
    };
    simulation.deliver(to, from, &changed);
}

/// Another request of the same dialog: most of them as its far end could send them.
fn change_request(simulation: &mut Simulation, mut request: Request) -> Request {
    const METHODS: [Method; 13] = [
        Method::Invite,
        Method::Invite,
        Method::Invite,
        Method::Update,
        Method::Ack,
        Method::Bye,
        Method::Cancel,
        Method::Info,
        Method::Options,
        Method::Prack,
        Method::Refer,
        Method::Notify,
        Method::Message,
    ];
    let rng = &mut simulation.rng;
    let method = METHODS[rng.random_range(0..METHODS.len())].clone();
    let seq = request.cseq().map_or(1, |cseq| cseq.seq);
    let seq = seq.saturating_add(rng.random_range(0..3)).min(0x7FFF_FFFF);
    request.headers.set(HeaderName::CSEQ, CSeq { seq, method: method.clone() });
    if rng.random_bool(0.8)
        && let Ok(mut via) = request.via()
    {
        via.params.set("branch", &format!("z9hG4bK{:x}", rng.random::<u64>()));
        request.headers.set(HeaderName::VIA, via);
    }
    if rng.random_bool(0.1) {
        change_tag(simulation, &mut request.headers, &HeaderName::TO);
    }
    if simulation.rng.random_bool(0.5) {
        request.body = sdp().bytes;
        request.headers.set(HeaderName::CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
    }
    request.method = method;
    request
}

/// Another answer to the same request; or the same answer of another telephone.
fn change_response(simulation: &mut Simulation, mut response: Response) -> Response {
    const STATUSES: [u16; 12] = [100, 180, 183, 199, 200, 200, 202, 302, 401, 408, 486, 603];
    let rng = &mut simulation.rng;
    if rng.random_bool(0.7) {
        response.status = STATUSES[rng.random_range(0..STATUSES.len())];
    }
    if rng.random_bool(0.4) {
        change_tag(simulation, &mut response.headers, &HeaderName::TO);
    }
    if simulation.rng.random_bool(0.5) && response.headers.get(&HeaderName::CONTACT).is_none() {
        let contact = HeaderValue::from_static("<sip:192.0.2.2:5060>");
        response.headers.push(HeaderName::CONTACT, contact);
    }
    response
}

fn change_tag(
    simulation: &mut Simulation,
    headers: &mut kaphila_sip::message::Headers,
    name: &HeaderName,
) {
    let Ok(field) = headers.to() else { return };
    let tag = format!("other{}", simulation.rng.random_range(0..4));
    headers.set(name.clone(), field.with_tag(&tag));
}

/// The owners hang up what is up and refuse what comes; then all must end by itself.
fn end_everything(simulation: &mut Simulation) {
    let deadline = simulation.now + MAX_AFTERMATH;
    let last = simulation.steps + MAX_STEPS;
    loop {
        for side in Side::BOTH {
            let party = simulation.party(side);
            party.incoming.clear();
            let up = |(leg, account): (&LegId, &Account)| {
                (account.is_open() && account.hung_up_at.is_none()).then_some(*leg)
            };
            let up: Vec<LegId> = party.legs.iter().filter_map(up).collect();
            for leg in up {
                simulation.hang_up(side, leg);
            }
        }
        let Some(at) = simulation.next_event() else { return };
        assert!(at <= deadline, "still busy after {MAX_AFTERMATH:?}: {:?}", simulation.stats());
        assert!(simulation.steps < last, "still busy after {MAX_STEPS} steps");
        simulation.step(at);
    }
}
