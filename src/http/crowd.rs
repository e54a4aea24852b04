//! A bounded number of connections, of which those that wait for their client can be told apart
//! from those that have a request under way.
//!
//! When the bound is reached the connection that has waited longest gives way to a newcomer, so
//! that a thousand clients that say nothing keep out nobody who does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

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
}

#[derive(Debug)]
struct Standing {
    /// Requests under way.
    busy: usize,
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
            let (_, longest) = state.waiting.pop_first()?;
            state.cut(longest);
        }
        let id = state.number();
        let cut = CancellationToken::new();
        state.members.insert(id, Standing { busy: 0, wait: None, since: now, cut: cut.clone() });
        state.wait(id, now);
        drop(state);
        Some(Member { id, cut, crowd: self.clone() })
    }

    /// Cuts off everyone who has waited since before `deadline`.
    pub(super) fn cut_older(&self, deadline: Instant) {
        let mut state = self.lock();
        while let Some(entry) = state.waiting.first_entry() {
            let id = *entry.get();
            if state.members.get(&id).is_some_and(|it| it.since >= deadline) {
                return;
            }
            state.waiting.pop_first();
            state.cut(id);
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
            self.waiting.insert(number, id);
        }
    }

    fn cut(&mut self, id: u64) {
        if let Some(member) = self.members.remove(&id) {
            member.cut.cancel();
        }
    }
}

/// One connection of a crowd; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Member {
    id: u64,
    cut: CancellationToken,
    crowd: Arc<Crowd>,
}

impl Member {
    /// Waits until this member has to give way.
    pub(super) async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// A request is under way until the guard is dropped; then the member waits again.
    pub(super) fn work(self: &Arc<Self>) -> Busy {
        let mut state = self.crowd.lock();
        let wait = state.members.get_mut(&self.id).and_then(|member| {
            member.busy += 1;
            member.wait.take()
        });
        if let Some(number) = wait {
            state.waiting.remove(&number);
        }
        drop(state);
        Busy(self.clone())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.crowd.lock();
        let left = state.members.remove(&self.id);
        if let Some(number) = left.and_then(|member| member.wait) {
            state.waiting.remove(&number);
        }
    }
}

/// That a member has a request under way.
#[derive(Debug)]
pub(super) struct Busy(Arc<Member>);

impl Drop for Busy {
    #[allow(clippy::disallowed_methods, reason = "a destructor has no argument to take `now` from")]
    fn drop(&mut self) {
        let id = self.0.id;
        let mut state = self.0.crowd.lock();
        let Some(member) = state.members.get_mut(&id) else { return };
        member.busy -= 1;
        if member.busy == 0 {
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
    fn who_waits_too_long_is_cut_off() {
        let (crowd, now) = (Crowd::new(9), Instant::now());
        let early = Arc::new(crowd.enter(now).unwrap());
        let busy = Arc::new(crowd.enter(now).unwrap());
        let _under_way = busy.work();
        let late = crowd.enter(now + Duration::from_secs(2)).unwrap();
        crowd.cut_older(now + Duration::from_secs(1));
        assert!(is_cut(&early) && !is_cut(&busy) && !is_cut(&late));
        // Being cut off while at work is for good.
        drop(early.work());
        assert!(is_cut(&early));
        drop((early, late));
        assert_eq!(crowd.lock().waiting.len(), 0);
    }
}
