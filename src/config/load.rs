//! Defaults, then the file, then the environment: who set each key last wins, and is remembered.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::keys::{self, KEYS, NOT_BUILT};
use super::value::{Origin, Raw, Setting};

/// Every key with its value in force.
#[derive(Debug, Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, Setting>,
    /// The folder that relative paths start from.
    pub base: PathBuf,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

impl Settings {
    /// Reads the file (if there is one) and the variables over the defaults.
    ///
    /// # Errors
    /// The file cannot be read or is no TOML; a key is unknown, or known but not built.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let base = file
            .and_then(Path::parent)
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."))
            .to_owned();
        let mut settings = Self { values: defaults()?, base, file: file.map(Path::to_owned) };
        if let Some(path) = file {
            settings.read_file(path)?;
        }
        for (name, value) in environment {
            settings.read_variable(name, value)?;
        }
        Ok(settings)
    }

    /// The setting of a key.
    ///
    /// # Errors
    /// When the table of keys has no such name.
    pub fn setting(&self, name: &str) -> Result<&Setting, ConfigError> {
        self.values.get(name).ok_or_else(|| ConfigError::NoSuchKey(name.to_owned()))
    }

    /// All settings, in the order of the table of keys.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        KEYS.iter().filter_map(|key| self.values.get(key.name))
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let table = DeTable::parse(&text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        let line_of = |offset: usize| 1 + text.bytes().take(offset).filter(|b| *b == b'\n').count();
        for (section, content) in table.get_ref() {
            let at = |offset| Origin::File { path: path.to_owned(), line: line_of(offset) };
            let DeValue::Table(keys) = content.get_ref() else {
                return Err(unknown(section.get_ref(), at(section.span().start)));
            };
            for (key, value) in keys {
                let name = format!("{}.{}", section.get_ref(), key.get_ref());
                self.set(&name, raw_of(value.get_ref()), at(key.span().start))?;
            }
        }
        Ok(())
    }

    /// `KAPHILA_HTTP_LISTEN` is `http.listen`. Variables of no section of ours are left alone.
    fn read_variable(&mut self, variable: String, value: String) -> Result<(), ConfigError> {
        let Some(rest) = variable.strip_prefix("KAPHILA_") else { return Ok(()) };
        let Some((section, key)) = rest.split_once('_') else { return Ok(()) };
        let section = section.to_ascii_lowercase();
        if !KEYS.iter().any(|known| known.name.split('.').next() == Some(section.as_str())) {
            return Ok(());
        }
        let name = format!("{section}.{}", key.to_ascii_lowercase());
        self.set(&name, Raw::Text(value), Origin::Environment(variable))
    }

    fn set(&mut self, name: &str, raw: Raw, origin: Origin) -> Result<(), ConfigError> {
        if let Some((_, instead)) = NOT_BUILT.iter().find(|(known, _)| *known == name) {
            let key = name.to_owned();
            return Err(ConfigError::NotBuilt { origin, key, instead: (*instead).to_owned() });
        }
        let key = keys::find(name).ok_or_else(|| unknown(name, origin.clone()))?;
        self.values.insert(key.name, Setting { key, raw, origin });
        Ok(())
    }
}

fn defaults() -> Result<BTreeMap<&'static str, Setting>, ConfigError> {
    KEYS.iter()
        .map(|key| {
            let value = DeValue::parse(key.default)
                .map_err(|_| ConfigError::NoSuchKey(key.name.to_owned()))?;
            let setting = Setting { key, raw: raw_of(value.get_ref()), origin: Origin::Default };
            Ok((key.name, setting))
        })
        .collect()
}

fn raw_of(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Raw::Other(number.as_str().to_owned()), Raw::Integer),
        DeValue::Boolean(value) => Raw::Boolean(*value),
        DeValue::Array(items) => {
            Raw::List(items.iter().map(|item| raw_of(item.get_ref())).collect())
        }
        other => Raw::Other(other.type_str().to_owned()),
    }
}

fn unknown(name: &str, origin: Origin) -> ConfigError {
    let nearest = keys::nearest(name).map(str::to_owned);
    ConfigError::Unknown { origin, key: name.to_owned(), nearest }
}
