//! Every example of the documented API that is built: fields, types and codes, over real HTTP, with
//! a carrier whose bytes are written by hand.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, same_shape, send};
use crate::support::carrier::{Carrier, Message};
use crate::support::server::Server;

const PLACED: &str = r#"{
  "success": true, "callId": "1720012345.88", "status": "ringing", "amdEnabled": true,
  "voiceName": "en-US-Neural2-A", "credits": 49, "ringTimeoutSeconds": 30,
  "trunk": "mycarrier-endpoint", "trunkAttempts": 1, "totalTrunks": 3,
  "timestamp": "2026-02-17T10:24:51.001Z" }"#;

/// A server with one carrier, and its API.
async fn served() -> (Carrier, Server, Api) {
    let carrier = Carrier::on("127.0.0.1").await;
    let server = Server::start(&[&carrier], 50).await;
    let api = Api::of(&server).await;
    (carrier, server, api)
}

/// Places a call that is answered; its id and INVITE.
async fn answered(
    carrier: &mut Carrier,
    server: &mut Server,
    api: &Api,
    body: Value,
) -> (String, Message) {
    let placing = tokio::spawn({
        let api = api.clone();
        async move { api.post("/makecall", body).await }
    });
    let invite = carrier.expect("INVITE").await;
    server.event("call.initiated").await;
    carrier.answer(&invite, "180 Ringing", "", "").await;
    let reply = placing.await.unwrap();
    let id = reply.like(PLACED)["callId"].as_str().unwrap().to_owned();
    carrier.accept(&invite).await;
    carrier.expect("ACK").await;
    server.event("call.answered").await;
    server.event("recording.started").await;
    (id, invite)
}

