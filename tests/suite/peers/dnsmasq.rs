//! dnsmasq as the DNS of a carrier's domain.

use std::fs::File;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{PATIENCE, is_installed, own_address, scratch, tail};

/// A DNS server that knows the domain `test` and nothing else.
pub(super) struct Dnsmasq {
    process: Child,
    folder: TempDir,
    pub(super) address: SocketAddr,
}

impl Dnsmasq {
    /// One with these records, as its own options name them, that live for `ttl` seconds; `None`
    /// where there is no dnsmasq.
    pub(super) async fn start(ttl: u32, records: &[String]) -> Option<Self> {
        Self::start_at(SocketAddr::new(own_address(), 5_353), ttl, records).await
    }

    /// The same in the place of one that is gone.
    pub(super) async fn start_at(
        address: SocketAddr,
        ttl: u32,
        records: &[String],
    ) -> Option<Self> {
        if !is_installed("dnsmasq") {
            return None;
        }
        let folder = scratch();
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new("dnsmasq")
            .args(["--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--local=/test/", "--bind-interfaces", "--pid-file=", "--log-queries"])
            .arg(format!("--port={}", address.port()))
            .arg(format!("--listen-address={}", address.ip()))
            .arg(format!("--local-ttl={ttl}"))
            .args(records)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let dns = Self { process, folder, address };
        let up = async {
            let socket = UdpSocket::bind((address.ip(), 0)).await.unwrap();
            // RFC 1035 §4.1: an id, recursion desired, one question: the address of `up.test`.
            let question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02up\x04test\x00\x00\x01\x00\x01";
            let mut buffer = [0; 512];
            loop {
                // Refused (ICMP) until it listens.
                let _ = socket.send_to(question, address).await;
                let answer = timeout(Duration::from_millis(50), socket.recv(&mut buffer)).await;
                if matches!(answer, Ok(Ok(_))) {
                    return;
                }
            }
        };
        timeout(PATIENCE, up).await.unwrap_or_else(|_| panic!("dnsmasq: {}", dns.log()));
        Some(dns)
    }

    /// What it was asked, and what it said.
    pub(super) fn log(&self) -> String {
        tail(&self.folder.path().join("log"))
    }

    /// Takes it away.
    pub(super) async fn stop(mut self) {
        self.process.kill().await.unwrap();
    }
}
