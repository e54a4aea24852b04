//! `kaphila number …`: the numbers on which trunks call in.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::output::{or_dash, table};
use super::{CliError, Common, output};
use crate::call::{WebhookPolicy, check_webhook_url};
use crate::config::Config;
use crate::number::Number;
use crate::store::{Millis, OwnNumber, Store};

/// `kaphila number`
#[derive(Debug, Subcommand)]
pub(super) enum NumberCommand {
    /// Give a number to a key, or change what is done with its calls.
    #[command(
        after_help = "Examples:\n  kaphila number add +4930901820 --key key_98aa10cd11 --webhook https://example.com/calls\n  kaphila number add 4930901821 --key key_98aa10cd11 --answer off"
    )]
    Add(AddArgs),
    /// All numbers.
    #[command(after_help = "Example:\n  kaphila number list --json")]
    List,
    /// Take a number away from its key. Its calls in progress go on.
    #[command(after_help = "Example:\n  kaphila number remove +4930901820")]
    Remove {
        /// The number.
        #[arg(value_parser = number)]
        number: Number,
    },
}

/// `kaphila number add`
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The number, as the carrier's INVITE names it; a + or 00 before it makes no difference.
    #[arg(value_parser = number)]
    number: Number,
    /// Whose calls they are: the key's id.
    #[arg(long, value_name = "ID")]
    key: String,
    /// Where the events of its calls go; without one none are sent.
    #[arg(long, value_name = "URL")]
    webhook: Option<String>,
    /// Whether its calls are answered at once; if not, POST /answer does.
    #[arg(long, default_value = "on", value_name = "on|off")]
    answer: Switch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

fn number(text: &str) -> Result<Number, String> {
    Number::parse(text).map_err(|error| error.to_string())
}

pub(super) async fn run(common: &Common, command: NumberCommand) -> Result<(), CliError> {
    let (config, store) = common.open_store().await?;
    let done = carry_out(common, &config, &store, command).await;
    store.close().await;
    done
}

async fn carry_out(
    common: &Common,
    config: &Config,
    store: &Store,
    command: NumberCommand,
) -> Result<(), CliError> {
    match command {
        NumberCommand::Add(args) => add(common, config, store, args).await,
        NumberCommand::List => list(common, &store.numbers().await?),
        NumberCommand::Remove { number } => {
            store.remove_number(number.as_str()).await?;
            said(common, &number, "removed");
            Ok(())
        }
    }
}

async fn add(
    common: &Common,
    config: &Config,
    store: &Store,
    args: AddArgs,
) -> Result<(), CliError> {
    if let Some(url) = &args.webhook {
        let (allow_http, allow_private) =
            (config.webhooks.allow_http, config.webhooks.allow_private);
        check_webhook_url(url, WebhookPolicy { allow_http, allow_private })
            .map_err(|error| CliError::Usage(format!("--webhook {url}: {error}")))?;
    }
    let own = OwnNumber {
        number: args.number.as_str().to_owned(),
        key_id: args.key,
        webhook_url: args.webhook,
        answer: args.answer == Switch::On,
        created_at: Millis::wall_clock(),
    };
    store.put_number(own).await?;
    said(common, &args.number, "saved");
    Ok(())
}

fn list(common: &Common, numbers: &[OwnNumber]) -> Result<(), CliError> {
    let shown: Vec<_> = numbers
        .iter()
        .map(|own| {
            json!({
                "number": own.number,
                "keyId": own.key_id,
                "webhook": own.webhook_url,
                "answer": own.answer,
                "createdAt": own.created_at,
            })
        })
        .collect();
    output::print(common.json, &json!(shown), || {
        let row = |own: &OwnNumber| {
            let answer = if own.answer { "on" } else { "off" };
            let webhook = or_dash(own.webhook_url.as_ref());
            vec![own.number.clone(), own.key_id.clone(), answer.to_owned(), webhook]
        };
        let rows: Vec<_> = numbers.iter().map(row).collect();
        table(&["NUMBER", "KEY", "ANSWER", "WEBHOOK"], &rows)
    });
    Ok(())
}

fn said(common: &Common, number: &Number, what: &str) {
    let value = json!({ "number": number.as_str(), "result": what });
    output::print(common.json, &value, || format!("number {number} {what}\n"));
}
