//! The digest itself (RFC 7616 §3.4).
#![warn(clippy::indexing_slicing)]

use super::{Algorithm, Challenge, Credentials, Qop};
use crate::message::{Request, write_quoted};
use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};
use std::fmt::Write as _;

/// The value of the Authorization header field. `count` is how often the nonce was used, this time
/// included; it and `cnonce` are left out where the challenge offers no qop.
pub(super) fn response(
    challenge: &Challenge,
    credentials: &Credentials,
    request: &Request,
    count: u32,
    cnonce: &str,
) -> String {
    let uri = request.uri.to_string();
    let input = Input {
        challenge,
        credentials,
        method: request.method.as_str(),
        uri: &uri,
        body: &request.body,
        count,
        cnonce,
    };
    let mut value = String::with_capacity(256);
    value.push_str("Digest ");
    quoted(&mut value, "username", &credentials.username);
    quoted(&mut value, ", realm", &challenge.realm);
    quoted(&mut value, ", nonce", &challenge.nonce);
    quoted(&mut value, ", uri", &uri);
    quoted(&mut value, ", response", &input.digest());
    if challenge.names_algorithm {
        let _ = write!(value, ", algorithm={}", challenge.algorithm_name());
    }
    if let Some(opaque) = &challenge.opaque {
        quoted(&mut value, ", opaque", opaque);
    }
    if let Some(qop) = challenge.qop.name() {
        let _ = write!(value, ", qop={qop}, nc={count:08x}");
    }
    if challenge.qop != Qop::Absent || challenge.session {
        quoted(&mut value, ", cnonce", cnonce);
    }
    value
}

fn quoted(out: &mut String, name: &str, text: &str) {
    let _ = write!(out, "{name}=");
    let _ = write_quoted(out, text);
}

struct Input<'a> {
    challenge: &'a Challenge,
    credentials: &'a Credentials,
    method: &'a str,
    uri: &'a str,
    body: &'a [u8],
    count: u32,
    cnonce: &'a str,
}

impl Input<'_> {
    fn digest(&self) -> String {
        let Self { challenge, credentials, method, uri, body, count, cnonce } = self;
        let Challenge { realm, nonce, algorithm, qop, .. } = challenge;
        let hash = |text: &str| algorithm.hex(text.as_bytes());
        let mut who = hash(&format!("{}:{realm}:{}", credentials.username, credentials.password));
        if challenge.session {
            who = hash(&format!("{who}:{nonce}:{cnonce}"));
        }
        let what = match qop {
            Qop::Absent | Qop::Auth => hash(&format!("{method}:{uri}")),
            Qop::AuthInt => hash(&format!("{method}:{uri}:{}", algorithm.hex(body))),
        };
        match qop.name() {
            Some(qop) => hash(&format!("{who}:{nonce}:{count:08x}:{cnonce}:{qop}:{what}")),
            None => hash(&format!("{who}:{nonce}:{what}")),
        }
    }
}

impl Qop {
    const fn name(self) -> Option<&'static str> {
        match self {
            Self::Absent => None,
            Self::Auth => Some("auth"),
            Self::AuthInt => Some("auth-int"),
        }
    }
}

impl Algorithm {
    fn hex(self, data: &[u8]) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(data)),
            Self::Sha256 => hex(&Sha256::digest(data)),
            Self::Sha512_256 => hex(&Sha512_256::digest(data)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(challenge: &str, who: (&str, &str), uri: &str, body: &[u8], cnonce: &str) -> String {
        let challenge = Challenge::parse(challenge).unwrap();
        let credentials = Credentials {
            username: who.0.into(),
            password: who.1.into(),
            realm: None,
            destinations: Vec::new(),
        };
        let (challenge, credentials) = (&challenge, &credentials);
        Input { challenge, credentials, method: "GET", uri, body, count: 1, cnonce }.digest()
    }

    const OLD: &str = r#"Digest realm="testrealm@host.com", qop="auth,auth-int",
        nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
    const NEW: &str = r#"Digest realm="http-auth@example.org", qop="auth, auth-int",
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe", algorithm="#;
    const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

    #[test]
    fn rfc_2617_section_3_5() {
        let who = ("Mufasa", "Circle Of Life");
        let digest = digest(OLD, who, "/dir/index.html", b"", "0a4f113b");
        assert_eq!(digest, "6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn rfc_7616_section_3_9_1() {
        let who = ("Mufasa", "Circle of Life");
        let digest =
            |algorithm| digest(&format!("{NEW}{algorithm}"), who, "/dir/index.html", b"", CNONCE);
        assert_eq!(digest("MD5"), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            digest("SHA-256"),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        assert_ne!(digest("SHA-256-sess"), digest("SHA-256"));
    }

    /// Without the hashing of the user's name, which the example has; the figure comes from
    /// another implementation of the formula (the RFC's own has an erratum).
    #[test]
    fn sha_512_256() {
        let challenge = r#"Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256,
            nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", charset=UTF-8, userhash=true"#;
        let who = ("J\u{e4}s\u{f8}n Doe", "Secret, or not?");
        assert_eq!(
            digest(challenge, who, "/doe.json", b"", "NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm"),
            "7a4e1192babbba02e91182d2895bfdbf7adafc6e48d4e517ca301974843d840c"
        );
    }

    /// RFC 2069's form, and what covers a body: the numbers of RFC 2617 §3.5 by another
    /// implementation of the formulas.
    #[test]
    fn other_qualities_and_sessions() {
        let who = ("Mufasa", "Circle Of Life");
        let digest = |from: &str, to: &str, body| {
            digest(&OLD.replace(from, to), who, "/dir/index.html", body, "0a4f113b")
        };
        assert_eq!(digest(r#"qop="auth,auth-int","#, "", b""), "670fd8c2df070c60b045671b8b24ff02");
        assert_eq!(
            digest("auth,auth-int", "auth-int", b"v=0\r\n"),
            "151b6cabb7e59e0ac757207a039ff3d0"
        );
        assert_eq!(
            digest("Digest ", "Digest algorithm=MD5-sess,", b""),
            "8e3825c57e897f5a0dec6c2d4e5059d0"
        );
        assert_eq!(
            digest(r#"qop="auth,auth-int""#, "algorithm=md5-SESS", b""),
            "4726bc10c33fa6cb357eb27807b1cce8"
        );
    }
}
