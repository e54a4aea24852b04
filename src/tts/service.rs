//! Speech that is asked for over the network: why it may fail, and how it is left alone then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::google::Google;
use super::gtts::Gtts;

/// Names of the services.
pub(super) const GOOGLE: &str = "Google Cloud";
pub(super) const GTTS: &str = "gTTS";

/// How long a service that failed is left alone.
const REST: Duration = Duration::from_secs(30);

/// Why a text was not spoken. What follows is the next engine, so these are for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    #[error("{0} bytes of text; the service takes {1} at once")]
    TooLong(usize, usize),
    #[error("it failed a moment ago and rests")]
    Resting,
    #[error("it refused: {0}")]
    Refused(String),
    #[error("{0}")]
    Failed(String),
}

impl ServiceError {
    /// The service is at fault, not this text or voice.
    const fn is_outage(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    /// What the HTTP client said, without the address: that holds the text.
    pub(super) fn of(error: reqwest::Error) -> Self {
        Self::Failed(error.without_url().to_string())
    }
}

/// A service's rest after a failure.
#[derive(Debug)]
pub(super) struct Rest {
    started: Instant,
    /// Milliseconds from `started` until which the service is left alone.
    until: AtomicU64,
}

impl Rest {
    fn new() -> Self {
        Self { started: Instant::now(), until: AtomicU64::new(0) }
    }

    /// Asks, unless the service rests; it rests from an outage on.
    async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        let now_ms = || self.started.elapsed().as_millis() as u64;
        if now_ms() < self.until.load(Ordering::Relaxed) {
            return Err(ServiceError::Resting);
        }
        let answer = answer.await;
        if answer.as_ref().is_err_and(ServiceError::is_outage) {
            self.until.store(now_ms() + REST.as_millis() as u64, Ordering::Relaxed);
        }
        answer
    }
}

/// A service and its rest.
#[derive(Debug)]
pub(super) struct Service {
    rest: Rest,
    engine: Kind,
}

#[derive(Debug)]
enum Kind {
    Google(Google),
    Gtts(Gtts),
}

impl Service {
    pub(super) fn google(google: Google) -> Self {
        Self { rest: Rest::new(), engine: Kind::Google(google) }
    }

    pub(super) fn gtts(gtts: Gtts) -> Self {
        Self { rest: Rest::new(), engine: Kind::Gtts(gtts) }
    }

    /// Its name in the log.
    pub(super) const fn name(&self) -> &'static str {
        match self.engine {
            Kind::Google(_) => GOOGLE,
            Kind::Gtts(_) => GTTS,
        }
    }

    /// Everything besides the text that changes the sound of this voice.
    pub(super) fn sound(&self, voice: &str) -> (&'static str, String) {
        match self.engine {
            Kind::Google(_) => ("google-v1-8000", voice.to_owned()),
            Kind::Gtts(_) => ("gtts-v1", super::gtts::language(voice)),
        }
    }

    /// Whether it is given marked-up text as it is.
    pub(super) const fn takes_ssml(&self) -> bool {
        matches!(self.engine, Kind::Google(_))
    }

    /// The WAV file in which `voice` says `text`.
    pub(super) async fn speak(&self, text: &str, voice: &str) -> Result<Vec<u8>, ServiceError> {
        match &self.engine {
            Kind::Google(google) => self.rest.ask(google.speak(text, voice)).await,
            Kind::Gtts(gtts) => self.rest.ask(gtts.speak(text, voice)).await,
        }
    }
}
