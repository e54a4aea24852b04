//! S3 of `quality.md`: random operations on a pair of endpoints: calls and commands in any state,
//! loss, duplicates, reordering, time, replayed, changed and damaged messages, transport errors.
//! Every transaction ends, each leg has one final outcome, nothing is left over.
//!
//! `KAPHILA_SIP_SEQUENCES` (10 000) and `KAPHILA_SIP_SEED` (3, the first sequence's) change how
//! many and which. A failure prints the seed of its sequence: set it, and one sequence.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use kaphila_sip::invite::LegId;
use kaphila_sip::message::{CSeq, HeaderName, HeaderValue, Message, Method, Request, Response};
use kaphila_sip::wire::{self, Input};
use rand::RngExt;

use super::simulation::{Account, Link, Past, STRANGER, Side, Simulation, number, sdp};

/// Wake-ups and datagrams after the last operation: far more than any ending takes.
const MAX_STEPS: u64 = 20_000;

/// Time after the last operation in which everything must have ended: a leg cancelled late waits
/// 64×T1, its late answer's BYE too, and what answers that for as long again.
const MAX_AFTERMATH: Duration = Duration::from_secs(4 * 32 + 10);

#[test]
fn nothing_is_left_over() {
    let first = number("KAPHILA_SIP_SEED", 3);
    let sequences = number("KAPHILA_SIP_SEQUENCES", 10_000);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    println!("sequences of seeds {first}..{}", first + sequences);
    let steps: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let seeds =
                    (first..first + sequences).skip(thread as usize).step_by(threads as usize);
                scope.spawn(move || seeds.map(sequence).sum::<u64>())
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|e| resume_unwind(e))).sum()
    });
    println!("{steps} steps");
    assert!(steps > 20 * sequences, "the sequences do nothing");
}

/// One sequence; how many steps it had.
fn sequence(seed: u64) -> u64 {
    let run = AssertUnwindSafe(|| {
        let mut simulation = Simulation::new(
            seed,
            Link { loss: 0.0, duplication: 0.0, delay: (Duration::ZERO, Duration::ZERO) },
        );
        simulation.link = random_link(&mut simulation);
        for _ in 0..simulation.rng.random_range(4..32) {
            operate(&mut simulation);
        }
        end_everything(&mut simulation);
        simulation.assert_nothing_left();
        simulation.steps
    });
    catch_unwind(run).unwrap_or_else(|panic| {
        eprintln!("the sequence of KAPHILA_SIP_SEED={seed} failed");
        resume_unwind(panic)
    })
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
    let leg = random_leg(simulation, side);
    match (simulation.rng.random_range(0..100), leg) {
        (0..12, _) => {
            let patience = simulation.rng.random_range(1_000..32_000);
            simulation.invite(side, Duration::from_millis(patience));
        }
        (12..18, Some(leg)) => {
            let body = simulation.rng.random_bool(0.3).then(sdp);
            simulation.ring(side, leg, body);
        }
        (18..30, Some(leg)) => simulation.accept(side, leg),
        (30..33, Some(leg)) => {
            let status = simulation.rng.random_range(300..700);
            simulation.reject(side, leg, status);
        }
        (33..42, Some(leg)) => simulation.hang_up(side, leg),
        (42..46, Some(leg)) => simulation.info(side, leg),
        (46..51, _) => answer_offer(simulation, side),
        (51..53, _) => simulation.options(side),
        (53..54, _) => simulation.transport_error(side),
        (54..60, _) => replay(simulation),
        (60..78, _) => change(simulation),
        _ => pass_time(simulation),
    }
}

fn random_leg(simulation: &mut Simulation, side: Side) -> Option<LegId> {
    let legs: Vec<LegId> = simulation.party(side).legs.keys().copied().collect();
    (!legs.is_empty()).then(|| legs[simulation.rng.random_range(0..legs.len())])
}

fn answer_offer(simulation: &mut Simulation, side: Side) {
    let leg = simulation.party(side).offers.pop_front().or_else(|| random_leg(simulation, side));
    let Some(leg) = leg else { return };
    let answer = if simulation.rng.random_bool(0.7) { Ok(sdp()) } else { Err(488) };
    simulation.answer_offer(side, leg, answer);
}

fn pass_time(simulation: &mut Simulation) {
    let most = match simulation.rng.random_range(0..10) {
        0..6 => 500,
        6..9 => 5_000,
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

/// Something old comes changed: damaged, or meant for another state.
fn change(simulation: &mut Simulation) {
    let Some(Past { to, data }) = random_past(simulation) else { return };
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
