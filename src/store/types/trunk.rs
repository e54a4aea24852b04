//! Trunks.

use std::fmt;

use super::{List, TrunkId};
use crate::store::Millis;

/// A trunk's password: kept, and shown by nothing. Neither `Debug` nor JSON says more than that
/// there is one.
#[derive(Clone, PartialEq, Eq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Password(String);

impl Password {
    /// Takes a password.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself, for who proves it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl serde::Serialize for Password {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// How often a trunk is asked whether it is there, where the operator does not say.
pub const QUALIFY_SECS: i64 = 60;
/// How seldom it may be: hourly.
pub const MAX_QUALIFY_SECS: i64 = 3_600;

/// The most leading digits that are dropped: a number has 15.
pub const MAX_STRIP: i64 = 14;

/// A trunk as an operator describes it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct TrunkSettings {
    /// Its name, as reported to customers.
    pub name: String,
    /// Where it is dialled: `sip:host[:port][;transport=…]`.
    pub uri: String,
    /// Leading digits dropped from every number, before the prefix is put there.
    pub strip_digits: i64,
    /// Put before every number.
    pub prefix: String,
    /// Put before every caller id.
    pub caller_prefix: String,
    /// Callers are kept from whom they call (RFC 3323, RFC 3325 §9.3).
    pub privacy: bool,
    /// The caller id when neither request nor key has one.
    pub caller_id: Option<String>,
    /// The host part of From; `None`: our own address.
    pub from_domain: Option<String>,
    /// `pai`, `rpid` or `none`.
    pub identity: String,
    /// Calls at a time; `None`: no cap.
    pub max_channels: Option<i64>,
    /// New calls in any second; `None`: no cap.
    pub max_cps: Option<i64>,
    /// Codecs offered, best first; empty: the configured ones.
    #[sqlx(try_from = "String")]
    pub codecs: List,
    /// CIDRs from which its requests may come, besides its resolved addresses.
    #[sqlx(try_from = "String")]
    pub allow: List,
    /// Latch the first RTP stream from any address (NAT).
    pub learn_rtp: bool,
    /// Numbers may hold `*` and `#`.
    pub allow_star_hash: bool,
    /// Number prefixes it takes; empty: any.
    #[sqlx(try_from = "String")]
    pub allow_prefixes: List,
    /// Number prefixes it does not take.
    #[sqlx(try_from = "String")]
    pub deny_prefixes: List,
    /// Who we are to it, should it ask.
    pub username: Option<String>,
    /// How we prove it.
    pub password: Option<Password>,
    /// The one realm whose challenges are answered; `None`: whatever it names.
    pub realm: Option<String>,
    /// We register at it.
    pub register: bool,
    /// How often it is asked whether it is there (OPTIONS), in seconds; 0: never.
    pub qualify_secs: i64,
}

impl TrunkSettings {
    /// A trunk with every setting at its default.
    pub fn new(name: impl Into<String>, uri: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            uri: uri.into(),
            strip_digits: 0,
            prefix: "00".to_owned(),
            caller_prefix: String::new(),
            privacy: false,
            caller_id: None,
            from_domain: None,
            identity: "none".to_owned(),
            max_channels: None,
            max_cps: None,
            codecs: List::default(),
            allow: List::default(),
            learn_rtp: false,
            allow_star_hash: false,
            allow_prefixes: List::default(),
            deny_prefixes: List::default(),
            username: None,
            password: None,
            realm: None,
            register: false,
            qualify_secs: QUALIFY_SECS,
        }
    }
}

/// A trunk as stored.
#[derive(Clone, Debug, PartialEq, serde::Serialize, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct Trunk {
    /// Row number.
    #[serde(skip)]
    pub id: TrunkId,
    /// What the operator said.
    #[sqlx(flatten)]
    #[serde(flatten)]
    pub settings: TrunkSettings,
    /// Not dialled while set.
    pub disabled: bool,
    /// When it was added.
    pub created_at: Millis,
    /// When it was last changed.
    pub updated_at: Millis,
}

/// The trunks a key may use, in its order.
#[derive(Clone, Debug)]
pub struct KeyTrunks {
    /// Assigned trunks, disabled ones too (`totalTrunks` counts them).
    pub trunks: Vec<Trunk>,
    /// The trunk with which the key's last stored call began; round robin starts after it.
    pub last: Option<TrunkId>,
}
