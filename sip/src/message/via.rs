//! `Via` and the transports it names (RFC 3261 §20.42, RFC 3581).
#![warn(clippy::indexing_slicing)]

use super::uri::{parse_host_port, parse_v6};
use super::{Host, Params, lex};
use crate::error::ParseError;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// UDP
    Udp,
    /// TCP
    Tcp,
    /// TLS over TCP
    Tls,
    /// SCTP; only read in a Via.
    Sctp,
    /// WebSocket; only read in a Via.
    Ws,
    /// WebSocket over TLS; only read in a Via.
    Wss,
    /// One that we do not know; only read in a Via.
    Other,
}

impl Transport {
    /// Whether the transport repeats what is lost, so that transactions must not
    /// (RFC 3261 §17).
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The port where none is written (RFC 3261 §19.1.2, §18.2.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Tls | Self::Wss => 5061,
            _ => 5060,
        }
    }

    /// As in a Via: `UDP`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Sctp => "SCTP",
            Self::Ws => "WS",
            Self::Wss => "WSS",
            Self::Other => "UNKNOWN",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, ParseError> {
        const ALL: [Transport; 6] = {
            use Transport::{Sctp, Tcp, Tls, Udp, Ws, Wss};
            [Udp, Tcp, Tls, Sctp, Ws, Wss]
        };
        match ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text)) {
            Some(known) => Ok(known),
            None if lex::is_token(text) => Ok(Self::Other),
            None => Err(ParseError("bad transport")),
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One `Via` value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Via {
    /// How the request was sent. The name of one we do not know is not kept: the Vias of others
    /// are passed on as text, never through this type.
    pub transport: Transport,
    /// Sent-by: who sent it.
    pub host: Host,
    /// Sent-by: to which port the answer goes, if written.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport`, …
    pub params: Params,
}

impl Via {
    /// A Via of ours, with `rport` (RFC 3581 §3).
    #[must_use]
    pub fn new(transport: Transport, host: Host, port: Option<u16>, branch: &str) -> Self {
        let mut params = Params::new();
        params.set("branch", branch);
        params.set_flag("rport");
        Self { transport, host, port, params }
    }

    /// Reads one value: `SIP/2.0/UDP host:port;branch=…`.
    ///
    /// # Errors
    /// If the protocol is not SIP/2.0, or host, port or parameters are bad.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (protocol, params) = match text.split_once(';') {
            Some((protocol, params)) => (protocol, Params::parse(params)?),
            None => (text, Params::new()),
        };
        let mut parts = protocol.splitn(3, '/').map(lex::trim);
        let (name, version, rest) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        if !name.is_some_and(|name| name.eq_ignore_ascii_case("SIP")) || version != Some("2.0") {
            return Err(ParseError("not SIP/2.0"));
        }
        let (transport, sent_by) =
            rest.split_once([' ', '\t']).ok_or(ParseError("Via without sent-by"))?;
        let (host, port) = parse_host_port(lex::trim(sent_by))?;
        Ok(Self { transport: Transport::parse(transport)?, host, port, params })
    }

    /// The `branch` parameter; empty counts as none.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.params.value("branch").filter(|branch| !branch.is_empty())
    }

    /// The `received` address; brackets round IPv6 are tolerated (RFC 5118 §4.5).
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.value("received")?;
        let inner = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        text.parse().ok().or_else(|| parse_v6(inner.unwrap_or(text)).map(IpAddr::V6))
    }

    /// The port in `rport`, if the receiver has filled it in.
    #[must_use]
    pub fn rport(&self) -> Option<u16> {
        self.params.value("rport")?.parse().ok()
    }

    /// Whether the sender asks for an answer to the port it sent from (RFC 3581 §4).
    #[must_use]
    pub fn asks_rport(&self) -> bool {
        self.params.value("rport") == Some("")
    }
}

impl FromStr for Via {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)
    }
}
