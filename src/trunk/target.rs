//! Where a trunk is and how it is addressed: Request-URI, From, To, identity headers.
//!
//! It knows one trunk's settings and where its URI leads. It refuses to know when it is dialled. Start
//! at [`Targets::resolve`] and [`Target::addressing`].

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kaphila_sip::auth::Credentials;
use kaphila_sip::endpoint::{Network, OptionsSpec};
use kaphila_sip::message::{HeaderName, HeaderValue, Host, NameAddr, Scheme, Transport, Uri};
use kaphila_sip::net::resolve::{Found, ResolveError, Resolver, Route, Way};
use kaphila_sip::register::RegisterSpec;
use rand::Rng;

use crate::number::Number;
use crate::store::{Millis, Trunk, TrunkId};

/// The ways of a trunk that one call tries.
const MAX_WAYS: usize = 4;
/// The expiry that a registration asks for, in seconds: the default of RFC 3261 §10.2.
const EXPIRES: u32 = 3_600;

/// A trunk that can be dialled.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its row.
    pub id: TrunkId,
    /// Its name, as reported.
    pub name: String,
    /// Its URI: the host that is written, the port and transport that are used.
    uri: Uri,
    /// Where its INVITEs go: the way of highest priority.
    pub remote: SocketAddr,
    /// Over what.
    pub transport: Transport,
    /// Where its URI leads.
    route: Route,
    /// What its certificate must prove over TLS: the host of its URI (RFC 5922).
    pub tls_name: Option<String>,
    /// Its URI does not insist on UDP: what is too large for that goes over TCP.
    pub large_over_tcp: bool,
    /// Our address on the way to it.
    pub local: IpAddr,
    /// From where its requests are taken.
    pub peers: Vec<Network>,
    /// Who we are to it, should it ask: proved to its own addresses and no others.
    pub credentials: Option<Arc<Credentials>>,
    register: bool,
    /// The host names and addresses that are its own.
    pub hosts: Vec<String>,
    /// The names of the codecs that it is offered, best first; empty: the server's.
    pub codecs: Vec<String>,
    /// Leading digits of a number that are dropped.
    strip: usize,
    prefix: String,
    caller_prefix: String,
    privacy: bool,
    caller_id: Option<String>,
    from_domain: Option<String>,
    identity: IdentityHeader,
}

/// How the caller's number is asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdentityHeader {
    /// P-Asserted-Identity (RFC 3325).
    Pai,
    /// Remote-Party-ID (the draft that carriers still ask for).
    Rpid,
    None,
}

/// Why a trunk cannot be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The operator's URI is no `sip:` or `sips:` URI.
    #[error("`{0}` is not a sip: or sips: URI")]
    Uri(String),
    /// Not built.
    #[error("transport={0} is not built; use udp, tcp or tls")]
    Transport(String),
    /// By its scheme it is to be secure, by its parameter it is not.
    #[error("`{0}` asks for TLS by sips: and for UDP by its parameter; leave one of them out")]
    Insecure(String),
    /// DNS.
    #[error("`{host}` cannot be resolved: {why}")]
    Unresolved {
        /// What was looked up.
        host: String,
        /// What was said.
        why: ResolveError,
    },
    /// There is no route.
    #[error("no route to {0}")]
    NoRoute(SocketAddr),
}

/// What the addressing of one INVITE is made of.
#[derive(Debug, Clone)]
pub struct Addressing {
    /// Request-URI.
    pub request_uri: Uri,
    /// From, without a tag.
    pub from: NameAddr,
    /// To, without a tag.
    pub to: NameAddr,
    /// Identity headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Target {
    /// Finds where the trunk is, and until when that holds where the DNS said so.
    ///
    /// # Errors
    /// [`TargetError`].
    pub async fn resolve(
        resolver: &Resolver,
        now: Instant,
        trunk: &Trunk,
    ) -> Result<(Self, Option<Instant>), TargetError> {
        let found = look_up(resolver, now, &dialled(&trunk.settings.uri)?).await?;
        Ok((Self::at(trunk, found.route)?, found.until))
    }

