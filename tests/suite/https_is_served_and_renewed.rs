//! HTTPS by the real program, to clients that we did not write: every form of key, renewal on
//! SIGHUP without a pause, and certificates that are refused by name.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use rcgen::{CertificateParams, CertifiedKey, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::client::TlsStream;

use crate::support::program::{Site, eventually, text};
use crate::support::tls;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_key_serves_and_renewal_drops_no_connection() {
    let mut site = Site::new().await;
    use_files(&mut site);
    let cert = site.path("cert.pem");
    write(&site, &fresh());
    let mut serving = site.serve(&[]).await;
    assert_eq!(fetched(&site, "--http2").await, "200 2");
    assert_eq!(fetched(&site, "--http1.1").await, "200 1.1");
    python(&site).await;
    // HTTP without TLS has no answer here.
    assert!(
        !curl(&site, &[&format!("http://127.0.0.1:{}/health", site.http)]).await.status.success()
    );

    let mut kept = connect(site.http, &cert).await;
    assert!(asked(&mut kept).await.starts_with("HTTP/1.1 200 "));
    let openssl = async |words: &[&str]| {
        let made = Command::new("openssl").args(words).output().await.unwrap();
        assert!(made.status.success(), "openssl {words:?}: {}", text(&made.stderr));
    };
    let (pkcs8, sec1) = (path(&site.path("pkcs8.pem")), path(&site.path("old.pem")));
    // SEC1, as `openssl ec` writes it.
    let made = fresh();
    std::fs::write(&pkcs8, made.signing_key.serialize_pem()).unwrap();
    openssl(&["ec", "-in", &pkcs8, "-out", &sec1]).await;
    let old = std::fs::read_to_string(&sec1).unwrap();
    assert!(old.contains("BEGIN EC PRIVATE KEY"), "{old}");
    renew(&site, &serving, &made.cert.pem(), &old).await;
    assert_eq!(fetched(&site, "--http2").await, "200 2");
    // PKCS#1, as `openssl rsa -traditional` writes it.
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &pkcs8])
        .await;
    openssl(&["rsa", "-traditional", "-in", &pkcs8, "-out", &sec1]).await;
    let old = std::fs::read_to_string(&sec1).unwrap();
    assert!(old.contains("BEGIN RSA PRIVATE KEY"), "{old}");
    let pair = KeyPair::from_pem(&std::fs::read_to_string(&pkcs8).unwrap()).unwrap();
    let rsa = CertificateParams::new(names()).unwrap().self_signed(&pair).unwrap();
    renew(&site, &serving, &rsa.pem(), &old).await;
    assert_eq!(fetched(&site, "--http2").await, "200 2");
    python(&site).await;

    assert!(asked(&mut kept).await.starts_with("HTTP/1.1 200 "), "renewals drop no connection");
    serving.terminate();
    assert!(serving.ends(Duration::from_secs(10)).await.success());
}

