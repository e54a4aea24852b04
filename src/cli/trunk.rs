//! `kaphila trunk …`: the carriers' trunks.

mod export;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use kaphila_media::sdp::Codec;
use kaphila_sip::message::Uri;
use serde_json::{Value, json};

use super::output::{or_dash, table};
use super::{CliError, Common, key, output};
use crate::config::{Config, parse_duration};
use crate::control;
use crate::control::Live;
use crate::number::Number;
use crate::store::{
    List, MAX_QUALIFY_SECS, MAX_STRIP, Millis, Password, Store, Trunk, TrunkSettings,
};
use crate::trunk;
use crate::trunk::probe::{self, Probe};

/// `kaphila trunk`
#[derive(Debug, Subcommand)]
pub(super) enum TrunkCommand {
    /// Add a trunk, or change the one of this name: what is not given goes back to its default.
    #[command(
        after_help = "The password is read from its file and kept in the database; no command shows it.\n\nExamples:\n  kaphila trunk add carrier --uri sip:198.51.100.7\n  kaphila trunk add carrier --uri sip:sip.carrier.example --username 4711 --password-file 4711.secret --register\n  kaphila trunk add test --uri sip:127.0.0.1:5070 --prefix \"\" --codecs PCMA"
    )]
    Add(Box<AddArgs>),
    /// All trunks.
    #[command(after_help = "Example:\n  kaphila trunk list --json")]
    List,
    /// One trunk.
    #[command(after_help = "Example:\n  kaphila trunk show carrier")]
    Show {
        /// Its name.
        name: String,
    },
    /// Take over the trunks of an Asterisk pjsip.conf, and say what of it is not carried over.
    #[command(
        after_help = "Each endpoint whose aor has a contact becomes a trunk, with its identify's addresses. Exit 1 if an\nendpoint was left out; the others are taken over all the same.\n\nExample:\n  kaphila trunk import --dry-run /etc/asterisk/pjsip.conf"
    )]
    Import {
        /// The file.
        file: PathBuf,
        /// Say what would be done, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Change trunks that exist already.
        #[arg(long)]
        update: bool,
    },
    /// Print the command lines that make all trunks again.
    #[command(after_help = "Example:\n  kaphila trunk export > trunks.sh")]
    Export,
    /// Resolve a trunk and send it OPTIONS; exit 1 if it does not answer.
    #[command(after_help = "Example:\n  kaphila trunk test carrier")]
    Test {
        /// Its name.
        name: String,
    },
    /// Dial it no more. Its calls in progress go on.
    #[command(after_help = "Example:\n  kaphila trunk disable carrier")]
    Disable {
        /// Its name.
        name: String,
    },
    /// Dial it again.
    #[command(after_help = "Example:\n  kaphila trunk enable carrier")]
    Enable {
        /// Its name.
        name: String,
    },
    /// Forget it, and take it away from its keys.
    #[command(after_help = "Example:\n  kaphila trunk remove carrier")]
    Remove {
        /// Its name.
        name: String,
    },
}

