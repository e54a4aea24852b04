//! `kaphila key …`: the customers' API keys.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::output::{or_dash, table};
use super::{CliError, Common, output};
use crate::config::parse_duration;
use crate::number::Number;
use crate::store::{Key, KeyChanges, Millis, NewKey, NewSecrets, Store};

/// `kaphila key`
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key; it is printed once.
    #[command(
        after_help = "Example:\n  kaphila key create --name shop --credits 100 --trunk carrier"
    )]
    Create(CreateArgs),
    /// All keys.
    #[command(after_help = "Example:\n  kaphila key list --json")]
    List,
    /// One key, with its trunks.
    #[command(after_help = "Example:\n  kaphila key show key_98aa10cd11")]
    Show {
        /// The key's id, `key_…`.
        id: String,
    },
    /// Take over the customers of another service.
    Import(super::import::ImportKeysArgs),
    /// Add credits, or take them away.
    #[command(
        after_help = "Examples:\n  kaphila key credit key_98aa10cd11 +50\n  kaphila key credit key_98aa10cd11 -20"
    )]
    Credit {
        /// The key's id.
        id: String,
        /// `+50` or `-20`.
        #[arg(allow_hyphen_values = true, value_parser = change)]
        credits: i64,
    },
    /// Set the requests an hour.
    #[command(after_help = "Example:\n  kaphila key limit key_98aa10cd11 200")]
    Limit {
        /// The key's id.
        id: String,
        /// Requests an hour.
        #[arg(value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
        limit: i64,
    },
    /// Set the trunks, in order.
    #[command(after_help = "Example:\n  kaphila key trunks key_98aa10cd11 carrier backup")]
    Trunks {
        /// The key's id.
        id: String,
        /// Names of trunks; none takes all away.
        trunks: Vec<String>,
    },
    /// Replace the key; the old one dies at once but for the grace.
    #[command(after_help = "Example:\n  kaphila key rotate key_98aa10cd11 --grace 24h")]
    Rotate {
        /// The key's id.
        id: String,
        /// How long the old key still works.
        #[arg(long, default_value = "0", value_parser = grace, value_name = "TIME")]
        grace: Duration,
    },
    /// Replace the webhook secret; the old one signs too for 24 h.
    #[command(after_help = "Example:\n  kaphila key rotate-webhook key_98aa10cd11")]
    RotateWebhook {
        /// The key's id.
        id: String,
    },
    /// Refuse the key from now on. Its calls in progress go on.
    #[command(after_help = "Example:\n  kaphila key revoke key_98aa10cd11")]
    Revoke {
        /// The key's id.
        id: String,
    },
    /// Change a key's defaults, permissions and caps.
    #[command(
        after_help = "Example:\n  kaphila key set key_98aa10cd11 --caller-id 19172452367 --max-calls 50 --record off"
    )]
    Set(SetArgs),
}

/// `kaphila key create`
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What its owner calls it.
    #[arg(long)]
    name: String,
    /// Credits to begin with: a call that is placed and answered costs one, one that comes in nothing.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    credits: i64,
    /// Requests an hour.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    rate_limit: i64,
    /// A trunk it may use; may be given several times, in order.
    #[arg(long = "trunk", value_name = "TRUNK")]
    trunks: Vec<String>,
}

/// `kaphila key set`
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// The key's id.
    id: String,
    /// What its owner calls it.
    #[arg(long)]
    name: Option<String>,
    /// The caller id of calls that name none; "" removes it.
    #[arg(long, value_name = "NUMBER")]
    caller_id: Option<String>,
    /// A caller id it may use; may be given several times; "" alone permits any.
    #[arg(long = "allow-caller-id", value_name = "NUMBER")]
    allow_caller_ids: Vec<String>,
    /// Whether calls are recorded unless the request says otherwise.
    #[arg(long)]
    record: Option<Switch>,
    /// Calls at a time; 0 removes the cap.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..=1_000_000))]
    max_calls: Option<i64>,
    /// New calls in any second; 0 removes the cap.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..=1_000_000))]
    max_cps: Option<i64>,
    /// A number prefix it may dial; may be given several times; "" alone permits any.
    #[arg(long = "allow-prefix", value_name = "PREFIX")]
    allow_prefixes: Vec<String>,
    /// A number prefix it may not dial; may be given several times; "" alone denies none.
    #[arg(long = "deny-prefix", value_name = "PREFIX")]
    deny_prefixes: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

