//! `kaphila speak`: what a text would sound like on a call.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{CliError, Common, output};
use crate::tts;

/// `kaphila speak`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  kaphila speak \"Press one for sales\" -o menu.wav --voice en-US"
)]
pub(super) struct SpeakArgs {
    /// What to say.
    text: String,
    /// The WAV file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A language tag, or a voice named after one.
    #[arg(long, default_value = tts::DEFAULT_VOICE, value_name = "VOICE")]
    voice: String,
}

pub(super) async fn run(common: &Common, args: &SpeakArgs) -> Result<(), CliError> {
    let (config, _) = common.load()?;
    let speech = crate::server::speech(&config, &config.paths.tts())?;
    let file = speech
        .speak(&args.text, &args.voice)
        .await
        .map_err(|error| CliError::Failed(error.to_string()))?;
    let bytes = std::fs::copy(&file, &args.output).map_err(|error| {
        CliError::Failed(format!("cannot write {}: {error}", args.output.display()))
    })?;
    let result = json!({ "file": output::path(&args.output), "bytes": bytes });
    output::print(common.json, &result, || format!("{}\n", args.output.display()));
    Ok(())
}
