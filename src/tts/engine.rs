//! The speech programs: which one speaks a voice, and how it is called.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::SpeechError;

/// A program that speaks. The text goes in by file: it can hold anything, a command line cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// flite with its voice `rms`, the clearest over 8 kHz G.711.
    Flite,
    /// espeak-ng with a voice of this language.
    Espeak {
        /// A BCP 47 tag in lower case, such as `it` or `pt-br`.
        language: String,
    },
}

impl Engine {
    /// The engine for a voice name: a language tag, with whatever else behind it
    /// (`en-US-Neural2-A`, `it-IT`, `pt-BR-Wavenet-B`).
    ///
    /// # Errors
    /// When the name does not begin with a language tag.
    pub fn for_voice(voice: &str) -> Result<Self, SpeechError> {
        let no_voice = || SpeechError::NoVoice(voice.chars().take(40).collect());
        let mut parts = voice.split('-');
        let language = parts.next().unwrap_or_default().to_ascii_lowercase();
        if !(2..=3).contains(&language.len()) || !language.bytes().all(|b| b.is_ascii_lowercase()) {
            return Err(no_voice());
        }
        if language == "en" {
            return Ok(Self::Flite);
        }
        let region = parts
            .next()
            .filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_alphabetic()))
            .map(str::to_ascii_lowercase);
        // espeak-ng has one voice for most languages; only these differ by region.
        let language = match (language.as_str(), region.as_deref()) {
            ("pt", Some("br")) => "pt-br".to_owned(),
            ("es", Some("es")) | ("fr", Some("fr")) => language,
            ("es", Some(_)) => "es-419".to_owned(),
            ("fr", Some("be" | "ch")) => format!("fr-{}", region.unwrap_or_default()),
            ("zh" | "cmn", _) => "cmn".to_owned(),
            ("no" | "nb", _) => "nb".to_owned(),
            _ => language,
        };
        Ok(Self::Espeak { language })
    }

    /// The program's name.
    #[must_use]
    pub const fn program(&self) -> &'static str {
        match self {
            Self::Flite => "flite",
            Self::Espeak { .. } => "espeak-ng",
        }
    }

    /// Its arguments to speak the file `text` into the file `audio`.
    #[must_use]
    pub fn arguments(&self, text: &Path, audio: &Path) -> Vec<OsString> {
        let (text, audio) = (text.into(), audio.into());
        match self {
            Self::Flite => {
                vec!["-voice".into(), "rms".into(), "-f".into(), text, "-o".into(), audio]
            }
            // `-w`, because `--stdout` writes a false length.
            Self::Espeak { language } => {
                vec!["-v".into(), language.into(), "-f".into(), text, "-w".into(), audio]
            }
        }
    }

    /// Speaks the file `text` into the file `audio`. Whoever drops this kills the program.
    ///
    /// # Errors
    /// The program is missing, or fails.
    pub async fn speak(&self, text: &Path, audio: &Path) -> Result<(), SpeechError> {
        let program = self.program();
        let mut command = Command::new(program);
        command.args(self.arguments(text, audio));
        run(program, command).await
    }

    /// The cache's name for a text: everything that changes the sound goes into it.
    #[must_use]
    pub fn cache_name(&self, text: &str) -> String {
        let voice = match self {
            Self::Flite => "rms",
            Self::Espeak { language } => language,
        };
        cache_name(&[self.program(), voice, "plain", text])
    }
}

async fn run(program: &'static str, mut command: Command) -> Result<(), SpeechError> {
    let failed = |message: String| SpeechError::Failed { engine: program, message };
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => SpeechError::NotInstalled { engine: program },
            _ => failed(error.to_string()),
        })?;
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(failed(words.lines().next().unwrap_or("no message").to_owned()))
}

/// A name for everything that changes a sound: SHA-256 in hexadecimal.
pub(super) fn cache_name(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voices_find_their_engine() {
        let espeak = |language: &str| Engine::Espeak { language: language.into() };
        for (voice, engine) in [
            ("en-US-Neural2-A", Engine::Flite),
            ("EN", Engine::Flite),
            ("it-IT-Wavenet-A", espeak("it")),
            ("pt-BR-Neural2-C", espeak("pt-br")),
            ("es-US", espeak("es-419")),
            ("de", espeak("de")),
        ] {
            assert_eq!(Engine::for_voice(voice).unwrap(), engine, "{voice}");
        }
        for voice in ["", "klingon", "-v", "../x", "e1-US"] {
            assert!(Engine::for_voice(voice).is_err(), "{voice}");
        }
    }

    #[test]
    fn the_name_tells_voices_and_texts_apart() {
        let italian = Engine::for_voice("it").unwrap();
        assert_ne!(italian.cache_name("a"), Engine::Flite.cache_name("a"));
        assert_ne!(italian.cache_name("a"), italian.cache_name("b"));
        assert_eq!(italian.cache_name("a").len(), 64);
    }

    #[tokio::test]
    async fn a_program_that_is_not_waited_for_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > $0.new; mv $0.new $0; exec sleep 600"]).arg(&file);
        let running = tokio::spawn(run("sh", command));
        while !file.exists() {
            assert!(!running.is_finished());
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let pid = std::fs::read_to_string(&file).unwrap();
        let process = Path::new("/proc").join(pid.trim());
        assert!(process.exists());
        running.abort();
        // Killed and reaped: a zombie would still be there.
        let ends = async {
            while process.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), ends).await.unwrap();
    }
}
