//! Where a SIP URI leads: transports and addresses, in the order in which they are to be tried
//! (RFC 3263 §4, RFC 2782).
//!
//! It knows DNS. It refuses to know trunks and when the next address is tried. Start at
//! [`Resolver::resolve`].

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::{NAPTR, SRV};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use rand::{Rng, RngExt};

use crate::message::{Scheme, Transport, Uri};

/// How long a URI is looked up for, all its records together.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long one server has for one question.
const A_QUESTION: Duration = Duration::from_secs(1);
/// How long "there is none" is believed: who has just set up a name does not wait for long.
const NONE_FOR: Duration = Duration::from_secs(30);
/// For how long an answer is used, whatever its time to live says.
const KNOWN_FOR: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));
/// For how long a line of `/etc/hosts` is used.
const HOSTS_FILE_FOR: Duration = Duration::from_secs(60);
/// Servers of one URI that are looked at; a call tries few.
const MAX_SERVERS: usize = 16;

/// A place to which a request can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// Address and port.
    pub remote: SocketAddr,
    /// Over what.
    pub transport: Transport,
}

/// Where a URI leads. At least one way, unless it is made of none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    servers: Vec<Server>,
}

/// One server: a SRV record with its addresses, or a host without such records.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    priority: u16,
    weight: u16,
    ways: Vec<Way>,
}

impl Route {
    /// These ways, in this order.
    pub fn of(ways: impl IntoIterator<Item = Way>) -> Self {
        let ways: Vec<Way> = ways.into_iter().collect();
        Self { servers: vec![Server { priority: 0, weight: 0, ways }] }
    }

    /// The way of highest priority, and of those the heaviest.
    pub fn first(&self) -> Option<Way> {
        let key = |server: &&Server| (server.priority, std::cmp::Reverse(server.weight));
        self.servers.iter().min_by_key(key)?.ways.first().copied()
    }

    /// Every way, for who asks what belongs to the URI.
    pub fn all(&self) -> impl Iterator<Item = Way> + '_ {
        self.servers.iter().flat_map(|server| &server.ways).copied()
    }

    /// The ways for one call: by priority, and within a priority each server as often first as its
    /// weight says (RFC 2782, "Usage rules").
    pub fn ways(&self, rng: &mut impl Rng) -> Vec<Way> {
        let mut servers: Vec<&Server> = self.servers.iter().collect();
        servers.sort_by_key(|server| (server.priority, server.weight));
        let mut ordered = Vec::with_capacity(servers.len());
        for equals in servers.chunk_by(|one, other| one.priority == other.priority) {
            let mut equals = equals.to_vec();
            while let Some(next) = drawn(&equals, rng) {
                ordered.extend(&equals.remove(next).ways);
            }
        }
        ordered
    }
}

/// Draws one by weight. Those without weight come first in the list and are seldom drawn.
fn drawn(equals: &[&Server], rng: &mut impl Rng) -> Option<usize> {
    if equals.len() < 2 {
        return equals.len().checked_sub(1);
    }
    let weight = |server: &&Server| u32::from(server.weight);
    let point = rng.random_range(0..=equals.iter().map(weight).sum::<u32>());
    let mut sum = 0;
    equals.iter().position(|server| {
        sum += weight(server);
        sum >= point
    })
}

/// Why a URI leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name has no address.
    #[error("no address")]
    None,
    /// Its domain says that it offers no such service (RFC 2782: a target of `.`).
    #[error("its DNS says that there is no SIP server")]
    NoService,
    /// Nobody said so in time.
    #[error("no answer in time")]
    Timeout,
    /// DNS failed.
    #[error("{0}")]
    Dns(String),
    /// The system names no DNS servers.
    #[error("the system's DNS servers are not known ({0}); name some by sip.dns_servers")]
    NoServers(String),
}

/// Answers, and until when they hold.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it leads.
    pub route: Route,
    /// Until when the records live; `None`: there were none to look up.
    pub until: Option<Instant>,
}

