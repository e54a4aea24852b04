//! A service account: a signed assertion (RFC 7523) for an access token.
//!
//! A token is asked for once, however many wait for it, well before the last one ends. Start at
//! [`Account::token`].

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use reqwest::header::HeaderValue;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use url::{Host, Url};

use super::super::service::body;
use super::{SetupError, read, secret};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long an assertion is good for: the most that Google takes.
const ASSERTION_SECS: u64 = 3_600;
/// How long the answer may take: less than a text may, so that this fault is told from a late text.
const TIME_LIMIT: Duration = Duration::from_secs(3);
/// The largest answer read.
const MAX_ANSWER: usize = 64 << 10;
/// A token is not used for so long before its end.
const MARGIN: Duration = Duration::from_secs(60);
/// The longest that a token is believed to live. Google's live an hour, at most twelve.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// How long a failure stands for whoever asks: they did not all come at once.
const FAILURE_STANDS: Duration = Duration::from_secs(2);

/// A service account and its token.
pub(super) struct Account {
    identity: Arc<Identity>,
    client: reqwest::Client,
    tokens: Mutex<Tokens>,
}

/// What the account's file tells.
struct Identity {
    email: String,
    key_id: String,
    token_uri: String,
    key: RsaKeyPair,
}

#[derive(Default)]
struct Tokens {
    current: Option<Token>,
    /// The request for the next one, which all who need it wait for.
    next: Option<Request>,
}

type Request = Shared<BoxFuture<'static, Result<Token, Failure>>>;

#[derive(Clone)]
struct Token {
    /// `Bearer …`, as it is sent.
    value: HeaderValue,
    /// From here on the next is asked for, while this is still good.
    renewed_from: Instant,
    until: Instant,
}

#[derive(Clone)]
struct Failure {
    why: Arc<str>,
    stands_until: Instant,
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

impl Account {
    /// Reads the account's file. Tokens will be asked for by `client`.
    pub(super) fn read(path: &Path, client: reqwest::Client) -> Result<Self, SetupError> {
        let wrong = |what: String| SetupError::Content { path: path.to_owned(), what };
        // An object first: of anything else the error would quote what may be the key.
        let file: serde_json::Map<String, Value> = serde_json::from_str(&read(path)?)
            .map_err(|error| wrong(format!("is no service account: {}", place(&error))))?;
        let file: File = serde_json::from_value(Value::Object(file))
            .map_err(|error| wrong(format!("is no service account: {error}")))?;
        if !is_safe(&file.token_uri) {
            return Err(wrong("token_uri is no https URL".to_owned()));
        }
        let key = private_key(&file.private_key)
            .ok_or_else(|| wrong("private_key is no RSA key in PKCS#8".to_owned()))?;
        let identity = Arc::new(Identity {
            email: file.client_email,
            key_id: file.private_key_id,
            token_uri: file.token_uri,
            key,
        });
        Ok(Self { identity, client, tokens: Mutex::default() })
    }

    /// A token that is good for a while, as a header. `Err` says why there is none.
    pub(super) async fn token(&self) -> Result<HeaderValue, String> {
        let next = match self.tokens().need(Instant::now(), || self.request()) {
            Ok(token) => return Ok(token),
            Err(next) => next,
        };
        next.await.map(|token| token.value).map_err(|failure| failure.why.to_string())
    }

    /// This token was refused: it is not used again.
    pub(super) fn forget(&self, refused: &HeaderValue) {
        let mut tokens = self.tokens();
        tokens.settle(Instant::now());
        if tokens.current.as_ref().is_some_and(|token| token.value == refused) {
            tokens.current = None;
        }
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a token. A task of its own, so that it comes to its end whoever waits or leaves.
    fn request(&self) -> Request {
        let (identity, client) = (self.identity.clone(), self.client.clone());
        let asked = tokio::spawn(async move {
            let granted = tokio::time::timeout(TIME_LIMIT, identity.ask(&client)).await;
            granted
                .unwrap_or_else(|_| Err(format!("not within {} s", TIME_LIMIT.as_secs())))
                .map_err(Failure::new)
        });
        let ended = |error: tokio::task::JoinError| Err(Failure::new(error.to_string()));
        asked.map(move |outcome| outcome.unwrap_or_else(ended)).boxed().shared()
    }
}

impl Tokens {
    /// The token to use now, or the request to wait for; `ask` starts one.
    fn need(
        &mut self,
        now: Instant,
        ask: impl FnOnce() -> Request,
    ) -> Result<HeaderValue, Request> {
        self.settle(now);
        let current = self.current.clone();
        if let Some(token) = current.as_ref().filter(|token| now < token.renewed_from) {
            return Ok(token.value.clone());
        }
        let next = self.next.get_or_insert_with(ask).clone();
        current.map(|token| token.value).ok_or(next)
    }

