//! Wall time as the database and the API know it.

use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time: Unix milliseconds, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// One second.
    pub const SECOND: i64 = 1_000;
    /// One hour in milliseconds.
    pub const HOUR: i64 = 3_600 * Self::SECOND;
    /// One day in milliseconds.
    pub const DAY: i64 = 24 * Self::HOUR;

    /// The wall clock. For drivers; logic takes the time as an argument.
    #[allow(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    pub fn wall_clock() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Whole Unix seconds.
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(Self::SECOND)
    }

    /// This time and `ms` milliseconds more (negative: earlier).
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; negative if it is later.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// RFC 3339 in UTC with milliseconds, `2026-02-17T10:24:51.001Z`; times outside the years
    /// that RFC 3339 can write give its nearest end.
    pub fn to_rfc3339(self) -> String {
        let time = jiff::Timestamp::from_millisecond(self.0.clamp(0, 253_402_207_199_999));
        format!("{:.3}", time.unwrap_or_default())
    }
}

impl serde::Serialize for Millis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_rfc3339())
    }
}

/// An RFC 3339 time.
impl std::str::FromStr for Millis {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond()))
    }
}

impl<'de> serde::Deserialize<'de> for Millis {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_has_three_decimals_and_a_z() {
        assert_eq!(Millis(1_771_323_891_001).to_rfc3339(), "2026-02-17T10:24:51.001Z");
        assert_eq!(Millis(1_771_323_891_000).to_rfc3339(), "2026-02-17T10:24:51.000Z");
        assert_eq!(Millis(0).to_rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Millis(-5).to_rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(&Millis(i64::MAX).to_rfc3339()[..4], "9999");
        let read = "2026-02-17T11:24:51.001+01:00".parse::<Millis>();
        assert_eq!(read.unwrap(), Millis(1_771_323_891_001));
        assert!("yesterday".parse::<Millis>().is_err());
    }
}
