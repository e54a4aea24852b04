//! A service account: a signed assertion (RFC 7523) for an access token, kept until shortly before
//! its end.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::{SetupError, read};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long an assertion is good for: the most that Google takes.
const ASSERTION_SECS: u64 = 3_600;
/// A token is renewed so long before its end.
const MARGIN: Duration = Duration::from_secs(60);

/// A service account and its token.
pub(super) struct Account {
    email: String,
    key_id: String,
    token_uri: String,
    key: RsaKeyPair,
    token: Mutex<Option<Token>>,
}

struct Token {
    text: String,
    until: SystemTime,
}

/// The file as Google's console writes it.
#[derive(Deserialize)]
struct File {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: String,
    token_uri: String,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

impl Account {
    /// Reads the account's file.
    pub(super) fn read(path: &Path) -> Result<Self, SetupError> {
        let wrong = |what: String| SetupError::Content { path: path.to_owned(), what };
        let file: File = serde_json::from_str(&read(path)?)
            .map_err(|error| wrong(format!("is no service account: {error}")))?;
        let key = private_key(&file.private_key)
            .ok_or_else(|| wrong("private_key is no RSA key in PKCS#8".to_owned()))?;
        Ok(Self {
            email: file.client_email,
            key_id: file.private_key_id,
            token_uri: file.token_uri,
            key,
            token: Mutex::new(None),
        })
    }

    /// A token that is good for a while, asked for if there is none. `Err` says why there is none.
    pub(super) async fn token(&self, client: &reqwest::Client) -> Result<String, String> {
        let mut kept = self.token.lock().await;
        let now = SystemTime::now();
        if let Some(token) = kept.as_ref().filter(|token| token.until > now + MARGIN) {
            return Ok(token.text.clone());
        }
        let granted =
            self.ask(client, now).await.map_err(|why| format!("no access token: {why}"))?;
        let token = kept.insert(Token {
            text: granted.access_token,
            until: now + Duration::from_secs(granted.expires_in),
        });
        Ok(token.text.clone())
    }

    async fn ask(&self, client: &reqwest::Client, now: SystemTime) -> Result<Granted, String> {
        let words = |error: reqwest::Error| error.without_url().to_string();
        let assertion = self.assertion(now)?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", GRANT)
            .append_pair("assertion", &assertion)
            .finish();
        let response = client
            .post(&self.token_uri)
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .map_err(words)?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("{status} for {}", self.email));
        }
        response.json().await.map_err(words)
    }

    /// The assertion: a JWT signed with RS256.
    fn assertion(&self, now: SystemTime) -> Result<String, String> {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let head = json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id });
        let claims = json!({
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": since,
            "exp": since + ASSERTION_SECS,
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(head), part(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the assertion could not be signed".to_owned())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// An RSA key from PEM (RFC 7468, `PRIVATE KEY`).
fn private_key(pem: &str) -> Option<RsaKeyPair> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let text: String = body.split_ascii_whitespace().collect();
    RsaKeyPair::from_pkcs8(&STANDARD.decode(text).ok()?).ok()
}
