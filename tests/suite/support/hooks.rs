//! What a customer's books say after all webhooks: which events each call has had.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::document;
use crate::support::program::eventually;
use crate::webhook_receiver::Receiver;

/// A receiver that accepts everything, and what it has seen by call and number.
pub(crate) struct Hooks {
    receiver: Receiver,
    read: usize,
    /// By call id, then by sequence number.
    pub(crate) calls: BTreeMap<String, BTreeMap<i64, Value>>,
}

impl Hooks {
    pub(crate) async fn start() -> Self {
        Self { receiver: Receiver::ok().await, read: 0, calls: BTreeMap::new() }
    }

    pub(crate) fn url(&self) -> &str {
        &self.receiver.url
    }

    /// Reads what has come. An event may come twice, and then says the same.
    pub(crate) fn read(&mut self) {
        for seen in self.receiver.seen_after(self.read) {
            self.read += 1;
            document::check_event(&seen.body);
            let event: Value = serde_json::from_str(&seen.body).unwrap();
            let call = event["callId"].as_str().unwrap().to_owned();
            let number = event["sequenceNumber"].as_i64().unwrap();
            let known = self.calls.entry(call).or_default().entry(number);
            assert_eq!(known.or_insert_with(|| event.clone()), &event);
        }
    }

    /// The events of a call, by name.
    pub(crate) fn names(&self, call: &str) -> Vec<&str> {
        let events = self.calls.get(call).into_iter().flat_map(BTreeMap::values);
        events.map(|event| event["event"].as_str().unwrap()).collect()
    }

    /// Waits for an event of a call.
    pub(crate) async fn expect(&mut self, call: &str, name: &str) -> Value {
        let what = format!("{name} of {call}");
        eventually(15, &what, || {
            self.read();
            std::future::ready(self.names(call).contains(&name))
        })
        .await;
        let mut events = self.calls[call].values();
        events.find(|event| event["event"] == name).unwrap().clone()
    }

    /// No number is missing, and each call has ended exactly once.
    pub(crate) fn are_whole(&self) {
        for (call, events) in &self.calls {
            let numbers: Vec<i64> = events.keys().copied().collect();
            let names = self.names(call);
            assert_eq!(numbers, (1..=names.len() as i64).collect::<Vec<_>>(), "{call}: {names:?}");
            let count = |name: &str| names.iter().filter(|it| **it == name).count();
            assert_eq!(count("call.ended"), 1, "{call}: {names:?}");
            assert_eq!(count("recording.started"), count("recording.completed"), "{call}");
        }
    }
}
