//! `kaphila serve` as a customer and an operator see it: a process, its REST API, its webhooks, its
//! commands.

use std::fs::File;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use kaphila::store::{Millis, NewKey, Store, SyncMode, TrunkSettings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{PATIENCE, own_address, scratch, sip_at, tail};
use crate::support::document;
use crate::webhook_receiver::Receiver;

const BINARY: &str = env!("CARGO_BIN_EXE_kaphila");

/// A running server with one key.
pub(super) struct Node {
    process: Child,
    folder: TempDir,
    address: IpAddr,
    /// Where it takes SIP: an address of its carriers' family.
    pub(super) sip: SocketAddr,
    key: String,
    key_id: String,
    hooks: Receiver,
}

impl Node {
    /// A server whose key has these carriers as `trunk-0`, `trunk-1`, … in this order.
    pub(super) async fn start(carriers: &[SocketAddr]) -> Self {
        let uris: Vec<String> = carriers.iter().map(|carrier| format!("sip:{carrier}")).collect();
        let is_ipv6 = carriers.iter().any(SocketAddr::is_ipv6);
        Self::start_with(&uris, is_ipv6, "").await
    }

    /// The same with trunks of any URI, and more lines in the section `sip` of its configuration.
    pub(super) async fn start_with(uris: &[String], is_ipv6: bool, more: &str) -> Self {
        let trunk = |(at, uri): (usize, &String)| {
            let mut settings = TrunkSettings::new(format!("trunk-{at}"), uri);
            // A ladder begins with a call.
            settings.qualify_secs = 0;
            if uri.contains("transport=") {
                // From where a peer's own connections come, wherever on loopback it listens.
                settings.allow.0 = vec!["127.0.0.1".to_owned()];
            }
            settings
        };
        Self::with_trunks(uris.iter().enumerate().map(trunk).collect(), is_ipv6, more).await
    }

    /// The same with trunks as they are described.
    pub(super) async fn with_trunks(trunks: Vec<TrunkSettings>, is_ipv6: bool, more: &str) -> Self {
        let folder = scratch();
        let address = own_address();
        let sip = sip_at(if is_ipv6 { Ipv6Addr::LOCALHOST.into() } else { address });
        let root = folder.path().display();
        let config = format!(
            "[http]\nlisten = \"{address}:3000\"\n[admin]\nlisten = \"{address}:3001\"\n\
             [sip]\nudp = \"{sip}\"\n{more}\n[media]\nworkers = 1\n\
             [paths]\ndata = \"{root}/data\"\nsounds = \"{root}/sounds\"\n\
             [webhooks]\nallow_http = true\nallow_private = true\n"
        );
        std::fs::write(folder.path().join("kaphila.toml"), config).unwrap();
        std::fs::create_dir(folder.path().join("sounds")).unwrap();
        let (key, key_id) = set_up(&folder.path().join("data"), trunks).await;
        let log = File::create(folder.path().join("log")).unwrap();
        let mut process = Command::new(BINARY)
            .arg("serve")
            .env("KAPHILA_CONFIG", folder.path().join("kaphila.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("ready") {
                    return true;
                }
            }
            false
        };
        let is_ready = timeout(PATIENCE, ready).await.unwrap_or(false);
        assert!(is_ready, "not started: {}", tail(&folder.path().join("log")));
        Self { process, folder, address, sip, key, key_id, hooks: Receiver::ok().await }
    }

    /// The folder of `/play`'s files.
    pub(super) fn sounds(&self) -> PathBuf {
        self.folder.path().join("sounds")
    }

    // --- REST ---

    /// Calls `number`; the whole answer, its HTTP status first.
    pub(super) async fn make_call(&self, number: &str) -> (u16, Value) {
        self.make_call_with(json!({ "number": number })).await
    }

    /// The same with fields of its own.
    pub(super) async fn make_call_with(&self, mut body: Value) -> (u16, Value) {
        body["webhookUrl"] = self.hooks.url.clone().into();
        self.post("/makecall", body).await
    }

    /// Calls `number`, which must be placed; its call id.
    pub(super) async fn place(&self, number: &str) -> String {
        self.place_with(json!({ "number": number })).await
    }

    /// The same with fields of its own.
    pub(super) async fn place_with(&self, body: Value) -> String {
        let (status, answer) = self.make_call_with(body).await;
        assert_eq!(status, 200, "{answer}");
        answer["callId"].as_str().unwrap().to_owned()
    }

    /// The id of the first call that is live, also while its `/makecall` waits.
    pub(super) async fn first_call(&self) -> String {
        loop {
            let calls: Value = serde_json::from_slice(&self.get("/calls").await).unwrap();
            match calls["calls"][0]["callId"].as_str() {
                Some(id) => return id.to_owned(),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// The key's credits.
    pub(super) async fn credits(&self) -> i64 {
        let me: Value = serde_json::from_slice(&self.get("/api/me").await).unwrap();
        me["apiKey"]["credits"].as_i64().unwrap()
    }

    /// A request that must be granted.
    pub(super) async fn command(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// A request that must be refused; the answer.
    pub(super) async fn refused(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert!((400..500).contains(&status), "{path}: {status} {answer}");
        answer
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let (status, bytes) = self.http("POST", path, &body.to_string()).await;
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    /// The body of what must be there.
    pub(super) async fn get(&self, path: &str) -> Vec<u8> {
        let (status, bytes) = self.http("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&bytes));
        bytes
    }

    /// HTTP by hand: what is proved here is not a client library.
    async fn http(&self, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: kaphila\r\nAuthorization: Bearer {}\r\n\
             Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.key,
            body.len()
        );
        let exchange = async {
            let mut stream = TcpStream::connect((self.address, 3000)).await.unwrap();
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let answer = timeout(PATIENCE, exchange).await.expect("no answer");
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        assert!(head.contains("content-length:"), "{head}");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), answer[end + 4..].to_vec())
    }

    /// Gives the key a number, whose calls are answered at once or by the test.
    pub(super) async fn add_number(&self, number: &str, answer: &str) {
        let hook = self.hooks.url.clone();
        let add = ["number", "add", number, "--key", &self.key_id, "--answer", answer];
        self.operate(&[&add[..], &["--webhook", &hook]].concat()).await;
    }

    // --- Webhooks ---

    /// The events of a call that have come.
    pub(super) fn events(&self, call: &str) -> Vec<Value> {
        let seen = self.hooks.seen();
        seen.iter().for_each(|it| document::check_event(&it.body));
        let bodies = seen.iter().map(|it| serde_json::from_str::<Value>(&it.body).unwrap());
        bodies.filter(|event| event["callId"] == call).collect()
    }

    /// Waits for the `nth` call that came in; its event.
    pub(super) async fn incoming(&self, nth: usize) -> Value {
        let wait = async {
            loop {
                let seen = self.hooks.seen();
                let bodies = seen.iter().map(|it| serde_json::from_str::<Value>(&it.body).unwrap());
                let found = bodies.filter(|event| event["event"] == "call.incoming").nth(nth);
                match found {
                    Some(event) => return event,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no call came: {}", self.log()))
    }

    /// Waits for an event of a call.
    #[track_caller]
    pub(super) fn event<'a>(
        &'a self,
        call: &'a str,
        name: &'a str,
    ) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        let wait = async move {
            loop {
                let found = self.events(call).into_iter().find(|event| event["event"] == name);
                match found {
                    Some(event) => return event,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        async move {
            timeout(PATIENCE, wait).await.unwrap_or_else(|_| {
                let events = self.events(call);
                panic!("no {name} came ({caller})\n{events:#?}\n{}", self.log())
            })
        }
    }

    // --- Operation ---

    /// The ladder of a call, by `kaphila trace`.
    pub(super) async fn trace(&self, call: &str) -> String {
        self.operate(&["trace", call]).await
    }

    /// What a command prints that must succeed.
    pub(super) async fn operate(&self, arguments: &[&str]) -> String {
        let command = Command::new(BINARY)
            .args(arguments)
            .env("KAPHILA_CONFIG", self.folder.path().join("kaphila.toml"))
            .output();
        let output = timeout(PATIENCE, command).await.expect("it does not end").unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `/metrics`.
    pub(super) async fn metrics(&self) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect((self.address, 3001)).await.unwrap();
            let ask = "GET /metrics HTTP/1.1\r\nHost: kaphila\r\nConnection: close\r\n\r\n";
            stream.write_all(ask.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        timeout(PATIENCE, exchange).await.expect("no answer")
    }

    /// The end of what it logged.
    pub(super) fn log(&self) -> String {
        tail(&self.folder.path().join("log"))
    }

    /// Nothing is live any more, and SIGTERM ends the process at once.
    pub(super) async fn stop(mut self) {
        let health: Value = serde_json::from_slice(&self.get("/health").await).unwrap();
        assert_eq!(health["stats"]["activeCalls"], 0, "a call is left over");
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = timeout(PATIENCE, self.process.wait()).await.expect("it does not stop");
        assert!(status.unwrap().success(), "{}", self.log());
    }
}

/// The database with its trunks and one key; the key and its id.
async fn set_up(data: &Path, settings: Vec<TrunkSettings>) -> (String, String) {
    std::fs::create_dir(data).unwrap();
    let url = format!("sqlite://{}/kaphila.db", data.display());
    let store = Store::open(&url, SyncMode::Normal).await.unwrap();
    let now = Millis::wall_clock();
    let mut trunks = Vec::new();
    for trunk in settings {
        trunks.push(trunk.name.clone());
        store.put_trunk(trunk, now).await.unwrap();
    }
    let key = NewKey { name: "peers".to_owned(), credits: 1_000, rate_limit: 10_000, trunks };
    let secrets = store.create_key(key, now).await.unwrap();
    store.close().await;
    (secrets.key, secrets.key_id)
}
