//! The configuration: one file, one table of keys, environment variables over it.
//!
//! It knows names, shapes, defaults and where each value came from; it opens no socket and no
//! database. Start at [`Config::load`]; the keys themselves stand in [`keys`].

mod http;
pub mod keys;
mod load;
mod media;
mod print;
mod sip;
mod speech;
mod value;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use http::{Http, TlsFiles};
pub use load::Settings;
pub use media::{Dtmf, Media};
pub use print::{effective, effective_json, template};
pub use speech::{GoogleCredentials, GoogleTts, Tts};
pub use value::{Origin, Raw, Setting, parse_duration, parse_size};

/// What is wrong with the configuration, and where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's words, with line and caret.
        message: String,
    },
    /// A key that does not exist.
    #[error("{origin}: unknown key `{key}`{}", suggestion(.nearest.as_deref()))]
    Unknown {
        /// Where it stands.
        origin: Origin,
        /// Its name.
        key: String,
        /// The name that was probably meant.
        nearest: Option<String>,
    },
    /// A key of a feature that this version does not have.
    #[error("{origin}: `{key}` is not built yet; {instead}")]
    NotBuilt {
        /// Where it stands.
        origin: Origin,
        /// Its name.
        key: String,
        /// What to do instead.
        instead: String,
    },
    /// A value of the wrong shape or out of range.
    #[error("{origin}: `{key}` must be {expected}, not {found}")]
    Invalid {
        /// Where it stands.
        origin: Origin,
        /// Its name.
        key: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The table of keys lacks a name that the code asks for.
    #[error("no configuration key `{0}`")]
    NoSuchKey(String),
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// The configuration in force, typed.
#[derive(Debug, Clone)]
pub struct Config {
    /// `http.*`
    pub http: Http,
    /// `admin.listen`
    pub admin_listen: Vec<SocketAddr>,
    /// `sip.*`
    pub sip: Sip,
    /// `media.*`
    pub media: Media,
    /// `database.*`
    pub database: Database,
    /// `paths.*`
    pub paths: Paths,
    /// `amd.*`
    pub amd: Amd,
    /// `tts.*`
    pub tts: Tts,
    /// `webhooks.*`
    pub webhooks: Webhooks,
    /// `calls.*`
    pub calls: Calls,
    /// `log.*`
    pub log: Log,
}

/// `sip.*`
#[derive(Debug, Clone)]
pub struct Sip {
    /// UDP addresses to bind.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses to listen on.
    pub tcp: Vec<SocketAddr>,
    /// TLS addresses to listen on.
    pub tls: Vec<SocketAddr>,
    /// Our certificate and its key.
    pub tls_files: Option<TlsFiles>,
    /// Authorities besides the system's.
    pub tls_ca: Option<PathBuf>,
    /// The DNS servers that are asked where trunks are; none: the system's.
    pub dns_servers: Vec<SocketAddr>,
    /// Addresses for Via and Contact, where they differ from the bound ones: one of each family.
    pub public_addresses: Vec<IpAddr>,
    /// User-Agent and Server.
    pub user_agent: String,
    /// T1 of RFC 3261.
    pub timer_t1: Duration,
    /// DSCP, 0–63.
    pub dscp: u8,
}

/// `database.*`
#[derive(Clone)]
pub struct Database {
    /// The URL, its path absolute.
    pub url: String,
    /// `database.sync = "full"`.
    pub sync_full: bool,
    /// How long ended calls are kept.
    pub keep_calls: Duration,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("url", &value::without_password(&self.url))
            .field("sync_full", &self.sync_full)
            .field("keep_calls", &self.keep_calls)
            .finish()
    }
}

/// `paths.*`, all resolved.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The server's own folder.
    pub data: PathBuf,
    /// Recordings.
    pub recordings: PathBuf,
    /// Sounds for `/play`.
    pub sounds: PathBuf,
}

impl Paths {
    /// Spoken prompts.
    #[must_use]
    pub fn tts(&self) -> PathBuf {
        self.data.join("tts")
    }
    /// What live calls write while the database is away.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.data.join("journal")
    }

    /// The socket that commands ask.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.data.join("kaphila.sock")
    }
    /// The lock file.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }
}

/// `amd.*`: the classic detector's parameters (`reference.md` names).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amd {
    /// Silence before any word.
    pub initial_silence: Duration,
    /// Voice in all.
    pub greeting: Duration,
    /// Silence after a word.
    pub after_greeting_silence: Duration,
    /// Time for a verdict.
    pub total_analysis_time: Duration,
    /// A voiced run that is a word.
    pub min_word_length: Duration,
    /// Silence that ends a word.
    pub between_words_silence: Duration,
    /// Words allowed.
    pub maximum_number_of_words: u32,
    /// One voiced run.
    pub maximum_word_length: Duration,
    /// Mean level of a silent frame.
    pub silence_threshold: u16,
    /// `HUMAN`, `MACHINE` or `NOTSURE`.
    pub initial_silence_status: String,
}

