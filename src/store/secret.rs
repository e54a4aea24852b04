//! Keys and secrets: how they are made, and what is kept of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// Longest bearer worth looking at; ours have 43 characters, imported ones may differ.
const MAX_BEARER: usize = 512;

/// SHA-256 in hexadecimal: all that is kept of an API key. `None`: no key is that long.
pub(super) fn hash(bearer: &str) -> Option<String> {
    (bearer.len() <= MAX_BEARER).then(|| hex(&Sha256::digest(bearer.as_bytes())))
}

/// A new API key, 160 random bits.
pub(super) fn new_key() -> String {
    format!("ak_{}", hex(&rand::random::<[u8; 20]>()))
}

/// A new public name of a key.
pub(super) fn new_key_id() -> String {
    format!("key_{}", hex(&rand::random::<[u8; 5]>()))
}

/// A new webhook secret as Standard Webhooks writes it: 192 random bits in Base64.
pub(super) fn new_webhook_secret() -> String {
    format!("whsec_{}", STANDARD.encode(rand::random::<[u8; 24]>()))
}

/// A name that no other database has.
pub(super) fn new_identity() -> String {
    hex(&rand::random::<[u8; 16]>())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256_in_hexadecimal() {
        // FIPS 180-4, example of "abc".
        assert_eq!(
            hash("abc").unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(hash(&"x".repeat(513)), None);
    }

    #[test]
    fn secrets_have_their_prefixes_and_differ() {
        assert!(new_key().starts_with("ak_") && new_key().len() == 43);
        assert!(new_key_id().starts_with("key_") && new_key_id().len() == 14);
        assert!(new_webhook_secret().starts_with("whsec_"));
        assert_ne!(new_key(), new_key());
    }
}