/// `kaphila trunk add`
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// Its name, as customers see it.
    name: String,
    /// Where it is dialled: `sip:host[:port]` over UDP, `;transport=tcp` or `;transport=tls` behind
    /// it over those, `sips:host` over TLS with sips: URIs. Over TLS its certificate must prove the
    /// host. Without a transport, requests that are too large for UDP go over TCP.
    #[arg(long, value_name = "URI")]
    uri: String,
    /// What is dialled before every number: `00`, a tech prefix, or `+` for a carrier that wants E.164.
    #[arg(long, default_value = "00", value_name = "DIGITS")]
    prefix: String,
    /// How many leading digits of a number are dropped before the prefix is put there. A number that
    /// is no longer than that is dialled whole.
    #[arg(long = "strip", value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=MAX_STRIP))]
    strip_digits: i64,
    /// What stands before the caller's number: `+` for a carrier that wants E.164.
    #[arg(long, default_value = "", value_name = "DIGITS")]
    caller_prefix: String,
    /// Keep the caller from whom it calls: From is anonymous, and `Privacy: id` (or Remote-Party-ID's
    /// privacy=full) asks the carrier to tell no one.
    #[arg(long)]
    privacy: bool,
    /// The host in From; our own address otherwise.
    #[arg(long, value_name = "DOMAIN")]
    from_domain: Option<String>,
    /// The caller id when neither the request nor its key has one.
    #[arg(long, value_name = "NUMBER")]
    caller_id: Option<String>,
    /// The header that asserts the caller id: P-Asserted-Identity, Remote-Party-ID or none.
    #[arg(long, default_value = "none")]
    identity: Identity,
    /// Calls at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    max_channels: Option<i64>,
    /// New calls in any second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    max_cps: Option<i64>,
    /// Codecs offered, the preferred first; the configured ones otherwise.
    #[arg(long, value_delimiter = ',', value_name = "CODECS")]
    codecs: Vec<String>,
    /// An address or network from which its requests may come besides its own; may be repeated.
    #[arg(long, value_name = "CIDR")]
    allow: Vec<String>,
    /// Take the first RTP stream that comes, from any address (a carrier behind NAT).
    #[arg(long)]
    learn_rtp: bool,
    /// Numbers may hold * and #.
    #[arg(long)]
    allow_star_hash: bool,
    /// A number prefix it takes; may be repeated.
    #[arg(long = "allow-prefix", value_name = "PREFIX")]
    allow_prefixes: Vec<String>,
    /// A number prefix it does not take; may be repeated.
    #[arg(long = "deny-prefix", value_name = "PREFIX")]
    deny_prefixes: Vec<String>,
    /// Who we are to it: its challenges (digest) are answered, and only those that come from its
    /// own addresses.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    username: Option<String>,
    /// The file that holds the password.
    #[arg(long, value_name = "FILE", requires = "username")]
    password_file: Option<PathBuf>,
    /// The one realm whose challenges are answered; whatever it names otherwise.
    #[arg(long, value_name = "REALM", requires = "username")]
    realm: Option<String>,
    /// Register at it, so that its calls come in.
    #[arg(long, requires = "username")]
    register: bool,
    /// How often it is asked whether it is there (OPTIONS), such as 60s; 0: never.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = qualify)]
    qualify: i64,
    #[command(flatten)]
    later: NotBuilt,
}

/// What `operations.md` names and this version refuses.
#[derive(Debug, Args)]
struct NotBuilt {
    #[arg(long, hide = true, value_name = "MODE")]
    srtp: Option<String>,
}

