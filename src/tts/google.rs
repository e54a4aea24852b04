//! Google Cloud Text-to-Speech over REST (`v1/text:synthesize`), with an API key or a service account.

mod account;

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use account::Account;

use super::cache::is_whole_wav;
use super::service::{ANSWER_LIMIT, CONNECT_LIMIT, ServiceError, body};
use super::ssml::is_ssml;

/// Where the service is.
pub const ENDPOINT: &str = "https://texttospeech.googleapis.com";

/// The most that one request may say, in bytes (the service's own limit).
const MAX_BYTES: usize = 5_000;
/// The largest answer read: ten minutes of speech in base64.
const MAX_ANSWER: usize = 16 << 20;
/// Characters of the service's own words that are passed on.
const MAX_WORDS: usize = 200;
/// The header of an API key.
const KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

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
    Key(HeaderValue),
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
            .connect_timeout(CONNECT_LIMIT)
            .timeout(ANSWER_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let access = match &settings.credentials {
            Credentials::ApiKey(path) => Access::Key(api_key(path)?),
            Credentials::Account(path) => {
                Access::Account(Box::new(Account::read(path, client.clone())?))
            }
        };
        let url = format!("{}/v1/text:synthesize", settings.endpoint.trim_end_matches('/'));
        Ok(Self { client, url, access })
    }

    /// The WAV file in which `voice` says `text`, 8 kHz mono.
    pub(super) async fn speak(&self, text: &str, voice: &str) -> Result<Vec<u8>, ServiceError> {
        if text.len() > MAX_BYTES {
            return Err(ServiceError::TooLong(text.len(), MAX_BYTES));
        }
        let body = request(text, voice);
        let (secret, answer) = match &self.access {
            Access::Key(key) => (key.clone(), self.ask(&body, KEY, key).await?),
            Access::Account(account) => self.ask_with_token(&body, account).await?,
        };
        answer.audio(&secret)
    }

    /// A token may be taken back before its end: a second one is tried then.
    async fn ask_with_token(
        &self,
        body: &Value,
        account: &Account,
    ) -> Result<(HeaderValue, Answer), ServiceError> {
        let token = account.token().await.map_err(ServiceError::failed)?;
        let answer = self.ask(body, AUTHORIZATION, &token).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok((token, answer));
        }
        account.forget(&token);
        let token = account.token().await.map_err(ServiceError::failed)?;
        let answer = self.ask(body, AUTHORIZATION, &token).await?;
        Ok((token, answer))
    }

    async fn ask(
        &self,
        request: &Value,
        name: HeaderName,
        secret: &HeaderValue,
    ) -> Result<Answer, ServiceError> {
        let request = self.client.post(&self.url).json(request).header(name, secret);
        let response = request.send().await.map_err(ServiceError::of)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = body(response, MAX_ANSWER).await.map_err(ServiceError::of)?;
        let body = body.ok_or(ServiceError::Endless(MAX_ANSWER))?;
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Answer { status, headers, body })
    }
}

/// What the service answered; its body is null where it is no JSON.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// The WAV file in it, or whose fault it is that there is none. `secret` is what was sent.
    fn audio(&self, secret: &HeaderValue) -> Result<Vec<u8>, ServiceError> {
        if !self.status.is_success() {
            let said = format!("{} {}", self.status, self.words(secret));
            return Err(if self.concerns_the_text() {
                ServiceError::Refused(said)
            } else {
                ServiceError::failed_as(&self.headers, said)
            });
        }
        let audio = self.body.get("audioContent").and_then(Value::as_str);
        let audio = audio.and_then(|text| STANDARD.decode(text).ok());
        audio
            .filter(|audio| is_whole_wav(audio, audio.len() as u64))
            .ok_or_else(|| ServiceError::failed("its answer holds no whole WAV"))
    }

    /// Its own words, on a line. They may repeat the key: "Consumer 'api_key:AIza…' has been
    /// suspended".
    fn words(&self, secret: &HeaderValue) -> String {
        let words = self.body.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
        let secret = secret.to_str().unwrap_or_default();
        let secret = secret.strip_prefix("Bearer ").unwrap_or(secret);
        let words = words.replace(secret, "***").replace(char::is_control, " ");
        words.chars().take(MAX_WORDS).collect()
    }

    /// 400 is said of a text and of a voice; of a key that is none too, and of a project that may
    /// not ask.
    fn concerns_the_text(&self) -> bool {
        let error = |field: &str| self.body.get("error").and_then(|error| error.get(field));
        let is_of_a_key = |detail: &Value| {
            let reason = detail.get("reason").and_then(Value::as_str);
            reason.is_some_and(|reason| reason.starts_with("API_KEY_"))
        };
        match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => true,
            StatusCode::BAD_REQUEST => {
                let kind = error("status").and_then(Value::as_str);
                let details = error("details").and_then(Value::as_array);
                kind.is_none_or(|kind| kind == "INVALID_ARGUMENT")
                    && !details.is_some_and(|details| details.iter().any(is_of_a_key))
            }
            _ => false,
        }
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

/// A header that no log shows.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn api_key(path: &Path) -> Result<HeaderValue, SetupError> {
    let text = read(path)?;
    let key = text.trim();
    let is_one = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    is_one.then(|| secret(key)).flatten().ok_or_else(|| {
        let what = "must hold the API key alone, on one line".to_owned();
        SetupError::Content { path: path.to_owned(), what }
    })
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
        let key = api_key(&path).unwrap();
        assert!(!format!("{key:?} {:?}", Access::Key(key.clone())).contains("AIza"));
    }
}
