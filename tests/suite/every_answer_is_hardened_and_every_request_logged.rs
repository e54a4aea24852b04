//! What is on every answer, and what is in the log of every request: not a key, not a number.

use serde_json::{Value, json};

use crate::support::http;
use crate::support::program::{Site, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_and_lines() {
    let mut site = Site::with_trunks(&[([127, 0, 0, 1], 9).into()]).await;
    site.set("KAPHILA_HTTP_TRUSTED_PROXIES", "127.0.0.1");
    let _serving = site.serve(&[]).await;
    let mut ids = Vec::new();
    for (line, key, status) in [
        ("GET /health", "", 200),
        ("GET /api/me", site.key.as_str(), 200),
        ("GET /api/me", "ak_secret_of_a_stranger", 401),
        ("GET /calls/14155550100", site.key.as_str(), 404),
        ("POST /hangup", site.key.as_str(), 404),
        ("GET /14155550100", site.key.as_str(), 404),
        ("DELETE /makecall", site.key.as_str(), 405),
    ] {
        let line = format!("{line}?from=%2B14155550100");
        let body = json!({ "callId": "14155550100.1" });
        let answer = http::request(site.http, &line, key, Some(&body)).await.unwrap();
        assert_eq!(answer.status, status, "{line}: {answer:?}");
        for (name, value) in [
            ("X-Content-Type-Options", Some("nosniff")),
            ("Referrer-Policy", Some("no-referrer")),
            ("Cache-Control", Some("no-store")),
            ("Strict-Transport-Security", None),
        ] {
            assert_eq!(answer.header(name), value, "{line}: {name}");
        }
        let id = answer.header("X-Request-Id").unwrap().to_owned();
        assert!(id.starts_with("req_") && !ids.contains(&id), "{id}");
        if status != 200 {
            assert_eq!(answer.json()["requestId"], id.as_str());
        }
        ids.push(id);
    }
    let log = || std::fs::read_to_string(site.path("serve.log")).unwrap();
    eventually(5, "the lines", async || ids.iter().all(|id| log().contains(id.as_str()))).await;
    let line = |id: &str| -> Value {
        let log = log();
        let mut lines = log.lines().filter(|line| line.contains(id));
        let line = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(lines.next(), None, "one line a request");
        line
    };
    let id = site.key_id.as_str();
    for (request, method, route, status, key) in [
        (0, "GET", "/health", 200, "none"),
        (1, "GET", "/api/me", 200, id),
        (2, "GET", "/api/me", 401, "none"),
        (3, "GET", "/calls/{call_id}", 404, id),
        (4, "POST", "/hangup", 404, id),
        (5, "GET", "none", 404, "none"),
        (6, "DELETE", "/makecall", 405, "none"),
    ] {
        let told = line(&ids[request]);
        assert_eq!(told["method"], method, "{told}");
        assert_eq!(told["route"], route, "{told}");
        assert_eq!(told["status"], status, "{told}");
        assert_eq!(told["key"], key, "{told}");
        assert_eq!(told["client"], "127.0.0.1", "{told}");
        assert!(told["ms"].as_f64().is_some_and(|ms| (0.0..10_000.0).contains(&ms)), "{told}");
    }
    let log = log();
    for secret in ["ak_", "14155550100", site.key.as_str()] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