/// Asks the DNS. Answers are remembered for their time to live.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// Or why there is none: an address needs no DNS.
    dns: Result<TokioResolver, String>,
}

impl Resolver {
    /// Asks `servers`; where there are none, those of the system (`/etc/resolv.conf`, read once).
    pub fn new(servers: &[SocketAddr]) -> Self {
        let provider = TokioRuntimeProvider::default();
        let builder = if servers.is_empty() {
            TokioResolver::builder(provider)
        } else {
            let servers = servers.iter().copied().map(name_server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            Ok(TokioResolver::builder_with_config(config, provider))
        };
        let resolver = builder.and_then(|mut builder| {
            ours(builder.options_mut());
            builder.build()
        });
        Self { dns: resolver.map_err(|error| error.to_string()) }
    }

    /// Where `uri` leads. An address is taken as it is; a name with a port has addresses only; a
    /// bare name is looked up as NAPTR where the URI leaves the transport open, then as SRV, then as
    /// an address. Which of UDP, TCP and TLS are built is what is looked for.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn resolve(&self, now: Instant, uri: &Uri) -> Result<Found, ResolveError> {
        let is_secure = uri.scheme == Scheme::Sips;
        let fallback =
            uri.transport().unwrap_or(if is_secure { Transport::Tls } else { Transport::Udp });
        if let Some(ip) = uri.host.ip() {
            let port = uri.port.unwrap_or(fallback.default_port());
            let way = Way { remote: SocketAddr::new(ip, port), transport: fallback };
            return Ok(Found { route: Route::of([way]), until: None });
        }
        let name = uri.host.to_string();
        if let Some(addresses) = in_hosts_file(&name) {
            let port = uri.port.unwrap_or(fallback.default_port());
            let way = |ip| Way { remote: SocketAddr::new(ip, port), transport: fallback };
            let route = Route::of(addresses.into_iter().map(way));
            return Ok(Found { route, until: Some(now + HOSTS_FILE_FOR) });
        }
        let dns = self.dns.as_ref().map_err(|why| ResolveError::NoServers(why.clone()))?;
        let mut search = Search { dns, now, until: now + KNOWN_FOR.1 };
        let found = async {
            match uri.port {
                Some(port) => search.host(&name, port, fallback).await,
                None => search.domain(&name, uri.transport(), is_secure, fallback).await,
            }
        };
        let route = tokio::time::timeout(PATIENCE, found).await;
        let route = route.unwrap_or(Err(ResolveError::Timeout))?;
        let until = search.until.max(now + KNOWN_FOR.0);
        Ok(Found { route, until: Some(until) })
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

fn ours(options: &mut ResolverOpts) {
    options.timeout = A_QUESTION;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.negative_max_ttl = Some(NONE_FOR);
    // It is asked first, and read each time.
    options.use_hosts_file = ResolveHosts::Never;
}

/// What the operator says of a name in `/etc/hosts` is all there is to know of it.
fn in_hosts_file(name: &str) -> Option<BTreeSet<IpAddr>> {
    let hosts = Hosts::from_system().ok()?;
    let name = Name::from_ascii(name).ok()?;
    let of = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of);
    let addresses: BTreeSet<IpAddr> =
        found.flat_map(|found| LookupIp::from(found).iter().collect::<Vec<_>>()).collect();
    (!addresses.is_empty()).then_some(addresses)
}

/// One resolution under way.
struct Search<'a> {
    dns: &'a TokioResolver,
    now: Instant,
    /// Until when every record of it lives.
    until: Instant,
}

