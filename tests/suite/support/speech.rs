//! A speech service, and the Google Cloud that it asks.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kaphila::tts::google::{Credentials, Google, Settings};
use kaphila::tts::{Online, Speech};
use serde_json::json;
use wiremock::{MockServer, ResponseTemplate};

pub(crate) const SYNTHESIZE: &str = "/v1/text:synthesize";
pub(crate) const NEURAL: &str = "en-US-Neural2-A";

pub(crate) fn install_tls() {
    // Once a program; a second time changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// 0.1 s of 8 kHz mono, unlike anything that a local engine says.
pub(crate) fn wav() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    (0..800).for_each(|n| writer.write_sample((n % 8) as i16 * 1_000).unwrap());
    writer.finalize().unwrap();
    bytes.into_inner()
}

pub(crate) fn spoken() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "audioContent": STANDARD.encode(wav()) }))
}

/// A service that asks `server` with an API key.
pub(crate) fn with_key(server: &MockServer, folder: &Path) -> Speech {
    install_tls();
    let key = folder.join("key");
    std::fs::write(&key, "AIzaTest\n").unwrap();
    let settings = Settings { endpoint: server.uri(), credentials: Credentials::ApiKey(key) };
    let google = Google::new(&settings).unwrap();
    Speech::open(&folder.join("cache"), 1 << 20, Online { google: Some(google), gtts: None })
        .unwrap()
}

/// A service that asks `server` with a token, which `server` gives too, at `/token`.
pub(crate) fn with_account(server: &MockServer, folder: &Path) -> Speech {
    install_tls();
    let account = account(folder, &format!("{}/token", server.uri()));
    let credentials = Credentials::Account(account);
    let google = Google::new(&Settings { endpoint: server.uri(), credentials }).unwrap();
    Speech::open(&folder.join("cache"), 1 << 20, Online { google: Some(google), gtts: None })
        .unwrap()
}

pub(crate) fn openssl(arguments: &[&str]) -> Vec<u8> {
    let done = Command::new("openssl").args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// A service account's file with a fresh key; its public key lies beside it.
pub(crate) fn account(folder: &Path, token_uri: &str) -> std::path::PathBuf {
    let (private, public) = (folder.join("private.pem"), folder.join("public.pem"));
    let (private, public) = (private.to_str().unwrap(), public.to_str().unwrap());
    let bits = "rsa_keygen_bits:2048";
    openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", bits, "-out", private]);
    openssl(&["pkey", "-in", private, "-pubout", "-out", public]);
    let file = json!({
        "type": "service_account",
        "client_email": "kaphila@project.iam.gserviceaccount.com",
        "private_key_id": "0123abcd",
        "private_key": std::fs::read_to_string(private).unwrap(),
        "token_uri": token_uri,
    });
    let path = folder.join("account.json");
    std::fs::write(&path, file.to_string()).unwrap();
    path
}
