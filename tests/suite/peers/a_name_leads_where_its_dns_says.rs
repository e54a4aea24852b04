//! Trunks by name (RFC 3263): dnsmasq says where they are, SIPp is there.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::dnsmasq::Dnsmasq;
use super::ladder::Ladder;
use super::node::Node;
use super::sipp::Sipp;
use super::{own_address, sip_at};
use crate::support::program::eventually;

const NUMBER: &str = "14155550100";

fn host(name: &str, address: SocketAddr) -> String {
    format!("--host-record={name}.test,{}", address.ip())
}

fn srv(service: &str, name: &str, address: SocketAddr, priority: u16) -> String {
    format!("--srv-host={service}.carrier.test,{name}.test,{},{priority},10", address.port())
}

fn busy() -> Ladder {
    Ladder::invited().answer("486 Busy Here").expect("ACK")
}

async fn node(dns: &Dnsmasq) -> Node {
    let servers = format!("dns_servers = [\"{}\"]\n", dns.address);
    Node::start_with(&["sip:carrier.test".to_owned()], false, &servers).await
}

/// What became of a call: its end, and the status of each INVITE.
async fn call(node: &Node) -> (String, Vec<Option<i64>>) {
    let (_, answer) = node.make_call(NUMBER).await;
    let call = answer["callId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let end = node.event(&call, "call.ended").await;
    let attempts = end["attempts"].as_array().unwrap().iter();
    (
        end["status"].as_str().unwrap().to_owned(),
        attempts.map(|attempt| attempt["status"].as_i64()).collect(),
    )
}

/// §4.1, §4.2: NAPTR names the transport, SRV the server and its port. The Request-URI stays the
/// domain's.
#[tokio::test(flavor = "multi_thread")]
async fn naptr_names_the_transport_and_srv_the_server() {
    let ladder = Ladder::invited()
        .and_in_it(&format!("INVITE sip:00{NUMBER}@carrier.test SIP/2.0"))
        .and_in_it("Via: SIP/2.0/TCP ")
        .answer("486 Busy Here")
        .expect("ACK");
    let Some(carrier) = Sipp::carrier_over_tcp(own_address(), &ladder).await else { return };
    let nowhere = sip_at(own_address());
    let Some(dns) = Dnsmasq::start(
        60,
        &[
            // What is not built is passed by, whatever it is preferred to.
            "--naptr-record=carrier.test,10,10,s,SIP+D2S,,_sip._sctp.carrier.test".to_owned(),
            "--naptr-record=carrier.test,10,20,s,SIP+D2T,,_sip._tcp.carrier.test".to_owned(),
            "--naptr-record=carrier.test,20,10,s,SIP+D2U,,_sip._udp.carrier.test".to_owned(),
            srv("_sip._tcp", "server", carrier.address, 10),
            srv("_sip._udp", "nowhere", nowhere, 10),
            host("server", carrier.address),
            host("nowhere", nowhere),
            // An address of the domain itself is not where its service is.
            host("carrier", nowhere),
        ],
    )
    .await
    else {
        return;
    };
    let node = node(&dns).await;
    assert_eq!(call(&node).await, ("busy".to_owned(), vec![Some(486)]), "{}", dns.log());
    carrier.finish().await;
    node.stop().await;
}

/// §4.3: a server that is not there (ICMP), one that is out of order (503), one that takes the
/// call.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_is_tried_where_one_is_out_of_order() {
    let out_of_order = Ladder::invited().answer("503 Service Unavailable").expect("ACK");
    let Some(second) = Sipp::carrier(&out_of_order, 1).await else { return };
    let Some(third) = Sipp::carrier(&busy(), 1).await else { return };
    let closed = TcpListener::bind((own_address(), 0)).await.unwrap().local_addr().unwrap();
    let servers = [("third", third.address), ("second", second.address), ("first", closed)];
    let mut records: Vec<String> = servers.iter().map(|(name, at)| host(name, *at)).collect();
    records.push(srv("_sip._udp", "third", third.address, 30));
    records.push(srv("_sip._udp", "second", second.address, 20));
    records.push(srv("_sip._udp", "first", closed, 10));
    let Some(dns) = Dnsmasq::start(60, &records).await else { return };
    let node = node(&dns).await;
    let (status, attempts) = call(&node).await;
    assert_eq!((&*status, attempts), ("busy", vec![None, Some(503), Some(486)]), "{}", dns.log());
    second.finish().await;
    third.finish().await;
    node.stop().await;
}

/// Records are used for their time to live and not longer; a DNS that is gone takes no trunk with
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_followed_and_kept_while_nobody_answers_for_it() {
    let Some(old) = Sipp::carrier(&busy(), 1).await else { return };
    let not_found = Ladder::invited().answer("404 Not Found").expect("ACK");
    let Some(new) = Sipp::carrier(&not_found, 100).await else { return };
    let Some(dns) = Dnsmasq::start(1, &[host("carrier", old.address)]).await else { return };
    let node = node(&dns).await;
    assert_eq!(call(&node).await, ("busy".to_owned(), vec![Some(486)]), "{}", dns.log());
    old.finish().await;

    let address = dns.address;
    dns.stop().await;
    let moved = Dnsmasq::start_at(address, 1, &[host("carrier", new.address)]).await.unwrap();
    eventually(30, "the trunk has moved", || {
        let node = &node;
        async move { call(node).await.1 == [Some(404)] }
    })
    .await;

    moved.stop().await;
    eventually(30, "its records have run out", || {
        let log = node.log();
        std::future::ready(log.contains("dialled where it was before"))
    })
    .await;
    assert_eq!(call(&node).await, ("failed".to_owned(), vec![Some(404)]));
    drop(new);
    node.stop().await;
}

/// RFC 2782: a target of `.` says that there is no such service, and the domain's own address is
/// not asked then.
#[tokio::test(flavor = "multi_thread")]
async fn a_domain_may_say_that_it_has_no_sip() {
    let own = sip_at(own_address());
    let records = ["--srv-host=_sip._udp.carrier.test".to_owned(), host("carrier", own)];
    let Some(dns) = Dnsmasq::start(60, &records).await else { return };
    let node = node(&dns).await;
    let (_, answer) = node.make_call(NUMBER).await;
    assert_eq!(answer["code"], "ORIGINATION_FAILED", "{answer}");
    let trace = node.trace(answer["callId"].as_str().unwrap()).await;
    assert!(trace.contains("its DNS says that there is no SIP server"), "{trace}");
    node.stop().await;
}
