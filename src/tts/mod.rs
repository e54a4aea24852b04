//! Speech: text and a voice in, a WAV file in the cache out.
//!
//! It knows engines, voices and its cache folder. It refuses to know calls: what it returns is a
//! file. Start at [`Speech::speak`]; engines stand in [`engine`].
#![allow(clippy::disallowed_methods, reason = "a driver: runs processes against the clock")]

mod cache;
pub mod engine;
pub mod google;
pub mod gtts;
mod rest;
mod service;
mod ssml;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use cache::{Cache, Turn};
use engine::Engine;
use google::Google;
use gtts::Gtts;
use service::{Service, ServiceError};

/// The longest text spoken at once, in characters: about five minutes of speech.
pub const MAX_TEXT: usize = 5_000;

/// How long a text may take, whoever speaks it in the end: clients wait for 15 s.
const TIME_LIMIT: Duration = Duration::from_secs(14);
/// What services leave of it to the local engine. flite speaks a minute in about a second.
const LOCAL_TIME: Duration = Duration::from_secs(5);

/// How espeak-ng says that it lacks a language.
const ESPEAK_NO_VOICE: &str = "voice does not exist";

/// What [`Speech::engines`] may say.
pub const ENGINES: [&str; 4] = ["google-cloud-fallback-gtts", "google-cloud", "gtts", "local"];

/// The voice of a call that names none; the contract's default.
pub const DEFAULT_VOICE: &str = "en-US-Neural2-A";

/// Why a text could not be spoken.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// Nothing to say.
    #[error("text must not be empty")]
    Empty,
    /// Too much to say.
    #[error("text has {0} characters; at most {MAX_TEXT} are spoken at once")]
    TooLong(usize),
    /// No engine speaks this language.
    #[error(
        "no voice for `{0}`: use a language tag such as en-US or it-IT, or a voice named after one"
    )]
    NoVoice(String),
    /// The engine is not installed.
    #[error("{engine} is not installed; install the package {engine}")]
    NotInstalled {
        /// Its program's name.
        engine: &'static str,
    },
    /// The engine failed.
    #[error("{engine} failed: {message}")]
    Failed {
        /// Its program's name.
        engine: &'static str,
        /// Its own words, or what happened to it.
        message: String,
    },
    /// Everybody took too long.
    #[error("not spoken within {} s", .0.as_secs())]
    Late(Duration),
    /// The cache folder cannot be written.
    #[error("cannot write speech to {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Whether some engine speaks with this voice, judged by its name.
///
/// # Errors
/// [`SpeechError::NoVoice`].
pub fn check_voice(voice: &str) -> Result<(), SpeechError> {
    Engine::for_voice(voice).map(drop)
}

/// The services that are set up, asked in this order.
#[derive(Debug, Default)]
pub struct Online {
    /// Google Cloud.
    pub google: Option<Google>,
    /// gTTS.
    pub gtts: Option<Gtts>,
}

/// A text as a WAV file, which stays in the cache while this is held.
#[derive(Debug, Clone)]
pub struct Spoken {
    path: PathBuf,
    /// The cache leaves alone what somebody holds.
    _held: Turn,
}

impl Spoken {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for Spoken {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

/// The same file.
impl PartialEq for Spoken {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

/// The speech service: what is set up of Google Cloud and gTTS, in this order, and should they fail
/// local programs, bounded; a cache on disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Speech {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cache: Cache,
    services: Vec<Service>,
    /// Local engines at once: one a core, so that speech never starves the media threads.
    running: Semaphore,
}

impl Speech {
    /// A service that keeps at most `cache_bytes` of speech in `folder` and asks `online` first.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path, cache_bytes: u64, online: Online) -> Result<Self, SpeechError> {
        let cache = Cache::open(folder, cache_bytes)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let running = Semaphore::new(cores);
        let google = online.google.map(Service::google);
        let services = google.into_iter().chain(online.gtts.map(Service::gtts)).collect();
        Ok(Self { inner: Arc::new(Inner { cache, services, running }) })
    }

    /// Who speaks, as `/health` tells it.
    #[must_use]
    pub fn engines(&self) -> &'static str {
        let has = |name| self.inner.services.iter().any(|service| service.name() == name);
        match (has(service::GOOGLE), has(service::GTTS)) {
            (true, true) => ENGINES[0],
            (true, false) => ENGINES[1],
            (false, true) => ENGINES[2],
            (false, false) => ENGINES[3],
        }
    }

