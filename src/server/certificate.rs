//! The certificates of the REST API and of SIP: at the start, on SIGHUP, and for `kaphila check`.

use std::sync::Arc;

use crate::config::Config;
use crate::http::tls::Tls;
use crate::store::Millis;
use crate::tls::{Certificate, Files, Renewable, TlsError, sip};

/// The certificate of HTTPS that the configuration names; `None` for plain HTTP.
///
/// # Errors
/// What keeps it from being served with.
pub fn check(config: &Config) -> Result<Option<Certificate>, TlsError> {
    files(config).map(|files| Certificate::load(&files, Millis::wall_clock())).transpose()
}

/// The certificate of SIP over TLS; `None` where there is none. The authorities are read too.
///
/// # Errors
/// What keeps TLS from being spoken.
pub fn check_sip(config: &Config) -> Result<Option<Certificate>, TlsError> {
    sip::open(&config.sip, Millis::wall_clock())?;
    let files = sip::files(&config.sip);
    files.map(|files| Certificate::load(&files, Millis::wall_clock())).transpose()
}

pub(super) fn open(config: &Config) -> Result<Option<Tls>, TlsError> {
    files(config).map(|files| Tls::open(files, Millis::wall_clock())).transpose()
}

/// The certificates that SIGHUP renews.
#[derive(Clone, Default)]
pub(super) struct Certificates {
    pub(super) https: Option<Arc<Tls>>,
    pub(super) sip: Option<Arc<Renewable>>,
}

impl Certificates {
    /// Takes them as they lie on the disk now; a bad one is refused and the old one stays.
    pub(super) fn renew(&self) {
        let https = self.https.as_deref().map(Tls::certificate);
        if https.is_none() && self.sip.is_none() {
            return tracing::info!("SIGHUP: trunks are up to date");
        }
        for (what, certificate) in [("https", https), ("sip", self.sip.as_deref())] {
            let Some(certificate) = certificate else { continue };
            match certificate.reload(Millis::wall_clock()) {
                Ok(expires) => tracing::info!(
                    what,
                    expires = expires.to_rfc3339(),
                    "SIGHUP: new connections get the certificate as it is now"
                ),
                Err(error) => {
                    tracing::error!(what, %error, "SIGHUP: the certificate in use stays");
                }
            }
        }
    }
}

fn files(config: &Config) -> Option<Files> {
    let tls = config.http.tls.as_ref()?;
    Some(Files { cert: tls.cert.clone(), key: tls.key.clone() })
}
