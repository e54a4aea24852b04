//! `kaphila check`: what would stop a start or a call.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use super::{CliError, Common, output, trunk};
use crate::config::{Config, TlsFiles};
use crate::server;
use crate::store::{Millis, Store, SyncMode};
use crate::tls::{Certificate, TlsError};
use crate::trunk::probe;
use crate::tts::{self, Speech};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Good,
    Warning,
    Error,
}

#[derive(Debug, Default)]
struct Findings(Vec<(Level, String, String)>);

impl Findings {
    fn add(&mut self, level: Level, what: impl Into<String>, text: impl Into<String>) {
        self.0.push((level, what.into(), text.into()));
    }

    fn good(&mut self, what: impl Into<String>, text: impl Into<String>) {
        self.add(Level::Good, what, text);
    }

    fn error(&mut self, what: impl Into<String>, text: impl Into<String>) {
        self.add(Level::Error, what, text);
    }

    fn warning(&mut self, what: impl Into<String>, text: impl Into<String>) {
        self.add(Level::Warning, what, text);
    }
}

pub(super) async fn check(common: &Common) -> Result<(), CliError> {
    let (config, settings) = common.load()?;
    let mut findings = Findings::default();
    match &settings.file {
        Some(file) => findings.good("configuration", file.display().to_string()),
        None => findings.warning("configuration", "no kaphila.toml found: all defaults"),
    }
    let running = server::lock::is_held(&config.paths.lock());
    folders(&mut findings, &config);
    if running {
        findings.good("ports", "a server runs on this data folder and holds them");
    } else {
        ports(&mut findings, &config);
    }
    certificates(&mut findings, &config);
    speech(&mut findings, &config).await;
    database(&mut findings, &config).await;
    report(common, &findings)
}

fn folders(findings: &mut Findings, config: &Config) {
    let paths = &config.paths;
    for (what, path) in [("paths.data", &paths.data), ("paths.recordings", &paths.recordings)] {
        match writable(path) {
            Ok(()) => findings.good(what, path.display().to_string()),
            Err(error) => findings.error(
                what,
                format!("{} cannot be written: {error}; run kaphila init", path.display()),
            ),
        }
    }
    match fs::read_dir(&paths.sounds) {
        Ok(_) => findings.good("paths.sounds", paths.sounds.display().to_string()),
        Err(error) => findings.warning(
            "paths.sounds",
            format!("{}: {error}; /play finds no sounds", paths.sounds.display()),
        ),
    }
}

fn writable(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".kaphila-check-{}", std::process::id()));
    fs::OpenOptions::new().write(true).create_new(true).open(&probe)?;
    fs::remove_file(probe)
}

fn ports(findings: &mut Findings, config: &Config) {
    let tcp = |address: &SocketAddr| TcpListener::bind(address).map(drop);
    let udp = |address: &SocketAddr| UdpSocket::bind(address).map(drop);
    let mut listen = |what: &str, address: &SocketAddr, bound: std::io::Result<()>| match bound {
        Ok(()) => findings.good(what, address.to_string()),
        Err(error) => findings.error(what, format!("{address}: {error}")),
    };
    config.http.listen.iter().for_each(|it| listen("http.listen", it, tcp(it)));
    config.admin_listen.iter().for_each(|it| listen("admin.listen", it, tcp(it)));
    config.sip.udp.iter().for_each(|it| listen("sip.udp", it, udp(it)));
    config.sip.tcp.iter().for_each(|it| listen("sip.tcp", it, tcp(it)));
    config.sip.tls.iter().for_each(|it| listen("sip.tls", it, tcp(it)));
    let first = SocketAddr::new(config.media.address, *config.media.ports.start());
    listen("media.ports", &first, udp(&first));
}

/// How long before its end a certificate is spoken of.
const EXPIRES_SOON_DAYS: i64 = 14;

fn certificates(findings: &mut Findings, config: &Config) {
    let https = server::certificate::check(config);
    let keys = ("http.tls_cert", "http.tls_key");
    certificate(findings, keys, config.http.tls.as_ref(), https);
    let sip = server::certificate::check_sip(config);
    certificate(findings, ("sip.tls_cert", "sip.tls_key"), config.sip.tls_files.as_ref(), sip);
}

