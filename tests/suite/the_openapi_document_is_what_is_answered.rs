//! The OpenAPI document, where it is, and what it promises. That answers keep to it is checked with
//! every answer of every other test.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, send};
use crate::support::carrier::Carrier;
use crate::support::program::Site;
use crate::support::server::Server;

/// Calls `each` with every schema that an answer may have.
fn each_object(value: &Value, each: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(members) => {
            if members.contains_key("properties") {
                each(members);
            }
            members.values().for_each(|value| each_object(value, each));
        }
        Value::Array(items) => items.iter().for_each(|value| each_object(value, each)),
        _ => {}
    }
}

#[test]
fn no_answer_is_open_and_none_is_left_to_a_default() {
    let document = kaphila::http::openapi::document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations += 1;
            let responses = operation["responses"].as_object().unwrap();
            assert!(!responses.contains_key("default"), "{method} {path}");
            each_object(&operation["responses"], &mut |schema| {
                assert_eq!(schema["additionalProperties"], false, "{method} {path}: {schema:?}");
            });
            // A body has members that are not read; an answer has none that is not named.
            let bodies = document["components"]["schemas"].as_object().unwrap();
            let body = operation.pointer("/requestBody/content/application~1json/schema/$ref");
            let body = body.map(|name| name.as_str().unwrap().rsplit('/').next().unwrap());
            assert!(body.is_none_or(|body| bodies[body].get("additionalProperties").is_none()));
            let text = operation["responses"].to_string();
            for (name, schema) in bodies {
                if text.contains(&format!("schemas/{name}\"")) {
                    each_object(schema, &mut |schema| {
                        assert_eq!(schema["additionalProperties"], false, "{name}: {schema:?}");
                    });
                }
            }
            let open = operation["security"] == json!([]);
            assert_eq!(
                open,
                ["/health", "/openapi.json", "/docs"].contains(&path.as_str()),
                "{path}"
            );
            assert_eq!(responses.contains_key("401"), !open, "{method} {path}");
        }
    }
    assert_eq!(operations, 23);
}

/// The contract's twelve (§8) and our own; a receiver knows what it can be sent, and no more.
#[test]
fn each_event_is_described_whole() {
    let document = kaphila::http::openapi::document();
    let webhooks = document["webhooks"].as_object().unwrap();
    let names: Vec<&str> = webhooks.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "amd.result",
            "call.answered",
            "call.ended",
            "call.incoming",
            "call.initiated",
            "dtmf.received",
            "dtmf.sent",
            "gather.complete",
            "gather.progress",
            "gather.started",
            "gather.timeout",
            "playback.finished",
            "recording.completed",
            "recording.started",
            "recording.stopped",
            "tts.played",
        ]
    );
    for (name, webhook) in webhooks {
        let post = &webhook["post"];
        assert!(!post["summary"].as_str().unwrap().is_empty(), "{name}");
        let headers = post["parameters"].as_array().unwrap().iter();
        let headers: Vec<&str> = headers.map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(headers, ["webhook-id", "webhook-timestamp", "webhook-signature"]);
        let schema = &post["requestBody"]["content"]["application/json"]["schema"];
        each_object(schema, &mut |schema| {
            assert_eq!(schema["additionalProperties"], false, "{name}: {schema:?}");
        });
        assert_eq!(schema["properties"]["event"]["const"], name.as_str());
        // What each has, whatever it tells.
        let required = schema["required"].as_array().unwrap();
        for member in ["callId", "timestamp", "event", "number", "to", "from", "callerId", "status"]
        {
            assert!(required.contains(&member.into()), "{name}: {member}");
        }
        assert!(!required.contains(&"metadata".into()), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_served_printed_and_readable_without_a_key() {
    let carrier = Carrier::on("127.0.0.1").await;
    let server = Server::start(&[&carrier], 5).await;
    let api = Api::of(&server).await;
    let served = send(api.bare(Method::GET, "/openapi.json")).await;
    assert_eq!((served.status.as_u16(), &served.body), (200, &kaphila::http::openapi::document()));
    let printed = Site::new().await.done(&["openapi"]).await;
    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), served.body);

    let page = api.bare(Method::GET, "/docs").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let text = page.text().await.unwrap();
    for path in served.body["paths"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("</span> {path}</code>")), "{path}");
    }
    for event in served.body["webhooks"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("</span> {event}</code>")), "{event}");
    }
    // It needs neither network nor script.
    for word in ["<script", "http://", "https://", "url("] {
        assert!(!text.contains(word), "{word}");
    }
    api.stop();
    server.ends_clean().await;
}
