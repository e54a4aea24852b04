//! Which calls there are: who may see them, how they are reached, what is left of them.
//!
//! It knows ids, keys and mailboxes, and the caps on calls. It refuses to know what a call does.
//! Start at [`Registry::enter`].

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use super::machine::{Command, Reply};
use super::{Asked, CallView, CommandError};
use crate::store::{KeyId, Trunk, TrunkId};
use crate::trunk::limits::{Limiter, Rest};
use crate::trunk::target::Target;

/// Commands that may wait for a call: a client that sends more waits for its answers.
pub(super) const MAX_COMMANDS: usize = 32;
/// Traces kept of ended calls, some 5 MiB.
const MAX_TRACES: usize = 1_000;

/// The live calls, and what is shared between them.
#[derive(Default)]
pub(super) struct Registry {
    shared: Arc<Shared>,
    /// Calls at a time, all keys.
    pub(super) capacity: Limiter<()>,
    /// Calls of a key.
    pub(super) keys: Limiter<KeyId>,
    /// Calls over a trunk.
    pub(super) trunks: Limiter<TrunkId>,
    /// Trunks that asked to be left alone.
    pub(super) rest: Rest<TrunkId>,
    /// Whose calls come from where.
    pub(super) peers: Peers,
    /// The tasks of calls.
    pub(super) tasks: TaskTracker,
}

/// A trunk that may call us.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) trunk: Arc<Trunk>,
    pub(super) target: Arc<Target>,
}

/// The trunks that may call us, by name.
#[derive(Default)]
pub(super) struct Peers(Mutex<Arc<[Peer]>>);

impl Peers {
    pub(super) fn set(&self, peers: Arc<[Peer]>) {
        *lock(&self.0) = peers;
    }

    /// The trunk that a call comes from: of several at one address, the one that is dialled there.
    pub(super) fn of(&self, source: SocketAddr) -> Option<Peer> {
        let peers = Arc::clone(&lock(&self.0));
        let sends = |peer: &&Peer| peer.target.peers.iter().any(|it| it.contains(source.ip()));
        let dialled = peers.iter().find(|peer| peer.target.remote == source);
        dialled.or_else(|| peers.iter().find(sends)).cloned()
    }
}

struct Shared {
    calls: Mutex<HashMap<String, Entry>>,
    /// How many there are, for who waits for none.
    count: watch::Sender<usize>,
    /// Where each key's last call began.
    rounds: Mutex<HashMap<KeyId, TrunkId>>,
    traces: Mutex<VecDeque<(String, String)>>,
    draining: watch::Sender<bool>,
    stopping: watch::Sender<bool>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            calls: Mutex::default(),
            count: watch::Sender::new(0),
            rounds: Mutex::default(),
            traces: Mutex::default(),
            draining: watch::Sender::new(false),
            stopping: watch::Sender::new(false),
        }
    }
}

#[derive(Clone)]
struct Entry {
    key: KeyId,
    commands: mpsc::Sender<Asked>,
    view: watch::Receiver<Arc<CallView>>,
}

/// A call's place in the registry; it leaves with this value.
pub(super) struct Registered {
    call_id: String,
    shared: Arc<Shared>,
}

impl Registry {
    /// A call is live from here on.
    pub(super) fn enter(
        &self,
        call_id: &str,
        key: KeyId,
        commands: mpsc::Sender<Asked>,
        view: watch::Receiver<Arc<CallView>>,
    ) -> Registered {
        let mut calls = lock(&self.shared.calls);
        calls.insert(call_id.to_owned(), Entry { key, commands, view });
        self.shared.count.send_replace(calls.len());
        drop(calls);
        Registered { call_id: call_id.to_owned(), shared: Arc::clone(&self.shared) }
    }

    /// The key's calls, oldest first.
    pub(super) fn of_key(&self, key: KeyId) -> Vec<Arc<CallView>> {
        let calls = lock(&self.shared.calls);
        let own = calls.values().filter(|entry| entry.key == key);
        let mut views: Vec<_> = own.map(|entry| Arc::clone(&entry.view.borrow())).collect();
        drop(calls);
        views.sort_by(|a, b| (a.created_at, &a.call_id).cmp(&(b.created_at, &b.call_id)));
        views
    }

