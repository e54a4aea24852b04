//! `kaphila webhooks list | replay`: deliveries, their state, and another try.

use std::str::FromStr;

use clap::Subcommand;
use serde_json::json;

use super::output::{or_dash, table};
use super::{CliError, Common, output};
use crate::store::{Delivery, Millis, Replayed, Store};

/// `kaphila webhooks`
#[derive(Debug, Subcommand)]
pub(super) enum WebhooksCommand {
    /// The newest 1000 deliveries and their state.
    #[command(
        after_help = "Examples:\n  kaphila webhooks list\n  kaphila webhooks list --dead --json"
    )]
    List {
        /// Only those that were given up.
        #[arg(long)]
        dead: bool,
    },
    /// Send deliveries again, whatever their state; a running server does so within 2 s.
    #[command(
        after_help = "Examples:\n  kaphila webhooks replay 1795655456.1/3\n  kaphila webhooks replay msg_1795655456-1_3 msg_1795655456-1_4"
    )]
    Replay {
        /// `<callId>/<sequenceNumber>` as listed, or the `webhook-id` that a receiver saw.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<DeliveryId>,
    },
}

/// Names one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeliveryId {
    call_id: String,
    sequence: i64,
}

impl FromStr for DeliveryId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = match text.strip_prefix("msg_") {
            Some(id) => id.split_once('_').map(|(call, n)| (call.replacen('-', ".", 1), n)),
            None => text.split_once('/').map(|(call, n)| (call.to_owned(), n)),
        };
        let id = parts.and_then(|(call_id, n)| Some(Self { call_id, sequence: n.parse().ok()? }));
        id.filter(|id| id.sequence > 0 && is_call_id(&id.call_id))
            .ok_or("expected <callId>/<sequenceNumber>, such as 1795655456.1/3")
    }
}

/// Whether it looks like `<unix seconds>.<n>`.
pub(super) fn is_call_id(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('.').is_some_and(|(seconds, n)| is_number(seconds) && is_number(n))
}

impl std::fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.call_id, self.sequence)
    }
}

pub(super) async fn run(common: &Common, command: WebhooksCommand) -> Result<(), CliError> {
    let (_, store) = common.open_store().await?;
    let done = match command {
        WebhooksCommand::List { dead } => list(common, &store, dead).await,
        WebhooksCommand::Replay { ids } => replay(common, &store, &ids).await,
    };
    store.close().await;
    done
}

async fn list(common: &Common, store: &Store, only_dead: bool) -> Result<(), CliError> {
    let deliveries = store.deliveries(only_dead).await?;
    output::print(common.json, &json!(deliveries), || {
        let rows: Vec<Vec<String>> = deliveries.iter().map(row).collect();
        table(&["ID", "EVENT", "STATE", "ATTEMPTS", "NEXT OR DONE", "URL", "LAST ERROR"], &rows)
    });
    Ok(())
}

fn row(it: &Delivery) -> Vec<String> {
    let at = it.delivered_at.or_else(|| (it.state == "pending").then_some(it.next_at));
    vec![
        format!("{}/{}", it.call_id, it.sequence),
        it.event.clone(),
        it.state.clone(),
        it.attempts.to_string(),
        or_dash(at.map(Millis::to_rfc3339)),
        it.url.clone(),
        or_dash(it.last_error.as_ref()),
    ]
}

/// Asks for all of them, and fails if one could not be had.
async fn replay(common: &Common, store: &Store, ids: &[DeliveryId]) -> Result<(), CliError> {
    let mut results = Vec::new();
    for id in ids {
        let result = store.replay_event(&id.call_id, id.sequence, Millis::wall_clock()).await?;
        results.push((id, result));
    }
    let with = |wanted| results.iter().filter(move |it| it.1 == wanted).map(|it| it.0.to_string());
    let value = json!({
        "queued": with(Replayed::Queued).collect::<Vec<_>>(),
        "erased": with(Replayed::Erased).collect::<Vec<_>>(),
        "notFound": with(Replayed::NotFound).collect::<Vec<_>>(),
    });
    output::print(common.json, &value, || {
        with(Replayed::Queued).map(|id| format!("{id} will be sent again\n")).collect()
    });
    let erased: Vec<String> = with(Replayed::Erased).collect();
    let missing: Vec<String> = with(Replayed::NotFound).collect();
    if !erased.is_empty() {
        let message = format!(
            "{}: delivered, and the payload was erased 24 h later: it cannot be sent again",
            erased.join(", ")
        );
        if !missing.is_empty() {
            eprintln!("kaphila: delivery {} not found", missing.join(", "));
        }
        return Err(CliError::Failed(message));
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(CliError::NotFound(format!("delivery {} not found", missing.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_named_as_listed_or_as_a_receiver_saw_it() {
        let id = DeliveryId { call_id: "1795655456.12".to_owned(), sequence: 3 };
        assert_eq!("1795655456.12/3".parse(), Ok(id.clone()));
        assert_eq!("msg_1795655456-12_3".parse(), Ok(id.clone()));
        assert_eq!(id.to_string(), "1795655456.12/3");
        for bad in ["", "1795655456.12", "1795655456.12/0", "1.2/x", "a.b/1", "msg_1_3", ".1/1"] {
            assert!(bad.parse::<DeliveryId>().is_err(), "{bad}");
        }
    }
}
