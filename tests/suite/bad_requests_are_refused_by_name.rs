//! Whatever is wrong with a request is a 4xx in the envelope that names it, and places nothing.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, send};
use crate::support::carrier::Carrier;
use crate::support::server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_makecall() {
    let mut carrier = Carrier::on("127.0.0.1").await;
    let server = Server::start(&[&carrier], 5).await;
    let api = Api::of(&server).await;
    let big = "x".repeat(3_000);
    for (field, value, says) in [
        ("number", json!(true), "number must be a string of digits"),
        ("number", json!("12"), "number must have 3 to 15 digits"),
        ("number", json!("1415555@evil.example"), "number must be digits"),
        ("number", json!("123\r\nX: y"), "number must be digits"),
        ("number", json!("123;transport=tcp"), "number must be digits"),
        ("callerId", json!("<sip:x>"), "callerId must be digits"),
        ("webhookUrl", json!("ftp://example.com"), "webhookUrl"),
        ("webhookUrl", json!("not a url"), "webhookUrl"),
        ("webhookUrl", json!(7), "webhookUrl must be a string"),
        ("useAmd", json!("yes"), "useAmd must be true or false"),
        ("ringTimeout", json!(0), "ringTimeout must be a whole number between 1 and 300"),
        ("ringTimeout", json!(301), "ringTimeout must be"),
        ("ringTimeout", json!("30"), "ringTimeout must be"),
        ("voiceName", json!("klingon"), "voiceName"),
        ("record", json!(1), "record must be true or false"),
        ("recordEarlyMedia", json!(true), "recordEarlyMedia is not built yet"),
        ("recordingChannels", json!("stereo"), "recordingChannels must be mono or dual"),
        ("amdMode", json!("later"), "amdMode must be sync or async"),
        ("amd", json!({ "greeeting": 1 }), "amd.greeeting is not a parameter"),
        ("amd", json!({ "mode": "enhanced" }), "amd.mode"),
        ("amd", json!({ "greeting": 0 }), "greeting"),
        ("metadata", json!([1]), "metadata must be an object"),
        ("metadata", json!({ "a": big }), "2 KiB"),
        ("numbers", json!(["1", "2"]), "numbers"),
    ] {
        let mut body = json!({ "number": "14155550100" });
        body[field] = value;
        api.post("/makecall", body.clone()).await.refused(400, "INVALID_REQUEST", says);
        api.post("/batchcall", body).await.refused(400, "INVALID_REQUEST", says);
    }
    let denied = api.post("/makecall", json!({ "number": "112" })).await;
    denied.refused(403, "DESTINATION_DENIED", "not allowed");
    carrier.expect_nothing(50).await;
    assert_eq!(server.account().await.total_calls, 0);
    api.stop();
    server.ends_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_paths_and_methods() {
    let carrier = Carrier::on("127.0.0.1").await;
    let server = Server::start(&[&carrier], 5).await;
    let api = Api::of(&server).await;
    let raw = |body: &'static str| send(api.request(Method::POST, "/makecall").body(body));
    raw("{\"number\":").await.refused(400, "INVALID_REQUEST", "not valid JSON");
    raw("[]").await.refused(400, "INVALID_REQUEST", "must be a JSON object");
    raw("").await.refused(400, "INVALID_REQUEST", "number is required");
    let huge = "x".repeat((1 << 20) + 1);
    let huge = send(api.request(Method::POST, "/makecall").body(huge)).await;
    huge.refused(413, "BODY_TOO_LARGE", "larger than");
    let deep = format!("{{\"number\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = send(api.request(Method::POST, "/makecall").body(deep)).await;
    deep.refused(400, "INVALID_REQUEST", "not valid JSON");

    api.get("/nowhere").await.refused(404, "NOT_FOUND", "Not found");
    api.get("/makecall").await.refused(405, "METHOD_NOT_ALLOWED", "GET");
    api.post("/health", json!({})).await.refused(405, "METHOD_NOT_ALLOWED", "POST");
    let bare = send(api.bare(Method::GET, "/makecall")).await;
    bare.refused(405, "METHOD_NOT_ALLOWED", "GET");
    assert_eq!(bare.headers["allow"], "POST");
    for (path, field) in [
        ("/hangup", "callId"),
        ("/answer", "callId"),
        ("/voice", "callId"),
        ("/play", "callId"),
        ("/gather", "callId"),
        ("/stop", "callId"),
    ] {
        api.post(path, json!({})).await.refused(
            400,
            "INVALID_REQUEST",
            &format!("{field} is required"),
        );
        let unknown = json!({ "callId": "1.1", "text": "x", "file": "x" });
        let unknown =
            if path == "/gather" { json!({ "callId": "1.1", "text": "x" }) } else { unknown };
        api.post(path, unknown).await.refused(404, "CALL_NOT_FOUND", "not found");
    }
    api.post("/gather", json!({ "callId": "1.1", "text": "a", "file": "b" })).await.refused(
        400,
        "INVALID_REQUEST",
        "one, not both",
    );
    let dtmf = |digits: Value| json!({ "callId": "1.1", "digits": digits });
    api.post("/dtmf", dtmf(json!("12x"))).await.refused(400, "INVALID_REQUEST", "is not a digit");
    api.post("/dtmf", dtmf(json!(null))).await.refused(
        400,
        "INVALID_REQUEST",
        "digits is required",
    );
    api.post("/dtmf", dtmf(json!("12w3"))).await.refused(404, "CALL_NOT_FOUND", "not found");
    api.get("/calls/%ff").await.refused(400, "INVALID_REQUEST", "path");
    api.stop();
    server.ends_clean().await;
}

/// The same key and body place one call; another body is a conflict.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_places_one_call() {
    let mut carrier = Carrier::on("127.0.0.1").await;
    let server = Server::start(&[&carrier], 5).await;
    let api = Api::of(&server).await;
    let post = |number: &'static str| {
        let request = api.request(Method::POST, "/makecall").header("idempotency-key", "order-7");
        tokio::spawn(send(request.json(&json!({ "number": number, "record": false }))))
    };
    let first = post("14155550100");
    let invite = carrier.expect("INVITE").await;
    let second = post("14155550100");
    carrier.answer(&invite, "180 Ringing", "", "").await;
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((first.status, second.status), (200.try_into().unwrap(), 200.try_into().unwrap()));
    assert_eq!(first.body, second.body);
    assert_eq!(post("14155550100").await.unwrap().body, first.body);
    post("14155550199").await.unwrap().refused(409, "IDEMPOTENCY_CONFLICT", "another request");
    carrier.expect_nothing(50).await;
    let id = first.body["callId"].as_str().unwrap();
    assert_eq!(api.post("/hangup", json!({ "callId": id })).await.status, 200);
    let cancel = carrier.expect("CANCEL").await;
    carrier.answer(&cancel, "200 OK", "", "").await;
    carrier.answer(&invite, "487 Request Terminated", "", "").await;
    carrier.expect("ACK").await;
    api.stop();
    server.ends_clean().await;
}
