//! Speech that is asked for over the network: why it may fail, whom that concerns, and how long it
//! may take.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use tokio::time::{Instant, timeout_at};

use super::google::Google;
use super::gtts::Gtts;
use super::rest::Rest;
use super::{engine, ssml};

/// Names of the services.
pub(super) const GOOGLE: &str = "Google Cloud";
pub(super) const GTTS: &str = "gTTS";

/// How long one answer may take: a prompt must still be spoken locally before the client gives up.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// All pieces of a text by gTTS.
const PIECES_LIMIT: Duration = Duration::from_secs(9);
/// How long it may take to get through to a service.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// With less time than this a service is not asked.
const LEAST_TIME: Duration = Duration::from_secs(1);

/// Why a text was not spoken. What follows is the next engine, so these are for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error("{0} bytes of text; the service takes {1} at once")]
    TooLong(usize, usize),
    #[error("it failed a moment ago and rests")]
    Resting,
    #[error("it did not say this text a moment ago")]
    TextRests,
    #[error("no time is left to ask it")]
    NoTime,
    /// The fault of this text or voice.
    #[error("it refused: {0}")]
    Refused(String),
    /// The same: a text may ask for hours of silence.
    #[error("it says more than {0} bytes")]
    Endless(usize),
    /// Nobody's fault until there are more of them.
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
    /// The fault of the service, or of how it is set up.
    #[error("{why}")]
    Failed {
        why: String,
        /// How long it asks to be left alone.
        rest: Option<Duration>,
    },
}

impl ServiceError {
    /// A fault of the service.
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), rest: None }
    }

    /// A fault of the service, as its answer tells it.
    pub(super) fn failed_as(headers: &HeaderMap, why: String) -> Self {
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Self::Failed { why, rest: seconds.map(Duration::from_secs) }
    }

    /// What the HTTP client said, without the address: that holds the text.
    pub(super) fn of(error: reqwest::Error) -> Self {
        // Who does not even get through is not late because of a text.
        if error.is_timeout() && !error.is_connect() {
            return Self::Late(ANSWER_LIMIT);
        }
        Self::failed(error.without_url().to_string())
    }

    /// Told before; once is enough in the log.
    pub(super) const fn is_known(&self) -> bool {
        matches!(self, Self::Resting | Self::TextRests)
    }
}

/// The whole body of an answer; `None` where it has more bytes than `most`.
pub(super) async fn body(
    mut response: reqwest::Response,
    most: usize,
) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// A service and its rest.
#[derive(Debug)]
pub(super) struct Service {
    rest: Mutex<Rest>,
    engine: Kind,
}

#[derive(Debug)]
enum Kind {
    Google(Google),
    Gtts(Gtts),
}

impl Service {
    pub(super) fn google(google: Google) -> Self {
        Self { rest: Mutex::default(), engine: Kind::Google(google) }
    }

    pub(super) fn gtts(gtts: Gtts) -> Self {
        Self { rest: Mutex::default(), engine: Kind::Gtts(gtts) }
    }

    /// Its name in the log.
    pub(super) const fn name(&self) -> &'static str {
        match self.engine {
            Kind::Google(_) => GOOGLE,
            Kind::Gtts(_) => GTTS,
        }
    }

    /// Its part of the time that a text may take.
    pub(super) const fn limit(&self) -> Duration {
        match self.engine {
            Kind::Google(_) => ANSWER_LIMIT,
            Kind::Gtts(_) => PIECES_LIMIT,
        }
    }

    /// The cache's name for a text: everything that changes the sound goes into it.
    pub(super) fn cache_name(&self, text: &str, voice: &str) -> String {
        let (engine, sound) = match self.engine {
            Kind::Google(_) => ("google-v1-8000", voice.to_owned()),
            Kind::Gtts(_) => ("gtts-v1", super::gtts::language(voice)),
        };
        let format = if ssml::is_ssml(text) { "ssml" } else { "plain" };
        engine::cache_name(&[engine, &sound, format, text])
    }

    /// Whether it is given marked-up text as it is.
    pub(super) const fn takes_ssml(&self) -> bool {
        matches!(self.engine, Kind::Google(_))
    }

    /// The WAV file in which `voice` says `text`, whose name in the cache is `name`, unless the
    /// service rests.
    pub(super) async fn speak(
        &self,
        name: &str,
        text: &str,
        voice: &str,
        until: Instant,
    ) -> Result<Vec<u8>, ServiceError> {
        let begun = Instant::now();
        if let Some(refusal) = self.with_rest(|rest| rest.refusal(name, begun)) {
            return Err(refusal);
        }
        if until < begun + LEAST_TIME {
            return Err(ServiceError::NoTime);
        }
        let answer = match timeout_at(until, self.ask(text, voice)).await {
            Ok(answer) => answer,
            Err(_) => Err(ServiceError::Late(until - begun)),
        };
        self.with_rest(|rest| match &answer {
            Ok(_) => rest.handle_speech(),
            Err(error) => rest.handle_error(name, text, error, Instant::now()),
        });
        answer
    }

    async fn ask(&self, text: &str, voice: &str) -> Result<Vec<u8>, ServiceError> {
        match &self.engine {
            Kind::Google(google) => google.speak(text, voice).await,
            Kind::Gtts(gtts) => gtts.speak(text, voice).await,
        }
    }

    fn with_rest<T>(&self, act: impl FnOnce(&mut Rest) -> T) -> T {
        act(&mut self.rest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
