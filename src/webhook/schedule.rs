//! Which event is sent when. Pure: it takes the time and what happened, and says what to send.
//!
//! Of one call, events go one at a time and first attempts in order; an event that waits behind
//! one that is being retried goes after 10 s. Calls go in parallel, and receivers in turn: one
//! that fails gets few of the places, so that it harms nobody else's.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::store::{Fate, KeyId, Mark, Millis, Outgoing};

/// Events held in memory: with 2 KiB each some 40 MiB. The rest waits in the database.
pub(super) const MAX_HELD: usize = 20_000;
/// Requests under way: as many sockets.
const MAX_IN_FLIGHT: usize = 512;
/// Requests under way to one receiver of one key.
const MAX_PER_RECEIVER: usize = 256;
/// The same while it fails: enough to see it recover.
const MAX_PER_FAILING: usize = 4;
/// Failures in a row that make a receiver a failing one.
const FAILING: u32 = 3;
/// Receivers remembered: customers name them, so their number must be bounded.
const MAX_RECEIVERS: usize = 10_000;
/// How long an event waits for an earlier one of its call that is being retried.
const ORDER_WAIT_MS: i64 = 10_000;
/// An event whose next attempt is farther away than this waits in the database alone.
pub(super) const HOLD_MS: i64 = 30_000;
/// The pause between attempts once the list of pauses is used up.
const HOURLY_MS: i64 = Millis::HOUR;
/// An event that could not be delivered for this long is dead.
const GIVE_UP_MS: i64 = Millis::DAY;

/// A receiver: the host of a URL, for one key.
type Receiver = (KeyId, Arc<str>);

/// All events in memory and the receivers they go to.
pub(super) struct Schedule {
    pauses: Vec<i64>,
    calls: HashMap<i64, Call>,
    receivers: HashMap<Receiver, Lane>,
    /// Receivers with a call that may go and a place free, in turn.
    turn: VecDeque<Receiver>,
    /// When to look at a call again.
    wakes: BTreeSet<(Millis, i64)>,
    in_flight: usize,
    held: usize,
}

struct Call {
    receiver: Receiver,
    events: BTreeMap<i64, Held>,
    state: CallState,
}

#[derive(Clone, Copy, PartialEq)]
enum CallState {
    /// Nothing may go before this time (none: nothing is left).
    Waiting(Option<Millis>),
    /// In its receiver's queue.
    Queued,
    /// An event of it is under way.
    Sending,
}

struct Held {
    event: Arc<Outgoing>,
    attempts: i64,
    next_at: Millis,
    since: Millis,
}

#[derive(Default)]
struct Lane {
    queue: VecDeque<i64>,
    in_flight: usize,
    failures: u32,
    in_turn: bool,
}

impl Lane {
    fn room(&self) -> bool {
        let places = if self.failures < FAILING { MAX_PER_RECEIVER } else { MAX_PER_FAILING };
        self.in_flight < places
    }
}

impl Schedule {
    /// `pauses` between attempts; after them it is hourly, until a day is over.
    pub(super) fn new(pauses: &[Duration]) -> Self {
        let millis = |pause: &Duration| i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        Self {
            pauses: pauses.iter().map(millis).collect(),
            calls: HashMap::new(),
            receivers: HashMap::new(),
            turn: VecDeque::new(),
            wakes: BTreeSet::new(),
            in_flight: 0,
            held: 0,
        }
    }

    /// Events in memory.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// An event to deliver; one that is held already goes at the earlier time. `false`: no room; it
    /// must be read from the database later.
    pub(super) fn handle_event(&mut self, now: Millis, event: Outgoing) -> bool {
        let call = self.calls.get_mut(&event.call);
        if let Some(held) = call.and_then(|call| call.events.get_mut(&event.sequence)) {
            // An operator may have it tried before its time.
            if event.next_at < held.next_at {
                held.next_at = event.next_at;
                self.look_at(now, event.call);
            }
            return true;
        }
        if self.held >= MAX_HELD {
            return false;
        }
        self.held += 1;
        let id = event.call;
        let call = self.calls.entry(id).or_insert_with(|| Call {
            receiver: (event.key, host(&event.url)),
            events: BTreeMap::new(),
            state: CallState::Waiting(None),
        });
        let held = Held {
            attempts: event.attempts,
            next_at: event.next_at,
            since: now,
            event: Arc::new(event),
        };
        call.events.insert(held.event.sequence, held);
        self.look_at(now, id);
        true
    }

