//! `http.*`: where the REST API is served, and how.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::sip::file;
use super::{ConfigError, Settings};

/// `http.*`
#[derive(Debug, Clone)]
pub struct Http {
    /// Addresses of the REST API.
    pub listen: Vec<SocketAddr>,
    /// HTTPS with this certificate and key; `None` is plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Largest body in bytes.
    pub max_body: usize,
}

/// `tls_cert` and `tls_key`, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and the authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

pub(super) fn http(s: &Settings) -> Result<Http, ConfigError> {
    let tls = tls_files(s, "http.tls_cert", "http.tls_key")?;
    Ok(Http {
        listen: s.setting("http.listen")?.listeners()?,
        tls,
        trusted_proxies: networks(s)?,
        max_body: s.setting("http.max_body")?.size()?,
    })
}

/// A certificate and its key: both or neither.
pub(super) fn tls_files(
    s: &Settings,
    cert_name: &str,
    key_name: &str,
) -> Result<Option<TlsFiles>, ConfigError> {
    let pair = || format!("a path too: TLS needs {cert_name} and {key_name}");
    match (file(s, cert_name)?, file(s, key_name)?) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(s.setting(key_name)?.invalid(pair())),
        (None, Some(_)) => Err(s.setting(cert_name)?.invalid(pair())),
    }
}

fn networks(s: &Settings) -> Result<Vec<IpNet>, ConfigError> {
    let setting = s.setting("http.trusted_proxies")?;
    let network = |text: &String| {
        let whole = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| whole()).map_err(|_| setting.invalid(NETWORKS))
    };
    setting.texts()?.iter().map(network).collect()
}

const NETWORKS: &str = "a list of addresses or networks such as [\"10.0.0.0/8\", \"::1\"]";