impl Search<'_> {
    /// A bare name (§4.1, §4.2).
    async fn domain(
        &mut self,
        name: &str,
        asked: Option<Transport>,
        is_secure: bool,
        fallback: Transport,
    ) -> Result<Route, ResolveError> {
        if asked.is_none()
            && let Some((service, transport)) = self.naptr(name, is_secure).await
            && let Some(route) = self.service(&service, transport).await?
        {
            return Ok(route);
        }
        let transports: &[Transport] = match (asked, is_secure) {
            (Some(transport), _) => &[transport],
            (None, true) => &[Transport::Tls],
            (None, false) => &[Transport::Udp, Transport::Tcp],
        };
        for transport in transports {
            let service = format!("{}.{name}", prefix(*transport));
            if let Some(route) = self.service(&service, *transport).await? {
                return Ok(route);
            }
        }
        self.host(name, fallback.default_port(), fallback).await
    }

    /// The name of the service that the domain prefers, of those that are built. A domain, or a
    /// server on the way, that cannot say so has none: SRV is asked for all the same.
    async fn naptr(&mut self, name: &str, is_secure: bool) -> Option<(String, Transport)> {
        let records = self.records(name, RecordType::NAPTR).await.ok()?;
        let records = records.iter().filter_map(|data| match data {
            RData::NAPTR(record) => Some((record, service_of(record, is_secure)?)),
            _ => None,
        });
        let best = records.min_by_key(|(record, _)| (record.order, record.preference));
        best.map(|(record, transport)| (record.replacement.to_ascii(), transport))
    }

    /// The servers of a service; `None` where it has no records.
    async fn service(
        &mut self,
        service: &str,
        transport: Transport,
    ) -> Result<Option<Route>, ResolveError> {
        let records = self.records(service, RecordType::SRV).await?;
        let mut records: Vec<&SRV> = records
            .iter()
            .filter_map(|data| if let RData::SRV(record) = data { Some(record) } else { None })
            .collect();
        if records.is_empty() {
            return Ok(None);
        }
        if records.iter().all(|record| record.target.is_root()) {
            return Err(ResolveError::NoService);
        }
        records.sort_by_key(|record| record.priority);
        let mut servers = Vec::new();
        let mut fault = ResolveError::None;
        for record in records.iter().filter(|it| !it.target.is_root()).take(MAX_SERVERS) {
            match self.host(&record.target.to_ascii(), record.port, transport).await {
                Ok(route) => servers.push(Server {
                    priority: record.priority,
                    weight: record.weight,
                    ways: route.all().collect(),
                }),
                // The others may do.
                Err(error) => fault = error,
            }
        }
        if servers.is_empty() { Err(fault) } else { Ok(Some(Route { servers })) }
    }

    /// The addresses of a host.
    async fn host(
        &mut self,
        name: &str,
        port: u16,
        transport: Transport,
    ) -> Result<Route, ResolveError> {
        let found = self.dns.lookup_ip(name).await.map_err(|error| fault(&error))?;
        self.until = self.until.min(found.valid_until());
        let mut ways = Vec::new();
        for ip in found.iter() {
            let way = Way { remote: SocketAddr::new(ip, port), transport };
            // A name may give an address twice.
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        if ways.is_empty() { Err(ResolveError::None) } else { Ok(Route::of(ways)) }
    }

    /// The records of a name; none where there are none.
    async fn records(&mut self, name: &str, kind: RecordType) -> Result<Vec<RData>, ResolveError> {
        match self.dns.lookup(name, kind).await {
            Ok(found) => {
                self.until = self.until.min(found.valid_until());
                Ok(found.answers().iter().map(|record| record.data.clone()).collect())
            }
            // Looked for again soon.
            Err(error) if error.is_no_records_found() => {
                self.until = self.until.min(self.now + NONE_FOR * 10);
                Ok(Vec::new())
            }
            Err(error) => Err(fault(&error)),
        }
    }
}

fn fault(error: &NetError) -> ResolveError {
    match error {
        error if error.is_no_records_found() => ResolveError::None,
        NetError::Timeout => ResolveError::Timeout,
        error => ResolveError::Dns(error.to_string()),
    }
}