    /// The next event to send now, with the number of attempts made before.
    pub(super) fn poll_attempt(&mut self, now: Millis) -> Option<Arc<Outgoing>> {
        while let Some((at, id)) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            self.wakes.remove(&(at, id));
            if let Some(call) = self.calls.get_mut(&id) {
                call.state = CallState::Waiting(None);
            }
            self.look_at(now, id);
        }
        while self.in_flight < MAX_IN_FLIGHT {
            let receiver = self.turn.pop_front()?;
            let Some(lane) = self.receivers.get_mut(&receiver) else { continue };
            lane.in_turn = false;
            if !lane.room() {
                continue; // back in turn when one of its requests ends
            }
            let Some(id) = lane.queue.pop_front() else { continue };
            let Some(call) = self.calls.get_mut(&id) else { continue };
            let Next::Now(sequence) = call.next(now) else {
                // The clock was set back since it was queued.
                call.state = CallState::Waiting(None);
                self.look_at(now, id);
                self.give_turn(&receiver);
                continue;
            };
            call.state = CallState::Sending;
            lane.in_flight += 1;
            self.in_flight += 1;
            let event = call.events.get(&sequence).map(|held| held.event.clone());
            self.give_turn(&receiver);
            return event;
        }
        None
    }

    /// How an attempt went; what to write down about it.
    pub(super) fn handle_result(
        &mut self,
        now: Millis,
        event: &Outgoing,
        result: Result<(), String>,
    ) -> Option<Mark> {
        let call = self.calls.get_mut(&event.call)?;
        let receiver = call.receiver.clone();
        call.state = CallState::Waiting(None);
        self.in_flight -= 1;
        if let Some(lane) = self.receivers.get_mut(&receiver) {
            lane.in_flight -= 1;
            lane.failures = if result.is_ok() { 0 } else { lane.failures.saturating_add(1) };
        }
        let held = call.events.get_mut(&event.sequence)?;
        held.attempts += 1;
        let attempts = held.attempts;
        let fate = match result {
            Ok(()) => Fate::Delivered,
            Err(error) => {
                let nth = usize::try_from(attempts - 1).unwrap_or(0);
                let pause = self.pauses.get(nth).copied().unwrap_or(HOURLY_MS);
                let next_at = now.plus(pause);
                if next_at.since(event.created_at) > GIVE_UP_MS {
                    Fate::Dead { attempts, error }
                } else {
                    held.next_at = next_at;
                    Fate::Retry { attempts, next_at, error }
                }
            }
        };
        let stays = matches!(&fate, Fate::Retry { next_at, .. } if next_at.since(now) <= HOLD_MS);
        if !stays {
            call.events.remove(&event.sequence);
            self.held -= 1;
        }
        self.look_at(now, event.call);
        self.give_turn(&receiver);
        self.forget_idle(&receiver);
        Some(Mark { call: event.call, sequence: event.sequence, at: now, fate })
    }

    /// When to poll again though nothing happens.
    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Queues a waiting call whose next event may go, or notes when it may.
    fn look_at(&mut self, now: Millis, id: i64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let CallState::Waiting(wake) = call.state else { return };
        if let Some(wake) = wake {
            self.wakes.remove(&(wake, id));
        }
        match call.next(now) {
            Next::Now(_) => {
                call.state = CallState::Queued;
                let receiver = call.receiver.clone();
                self.receivers.entry(receiver.clone()).or_default().queue.push_back(id);
                self.give_turn(&receiver);
            }
            Next::At(at) => {
                call.state = CallState::Waiting(Some(at));
                self.wakes.insert((at, id));
            }
            Next::Nothing => {
                self.calls.remove(&id);
            }
        }
    }

    fn give_turn(&mut self, receiver: &Receiver) {
        let Some(lane) = self.receivers.get_mut(receiver) else { return };
        if !lane.in_turn && !lane.queue.is_empty() && lane.room() {
            lane.in_turn = true;
            self.turn.push_back(receiver.clone());
        }
    }

    /// Forgets a receiver of which nothing is left; that it fails is remembered for as long as
    /// there are not too many such.
    fn forget_idle(&mut self, receiver: &Receiver) {
        let idle = |lane: &Lane| lane.in_flight == 0 && lane.queue.is_empty();
        if self.receivers.get(receiver).is_some_and(|lane| idle(lane) && lane.failures == 0) {
            self.receivers.remove(receiver);
        }
        if self.receivers.len() > MAX_RECEIVERS {
            self.receivers.retain(|_, lane| !idle(lane));
        }
    }
}

