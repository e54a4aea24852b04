//! `http.*`: where the REST API is served, and how.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{ConfigError, Settings};

/// `http.*`
#[derive(Debug, Clone)]
pub struct Http {
    /// Addresses of the REST API.
    pub listen: Vec<SocketAddr>,
    /// HTTPS with this certificate and key; `None` is plain HTTP.
    pub tls: Option<TlsFiles>,
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
        max_body: s.setting("http.max_body")?.size()?,
    })
}
