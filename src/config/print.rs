//! The configuration for people: the commented template, and what is in force.

use std::fmt::Write as _;

use super::keys::KEYS;
use super::load::Settings;

/// What `kaphila init` writes: every key at its default, commented out, explained above.
#[must_use]
pub fn template() -> String {
    let mut text = String::from(
        "# Kaphila. Every key is optional; each stands here with its default.\n\
         # The environment overrides this file: KAPHILA_HTTP_LISTEN is http.listen.\n\
         # Durations are seconds or \"250ms\", \"4h\"; sizes bytes or \"1MiB\"; relative paths\n\
         # start from this file's folder.\n",
    );
    let mut current = "";
    for key in KEYS {
        let (section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if section != current {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n[{section}]\n");
            current = section;
        }
        let _ = write!(text, "# {}\n#{name} = {}\n", key.help, key.default);
    }
    text
}

/// What is in force and where each value came from, as a file that could be read back.
#[must_use]
pub fn effective(settings: &Settings) -> String {
    let mut text = String::new();
    let mut current = "";
    for setting in settings.iter() {
        let (section, name) = setting.key.name.split_once('.').unwrap_or(("", setting.key.name));
        if section != current {
            let gap = if current.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{section}]");
            current = section;
        }
        let line = format!("{name} = {}", setting.shown());
        let _ = writeln!(text, "{line:<60} # {}", setting.origin);
    }
    text
}

/// The same as one JSON object: `{"http.listen": {"value": …, "origin": …}}`.
#[must_use]
pub fn effective_json(settings: &Settings) -> serde_json::Value {
    settings
        .iter()
        .map(|setting| {
            let value = serde_json::json!({
                "value": setting.shown(),
                "origin": setting.origin.to_string(),
            });
            (setting.key.name.to_owned(), value)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}