/// A certificate, its end and its key; an error also where there is none (an authority's).
fn certificate(
    findings: &mut Findings,
    (cert, key): (&'static str, &'static str),
    files: Option<&TlsFiles>,
    checked: Result<Option<Certificate>, TlsError>,
) {
    let checked = match checked {
        Ok(checked) => checked,
        Err(error) => {
            findings.error(cert, error.to_string());
            None
        }
    };
    let Some(files) = files else { return };
    if let Some(certificate) = checked {
        let days = certificate.expires.since(Millis::wall_clock()) / Millis::DAY;
        let expires = certificate.expires.to_rfc3339();
        let level = if days < EXPIRES_SOON_DAYS { Level::Warning } else { Level::Good };
        let path = files.cert.display();
        findings.add(level, cert, format!("{path} expires at {expires}, in {days} days"));
    }
    let mode = fs::metadata(&files.key).map(|file| file.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o077 != 0) {
        let text = format!("{} can be read by others; chmod 600 it", files.key.display());
        findings.warning(key, text);
    }
}

async fn speech(findings: &mut Findings, config: &Config) {
    let folder = std::env::temp_dir().join(format!("kaphila-check-{}", std::process::id()));
    services(findings, config, &folder).await;
    let Ok(speech) = Speech::open(&folder, config.tts.cache_bytes, tts::Online::default()) else {
        findings.error("tts", "no temporary folder can be written");
        return;
    };
    for (voice, program) in [("en-US", "flite"), ("it-IT", "espeak-ng")] {
        match speech.speak("check", voice).await {
            Ok(_) => findings.good("tts", format!("{program} speaks")),
            Err(error) => findings.warning("tts", error.to_string()),
        }
    }
    // Made a moment ago and ours alone; what stays behind is a few kilobytes of /tmp.
    let _ = fs::remove_dir_all(&folder);
}

/// Whether the services speak that are set up: what they do not say is said locally, so a fault of
/// their own is a warning, a file that cannot be read an error.
async fn services(findings: &mut Findings, config: &Config, folder: &Path) {
    let speech = match crate::server::speech(config, folder) {
        Ok(speech) => speech,
        Err(error) => return findings.error("tts", error.to_string()),
    };
    for (name, answer) in speech.ask_services("check", tts::DEFAULT_VOICE).await {
        match answer {
            Ok(()) => findings.good("tts", format!("{name} speaks")),
            Err(why) => findings.warning("tts", format!("{name} does not speak: {why}")),
        }
    }
}

async fn database(findings: &mut Findings, config: &Config) {
    let store = match Store::open(&config.database.url, SyncMode::Normal).await {
        Ok(store) => store,
        Err(error) => return findings.error("database", error.to_string()),
    };
    findings.good("database", "opens, and its tables are up to date");
    match store.trunks().await {
        Err(error) => findings.error("database", error.to_string()),
        Ok(trunks) if trunks.is_empty() => {
            findings.warning("trunks", "none: every call is refused 503 NO_TRUNKS");
        }
        Ok(trunks) => {
            for it in trunks {
                let what = format!("trunk {}", it.settings.name);
                if it.disabled {
                    findings.good(what, "disabled");
                    continue;
                }
                let found = probe::options(&config.sip, &it, trunk::PROBE_TIME).await;
                match found.answer {
                    Ok(answer) => match answer.refused(&it) {
                        Some(why) => findings.error(what, format!("{}: {why}", answer.status)),
                        None => findings.good(what, format!("answers {}", answer.status)),
                    },
                    Err(error) => findings.error(what, error),
                }
            }
        }
    }
    store.close().await;
}

fn report(common: &Common, findings: &Findings) -> Result<(), CliError> {
    let name = |level| match level {
        Level::Good => "ok",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let value = findings
        .0
        .iter()
        .map(|(level, what, text)| json!({ "level": name(*level), "what": what, "text": text }))
        .collect();
    output::print(common.json, &value, || {
        findings
            .0
            .iter()
            .map(|(level, what, text)| format!("{:8}{what}: {text}\n", name(*level)))
            .collect()
    });
    let failed = findings.0.iter().any(|(level, ..)| *level == Level::Error);
    if failed { Err(CliError::Silent) } else { Ok(()) }
}