    /// A call of the key.
    pub(super) fn view(&self, key: KeyId, call_id: &str) -> Option<Arc<CallView>> {
        self.entry(call_id).filter(|it| it.key == key).map(|it| Arc::clone(&it.view.borrow()))
    }

    /// The mailbox of a call of the key.
    pub(super) fn commands(&self, key: KeyId, call_id: &str) -> Option<mpsc::Sender<Asked>> {
        self.entry(call_id).filter(|it| it.key == key).map(|it| it.commands)
    }

    /// The mailbox of a call of any key: for the operator only.
    pub(super) fn any(&self, call_id: &str) -> Option<mpsc::Sender<Asked>> {
        self.entry(call_id).map(|it| it.commands)
    }

    fn entry(&self, call_id: &str) -> Option<Entry> {
        lock(&self.shared.calls).get(call_id).cloned()
    }

    /// How many are live.
    pub(super) fn len(&self) -> usize {
        lock(&self.shared.calls).len()
    }

    /// The trunk with which the key's last call began in this process.
    pub(super) fn last_start(&self, key: KeyId) -> Option<TrunkId> {
        lock(&self.shared.rounds).get(&key).copied()
    }

    /// A call of the key begins with `trunk`; where the one before began.
    pub(super) fn note_start(&self, key: KeyId, trunk: TrunkId) -> Option<TrunkId> {
        lock(&self.shared.rounds).insert(key, trunk)
    }

    /// The call that was to begin at `trunk` was not placed: the round is where it was, unless
    /// another call has moved it since.
    pub(super) fn take_start_back(&self, key: KeyId, trunk: TrunkId, previous: Option<TrunkId>) {
        let mut rounds = lock(&self.shared.rounds);
        if rounds.get(&key) != Some(&trunk) {
            return;
        }
        match previous {
            Some(previous) => rounds.insert(key, previous),
            None => rounds.remove(&key),
        };
    }

    /// What is left of an ended call.
    pub(super) fn trace(&self, call_id: &str) -> Option<String> {
        let traces = lock(&self.shared.traces);
        traces.iter().rev().find(|(id, _)| id == call_id).map(|(_, text)| text.clone())
    }

    /// Keeps what is left of a call, instead of what was kept of it before.
    pub(super) fn keep_trace(&self, call_id: &str, text: String) {
        let mut traces = lock(&self.shared.traces);
        if let Some((_, known)) = traces.iter_mut().rev().find(|(id, _)| id == call_id) {
            *known = text;
            return;
        }
        if traces.len() == MAX_TRACES {
            traces.pop_front();
        }
        traces.push_back((call_id.to_owned(), text));
    }

    /// No more calls.
    pub(super) fn drain(&self) {
        self.shared.draining.send_replace(true);
    }

    /// Whether no more calls are placed.
    pub(super) fn is_draining(&self) -> bool {
        *self.shared.draining.borrow()
    }

    /// Tells every call to end.
    pub(super) fn hang_up_all(&self) {
        self.drain();
        self.shared.stopping.send_replace(true);
    }

    /// Becomes true when calls have to end.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.shared.stopping.subscribe()
    }

    /// Waits until no call is live.
    pub(super) async fn idle(&self) {
        let mut count = self.shared.count.subscribe();
        // Its sender lives as long as this.
        let _ = count.wait_for(|count| *count == 0).await;
    }

    /// Waits until every task of a call has ended; none may begin any more.
    pub(super) async fn finished(&self) {
        self.drain();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut calls = lock(&self.shared.calls);
        calls.remove(&self.call_id);
        self.shared.count.send_replace(calls.len());
    }
}

/// Hands a command to a call and waits for its outcome.
pub(super) async fn ask(
    commands: &mpsc::Sender<Asked>,
    command: Command,
) -> Result<Reply, CommandError> {
    let (reply, outcome) = oneshot::channel();
    // A mailbox without a reader, or an outcome that never comes: the call has ended meanwhile.
    commands.send((Box::new(command), reply)).await.map_err(|_| CommandError::NotFound)?;
    outcome.await.unwrap_or(Err(CommandError::NotFound))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
