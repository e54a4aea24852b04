//! `http.*`: where the REST API is served, and how.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

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

const PAIR: &str = "a path too: HTTPS needs http.tls_cert and http.tls_key";

pub(super) fn http(s: &Settings) -> Result<Http, ConfigError> {
    let file = |name: &str| -> Result<Option<PathBuf>, ConfigError> {
        let text = s.setting(name)?.text()?;
        Ok((!text.is_empty()).then(|| s.base.join(text)))
    };
    let tls = match (file("http.tls_cert")?, file("http.tls_key")?) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        (Some(_), None) => return Err(s.setting("http.tls_key")?.invalid(PAIR)),
        (None, Some(_)) => return Err(s.setting("http.tls_cert")?.invalid(PAIR)),
    };
    Ok(Http {
        listen: s.setting("http.listen")?.listeners()?,
        tls,
        trusted_proxies: networks(s)?,
        max_body: s.setting("http.max_body")?.size()?,
    })
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
