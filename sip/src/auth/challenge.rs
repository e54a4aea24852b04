//! One `WWW-Authenticate` or `Proxy-Authenticate` value (RFC 7616 §3.3, RFC 8760 §2).
#![warn(clippy::indexing_slicing)]

use crate::message::{quoted_string, split_outside, trim};

/// Hash of a digest, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// `MD5`, also when none is named (RFC 2617).
    Md5,
    /// `SHA-256`
    Sha256,
    /// `SHA-512-256`
    Sha512_256,
}

/// Quality of protection: what the digest covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// None is offered (RFC 2069): no count, no nonce of ours.
    Absent,
    /// `auth`: method and URI.
    Auth,
    /// `auth-int`: the body too.
    AuthInt,
}

/// A Digest challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// For whom we are asked.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// To be given back as it is.
    pub opaque: Option<String>,
    /// The hash.
    pub algorithm: Algorithm,
    /// Whether it is the `-sess` form, in which the first hash covers both nonces.
    pub session: bool,
    /// What our digest will cover.
    pub qop: Qop,
    /// Whether only the nonce was too old.
    pub stale: bool,
    /// Whether an algorithm was named, and is to be named in the answer.
    pub(super) names_algorithm: bool,
}

impl Challenge {
    /// Reads a challenge. `None` if it is not Digest, has no realm or nonce, or asks only for
    /// algorithms or qualities that we do not know.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (scheme, parameters) = trim(value).split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let parameter = |name: &str| parameter(parameters, name);
        let algorithm = parameter("algorithm");
        let (hash, session) = read_algorithm(algorithm.as_deref().unwrap_or("MD5"))?;
        Some(Self {
            realm: parameter("realm")?,
            nonce: parameter("nonce")?,
            opaque: parameter("opaque"),
            algorithm: hash,
            session,
            qop: read_qop(parameter("qop").as_deref())?,
            stale: parameter("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            names_algorithm: algorithm.is_some(),
        })
    }

    /// The algorithm as named on the wire.
    pub(super) const fn algorithm_name(&self) -> &'static str {
        match (self.algorithm, self.session) {
            (Algorithm::Md5, false) => "MD5",
            (Algorithm::Md5, true) => "MD5-sess",
            (Algorithm::Sha256, false) => "SHA-256",
            (Algorithm::Sha256, true) => "SHA-256-sess",
            (Algorithm::Sha512_256, false) => "SHA-512-256",
            (Algorithm::Sha512_256, true) => "SHA-512-256-sess",
        }
    }
}

/// The nonce that an `Authentication-Info` or `Proxy-Authentication-Info` gives for the next
/// request (RFC 7616 §3.5).
pub(super) fn next_nonce(info: &str) -> Option<String> {
    parameter(info, "nextnonce").filter(|nonce| !nonce.is_empty())
}

/// The text of one of the comma-separated parameters.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    let mut all = split_outside(parameters, b',').filter_map(|one| one.split_once('='));
    let (_, value) = all.find(|(n, _)| trim(n).eq_ignore_ascii_case(name))?;
    let value = trim(value);
    let text = quoted_string(value).map_or(value.into(), |(text, _)| text);
    Some(text.into_owned())
}

fn read_algorithm(name: &str) -> Option<(Algorithm, bool)> {
    let upper = name.to_ascii_uppercase();
    let (hash, session) = match upper.strip_suffix("-SESS") {
        Some(hash) => (hash, true),
        None => (upper.as_str(), false),
    };
    let algorithm = match hash {
        "MD5" => Algorithm::Md5,
        "SHA-256" => Algorithm::Sha256,
        "SHA-512-256" => Algorithm::Sha512_256,
        _ => return None,
    };
    Some((algorithm, session))
}

/// `auth` before `auth-int`: proxies that change the body would break the latter.
fn read_qop(offered: Option<&str>) -> Option<Qop> {
    let Some(offered) = offered else { return Some(Qop::Absent) };
    let has = |name: &str| offered.split(',').any(|one| trim(one).eq_ignore_ascii_case(name));
    match () {
        () if has("auth") => Some(Qop::Auth),
        () if has("auth-int") => Some(Qop::AuthInt),
        () => None,
    }
}
