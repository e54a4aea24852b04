//! The command line: what is typed, what it is called, and its exit status.
//!
//! It knows arguments and how to show results. Each family of commands has a module of its own.
//! Start at [`run`].

mod amd;
mod audit;
mod backup;
mod check;
mod dtmf;
mod import;
mod key;
mod number;
pub(crate) mod output;
mod recordings;
mod setup;
mod speak;
mod trunk;
mod webhooks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, Settings};
use crate::store::{AdminError, Store, StoreError, SyncMode};
use crate::{control, dial, phone, server};
pub use setup::make_folder;
pub(crate) use trunk::read_password;

/// A native SIP/RTP call server with a REST API.
#[derive(Debug, Parser)]
#[command(name = "kaphila", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kaphila init                                  write kaphila.toml, make folders and database
  kaphila trunk add carrier --uri sip:198.51.100.7
  kaphila key create --name shop --credits 100 --trunk carrier
  kaphila serve                                 run the server
  kaphila phone                                 a test telephone on 127.0.0.1:5070
  kaphila dial sip:100@127.0.0.1:5070           one call without the REST API";

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The configuration file [default: $KAPHILA_CONFIG, ./kaphila.toml, /etc/kaphila/kaphila.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print data as JSON on standard output.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Common {
    /// The configuration in force.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(&self) -> Result<(Config, Settings), ConfigError> {
        Config::load(self.config.as_deref())
    }

    /// The configuration and its database, opened.
    ///
    /// # Errors
    /// What is wrong with either.
    pub async fn open_store(&self) -> Result<(Config, Store), CliError> {
        self.open_store_as(true).await
    }

    /// The same; unless it may `migrate`, tables that are not up to date are an error.
    ///
    /// # Errors
    /// As [`Self::open_store`].
    pub async fn open_store_as(&self, migrate: bool) -> Result<(Config, Store), CliError> {
        let (config, _) = self.load()?;
        setup::make_folder(&config.paths.data)?;
        let sync = if config.database.sync_full { SyncMode::Full } else { SyncMode::Normal };
        let store = Store::open_as(&config.database.url, sync, migrate).await?;
        store.acts_for(audit::actor());
        Ok((config, store))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server until SIGTERM, which drains it.
    Serve(server::ServeArgs),
    /// Write the configuration, make the folders and the database.
    Init(setup::InitArgs),
    /// Say what would stop a start or a call; exit 1 on an error.
    #[command(after_help = "Example:\n  kaphila check --config /etc/kaphila/kaphila.toml")]
    Check,
    /// Print the configuration in force and where each value came from.
    #[command(after_help = "Example:\n  KAPHILA_LOG_LEVEL=debug kaphila config")]
    Config,
    /// Make, list and change API keys.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Take over the calls of another service.
    #[command(subcommand)]
    Calls(import::CallsCommand),
    /// Add, list, test and change trunks.
    #[command(subcommand)]
    Trunk(trunk::TrunkCommand),
    /// Give keys the numbers on which trunks call in.
    #[command(subcommand)]
    Number(number::NumberCommand),
    /// Who changed keys, credits and trunks, when, and what.
    Audit(audit::AuditArgs),
    /// Be a test telephone: answer as told, send digits, report what was heard.
    Phone(phone::PhoneArgs),
    /// Place one call without the REST API, to try a trunk; exit 0 if it was answered.
    Dial(dial::DialArgs),
    /// Print the SIP ladder, timers, media counters and verdicts of a call of the running server.
    Trace(control::TraceArgs),
    /// Run the answering machine detector on WAV files; one line a file.
    Amd(amd::AmdArgs),
    /// Find the keys in WAV files, by their tones; one line a file.
    Dtmf(dtmf::DtmfArgs),
    /// Copy the database to a file, while the server runs.
    Backup(backup::BackupArgs),
    /// Put a backup in the database's place, while no server runs.
    Restore(backup::RestoreArgs),
    /// Bring the database's tables up to date.
    #[command(after_help = "Example:\n  kaphila migrate && kaphila serve --no-migrate")]
    Migrate,
    /// Print the OpenAPI 3.1 document of the API, as JSON.
    #[command(after_help = "Example:\n  kaphila openapi > kaphila-openapi.json")]
    Openapi,
    /// Speak a text into a WAV file with the configured engine.
    Speak(speak::SpeakArgs),
    /// List webhook deliveries, and send some again.
    #[command(subcommand)]
    Webhooks(webhooks::WebhooksCommand),
    /// Repair and prune recordings.
    #[command(subcommand)]
    Recordings(recordings::RecordingsCommand),
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Exit 1.
    #[error("{0}")]
    Failed(String),
    /// Exit 2: the words are right, their meaning is not.
    #[error("{0}")]
    Usage(String),
    /// Exit 3.
    #[error("{0}")]
    NotFound(String),
    /// Exit 1, and everything has been said already.
    #[error("")]
    Silent,
}

impl CliError {
    const fn status(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Silent => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<AdminError> for CliError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound(_) => Self::NotFound(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Runs the command that the arguments name. Data goes to standard output, words to standard error.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let workers = match &cli.command {
        Command::Serve(_) => None,
        _ => Some(1),
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        builder.worker_threads(workers);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kaphila: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(dispatch(cli));
    // What a finished command leaves behind (a name look-up) must not hold it up.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let status = error.status();
            if !matches!(error, CliError::Silent) {
                eprintln!("kaphila: {error}");
            }
            ExitCode::from(status)
        }
    }
}

async fn dispatch(cli: Cli) -> Result<(), CliError> {
    let Cli { common, command } = cli;
    match command {
        Command::Serve(args) => server::serve(&common, args).await,
        Command::Init(args) => setup::init(&common, &args).await,
        Command::Check => check::check(&common).await,
        Command::Config => setup::show(&common),
        Command::Calls(command) => import::calls(&common, &command).await,
        Command::Key(command) => key::run(&common, command).await,
        Command::Trunk(command) => trunk::run(&common, command).await,
        Command::Number(command) => number::run(&common, command).await,
        Command::Audit(args) => audit::run(&common, &args).await,
        Command::Phone(args) => phone::run(&common, args).await,
        Command::Dial(args) => dial::run(&common, args).await,
        Command::Trace(args) => control::trace(&common, args).await,
        Command::Backup(args) => backup::write(&common, &args).await,
        Command::Restore(args) => backup::restore(&common, &args).await,
        Command::Migrate => backup::migrate(&common).await,
        Command::Openapi => {
            output::line(format_args!("{:#}", server::openapi()));
            Ok(())
        }
        Command::Amd(args) => amd::run(&common, &args),
        Command::Dtmf(args) => dtmf::run(&common, &args),
        Command::Speak(args) => speak::run(&common, &args).await,
        Command::Webhooks(command) => webhooks::run(&common, command).await,
        Command::Recordings(command) => recordings::run(&common, command).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// `operations.md`: every command has `--help` with an example.
    #[test]
    fn every_command_has_an_example() {
        fn walk(command: &clap::Command) {
            let subcommands: Vec<_> = command.get_subcommands().collect();
            if subcommands.is_empty() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{} has no example", command.get_name());
            }
            subcommands.into_iter().filter(|it| it.get_name() != "help").for_each(walk);
        }
        walk(&Cli::command());
    }
}
