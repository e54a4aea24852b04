//! Where prompts come from: sounds on disk and speech, both as 8 kHz mono.
//!
//! It knows the sounds folder, the speech service and the cache of decoded audio. It refuses to
//! know calls.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kaphila_media::play::{Cache, PlayError, Reason};

use crate::call::{PromptError, Prompts};
use crate::tts::{Speech, SpeechError};

/// Decoded audio kept in memory: over an hour of it.
const DECODED_BYTES: usize = 64 << 20;

/// The longest name of a sound.
const MAX_NAME: usize = 200;

/// Sounds of one folder, and speech.
#[derive(Debug, Clone)]
pub struct LocalPrompts {
    sounds: Arc<Path>,
    speech: Speech,
    decoded: Arc<Cache>,
}

impl LocalPrompts {
    /// Sounds under `sounds`, speech by `speech`.
    #[must_use]
    pub fn new(sounds: &Path, speech: Speech) -> Self {
        Self { sounds: sounds.into(), speech, decoded: Arc::new(Cache::new(DECODED_BYTES)) }
    }

    async fn decode(&self, path: PathBuf) -> Result<Arc<[i16]>, PromptError> {
        let decoded = self.decoded.clone();
        let loaded = tokio::task::spawn_blocking(move || decoded.get(&path)).await;
        match loaded {
            Ok(Ok(audio)) => Ok(audio),
            Ok(Err(error)) if is_missing(&error) => Err(PromptError::NotFound),
            Ok(Err(error)) => Err(PromptError::Failed(error.to_string())),
            Err(error) => Err(PromptError::Failed(error.to_string())),
        }
    }
}

impl Prompts for LocalPrompts {
    fn sound<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Arc<[i16]>, PromptError>> {
        async move { self.decode(resolve(&self.sounds, name)?).await }.boxed()
    }

    fn speech<'a>(
        &'a self,
        text: &'a str,
        voice: &'a str,
    ) -> BoxFuture<'a, Result<Arc<[i16]>, PromptError>> {
        async move {
            let spoken = self.speech.speak(text, voice).await.map_err(|error| match error {
                SpeechError::Empty | SpeechError::TooLong(_) | SpeechError::NoVoice(_) => {
                    PromptError::Bad(error.to_string())
                }
                other => PromptError::Failed(other.to_string()),
            })?;
            // Held until then: the cache keeps the file.
            let audio = self.decode(spoken.path().to_owned()).await;
            audio.map_err(|error| match error {
                PromptError::NotFound => PromptError::Failed("the spoken file is gone".to_owned()),
                other => other,
            })
        }
        .boxed()
    }
}

fn is_missing(error: &PlayError) -> bool {
    matches!(&error.reason, Reason::Io(io) if io.kind() == std::io::ErrorKind::NotFound)
}

/// The file of a sound: a name under the folder, `/`-separated, without extension; `sound:` in
/// front is accepted. Nothing leaves the folder, links included.
fn resolve(folder: &Path, name: &str) -> Result<PathBuf, PromptError> {
    let bad = |why: &str| Err(PromptError::Bad(format!("file {why}")));
    let name = name.strip_prefix("sound:").unwrap_or(name);
    if name.is_empty() || name.len() > MAX_NAME {
        return bad("must be the name of a sound");
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ' ');
    let relative = Path::new(name);
    let stays = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if !stays || !name.chars().all(|c| plain(c) || c.is_alphanumeric()) {
        return bad("must be a name under the sounds folder, such as custom/welcome");
    }
    let path = folder.join(format!("{name}.wav"));
    let (Ok(real), Ok(root)) = (path.canonicalize(), folder.canonicalize()) else {
        return Err(PromptError::NotFound);
    };
    if !real.starts_with(&root) {
        return bad("must be a name under the sounds folder, such as custom/welcome");
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("sounds");
        std::fs::create_dir_all(folder.join("custom")).unwrap();
        std::fs::write(folder.join("custom/welcome.wav"), b"x").unwrap();
        std::fs::write(outer.path().join("secret.wav"), b"x").unwrap();
        std::os::unix::fs::symlink(outer.path(), folder.join("out")).unwrap();
        for good in ["custom/welcome", "sound:custom/welcome"] {
            assert!(resolve(&folder, good).is_ok(), "{good}");
        }
        for bad in [
            "../secret",
            "/etc/passwd",
            "custom/../../secret",
            "out/secret",
            "",
            "a\0b",
            "a\\b",
            ".",
        ] {
            let found = resolve(&folder, bad);
            assert!(matches!(found, Err(PromptError::Bad(_))), "{bad}: {found:?}");
        }
        assert_eq!(resolve(&folder, "custom/absent"), Err(PromptError::NotFound));
    }
}
