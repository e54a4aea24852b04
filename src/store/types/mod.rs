//! The plain types that go into the store and come out of it. They know no SQL.

mod audit;
mod call;
mod event;
mod history;
mod key;
mod number;
mod recording;
mod trunk;

pub use audit::*;
pub use call::*;
pub use event::*;
pub use history::*;
pub use key::*;
pub use number::*;
pub use recording::*;
pub use trunk::*;

/// The row number of an API key (`/api/me` shows it as `id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct KeyId(pub i64);

/// The row number of a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct TrunkId(pub i64);

/// A list of strings, in a text column as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct List(pub Vec<String>);

impl List {
    /// The column's text.
    pub(in crate::store) fn to_json(&self) -> String {
        serde_json::Value::from(self.0.clone()).to_string()
    }
}

impl TryFrom<String> for List {
    type Error = serde_json::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        serde_json::from_str(&text).map(Self)
    }
}

impl std::ops::Deref for List {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}
