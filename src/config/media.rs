//! `media.*`: ports, threads, codecs and digits.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{ConfigError, Settings, Sip, address, automatic, dscp};

/// What one media thread carries with room to spare (0.04 % of a core a call, 40 % of it used).
const CALLS_PER_WORKER: usize = 1_000;

/// `media.dtmf`: how keys are listened for, beside SIP INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtmf {
    /// Telephone-events; tones where those were not agreed.
    Auto,
    /// Telephone-events and tones at once.
    Both,
    /// Telephone-events alone.
    Rfc4733,
    /// Tones alone.
    Inband,
}

/// `media.*`
#[derive(Debug, Clone)]
pub struct Media {
    /// Local address of RTP sockets.
    pub address: IpAddr,
    /// Address for SDP, where it differs.
    pub public_address: Option<IpAddr>,
    /// Port range.
    pub ports: RangeInclusive<u16>,
    /// Media threads.
    pub workers: usize,
    /// Codecs in order of preference.
    pub codecs: Vec<String>,
    /// How keys are listened for.
    pub dtmf: Dtmf,
    /// Zero is off.
    pub rtp_timeout: Duration,
    /// DSCP, 0–63.
    pub dscp: u8,
    /// Calls at once.
    pub max_calls: usize,
}

pub(super) fn media(s: &Settings, sip: &Sip) -> Result<Media, ConfigError> {
    let shared = s.setting("media.calls_per_port")?;
    if shared.integer(1..=1_024)? != 1 {
        return Err(shared.invalid("1: sharing a port among calls is not built yet"));
    }
    let dtmf = s.setting("media.dtmf")?.choice(&[
        ("auto", Dtmf::Auto),
        ("both", Dtmf::Both),
        ("rfc4733", Dtmf::Rfc4733),
        ("inband", Dtmf::Inband),
    ])?;
    let codecs = s.setting("media.codecs")?;
    let names: Vec<String> = codecs.texts()?.iter().map(|name| name.to_ascii_uppercase()).collect();
    if names.is_empty() || names.iter().any(|name| name != "PCMU" && name != "PCMA") {
        return Err(codecs.invalid("PCMU and PCMA: G722 and opus are not built yet"));
    }
    let ports = s.setting("media.ports")?.ports()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = automatic(s, "media.workers", 1..=256)?.unwrap_or(cores);
    let pairs = (usize::from(*ports.end()) - usize::from(*ports.start())).div_ceil(2);
    let max_calls = automatic(s, "media.max_calls", 1..=1_000_000)?
        .unwrap_or_else(|| pairs.min(workers * CALLS_PER_WORKER));
    let timeout = s.setting("media.rtp_timeout")?;
    let first = sip.udp.first().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), SocketAddr::ip);
    Ok(Media {
        address: address(s, "media.address")?.unwrap_or(first),
        public_address: address(s, "media.public_address")?,
        ports,
        workers,
        codecs: names,
        dtmf,
        rtp_timeout: timeout.duration(Duration::ZERO..=Duration::from_secs(86_400))?,
        dscp: dscp(s, "media.dscp")?,
        max_calls,
    })
}