/// The transport of a NAPTR record, where it is one of ours: it leads to SRV records, and a
/// `sips:` URI goes by SIPS services only (§4.1).
fn service_of(record: &NAPTR, is_secure: bool) -> Option<Transport> {
    if !record.flags.eq_ignore_ascii_case(b"s") || record.replacement.is_root() {
        return None;
    }
    let is = |service: &[u8]| record.services.eq_ignore_ascii_case(service);
    match () {
        () if is(b"SIPS+D2T") => Some(Transport::Tls),
        () if is(b"SIP+D2U") && !is_secure => Some(Transport::Udp),
        () if is(b"SIP+D2T") && !is_secure => Some(Transport::Tcp),
        () => None,
    }
}

/// What stands before a domain in its SRV records (§4.2).
fn prefix(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "_sip._tcp",
        Transport::Tls => "_sips._tcp",
        _ => "_sip._udp",
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    fn server(priority: u16, weight: u16, last: u8) -> Server {
        let way = Way { remote: ([192, 0, 2, last], 5060).into(), transport: Transport::Udp };
        Server { priority, weight, ways: vec![way] }
    }

    fn lasts(ways: &[Way]) -> Vec<u8> {
        let last = |way: &Way| match way.remote.ip() {
            IpAddr::V4(ip) => ip.octets()[3],
            IpAddr::V6(_) => 0,
        };
        ways.iter().map(last).collect()
    }

    /// RFC 2782: the lowest priority first; within one, by weight.
    #[test]
    fn servers_are_tried_by_priority_then_by_weight() {
        let route = Route {
            servers: vec![
                server(20, 0, 9),
                server(10, 60, 1),
                server(10, 30, 2),
                server(10, 10, 3),
                server(10, 0, 4),
            ],
        };
        let mut rng = StdRng::seed_from_u64(1);
        let mut first = [0_u32; 10];
        for _ in 0..10_000 {
            let ways = lasts(&route.ways(&mut rng));
            assert_eq!(ways.len(), 5);
            assert_eq!(ways[4], 9, "the other priority comes last");
            let mut all = ways.clone();
            all.sort_unstable();
            assert_eq!(all, [1, 2, 3, 4, 9], "each once");
            first[usize::from(ways[0])] += 1;
        }
        // 60, 30 and 10 in 101 points, and the one that stands at 0.
        for (last, share) in [(1, 60), (2, 30), (3, 10), (4, 1)] {
            let expected = 10_000 * share / 101;
            assert!(first[last].abs_diff(expected) < 200, "{last}: {first:?}");
        }
    }

    /// Nothing is to be selected then: DNS turns them round itself.
    #[test]
    fn without_weights_they_stay_as_they_came() {
        let route = Route { servers: vec![server(1, 0, 3), server(0, 0, 2), server(0, 0, 1)] };
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(lasts(&route.ways(&mut rng)), [2, 1, 3]);
    }

    /// What needs no DNS never asks it.
    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "the time does not matter here")]
    async fn an_address_is_taken_as_it_is() {
        let now = Instant::now();
        let resolver = Resolver { dns: Err("none".to_owned()) };
        for (uri, remote, transport) in [
            ("sip:192.0.2.1", "192.0.2.1:5060", Transport::Udp),
            ("sip:192.0.2.1:5080;transport=tcp", "192.0.2.1:5080", Transport::Tcp),
            ("sips:[2001:db8::1]", "[2001:db8::1]:5061", Transport::Tls),
            ("sip:192.0.2.1;transport=tls", "192.0.2.1:5061", Transport::Tls),
        ] {
            let found = resolver.resolve(now, &Uri::parse(uri).unwrap()).await.unwrap();
            let way = Way { remote: remote.parse().unwrap(), transport };
            assert_eq!((found.route.all().collect::<Vec<_>>(), found.until), (vec![way], None));
        }
        let named = resolver.resolve(now, &Uri::parse("sip:example.com").unwrap()).await;
        assert!(matches!(named, Err(ResolveError::NoServers(_))), "{named:?}");
    }
}
