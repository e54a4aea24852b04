//! `sip.*`: where SIP is spoken, over what, and under which addresses.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::{ConfigError, Settings, Sip, dscp, http};

const PUBLIC: &str = "one IPv4 address, one IPv6 address, or both, such as \"192.0.2.7\"";

const NO_CERTIFICATE: &str = "a path: sip.tls needs sip.tls_cert and sip.tls_key";

pub(super) fn sip(s: &Settings) -> Result<Sip, ConfigError> {
    let udp = s.setting("sip.udp")?;
    let listeners = udp.listeners()?;
    if listeners.is_empty() {
        return Err(udp.invalid("at least one address"));
    }
    let t1 = s.setting("sip.timer_t1_ms")?.integer(50..=2_000)?;
    let agent = s.setting("sip.user_agent")?;
    if agent.text()?.chars().any(char::is_control) {
        return Err(agent.invalid("a string without control characters"));
    }
    let tls = s.setting("sip.tls")?.listeners()?;
    let tls_files = http::tls_files(s, "sip.tls_cert", "sip.tls_key")?;
    if !tls.is_empty() && tls_files.is_none() {
        return Err(s.setting("sip.tls_cert")?.invalid(NO_CERTIFICATE));
    }
    Ok(Sip {
        udp: listeners,
        tcp: s.setting("sip.tcp")?.listeners()?,
        tls,
        tls_files,
        tls_ca: file(s, "sip.tls_ca")?,
        dns_servers: dns_servers(s)?,
        public_addresses: public(s)?,
        user_agent: agent.text()?.to_owned(),
        timer_t1: Duration::from_millis(t1.unsigned_abs()),
        dscp: dscp(s, "sip.dscp")?,
    })
}

/// A file, if one is named.
pub(super) fn file(s: &Settings, name: &str) -> Result<Option<PathBuf>, ConfigError> {
    let text = s.setting(name)?.text()?;
    Ok((!text.is_empty()).then(|| s.base.join(text)))
}

/// Addresses with a port or without; 53 is the DNS's.
fn dns_servers(s: &Settings) -> Result<Vec<SocketAddr>, ConfigError> {
    let setting = s.setting("sip.dns_servers")?;
    let parse = |text: &String| {
        let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        bare.or_else(|_| text.parse())
    };
    let texts = setting.texts()?;
    let servers: Result<Vec<SocketAddr>, _> = texts.iter().map(parse).collect();
    servers
        .map_err(|_| setting.invalid("addresses such as \"192.0.2.53\" or \"[2001:db8::53]:5353\""))
}

fn public(s: &Settings) -> Result<Vec<IpAddr>, ConfigError> {
    let setting = s.setting("sip.public_address")?;
    let texts = setting.texts()?;
    let given = texts.iter().filter(|text| !text.is_empty());
    let parsed: Result<Vec<IpAddr>, _> = given.map(|text| text.parse()).collect();
    let addresses = parsed.map_err(|_| setting.invalid(PUBLIC))?;
    let of = |is_v4| addresses.iter().filter(|ip| ip.is_ipv4() == is_v4).count();
    if of(true) > 1 || of(false) > 1 {
        return Err(setting.invalid(PUBLIC));
    }
    Ok(addresses)
}
