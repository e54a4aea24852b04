//! Whole calls between two stacks over real connections, and what is refused (RFC 3261 §18, §26.2,
//! RFC 5922).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kaphila_sip::endpoint::{EndpointConfig, Network};
use kaphila_sip::invite::{Body, Ended, Failure, Identity, InviteSpec, LegEvent};
use kaphila_sip::message::{NameAddr, Transport, Uri};
use kaphila_sip::net::{Incoming, Sip, SipConfig, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType, string::Ia5String,
};
use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::ladder::Message;

/// An authority of certificates, made for one test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        Self { issuer: Issuer::new(params, key), roots }
    }

    /// A certificate with these names, and its key.
    fn certify(&self, change: impl FnOnce(&mut CertificateParams)) -> Arc<SingleCertAndKey> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let pair = CertifiedKey::new(vec![certificate.der().clone()], key);
        Arc::new(SingleCertAndKey::from(pair))
    }

    fn tls(&self, own: Option<Arc<SingleCertAndKey>>) -> Tls {
        let own = own.map(|own| (own.clone() as _, own as _));
        Tls::new(self.roots.clone(), own).unwrap()
    }
}

fn names(names: impl IntoIterator<Item = SanType>) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.subject_alt_names = names.into_iter().collect()
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(name).unwrap())
}

fn config(ip: &str) -> SipConfig {
    SipConfig {
        endpoint: EndpointConfig { seed: 1, ..EndpointConfig::default() },
        udp: vec![SocketAddr::new(ip.parse().unwrap(), 0)],
        trusted: vec![Network::ANY_V4, Network::ANY_V6],
        ..SipConfig::default()
    }
}

fn listening(ip: &str, transport: Transport, with_tls: Tls) -> SipConfig {
    let own = vec![SocketAddr::new(ip.parse().unwrap(), 0)];
    match transport {
        Transport::Tcp => SipConfig { tcp: own, with_tls, ..config(ip) },
        Transport::Tls => SipConfig { tls: own, with_tls, ..config(ip) },
        _ => config(ip),
    }
}

/// Where a stack listens over a transport.
fn at(sip: &Sip, transport: Transport) -> SocketAddr {
    sip.bound().iter().find(|bound| bound.transport == transport).unwrap().address
}

fn spec(to: SocketAddr, transport: Transport, tls_name: Option<&str>) -> InviteSpec {
    InviteSpec {
        credentials: None,
        identity: Identity::generate(&mut rand::rng()),
        request_uri: Uri::at(Some("00123"), to),
        from: NameAddr::from(Uri::parse("sip:1000@127.0.0.1").unwrap()),
        to: NameAddr::from(Uri::at(Some("00123"), to)),
        remote: to,
        transport,
        tls_name: tls_name.map(str::to_owned),
        large_over_tcp: false,
        headers: Vec::new(),
        body: Some(Body::sdp("v=0\r\n")),
        no_answer_timeout: Duration::from_secs(4),
        peers: Vec::new(),
    }
}

async fn next(events: &mut mpsc::Receiver<LegEvent>) -> LegEvent {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), events.recv()).await;
        match event.expect("an event in time").expect("the leg lives") {
            LegEvent::Ladder(_) => {}
            event => return event,
        }
    }
}

