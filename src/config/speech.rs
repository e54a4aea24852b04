//! `tts.*`.

use std::path::PathBuf;

use super::{ConfigError, Settings};

/// `tts.*`
#[derive(Debug, Clone)]
pub struct Tts {
    /// Disk kept for spoken prompts, in bytes.
    pub cache_bytes: u64,
    /// Google Cloud, where it is set up.
    pub google: Option<GoogleTts>,
    /// Where gTTS is asked, if it is on.
    pub gtts_endpoint: Option<String>,
}

/// `tts.google_*`
#[derive(Debug, Clone)]
pub struct GoogleTts {
    /// Scheme and host.
    pub endpoint: String,
    /// What opens it.
    pub credentials: GoogleCredentials,
}

/// The file that opens Google Cloud.
#[derive(Debug, Clone)]
pub enum GoogleCredentials {
    /// `tts.google_api_key_file`
    ApiKey(PathBuf),
    /// `tts.google_credentials_file`
    Account(PathBuf),
}

pub(super) fn tts(s: &Settings) -> Result<Tts, ConfigError> {
    let cache = s.setting("tts.cache_mb")?.integer(0..=1_048_576)?;
    let is_local = s.setting("tts.engine")?.text()? == "local";
    let is_on = s.setting("tts.gtts")?.boolean()? && !is_local;
    let gtts = endpoint(s, "tts.gtts_endpoint", "https://translate.google.com")?;
    Ok(Tts {
        cache_bytes: cache.unsigned_abs() << 20,
        google: google(s)?,
        gtts_endpoint: is_on.then_some(gtts),
    })
}

fn google(s: &Settings) -> Result<Option<GoogleTts>, ConfigError> {
    let engine = s.setting("tts.engine")?;
    let wanted =
        engine.choice(&[("auto", None), ("google", Some(true)), ("local", Some(false))])?;
    let file = |name: &str| -> Result<Option<PathBuf>, ConfigError> {
        let text = s.setting(name)?.text()?;
        Ok((!text.is_empty()).then(|| s.base.join(text)))
    };
    let account = s.setting("tts.google_credentials_file")?;
    let credentials = match (file("tts.google_api_key_file")?, file("tts.google_credentials_file")?)
    {
        (Some(_), Some(_)) => {
            return Err(account
                .invalid("empty where tts.google_api_key_file is set: one opens the service"));
        }
        (Some(path), None) => GoogleCredentials::ApiKey(path),
        (None, Some(path)) => GoogleCredentials::Account(path),
        (None, None) if wanted == Some(true) => {
            return Err(engine.invalid(
                    "auto or local: neither tts.google_api_key_file nor tts.google_credentials_file is set",
                ));
        }
        (None, None) => return Ok(None),
    };
    let endpoint = endpoint(s, "tts.google_endpoint", "https://texttospeech.googleapis.com")?;
    Ok((wanted != Some(false)).then_some(GoogleTts { endpoint, credentials }))
}

/// https, or http to this machine: a key goes there, and what customers say.
fn endpoint(s: &Settings, name: &str, example: &str) -> Result<String, ConfigError> {
    let setting = s.setting(name)?;
    let text = setting.text()?;
    let local = |host: Option<url::Host<&str>>| match host {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url::Url::parse(text) {
        Ok(url) if url.scheme() == "https" && url.has_host() => Ok(text.to_owned()),
        Ok(url) if url.scheme() == "http" && local(url.host()) => Ok(text.to_owned()),
        _ => Err(setting.invalid(format!("an https URL such as {example}"))),
    }
}
