//! Numbers on which trunks may call in.

use super::Authenticated;
use crate::store::Millis;

/// A number that is given to a key: who calls it from a trunk is a call of that key.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct OwnNumber {
    /// Cleaned, as the user part of a Request-URI is.
    pub number: String,
    /// Its key's public name, `key_…`.
    pub key_id: String,
    /// Where the events of its calls go.
    pub webhook_url: Option<String>,
    /// Its calls are answered at once; otherwise by the customer.
    pub answer: bool,
    /// When it was given to the key.
    pub created_at: Millis,
}

/// Who is called by a number.
#[derive(Clone, Debug)]
pub enum Called {
    /// A key's number.
    Own(Authenticated, OwnNumber),
    /// Nobody's.
    Unknown,
    /// Nobody's, as every number is: none is set up.
    NoNumbers,
}
