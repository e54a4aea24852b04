//! S4 of `quality.md`: 20 % loss each way, 10 000 virtual calls. At least 99.9 % agree on the
//! state; every answered call gets its ACK or ends by the callee's BYE at 64×T1; no zombie.
//!
//! `KAPHILA_SIP_CALLS` and `KAPHILA_SIP_SEED` change how many and which.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kaphila_sip::invite::{Ended, LegId};
use rand::RngExt;

use super::simulation::{Account, Link, Side, Simulation, number};

/// 64×T1.
const TIMEOUT: Duration = Duration::from_secs(32);

/// What an owner does at its time.
#[derive(Clone, Copy, Debug)]
enum Act {
    Place,
    Ring(LegId),
    Accept(LegId),
    Reject(LegId),
    HangUp(Side, LegId),
}

/// What became of a call, seen from both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Answered, and nobody missed it.
    BothAnswered,
    /// Refused, cancelled or never reached.
    BothNot,
    /// The caller hung up while the answer was on its way: ended by its ACK and BYE.
    CrossedAndEnded,
    /// One end believes it was answered, the other does not.
    Disagree,
}

#[test]
fn both_ends_agree() {
    let seed = number("KAPHILA_SIP_SEED", 4);
    let calls = number("KAPHILA_SIP_CALLS", 10_000);
    let link = Link {
        loss: 0.2,
        duplication: 0.02,
        delay: (Duration::from_millis(10), Duration::from_millis(150)),
    };
    println!("seed {seed}, {calls} calls");
    let mut simulation = Simulation::new(seed, link);
    play(&mut simulation, calls);
    simulation.assert_nothing_left();

    let verdicts = count_verdicts(&mut simulation);
    println!("{verdicts:?}, {} steps", simulation.steps);
    let of = |verdict| verdicts.get(&verdict).copied().unwrap_or(0);
    assert_eq!(verdicts.values().sum::<u64>(), calls);
    assert!(of(Verdict::BothAnswered) > calls / 2, "the calls are no calls");
    assert!(of(Verdict::Disagree) * 1_000 <= calls, "more than 0.1 % disagree");
}

/// Ten new calls a second, until all are over at both ends.
fn play(simulation: &mut Simulation, calls: u64) {
    let mut agenda: BTreeMap<(Instant, u64), Act> = BTreeMap::new();
    let mut number = 0;
    let mut plan = |agenda: &mut BTreeMap<_, _>, at: Instant, act: Act| {
        number += 1;
        agenda.insert((at, number), act);
    };
    for call in 0..calls {
        plan(&mut agenda, simulation.now + Duration::from_millis(100 * call), Act::Place);
    }
    loop {
        let due = agenda.first_key_value().map(|((at, _), _)| *at);
        match (due, simulation.next_event()) {
            (Some(due), event) if event.is_none_or(|event| event > due) => {
                simulation.run_until(due);
                let Some((_, act)) = agenda.pop_first() else { continue };
                for (after, next) in perform(simulation, act) {
                    plan(&mut agenda, simulation.now + after, next);
                }
            }
            (_, Some(event)) => simulation.step(event),
            (_, None) => break,
        }
        while let Some(leg) = simulation.party(Side::B).incoming.pop_front() {
            for (after, next) in receive(simulation, leg) {
                plan(&mut agenda, simulation.now + after, next);
            }
        }
    }
}

/// The caller's plan: one in ten hangs up in the first ten seconds, whatever the state; of the
/// others half hang up later, and all do in the end.
fn perform(simulation: &mut Simulation, act: Act) -> Vec<(Duration, Act)> {
    match act {
        Act::Place => {
            let leg = simulation.invite(Side::A, TIMEOUT);
            let after = match simulation.rng.random_range(0..10) {
                0 => simulation.rng.random_range(0..10_000),
                1..5 => simulation.rng.random_range(10_000..60_000),
                _ => 180_000,
            };
            return vec![(Duration::from_millis(after), Act::HangUp(Side::A, leg))];
        }
        Act::Ring(leg) => simulation.ring(Side::B, leg, None),
        Act::Accept(leg) => simulation.accept(Side::B, leg),
        Act::Reject(leg) => simulation.reject(Side::B, leg, 486),
        Act::HangUp(side, leg) => simulation.hang_up(side, leg),
    }
    Vec::new()
}

/// The callee's plan: it rings, then most answer, some refuse, some never do; those who answer
/// hang up within two minutes.
fn receive(simulation: &mut Simulation, leg: LegId) -> Vec<(Duration, Act)> {
    let rng = &mut simulation.rng;
    let ring = rng.random_range(0..1_000);
    let decide = ring + rng.random_range(0..8_000);
    let mut plan = vec![(ring, Act::Ring(leg))];
    match rng.random_range(0..100) {
        0..80 => {
            plan.push((decide, Act::Accept(leg)));
            let talk = rng.random_range(0..120_000);
            plan.push((decide + talk, Act::HangUp(Side::B, leg)));
        }
        80..95 => plan.push((decide, Act::Reject(leg))),
        _ => {}
    }
    plan.into_iter().map(|(ms, act)| (Duration::from_millis(ms), act)).collect()
}

fn count_verdicts(simulation: &mut Simulation) -> BTreeMap<Verdict, u64> {
    let callers: Vec<Account> = simulation.party(Side::A).legs.values().cloned().collect();
    let callees = simulation.party(Side::B);
    let mut verdicts = BTreeMap::new();
    for caller in callers {
        let leg = callees.by_call.get(&caller.call_id).copied();
        let callee = leg.map(|leg| callees.account(leg).clone());
        if let Some(callee) = &callee {
            assert_acknowledged_or_ended(callee);
        }
        let verdict = verdict(&caller, callee.as_ref());
        if verdict == Verdict::Disagree {
            println!("disagree:\n  {caller:?}\n  {callee:?}");
        }
        *verdicts.entry(verdict).or_default() += 1;
    }
    verdicts
}

fn verdict(caller: &Account, callee: Option<&Account>) -> Verdict {
    let callee_answered = callee
        .is_some_and(|callee| callee.accepted_at.is_some() && callee.ended != Some(Ended::NoAck));
    match (caller.answered, callee_answered) {
        (true, true) => Verdict::BothAnswered,
        (false, false) if agree_why_not(caller, callee) => Verdict::BothNot,
        (false, true) if caller.hung_up_at.is_some() => Verdict::CrossedAndEnded,
        _ => Verdict::Disagree,
    }
}

/// Why a call was not answered: refused, or cancelled, or it rang until the caller hung up.
fn agree_why_not(caller: &Account, callee: Option<&Account>) -> bool {
    let hung_up = caller.hung_up_at.is_some();
    match callee {
        None => hung_up || caller.no_answer.is_some(),
        Some(callee) if callee.rejected => hung_up || caller.refused == Some(486),
        Some(callee) => hung_up && callee.cancelled,
    }
}

/// Every accepted call was acknowledged, or ended by a BYE: the caller's, or the callee's own at
/// 64×T1 (RFC 3261 §13.3.1.4) and not before.
fn assert_acknowledged_or_ended(callee: &Account) {
    let Some(accepted_at) = callee.accepted_at else { return };
    let is_ended = callee.confirmed || callee.hung_up_at.is_some() || callee.ended.is_some();
    assert!(is_ended, "answered and left alone: {callee:?}");
    if callee.ended == Some(Ended::NoAck) {
        let lived = callee.closed_at.expect("closed") - accepted_at;
        assert!(!callee.confirmed && lived >= TIMEOUT, "{lived:?} {callee:?}");
    }
}
