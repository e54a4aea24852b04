//! R5: of requests over 200 connections at once exactly as many are let through as the key may
//! make, in the hour that began before a `kill -9` too.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::http;
use crate::support::program::Site;

const LIMIT: usize = 150;
const CONNECTIONS: usize = 200;

/// The statuses of requests of this key over as many connections as are asked for.
async fn statuses(site: &Site, connections: usize) -> Vec<u16> {
    let requests = (0..connections).map(|at| {
        let (port, key) = (site.http, site.key.clone());
        tokio::spawn(async move {
            // Every path that counts, each with its own count of one.
            let path = ["/hangup", "/voice", "/play", "/gather"][at % 4];
            let body = json!({ "callId": "1.1", "text": "x", "file": "x" });
            let body =
                if path == "/gather" { json!({ "callId": "1.1", "text": "x" }) } else { body };
            let answer = http::request(port, &format!("POST {path}"), &key, Some(&body)).await;
            let answer = answer.unwrap();
            if answer.status == 429 {
                answer.is_refused(429, "RATE_LIMIT");
                assert_eq!(answer.header("RateLimit-Remaining"), Some("0"));
            }
            assert_eq!(answer.header("RateLimit-Limit"), Some(LIMIT.to_string().as_str()));
            let reset: u64 = answer.header("RateLimit-Reset").unwrap().parse().unwrap();
            assert!((1..=3_600).contains(&reset), "{reset}");
            answer.status
        })
    });
    join_all(requests).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_many_connections_and_a_restart() {
    let site = Site::with_trunks(&[([127, 0, 0, 1], 9).into()]).await;
    site.done(&["key", "limit", &site.key_id, &LIMIT.to_string()]).await;
    let serving = site.serve(&[]).await;
    let count = |all: &[u16], status: u16| all.iter().filter(|it| **it == status).count();
    let before = statuses(&site, LIMIT / 2).await;
    assert_eq!(count(&before, 404), LIMIT / 2, "{before:?}");
    serving.kill().await;
    let _serving = site.serve(&[]).await;
    let after = statuses(&site, CONNECTIONS).await;
    assert_eq!(count(&after, 404), LIMIT - LIMIT / 2, "{after:?}");
    assert_eq!(count(&after, 429), CONNECTIONS - (LIMIT - LIMIT / 2));
    // What does not count is not refused.
    assert_eq!(site.get("/api/me").await.status, 200);
    assert_eq!(site.get("/calls").await.status, 200);
}
