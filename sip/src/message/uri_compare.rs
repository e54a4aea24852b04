//! Whether two URIs are the same resource (RFC 3261 §19.1.4).
#![warn(clippy::indexing_slicing)]

use super::{Params, Uri};
use std::collections::BTreeMap;

/// Parameters that must stand in both URIs or in neither. `transport` is not in the section's list
/// but in its examples: with and without it are different.
const IN_BOTH: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

impl Uri {
    /// Whether both are the same by RFC 3261 §19.1.4. The relation is not transitive.
    #[must_use]
    pub fn equivalent(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.user.as_deref().map(normal) == other.user.as_deref().map(normal)
            && self.host == other.host
            && self.port == other.port
            && params_match(&self.params, &other.params)
            && headers(self) == headers(other)
    }
}

fn params_match(ours: &Params, theirs: &Params) -> bool {
    let (ours, theirs) = (lower(ours), lower(theirs));
    let alone = |name: &str| ours.contains_key(name) != theirs.contains_key(name);
    !IN_BOTH.iter().any(|name| alone(name))
        && ours.iter().all(|(name, value)| theirs.get(name).is_none_or(|other| other == value))
}

/// Names and values of parameters, both compared in any case.
fn lower(params: &Params) -> BTreeMap<String, String> {
    let text = |text: &str| normal(text).to_ascii_lowercase();
    params.iter().map(|(name, value)| (text(name), text(value.unwrap_or_default()))).collect()
}

/// Headers in any order; names in any case.
fn headers(uri: &Uri) -> Vec<(String, String)> {
    let mut headers: Vec<_> = (uri.headers.as_deref().unwrap_or_default().split('&'))
        .filter(|header| !header.is_empty())
        .map(|header| header.split_once('=').unwrap_or((header, "")))
        .map(|(name, value)| (normal(name).to_ascii_lowercase(), normal(value)))
        .collect();
    headers.sort();
    headers
}

/// A character outside the reserved set equals its escape; a reserved one does not.
fn normal(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('%') {
        normal.push_str(before);
        match escaped.split_at_checked(2) {
            Some((digits, after)) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                let octet = u8::from_str_radix(digits, 16).unwrap_or(b'%');
                if octet.is_ascii_graphic() && !b";/?:@&=+$,%".contains(&octet) {
                    normal.push(char::from(octet));
                } else {
                    normal.push('%');
                    normal.push_str(&digits.to_ascii_uppercase());
                }
                rest = after;
            }
            _ => {
                normal.push('%');
                rest = escaped;
            }
        }
    }
    normal.push_str(rest);
    normal
}
