//! `kaphila init` and `kaphila config`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{CliError, Common, output};
use crate::config::{self, Config, Settings};
use crate::store::{Store, SyncMode};

/// `kaphila init`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  kaphila init --dir /etc/kaphila")]
pub(super) struct InitArgs {
    /// The folder that gets kaphila.toml, and data and sounds beside it.
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
}

pub(super) async fn init(common: &Common, args: &InitArgs) -> Result<(), CliError> {
    make_folder(&args.dir)?;
    let file = args.dir.join("kaphila.toml");
    let written = write_template(&file)?;
    let settings = Settings::load(Some(&file), std::env::vars())?;
    let config = Config::from_settings(&settings)?;
    for folder in [&config.paths.data, &config.paths.recordings, &config.paths.sounds] {
        make_folder(folder)?;
    }
    let store = Store::open(&config.database.url, SyncMode::Normal).await?;
    store.close().await;
    let (name, data) = (output::path(&file), output::path(&config.paths.data));
    let result = json!({ "config": name, "written": written, "data": data });
    output::print(common.json, &result, || {
        let did = if written { "written" } else { "was there already and is unchanged" };
        format!(
            "{} {did}; folders and database are ready in {}\n\
             Next: kaphila trunk add, kaphila key create, kaphila serve\n",
            file.display(),
            config.paths.data.display()
        )
    });
    Ok(())
}

/// Writes the template unless a file is there; says whether it did.
fn write_template(file: &Path) -> Result<bool, CliError> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match opened.and_then(|mut it| it.write_all(config::template().as_bytes())) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(CliError::Failed(format!("cannot write {}: {error}", file.display()))),
    }
}

/// Makes a folder for the owner alone; one that exists is left as it is.
///
/// # Errors
/// When it cannot be made.
pub fn make_folder(folder: &Path) -> Result<(), CliError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| CliError::Failed(format!("cannot make {}: {error}", folder.display())))
}

pub(super) fn show(common: &Common) -> Result<(), CliError> {
    let (_, settings) = common.load()?;
    let value = config::effective_json(&settings);
    output::print(common.json, &value, || config::effective(&settings));
    Ok(())
}