fn change(text: &str) -> Result<i64, String> {
    text.parse()
        .ok()
        .filter(|credits: &i64| credits.unsigned_abs() <= 1_000_000_000)
        .ok_or_else(|| "expected a number such as +50 or -20".to_owned())
}

fn grace(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "expected a time such as 24h".to_owned())
}

pub(super) async fn run(common: &Common, command: KeyCommand) -> Result<(), CliError> {
    let (_, store) = common.open_store().await?;
    let done = carry_out(common, &store, command).await;
    store.close().await;
    done
}

async fn carry_out(common: &Common, store: &Store, command: KeyCommand) -> Result<(), CliError> {
    let now = Millis::wall_clock();
    match command {
        KeyCommand::Import(args) => super::import::keys(common, store, &args, now).await?,
        KeyCommand::Create(args) => {
            let CreateArgs { name, credits, rate_limit, trunks } = args;
            let key = NewKey { name, credits, rate_limit, trunks };
            let NewSecrets { key_id, key, webhook_secret } = store.create_key(key, now).await?;
            // Shown once, and in one form for people and programs: it is pasted somewhere.
            output::line(json!({ "keyId": key_id, "key": key, "webhookSecret": webhook_secret }));
        }
        KeyCommand::List => list(common, &store.keys().await?),
        KeyCommand::Show { id } => {
            let (key, trunks) = store.key(&id).await?;
            let names = trunks.trunks.iter().map(|it| it.settings.name.clone()).collect();
            show(common, &key, names);
        }
        KeyCommand::Credit { id, credits } => {
            let balance = store.credit_key(&id, credits, "kaphila key credit", now).await?;
            let value = json!({ "keyId": id, "credits": balance });
            output::print(common.json, &value, || format!("{id} has {balance} credits\n"));
        }
        KeyCommand::Limit { id, limit } => {
            store.limit_key(&id, limit).await?;
            said(common, &id, "limit set");
        }
        KeyCommand::Trunks { id, trunks } => {
            store.assign_trunks(&id, trunks).await?;
            said(common, &id, "trunks set");
        }
        KeyCommand::Rotate { id, grace } => {
            let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
            let key = store.rotate_key(&id, grace, now).await?;
            output::line(json!({ "keyId": id, "key": key }));
        }
        KeyCommand::RotateWebhook { id } => {
            let secret = store.rotate_webhook_secret(&id, now).await?;
            output::line(json!({ "keyId": id, "webhookSecret": secret }));
        }
        KeyCommand::Revoke { id } => {
            store.revoke_key(&id).await?;
            said(common, &id, "revoked");
        }
        KeyCommand::Set(args) => {
            let id = args.id.clone();
            store.change_key(&id, changes(args)?).await?;
            said(common, &id, "changed");
        }
    }
    Ok(())
}

fn changes(args: SetArgs) -> Result<KeyChanges, CliError> {
    let cleaned = |text: &String| {
        if text.is_empty() {
            return Ok(String::new());
        }
        Number::parse(text)
            .map(|number| number.as_str().to_owned())
            .map_err(|error| CliError::Usage(format!("caller id {text}: {error}")))
    };
    let caller_ids: Vec<String> =
        args.allow_caller_ids.iter().map(cleaned).collect::<Result<_, _>>()?;
    Ok(KeyChanges {
        name: args.name,
        caller_id: args.caller_id.as_ref().map(cleaned).transpose()?,
        allowed_caller_ids: replaced(caller_ids),
        record_default: args.record.map(|switch| matches!(switch, Switch::On)),
        max_calls: args.max_calls,
        max_cps: args.max_cps,
        allow_prefixes: replaced(prefixes(args.allow_prefixes)?),
        deny_prefixes: replaced(prefixes(args.deny_prefixes)?),
    })
}

