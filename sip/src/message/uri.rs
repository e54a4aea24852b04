//! URIs: `sip:`, `sips:` (RFC 3261 §19.1), `tel:` (RFC 3966) and any other as opaque text.
//!
//! The fields hold the text as on the wire, escapes included, so that a remote target goes back
//! as it came; printing escapes whatever could not stand there, so that no field can break out of
//! its place. Comparing is in [`Uri::equivalent`]. Start at [`Uri`].
#![warn(clippy::indexing_slicing)]

use super::{Params, Token, Transport, lex};
use crate::error::ParseError;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Scheme of a URI.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// `tel`
    Tel,
    /// Any other: a request to it is answered with 416.
    Other(Token),
}

/// Host of a URI or Via.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// `192.0.2.1`
    V4(Ipv4Addr),
    /// `[2001:db8::1]`
    V6(Ipv6Addr),
    /// A URI without one: `tel:`, and schemes we do not know.
    None,
}

/// A URI.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Uri {
    /// Its scheme.
    pub scheme: Scheme,
    /// User part, escaped, with the password if there is one; the number of a `tel:` URI;
    /// everything behind the scheme of a URI we do not know.
    pub user: Option<String>,
    /// Its host.
    pub host: Host,
    /// Its port, if it is written.
    pub port: Option<u16>,
    /// Its parameters, escaped.
    pub params: Params,
    /// What follows `?` (§19.1.1, "Headers"), escaped. Never acted upon.
    pub headers: Option<String>,
}

impl Uri {
    /// `sip:user@host`; the user is plain text and escaped here.
    #[must_use]
    pub fn sip(user: Option<&str>, host: Host, port: Option<u16>) -> Self {
        let user = user.filter(|user| !user.is_empty()).map(escape_user);
        let params = Params::new();
        Self { scheme: Scheme::Sip, user, host, port, params, headers: None }
    }

    /// `sip:user@address:port`; the user is plain text and escaped here.
    #[must_use]
    pub fn at(user: Option<&str>, address: SocketAddr) -> Self {
        Self::sip(user, address.ip().into(), Some(address.port()))
    }

    /// Reads a URI.
    ///
    /// # Errors
    /// If it has no scheme, or what follows does not fit a `sip:`, `sips:` or `tel:` URI.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (scheme, rest) = text.split_once(':').ok_or(ParseError("URI without a scheme"))?;
        if !text.bytes().all(is_uri_byte) {
            return Err(ParseError("white space, quotes or control characters in a URI"));
        }
        match scheme {
            s if s.eq_ignore_ascii_case("sip") => parse_sip(Scheme::Sip, rest),
            s if s.eq_ignore_ascii_case("sips") => parse_sip(Scheme::Sips, rest),
            s if s.eq_ignore_ascii_case("tel") => parse_tel(rest),
            other => parse_other(other, rest),
        }
    }

    /// Without what may not stand in a Request-URI (RFC 3261 §19.1.1, table 1).
    #[must_use]
    pub fn into_request_uri(mut self) -> Self {
        self.params.remove("method");
        Self { headers: None, ..self }
    }

    /// The user part in plain text: `None` if there is none.
    #[must_use]
    pub fn user_text(&self) -> Option<std::borrow::Cow<'_, str>> {
        self.user.as_deref().map(lex::percent_decode)
    }

    /// The transport that it asks for, by its scheme or its parameter (RFC 3261 §19.1.1, §26.2.2);
    /// `None` if it asks for none.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        let named = self.params.value("transport");
        let named = named.map(|name| Transport::parse(name).unwrap_or(Transport::Other));
        match (&self.scheme, named) {
            (Scheme::Sips, None | Some(Transport::Tcp)) => Some(Transport::Tls),
            (_, named) => named,
        }
    }

    /// The address, if the host is one; port 5060 (5061 for TLS) if none is written
    /// (RFC 3263 §4.2).
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let default = self.transport().map_or(5060, Transport::default_port);
        self.host.ip().map(|ip| SocketAddr::new(ip, self.port.unwrap_or(default)))
    }
}

