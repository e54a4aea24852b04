//! Google Cloud Text-to-Speech over REST (`v1/text:synthesize`), with an API key or a service account.

mod account;

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use account::Account;

use super::service::ServiceError;
use super::ssml::is_ssml;

/// Where the service is.
pub const ENDPOINT: &str = "https://texttospeech.googleapis.com";

/// The most that one request may say, in bytes (the service's own limit).
const MAX_BYTES: usize = 5_000;
/// How long an answer may take: a prompt must still be spoken locally before the client gives up.
const TIME_LIMIT: Duration = Duration::from_secs(5);
/// The largest answer read: ten minutes of speech in base64.
const MAX_ANSWER: usize = 16 << 20;

/// How the service is reached, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Scheme and host, such as [`ENDPOINT`].
    pub endpoint: String,
    /// What opens it.
    pub credentials: Credentials,
}

/// The file with what opens the service. It is read once, at the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Holds an API key.
    ApiKey(PathBuf),
    /// A service account's JSON, as Google's console gives it.
    Account(PathBuf),
}

/// Why Google cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{path}: {what}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The HTTP client.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// The service's client.
#[derive(Debug)]
pub struct Google {
    client: reqwest::Client,
    url: String,
    access: Access,
}

enum Access {
    Key(String),
    Account(Box<Account>),
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(***)",
            Self::Account(_) => "Account(***)",
        })
    }
}

impl Google {
    /// A client with these settings; nothing is asked of the service yet.
    ///
    /// # Errors
    /// [`SetupError`], with the file.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        let client = reqwest::Client::builder()
            .timeout(TIME_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let access = match &settings.credentials {
            Credentials::ApiKey(path) => Access::Key(api_key(path)?),
            Credentials::Account(path) => Access::Account(Box::new(Account::read(path)?)),
        };
        let url = format!("{}/v1/text:synthesize", settings.endpoint.trim_end_matches('/'));
        Ok(Self { client, url, access })
    }

    /// The WAV file in which `voice` says `text`, 8 kHz mono.
    pub(super) async fn speak(&self, text: &str, voice: &str) -> Result<Vec<u8>, ServiceError> {
        if text.len() > MAX_BYTES {
            return Err(ServiceError::TooLong(text.len(), MAX_BYTES));
        }
        self.ask(&request(text, voice)).await
    }

    async fn ask(&self, body: &Value) -> Result<Vec<u8>, ServiceError> {
        let request = self.client.post(&self.url).json(body);
        let request = match &self.access {
            Access::Key(key) => request.header("x-goog-api-key", key),
            Access::Account(account) => request
                .bearer_auth(account.token(&self.client).await.map_err(ServiceError::Failed)?),
        };
        let mut response = request.send().await.map_err(ServiceError::of)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(ServiceError::of)? {
            if answer.len() + piece.len() > MAX_ANSWER {
                return Err(ServiceError::Failed("its answer does not end".to_owned()));
            }
            answer.extend_from_slice(&piece);
        }
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if !status.is_success() {
            let words = answer.pointer("/error/message").and_then(Value::as_str);
            let said = format!("{status} {}", words.unwrap_or_default());
            return Err(if status == reqwest::StatusCode::BAD_REQUEST {
                ServiceError::Refused(said)
            } else {
                ServiceError::Failed(said)
            });
        }
        let audio = answer.get("audioContent").and_then(Value::as_str);
        let audio = audio.and_then(|text| STANDARD.decode(text).ok());
        audio
            .filter(|audio| audio.starts_with(b"RIFF"))
            .ok_or_else(|| ServiceError::Failed("its answer holds no WAV".to_owned()))
    }
}

/// The request's body. A voice is a language tag, or a name that begins with one.
fn request(text: &str, voice: &str) -> Value {
    let mut parts = voice.splitn(3, '-');
    let language = parts.next().unwrap_or_default();
    let region = parts.next().filter(|part| !part.is_empty());
    let language = region.map_or(language.to_owned(), |region| format!("{language}-{region}"));
    let wanted = match parts.next() {
        Some(_) => json!({ "languageCode": language, "name": voice }),
        None => json!({ "languageCode": language }),
    };
    let input = if is_ssml(text) { json!({ "ssml": text }) } else { json!({ "text": text }) };
    json!({
        "input": input,
        "voice": wanted,
        "audioConfig": { "audioEncoding": "LINEAR16", "sampleRateHertz": 8_000 },
    })
}

fn api_key(path: &Path) -> Result<String, SetupError> {
    let text = read(path)?;
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let what = "must hold the API key alone, on one line".to_owned();
        return Err(SetupError::Content { path: path.to_owned(), what });
    }
    Ok(key.to_owned())
}

fn read(path: &Path) -> Result<String, SetupError> {
    std::fs::read_to_string(path)
        .map_err(|source| SetupError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_is_a_language_or_a_name() {
        let wanted = |voice| request("Hi", voice)["voice"].clone();
        let neural = json!({ "languageCode": "en-US", "name": "en-US-Neural2-A" });
        assert_eq!(wanted("en-US-Neural2-A"), neural);
        assert_eq!(wanted("it-IT"), json!({ "languageCode": "it-IT" }));
        assert_eq!(wanted("it"), json!({ "languageCode": "it" }));
        assert_eq!(request("Hi", "it")["input"], json!({ "text": "Hi" }));
        let ssml = "<speak>Hi<break time=\"1s\"/></speak>";
        assert_eq!(request(ssml, "it")["input"], json!({ "ssml": ssml }));
    }

    #[test]
    fn a_file_without_a_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(api_key(&path).unwrap_err().to_string().contains("cannot read"));
        for bad in ["", "\n", "two words", "é"] {
            std::fs::write(&path, bad).unwrap();
            assert!(api_key(&path).unwrap_err().to_string().contains("API key alone"), "{bad}");
        }
        std::fs::write(&path, "AIzaSecret\n").unwrap();
        assert_eq!(api_key(&path).unwrap(), "AIzaSecret");
        assert!(!format!("{:?}", Access::Key("AIzaSecret".into())).contains("AIza"));
    }
}
