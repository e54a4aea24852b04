//! What SIP over TLS is spoken with, as configured: our certificate, and whom we believe.

use std::path::Path;
use std::sync::Arc;

use kaphila_sip::net::Tls;
use rustls::RootCertStore;

use super::{Files, Renewable, TlsError, chain};
use crate::config;
use crate::store::Millis;

/// TLS for SIP, and the certificate to renew.
#[derive(Debug)]
pub struct SipTls {
    /// What the stack is started with.
    pub with: Tls,
    /// Ours; `None` where none is configured: trunks are dialled without one.
    pub own: Option<Arc<Renewable>>,
}

/// Reads the certificates that the configuration names, and the system's authorities.
///
/// # Errors
/// What is wrong with a file.
pub fn open(config: &config::Sip, now: Millis) -> Result<SipTls, TlsError> {
    let own = files(config).map(|files| Renewable::open(files, now)).transpose()?.map(Arc::new);
    let roots = authorities(config.tls_ca.as_deref())?;
    let shown = own.clone().map(|own| (own.clone() as _, own as _));
    Ok(SipTls { with: Tls::new(roots, shown)?, own })
}

/// Where our certificate lies.
#[must_use]
pub fn files(config: &config::Sip) -> Option<Files> {
    let files = config.tls_files.as_ref()?;
    Some(Files { cert: files.cert.clone(), key: files.key.clone() })
}

/// The system's authorities, as for HTTPS, and those of our own. The system may have some that
/// cannot be read, or none.
fn authorities(own: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = own {
        for certificate in chain(path)? {
            roots.add(certificate).map_err(|error| TlsError::BadAuthority {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
        }
    }
    Ok(roots)
}
