//! The documented requests as customers make them: by curl, by JavaScript's axios and by Python's
//! requests, against the real program.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::document;
use crate::support::exchange::{Callee, Exchange};
use crate::support::hooks::Hooks;
use crate::support::program::{Site, text};

/// Whether a program is there and does this; if not, says so where `scripts/test` counts it.
async fn can(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).env("NODE_PATH", "/usr/share/nodejs");
    let done = command.stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    let can = done.is_ok_and(|status| status.success());
    if !can {
        println!("skipped: {program} {arguments:?} does not work here");
    }
    can
}

/// Runs a client to its end: status and body of each of its requests, by name.
async fn run(
    site: &Site,
    hooks: &Hooks,
    program: &str,
    client: &str,
) -> HashMap<String, (u16, Value)> {
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(client);
    let mut command = Command::new(program);
    command.arg(client).current_dir(site.folder()).kill_on_drop(true);
    command.env("NODE_PATH", "/usr/share/nodejs");
    command.env("BASE", format!("http://127.0.0.1:{}", site.http)).env("KEY", &site.key);
    command.env("NUMBER", Callee::Answers.number(1)).env("HOOK", hooks.url());
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    let output = output.expect("the client does not end").unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let out = text(&output.stdout);
    let line = |line: &str| {
        let mut parts = line.splitn(3, '\t');
        let mut part = || parts.next().unwrap_or_else(|| panic!("{out}")).to_owned();
        let (name, status, body) = (part(), part(), part());
        let body = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{name}: {body}"));
        (name, (status.parse().unwrap_or_else(|_| panic!("{out}")), body))
    };
    out.lines().map(line).collect()
}

async fn served(exchange: &Exchange) -> Site {
    let mut site = Site::new().await;
    site.add_trunks(&[exchange.address]).await;
    std::fs::create_dir_all(site.path("sounds/custom")).unwrap();
    site.done(&[
        "speak",
        "Welcome.",
        "-o",
        site.path("sounds/custom/welcome.wav").to_str().unwrap(),
    ])
    .await;
    site
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_curl() {
    if !can("curl", &["--version"]).await {
        return;
    }
    let exchange = Exchange::start("127.0.0.44").await;
    let (site, mut hooks) = (served(&exchange).await, Hooks::start().await);
    let _serving = site.serve(&[]).await;
    let answers = run(&site, &hooks, "sh", "curl.sh").await;
    assert_eq!(answers.len(), 18, "{:?}", answers.keys());
    for (name, (status, body)) in &answers {
        assert_eq!(*status, 200, "{name}: {body:#}");
    }
    // Those that have a path of their own are as the document says.
    for (name, method, path) in [
        ("health", "GET", "/health"),
        ("me", "GET", "/api/me"),
        ("makecall", "POST", "/makecall"),
        ("batchcall", "POST", "/batchcall"),
        ("voice", "POST", "/voice"),
        ("play", "POST", "/play"),
        ("gather", "POST", "/gather"),
        ("calls", "GET", "/calls"),
        ("recordings", "GET", "/recordings"),
        ("dashboard", "POST", "/api/dashboard"),
        ("call-logs", "POST", "/api/call-logs"),
        ("analytics", "POST", "/api/analytics"),
        ("hangup", "POST", "/hangup"),
    ] {
        document::check(method, path, 200, &answers[name].1.to_string());
    }
    let placed = &answers["makecall"].1;
    assert_eq!((&placed["callerId"], &placed["amdEnabled"]), (&json!("19172452367"), &json!(true)));
    for download in ["download", "file"] {
        assert_eq!(answers[download].1, "RIFF");
    }
    let call = placed["callId"].as_str().unwrap().to_owned();
    let ended = hooks.expect(&call, "call.ended").await;
    assert_eq!(
        (&ended["endReason"], &ended["callerId"]),
        (&json!("api_hangup"), &json!("19172452367"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_axios() {
    if !can("node", &["-e", "require('axios')"]).await {
        return;
    }
    let exchange = Exchange::start("127.0.0.45").await;
    let (site, mut hooks) = (served(&exchange).await, Hooks::start().await);
    let _serving = site.serve(&[]).await;
    let answers = run(&site, &hooks, "node", "axios.cjs").await;
    let status = |name: &str| answers[name].0;
    for name in ["me", "makecall", "calls", "dtmf", "hangup", "logs"] {
        assert_eq!(status(name), 200, "{name}: {:#}", answers[name].1);
    }
    for (name, expected, code) in [
        ("unknown", 404, "CALL_NOT_FOUND"),
        ("missing", 400, "INVALID_REQUEST"),
        ("key", 401, "UNAUTHORIZED"),
    ] {
        assert_eq!((status(name), &answers[name].1["code"]), (expected, &json!(code)));
    }
    let call = answers["makecall"].1["callId"].as_str().unwrap().to_owned();
    hooks.expect(&call, "call.ended").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_requests() {
    if !can("python3", &["-c", "import requests"]).await {
        return;
    }
    let exchange = Exchange::start("127.0.0.46").await;
    let (site, mut hooks) = (served(&exchange).await, Hooks::start().await);
    let _serving = site.serve(&[]).await;
    let answers = run(&site, &hooks, "python3", "requests_client.py").await;
    for name in ["me", "makecall", "first", "again", "hangup", "analytics"] {
        assert_eq!(answers[name].0, 200, "{name}: {:#}", answers[name].1);
    }
    assert_eq!((answers["unknown"].0, &answers["unknown"].1["success"]), (404, &json!(false)));
    assert_eq!(answers["makecall"].1["metadata"], json!({ "order": 7 }));
    let call = answers["makecall"].1["callId"].as_str().unwrap().to_owned();
    assert_eq!(hooks.expect(&call, "call.ended").await["metadata"], json!({ "order": 7 }));
}
