//! `kaphila audit`: who changed what, and when.

use clap::Args;
use serde_json::{Value, json};

use super::output::table;
use super::{CliError, Common, output};
use crate::config::parse_duration;
use crate::store::{AuditEntry, Millis};

/// `kaphila audit`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kaphila audit --since 24h\n  kaphila audit --since 30d --calls\n  kaphila audit --since 2026-02-17T00:00:00Z --key key_98aa10cd11 --json"
)]
pub(super) struct AuditArgs {
    /// From when: an age such as 24h, or a time such as 2026-02-17T00:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Millis>,
    /// Only what concerns this key.
    #[arg(long, value_name = "ID")]
    key: Option<String>,
    /// With the credit that each answered call took.
    #[arg(long)]
    calls: bool,
    /// The newest entries shown, at most.
    #[arg(long, value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

fn since(text: &str) -> Result<Millis, String> {
    if let Some(age) = parse_duration(text) {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        return Ok(Millis::wall_clock().plus(-age));
    }
    text.parse()
        .map_err(|_| "expected an age such as 24h or a time such as 2026-02-17T00:00:00Z".into())
}

pub(super) async fn run(common: &Common, args: &AuditArgs) -> Result<(), CliError> {
    let (_, store) = common.open_store().await?;
    let since = args.since.unwrap_or_default();
    let found = store.audit(since, args.key.as_deref(), args.calls, args.limit).await;
    store.close().await;
    let entries = found?;
    let value: Value = entries.iter().map(to_json).collect();
    output::print(common.json, &value, || {
        let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
        table(&["WHEN", "WHO", "WHAT", "KEY", "ON", "CHANGES"], &rows)
    });
    Ok(())
}

fn to_json(entry: &AuditEntry) -> Value {
    json!({
        "at": entry.at,
        "actor": entry.actor,
        "act": entry.act,
        "keyId": entry.key_id,
        "subject": entry.subject,
        "changes": changes(entry),
    })
}

fn changes(entry: &AuditEntry) -> Value {
    serde_json::from_str(&entry.changes).unwrap_or_default()
}

fn row(entry: &AuditEntry) -> Vec<String> {
    let changes = changes(entry);
    let changes = changes.as_object().into_iter().flatten().map(|(name, change)| {
        let (old, new) = (change.get(0), change.get(1));
        let shown = |value: Option<&Value>| value.map_or_else(String::new, Value::to_string);
        match old {
            Some(Value::Null) => format!("{name} {}", shown(new)),
            old => format!("{name} {} → {}", shown(old), shown(new)),
        }
    });
    vec![
        entry.at.to_rfc3339(),
        entry.actor.clone(),
        entry.act.clone(),
        entry.key_id.clone().unwrap_or_else(|| "-".to_owned()),
        entry.subject.clone(),
        changes.collect::<Vec<_>>().join(", "),
    ]
}

/// The OS user at the command line; under sudo, with who called it.
pub(super) fn actor() -> String {
    let uid = rustix::process::getuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    });
    let name = name.unwrap_or_else(|| format!("uid {uid}"));
    match std::env::var("SUDO_USER") {
        Ok(caller) if uid == 0 && caller != name => format!("{name} (sudo by {caller})"),
        _ => name,
    }
}
