//! The real program as a child process, in a folder and on ports of its own.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::http::{self, Answer};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kaphila");

/// How long a command, a start or an end is waited for: what they may take is asserted apart.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder, its configuration, and the ports it is served on.
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) http: u16,
    pub(crate) admin: u16,
    /// Where it speaks SIP, and RTP on the same address.
    pub(crate) sip: SocketAddr,
    environment: Vec<(String, String)>,
    pub(crate) key: String,
    pub(crate) key_id: String,
}

impl Site {
    /// A folder as `kaphila init` makes it.
    pub(crate) async fn new() -> Self {
        let (http, admin) = (free_tcp(), free_tcp());
        let sip = SocketAddr::new(own_address(), 5_060);
        let folder = tempfile::tempdir().unwrap();
        let mut site = Self {
            folder,
            http,
            admin,
            sip,
            environment: Vec::new(),
            key: String::new(),
            key_id: String::new(),
        };
        let config = site.path("kaphila.toml").display().to_string();
        for (name, value) in [
            ("KAPHILA_CONFIG", config),
            ("KAPHILA_HTTP_LISTEN", format!("127.0.0.1:{http}")),
            ("KAPHILA_ADMIN_LISTEN", format!("127.0.0.1:{admin}")),
            ("KAPHILA_SIP_UDP", sip.to_string()),
            ("KAPHILA_MEDIA_PORTS", "10000-10399".to_owned()),
            ("KAPHILA_WEBHOOKS_ALLOW_HTTP", "true".to_owned()),
            ("KAPHILA_WEBHOOKS_ALLOW_PRIVATE", "true".to_owned()),
        ] {
            site.set(name, value);
        }
        let folder = site.folder().display().to_string();
        site.done(&["init", "--dir", &folder]).await;
        site
    }

    /// A site whose one key has these carriers as trunks, in this order, and 100 000 credits.
    pub(crate) async fn with_trunks(carriers: &[SocketAddr]) -> Self {
        let mut site = Self::new().await;
        site.add_trunks(carriers).await;
        site
    }

    /// Adds these carriers, and the one key for them.
    pub(crate) async fn add_trunks(&mut self, carriers: &[SocketAddr]) {
        let site = self;
        let mut create: Vec<String> =
            ["key", "create", "--name", "test", "--credits", "100000", "--rate-limit", "1000000"]
                .map(str::to_owned)
                .to_vec();
        for (at, carrier) in carriers.iter().enumerate() {
            let (name, uri) = (format!("trunk-{at}"), format!("sip:{carrier}"));
            site.done(&["trunk", "add", &name, "--uri", &uri, "--qualify", "0"]).await;
            create.extend(["--trunk".to_owned(), name]);
        }
        let words: Vec<&str> = create.iter().map(String::as_str).collect();
        let made: Value = serde_json::from_str(&site.done(&words).await).unwrap();
        site.key = made["key"].as_str().unwrap().to_owned();
        site.key_id = made["keyId"].as_str().unwrap().to_owned();
    }

    /// Sets an environment variable of every command from now on.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.into()));
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    // --- Commands ---

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // Nothing of the tests' own environment may configure the program.
        command.env_clear().kill_on_drop(true).current_dir(self.folder());
        command.envs(["PATH", "HOME", "TMPDIR"].iter().filter_map(|name| {
            let value = std::env::var_os(name)?;
            Some((name, value))
        }));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn kaphila(&self, words: &[&str]) -> Output {
        let mut command = self.command(PROGRAM);
        let run = command.args(words).stdin(Stdio::null()).output();
        let ended = timeout(PATIENCE, run).await;
        ended.unwrap_or_else(|_| panic!("kaphila {words:?} does not end")).unwrap()
    }