/// What is wrong with a pair of files, as the operator is told it.
fn bad_pairs() -> Vec<(&'static str, String, String)> {
    let (own, other) = (fresh(), fresh());
    let (cert, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    let between = |from: (i32, u8, u8), to: (i32, u8, u8)| {
        let mut params = CertificateParams::new(names()).unwrap();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
        params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
        params.self_signed(&own.signing_key).unwrap().pem()
    };
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let mismatched = other.signing_key.serialize_pem();
    vec![
        ("is not that of the certificate in", cert.clone(), mismatched),
        ("expired at 2020-01-02T00:00:00.000Z", between((2020, 1, 1), (2020, 1, 2)), key.clone()),
        ("is not valid before 2090-", between((2090, 1, 1), (2091, 1, 1)), key.clone()),
        ("has no certificate", String::new(), key.clone()),
        ("the first certificate in", rubbish.to_owned(), key),
        ("has no private key", cert.clone(), cert.clone()),
        ("with a passphrase must be decrypted first", cert.clone(), encrypted.to_owned()),
        ("is not a PEM file", cert, "-----BEGIN PRIVATE KEY-----\n???".to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_certificate_is_refused_and_the_old_one_stays() {
    let mut site = Site::new().await;
    use_files(&mut site);
    let good = fresh();
    write(&site, &good);
    let mut serving = site.serve(&[]).await;
    let log = site.path("serve.log");
    for (says, cert, key) in bad_pairs() {
        std::fs::write(site.path("cert.pem"), cert).unwrap();
        std::fs::write(site.path("key.pem"), key).unwrap();
        std::fs::write(&log, "").unwrap();
        serving.hang_up();
        eventually(5, says, async || {
            let lines = std::fs::read_to_string(&log).unwrap();
            lines.contains("the certificate in use stays") && lines.contains(says)
        })
        .await;
        std::fs::write(site.path("trusted.pem"), good.cert.pem()).unwrap();
        assert_eq!(fetched(&site, "--http2").await, "200 2", "{says}");
        // The same words from `check`, and at a start.
        let check = site.kaphila(&["check"]).await;
        assert_eq!(check.status.code(), Some(1));
        assert!(text(&check.stdout).contains(says), "{says}: {}", text(&check.stdout));
    }
    std::fs::remove_file(site.path("key.pem")).unwrap();
    let check = text(&site.kaphila(&["check"]).await.stdout);
    assert!(check.contains("cannot read") && check.contains("key.pem"), "{check}");
    serving.terminate();
    assert!(serving.ends(Duration::from_secs(10)).await.success());
    let start = site.kaphila(&["serve"]).await;
    assert_eq!(start.status.code(), Some(1));
    assert!(text(&start.stderr).contains("cannot read"), "{}", text(&start.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_tells_when_a_certificate_ends() {
    let mut site = Site::new().await;
    use_files(&mut site);
    write(&site, &fresh());
    let told = text(&site.kaphila(&["check"]).await.stdout);
    // rcgen's own certificates end in the year 4096.
    assert!(told.contains("ok      http.tls_cert") && told.contains("expires at 4096-"), "{told}");
    assert!(!told.contains("http.tls_key"), "{told}");
    let week = std::time::SystemTime::now() + Duration::from_secs(7 * 86_400);
    let mut params = CertificateParams::new(names()).unwrap();
    params.not_after = week.into();
    let pair = KeyPair::generate().unwrap();
    std::fs::write(site.path("cert.pem"), params.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(site.path("key.pem"), pair.serialize_pem()).unwrap();
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(site.path("key.pem"), readable).unwrap();
    let told = text(&site.kaphila(&["check"]).await.stdout);
    assert!(told.contains("warning http.tls_cert") && told.contains("in 6 days"), "{told}");
    assert!(told.contains("warning http.tls_key") && told.contains("read by others"), "{told}");
}

fn names() -> Vec<String> {
    vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
}

fn fresh() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(names()).unwrap()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn use_files(site: &mut Site) {
    let (cert, key) = (path(&site.path("cert.pem")), path(&site.path("key.pem")));
    site.set("KAPHILA_HTTP_TLS_CERT", cert);
    site.set("KAPHILA_HTTP_TLS_KEY", key);
}

fn write(site: &Site, made: &CertifiedKey<KeyPair>) {
    put(site, &made.cert.pem(), &made.signing_key.serialize_pem());
}

fn put(site: &Site, cert: &str, key: &str) {
    std::fs::write(site.path("cert.pem"), cert).unwrap();
    std::fs::write(site.path("trusted.pem"), cert).unwrap();
    std::fs::write(site.path("key.pem"), key).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(site.path("key.pem"), private).unwrap();
}

/// Puts the files in place, and waits until the server has taken them.
async fn renew(site: &Site, serving: &crate::support::program::Serving, cert: &str, key: &str) {
    put(site, cert, key);
    std::fs::write(site.path("serve.log"), "").unwrap();
    serving.hang_up();
    eventually(5, "the renewal", async || {
        let log = std::fs::read_to_string(site.path("serve.log")).unwrap();
        log.contains("new connections get the certificate")
    })
    .await;
}

async fn curl(site: &Site, words: &[&str]) -> Output {
    let trusted = path(&site.path("trusted.pem"));
    let mut command = Command::new("curl");
    command.args(["-s", "-S", "--noproxy", "*", "--max-time", "10", "--cacert", &trusted]);
    command.args(words).output().await.unwrap()
}

/// Status and HTTP version, by curl, which trusts only `trusted.pem`.
async fn fetched(site: &Site, version: &str) -> String {
    let url = format!("https://127.0.0.1:{}/health", site.http);
    let words = [version, "-o", "/dev/null", "-w", "%{http_code} %{http_version}", &url];
    let done = curl(site, &words).await;
    assert!(done.status.success(), "{}", text(&done.stderr));
    text(&done.stdout)
}

/// The same by Python's requests.
async fn python(site: &Site) {
    let url = format!("https://localhost:{}/health", site.http);
    let script = "import sys\ntry:\n import requests\nexcept ImportError:\n sys.exit(77)\n\
                  s = requests.Session(); s.trust_env = False; s.verify = sys.argv[2]\n\
                  print(s.get(sys.argv[1], timeout=10).status_code)";
    let trusted = path(&site.path("trusted.pem"));
    let done = Command::new("python3").args(["-c", script, &url, &trusted]).output().await.unwrap();
    if done.status.code() == Some(77) {
        return println!("skipped: HTTPS by requests, python3-requests is not installed");
    }
    assert_eq!(text(&done.stdout), "200\n", "{}", text(&done.stderr));
}

async fn connect(port: u16, trusted: &Path) -> TlsStream<TcpStream> {
    tls::connect(port, CertificateDer::from_pem_file(trusted).unwrap()).await.unwrap()
}

async fn asked(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 16_384];
    let read = stream.read(&mut buffer).await.unwrap();
    text(&buffer[..read])
}
