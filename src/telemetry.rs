//! Logs: one subscriber for the process, as text for people or JSON lines for programs.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config;

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level` is no level and no filter.
    #[error("log.level `{0}` is neither a level nor a RUST_LOG filter")]
    Filter(String),
    /// A subscriber is there already.
    #[error("the log is set up already")]
    Twice,
}

/// Sends the process's log to standard error. `RUST_LOG` wins over `log.level`.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(log: &config::Log) -> Result<(), TelemetryError> {
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| log.level.clone());
    let filter = EnvFilter::builder()
        .parse(&directives)
        .map_err(|_| TelemetryError::Filter(directives.clone()))?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal);
    let done = if log.json.unwrap_or(!terminal) {
        builder.json().flatten_event(true).finish().try_init()
    } else {
        builder.with_target(false).finish().try_init()
    };
    done.map_err(|_| TelemetryError::Twice)
}