    /// The WAV file in which `voice` says `text`: from the cache, or spoken now. The same text
    /// asked for twice at once is spoken once.
    ///
    /// # Errors
    /// See [`SpeechError`].
    pub async fn speak(&self, text: &str, voice: &str) -> Result<Spoken, SpeechError> {
        let until = Instant::now() + TIME_LIMIT;
        // Nobody says these; an engine may stop at one, a service refuse it.
        let text = text.replace(|c: char| c.is_control() && !c.is_whitespace(), " ");
        let text = text.trim();
        if text.is_empty() {
            return Err(SpeechError::Empty);
        }
        let characters = text.chars().count();
        if characters > MAX_TEXT {
            return Err(SpeechError::TooLong(characters));
        }
        let plain = ssml::is_ssml(text).then(|| ssml::plain(text));
        let unmarked = plain.as_deref().unwrap_or(text);
        for service in &self.inner.services {
            let said = if service.takes_ssml() { text } else { unmarked };
            if said.is_empty() {
                continue;
            }
            let name = service.name();
            match self.speak_by(service, said, voice, until - LOCAL_TIME).await? {
                Ok(spoken) => return Ok(spoken),
                Err(error) if error.is_known() => {
                    tracing::debug!(%error, voice, "{name} does not speak; the next engine does");
                }
                Err(error) => {
                    tracing::warn!(%error, voice, "{name} does not speak; the next engine does");
                }
            }
        }
        self.speak_locally(unmarked, voice, until).await
    }

    /// Says `text` by each service alone, for `kaphila check`: its name, and what was wrong, in
    /// words.
    pub async fn ask_services(
        &self,
        text: &str,
        voice: &str,
    ) -> Vec<(&'static str, Result<(), String>)> {
        let mut answers = Vec::new();
        for service in &self.inner.services {
            let (name, until) = (service.cache_name(text, voice), Instant::now() + service.limit());
            let answer = service.speak(&name, text, voice, until).await.map(drop);
            answers.push((service.name(), answer.map_err(|error| error.to_string())));
        }
        answers
    }

    /// From the cache, or asked for now; the inner error is what the next engine makes good.
    async fn speak_by(
        &self,
        service: &Service,
        text: &str,
        voice: &str,
        latest: Instant,
    ) -> Result<Result<Spoken, ServiceError>, SpeechError> {
        let until = latest.min(Instant::now() + service.limit());
        let name = service.cache_name(text, voice);
        let turn = self.inner.cache.turn(&name);
        let Ok(_mine) = timeout_at(until, turn.lock()).await else {
            return Ok(Err(ServiceError::NoTime));
        };
        if let Some(path) = self.inner.cache.find(&name) {
            return Ok(Ok(Spoken { path, _held: turn.clone() }));
        }
        match service.speak(&name, text, voice, until).await {
            Ok(audio) => {
                self.keep(turn.clone(), move |cache| cache.store(&name, &audio)).await.map(Ok)
            }
            Err(error) => Ok(Err(error)),
        }
    }

    async fn speak_locally(
        &self,
        text: &str,
        voice: &str,
        until: Instant,
    ) -> Result<Spoken, SpeechError> {
        if text.is_empty() {
            return Err(SpeechError::Empty);
        }
        let engine = Engine::for_voice(voice)?;
        let spoken = timeout_at(until, self.run(&engine, text)).await;
        spoken.unwrap_or(Err(SpeechError::Late(TIME_LIMIT))).map_err(|error| match error {
            SpeechError::Failed { message, .. } if message.contains(ESPEAK_NO_VOICE) => {
                SpeechError::NoVoice(voice.to_owned())
            }
            other => other,
        })
    }

    async fn run(&self, engine: &Engine, text: &str) -> Result<Spoken, SpeechError> {
        let name = engine.cache_name(text);
        let turn = self.inner.cache.turn(&name);
        let _mine = turn.lock().await;
        if let Some(path) = self.inner.cache.find(&name) {
            return Ok(Spoken { path, _held: turn.clone() });
        }
        let Ok(_permit) = self.inner.running.acquire().await else {
            return Err(SpeechError::Failed { engine: engine.program(), message: "closed".into() });
        };
        let draft = self.inner.cache.draft(&name, text)?;
        engine.speak(&draft.text, &draft.audio).await?;
        self.keep(turn.clone(), move |cache| cache.keep(&name, draft)).await
    }