enum Next {
    Now(i64),
    At(Millis),
    Nothing,
}

impl Call {
    /// The event to send next, or when there will be one.
    fn next(&self, now: Millis) -> Next {
        let retry = self.events.iter().filter(|(_, held)| held.attempts > 0);
        let retry = retry.min_by_key(|(sequence, held)| (held.next_at, **sequence));
        let first = self.events.iter().find(|(_, held)| held.attempts == 0);
        // What goes when: the retry when it is due; the first attempt when nothing stands before
        // it, or when it has stood behind a retry for long enough.
        let retry = retry.map(|(sequence, held)| (held.next_at, *sequence));
        let first = first.map(|(sequence, held)| {
            let behind = self.events.keys().next().is_some_and(|lowest| lowest < sequence);
            let wait = if behind { ORDER_WAIT_MS } else { 0 };
            (held.since.plus(wait), *sequence)
        });
        match first.into_iter().chain(retry).min() {
            Some((at, sequence)) if at <= now => Next::Now(sequence),
            Some((at, _)) => Next::At(at),
            None => Next::Nothing,
        }
    }
}

/// The receiver in a URL: host and port.
fn host(url: &str) -> Arc<str> {
    let url = Url::parse(url).ok();
    let host = url.as_ref().and_then(|url| {
        Some(format!("{}:{}", url.host_str()?, url.port_or_known_default().unwrap_or(0)))
    });
    host.unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses() -> Vec<Duration> {
        [1, 5, 30, 120, 600, 3_600].map(Duration::from_secs).to_vec()
    }

    fn event(call: i64, sequence: i64, url: &str) -> Outgoing {
        Outgoing {
            call,
            call_id: format!("1.{call}").into(),
            sequence,
            key: KeyId(1),
            event: "test".to_owned(),
            url: url.into(),
            payload: "{}".to_owned(),
            attempts: 0,
            next_at: Millis(0),
            created_at: Millis(0),
        }
    }

    fn drain(schedule: &mut Schedule, now: Millis) -> Vec<Arc<Outgoing>> {
        std::iter::from_fn(|| schedule.poll_attempt(now)).collect()
    }

    fn names(sent: &[Arc<Outgoing>]) -> Vec<(i64, i64)> {
        sent.iter().map(|event| (event.call, event.sequence)).collect()
    }

    const A: &str = "https://a.example/hook";
    const B: &str = "https://b.example/hook";

    #[test]
    fn a_call_s_events_go_one_at_a_time_in_order_and_calls_in_parallel() {
        let mut schedule = Schedule::new(&pauses());
        for sequence in 1..=3 {
            assert!(schedule.handle_event(Millis(0), event(1, sequence, A)));
            assert!(schedule.handle_event(Millis(0), event(2, sequence, A)));
        }
        for sequence in 1..=3 {
            let sent = drain(&mut schedule, Millis(0));
            assert_eq!(names(&sent), [(1, sequence), (2, sequence)]);
            for event in sent {
                let mark = schedule.handle_result(Millis(0), &event, Ok(())).unwrap();
                assert_eq!(mark.fate, Fate::Delivered);
            }
        }
        assert_eq!(schedule.held(), 0);
        assert!(schedule.calls.is_empty() && schedule.receivers.is_empty());
        assert_eq!(schedule.poll_timeout(), None);
    }

    #[test]
    fn retries_follow_the_list_then_go_hourly_until_a_day_is_over() {
        let mut schedule = Schedule::new(&pauses());
        let mut now = Millis(0);
        let mut waited = Vec::new();
        schedule.handle_event(now, event(1, 1, A));
        loop {
            let sent = drain(&mut schedule, now);
            assert_eq!(sent.len(), 1, "at {now:?}");
            let mark = schedule.handle_result(now, &sent[0], Err("503".into())).unwrap();
            match mark.fate {
                Fate::Retry { attempts, next_at, .. } => {
                    waited.push(next_at.since(now) / 1_000);
                    if next_at.since(now) > HOLD_MS {
                        // It left memory; the database brings it back when due.
                        assert_eq!(schedule.held(), 0);
                        let back = Outgoing { attempts, next_at, ..event(1, 1, A) };
                        schedule.handle_event(next_at, back);
                    }
                    assert!(drain(&mut schedule, next_at.plus(-1)).is_empty());
                    now = next_at;
                }
                Fate::Dead { attempts, .. } => {
                    assert_eq!(attempts, i64::try_from(waited.len()).unwrap() + 1);
                    break;
                }
                Fate::Delivered => unreachable!(),
            }
        }
        assert_eq!(waited[..7], [1, 5, 30, 120, 600, 3_600, 3_600]);
        let total: i64 = waited.iter().sum();
        assert!(total <= 86_400 && total + 3_600 > 86_400, "{total} s");
        assert_eq!(schedule.held(), 0);
    }

    #[test]
    fn after_a_list_of_the_operator_s_own_it_is_hourly_too() {
        let mut schedule = Schedule::new(&[Duration::from_secs(2)]);
        schedule.handle_event(Millis(0), event(1, 1, A));
        let sent = drain(&mut schedule, Millis(0));
        schedule.handle_result(Millis(0), &sent[0], Err("503".into())).unwrap();
        let sent = drain(&mut schedule, Millis(2_000));
        let mark = schedule.handle_result(Millis(2_000), &sent[0], Err("503".into())).unwrap();
        let Fate::Retry { next_at, .. } = mark.fate else { panic!("{mark:?}") };
        assert_eq!(next_at, Millis(2_000 + 3_600_000));
    }

    #[test]
    fn a_later_event_waits_ten_seconds_behind_a_retry_and_then_goes() {
        let mut schedule = Schedule::new(&pauses());
        schedule.handle_event(Millis(0), event(1, 1, A));
        schedule.handle_event(Millis(0), event(1, 2, A));
        let mut firsts = Vec::new();
        let mut now = Millis(0);
        while firsts.is_empty() {
            for sent in drain(&mut schedule, now) {
                if sent.sequence == 2 {
                    firsts.push(now.0);
                }
                schedule.handle_result(now, &sent, Err("down".into()));
            }
            now = schedule.poll_timeout().unwrap().max(now);
        }
        assert_eq!(firsts, [10_000]);
    }

    #[test]
    fn a_recovered_receiver_gets_the_later_event_at_once() {
        let mut schedule = Schedule::new(&pauses());
        schedule.handle_event(Millis(0), event(1, 1, A));
        schedule.handle_event(Millis(0), event(1, 2, A));
        let sent = drain(&mut schedule, Millis(0));
        schedule.handle_result(Millis(0), &sent[0], Err("down".into()));
        let sent = drain(&mut schedule, Millis(1_000));
        assert_eq!(names(&sent), [(1, 1)]);
        schedule.handle_result(Millis(1_005), &sent[0], Ok(()));
        assert_eq!(names(&drain(&mut schedule, Millis(1_005))), [(1, 2)]);
    }

    #[test]
    fn a_dead_receiver_takes_few_places_and_others_go_on() {
        let mut schedule = Schedule::new(&pauses());
        for call in 0..2_000 {
            schedule.handle_event(Millis(0), event(call, 1, A));
        }
        let mut hanging = drain(&mut schedule, Millis(0));
        assert_eq!(hanging.len(), MAX_PER_RECEIVER);
        for sent in hanging.drain(..) {
            schedule.handle_result(Millis(5_000), &sent, Err("timeout".into()));
        }
        assert_eq!(drain(&mut schedule, Millis(5_000)).len(), MAX_PER_FAILING);
        schedule.handle_event(Millis(5_000), event(9_999, 1, B));
        assert_eq!(names(&drain(&mut schedule, Millis(5_000))), [(9_999, 1)]);
    }

    #[test]
    fn receivers_take_turns() {
        let mut schedule = Schedule::new(&pauses());
        for call in 0..10 {
            schedule.handle_event(Millis(0), event(call, 1, A));
        }
        schedule.handle_event(Millis(0), event(100, 1, B));
        let sent = names(&drain(&mut schedule, Millis(0)));
        assert_eq!(sent[1], (100, 1), "B waits for one of A's, not for ten: {sent:?}");
    }

    #[test]
    fn memory_is_bounded_and_a_repeated_event_counts_once() {
        let mut schedule = Schedule::new(&pauses());
        for call in 0..i64::try_from(MAX_HELD).unwrap() {
            assert!(schedule.handle_event(Millis(0), event(call, 1, A)));
        }
        assert!(schedule.handle_event(Millis(0), event(0, 1, A)), "held already");
        assert!(!schedule.handle_event(Millis(0), event(0, 2, A)));
        assert_eq!(schedule.held(), MAX_HELD);
    }
}
