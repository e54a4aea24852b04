//! The certificate of the REST API: at the start, on SIGHUP, and for `kaphila check`.

use crate::config::Config;
use crate::http::tls::{Certificate, Files, Tls, TlsError};
use crate::store::Millis;

/// The certificate that the configuration names; `None` for plain HTTP.
///
/// # Errors
/// What keeps it from being served with.
pub fn check(config: &Config) -> Result<Option<Certificate>, TlsError> {
    files(config).map(|files| Certificate::load(&files, Millis::wall_clock())).transpose()
}

pub(super) fn open(config: &Config) -> Result<Option<Tls>, TlsError> {
    files(config).map(|files| Tls::open(files, Millis::wall_clock())).transpose()
}

/// Takes the certificate as it lies on the disk now; a bad one is refused and the old one stays.
pub(super) fn renew(tls: Option<&Tls>) {
    let Some(tls) = tls else { return tracing::info!("SIGHUP: trunks are up to date") };
    match tls.reload(Millis::wall_clock()) {
        Ok(expires) => {
            let expires = expires.to_rfc3339();
            tracing::info!(expires, "SIGHUP: new connections get the certificate as it is now");
        }
        Err(error) => tracing::error!(%error, "SIGHUP: the certificate in use stays"),
    }
}

fn files(config: &Config) -> Option<Files> {
    let tls = config.http.tls.as_ref()?;
    Some(Files { cert: tls.cert.clone(), key: tls.key.clone() })
}