    /// Puts a file into the cache, off the async threads: a disk takes its time to be sure.
    async fn keep(
        &self,
        turn: Turn,
        put: impl FnOnce(&Cache) -> Result<PathBuf, SpeechError> + Send + 'static,
    ) -> Result<Spoken, SpeechError> {
        let inner = self.inner.clone();
        let kept = tokio::task::spawn_blocking(move || {
            put(&inner.cache).map(|path| Spoken { path, _held: turn })
        });
        kept.await.unwrap_or_else(|error| {
            let source = std::io::Error::other(error);
            Err(SpeechError::Io { path: self.inner.cache.folder().to_owned(), source })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speech(folder: &Path, bytes: u64) -> Speech {
        Speech::open(folder, bytes, Online::default()).unwrap()
    }

    #[tokio::test]
    async fn speech_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let speech = speech(folder.path(), 1 << 20);
        let (one, two) = tokio::join!(
            speech.speak("Press one.", "en-US-Neural2-A"),
            speech.speak("Press one.", "en-GB-Wavenet-B"),
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one, two, "one engine, one voice, one file");
        let made = std::fs::metadata(&one).unwrap().modified().unwrap();
        assert_eq!(speech.speak("Press one.", "en-US").await.unwrap(), one);
        assert_eq!(std::fs::metadata(&one).unwrap().modified().unwrap(), made);
        let reader = hound_duration(one.path());
        assert!((0.4..3.0).contains(&reader), "{reader} s");
    }

    fn hound_duration(path: &Path) -> f64 {
        // 44 bytes of header, 16-bit mono at 16 kHz from flite.
        let bytes = std::fs::read(path).unwrap();
        let rate = u32::from_le_bytes(bytes[24..28].try_into().unwrap());
        (bytes.len() - 44) as f64 / 2.0 / f64::from(rate)
    }

    #[tokio::test]
    async fn languages_choose_the_engine_and_unknown_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let speech = speech(folder.path(), 1 << 20);
        let english = speech.speak("Due", "en-US").await.unwrap();
        let italian = speech.speak("Due", "it-IT-Standard-A").await.unwrap();
        assert_ne!(english, italian);
        let refused = speech.speak("Due", "klingon").await.unwrap_err();
        assert!(matches!(refused, SpeechError::NoVoice(_)), "{refused}");
        // A tag of the right shape that the engine does not have is refused alike.
        let refused = speech.speak("Due", "zz-ZZ").await.unwrap_err();
        assert!(matches!(&refused, SpeechError::NoVoice(voice) if voice == "zz-ZZ"), "{refused}");
        assert!(matches!(speech.speak("  ", "en-US").await, Err(SpeechError::Empty)));
        let long = "a".repeat(MAX_TEXT + 1);
        assert!(matches!(speech.speak(&long, "en-US").await, Err(SpeechError::TooLong(5_001))));
    }

    #[tokio::test]
    async fn a_damaged_prompt_is_spoken_again_and_one_in_use_stays() {
        let folder = tempfile::tempdir().unwrap();
        let speech = speech(folder.path(), 0);
        let first = speech.speak("one", "en-US").await.unwrap();
        let second = speech.speak("two", "en-US").await.unwrap();
        let whole = std::fs::read(&first).unwrap();
        assert!(second.path().exists());
        std::fs::write(&first, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(speech.speak("one", "en-US").await.unwrap(), first);
        assert_eq!(std::fs::read(&first).unwrap(), whole);
        drop(second);
        speech.speak("three", "en-US").await.unwrap();
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "what is held, and the newest");
    }

    #[tokio::test]
    async fn a_local_engine_has_what_is_left_of_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let speech = speech(folder.path(), 1 << 20);
        let now = Instant::now();
        let late = speech.speak_locally("Press one.", "en-US", now).await.unwrap_err();
        assert!(matches!(late, SpeechError::Late(_)), "{late}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "no draft is left");
    }

    #[tokio::test]
    async fn the_cache_forgets_the_oldest_first_and_leaves_no_drafts() {
        let folder = tempfile::tempdir().unwrap();
        let speech = speech(folder.path(), 60_000);
        let mut last = PathBuf::new();
        for text in ["one", "two", "three", "four", "five"] {
            last = speech.speak(text, "en-US").await.unwrap().path().to_owned();
        }
        let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
        let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(bytes <= 60_000, "{bytes}");
        assert!(last.exists(), "the newest is kept");
        assert!(files.iter().all(|file| file.path().extension().is_some_and(|e| e == "wav")));
    }
}
