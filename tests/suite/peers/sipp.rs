//! SIPp as a carrier.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::ladder::Ladder;
use super::{PATIENCE, is_installed, own_address, scratch, sip_at, tail};

/// Where the scenarios are that anyone can run.
fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp")
}

/// A SIPp that plays one ladder for each call.
pub(super) struct Sipp {
    process: Child,
    folder: TempDir,
    pub(super) address: SocketAddr,
}

impl Sipp {
    /// A carrier at an address of its own that takes `calls` calls; `None` where there is no SIPp.
    pub(super) async fn carrier(ladder: &Ladder, calls: usize) -> Option<Self> {
        Self::carrier_at(own_address(), ladder, calls).await
    }

    /// The same at a given address, for a test that listens there too.
    pub(super) async fn carrier_at(ip: IpAddr, ladder: &Ladder, calls: usize) -> Option<Self> {
        Self::carrier_on(sip_at(ip), ladder, calls).await
    }

    /// The same at a given port.
    pub(super) async fn carrier_on(
        address: SocketAddr,
        ladder: &Ladder,
        calls: usize,
    ) -> Option<Self> {
        Self::listening(address, ladder, calls, "udp").await
    }

    /// The same over TCP.
    pub(super) async fn carrier_over_tcp(ip: IpAddr, ladder: &Ladder) -> Option<Self> {
        Self::listening(sip_at(ip), ladder, 1, "tcp").await
    }

    async fn listening(
        address: SocketAddr,
        ladder: &Ladder,
        calls: usize,
        transport: &str,
    ) -> Option<Self> {
        let mode = if transport == "tcp" { "t1" } else { "u1" };
        Self::start(address, ladder, calls, &["-t", mode])?.bound(transport).await
    }

    /// A carrier that takes one call by a scenario of `tests/sipp`.
    pub(super) async fn called(ip: IpAddr, scenario: &str) -> Option<Self> {
        let file = library().join(format!("{scenario}.xml"));
        let sees_repetitions = (scenario == "carrier_repeats_its_200").then_some("-nr");
        let more: Vec<&str> = sees_repetitions.into_iter().collect();
        let scenario = ["-sf", &*file.to_string_lossy()];
        Self::run(sip_at(ip), scratch(), 1, &scenario, &more)?.bound("udp").await
    }

    /// Once it listens.
    async fn bound(self, transport: &str) -> Option<Self> {
        let bound = async {
            while !is_bound(self.address, transport) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, bound).await.unwrap_or_else(|_| panic!("{}", self.last_words()));
        Some(self)
    }

    /// A carrier that calls `number` at `server` by a scenario of `tests/sipp`, or by SIPp's own
    /// where it has no file. It must call from a trunk's address.
    pub(super) fn caller(
        ip: IpAddr,
        server: SocketAddr,
        scenario: &str,
        number: &str,
        calls: usize,
    ) -> Option<Self> {
        let file = library().join(format!("{scenario}.xml"));
        let text = file.to_string_lossy();
        let scenario = if file.exists() { ["-sf", &*text] } else { ["-sn", scenario] };
        let address = SocketAddr::new(ip, 5060);
        let (server, pause) = (server.to_string(), "300");
        let sees_repetitions = text.ends_with("caller_loses_its_ack.xml").then_some("-nr");
        let more: Vec<&str> =
            ["-s", number, "-d", pause, &server].into_iter().chain(sees_repetitions).collect();
        Self::run(address, scratch(), calls, &scenario, &more)
    }

    /// A carrier that sends its own request to `server` once. It must come from a trunk's address.
    pub(super) fn client(ip: IpAddr, server: SocketAddr, ladder: &Ladder) -> Option<Self> {
        Self::start(SocketAddr::new(ip, 5080), ladder, 1, &[&server.to_string()])
    }

    fn start(address: SocketAddr, ladder: &Ladder, calls: usize, more: &[&str]) -> Option<Self> {
        let folder = scratch();
        std::fs::write(folder.path().join("ladder.xml"), ladder.xml()).unwrap();
        let sees_repetitions = ladder.sees_repetitions.then_some("-nr");
        let more: Vec<&str> = sees_repetitions.into_iter().chain(more.iter().copied()).collect();
        let scenario = ["-sf", "ladder.xml"];
        Self::run(
            address,
            folder,
            calls,
            &scenario,
            &[&["-default_behaviors", "none"], &*more].concat(),
        )
    }

    fn run(
        address: SocketAddr,
        folder: TempDir,
        calls: usize,
        scenario: &[&str],
        more: &[&str],
    ) -> Option<Self> {
        if !is_installed("sipp") {
            return None;
        }
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let (media, calls) = ((address.port() + 1_000).to_string(), calls.to_string());
        let log = File::create(folder.path().join("log")).unwrap();
        let process = Command::new("sipp")
            .current_dir(folder.path())
            .args(scenario)
            .args(["-i", &ip, "-p", &port, "-mi", &ip, "-mp", &media])
            .args(["-m", &calls, "-nostdin", "-trace_err", "-error_file", "errors"])
            .args(["-trace_msg", "-message_file", "messages", "-recv_timeout", "20000"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Some(Self { process, folder, address })
    }

    /// Every call must have gone down the ladder to its end.
    #[track_caller]
    pub(super) fn finish(mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let status = timeout(PATIENCE, self.process.wait()).await;
            match status {
                Ok(status) if status.as_ref().unwrap().success() => {}
                status => panic!("{caller}: SIPp ended {status:?}\n{}", self.last_words()),
            }
        }
    }

    fn last_words(&self) -> String {
        let file = |name: &str| tail(&self.folder.path().join(name));
        format!("{}\n{}\n{}", file("messages"), file("errors"), file("log"))
    }
}

/// Whether somebody listens at an address, without taking it for a moment as a test bind would.
fn is_bound(address: SocketAddr, transport: &str) -> bool {
    let (family, ip) = match address.ip() {
        IpAddr::V4(ip) => ("", format!("{:08X}", u32::from_ne_bytes(ip.octets()))),
        IpAddr::V6(_) => ("6", String::new()), // its one address, ::1
    };
    let file = format!("/proc/net/{transport}{family}");
    let wanted = format!("{ip}:{:04X} ", address.port());
    std::fs::read_to_string(file).unwrap().contains(&wanted)
}