    /// The trunk where it is known to be.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn at(trunk: &Trunk, route: Route) -> Result<Self, TargetError> {
        let settings = &trunk.settings;
        let uri = dialled(&settings.uri)?;
        let Some(Way { remote, transport }) = route.first() else {
            return Err(unresolved(&uri.host, &ResolveError::None));
        };
        let local = local_towards(remote).ok_or(TargetError::NoRoute(remote))?;
        let addresses: BTreeSet<IpAddr> = route.all().map(|way| way.remote.ip()).collect();
        let mut hosts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        hosts.push(uri.host.to_string());
        let allowed = settings.allow.iter().filter_map(|text| text.parse().ok());
        let peers: Vec<Network> = addresses.into_iter().map(Network::from).chain(allowed).collect();
        let account = settings.username.as_ref().zip(settings.password.as_ref());
        let credentials = account.map(|(username, password)| Credentials {
            username: username.clone(),
            password: password.reveal().to_owned(),
            realm: settings.realm.clone(),
            destinations: peers.clone(),
        });
        Ok(Self {
            id: trunk.id,
            name: settings.name.clone(),
            remote,
            transport,
            tls_name: tls_name(&uri, transport),
            large_over_tcp: uri.transport().is_none(),
            local,
            peers,
            credentials: credentials.map(Arc::new),
            route,
            register: settings.register,
            hosts,
            codecs: settings.codecs.to_vec(),
            strip: usize::try_from(settings.strip_digits).unwrap_or_default(),
            prefix: settings.prefix.clone(),
            caller_prefix: settings.caller_prefix.clone(),
            privacy: settings.privacy,
            caller_id: settings.caller_id.clone(),
            from_domain: settings.from_domain.clone(),
            identity: match settings.identity.as_str() {
                "pai" => IdentityHeader::Pai,
                "rpid" => IdentityHeader::Rpid,
                _ => IdentityHeader::None,
            },
            uri,
        })
    }

    /// The caller id when neither request nor key has one.
    #[must_use]
    pub fn caller_id(&self) -> Option<&str> {
        self.caller_id.as_deref()
    }

    /// The ways that one call tries in turn, at least one (RFC 3263 §4.3, RFC 2782).
    #[must_use]
    pub fn ways(&self, rng: &mut impl Rng) -> Vec<Way> {
        let mut ways = self.route.ways(rng);
        ways.truncate(MAX_WAYS);
        ways
    }

    /// OPTIONS to the trunk itself, by a way on which it is dialled.
    #[must_use]
    pub fn options(&self, way: Way, timeout: Duration) -> OptionsSpec {
        let uri = Uri { user: None, ..self.uri.clone() };
        let user = self.account().unwrap_or("kaphila");
        OptionsSpec {
            from: NameAddr::new(Uri::sip(Some(user), self.domain(), None)),
            uri: uri.into_request_uri(),
            remote: way.remote,
            transport: way.transport,
            tls_name: self.tls_name.clone(),
            timeout,
            credentials: self.credentials.clone(),
        }
    }

    /// The way of highest priority.
    #[must_use]
    pub const fn first_way(&self) -> Way {
        Way { remote: self.remote, transport: self.transport }
    }

    /// Where a redirect points that was met on `way` (RFC 3261 §8.1.3.4). A trunk that is dialled
    /// over TLS is not left for less.
    #[must_use]
    pub fn redirected(way: Way, uri: &Uri) -> Way {
        let transport = match (way.transport, uri.transport()) {
            (Transport::Tls, _) => Transport::Tls,
            (own, asked) => asked.unwrap_or(own),
        };
        let ip = uri.host.ip().unwrap_or(way.remote.ip());
        let port = uri.port.unwrap_or(transport.default_port());
        Way { remote: SocketAddr::new(ip, port), transport }
    }

    /// How `number` is called here, from `caller` where there is one. `redirect` is where a 3xx of
    /// this trunk points.
    #[must_use]
    pub fn addressing(
        &self,
        number: &Number,
        caller: Option<&str>,
        redirect: Option<&Uri>,
    ) -> Addressing {
        let dialled = self.dialled(number);
        let caller = caller.map(|caller| format!("{}{caller}", self.caller_prefix));
        let mut called = Uri::sip(Some(&dialled), self.uri.host.clone(), self.uri.port);
        called.scheme = self.uri.scheme.clone();
        let mut request_uri = called.clone();
        if self.transport != Transport::Udp
            && let Some(transport) = self.uri.params.value("transport")
        {
            request_uri.params.set("transport", transport);
        }
        let named = self.from(caller.as_deref());
        let asserted = caller.map(|_| format!("<{}>", named.uri));
        let header = match (self.identity, asserted) {
            (IdentityHeader::Pai, Some(value)) => Some(("P-Asserted-Identity", value)),
            (IdentityHeader::Rpid, Some(value)) => {
                let privacy = if self.privacy { "full" } else { "off" };
                let value = format!("{value};party=calling;screen=yes;privacy={privacy}");
                Some(("Remote-Party-ID", value))
            }
            (IdentityHeader::None, _) | (_, None) => None,
        };
        // RFC 3325 §9.3: what is asserted is not to be told on.
        let private = self.privacy.then(|| ("Privacy", "id".to_owned()));
        let headers = header.into_iter().chain(private).filter_map(|(name, value)| {
            Some((HeaderName::parse(name).ok()?, HeaderValue::try_from(value).ok()?))
        });
        Addressing {
            request_uri: redirect.cloned().unwrap_or(request_uri).into_request_uri(),
            from: if self.privacy { anonymous() } else { named },
            to: NameAddr::new(called),
            headers: headers.collect(),
        }
    }

    /// A number as this trunk wants it. One that stripping would leave nothing of stays whole.
    fn dialled(&self, number: &Number) -> String {
        let digits = number.as_str();
        let kept = digits.get(self.strip..).filter(|kept| !kept.is_empty()).unwrap_or(digits);
        format!("{}{kept}", self.prefix)
    }

    /// What is registered at the trunk, if it is to be.
    #[must_use]
    pub fn registration(&self) -> Option<RegisterSpec> {
        let credentials = self.credentials.clone().filter(|_| self.register)?;
        let user = self.account()?.to_owned();
        let mut registrar = Uri::sip(None, self.uri.host.clone(), self.uri.port);
        registrar.params = self.uri.params.clone();
        registrar.scheme = self.uri.scheme.clone();
        let mut aor = Uri::sip(Some(&user), self.domain(), None);
        aor.scheme = self.uri.scheme.clone();
        Some(RegisterSpec {
            registrar,
            aor: NameAddr::new(aor),
            contact_user: user,
            remotes: self.registrars(),
            transport: self.transport,
            tls_name: self.tls_name.clone(),
            credentials: Some(credentials),
            expires: EXPIRES,
        })
    }

    /// Where REGISTER goes: every address that is reached as the first one is.
    fn registrars(&self) -> Vec<SocketAddr> {
        let alike = self.route.all().filter(|way| way.transport == self.transport);
        alike.map(|way| way.remote).collect()
    }

    /// The name of our account; some carriers give the domain with it.
    fn account(&self) -> Option<&str> {
        let username = self.credentials.as_deref()?.username.as_str();
        Some(username.split_once('@').map_or(username, |(user, _)| user))
    }

    /// The domain of our account.
    fn domain(&self) -> Host {
        let domain = self.from_domain.as_deref().and_then(|domain| Host::parse(domain).ok());
        domain.unwrap_or_else(|| self.uri.host.clone())
    }

    /// From: the caller; else our account, which a carrier wants to see there; else nobody
    /// (RFC 3323 §4.1.1.3).
    fn from(&self, caller: Option<&str>) -> NameAddr {
        if let Some(account) = self.account() {
            return NameAddr::new(Uri::sip(Some(caller.unwrap_or(account)), self.domain(), None));
        }
        let Some(caller) = caller else { return anonymous() };
        let own = || Host::parse(&self.local.to_string()).ok();
        let domain = self.from_domain.as_deref().and_then(|domain| Host::parse(domain).ok());
        let host = domain.or_else(own).unwrap_or_else(|| self.uri.host.clone());
        NameAddr::new(Uri::sip(Some(caller), host, None))
    }
}