/// `webhooks.*`
#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Plain HTTP allowed.
    pub allow_http: bool,
    /// Private addresses allowed.
    pub allow_private: bool,
    /// Per attempt.
    pub timeout: Duration,
    /// Pauses between attempts.
    pub retry: Vec<Duration>,
}

/// `calls.*`
#[derive(Debug, Clone)]
pub struct Calls {
    /// Where a request has none.
    pub default_ring_timeout: Duration,
    /// From the answer.
    pub max_duration: Duration,
    /// After the first 100.
    pub answer_after_trying: Duration,
    /// In any case.
    pub answer_within: Duration,
    /// Record by default.
    pub record: bool,
    /// Never dialled.
    pub deny_numbers: Vec<String>,
}

/// `log.*`
#[derive(Debug, Clone)]
pub struct Log {
    /// A level or a filter.
    pub level: String,
    /// JSON lines rather than text; `None` decides by the terminal.
    pub json: Option<bool>,
}

impl Config {
    /// Finds the file (`--config`, `KAPHILA_CONFIG`, `./kaphila.toml`, `/etc/kaphila/kaphila.toml`),
    /// reads it and the environment.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn load(explicit: Option<&Path>) -> Result<(Self, Settings), ConfigError> {
        let settings = Settings::load(locate(explicit).as_deref(), std::env::vars())?;
        Ok((Self::from_settings(&settings)?, settings))
    }

    /// Gives every setting its type.
    ///
    /// # Errors
    /// The first value that is out of shape or range.
    pub fn from_settings(s: &Settings) -> Result<Self, ConfigError> {
        let paths = paths(s)?;
        let sip = sip::sip(s)?;
        let media = media::media(s, &sip)?;
        Ok(Self {
            http: http::http(s)?,
            admin_listen: s.setting("admin.listen")?.listeners()?,
            database: database(s, &paths)?,
            amd: amd(s)?,
            tts: speech::tts(s)?,
            webhooks: webhooks(s)?,
            calls: calls(s)?,
            log: log(s)?,
            sip,
            media,
            paths,
        })
    }
}

