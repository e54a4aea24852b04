//! `/metrics`, read by Prometheus' own client library for Python: its OpenMetrics parser is strict
//! about types, units, suffixes, repetitions and the end of the text.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::support::exchange::{Callee, Exchange};
use crate::support::http;
use crate::support::program::{Site, eventually, text};

/// Families by name: type, help, unit and the samples.
const READER: &str = "import json, sys\n\
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
    print(json.dumps({f.name: {'type': f.type, 'help': f.documentation, 'unit': f.unit,\n\
    \x20'samples': {s.name: s.value for s in f.samples}} for f in read(sys.stdin.read())}))";

/// A Python that has the library: a shell's own may hide the system's.
async fn python() -> Option<&'static str> {
    for python in ["python3", "/usr/bin/python3"] {
        let mut ask = Command::new(python);
        ask.args(["-c", "import prometheus_client.openmetrics.parser"]);
        let asked = ask.stderr(Stdio::null()).status().await;
        if asked.is_ok_and(|status| status.success()) {
            return Some(python);
        }
    }
    println!("skipped: /metrics by its reader, python3-prometheus-client is not installed");
    None
}

async fn read(python: &str, metrics: &str) -> Value {
    let mut reader = Command::new(python)
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = reader.stdin.take().unwrap();
    input.write_all(metrics.as_bytes()).await.unwrap();
    drop(input);
    let output = reader.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}\n{metrics}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_well_formed_and_true() {
    let Some(python) = python().await else { return };
    let carrier = Exchange::start("127.0.0.1").await;
    let site = Site::with_trunks(&[carrier.address]).await;
    let _serving = site.serve(&[]).await;
    let number = Callee::Answers.number(1);
    let call = site.post("/makecall", json!({ "number": number })).await.json();
    eventually(5, "an answer", async || carrier.leg(&number).is_some_and(|it| !it.acks.is_empty()))
        .await;
    let live = http::request(site.admin, "GET /metrics", "", None).await.unwrap();
    assert!(live.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let live = read(python, &live.body).await;
    assert_eq!(live["kaphila_calls_active"]["samples"]["kaphila_calls_active"], 1.0);
    site.post("/hangup", json!({ "callId": call["callId"] })).await;
    eventually(5, "the end", async || site.metric("kaphila_calls_active").await == 0.0).await;
    // The media threads give the port back after that.
    let port = "kaphila_media_ports_in_use";
    eventually(5, "the port", async || site.metric(port).await == 0.0).await;

    let text = http::request(site.admin, "GET /metrics", "", None).await.unwrap().body;
    let after = read(python, &text).await;
    let families = after.as_object().unwrap();
    assert!(families.len() > 20, "{}", families.len());
    for (name, family) in families {
        assert!(name.starts_with("kaphila_"), "{name}");
        assert!(!family["help"].as_str().unwrap().is_empty(), "{name} has no help");
        let kind = family["type"].as_str().unwrap();
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} is {kind}");
        // Prometheus' convention: base units alone.
        let is_scaled = ["_ms", "_us", "_millis", "_kb"].iter().any(|unit| name.ends_with(unit));
        assert!(!is_scaled, "{name}");
    }
    let value = |family: &str| {
        let samples = after[family]["samples"].as_object().unwrap();
        samples.values().next().unwrap().as_f64().unwrap()
    };
    assert_eq!(value("kaphila_media_calls"), 1.0);
    let sample = |family: &str, name: &str| after[family]["samples"][name].as_f64().unwrap();
    assert_eq!(sample("kaphila_trunk_invites", "kaphila_trunk_invites_total"), 1.0);
    assert_eq!(sample("kaphila_trunk_finals", "kaphila_trunk_finals_total"), 1.0);
    let delay = "kaphila_trunk_post_dial_delay_seconds";
    assert_eq!(sample(delay, &format!("{delay}_count")), 1.0);
    assert!(sample(delay, &format!("{delay}_sum")) < 1.0);
    let labelled = "kaphila_trunk_finals_total{trunk=\"trunk-0\",code=\"200\"} 1";
    assert!(text.contains(labelled), "{text}");
    assert_eq!(value("kaphila_media_ports_in_use"), 0.0);
    // INVITE, ACK and BYE at least; 100, 180 or 200, and the BYE's 200.
    assert!(value("kaphila_sip_sent") >= 3.0 && value("kaphila_sip_received") >= 2.0);
    assert!(value("kaphila_media_slot_lateness_p99_seconds") < 1.0);
}