fn call() -> Value {
    json!({ "number": "14155550100", "webhookUrl": "http://127.0.0.1:1/hooks" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_needs_no_key() {
    let (_carrier, server, api) = served().await;
    let reply = send(api.bare(Method::GET, "/health")).await;
    let body = reply.like(
        r#"{ "status": "healthy", "service": "Kaphila API Telephony API", "version": "2.0.0",
             "timestamp": "2026-02-17T10:20:30.000Z", "stats": { "activeCalls": 0 },
             "features": { "recording": "bridge-only", "amd": "enhanced",
                           "tts": "google-cloud-fallback-gtts", "playback": "bridge-safe" } }"#,
    );
    assert_eq!(body["status"], "healthy");
    assert_eq!(body["service"], "Kaphila API Telephony API");
    assert_eq!(body["version"], "2.0.0");
    assert_eq!(body["features"]["tts"], "local");
    server.ends_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_and_everything_that_is_done_with_it() {
    let (mut carrier, mut server, api) = served().await;
    let mut body = call();
    body["callerId"] = "19172452367".into();
    body["ringTimeout"] = 20.into();
    body["metadata"] = json!({ "order": 7 });
    let (id, _) = answered(&mut carrier, &mut server, &api, body).await;

    let listed = api.get("/calls").await;
    let listed = listed.like(
        r#"{ "success": true, "totalCalls": 1, "activeCalls": 1, "calls": [ {
             "callId": "1720012345.88", "status": "answered", "number": "14155550100",
             "amd": null, "gather": null,
             "recording": { "active": true, "filename": "call-1.wav", "recordingId": "call-1", "method": "bridge" },
             "voiceName": "en-US-Neural2-A", "hasBridge": true } ],
             "timestamp": "2026-02-17T10:30:00.000Z" }"#,
    );
    assert_eq!(listed["calls"][0]["metadata"]["order"], 7);
    let one = api.get(&format!("/calls/{id}")).await;
    let one = one.like(
        r#"{ "success": true, "callId": "1720012345.88", "status": "answered",
             "number": "14155550100", "amd": null,
             "recording": { "active": true, "filename": "c.wav", "recordingId": "c", "method": "bridge" },
             "hasBridge": true, "hasSnoop": false }"#,
    );
    assert_eq!((&one["callId"], &one["status"]), (&json!(id), &json!("answered")));

    let voice =
        api.post("/voice", json!({ "callId": id, "text": "Hello", "playTo": "channel" })).await;
    let voice = voice.like(
        r#"{ "success": true, "message": "TTS played successfully", "text": "Hello",
             "playbackId": "tts-1", "method": "bridge" }"#,
    );
    assert_eq!(voice["message"], "TTS played successfully");
    assert_eq!((&voice["text"], &voice["method"]), (&json!("Hello"), &json!("channel")));
    assert!(voice["playbackId"].as_str().unwrap().starts_with(&format!("tts-{id}-")));

    let play = api.post("/play", json!({ "callId": id, "file": "custom/welcome" })).await;
    let play = play.like(
        r#"{ "success": true, "message": "", "file": "custom/welcome", "playbackId": "p", "method": "bridge" }"#,
    );
    assert_eq!(play["message"], "Audio file played: custom/welcome");
    assert!(play["playbackId"].as_str().unwrap().starts_with(&format!("play-{id}-")));

    let gather =
        json!({ "callId": id, "text": "Enter 4 digit pin", "numDigits": 4, "timeout": 12000 });
    let gathering = api.post("/gather", gather.clone()).await;
    let gathering = gathering.like(
        r#"{ "success": true, "message": "", "callId": "1", "expectedDigits": 4, "timeoutMs": 12000 }"#,
    );
    assert_eq!(gathering["message"], "Gathering 4 digits with 12000ms timeout");
    assert_eq!(
        (&gathering["expectedDigits"], &gathering["timeoutMs"]),
        (&json!(4), &json!(12_000))
    );
    api.post("/gather", gather).await.refused(400, "GATHER_IN_PROGRESS", "already in progress");
    let stopped = api.post("/stop", json!({ "callId": id })).await;
    assert!(stopped.like(r#"{ "success": true, "message": "", "callId": "1", "stopped": 2 }"#)["stopped"].as_u64() >= Some(1));

    let hangup = api.post("/hangup", json!({ "callId": id })).await;
    let hangup = hangup.like(r#"{ "success": true, "message": "", "callId": "1" }"#);
    assert_eq!(hangup["message"], format!("Call {id} terminated"));
    api.post("/hangup", json!({ "callId": id })).await.refused(404, "CALL_NOT_FOUND", "not found");
    api.get(&format!("/calls/{id}")).await.refused(404, "CALL_NOT_FOUND", "not found");
    let bye = carrier.expect("BYE").await;
    carrier.answer(&bye, "200 OK", "", "").await;

    let me = api.get("/api/me").await;
    let me = me.like(
        r#"{ "success": true, "apiKey": { "id": 12, "keyId": "key_98aa10cd11", "name": "Campaign API",
             "credits": 78, "totalCalls": 340, "successfulCalls": 301, "rateLimit": 200,
             "createdAt": "2025-12-01T00:00:00.000Z", "lastUsed": "2026-02-17T10:30:11.000Z" } }"#,
    );
    assert_eq!((&me["apiKey"]["credits"], &me["apiKey"]["totalCalls"]), (&json!(49), &json!(1)));
    api.stop();
    server.ends_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recordings_and_the_last_event() {
    let (mut carrier, mut server, api) = served().await;
    let (id, invite) = answered(&mut carrier, &mut server, &api, call()).await;

    let active = api.get(&format!("/recordings/{id}")).await;
    let active = active.like(
        r#"{ "success": true, "callId": "1", "recordingId": "call-1", "filename": "call-1.wav", "active": true }"#,
    );
    assert_eq!(active["active"], true);
    let filename = active["filename"].as_str().unwrap().to_owned();
    assert!(filename.starts_with(&format!("call-{id}-")) && filename.ends_with(".wav"));
    let listed = api.get("/recordings").await;
    listed.like(
        r#"{ "success": true, "files": [],
             "active": [ { "callId": "1", "filename": "c.wav", "recordingId": "c", "active": true } ] }"#,
    );
    let stopped = api.post(&format!("/recordings/{id}/stop"), json!({})).await;
    let stopped = stopped
        .like(r#"{ "success": true, "message": "", "filename": "c.wav", "recordingId": "c" }"#);
    assert_eq!(stopped["message"], "Recording stopped successfully");
    server.event("recording.stopped").await;
    let completed = server.event("recording.completed").await;
    api.post(&format!("/recordings/{id}/stop"), json!({})).await.refused(
        404,
        "RECORDING_NOT_FOUND",
        "",
    );
    carrier.bye(&invite).await;
    carrier.expect("SIP/2.0").await;

    let ended = server.event("call.ended").await;
    let example = json!({
        "callId": "1720012345.88", "timestamp": "2026-02-17T10:22:11.233Z", "event": "call.ended",
        "status": "completed", "endReason": "normal_hangup", "hangupCause": "16",
        "wasAnswered": true, "amd": null,
        "recording": { "filename": "c.wav", "recordingId": "c", "active": false },
        "callDuration": 43
    });
    same_shape(&example, &ended, "");
    assert_eq!(
        (&ended["status"], &ended["endReason"]),
        (&json!("completed"), &json!("normal_hangup"))
    );
    assert_eq!((&ended["hangupCause"], &ended["wasAnswered"]), (&json!("16"), &json!(true)));

    let listed = api.get("/recordings").await;
    let listed = listed.like(
        r#"{ "success": true, "active": [],
             "files": [ { "filename": "c.wav", "size": 114320, "createdAt": "2026-02-17T10:29:58.000Z" } ] }"#,
    );
    assert_eq!(listed["files"][0]["size"], completed["size"]);
    for path in
        [format!("/recordings/{id}/download"), format!("/recordings/file/{filename}/download")]
    {
        let file = api.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(file.status(), 200);
        assert_eq!(file.headers()["content-type"], "audio/wav");
        let etag = file.headers()["etag"].clone();
        let bytes = file.bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, completed["size"].as_u64().unwrap());
        assert_eq!(&bytes[..4], b"RIFF");
        let part =
            api.request(Method::GET, &path).header("range", "bytes=0-43").send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.headers()["content-range"], format!("bytes 0-43/{}", bytes.len()));
        assert_eq!(part.bytes().await.unwrap(), bytes[..44]);
        let beyond = api
            .request(Method::GET, &path)
            .header("range", "bytes=99999999-")
            .send()
            .await
            .unwrap();
        assert_eq!(beyond.status(), 416);
        assert_eq!(beyond.headers()["content-range"], format!("bytes */{}", bytes.len()));
        let head = api.request(Method::HEAD, &path).header("range", "bytes=0-43");
        assert_eq!(head.send().await.unwrap().status(), 200, "RFC 9110 §14.2");
        let same =
            api.request(Method::GET, &path).header("if-none-match", etag).send().await.unwrap();
        assert_eq!(same.status(), 304);
        let head = api.request(Method::HEAD, &path).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], bytes.len().to_string());
        assert!(head.bytes().await.unwrap().is_empty());
    }
    for bad in ["x.mp3", "..%2Fkaphila.db", "a%5Cb.wav"] {
        let path = format!("/recordings/file/{bad}/download");
        api.get(&path).await.refused(400, "INVALID_REQUEST", "filename");
    }
    api.get("/recordings/file/call-9.9-9.wav/download").await.refused(
        404,
        "RECORDING_NOT_FOUND",
        "",
    );
    api.stop();
    server.ends_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_has_the_documented_code() {
    let (mut carrier, server, api) = served().await;
    // 401
    send(api.bare(Method::GET, "/calls")).await.refused(401, "UNAUTHORIZED", "Missing API key");
    api.with_key("ak_wrong").get("/calls").await.refused(401, "UNAUTHORIZED", "Invalid API key");
    // 400
    api.post("/makecall", json!({})).await.refused(400, "INVALID_REQUEST", "number is required");
    // 402
    let poor = api.another(&server, 0, 100, &["trunk-0"]).await;
    poor.post("/makecall", call()).await.refused(
        402,
        "INSUFFICIENT_CREDITS",
        "Insufficient credits",
    );
    let mut poor_of_many = Vec::new();
    for trunk in ["trunk-0", "other"] {
        let settings =
            kaphila::store::TrunkSettings::new(trunk, format!("sip:{}", carrier.address()));
        let settings = kaphila::store::TrunkSettings { max_cps: Some(1), ..settings };
        server.store.put_trunk(settings, kaphila::store::Millis::wall_clock()).await.unwrap();
        poor_of_many.push(trunk);
    }
    let poor = api.another(&server, 0, 100, &poor_of_many).await;
    for _ in 0..3 {
        // A refused placing uses up nothing of the trunks' calls per second.
        poor.post("/makecall", call()).await.refused(402, "INSUFFICIENT_CREDITS", "");
    }
    // 429
    let slow = api.another(&server, 5, 1, &["trunk-0"]).await;
    slow.post("/hangup", json!({ "callId": "1.1" })).await.refused(404, "CALL_NOT_FOUND", "");
    let limited = slow.post("/makecall", call()).await;
    limited.refused(429, "RATE_LIMIT", "Rate limit exceeded");
    assert_eq!(limited.headers["ratelimit-limit"], "1");
    assert_eq!(limited.headers["ratelimit-remaining"], "0");
    assert!(limited.headers.contains_key("retry-after"));
    // 503
    let stranded = api.another(&server, 5, 100, &[]).await;
    let no_trunks = stranded.post("/makecall", call()).await;
    no_trunks.refused(503, "NO_TRUNKS", "No trunks assigned");
    assert!(no_trunks.headers.contains_key("retry-after"));
    // 500
    let placing = tokio::spawn({
        let api = api.clone();
        async move { api.post("/makecall", call()).await }
    });
    let invite = carrier.expect("INVITE").await;
    carrier.answer(&invite, "503 Service Unavailable", "", "").await;
    carrier.expect("ACK").await;
    let failed = placing.await.unwrap();
    assert_eq!(failed.status, 500);
    let example = json!({
        "success": false, "error": "All trunk originate attempts failed",
        "code": "ORIGINATION_FAILED", "attemptedTrunks": ["a-endpoint"], "totalTrunks": 2
    });
    same_shape(&example, &failed.body, "");
    assert_eq!(failed.body["attemptedTrunks"], json!(["trunk-0"]));
    assert_eq!(failed.body["error"], "All trunk originate attempts failed");
    assert!(failed.body["callId"].is_string());
    api.stop();
    server.ends_clean().await;
}