    /// Runs a command that must succeed; its standard output.
    #[track_caller]
    pub(crate) fn done<'a>(&'a self, words: &'a [&'a str]) -> impl Future<Output = String> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let output = self.kaphila(words).await;
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            assert!(output.status.success(), "{caller}: kaphila {words:?}: {out}{err}");
            out
        }
    }

    /// `kaphila serve`, once it is ready.
    pub(crate) async fn serve(&self, words: &[&str]) -> Serving {
        self.serve_by(&[], words).await
    }

    /// The same, started by another program that becomes it.
    pub(crate) async fn serve_by(&self, starter: &[&str], words: &[&str]) -> Serving {
        let mut serving = self.start(starter, words);
        let mut lines = BufReader::new(serving.child.stdout.take().unwrap()).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line == "kaphila: ready" {
                    return true;
                }
            }
            false
        };
        let ready = timeout(PATIENCE, ready).await;
        assert_eq!(ready, Ok(true), "kaphila serve is not ready");
        serving.ready = serving.started.elapsed();
        serving
    }

    /// The same, not waited for.
    pub(crate) fn start(&self, starter: &[&str], words: &[&str]) -> Serving {
        let log = self.path("serve.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let all: Vec<&str> =
            starter.iter().chain(&[PROGRAM, "serve"]).chain(words).copied().collect();
        let mut command = self.command(all[0]);
        command.args(&all[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let started = Instant::now();
        let child = command.spawn().unwrap();
        Serving { child, log, started, ready: Duration::ZERO }
    }

    // --- What a customer does, and an operator sees ---

    pub(crate) async fn get(&self, path: &str) -> Answer {
        http::request(self.http, &format!("GET {path}"), &self.key, None).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_as(&self.key, path, body).await
    }

    /// The same with another key.
    pub(crate) async fn post_as(&self, key: &str, path: &str, body: Value) -> Answer {
        let line = format!("POST {path}");
        http::request(self.http, &line, key, Some(&body)).await.unwrap()
    }

    /// A sample of `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let answer = http::request(self.admin, "GET /metrics", "", None).await.unwrap();
        let mut samples = answer.body.lines().filter_map(|line| line.split_once(' '));
        let found = samples.find(|(found, _)| *found == name);
        found.unwrap_or_else(|| panic!("no {name} in {}", answer.body)).1.parse().unwrap()
    }

    /// A connection to its database beside the server's.
    pub(crate) async fn database(&self) -> SqliteConnection {
        let file = self.path("data/kaphila.db");
        SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap()
    }

    /// Every call has ended and is settled: the ledger is the balance, nothing is held, one credit
    /// was taken for each answered call.
    pub(crate) async fn books_are_right(&self) {
        let mut database = self.database().await;
        let mut number = async |query: &'static str| -> i64 {
            sqlx::query_scalar(query).fetch_one(&mut database).await.unwrap()
        };
        assert_eq!(number("SELECT COUNT(*) FROM calls WHERE ended_at IS NULL").await, 0);
        assert_eq!(
            number("SELECT SUM(credits) - (SELECT credits FROM api_keys) FROM ledger").await,
            0
        );
        assert_eq!(number("SELECT SUM(holds) FROM ledger").await, 0);
        assert_eq!(number("SELECT holds FROM api_keys").await, 0);
        let answered = number("SELECT COUNT(*) FROM calls WHERE answered_at IS NOT NULL").await;
        assert_eq!(number("SELECT COUNT(*) FROM ledger WHERE kind = 'deduct'").await, answered);
        assert_eq!(number("SELECT COUNT(*) FROM recordings WHERE finished_at IS NULL").await, 0);
    }
}

/// A running server.
pub(crate) struct Serving {
    child: Child,
    log: PathBuf,
    pub(crate) started: Instant,
    /// From the start of the process to its `ready`.
    pub(crate) ready: Duration,
}

impl Serving {
    /// `kill -9`; returns once the process is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok());
        pid.and_then(Pid::from_raw).expect("it runs")
    }

    /// What it has of the machine's memory.
    pub(crate) fn resident_bytes(&self) -> usize {
        let status = format!("/proc/{}/status", self.pid().as_raw_nonzero());
        let status = fs::read_to_string(status).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end, which must come within this time.
    #[track_caller]
    pub(crate) fn ends(&mut self, within: Duration) -> impl Future<Output = ExitStatus> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let ended = timeout(within, self.child.wait()).await;
            ended.unwrap_or_else(|_| panic!("it lives on after {within:?} ({caller})")).unwrap()
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            eprintln!("--- the end of the server's log ---\n{}", tail.join("\n"));
        }
    }
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits for what must come within `secs`.
#[track_caller]
pub(crate) fn eventually<F>(
    secs: u64,
    what: &str,
    mut seen: impl FnMut() -> F,
) -> impl Future<Output = ()>
where
    F: Future<Output = bool>,
{
    let caller = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        while !seen().await {
            assert!(began.elapsed().as_secs() < secs, "not within {secs} s: {what} ({caller})");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn free_tcp() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A loopback address that nobody else has: its ports are all free.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = (std::process::id() % 250) as u8 + 1;
    IpAddr::from([127, process, NEXT.fetch_add(1, Ordering::Relaxed), 1])
}
