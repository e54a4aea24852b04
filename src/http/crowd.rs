//! A bounded number of connections: those that wait for their client's request, those that have one
//! under way, and those whose client is taking an answer.
//!
//! When the bound is reached the connection that has waited longest gives way to a newcomer, or else
//! the one whose client has longest taken nothing: a thousand clients that say nothing, or take
//! nothing, keep out nobody who does. Without a newcomer there is a time for both
//! ([`Crowd::cut_slow`]).

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// The connections.
#[derive(Debug)]
pub(super) struct Crowd {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number that the next member, or the next place, is given.
    next: u64,
    /// Without those that were cut off: they are about to leave.
    members: HashMap<u64, Standing>,
    /// Who waits for a request, by the number of the place: the longest first.
    waiting: BTreeMap<u64, u64>,
    /// Who takes answers: who has longest taken nothing first.
    answering: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Standing {
    /// Requests that are being handled.
    handling: usize,
    /// Answers that are going out.
    answers: usize,
    /// `None` while there is only handling: that has its own times.
    place: Option<Place>,
    flow: Arc<Flow>,
    cut: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Waiting,
    Answering,
}

#[derive(Debug)]
struct Place {
    queue: Queue,
    number: u64,
    /// Since when, from which count on, progress is measured.
    since: Instant,
    from: u64,
    /// The count when it was last looked at.
    seen: u64,
}

/// What a client has taken, in bytes.
#[derive(Debug, Default)]
struct Flow {
    /// Of everything: the rest of an answer that the connection holds goes out while it waits.
    sent: AtomicU64,
    /// Of the answers alone: HTTP/2 has frames that are none.
    answers: AtomicU64,
}

impl Flow {
    fn count(&self, queue: Queue) -> u64 {
        match queue {
            Queue::Waiting => self.sent.load(Ordering::Relaxed),
            Queue::Answering => self.answers.load(Ordering::Relaxed),
        }
    }
}

impl Crowd {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// Takes a newcomer in, who waits from `now` on. `None` when the crowd is full and everyone in
    /// it has a request that is being handled.
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Option<Member> {
        let mut state = self.lock();
        if state.members.len() >= self.limit {
            let slowest = state.slowest(Queue::Waiting);
            let slowest = slowest.or_else(|| state.slowest(Queue::Answering))?;
            state.cut(slowest);
        }
        let id = state.number();
        let (cut, flow) = (CancellationToken::new(), Arc::<Flow>::default());
        let standing =
            Standing { handling: 0, answers: 0, place: None, flow: flow.clone(), cut: cut.clone() };
        state.members.insert(id, standing);
        state.settle(id, now);
        drop(state);
        Some(Member { id, cut, flow, crowd: self.clone() })
    }