/// From of a caller that is not to be known (RFC 3323 §4.1.1.3).
fn anonymous() -> NameAddr {
    let host = Host::Name("anonymous.invalid".into());
    let mut from = NameAddr::new(Uri::sip(Some("anonymous"), host, None));
    from.display = Some("Anonymous".into());
    from
}

/// Targets that were resolved, for as long as their records live. A trunk that was changed is
/// looked up at once; one whose name is not answered for stays where it was.
#[derive(Debug)]
pub struct Targets {
    resolver: Resolver,
    known: Mutex<HashMap<TrunkId, Known>>,
}

#[derive(Debug)]
struct Known {
    updated_at: Millis,
    until: Instant,
    target: Arc<Target>,
    /// The DNS does not answer for it any more.
    is_stale: bool,
}

/// How long an address is used that no DNS gave: our own on the way to it may change.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// When a name is looked up again that was not answered for.
const AGAIN: Duration = Duration::from_secs(5);

impl Targets {
    /// Targets that `resolver` finds.
    #[must_use]
    pub fn new(resolver: Resolver) -> Self {
        Self { resolver, known: Mutex::default() }
    }

    /// [`Target::resolve`], unless it is known.
    ///
    /// # Errors
    /// [`TargetError`].
    pub async fn resolve(&self, now: Instant, trunk: &Trunk) -> Result<Arc<Target>, TargetError> {
        let is_fresh = |it: &&Known| it.updated_at == trunk.updated_at && now < it.until;
        if let Some(known) = self.lock().get(&trunk.id).filter(is_fresh) {
            return Ok(Arc::clone(&known.target));
        }
        match Target::resolve(&self.resolver, now, trunk).await {
            Ok((target, until)) => {
                let target = Arc::new(target);
                let until = until.unwrap_or(now + KNOWN_FOR);
                let updated_at = trunk.updated_at;
                let known =
                    Known { updated_at, until, target: Arc::clone(&target), is_stale: false };
                if self.lock().insert(trunk.id, known).is_some_and(|it| it.is_stale) {
                    tracing::info!(trunk = target.name, "its name is answered for again");
                }
                Ok(target)
            }
            Err(error) => self.as_it_was(now, trunk, error),
        }
    }

