//! Where a webhook may go. A customer names the URL, so the server must not become their way into
//! our network: the scheme and a literal address are checked when the URL is given, and every
//! address that a name resolves to before it is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use url::{Host, Url};

/// Longest URL taken: what servers commonly accept.
const MAX_URL: usize = 2_048;

/// What the operator permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `http:` beside `https:`.
    pub allow_http: bool,
    /// Addresses that are not public.
    pub allow_private: bool,
}

/// Why a URL is not taken, or not connected to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GuardError {
    /// No URL, or one that is too long.
    #[error("not a valid URL")]
    Syntax,
    /// Neither https nor (where permitted) http.
    #[error("must be an https URL (webhooks.allow_http lets http be, for trials)")]
    Scheme,
    /// A literal or resolved address that is not public.
    #[error("{0} is not a public address")]
    Private(IpAddr),
    /// The name has no address at all.
    #[error("{0} has no address")]
    NoAddress(String),
}

/// Checks what can be told without asking a name server: syntax, scheme, and literal addresses in
/// every spelling that the URL standard reads as one (`2130706433`, `0x7f.1`, `[::ffff:7f00:1]`).
///
/// # Errors
/// [`GuardError`], all of them the customer's (400).
pub fn check_url(text: &str, policy: Policy) -> Result<Url, GuardError> {
    if text.len() > MAX_URL {
        return Err(GuardError::Syntax);
    }
    let url = Url::parse(text).map_err(|_| GuardError::Syntax)?;
    match url.scheme() {
        "https" => {}
        "http" if policy.allow_http => {}
        _ => return Err(GuardError::Scheme),
    }
    match url.host().ok_or(GuardError::Syntax)? {
        Host::Domain(_) => {}
        Host::Ipv4(address) => check_address(address.into(), policy)?,
        Host::Ipv6(address) => check_address(address.into(), policy)?,
    }
    Ok(url)
}

/// Refuses an address that is not public, unless private ones are permitted.
fn check_address(address: IpAddr, policy: Policy) -> Result<(), GuardError> {
    if policy.allow_private || is_public(address) {
        Ok(())
    } else {
        Err(GuardError::Private(address))
    }
}

/// Whether an address is reachable by everyone, by the IANA special-purpose registries
/// (RFC 6890 and successors); those that carry an IPv4 address inside are judged by that.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)     // this network, private, loopback, multicast, reserved
            | (100, 64..=127, _)             // carrier-grade NAT, RFC 6598
            | (169, 254, _)                  // link-local, cloud metadata
            | (172, 16..=31, _)              // private
            | (192, 0, 0 | 2)                // protocol assignments, documentation
            | (192, 88, 99)                  // 6to4 relays
            | (192, 168, _)                  // private
            | (198, 18 | 19, _)              // benchmarks
            | (198, 51, 100)                 // documentation
            | (203, 0, 113) // documentation
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, _, _, _, _, g, h] = address.segments();
    let inner = |high: u16, low: u16| {
        is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xFFFF, ..] => inner(g, h),    // mapped
        [0x64, 0xFF9B, 0, 0, 0, 0, ..] => inner(g, h), // NAT64, RFC 6052
        [0x2001, 0..=0x01FF, ..] => false,             // Teredo, protocol assignments
        [0x2001, 0x0DB8, ..] => false,                 // documentation
        [0x2002, high, low, ..] => inner(high, low),   // 6to4
        [0x3FFF, 0..=0x0FFF, ..] => false,             // documentation, RFC 9637
        _ => (0x2000..=0x3FFF).contains(&a) && (a, b) != (0x3FFE, 0), // global unicast
    }
}

/// What a name stands for, as the client asks it. A trait object, so that tests can be a name
/// server that changes its mind.
pub type Lookup =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Lookedup> + Send>> + Send + Sync>;
/// The addresses of a name.
pub type Lookedup = std::io::Result<Vec<IpAddr>>;

/// The system's resolver.
pub fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// Gives the HTTP client only addresses it may connect to, so that what is checked is what is
/// connected to.
pub struct GuardedResolver {
    /// Who is asked.
    pub lookup: Lookup,
    /// What is permitted.
    pub policy: Policy,
}

impl reqwest::dns::Resolve for GuardedResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let policy = self.policy;
        let name = name.as_str().to_owned();
        let found = (self.lookup)(name.clone());
        Box::pin(async move {
            let found = found.await?;
            // One bad address condemns the name: no customer needs a mixture.
            found.iter().try_for_each(|address| check_address(*address, policy))?;
            if found.is_empty() {
                return Err(GuardError::NoAddress(name).into());
            }
            // Port 0: the client puts the URL's in.
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(found) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Policy = Policy { allow_http: false, allow_private: false };

    #[test]
    fn private_addresses_are_refused_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "１２７.0.0.1", // full-width digits
            "127。0。0。1", // ideographic full stops
            "0",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[2001:0:1::1]",
            "[2001:db8::1]",
            "[3fff::1]",
            "[fc00::1]",
            "[fd12:3456::1]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "[100::1]",
            "user:password@127.0.0.1",
            "example.com@127.0.0.1",
        ] {
            let url = format!("https://{host}/hook");
            assert!(
                matches!(check_url(&url, STRICT), Err(GuardError::Private(_))),
                "{url} was let through"
            );
            let lax = Policy { allow_private: true, ..STRICT };
            assert!(check_url(&url, lax).is_ok(), "{url} with allow_private");
        }
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for host in [
            "example.com",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "[2606:4700::1111]",
            "[::ffff:8.8.8.8]",
            "[64:ff9b::808:808]",
            "[2002:808:808::1]",
            "xn--bcher-kva.example:8443",
        ] {
            let url = format!("https://{host}/hook?a=b");
            assert!(check_url(&url, STRICT).is_ok(), "{url} was refused");
        }
    }

    #[test]
    fn only_https_unless_http_is_permitted() {
        let lax = Policy { allow_http: true, ..STRICT };
        assert_eq!(check_url("http://example.com/", STRICT), Err(GuardError::Scheme));
        assert!(check_url("http://example.com/", lax).is_ok());
        for url in ["ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "data:,x"]
        {
            assert_eq!(check_url(url, lax), Err(GuardError::Scheme), "{url}");
        }
        for url in ["", "example.com", "https://", "https://[::1", "//example.com/x"] {
            assert_eq!(check_url(url, lax), Err(GuardError::Syntax), "{url}");
        }
        let long = format!("https://example.com/{}", "x".repeat(2_048));
        assert_eq!(check_url(&long, STRICT), Err(GuardError::Syntax));
    }
}