/// Number prefixes as typed: of numbers as they are dialled, which have no `+` and no `00` in front.
pub(super) fn prefixes(list: Vec<String>) -> Result<Vec<String>, CliError> {
    let bad = |prefix: &&String| {
        !prefix.bytes().all(|b| b.is_ascii_digit()) || prefix.starts_with("00") && *prefix != "000"
    };
    match list.iter().find(bad) {
        Some(bad) => Err(CliError::Usage(format!(
            "`{bad}` is the prefix of no number: digits only, without + or 00 in front"
        ))),
        None => Ok(list),
    }
}

/// A list given on the command line replaces the old one; `""` alone empties it.
fn replaced(list: Vec<String>) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.into_iter().filter(|item| !item.is_empty()).collect())
}

fn said(common: &Common, id: &str, what: &str) {
    output::print(common.json, &json!({ "keyId": id, "done": what }), || format!("{id} {what}\n"));
}

fn list(common: &Common, keys: &[Key]) {
    let value: Value = keys.iter().map(to_json).collect();
    output::print(common.json, &value, || {
        let rows: Vec<Vec<String>> = keys
            .iter()
            .map(|key| {
                vec![
                    key.key_id.clone(),
                    key.name.clone(),
                    key.credits.to_string(),
                    key.rate_limit.to_string(),
                    key.total_calls.to_string(),
                    if key.revoked { "revoked".into() } else { "active".into() },
                ]
            })
            .collect();
        table(&["ID", "NAME", "CREDITS", "LIMIT/H", "CALLS", "STATE"], &rows)
    });
}

fn show(common: &Common, key: &Key, trunks: Vec<String>) {
    let mut value = to_json(key);
    if let Some(members) = value.as_object_mut() {
        members.insert("trunks".into(), trunks.clone().into());
    }
    output::print(common.json, &value, || {
        let any = |list: &[String]| if list.is_empty() { "any".into() } else { list.join(" ") };
        let rows = [
            ("id", key.key_id.clone()),
            ("name", key.name.clone()),
            ("state", if key.revoked { "revoked".into() } else { "active".into() }),
            ("credits", format!("{} ({} held by ringing calls)", key.credits, key.holds)),
            ("requests/hour", key.rate_limit.to_string()),
            ("calls", format!("{} ({} completed)", key.total_calls, key.successful_calls)),
            ("trunks", if trunks.is_empty() { "none".into() } else { trunks.join(" ") }),
            ("caller id", or_dash(key.caller_id.as_ref())),
            ("caller ids", any(&key.allowed_caller_ids)),
            ("record", if key.record_default { "on".into() } else { "off".into() }),
            ("max calls", or_dash(key.max_calls)),
            ("max cps", or_dash(key.max_cps)),
            ("prefixes", any(&key.allow_prefixes)),
            ("denied", key.deny_prefixes.join(" ")),
            ("created", key.created_at.to_rfc3339()),
            ("last used", or_dash(key.last_used.map(Millis::to_rfc3339))),
        ];
        rows.iter().map(|(name, value)| format!("{name:14}{value}\n")).collect()
    });
}

fn to_json(key: &Key) -> Value {
    json!({
        "keyId": key.key_id,
        "name": key.name,
        "revoked": key.revoked,
        "credits": key.credits,
        "holds": key.holds,
        "rateLimit": key.rate_limit,
        "totalCalls": key.total_calls,
        "successfulCalls": key.successful_calls,
        "callerId": key.caller_id,
        "allowedCallerIds": *key.allowed_caller_ids,
        "record": key.record_default,
        "maxCalls": key.max_calls,
        "maxCps": key.max_cps,
        "allowPrefixes": *key.allow_prefixes,
        "denyPrefixes": *key.deny_prefixes,
        "createdAt": key.created_at,
        "lastUsed": key.last_used,
    })
}