/// The file that would be read.
#[must_use]
pub fn locate(explicit: Option<&Path>) -> Option<PathBuf> {
    if let Some(path) = explicit {
        return Some(path.to_owned());
    }
    if let Some(path) = std::env::var_os("KAPHILA_CONFIG") {
        return Some(path.into());
    }
    ["./kaphila.toml", "/etc/kaphila/kaphila.toml"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

fn paths(s: &Settings) -> Result<Paths, ConfigError> {
    // Without `./` on the way: paths are shown.
    let based = |text: &str| s.base.join(text).components().collect::<PathBuf>();
    let data = based(s.setting("paths.data")?.text()?);
    let resolve = |name: &str| -> Result<PathBuf, ConfigError> {
        let text = s.setting(name)?.text()?;
        Ok(match text.strip_prefix("<data>") {
            Some(rest) => data.join(rest.trim_start_matches('/')),
            None => based(text),
        })
    };
    let (recordings, sounds) = (resolve("paths.recordings")?, resolve("paths.sounds")?);
    Ok(Paths { data, recordings, sounds })
}

fn database(s: &Settings, paths: &Paths) -> Result<Database, ConfigError> {
    let setting = s.setting("database.url")?;
    let text = setting.text()?;
    let url = match text.strip_prefix("sqlite://") {
        Some(file) => {
            let (folder, file) = match file.strip_prefix("<data>") {
                Some(rest) => (&paths.data, rest.trim_start_matches('/')),
                None => (&s.base, file),
            };
            let text = folder.to_str().ok_or_else(|| {
                let folder = folder.display();
                setting.invalid(format!("a folder whose name is UTF-8, which {folder} is not"))
            })?;
            // What follows is a part of the URL already.
            let folder = PathBuf::from(text.replace('%', "%25").replace('?', "%3f"));
            format!("sqlite://{}", folder.join(file).display())
        }
        None if text.starts_with("postgres://") || text.starts_with("postgresql://") => {
            text.to_owned()
        }
        None => return Err(setting.invalid("sqlite://FILE or postgres://USER@HOST/NAME")),
    };
    Ok(Database {
        url,
        sync_full: s.setting("database.sync")?.choice(&[("normal", false), ("full", true)])?,
        keep_calls: s.setting("database.keep_calls")?.duration(DAY..=36_500 * DAY)?,
    })
}

const DAY: Duration = Duration::from_secs(86_400);

fn amd(s: &Settings) -> Result<Amd, ConfigError> {
    s.setting("amd.mode")?.choice(&[("classic", ())])?;
    let duration =
        |name: &str| s.setting(name)?.duration(Duration::ZERO..=Duration::from_secs(120));
    let status = s.setting("amd.initial_silence_status")?;
    let words = s.setting("amd.maximum_number_of_words")?.integer(0..=1_000)?;
    let threshold = s.setting("amd.silence_threshold")?.integer(0..=32_767)?;
    Ok(Amd {
        initial_silence: duration("amd.initial_silence")?,
        greeting: duration("amd.greeting")?,
        after_greeting_silence: duration("amd.after_greeting_silence")?,
        total_analysis_time: duration("amd.total_analysis_time")?,
        min_word_length: duration("amd.min_word_length")?,
        between_words_silence: duration("amd.between_words_silence")?,
        maximum_number_of_words: u32::try_from(words).unwrap_or(u32::MAX),
        maximum_word_length: duration("amd.maximum_word_length")?,
        silence_threshold: u16::try_from(threshold).unwrap_or(u16::MAX),
        initial_silence_status: status
            .choice(&[("HUMAN", "HUMAN"), ("MACHINE", "MACHINE"), ("NOTSURE", "NOTSURE")])?
            .to_owned(),
    })
}

fn webhooks(s: &Settings) -> Result<Webhooks, ConfigError> {
    let timeout = s.setting("webhooks.timeout_ms")?.integer(100..=60_000)?;
    Ok(Webhooks {
        allow_http: s.setting("webhooks.allow_http")?.boolean()?,
        allow_private: s.setting("webhooks.allow_private")?.boolean()?,
        timeout: Duration::from_millis(timeout.unsigned_abs()),
        retry: s.setting("webhooks.retry")?.durations()?,
    })
}

fn calls(s: &Settings) -> Result<Calls, ConfigError> {
    let second = Duration::from_secs(1);
    let trying = s.setting("calls.answer_after_trying_ms")?.integer(0..=60_000)?;
    let within = s.setting("calls.answer_within_ms")?.integer(100..=60_000)?;
    Ok(Calls {
        default_ring_timeout: s
            .setting("calls.default_ring_timeout")?
            .duration(second..=300 * second)?,
        max_duration: s.setting("calls.max_duration")?.duration(second..=30 * DAY)?,
        answer_after_trying: Duration::from_millis(trying.unsigned_abs()),
        answer_within: Duration::from_millis(within.unsigned_abs()),
        record: s.setting("calls.record")?.boolean()?,
        deny_numbers: s.setting("calls.deny_numbers")?.texts()?,
    })
}

fn log(s: &Settings) -> Result<Log, ConfigError> {
    let formats = [("auto", None), ("text", Some(false)), ("json", Some(true))];
    Ok(Log {
        level: s.setting("log.level")?.text()?.to_owned(),
        json: s.setting("log.format")?.choice(&formats)?,
    })
}

fn address(s: &Settings, name: &str) -> Result<Option<IpAddr>, ConfigError> {
    let setting = s.setting(name)?;
    match setting.text()? {
        "" => Ok(None),
        text => {
            text.parse().map(Some).map_err(|_| setting.invalid("an IP address such as 192.0.2.7"))
        }
    }
}

/// A number, or `auto`.
fn automatic(
    s: &Settings,
    name: &str,
    range: RangeInclusive<i64>,
) -> Result<Option<usize>, ConfigError> {
    let setting = s.setting(name)?;
    if matches!(&setting.raw, Raw::Text(text) if text == "auto") {
        return Ok(None);
    }
    let expected = format!("\"auto\" or a number from {} to {}", range.start(), range.end());
    let number = setting.integer(range).map_err(|_| setting.invalid(expected))?;
    Ok(usize::try_from(number).ok())
}

fn dscp(s: &Settings, name: &str) -> Result<u8, ConfigError> {
    let setting = s.setting(name)?;
    let text = match &setting.raw {
        Raw::Integer(number) => number.to_string(),
        _ => setting.text()?.to_ascii_uppercase(),
    };
    let class = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.parse::<u8>().ok());
    let value = match text.as_str() {
        "EF" => Some(46),
        number if number.parse::<u8>().is_ok() => number.parse().ok(),
        _ => match (class("CS"), class("AF")) {
            (Some(class @ 0..=7), _) => Some(class * 8),
            // RFC 2597: AFxy is class x (1–4), drop precedence y (1–3).
            (_, Some(af)) if (1..=4).contains(&(af / 10)) && (1..=3).contains(&(af % 10)) => {
                Some(af / 10 * 8 + af % 10 * 2)
            }
            _ => None,
        },
    };
    value
        .filter(|value| *value < 64)
        .ok_or_else(|| setting.invalid("a DSCP name such as CS3, EF or AF31, or 0-63"))
}

#[cfg(test)]
mod tests;
