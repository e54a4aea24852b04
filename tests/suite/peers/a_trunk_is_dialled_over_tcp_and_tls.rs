//! Trunks over TCP and TLS: SIPp as the carrier, baresip as the telephone, `kaphila phone`.

use std::net::{IpAddr, Ipv6Addr};
use std::process::Stdio;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use super::baresip::Baresip;
use super::ladder::{Ladder, Sdp};
use super::node::Node;
use super::rtp::Ear;
use super::sipp::Sipp;
use super::{PATIENCE, is_installed, own_address, scratch, tail};

const NUMBER: &str = "14155550100";
const VOICE: (f64, f64) = (1_000.0, 6_000.0);

/// An authority's certificate, and one of its for an address with its key.
fn certificates(ip: IpAddr) -> (String, String, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "peers");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let mut own = CertificateParams::new(Vec::new()).unwrap();
    own.distinguished_name.push(DnType::CommonName, "peer");
    own.subject_alt_names = vec![SanType::IpAddress(ip)];
    let certificate = own.signed_by(&key, &issuer).unwrap().pem();
    (ca, certificate, key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_over_tcp_is_called_and_calls_back_on_the_connection() {
    for ip in [own_address(), Ipv6Addr::LOCALHOST.into()] {
        if std::net::UdpSocket::bind((ip, 0)).is_err() {
            println!("skipped: no {ip} on this machine");
            continue;
        }
        let ear = Ear::at(ip).await;
        let ladder = Ladder::invited()
            .and_in_it("Via: SIP/2.0/TCP ")
            .and_in_it("transport=tcp SIP/2.0")
            .accept(Sdp::at(ear.port))
            .reinvite(Sdp { version: 2, ..Sdp::at(ear.port) }, "m=audio")
            .hung_up();
        let Some(carrier) = Sipp::carrier_over_tcp(ip, &ladder).await else { return };
        let trunk = format!("sip:{};transport=tcp", carrier.address);
        let node = Node::start_with(&[trunk], ip.is_ipv6(), "").await;
        let call = node.place(NUMBER).await;
        node.event(&call, "call.answered").await;
        ear.hears().await;
        node.command("/hangup", json!({ "callId": call })).await;
        let end = node.event(&call, "call.ended").await;
        assert_eq!((&end["status"], &end["hangupCause"]), (&"completed".into(), &"16".into()));
        let trace = node.trace(&call).await;
        assert!(!trace.contains("again"), "nothing is repeated on TCP: {trace}");
        carrier.finish().await;
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_refuses_the_connection_is_followed_by_the_next_at_once() {
    let closed = TcpListener::bind((own_address(), 0)).await.unwrap();
    let dead = closed.local_addr().unwrap();
    drop(closed);
    let ladder =
        Ladder::invited().and_in_it("Via: SIP/2.0/UDP ").answer("486 Busy Here").expect("ACK");
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let trunks = [format!("sip:{dead};transport=tcp"), format!("sip:{}", carrier.address)];
    let node = Node::start_with(&trunks, false, "").await;
    let (_, answer) = node.make_call(NUMBER).await;
    let call = answer["callId"].as_str().unwrap().to_owned();
    let end = node.event(&call, "call.ended").await;
    assert_eq!(end["status"], "busy", "{end}");
    assert_eq!(end["attempts"].as_array().unwrap().len(), 2, "{end}");
    carrier.finish().await;
    node.stop().await;
}

/// The telephone is called over a transport, hears us, and hangs up: its BYE finds us.
async fn baresip_over(transport: &str, listening: bool) {
    let ip = own_address();
    let (ca, certificate, key) = certificates(ip);
    let pem = format!("{certificate}{key}");
    let number = format!("00{NUMBER}");
    let telephone = Baresip::start_at(ip, &number, "PCMU", VOICE, Some(&pem)).await;
    let Some(mut telephone) = telephone else { return };
    let folder = scratch();
    std::fs::write(folder.path().join("ca.pem"), ca).unwrap();
    let mut more = format!("tls_ca = \"{}/ca.pem\"", folder.path().display());
    if listening {
        let own = own_address();
        let (_, certificate, key) = certificates(own);
        std::fs::write(folder.path().join("cert.pem"), certificate).unwrap();
        std::fs::write(folder.path().join("key.pem"), key).unwrap();
        more.push_str(&format!(
            "\ntcp = \"{own}:5060\"\ntls = \"{own}:5061\"\ntls_cert = \"{0}/cert.pem\"\n\
             tls_key = \"{0}/key.pem\"",
            folder.path().display()
        ));
    }
    let port = if transport == "tls" { 5061 } else { 5060 };
    let trunk = format!("sip:{ip}:{port};transport={transport}");
    let node = Node::start_with(&[trunk], false, &more).await;
    let call = node.place(NUMBER).await;
    node.event(&call, "call.answered").await;
    telephone.says("Call established").await;
    telephone.press("b").await;
    let end = node.event(&call, "call.ended").await;
    let ended = (&end["status"], &end["endReason"]);
    assert_eq!(ended, (&"completed".into(), &"normal_hangup".into()), "{end}\n{}", node.log());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_telephone_over_tcp_hangs_up_by_udp_where_tcp_is_not_listened_on() {
    baresip_over("tcp", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_telephone_over_tls_hangs_up_over_the_connection_where_tls_is_not_listened_on() {
    baresip_over("tls", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_telephone_over_tcp_hangs_up_at_our_listener() {
    baresip_over("tcp", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dial_and_the_test_telephone_speak_every_transport() {
    if !is_installed("flite") {
        return;
    }
    let ip = own_address();
    let (ca, certificate, key) = certificates(ip);
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ca.pem"), ca).unwrap();
    std::fs::write(path("cert.pem"), certificate).unwrap();
    std::fs::write(path("key.pem"), key).unwrap();
    let config = "[sip]\ntls_ca = \"ca.pem\"\ntls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n";
    std::fs::write(path("kaphila.toml"), config).unwrap();
    let kaphila = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kaphila"));
        command.args(args).env("KAPHILA_CONFIG", path("kaphila.toml")).kill_on_drop(true);
        command
    };
    let (listen, secure) = (format!("{ip}:5070"), format!("{ip}:5071"));
    let log = std::fs::File::create(path("log")).unwrap();
    let mut phone =
        kaphila(&["phone", "--listen", &listen, "--tls", &secure, "--scenario", "busy"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
    let mut lines = BufReader::new(phone.stdout.take().unwrap()).lines();
    let ready = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("ready") {
                return;
            }
        }
        panic!("not started: {}", tail(&path("log")));
    };
    timeout(PATIENCE, ready).await.unwrap();
    for uri in [
        format!("sip:100@{listen}"),
        format!("sip:100@{listen};transport=tcp"),
        format!("sip:100@{secure};transport=tls"),
        format!("sips:100@{secure}"),
    ] {
        let dialled = timeout(PATIENCE, kaphila(&["dial", &uri]).output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&dialled.stderr).into_owned();
        assert!(said.contains("486 Busy Here"), "{uri}: {said}\n{}", tail(&path("log")));
    }
    // Another name than the certificate's is refused, and what is not built.
    let other = format!("sip:100@localhost:{};transport=tls", 5071);
    for (uri, says) in [(other, "not answered"), ("sip:1@[::1];transport=ws".into(), "not built")] {
        let dialled = timeout(PATIENCE, kaphila(&["dial", &uri]).output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&dialled.stderr).into_owned();
        assert!(said.contains(says) && !dialled.status.success(), "{uri}: {said}");
    }
}