    /// Takes what was asked for, if it has come, and lets go what is over.
    fn settle(&mut self, now: Instant) {
        match self.next.as_ref().and_then(|next| next.clone().now_or_never()) {
            Some(Ok(token)) => (self.current, self.next) = (Some(token), None),
            Some(Err(failure)) if failure.stands_until <= now => self.next = None,
            Some(Err(_)) | None => {}
        }
        self.current.take_if(|token| token.until <= now);
    }
}

impl Failure {
    fn new(why: String) -> Self {
        let stands_until = Instant::now() + FAILURE_STANDS;
        Self { why: format!("no access token: {why}").into(), stands_until }
    }
}

impl Identity {
    async fn ask(&self, client: &reqwest::Client) -> Result<Token, String> {
        let words = |error: reqwest::Error| error.without_url().to_string();
        let now = Instant::now();
        let assertion = self.assertion(SystemTime::now())?;
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
        let answer = body(response, MAX_ANSWER).await.map_err(words)?;
        answer
            .and_then(|answer| token(&answer, now))
            .ok_or_else(|| "the answer holds none".to_owned())
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
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(head), part(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the assertion could not be signed".to_owned())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The token of an answer that came at `now`. Its life is a claim: seconds, none of them below zero
/// or beyond reason; without one it serves those who wait for it.
fn token(answer: &[u8], now: Instant) -> Option<Token> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let text = answer.get("access_token")?.as_str().filter(|text| !text.is_empty())?;
    let claimed = answer.get("expires_in").and_then(Value::as_f64).unwrap_or_default();
    let life = Duration::from_secs_f64(claimed.clamp(0.0, LONGEST.as_secs_f64()));
    let good = life.saturating_sub(MARGIN);
    Some(Token {
        value: secret(&format!("Bearer {text}"))?,
        renewed_from: now + good * 3 / 4,
        until: now + good,
    })
}

/// Where a text stops to be JSON. What stands there is not told.
fn place(error: &serde_json::Error) -> String {
    format!("no JSON object at line {} column {}", error.line(), error.column())
}

/// https, or http to this machine: assertions go there, and tokens come back.
fn is_safe(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && here)
}

/// An RSA key from PEM (RFC 7468, `PRIVATE KEY`).
fn private_key(pem: &str) -> Option<RsaKeyPair> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let text: String = body.split_ascii_whitespace().collect();
    RsaKeyPair::from_pkcs8(&STANDARD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_a_token_is_a_claim() {
        let now = Instant::now();
        let life = |claim: &str| {
            let answer = format!(r#"{{"access_token":"t"{claim}}}"#);
            let token = token(answer.as_bytes(), now).unwrap();
            assert!(token.renewed_from <= token.until);
            (token.until - now).as_secs()
        };
        assert_eq!(life(r#","expires_in":3600"#), 3_540);
        assert_eq!(life(r#","expires_in":3599.5"#), 3_539);
        for none in ["", r#","expires_in":-5"#, r#","expires_in":59"#, r#","expires_in":"soon""#] {
            assert_eq!(life(none), 0, "{none}");
        }
        for huge in ["18446744073709551615", "1e300", "99999999999999999999999"] {
            assert_eq!(life(&format!(r#","expires_in":{huge}"#)), 86_340, "{huge}");
        }
        for bad in ["", "[]", "{}", r#"{"access_token":5}"#, r#"{"access_token":"a\nb"}"#] {
            assert!(token(bad.as_bytes(), now).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_renewed_before_its_end_and_a_failure_stands_for_a_moment() {
        let now = Instant::now();
        let granted = |text: &str, now| {
            let answer = format!(r#"{{"access_token":"{text}","expires_in":3660}}"#);
            token(answer.as_bytes(), now).unwrap()
        };
        let minutes = |n: u32| now + Duration::from_secs(60) * n;
        let ready = |outcome| std::future::ready(outcome).boxed().shared();
        let waits = || std::future::pending().boxed().shared();
        let mut tokens = Tokens::default();
        // Whoever needs one while it is on its way waits for the same.
        let asked = tokens.need(now, waits).unwrap_err();
        let same = tokens.need(now, || unreachable!()).unwrap_err();
        assert!(asked.ptr_eq(&same));
        tokens.next = Some(ready(Ok(granted("first", now))));
        let first = tokens.need(now, || unreachable!()).unwrap();
        assert_eq!(first, "Bearer first");
        assert_eq!(tokens.need(minutes(44), || unreachable!()).unwrap(), first);
        // From here on the next is asked for, once, and nobody waits for it.
        assert_eq!(tokens.need(minutes(45), waits).unwrap(), first);
        assert_eq!(tokens.need(minutes(46), || unreachable!()).unwrap(), first);
        let stands_until = minutes(48);
        tokens.next = Some(ready(Err(Failure { why: "no".into(), stands_until })));
        assert_eq!(tokens.need(minutes(47), || unreachable!()).unwrap(), first);
        let second = ready(Ok(granted("second", minutes(48))));
        assert_eq!(tokens.need(minutes(48), || second).unwrap(), first);
        assert_eq!(tokens.need(minutes(49), || unreachable!()).unwrap(), "Bearer second");
        // Over: nobody gets it any more; a failure is everybody's.
        let failed = Failure { why: "no".into(), stands_until: minutes(200) };
        assert!(tokens.need(minutes(108), || ready(Err(failed))).is_err());
        assert!(tokens.need(minutes(199), || unreachable!()).is_err());
        assert!(tokens.need(minutes(200), waits).is_err());
    }

    #[test]
    fn an_account_asks_by_a_safe_way() {
        for good in ["https://oauth2.googleapis.com/token", "http://127.0.0.1:1/", "http://[::1]/"]
        {
            assert!(is_safe(good), "{good}");
        }
        for bad in ["http://oauth2.googleapis.com/token", "ftp://localhost/", "token", ""] {
            assert!(!is_safe(bad), "{bad}");
        }
    }
}