impl FromStr for Uri {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

/// Plain text as a user part: everything but `unreserved` and `&=+$,;?/` is escaped
/// (RFC 3261 §25.1, `user`).
#[must_use]
pub fn escape_user(plain: &str) -> String {
    let mut user = String::with_capacity(plain.len());
    for byte in plain.bytes() {
        if is_user_byte(byte) {
            user.push(char::from(byte));
        } else {
            let _ = write!(user, "%{byte:02X}");
        }
    }
    user
}

fn parse_sip(scheme: Scheme, rest: &str) -> Result<Uri, ParseError> {
    // No '@' may stand behind the user part (§25.1), so that the first one ends it.
    let (user, rest) = match rest.split_once('@') {
        Some(("", _)) => return Err(ParseError("empty user part")),
        Some((user, rest)) => (Some(lex::escaped(user, is_user_text_byte)), rest),
        None => (None, rest),
    };
    let (rest, headers) = match rest.split_once('?') {
        Some((rest, headers)) => (rest, Some(lex::escaped(headers, is_uri_byte))),
        None => (rest, None),
    };
    let (host_port, params) = match rest.split_once(';') {
        Some((host_port, params)) => (host_port, Params::parse(params)?),
        None => (rest, Params::new()),
    };
    let (host, port) = parse_host_port(host_port)?;
    Ok(Uri { scheme, user, host, port, params, headers })
}

fn parse_tel(rest: &str) -> Result<Uri, ParseError> {
    let (number, params) = rest.split_once(';').unwrap_or((rest, ""));
    let is_digit = |byte: u8| byte.is_ascii_hexdigit() || b"+-.()*#".contains(&byte);
    if number.is_empty() || !number.bytes().all(is_digit) {
        return Err(ParseError("bad telephone number"));
    }
    let params = Params::parse(params)?;
    let user = Some(number.to_owned());
    Ok(Uri { scheme: Scheme::Tel, user, host: Host::None, port: None, params, headers: None })
}

fn parse_other(scheme: &str, rest: &str) -> Result<Uri, ParseError> {
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(ParseError("bad scheme"));
    }
    let scheme = Scheme::Other(Token::parse(scheme)?);
    let (user, params) = (Some(lex::escaped(rest, is_uri_byte)), Params::new());
    Ok(Uri { scheme, user, host: Host::None, port: None, params, headers: None })
}

/// Reads `host`, `host:port`, `[v6]`, `[v6]:port`; white space may stand round the colon of a Via.
pub(crate) fn parse_host_port(text: &str) -> Result<(Host, Option<u16>), ParseError> {
    let bracket = text.find(']').unwrap_or(0);
    let (host, port) = match text.rfind(':').filter(|colon| *colon > bracket) {
        Some(colon) => (text.get(..colon).unwrap_or_default(), text.get(colon + 1..)),
        None => (text, None),
    };
    let port = port.map(lex::trim).map(parse_port).transpose()?;
    Ok((Host::parse(lex::trim(host))?, port))
}

fn parse_port(text: &str) -> Result<u16, ParseError> {
    let port = super::values::decimal(text).and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port != 0).ok_or(ParseError("bad port"))
}

impl Host {
    /// Reads a name, an IPv4 address or an IPv6 address in brackets.
    ///
    /// # Errors
    /// If it is empty, has a character no host has, or the brackets hold no IPv6 address.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(ParseError("bad IPv6 address"))?;
            return parse_v6(inner).map(Self::V6).ok_or(ParseError("bad IPv6 address"));
        }
        if text.starts_with(|c: char| c.is_ascii_digit())
            && let Ok(v4) = text.parse()
        {
            return Ok(Self::V4(v4));
        }
        if text.is_empty() || !text.bytes().all(is_name_byte) {
            return Err(ParseError("bad host"));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }

    /// The address, if it is one.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::V4(v4) => Some(IpAddr::V4(*v4)),
            Self::V6(v6) => Some(IpAddr::V6(*v6)),
            Self::Name(_) | Self::None => None,
        }
    }
}

/// An IPv6 address; `:::` before an embedded IPv4 address reads as `::`, since the grammar of
/// RFC 3261 wrongly asks for it (RFC 5118 §4.10).
pub(crate) fn parse_v6(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok().or_else(|| text.replacen(":::", "::", 1).parse().ok())
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => Self::V6(v6),
        }
    }
}

/// Letters, digits, hyphen and dot; the underscore is no host's but seen in real ones.
const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// What may stand somewhere in a URI we take: no white space, controls, quotes, angle brackets.
/// UTF-8 is taken: it is seen in user parts, though it should be escaped.
const fn is_uri_byte(byte: u8) -> bool {
    (byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\')) || !byte.is_ascii()
}

/// `unreserved / user-unreserved`.
const fn is_user_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
        || matches!(byte, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/')
}

/// A user part on the wire, its password too; `#` should be escaped and is not by many.
const fn is_user_text_byte(byte: u8) -> bool {
    is_uri_byte(byte) && byte != b'@'
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sip => "sip",
            Self::Sips => "sips",
            Self::Tel => "tel",
            Self::Other(token) => token.as_str(),
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => lex::write_escaped(f, name, is_name_byte),
            Self::V4(v4) => v4.fmt(f),
            Self::V6(v6) => write!(f, "[{v6}]"),
            Self::None => Ok(()),
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if let Some(user) = self.user.as_deref().filter(|user| !user.is_empty()) {
            let opaque = matches!(self.scheme, Scheme::Other(_));
            lex::write_escaped(f, user, if opaque { is_uri_byte } else { is_user_text_byte })?;
            if self.host != Host::None {
                f.write_char('@')?;
            }
        }
        self.host.fmt(f)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)?;
        if let Some(headers) = &self.headers {
            f.write_char('?')?;
            lex::write_escaped(f, headers, is_uri_byte)?;
        }
        Ok(())
    }
}
