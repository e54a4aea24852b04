//! Kamailio as a carrier: a registrar and a record-routing proxy that asks for proof.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{PATIENCE, is_installed, own_address, scratch, sip_at, tail};

/// Where Debian and others put the modules.
const MODULES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/kamailio/modules/",
    "/usr/lib/aarch64-linux-gnu/kamailio/modules/",
    "/usr/lib64/kamailio/modules/",
];

pub(super) const USERNAME: &str = "alice";
pub(super) const PASSWORD: &str = "wonderland";

/// A running carrier.
pub(super) struct Kamailio {
    process: Child,
    folder: TempDir,
    pub(super) address: SocketAddr,
}

impl Kamailio {
    /// A carrier whose calls end at `gateway`; `None` where there is no Kamailio.
    pub(super) async fn start(gateway: IpAddr, algorithm: &str) -> Option<Self> {
        let modules = MODULES.into_iter().find(|folder| Path::new(folder).is_dir());
        if !is_installed("kamailio") {
            return None;
        }
        let folder = scratch();
        let ip = own_address();
        let address = sip_at(ip);
        let config = include_str!("kamailio.cfg")
            .replace("@ADDRESS@", &ip.to_string())
            .replace("@MODULES@", modules.unwrap_or_default())
            .replace("@GATEWAY@", &gateway.to_string())
            .replace("@ALGORITHM@", algorithm)
            .replace("@USERNAME@", USERNAME)
            .replace("@PASSWORD@", PASSWORD);
        std::fs::write(folder.path().join("kamailio.cfg"), config).unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new("kamailio")
            .args(["-DD", "-E", "-m", "64", "-M", "8", "-f", "kamailio.cfg"])
            .arg("-Y")
            .arg(folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // It ends its children when it is told to, not when it is killed.
            .kill_on_drop(false)
            .spawn()
            .unwrap();
        let carrier = Self { process, folder, address };
        let answers = async {
            let socket = tokio::net::UdpSocket::bind((ip, 0)).await.unwrap();
            let own = socket.local_addr().unwrap();
            let mut buffer = [0; 2_048];
            let ask = format!(
                "OPTIONS sip:{ip} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKup;rport\r\n\
                 Max-Forwards: 5\r\nFrom: <sip:t@{ip}>;tag=t\r\nTo: <sip:{ip}>\r\nCall-ID: up\r\n\
                 CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            );
            loop {
                // Refused (ICMP) until it listens.
                let _ = socket.send_to(ask.as_bytes(), address).await;
                let answer = timeout(Duration::from_millis(50), socket.recv(&mut buffer)).await;
                if matches!(answer, Ok(Ok(_))) {
                    return;
                }
            }
        };
        let up = timeout(PATIENCE, answers).await;
        assert!(up.is_ok(), "Kamailio does not answer: {}", carrier.log());
        Some(carrier)
    }

    /// What it has said so far.
    pub(super) fn log(&self) -> String {
        tail(&self.folder.path().join("log"))
    }

    /// Waits until it says this.
    #[track_caller]
    pub(super) fn says<'a>(&'a self, text: &'a str) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        let said = async move {
            while !self.log().contains(text) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        async move {
            let said = timeout(PATIENCE, said).await;
            assert!(said.is_ok(), "{caller}: Kamailio does not say `{text}`:\n{}", self.log());
        }
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}
