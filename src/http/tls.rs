//! HTTPS: what the REST API's connections are accepted with.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::server::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::store::Millis;
use crate::tls::{Files, Renewable, TlsError};

/// HTTPS with a certificate that can be renewed.
pub struct Tls {
    certificate: Arc<Renewable>,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Tls {
    /// TLS 1.2 and 1.3 with the certificate of these files; HTTP/2 is offered before HTTP/1.1.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn open(files: Files, now: Millis) -> Result<Self, TlsError> {
        let certificate = Arc::new(Renewable::open(files, now)?);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { certificate, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &Renewable {
        &self.certificate
    }

    /// The server's side of a handshake.
    ///
    /// # Errors
    /// The client's faults.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }
}
