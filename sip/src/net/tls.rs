//! What SIP over TLS is spoken with, and how far ends prove who they are (RFC 5922).
//!
//! It knows certificates' names; it reads no file and opens no socket. Start at [`Tls`].

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ResolvesServerCert;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// What TLS is spoken with.
#[derive(Clone)]
pub struct Tls {
    /// For connections that we open; what is missing where there is none.
    pub(super) connector: Result<TlsConnector, String>,
    /// For connections to our listeners.
    pub(super) acceptor: Option<TlsAcceptor>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("listens", &self.acceptor.is_some()).finish_non_exhaustive()
    }
}

impl Default for Tls {
    /// TLS is not spoken.
    fn default() -> Self {
        Self { connector: Err("TLS is not set up".to_owned()), acceptor: None }
    }
}

impl Tls {
    /// TLS 1.2 and 1.3. Far ends that we connect to must prove by a certificate of one of `roots`
    /// the name that was dialled; to those that ask we show our own certificate.
    ///
    /// # Errors
    /// The library refuses its own defaults.
    pub fn new(
        roots: RootCertStore,
        own: Option<(Arc<dyn ResolvesServerCert>, Arc<dyn ResolvesClientCert>)>,
    ) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let (server, client) = own.unzip();
        let connector = match roots.is_empty() {
            true => Err("TLS: no authority is trusted".to_owned()),
            false => Ok(TlsConnector::from(Arc::new(client_config(&provider, roots, client)?))),
        };
        let acceptor = match server {
            Some(own) => {
                let config = ServerConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()?
                    .with_no_client_auth()
                    .with_cert_resolver(own);
                Some(TlsAcceptor::from(Arc::new(config)))
            }
            None => None,
        };
        Ok(Self { connector, acceptor })
    }
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    roots: RootCertStore,
    own: Option<Arc<dyn ResolvesClientCert>>,
) -> Result<ClientConfig, Error> {
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(DomainVerifier { webpki }));
    Ok(match own {
        Some(own) => builder.with_client_cert_resolver(own),
        None => builder.with_no_client_auth(),
    })
}

/// The web's verifier, and besides its names the domains that a certificate names as SIP URIs
/// (RFC 5922 §7.1). The subject's common name counts for nothing.
#[derive(Debug)]
struct DomainVerifier {
    webpki: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for DomainVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // The names are looked at last: the chain and its times are right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if names_domain(end_entity, server_name) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Whether a certificate has a subjectAltName `sip:domain` or `sips:domain` of this name. One with
/// a user part is a person's and no domain's.
fn names_domain(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(name) = name else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|general| match general {
        GeneralName::URI(uri) => uri.split_once(':').is_some_and(|(scheme, domain)| {
            (scheme.eq_ignore_ascii_case("sip") || scheme.eq_ignore_ascii_case("sips"))
                && domain.eq_ignore_ascii_case(name.as_ref())
        }),
        _ => false,
    })
}
