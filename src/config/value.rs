//! A configuration value with where it came from, and the shapes it is read as.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::ConfigError;
use super::keys::Key;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The built-in default.
    Default,
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

/// A value as written, before it is given its shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
    /// A list.
    List(Vec<Self>),
    /// Anything else (floats, dates, tables): no key takes these.
    Other(String),
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{}", toml::Value::String(text.clone())),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Other(text) => f.write_str(text),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A value, its key and its origin.
#[derive(Clone)]
pub struct Setting {
    /// The key it sets.
    pub key: &'static Key,
    /// The value as written.
    pub raw: Raw,
    /// Where it was written.
    pub origin: Origin,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.key.name, self.shown())
    }
}

/// A database's URL as it may be shown: without the password of its user part or its query.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let shown = match rest.rsplit_once('@') {
        Some((user, host)) if user.contains(':') => {
            let name = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{name}:***@{host}")
        }
        _ => url.to_owned(),
    };
    let pairs = shown.split_inclusive(['?', '&']).map(|pair| match pair.split_once('=') {
        Some((name, value)) if name.to_ascii_lowercase().contains("password") => {
            let end = if value.ends_with('&') { "&" } else { "" };
            format!("{name}=***{end}")
        }
        _ => pair.to_owned(),
    });
    pairs.collect()
}

impl Setting {
    /// The value as it may be shown.
    pub fn shown(&self) -> String {
        match &self.raw {
            Raw::Text(url) if self.key.name == "database.url" => {
                Raw::Text(without_password(url)).to_string()
            }
            raw => raw.to_string(),
        }
    }

    /// The error that this value is not of its key's shape, or not in `range`.
    pub fn invalid(&self, expected: impl Into<String>) -> ConfigError {
        ConfigError::Invalid {
            origin: self.origin.clone(),
            key: self.key.name.to_owned(),
            expected: expected.into(),
            found: self.shown(),
        }
    }

    fn wrong_kind(&self) -> ConfigError {
        self.invalid(self.key.kind.expected())
    }

    /// The value as text.
    ///
    /// # Errors
    /// When it is not a string.
    pub fn text(&self) -> Result<&str, ConfigError> {
        match &self.raw {
            Raw::Text(text) => Ok(text),
            _ => Err(self.wrong_kind()),
        }
    }

    /// The value as `true` or `false`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn boolean(&self) -> Result<bool, ConfigError> {
        match &self.raw {
            Raw::Boolean(value) => Ok(*value),
            Raw::Text(text) if self.in_environment() => text.parse().map_err(|_| self.wrong_kind()),
            _ => Err(self.wrong_kind()),
        }
    }

    /// The value as a whole number in `range`.
    ///
    /// # Errors
    /// When it is no number or out of range.
    pub fn integer(&self, range: RangeInclusive<i64>) -> Result<i64, ConfigError> {
        let number = match &self.raw {
            Raw::Integer(number) => *number,
            Raw::Text(text) if self.in_environment() => {
                text.trim().parse().map_err(|_| self.wrong_kind())?
            }
            _ => return Err(self.wrong_kind()),
        };
        if range.contains(&number) {
            Ok(number)
        } else {
            Err(self.invalid(format!("between {} and {}", range.start(), range.end())))
        }
    }

    /// The value as a duration in `range`.
    ///
    /// # Errors
    /// When it is no duration or out of range.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Result<Duration, ConfigError> {
        let duration = duration_of(&self.raw).ok_or_else(|| self.wrong_kind())?;
        if range.contains(&duration) {
            Ok(duration)
        } else {
            Err(self.invalid(format!("between {:?} and {:?}", range.start(), range.end())))
        }
    }

    /// The value as a list of durations.
    ///
    /// # Errors
    /// When an item is no duration.
    pub fn durations(&self) -> Result<Vec<Duration>, ConfigError> {
        self.items().iter().map(|item| duration_of(item).ok_or_else(|| self.wrong_kind())).collect()
    }

    /// The value as a number of bytes.
    ///
    /// # Errors
    /// When it is no size.
    pub fn size(&self) -> Result<usize, ConfigError> {
        let bytes = match &self.raw {
            Raw::Integer(number) => usize::try_from(*number).ok(),
            Raw::Text(text) => parse_size(text),
            _ => None,
        };
        bytes.ok_or_else(|| self.wrong_kind())
    }

    /// The value as a list of texts.
    ///
    /// # Errors
    /// When an item is not a string.
    pub fn texts(&self) -> Result<Vec<String>, ConfigError> {
        self.items()
            .into_iter()
            .map(|item| match item {
                Raw::Text(text) => Ok(text),
                _ => Err(self.wrong_kind()),
            })
            .collect()
    }

    /// The value as addresses to listen on.
    ///
    /// # Errors
    /// When an item is not `address:port`.
    pub fn listeners(&self) -> Result<Vec<SocketAddr>, ConfigError> {
        self.texts()?.iter().map(|text| text.parse().map_err(|_| self.wrong_kind())).collect()
    }

    /// The value as a range of UDP ports.
    ///
    /// # Errors
    /// When it is not `first-last` with first below last.
    pub fn ports(&self) -> Result<RangeInclusive<u16>, ConfigError> {
        let text = self.text()?;
        let parse = || {
            let (first, last) = text.split_once('-')?;
            let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            (first >= 2 && first < last).then_some(first..=last)
        };
        parse().ok_or_else(|| self.wrong_kind())
    }

    /// One of `choices`.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn choice<'a, T: Copy>(&self, choices: &'a [(&'a str, T)]) -> Result<T, ConfigError> {
        let text = self.text()?;
        choices
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
                self.invalid(format!("one of {}", names.join(", ")))
            })
    }

    const fn in_environment(&self) -> bool {
        matches!(self.origin, Origin::Environment(_))
    }

    /// A list's items; a single value is a list of one, commas separate in the environment.
    fn items(&self) -> Vec<Raw> {
        match &self.raw {
            Raw::List(items) => items.clone(),
            Raw::Text(text) if self.in_environment() => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| Raw::Text(item.to_owned()))
                .collect(),
            other => vec![other.clone()],
        }
    }
}

fn duration_of(raw: &Raw) -> Option<Duration> {
    match raw {
        Raw::Integer(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
        Raw::Text(text) => parse_duration(text),
        _ => None,
    }
}

/// A duration: digits and a unit out of `ms s m h d`; seconds without one.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// A size: digits and a unit out of `B KiB MiB GiB kB MB GB`; bytes without one.
#[must_use]
pub fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    usize::try_from(number.checked_mul(factor)?).ok()
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_take_units() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("4h"), Some(Duration::from_secs(14_400)));
        assert_eq!(parse_duration("30"), Some(Duration::from_secs(30)));
        assert_eq!(parse_duration("soon"), None);
        assert_eq!(parse_duration("1 fortnight"), None);
        assert_eq!(parse_size("1MiB"), Some(1_048_576));
        assert_eq!(parse_size("-1"), None);
    }
}