/// A call from `caller` to `callee`, which ends it.
async fn whole_call(caller: &Sip, callee: (&Sip, &mut mpsc::Receiver<Incoming>), spec: InviteSpec) {
    let (callee, incoming) = callee;
    let (sender, mut events) = mpsc::channel(64);
    caller.invite(spec, sender).await.unwrap();
    let call = tokio::time::timeout(Duration::from_secs(10), incoming.recv()).await;
    let Incoming { leg, events: mut far, .. } = call.expect("a call").unwrap();
    callee.ring(leg, None).await.unwrap();
    assert!(matches!(next(&mut events).await, LegEvent::Provisional { status: 180, .. }));
    callee.accept(leg, Body::sdp("v=0\r\n")).await.unwrap();
    assert!(matches!(next(&mut events).await, LegEvent::Answered { .. }));
    assert!(matches!(next(&mut far).await, LegEvent::Confirmed));
    callee.hang_up(leg, None).await.unwrap();
    assert!(matches!(next(&mut events).await, LegEvent::Ended(Ended::Far { .. })));
    assert!(matches!(next(&mut events).await, LegEvent::Closed));
    assert!(matches!(next(&mut far).await, LegEvent::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_call_over_each_transport_and_family() {
    let authority = Authority::new("ours");
    for ip in ["127.0.0.1", "::1"] {
        if std::net::UdpSocket::bind((ip, 0)).is_err() {
            println!("skipped: no {ip} on this machine");
            continue;
        }
        let address: IpAddr = ip.parse().unwrap();
        let own = authority.certify(names([SanType::IpAddress(address), dns("trunk.example")]));
        for (transport, name) in [
            (Transport::Tcp, None),
            (Transport::Tls, Some("trunk.example")),
            (Transport::Tls, None), // by its address
        ] {
            let tls = || authority.tls(Some(own.clone()));
            let (callee, mut incoming) = Sip::start(listening(ip, transport, tls())).unwrap();
            let to = at(&callee, transport);
            // A caller that listens too, and one that does not.
            for own in
                [listening(ip, transport, tls()), SipConfig { with_tls: tls(), ..config(ip) }]
            {
                let (caller, _) = Sip::start(own).unwrap();
                for _ in 0..2 {
                    let spec = spec(to, transport, name);
                    whole_call(&caller, (&callee, &mut incoming), spec).await;
                }
                let (counters, stats) = caller.counters().await.unwrap();
                assert_eq!(counters.dialled_connections, 1, "both calls over one");
                assert_eq!(counters.retransmissions, 0);
                assert_eq!(stats.open_legs, 0);
                caller.shutdown().await;
            }
            callee.shutdown().await;
            drop(TcpListener::bind(to).await.expect("its port is free again"));
        }
    }
}

/// What a caller is told that calls over TLS.
async fn refusal(caller: &Sip, to: SocketAddr, name: Option<&str>) -> String {
    let (sender, mut events) = mpsc::channel(64);
    caller.invite(spec(to, Transport::Tls, name), sender).await.unwrap();
    match next(&mut events).await {
        LegEvent::NoAnswer(Failure::Transport(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_must_prove_the_name_that_was_dialled() {
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let uri = |text: &str| SanType::URI(Ia5String::try_from(text).unwrap());
    let named = |san: SanType| authority.certify(names([san]));
    let expired = authority.certify(|params| {
        names([dns("trunk.example")])(params);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    });
    // RFC 5922 §4.1: the common name is no name where there is none other either.
    let common = authority.certify(|params| {
        params.distinguished_name.push(DnType::CommonName, "trunk.example");
    });
    let name = Some("trunk.example");
    let cases = [
        ("its name", named(dns("trunk.example")), name, None),
        ("its domain as a URI (§7.1)", named(uri("sip:trunk.example")), name, None),
        ("another name", named(dns("other.example")), name, Some("name")),
        ("a person's URI", named(uri("sip:bob@trunk.example")), name, Some("name")),
        ("another domain's URI", named(uri("sip:other.example")), name, Some("name")),
        ("the common name alone", common, name, Some("name")),
        ("no address", named(dns("trunk.example")), None, Some("name")),
        ("expired", expired, name, Some("expired")),
        ("unknown", other.certify(names([dns("trunk.example")])), name, Some("UnknownIssuer")),
    ];
    let (caller, _) =
        Sip::start(SipConfig { with_tls: authority.tls(None), ..config("127.0.0.1") }).unwrap();
    for (what, certificate, name, error) in cases {
        let tls = authority.tls(Some(certificate));
        let (callee, mut incoming) =
            Sip::start(listening("127.0.0.1", Transport::Tls, tls)).unwrap();
        let to = at(&callee, Transport::Tls);
        match error {
            None => {
                let spec = spec(to, Transport::Tls, name);
                whole_call(&caller, (&callee, &mut incoming), spec).await;
            }
            Some(error) => {
                let why = refusal(&caller, to, name).await;
                assert!(why.starts_with("TLS: ") && why.contains(error), "{what}: {why}");
                assert!(incoming.try_recv().is_err(), "{what}: nothing was said to it");
            }
        }
        callee.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_authorities_nobody_is_believed() {
    let (caller, _) = Sip::start(config("127.0.0.1")).unwrap();
    let to = ([127, 0, 0, 1], 5061).into();
    assert_eq!(refusal(&caller, to, None).await, "TLS is not set up");
    let tls = Tls::new(RootCertStore::empty(), None).unwrap();
    let (caller, _) = Sip::start(SipConfig { with_tls: tls, ..config("127.0.0.1") }).unwrap();
    assert_eq!(refusal(&caller, to, None).await, "TLS: no authority is trusted");
    let own = vec![([127, 0, 0, 1], 0).into()];
    let error = Sip::start(SipConfig { tls: own, ..config("127.0.0.1") }).unwrap_err();
    assert!(error.to_string().contains("without a certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_told_at_once_and_silence_in_time() {
    let (caller, _) =
        Sip::start(SipConfig { with_tls: Authority::new("ours").tls(None), ..config("127.0.0.1") })
            .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    // Connected, but no word of TLS.
    let start = Instant::now();
    let why = refusal(&caller, to, None).await;
    assert!(why.starts_with(&format!("no connection to {to} within 3 s")), "{why}");
    assert!(start.elapsed() < Duration::from_millis(3_900), "{:?}", start.elapsed());
    drop(listener);
    for transport in [Transport::Tcp, Transport::Tls] {
        let start = Instant::now();
        let (sender, mut events) = mpsc::channel(64);
        caller.invite(spec(to, transport, None), sender).await.unwrap();
        let event = next(&mut events).await;
        let LegEvent::NoAnswer(Failure::Transport(why)) = event else { panic!("{event:?}") };
        assert!(why.contains("refused"), "{why}");
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    let (_, stats) = caller.counters().await.unwrap();
    assert_eq!((stats.connections, stats.client_transactions), (0, 0));
}

/// Reads one message by its Content-Length.
async fn read(stream: &mut TcpStream) -> Message {
    let mut octets = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&octets).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.unwrap().parse().unwrap() {
                return Message(text);
            }
        }
        let mut more = [0; 4_096];
        let length = stream.read(&mut more).await.unwrap();
        assert_ne!(length, 0, "closed after {text:?}");
        octets.extend_from_slice(&more[..length]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_udp_socket_or_listener_the_contact_is_the_connections_own_address() {
    let (caller, _) = Sip::start(SipConfig { udp: Vec::new(), ..config("127.0.0.1") }).unwrap();
    let carrier = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = carrier.local_addr().unwrap();
    let (sender, mut events) = mpsc::channel(64);
    caller.invite(spec(to, Transport::Tcp, None), sender).await.unwrap();
    let (mut stream, source) = carrier.accept().await.unwrap();
    let invite = read(&mut stream).await;
    assert_eq!(invite.header("Contact"), format!("<sip:{source};transport=tcp>"));
    assert!(invite.header("Via").starts_with(&format!("SIP/2.0/TCP {source};")), "{invite:?}");
    // The far end's own requests come over the same connection.
    let contact = format!("Contact: <sip:b@{to};transport=tcp>\r\n");
    let answer = invite.reply_with("200 OK", "far", &contact, "v=0\r\n");
    stream.write_all(answer.as_bytes()).await.unwrap();
    read(&mut stream).await;
    let bye = invite.far_request("BYE", 1, "far", "", "").replace("/UDP", "/TCP");
    stream.write_all(bye.as_bytes()).await.unwrap();
    assert!(read(&mut stream).await.0.starts_with("SIP/2.0 200 OK"));
    assert!(matches!(next(&mut events).await, LegEvent::Answered { .. }));
    assert!(matches!(next(&mut events).await, LegEvent::Ended(Ended::Far { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_far_end_closed_is_opened_again() {
    let (caller, _) = Sip::start(config("127.0.0.1")).unwrap();
    let carrier = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = carrier.local_addr().unwrap();
    for _ in 0..3 {
        let (sender, mut events) = mpsc::channel(64);
        caller.invite(spec(to, Transport::Tcp, None), sender).await.unwrap();
        let (mut stream, _) = carrier.accept().await.unwrap();
        let invite = read(&mut stream).await;
        stream.write_all(invite.reply("486 Busy Here", "far", "").as_bytes()).await.unwrap();
        assert!(read(&mut stream).await.0.starts_with("ACK "));
        assert!(matches!(next(&mut events).await, LegEvent::Refused { status: 486, .. }));
        drop(stream);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_speaks_to_it() {
    let Ok(found) = std::process::Command::new("openssl").arg("version").output() else {
        return println!("skipped: no openssl on this machine");
    };
    assert!(found.status.success());
    let authority = Authority::new("ours");
    let own = authority.certify(names([dns("trunk.example")]));
    let tls = authority.tls(Some(own));
    let (callee, _incoming) = Sip::start(listening("127.0.0.1", Transport::Tls, tls)).unwrap();
    let to = at(&callee, Transport::Tls).to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = tokio::process::Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &to, version])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let options = "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bKo\r\n\
             From: <sip:o@127.0.0.1>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: o\r\n\
             CSeq: 1 OPTIONS\r\nl: 0\r\n\r\n";
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(options.as_bytes()).await.unwrap();
        let mut answer = [0; 15];
        let mut stdout = client.stdout.take().unwrap();
        let read = tokio::time::timeout(Duration::from_secs(10), stdout.read_exact(&mut answer));
        read.await.expect(version).expect(version);
        assert_eq!(&answer, b"SIP/2.0 200 OK\r", "{version}");
    }
}