    /// Cuts off everyone who has waited for the time of `waiting`, or taken answers for that of
    /// `answering`, and took fewer than `bytes` meanwhile.
    pub(super) fn cut_slow(
        &self,
        now: Instant,
        waiting: Duration,
        answering: Duration,
        bytes: u64,
    ) {
        let mut state = self.lock();
        for (queue, time) in [(Queue::Waiting, waiting), (Queue::Answering, answering)] {
            let ids: Vec<u64> = state.queue(queue).values().copied().collect();
            for id in ids {
                state.has_moved(id);
                let Some(member) = state.members.get_mut(&id) else { continue };
                let Some(place) = &mut member.place else { continue };
                if now.saturating_duration_since(place.since) < time {
                    continue;
                }
                let count = member.flow.count(queue);
                if count - place.from < bytes {
                    state.cut(id);
                } else {
                    (place.since, place.from) = (now, count);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic happens under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    const fn queue(&mut self, queue: Queue) -> &mut BTreeMap<u64, u64> {
        match queue {
            Queue::Waiting => &mut self.waiting,
            Queue::Answering => &mut self.answering,
        }
    }

    /// Gives a member the place that its requests and answers call for; the same one it keeps.
    fn settle(&mut self, id: u64, now: Instant) {
        let number = self.number();
        let Some(member) = self.members.get_mut(&id) else { return };
        let queue = match (member.handling, member.answers) {
            (0, 0) => Some(Queue::Waiting),
            (_, 0) => None,
            (_, _) => Some(Queue::Answering),
        };
        if member.place.as_ref().map(|it| it.queue) == queue {
            return;
        }
        let place = queue.map(|queue| {
            let count = member.flow.count(queue);
            Place { queue, number, since: now, from: count, seen: count }
        });
        let left = std::mem::replace(&mut member.place, place);
        if let Some(left) = left {
            self.queue(left.queue).remove(&left.number);
        }
        if let Some(queue) = queue {
            self.queue(queue).insert(number, id);
        }
    }

    /// Who has been in a queue longest without taking anything.
    fn slowest(&mut self, queue: Queue) -> Option<u64> {
        // Once round: whoever is first then took nothing but a moment ago.
        for _ in 0..self.queue(queue).len() {
            let (_, &id) = self.queue(queue).first_key_value()?;
            if !self.has_moved(id) {
                return Some(id);
            }
        }
        self.queue(queue).first_key_value().map(|(_, &id)| id)
    }

    /// Whether a member took something since it was last looked at: then its turn is last.
    fn has_moved(&mut self, id: u64) -> bool {
        let number = self.number();
        let Some(member) = self.members.get_mut(&id) else { return false };
        let Some(place) = &mut member.place else { return false };
        let count = member.flow.count(place.queue);
        if count == place.seen {
            return false;
        }
        place.seen = count;
        let (queue, before) = (place.queue, std::mem::replace(&mut place.number, number));
        self.queue(queue).remove(&before);
        self.queue(queue).insert(number, id);
        true
    }

    fn cut(&mut self, id: u64) {
        if let Some(member) = self.leave(id) {
            member.cut.cancel();
        }
    }

    fn leave(&mut self, id: u64) -> Option<Standing> {
        let member = self.members.remove(&id)?;
        if let Some(place) = &member.place {
            self.queue(place.queue).remove(&place.number);
        }
        Some(member)
    }
}

/// One connection of a crowd; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Member {
    id: u64,
    cut: CancellationToken,
    flow: Arc<Flow>,
    crowd: Arc<Crowd>,
}

impl Member {
    /// Counts what was sent to it, in bytes.
    pub(super) fn sent(&self, bytes: u64) {
        self.flow.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Waits until this member has to give way.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// A request is under way until the guard is dropped; then the member waits again.
    pub(super) fn work(self: &Arc<Self>, now: Instant) -> Busy {
        self.change(now, |member| member.handling += 1);
        Busy { member: self.clone(), is_answer: false }
    }

    fn change(&self, now: Instant, change: impl FnOnce(&mut Standing)) {
        let mut state = self.crowd.lock();
        if let Some(member) = state.members.get_mut(&self.id) {
            change(member);
            state.settle(self.id, now);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.crowd.lock().leave(self.id);
    }
}

/// That a member has a request under way, or takes its answer.
#[derive(Debug)]
pub(super) struct Busy {
    member: Arc<Member>,
    is_answer: bool,
}

impl Busy {
    /// The request is handled, from `now` on its answer goes out.
    pub(super) fn answer(mut self, now: Instant) -> Self {
        self.is_answer = true;
        self.member.change(now, |member| {
            member.handling -= 1;
            member.answers += 1;
        });
        self
    }

    /// Counts what was taken of the answer, in bytes.
    pub(super) fn took(&self, bytes: u64) {
        self.member.flow.answers.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Busy {
    #[allow(clippy::disallowed_methods, reason = "a destructor has no argument to take `now` from")]
    fn drop(&mut self) {
        self.member.change(Instant::now(), |member| match self.is_answer {
            true => member.answers -= 1,
            false => member.handling -= 1,
        });
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use super::*;

    fn is_cut(member: &Member) -> bool {
        member.cut.is_cancelled()
    }

    #[test]
    fn the_longest_waiting_gives_way() {
        let (crowd, now) = (Crowd::new(2), Instant::now());
        let [first, second] = [(); 2].map(|()| Arc::new(crowd.enter(now).unwrap()));
        let busy = first.work(now);
        let third = crowd.enter(now).unwrap();
        assert!(!is_cut(&first) && is_cut(&second) && !is_cut(&third));
        // What was cut off counts no more, though it has not left yet.
        drop(second);
        // Two requests on one connection: the first's end is not the end of both.
        let further = first.work(now);
        drop(busy);
        let fourth = Arc::new(crowd.enter(now).unwrap());
        assert!(!is_cut(&first) && is_cut(&third));
        drop((third, further));
        let _busy = fourth.work(now);
        let fifth = crowd.enter(now).unwrap();
        assert!(is_cut(&first) && !is_cut(&fifth));
    }

    #[test]
    fn a_crowd_that_is_busy_to_the_last_takes_nobody() {
        let (crowd, now) = (Crowd::new(1), Instant::now());
        let only = Arc::new(crowd.enter(now).unwrap());
        let busy = only.work(now);
        assert!(crowd.enter(now).is_none());
        drop((busy, only));
        assert!(crowd.enter(now).is_some());
    }

    #[test]
    fn who_takes_nothing_gives_way_when_nobody_waits() {
        let (crowd, now) = (Crowd::new(3), Instant::now());
        let [honest, stalled, busy] = [(); 3].map(|()| Arc::new(crowd.enter(now).unwrap()));
        let honest_answer = honest.work(now).answer(now);
        let _stalled_answer = stalled.work(now).answer(now);
        let _handling = busy.work(now);
        honest_answer.took(1);
        let fourth = Arc::new(crowd.enter(now).unwrap());
        assert!(!is_cut(&honest) && is_cut(&stalled) && !is_cut(&busy));
        let _fourth = fourth.work(now);
        // Not for ever after: who took nothing since gives way too.
        let fifth = Arc::new(crowd.enter(now).unwrap());
        assert!(is_cut(&honest));
        let _fifth = fifth.work(now);
        assert!(crowd.enter(now).is_none(), "what is being handled stays");
    }

    #[test]
    fn an_answer_has_to_be_taken() {
        let second = Duration::from_secs(1);
        let (crowd, now) = (Crowd::new(9), Instant::now());
        let [stalled, slow, handling] = [(); 3].map(|()| Arc::new(crowd.enter(now).unwrap()));
        let stalled_answer = stalled.work(now).answer(now);
        let (slow_answer, other) = (slow.work(now).answer(now), slow.work(now));
        let _handling = handling.work(now);
        let sweep = |now| crowd.cut_slow(now, 9 * second, second, 100);
        sweep(now + second / 2);
        assert!(!is_cut(&stalled), "its time is not over");
        for seconds in 1..4 {
            slow_answer.took(100);
            stalled_answer.took(10);
            stalled.sent(1_000);
            sweep(now + seconds * second);
            assert!(is_cut(&stalled) && !is_cut(&slow) && !is_cut(&handling));
        }
        sweep(now + 5 * second);
        assert!(is_cut(&slow), "another request under way is no excuse");
        drop((slow_answer, other, stalled_answer));
        assert!(crowd.lock().answering.is_empty());
    }

    #[test]
    fn who_waits_too_long_is_cut_off() {
        let (crowd, now) = (Crowd::new(9), Instant::now());
        let early = Arc::new(crowd.enter(now).unwrap());
        let busy = Arc::new(crowd.enter(now).unwrap());
        let _under_way = busy.work(now);
        let late = crowd.enter(now + Duration::from_secs(2)).unwrap();
        let two = Duration::from_secs(2);
        crowd.cut_slow(now + Duration::from_secs(3), two, two, 1);
        assert!(is_cut(&early) && !is_cut(&busy) && !is_cut(&late));
        // Being cut off while at work is for good.
        drop(early.work(now));
        assert!(is_cut(&early));
        drop((early, late));
        assert_eq!(crowd.lock().waiting.len(), 0);
    }

    #[test]
    fn who_still_takes_the_last_of_an_answer_waits_anew() {
        let second = Duration::from_secs(1);
        let (crowd, now) = (Crowd::new(9), Instant::now());
        let member = crowd.enter(now).unwrap();
        member.sent(1);
        let sweep = |now| crowd.cut_slow(now, 2 * second, second, 1);
        sweep(now + 2 * second);
        sweep(now + 3 * second);
        assert!(!is_cut(&member));
        sweep(now + 4 * second);
        assert!(is_cut(&member));
    }
}