impl NotBuilt {
    fn refuse(&self) -> Result<(), CliError> {
        let asked = [("--srtp", self.srtp.as_deref().is_some_and(|mode| mode != "off"))];
        match asked.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(CliError::Usage(format!("{name} is not built yet"))),
            None => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Identity {
    Pai,
    Rpid,
    None,
}

pub(super) async fn run(common: &Common, command: TrunkCommand) -> Result<(), CliError> {
    let (config, store) = common.open_store().await?;
    let done = carry_out(common, &config, &store, command).await;
    store.close().await;
    done
}

async fn carry_out(
    common: &Common,
    config: &Config,
    store: &Store,
    command: TrunkCommand,
) -> Result<(), CliError> {
    let now = Millis::wall_clock();
    match command {
        TrunkCommand::Add(args) => {
            let settings = settings(*args)?;
            let name = settings.name.clone();
            store.put_trunk(settings, now).await?;
            said(common, &name, "saved");
        }
        TrunkCommand::List => {
            let live = control::trunks(&config.paths.control()).await;
            list(common, &store.trunks().await?, &live);
        }
        TrunkCommand::Import { file, dry_run, update } => {
            return import(common, store, &file, (dry_run, update)).await;
        }
        TrunkCommand::Export => {
            let trunks = store.trunks().await?;
            output::print(common.json, &json!(trunks), || export::commands(&trunks));
        }
        TrunkCommand::Show { name } => {
            let trunk = store.trunk(&name).await?;
            let live = control::trunks(&config.paths.control()).await;
            let value = shown(&trunk, &live);
            output::print(common.json, &value, || describe(&value));
        }
        TrunkCommand::Test { name } => {
            let trunk = store.trunk(&name).await?;
            return test(common, config, &trunk).await;
        }
        TrunkCommand::Disable { name } => {
            store.disable_trunk(&name, true, now).await?;
            said(common, &name, "disabled");
        }
        TrunkCommand::Enable { name } => {
            store.disable_trunk(&name, false, now).await?;
            said(common, &name, "enabled");
        }
        TrunkCommand::Remove { name } => {
            store.remove_trunk(&name).await?;
            said(common, &name, "removed");
        }
    }
    Ok(())
}

/// Takes over what `file` holds, but trunks that exist already unless they are to be updated.
async fn import(
    common: &Common,
    store: &Store,
    file: &Path,
    (dry_run, update): (bool, bool),
) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", file.display()));
    let text = std::fs::read(file).map_err(failed)?;
    let found = trunk::import::read(&String::from_utf8_lossy(&text), |name| {
        Codec::from_name(name).is_some()
    });
    for note in found.notes.iter().chain(&found.refused) {
        eprintln!("kaphila: {}: {note}", file.display());
    }
    let known: Vec<String> =
        store.trunks().await?.into_iter().map(|trunk| trunk.settings.name).collect();
    let mut complete = found.refused.is_empty();
    let mut taken = Vec::new();
    for trunk in found.trunks {
        let name = trunk.name.clone();
        if known.contains(&name) && !update {
            eprintln!("kaphila: {name} exists already and stays as it is; --update changes it");
            complete = false;
            continue;
        }
        if !dry_run {
            store.put_trunk(trunk, Millis::wall_clock()).await?;
        }
        taken.push(name);
    }
    let value = json!({ "trunks": taken, "dryRun": dry_run });
    let what = if dry_run { "would be taken over" } else { "taken over" };
    output::print(common.json, &value, || {
        taken.iter().map(|name| format!("trunk {name} {what}\n")).collect()
    });
    if complete { Ok(()) } else { Err(CliError::Silent) }
}

/// How long `trunk test` and `check` wait for an answer to OPTIONS.
pub(super) const PROBE_TIME: Duration = Duration::from_secs(4);

async fn test(common: &Common, config: &Config, trunk: &Trunk) -> Result<(), CliError> {
    let Probe { remote, answer } = probe::options(&config.sip, trunk, PROBE_TIME).await;
    let refused = answer.as_ref().ok().and_then(|answer| answer.refused(trunk));
    let value = json!({
        "trunk": trunk.settings.name,
        "address": remote,
        "reachable": answer.is_ok(),
        "sipStatus": answer.as_ref().ok().map(|answer| answer.status),
        "roundTripMs": answer.as_ref().ok().map(|answer| answer.round_trip.as_millis() as u64),
        "error": answer.as_ref().err().cloned().or(refused.map(str::to_owned)),
    });
    output::print(common.json, &value, || match &answer {
        Ok(answer) => format!(
            "{}: {} answered OPTIONS with {} after {:.1} ms{}\n",
            trunk.settings.name,
            or_dash(remote),
            answer.status,
            answer.round_trip.as_secs_f64() * 1000.0,
            refused.map(|why| format!(": {why}")).unwrap_or_default()
        ),
        Err(error) => format!("{}: {error}\n", trunk.settings.name),
    });
    if answer.is_ok() && refused.is_none() { Ok(()) } else { Err(CliError::Silent) }
}

/// A password's file: one line.
pub(crate) fn read_password(file: &Path) -> Result<String, CliError> {
    let failed =
        |why: String| CliError::Failed(format!("--password-file {}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.chars().any(char::is_control) {
        return Err(failed("expected one line that is the password".to_owned()));
    }
    Ok(password.to_owned())
}

fn settings(args: AddArgs) -> Result<TrunkSettings, CliError> {
    args.later.refuse()?;
    let usage = |message: String| CliError::Usage(message);
    if args.name.is_empty() || args.name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(usage("a trunk's name has no spaces and is not empty".into()));
    }
    Uri::parse(&args.uri).map_err(|error| usage(format!("--uri {}: {error}", args.uri)))?;
    trunk::target::dialled(&args.uri).map_err(|error| usage(format!("--uri: {error}")))?;
    for (name, prefix) in [("--prefix", &args.prefix), ("--caller-prefix", &args.caller_prefix)] {
        if !prefix.bytes().all(|b| b.is_ascii_digit() || b == b'+' || b == b'*') {
            return Err(usage(format!("{name} {prefix}: digits, + and * only")));
        }
    }
    if let Some(bad) = args.codecs.iter().find(|name| Codec::from_name(name).is_none()) {
        return Err(usage(format!("--codecs: {bad} is not built; PCMU and PCMA are")));
    }
    for network in &args.allow {
        network
            .parse::<kaphila_sip::endpoint::Network>()
            .map_err(|_| usage(format!("--allow {network}: expected an address or CIDR")))?;
    }
    let word = |name: &str, value: &Option<String>| match value {
        Some(text) if text.is_empty() || text.chars().any(char::is_control) => {
            Err(usage(format!("{name}: empty, or with control characters")))
        }
        _ => Ok(()),
    };
    word("--username", &args.username)?;
    word("--realm", &args.realm)?;
    let password = args.password_file.as_deref().map(read_password).transpose()?;
    let caller_id = args
        .caller_id
        .map(|text| Number::parse(&text).map(|number| number.as_str().to_owned()))
        .transpose()
        .map_err(|error| usage(format!("--caller-id {error}")))?;
    if let Some(domain) = &args.from_domain {
        kaphila_sip::message::Host::parse(domain)
            .map_err(|error| usage(format!("--from-domain {domain}: {error}")))?;
    }
    Ok(TrunkSettings {
        strip_digits: args.strip_digits,
        prefix: args.prefix,
        caller_prefix: args.caller_prefix,
        privacy: args.privacy,
        caller_id,
        from_domain: args.from_domain,
        identity: match args.identity {
            Identity::Pai => "pai",
            Identity::Rpid => "rpid",
            Identity::None => "none",
        }
        .to_owned(),
        max_channels: args.max_channels,
        max_cps: args.max_cps,
        codecs: List(args.codecs.iter().map(|name| name.to_ascii_uppercase()).collect()),
        allow: List(args.allow),
        learn_rtp: args.learn_rtp,
        allow_star_hash: args.allow_star_hash,
        allow_prefixes: List(prefixes(args.allow_prefixes)?),
        deny_prefixes: List(prefixes(args.deny_prefixes)?),
        username: args.username,
        password: password.map(Password::new),
        realm: args.realm,
        register: args.register,
        qualify_secs: args.qualify,
        ..TrunkSettings::new(args.name, args.uri)
    })
}

/// Whole seconds, up to an hour.
fn qualify(text: &str) -> Result<i64, String> {
    let time = parse_duration(text).filter(|time| time.subsec_nanos() == 0);
    let seconds = time.and_then(|time| i64::try_from(time.as_secs()).ok());
    let seconds = seconds.filter(|seconds| *seconds <= MAX_QUALIFY_SECS);
    seconds.ok_or_else(|| "a time in whole seconds, such as 60s, up to 1h; 0: never".to_owned())
}

/// Those that say something: an empty one would be the prefix of every number.
fn prefixes(list: Vec<String>) -> Result<Vec<String>, CliError> {
    key::prefixes(list.into_iter().filter(|prefix| !prefix.is_empty()).collect())
}

fn said(common: &Common, name: &str, what: &str) {
    let value = json!({ "trunk": name, "done": what });
    output::print(common.json, &value, || format!("trunk {name} {what}\n"));
}

/// A trunk, whether it answers and its registration, as far as a running server knows.
fn shown(trunk: &Trunk, live: &Live) -> Value {
    let mut value = json!(trunk);
    let Some(members) = value.as_object_mut() else { return value };
    let reach = live.reaches.iter().find(|it| it.trunk == trunk.settings.name);
    members.insert("reachable".into(), json!(reach.map(|it| it.reachable)));
    members.insert("unreachableReason".into(), json!(reach.map(|it| &it.reason)));
    if trunk.settings.register {
        let status = live.registrations.iter().find(|it| it.trunk == trunk.settings.name);
        members.insert("registration".into(), json!(status.map(|it| &it.state)));
        members.insert("registrationReason".into(), json!(status.map(|it| &it.reason)));
    }
    value
}

fn list(common: &Common, trunks: &[Trunk], live: &Live) {
    let values: Vec<Value> = trunks.iter().map(|trunk| shown(trunk, live)).collect();
    output::print(common.json, &json!(values), || {
        let row = |trunk: &Trunk| {
            let it = &trunk.settings;
            let reach = live.reaches.iter().find(|that| that.trunk == it.name);
            let registration = live.registrations.iter().find(|that| that.trunk == it.name);
            vec![
                it.name.clone(),
                it.uri.clone(),
                it.prefix.clone(),
                or_dash(it.max_channels),
                or_dash(it.max_cps),
                if trunk.disabled { "disabled".into() } else { "enabled".into() },
                or_dash(reach.map(|it| if it.reachable { "yes" } else { "no" })),
                or_dash(registration.map(|it| &it.state)),
            ]
        };
        let heading =
            ["NAME", "URI", "PREFIX", "CHANNELS", "CPS", "STATE", "REACHABLE", "REGISTRATION"];
        table(&heading, &trunks.iter().map(row).collect::<Vec<_>>())
    });
}

fn describe(value: &Value) -> String {
    let Some(members) = value.as_object() else { return String::new() };
    let shown = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    members.iter().map(|(name, value)| format!("{name:19}{}\n", shown(value))).collect()
}