    /// An outage of the DNS ends no trunk.
    fn as_it_was(
        &self,
        now: Instant,
        trunk: &Trunk,
        error: TargetError,
    ) -> Result<Arc<Target>, TargetError> {
        let mut known = self.lock();
        let Some(known) = known.get_mut(&trunk.id).filter(|it| it.updated_at == trunk.updated_at)
        else {
            return Err(error);
        };
        known.until = now + AGAIN;
        if !std::mem::replace(&mut known.is_stale, true) {
            tracing::warn!(trunk = known.target.name, %error, "dialled where it was before");
        }
        Ok(Arc::clone(&known.target))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TrunkId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A URI that can be dialled.
///
/// # Errors
/// It is none, or asks for what is not built.
pub fn dialled(text: &str) -> Result<Uri, TargetError> {
    let uri = Uri::parse(text).ok();
    let uri = uri.filter(|uri| matches!(uri.scheme, Scheme::Sip | Scheme::Sips));
    let uri = uri.ok_or_else(|| TargetError::Uri(text.to_owned()))?;
    match uri.transport() {
        Some(Transport::Udp) if uri.scheme == Scheme::Sips => {
            Err(TargetError::Insecure(text.to_owned()))
        }
        None | Some(Transport::Udp | Transport::Tcp | Transport::Tls) => Ok(uri),
        Some(_) => {
            let asked = uri.params.value("transport").unwrap_or_default();
            Err(TargetError::Transport(asked.to_owned()))
        }
    }
}

/// What the certificate of a URI's host must prove: its name, or its address without brackets.
#[must_use]
pub fn tls_name(uri: &Uri, transport: Transport) -> Option<String> {
    let name = uri.host.ip().map_or_else(|| uri.host.to_string(), |ip| ip.to_string());
    (transport == Transport::Tls).then_some(name)
}

/// Where a SIP URI leads.
///
/// # Errors
/// Nowhere, or nobody said so in time.
pub async fn look_up(resolver: &Resolver, now: Instant, uri: &Uri) -> Result<Found, TargetError> {
    resolver.resolve(now, uri).await.map_err(|error| unresolved(&uri.host, &error))
}

fn unresolved(host: &Host, why: &ResolveError) -> TargetError {
    TargetError::Unresolved { host: host.to_string(), why: why.clone() }
}

/// Our address on the way to `remote`: the system's choice, nothing is sent.
#[must_use]
pub fn local_towards(remote: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr =
        if remote.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
