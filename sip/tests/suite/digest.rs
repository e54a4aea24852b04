//! A registrar's or carrier's side of digest, written from RFC 7616 §3.4 and not from our own code:
//! it checks what we prove.

use md5::{Digest as _, Md5};
use sha2::{Sha256, Sha512_256};

use crate::ladder::Message;

pub(crate) const PASSWORD: &str = "wonderland";

/// Checks the answer to a challenge in `header` with [`PASSWORD`]; its parameters.
#[track_caller]
pub(crate) fn check(message: &Message, header: &str) -> Vec<(String, String)> {
    let value = message.header(header);
    let parameters = value.strip_prefix("Digest ").expect("Digest");
    let parameters: Vec<(String, String)> = (parameters.split(", "))
        .map(|one| one.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    let get = |name: &str| parameter(&parameters, name);
    let hash = |text: String| match get("algorithm").trim_end_matches("-sess") {
        "SHA-256" => hex(&Sha256::digest(text)),
        "SHA-512-256" => hex(&Sha512_256::digest(text)),
        _ => hex(&Md5::digest(text)),
    };
    let method = message.0.split(' ').next().unwrap();
    assert_eq!(get("uri"), message.0.split(' ').nth(1).unwrap(), "the Request-URI");
    let mut who = hash(format!("{}:{}:{PASSWORD}", get("username"), get("realm")));
    if get("algorithm").ends_with("-sess") {
        who = hash(format!("{who}:{}:{}", get("nonce"), get("cnonce")));
    }
    let what = match get("qop") {
        "auth-int" => {
            let body = hash(message.body().to_owned());
            hash(format!("{method}:{}:{body}", get("uri")))
        }
        _ => hash(format!("{method}:{}", get("uri"))),
    };
    let expected = match get("qop") {
        "" => hash(format!("{who}:{}:{what}", get("nonce"))),
        qop => {
            let (nonce, nc, cnonce) = (get("nonce"), get("nc"), get("cnonce"));
            hash(format!("{who}:{nonce}:{nc}:{cnonce}:{qop}:{what}"))
        }
    };
    assert_eq!(get("response"), expected, "the digest of {}", message.0);
    parameters
}

/// A parameter's text; empty where there is none.
pub(crate) fn parameter<'a>(parameters: &'a [(String, String)], name: &str) -> &'a str {
    parameters.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value.as_str())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
