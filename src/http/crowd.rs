//! A bounded number of connections: those that wait for their client's request, those that have one
//! under way, and those whose client is taking an answer.
//!
//! When the bound is reached the connection that has waited longest gives way to a newcomer, or else
//! the one that has been taking its answers longest: a thousand clients that say nothing, or take
//! nothing, keep out nobody who does. A client that takes its answer too slowly is cut off
//! ([`Crowd::cut_stalled`]).

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
    /// The number that the next member, or the next wait, is given.
    next: u64,
    /// Without those that were cut off: they are about to leave.
    members: HashMap<u64, Standing>,
    /// Who waits, by the number of the wait: the longest first.
    waiting: BTreeMap<u64, u64>,
    /// Who takes answers, by the number of the first of them.
    answering: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct Standing {
    /// Requests under way.
    handling: usize,
    /// Answers that are going out, and the number of the first.
    answers: usize,
    answer: Option<u64>,
    /// When what had been sent.
    progress: (Instant, u64),
    sent: Arc<AtomicU64>,
    /// The number of the wait; `None` while busy.
    wait: Option<u64>,
    since: Instant,
    cut: CancellationToken,
}

impl Crowd {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default() })
    }

    /// Takes a newcomer in, who waits from `now` on. `None` when the crowd is full and everyone in
    /// it has a request under way.
    pub(super) fn enter(self: &Arc<Self>, now: Instant) -> Option<Member> {
        let mut state = self.lock();
        if state.members.len() >= self.limit {
            let (_, longest) = state.waiting.pop_first().or_else(|| state.answering.pop_first())?;
            state.cut(longest);
        }
        let id = state.number();
        let (cut, sent) = (CancellationToken::new(), Arc::<AtomicU64>::default());
        let standing = Standing {
            handling: 0,
            answers: 0,
            answer: None,
            progress: (now, 0),
            sent: sent.clone(),
            wait: None,
            since: now,
            cut: cut.clone(),
        };
        state.members.insert(id, standing);
        state.wait(id, now);
        drop(state);
        Some(Member { id, cut, sent, crowd: self.clone() })
    }

    /// Cuts off everyone who has waited for `time`. Whoever still takes the last of an answer, of
    /// which nothing remains but what the connection holds, waits anew.
    pub(super) fn cut_older(&self, now: Instant, time: Duration) {
        let mut state = self.lock();
        while let Some(id) = state.waiting.first_entry().map(|entry| *entry.get()) {
            let Some(member) = state.members.get_mut(&id) else { return };
            if now.saturating_duration_since(member.since) < time {
                return;
            }
            if member.sent.load(Ordering::Relaxed) == member.progress.1 {
                state.cut(id);
            } else {
                member.wait.take().map(|number| state.waiting.remove(&number));
                state.wait(id, now);
            }
        }
    }

    /// Cuts off everyone who takes answers and took fewer than `bytes` in each `time`.
    pub(super) fn cut_stalled(&self, now: Instant, time: Duration, bytes: u64) {
        let mut state = self.lock();
        let ids: Vec<u64> = state.answering.values().copied().collect();
        for id in ids {
            let Some(member) = state.members.get_mut(&id) else { continue };
            let (at, before) = member.progress;
            if now.saturating_duration_since(at) < time {
                continue;
            }
            let sent = member.sent.load(Ordering::Relaxed);
            member.progress = (now, sent);
            if sent - before < bytes {
                state.cut(id);
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

    fn wait(&mut self, id: u64, now: Instant) {
        let number = self.number();
        if let Some(member) = self.members.get_mut(&id) {
            (member.wait, member.since) = (Some(number), now);
            member.progress = (now, member.sent.load(Ordering::Relaxed));
            self.waiting.insert(number, id);
        }
    }

    fn cut(&mut self, id: u64) {
        if let Some(member) = self.leave(id) {
            member.cut.cancel();
        }
    }

    fn leave(&mut self, id: u64) -> Option<Standing> {
        let member = self.members.remove(&id)?;
        member.wait.map(|number| self.waiting.remove(&number));
        member.answer.map(|number| self.answering.remove(&number));
        Some(member)
    }
}

/// One connection of a crowd; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Member {
    id: u64,
    cut: CancellationToken,
    sent: Arc<AtomicU64>,
    crowd: Arc<Crowd>,
}

impl Member {
    /// Where what is sent to it is counted, in bytes.
    pub(super) fn sent(&self) -> Arc<AtomicU64> {
        self.sent.clone()
    }

    /// Waits until this member has to give way.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// A request is under way until the guard is dropped; then the member waits again.
    pub(super) fn work(self: &Arc<Self>) -> Busy {
        let mut state = self.crowd.lock();
        let wait = state.members.get_mut(&self.id).and_then(|member| {
            member.handling += 1;
            member.wait.take()
        });
        if let Some(number) = wait {
            state.waiting.remove(&number);
        }
        drop(state);
        Busy { member: self.clone(), is_answer: false }
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
        let id = self.member.id;
        let mut state = self.member.crowd.lock();
        let number = state.number();
        if let Some(member) = state.members.get_mut(&id) {
            member.handling -= 1;
            member.answers += 1;
            if member.answers == 1 {
                member.answer = Some(number);
                member.progress = (now, member.sent.load(Ordering::Relaxed));
                state.answering.insert(number, id);
            }
        }
        drop(state);
        self.is_answer = true;
        self
    }
}

impl Drop for Busy {
    #[allow(clippy::disallowed_methods, reason = "a destructor has no argument to take `now` from")]
    fn drop(&mut self) {
        let id = self.member.id;
        let mut state = self.member.crowd.lock();
        let Some(member) = state.members.get_mut(&id) else { return };
        let busy = if self.is_answer { &mut member.answers } else { &mut member.handling };
        *busy -= 1;
        let is_free = member.handling + member.answers == 0;
        if self.is_answer && member.answers == 0 {
            let number = member.answer.take();
            number.map(|number| state.answering.remove(&number));
        }
        if is_free {
            state.wait(id, Instant::now());
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn is_cut(member: &Member) -> bool {
        member.cut.is_cancelled()
    }

    #[test]
    fn the_longest_waiting_gives_way() {
        let (crowd, now) = (Crowd::new(2), Instant::now());
        let [first, second] = [(); 2].map(|()| Arc::new(crowd.enter(now).unwrap()));
        let busy = first.work();
        let third = crowd.enter(now).unwrap();
        assert!(!is_cut(&first) && is_cut(&second) && !is_cut(&third));
        // What was cut off counts no more, though it has not left yet.
        drop(second);
        // Two requests on one connection: the first's end is not the end of both.
        let further = first.work();
        drop(busy);
        let fourth = Arc::new(crowd.enter(now).unwrap());
        assert!(!is_cut(&first) && is_cut(&third));
        drop((third, further));
        let _busy = fourth.work();
        let fifth = crowd.enter(now).unwrap();
        assert!(is_cut(&first) && !is_cut(&fifth));
    }

    #[test]
    fn a_crowd_that_is_busy_to_the_last_takes_nobody() {
        let (crowd, now) = (Crowd::new(1), Instant::now());
        let only = Arc::new(crowd.enter(now).unwrap());
        let busy = only.work();
        assert!(crowd.enter(now).is_none());
        drop((busy, only));
        assert!(crowd.enter(now).is_some());
    }

    #[test]
    fn who_takes_an_answer_longest_gives_way_when_nobody_waits() {
        let (crowd, now) = (Crowd::new(2), Instant::now());
        let [first, second] = [(); 2].map(|()| Arc::new(crowd.enter(now).unwrap()));
        let _answer = first.work().answer(now);
        let _handling = second.work();
        let third = Arc::new(crowd.enter(now).unwrap());
        assert!(is_cut(&first) && !is_cut(&second));
        let _third = third.work();
        assert!(crowd.enter(now).is_none(), "what is being handled stays");
    }

    #[test]
    fn an_answer_has_to_be_taken() {
        let second = Duration::from_secs(1);
        let (crowd, now) = (Crowd::new(9), Instant::now());
        let [stalled, slow, handling] = [(); 3].map(|()| Arc::new(crowd.enter(now).unwrap()));
        let _stalled = stalled.work().answer(now);
        let (_answer, _other) = (slow.work().answer(now), slow.work());
        let _handling = handling.work();
        crowd.cut_stalled(now + second / 2, second, 100);
        assert!(!is_cut(&stalled), "its time is not over");
        for seconds in 1..4 {
            slow.sent().fetch_add(100, Ordering::Relaxed);
            stalled.sent().fetch_add(10, Ordering::Relaxed);
            crowd.cut_stalled(now + seconds * second, second, 100);
            assert!(is_cut(&stalled) && !is_cut(&slow) && !is_cut(&handling));
        }
        crowd.cut_stalled(now + 5 * second, second, 100);
        assert!(is_cut(&slow), "another request under way is no excuse");
        drop((_answer, _other, _stalled));
        assert!(crowd.lock().answering.is_empty());
    }

    #[test]
    fn who_waits_too_long_is_cut_off() {
        let (crowd, now) = (Crowd::new(9), Instant::now());
        let early = Arc::new(crowd.enter(now).unwrap());
        let busy = Arc::new(crowd.enter(now).unwrap());
        let _under_way = busy.work();
        let late = crowd.enter(now + Duration::from_secs(2)).unwrap();
        crowd.cut_older(now + Duration::from_secs(3), Duration::from_secs(2));
        assert!(is_cut(&early) && !is_cut(&busy) && !is_cut(&late));
        // Being cut off while at work is for good.
        drop(early.work());
        assert!(is_cut(&early));
        drop((early, late));
        assert_eq!(crowd.lock().waiting.len(), 0);
    }

    #[test]
    fn who_still_takes_the_last_of_an_answer_waits_anew() {
        let second = Duration::from_secs(1);
        let (crowd, now) = (Crowd::new(9), Instant::now());
        let member = crowd.enter(now).unwrap();
        member.sent().fetch_add(1, Ordering::Relaxed);
        crowd.cut_older(now + 2 * second, 2 * second);
        crowd.cut_older(now + 3 * second, 2 * second);
        assert!(!is_cut(&member));
        crowd.cut_older(now + 4 * second, 2 * second);
        assert!(is_cut(&member));
    }
}
