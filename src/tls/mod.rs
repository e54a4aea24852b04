//! Certificates with their keys, and their renewal without a pause; what SIP over TLS needs.
//!
//! It knows PEM files and what makes a pair of them fit to serve with; it opens no socket. Start at
//! [`Renewable::open`].

pub mod sip;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::store::Millis;

/// Where the certificate and its key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// PEM: the server's certificate, then those between it and the authority.
    pub cert: PathBuf,
    /// PEM: the key, as PKCS#8, PKCS#1 or SEC1, without a passphrase.
    pub key: PathBuf,
}

/// Why a certificate cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("{path} is not a PEM file: {reason}")]
    NotPem {
        /// Which.
        path: PathBuf,
        /// The parser's words.
        reason: String,
    },
    /// No certificate in the certificate's file.
    #[error("{0} has no certificate (a block that begins -----BEGIN CERTIFICATE-----)")]
    NoCertificate(PathBuf),
    /// The first certificate cannot be read.
    #[error("the first certificate in {path} cannot be read: {reason}")]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        reason: String,
    },
    /// No key in the key's file.
    #[error(
        "{0} has no private key (PKCS#8, PKCS#1 or SEC1, as PEM); one with a passphrase must be \
         decrypted first"
    )]
    NoKey(PathBuf),
    /// A key of a kind or size that cannot be used.
    #[error("the key in {path} cannot be used: {reason}")]
    BadKey {
        /// The file.
        path: PathBuf,
        /// The library's words.
        reason: String,
    },
    /// Certificate and key do not belong together.
    #[error("the key in {key} is not that of the certificate in {cert}")]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Its time is over.
    #[error("the certificate in {path} expired at {}", .at.to_rfc3339())]
    Expired {
        /// The file.
        path: PathBuf,
        /// Its last moment.
        at: Millis,
    },
    /// Its time has not come.
    #[error("the certificate in {path} is not valid before {}", .at.to_rfc3339())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Its first moment.
        at: Millis,
    },
    /// An authority's certificate that none can be trusted by.
    #[error("{path} has a certificate that is no authority's: {reason}")]
    BadAuthority {
        /// The file.
        path: PathBuf,
        /// The library's words.
        reason: String,
    },
    /// The library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// A certificate with its key, fit to serve with.
#[derive(Debug)]
pub struct Certificate {
    /// The last moment at which it is valid.
    pub expires: Millis,
    key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Reads both files and sees that they are a pair that is valid at `now`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its file.
    pub fn load(files: &Files, now: Millis) -> Result<Self, TlsError> {
        let chain = chain(&files.cert)?;
        let key = private_key(&files.key)?;
        let (from, expires) = validity(&chain, &files.cert)?;
        let key = ring::sign::any_supported_type(&key).map_err(|error| TlsError::BadKey {
            path: files.key.clone(),
            reason: error.to_string(),
        })?;
        let key = CertifiedKey::new(chain, key);
        if key.keys_match().is_err() {
            return Err(TlsError::Mismatch { cert: files.cert.clone(), key: files.key.clone() });
        }
        let path = files.cert.clone();
        if now > expires {
            return Err(TlsError::Expired { path, at: expires });
        }
        if now < from {
            return Err(TlsError::NotYetValid { path, at: from });
        }
        Ok(Self { expires, key: Arc::new(key) })
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let chain = found.map_err(|error| not_pem(path, &error))?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::NoKey(path.to_owned()),
        other => not_pem(path, &other),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn not_pem(path: &Path, error: &pem::Error) -> TlsError {
    TlsError::NotPem { path: path.to_owned(), reason: error.to_string() }
}

/// The first and last moment of the chain's first certificate.
fn validity(chain: &[CertificateDer<'_>], path: &Path) -> Result<(Millis, Millis), TlsError> {
    let bad = |reason: String| TlsError::BadCertificate { path: path.to_owned(), reason };
    let own = chain.first().ok_or_else(|| TlsError::NoCertificate(path.to_owned()))?;
    let (_, own) = X509Certificate::from_der(own).map_err(|error| bad(error.to_string()))?;
    let validity = own.validity();
    let millis = |seconds: i64| Millis(seconds.saturating_mul(1_000));
    Ok((millis(validity.not_before.timestamp()), millis(validity.not_after.timestamp())))
}

/// A certificate that can be renewed: connections that are open keep the one they began with.
#[derive(Debug)]
pub struct Renewable {
    files: Files,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Renewable {
    /// The certificate of these files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn open(files: Files, now: Millis) -> Result<Self, TlsError> {
        let certificate = Certificate::load(&files, now)?;
        Ok(Self { files, current: RwLock::new(certificate.key) })
    }

    /// Reads the files again for the connections to come. Returns when the certificate expires.
    ///
    /// # Errors
    /// What is wrong with the files; the certificate in use stays.
    pub fn reload(&self, now: Millis) -> Result<Millis, TlsError> {
        let Certificate { expires, key } = Certificate::load(&self.files, now)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(expires)
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Renewable {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Renewable {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
