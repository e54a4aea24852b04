//! SIP over TLS by the real program: served with the certificate that lies there, renewed on SIGHUP
//! while connections stay, and refused by name where it is bad.

use std::net::TcpListener;
use std::path::Path;

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::support::program::{Site, eventually, text};
use crate::support::tls;

fn fresh() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap()
}

fn put(site: &Site, made: &CertifiedKey<KeyPair>) {
    std::fs::write(site.path("sip.pem"), made.cert.pem()).unwrap();
    std::fs::write(site.path("sip.key"), made.signing_key.serialize_pem()).unwrap();
}

/// A site that listens on TLS, and where.
async fn site() -> (Site, u16) {
    let mut site = Site::new().await;
    let path = |path: &Path| path.display().to_string();
    let (cert, key) = (path(&site.path("sip.pem")), path(&site.path("sip.key")));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    site.set("KAPHILA_SIP_TLS", format!("127.0.0.1:{port}"));
    site.set("KAPHILA_SIP_TLS_CERT", cert);
    site.set("KAPHILA_SIP_TLS_KEY", key);
    (site, port)
}

async fn connect(port: u16, trusted: &CertificateDer<'static>) -> Option<TlsStream<TcpStream>> {
    tls::connect(port, trusted.clone()).await.ok()
}

/// A ping is answered by a pong.
async fn lives(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\r\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewal_drops_no_connection_and_a_bad_certificate_is_refused() {
    let (site, port) = site().await;
    let (first, second) = (fresh(), fresh());
    put(&site, &first);
    let serving = site.serve(&[]).await;
    let mut kept = connect(port, first.cert.der()).await.unwrap();
    lives(&mut kept).await;
    assert!(connect(port, second.cert.der()).await.is_none());

    put(&site, &second);
    serving.hang_up();
    eventually(5, "the new certificate", async || connect(port, second.cert.der()).await.is_some())
        .await;
    lives(&mut kept).await;

    std::fs::write(site.path("sip.key"), "nonsense").unwrap();
    serving.hang_up();
    eventually(5, "refusal", async || {
        let log = std::fs::read_to_string(site.path("serve.log")).unwrap();
        log.contains("the certificate in use stays") && log.contains("has no private key")
    })
    .await;
    assert!(connect(port, second.cert.der()).await.is_some());
    let check = site.kaphila(&["check"]).await;
    let told = text(&check.stdout);
    assert_eq!(check.status.code(), Some(1), "{told}");
    assert!(told.contains("sip.tls_cert") && told.contains("has no private key"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_needs_a_certificate() {
    let mut site = Site::new().await;
    site.set("KAPHILA_SIP_TLS", "127.0.0.1:5061");
    let told = text(&site.kaphila(&["serve"]).await.stderr);
    assert!(told.contains("`sip.tls_cert` must be a path"), "{told}");
    site.set("KAPHILA_SIP_TLS_CERT", "cert.pem");
    let told = text(&site.kaphila(&["serve"]).await.stderr);
    assert!(told.contains("`sip.tls_key` must be a path too"), "{told}");
}
