//! Further INVITEs of a call, on the wire: when they are sent, and whereto.
#![allow(clippy::disallowed_methods, reason = "a test of the driver: real sockets, real time")]

use std::net::SocketAddr;

use sqlx::{ConnectOptions, Connection, Executor};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::bench::Bench;
use super::*;

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(10);

/// A carrier's socket and its address.
async fn carrier() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The next INVITE, and where it came from.
async fn invite(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 4096];
    loop {
        let (len, from) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        if text.starts_with("INVITE") {
            return (text, from);
        }
    }
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    message.lines().find_map(value).unwrap()
}

/// Refuses an INVITE.
async fn refuse(socket: &UdpSocket, invite: &(String, SocketAddr), status: &str, more: &str) {
    let (text, from) = invite;
    let same: String = ["Via", "From", "To", "Call-ID", "CSeq"]
        .map(|name| format!("{name}: {}\r\n", header(text, name)))
        .concat()
        .replace("\r\nCall-ID", ";tag=far\r\nCall-ID");
    let answer = format!("SIP/2.0 {status}\r\n{same}{more}Content-Length: 0\r\n\r\n");
    socket.send_to(answer.as_bytes(), from).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_invite_is_stored_before_it_is_sent() {
    let ((first, a), (second, b)) = (carrier().await, carrier().await);
    let trunks = [("a", format!("sip:{a}")), ("b", format!("sip:{b}"))];
    let bench = Bench::new(&trunks, &["127.0.0.1:0"], 19_520).await;
    let placed = bench.place();
    let dialled = invite(&first).await;
    // Nothing can be written for a while.
    let options: sqlx::sqlite::SqliteConnectOptions = bench.url.parse().unwrap();
    let mut other = options.connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    refuse(&first, &dialled, "503 Service Unavailable", "").await;
    let early = timeout(Duration::from_millis(150), invite(&second)).await;
    assert!(early.is_err(), "a crash now would leave its telephone ringing");
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    let (sent, _) = invite(&second).await;
    let open = bench.store.open_calls().await.unwrap();
    assert_eq!(open[0].leg.sip_call_id, header(&sent, "Call-ID"));
    assert_eq!(open[0].row.trunk.as_deref(), Some("b"));
    placed.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stays_away_holds_up_no_failover() {
    let ((first, a), (second, b)) = (carrier().await, carrier().await);
    let trunks = [("a", format!("sip:{a}")), ("b", format!("sip:{b}"))];
    let bench = Bench::new(&trunks, &["127.0.0.1:0"], 19_540).await;
    let placed = bench.place();
    let dialled = invite(&first).await;
    let options: sqlx::sqlite::SqliteConnectOptions = bench.url.parse().unwrap();
    let mut other = options.connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    refuse(&first, &dialled, "503 Service Unavailable", "").await;
    invite(&second).await;
    placed.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_goes_where_it_points() {
    let ((trunk, a), (elsewhere, b)) = (carrier().await, carrier().await);
    let bench = Bench::new(&[("t", format!("sip:{a}"))], &["127.0.0.1:0"], 19_560).await;
    let placed = bench.place();
    let dialled = invite(&trunk).await;
    let contact = format!("Contact: <sip:other@{b}?Subject=x>\r\n");
    refuse(&trunk, &dialled, "302 Moved Temporarily", &contact).await;
    let (sent, _) = invite(&elsewhere).await;
    assert!(sent.starts_with(&format!("INVITE sip:other@{b} SIP/2.0\r\n")), "{sent}");
    let open = bench.store.open_calls().await.unwrap();
    assert_eq!(open[0].leg.remote, b.to_string(), "there it is cancelled after a crash");
    placed.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_whose_version_of_ip_has_no_rtp_is_not_dialled() {
    let Ok(carrier) = UdpSocket::bind("[::1]:0").await else { return };
    let uri = format!("sip:{}", carrier.local_addr().unwrap());
    let bench = Bench::new(&[("t", uri)], &["127.0.0.1:0", "[::1]:0"], 19_580).await;
    let answer = timeout(PATIENCE, bench.place()).await.unwrap().unwrap().unwrap();
    let failed = matches!(&answer.outcome, PlaceOutcome::Failed { attempted_trunks, .. }
        if *attempted_trunks == ["t"]);
    assert!(failed, "{answer:?}");
    let mut buffer = [0; 64];
    let heard = timeout(Duration::from_millis(50), carrier.recv_from(&mut buffer)).await;
    assert!(heard.is_err(), "it was dialled all the same");
}
