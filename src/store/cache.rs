//! A short memory for what is read on every request, bounded in age and size.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use super::{Millis, limits};

/// Values and when they were read.
pub(super) struct Cache<K, V>(Mutex<HashMap<K, (V, Millis)>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// The value, if it was read less than [`limits::CACHE_MS`] ago.
    pub(super) fn fresh(&self, key: &K, now: Millis) -> Option<V> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, read_at) = map.get(key)?;
        (0..limits::CACHE_MS).contains(&now.since(*read_at)).then(|| value.clone())
    }

    /// The value, if it was read less than [`limits::STALE_MS`] ago: while the database is away.
    pub(super) fn stale(&self, key: &K, now: Millis) -> Option<V> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, read_at) = map.get(key)?;
        (now.since(*read_at) < limits::STALE_MS).then(|| value.clone())
    }

    /// Remembers a value.
    pub(super) fn put(&self, key: K, value: V, now: Millis) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= limits::CACHE_ENTRIES {
            map.clear();
        }
        map.insert(key, (value, now));
    }

    /// Forgets one: it is not there any more.
    pub(super) fn remove(&self, key: &K) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Forgets everything: something was changed here.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
