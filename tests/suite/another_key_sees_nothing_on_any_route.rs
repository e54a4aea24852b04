//! Every route × another key's calls, recordings, lists, filters and idempotency keys: the answer
//! is what it was before any of it existed, and nothing of it is touched. A route that is not in
//! [`attempts`] fails the test.

use kaphila::store::Millis;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, Reply, send};
use crate::support::carrier::{Carrier, Message};
use crate::support::server::Server;

/// Method and path of every route, as the router declares them.
fn routes() -> Vec<(Method, String)> {
    // The router is made of what the document lists, and of nothing else.
    let document = kaphila::http::openapi::document();
    let paths = document["paths"].as_object().unwrap().clone();
    let routes = paths.into_iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().clone();
        methods
            .into_iter()
            .map(move |(method, _)| (method.to_uppercase().parse().unwrap(), path.clone()))
    });
    routes.collect()
}

/// What is tried to be reached: a call and the file of its recording.
#[derive(Clone, Debug)]
struct Target {
    call_id: String,
    filename: String,
    key_id: String,
}

/// A request that a stranger tries.
#[derive(Clone, Debug)]
struct Attempt {
    method: Method,
    path: String,
    body: Option<Value>,
    idempotency: bool,
}

const IDEMPOTENCY_KEY: &str = "order-7";

/// What the other key sent with [`IDEMPOTENCY_KEY`].
fn placing() -> Value {
    json!({ "number": "14155550101", "callerId": "19172450001", "metadata": { "order": "secret-7" },
            "webhookUrl": "http://127.0.0.1:1/hooks" })
}

/// Every way in which a route may be asked for a target.
fn attempts(method: &Method, path: &str, target: &Target) -> Vec<Attempt> {
    let Target { call_id, filename, key_id } = target;
    let attempt = |path: String, body: Option<Value>| Attempt {
        method: method.clone(),
        path,
        body,
        idempotency: false,
    };
    let post = |body: Value| vec![attempt(path.to_owned(), Some(body))];
    let filters = || {
        json!({ "callId": call_id, "call_id": call_id, "keyId": key_id, "key_id": key_id,
                "apiKey": 1, "status": "answered" })
    };
    match (method.as_str(), path) {
        // Public, and the same for all.
        ("GET", "/health" | "/openapi.json" | "/docs") => vec![],
        ("POST", "/makecall" | "/batchcall") => [placing(), json!({ "number": "14155550199" })]
            .map(|body| Attempt { idempotency: true, ..attempt(path.to_owned(), Some(body)) })
            .to_vec(),
        ("POST", "/hangup" | "/answer" | "/stop") => post(json!({ "callId": call_id })),
        ("POST", "/voice" | "/gather") => post(json!({ "callId": call_id, "text": "x" })),
        ("POST", "/play") => post(json!({ "callId": call_id, "file": "x" })),
        ("POST", "/dtmf") => post(json!({ "callId": call_id, "digits": "1" })),
        ("GET", "/calls" | "/recordings" | "/api/me") => {
            let query = format!("{path}?callId={call_id}&keyId={key_id}&file={filename}");
            vec![attempt(path.to_owned(), None), attempt(query, None)]
        }
        (
            "GET" | "POST",
            "/calls/{call_id}"
            | "/recordings/{call_id}"
            | "/recordings/{call_id}/download"
            | "/recordings/{call_id}/stop",
        ) => vec![attempt(path.replace("{call_id}", call_id), None)],
        ("GET", "/recordings/file/{filename}/download") => {
            vec![attempt(path.replace("{filename}", filename), None)]
        }
        ("POST", "/api/dashboard" | "/api/call-logs" | "/api/analytics") => {
            [post(json!({})), post(filters())].concat()
        }
        _ => panic!("{method} {path} is not in the matrix of another key's things"),
    }
}

/// Whether an attempt names a thing that a stranger must be told does not exist.
fn names_a_thing(attempt: &Attempt, target: &Target) -> bool {
    let path = attempt.path.split('?').next().unwrap();
    let in_path = path.contains(&target.call_id) || path.contains(&target.filename);
    let lists = path.starts_with("/api/");
    in_path || !lists && attempt.body.as_ref().is_some_and(|it| it["callId"] != Value::Null)
}

async fn try_it(api: &Api, attempt: &Attempt) -> Reply {
    let mut request = api.request(attempt.method.clone(), &attempt.path);
    if let Some(body) = &attempt.body {
        request = request.json(body);
    }
    if attempt.idempotency {
        request = request.header("idempotency-key", IDEMPOTENCY_KEY);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    // A recording that is given away is no JSON.
    let bytes = response.bytes().await.unwrap();
    let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    Reply { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_else(|_| text()) }
}

/// An answer without what differs from one request to the next.
fn seen(mut reply: Reply, target: &Target) -> String {
    fn without_times(value: &mut Value) {
        match value {
            Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => {
                *value = json!("time")
            }
            Value::Object(members) => {
                members.remove("requestId");
                members.values_mut().for_each(without_times);
            }
            Value::Array(items) => items.iter_mut().for_each(without_times),
            _ => {}
        }
    }
    for name in ["x-request-id", "date", "content-length", "ratelimit-remaining", "ratelimit-reset"]
    {
        reply.headers.remove(name);
    }
    without_times(&mut reply.body);
    format!("{} {:?} {}", reply.status, reply.headers, reply.body)
        .replace(&target.filename, "(file)")
        .replace(&target.call_id, "(call)")
}

/// Every attempt on every route, and what was seen. A GET is tried as a HEAD too.
async fn try_all(api: &Api, target: &Target) -> Vec<(Attempt, String)> {
    let mut all = Vec::new();
    let mut routes = routes();
    // What ends the call comes last.
    routes.sort_by_key(|(_, path)| path == "/hangup");
    for (method, path) in routes {
        for attempt in attempts(&method, &path, target) {
            if method == Method::GET {
                let head = Attempt { method: Method::HEAD, ..attempt.clone() };
                all.push((head.clone(), seen(try_it(api, &head).await, target)));
            }
            all.push((attempt.clone(), seen(try_it(api, &attempt).await, target)));
        }
    }
    all
}

/// Calls of the key that everything is kept from the other for.
struct Victim {
    ended: Target,
    answered: Target,
    ringing: Target,
    invites: [Message; 2],
}

async fn call(carrier: &mut Carrier, server: &mut Server, api: &Api, at: u32) -> (Target, Message) {
    let mut body = placing();
    body["number"] = format!("1415555010{at}").into();
    let request = api.request(Method::POST, "/makecall").json(&body);
    let token = if at == 1 { IDEMPOTENCY_KEY.to_owned() } else { format!("another-{at}") };
    let request = request.header("idempotency-key", token);
    let placing = tokio::spawn(send(request));
    let invite = carrier.expect("INVITE").await;
    server.event("call.initiated").await;
    carrier.answer(&invite, "180 Ringing", "", "").await;
    let placed = placing.await.unwrap().body;
    let call_id = placed["callId"].as_str().unwrap().to_owned();
    let key_id = server.auth.key_id.clone();
    (Target { call_id, filename: "none.wav".to_owned(), key_id }, invite)
}

async fn answer(carrier: &mut Carrier, server: &mut Server, target: &mut Target, invite: &Message) {
    carrier.accept(invite).await;
    carrier.expect("ACK").await;
    server.event("call.answered").await;
    let recording = server.event("recording.started").await;
    target.filename = recording["filename"].as_str().unwrap().to_owned();
}

impl Victim {
    async fn of(carrier: &mut Carrier, server: &mut Server, api: &Api) -> Self {
        let (mut ended, invite) = call(carrier, server, api, 1).await;
        answer(carrier, server, &mut ended, &invite).await;
        carrier.bye(&invite).await;
        carrier.expect("SIP/2.0").await;
        server.event("recording.completed").await;
        server.event("call.ended").await;
        let (mut answered, talking) = call(carrier, server, api, 2).await;
        answer(carrier, server, &mut answered, &talking).await;
        let gather = json!({ "callId": answered.call_id, "text": "pin", "timeout": 60_000 });
        assert_eq!(api.post("/gather", gather).await.status, 200);
        server.event("gather.started").await;
        let (ringing, early) = call(carrier, server, api, 3).await;
        Self { ended, answered, ringing, invites: [talking, early] }
    }

    fn all(&self) -> [&Target; 3] {
        [&self.ended, &self.answered, &self.ringing]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_another_key_is_seen_or_touched_on_any_route() {
    let mut carrier = Carrier::on("127.0.0.1").await;
    let mut server = Server::start(&[&carrier], 50).await;
    let api = Api::of(&server).await;
    let stranger = api.another(&server, 5, 1_000, &[]).await;
    let nothing = Target {
        call_id: format!("{}.77", Millis::wall_clock().unix_seconds()),
        filename: "call-1.1-1.wav".to_owned(),
        key_id: "key_0000000000".to_owned(),
    };
    // The first request of all leaves its time in the account.
    try_all(&stranger, &nothing).await;
    let before = try_all(&stranger, &nothing).await;

    let victim = Victim::of(&mut carrier, &mut server, &api).await;
    for target in victim.all() {
        let after = try_all(&stranger, target).await;
        assert_eq!(before.len(), after.len());
        for ((attempt, after), (_, before)) in after.iter().zip(&before) {
            assert_eq!(after, before, "{attempt:?} tells of another key's call");
            if names_a_thing(attempt, target) {
                assert!(after.starts_with("404"), "{attempt:?}: {after}");
            }
        }
    }
    println!("R6: {} routes, {} requests for each of 3 calls", routes().len(), before.len());
    let health = send(api.bare(Method::GET, "/health")).await.body.to_string();
    for target in victim.all() {
        assert!(!health.contains(&target.call_id) && !health.contains(&target.key_id));
    }

    // Nothing was touched.
    carrier.expect_nothing(50).await;
    let live = api.get(&format!("/calls/{}", victim.answered.call_id)).await.body;
    assert_eq!(live["status"], "answered");
    assert_eq!(live["gather"]["digits"], "", "{live:#}");
    assert_eq!(live["recording"]["active"], true);
    let ringing = api.get(&format!("/calls/{}", victim.ringing.call_id)).await.body;
    assert_eq!(ringing["status"], "ringing");

    // The same requests reach it with its own key: it was not their form that kept it hidden.
    for ((attempt, own), (_, before)) in
        try_all(&api, &victim.answered).await.iter().zip(&before).filter(|((attempt, _), _)| {
            // Of a HEAD only the length would differ.
            attempt.method != Method::HEAD || names_a_thing(attempt, &victim.answered)
        })
    {
        assert_ne!(own, before, "{attempt:?} tells its owner nothing");
    }

    let [_, early] = &victim.invites;
    let bye = carrier.expect("BYE").await;
    carrier.answer(&bye, "200 OK", "", "").await;
    let ringing = json!({ "callId": victim.ringing.call_id });
    assert_eq!(api.post("/hangup", ringing).await.status, 200);
    let cancel = carrier.expect("CANCEL").await;
    carrier.answer(&cancel, "200 OK", "", "").await;
    carrier.answer(early, "487 Request Terminated", "", "").await;
    carrier.expect("ACK").await;
    api.stop();
    server.ends_clean().await;
}

/// Without a key, or with one that is none, every route but the public ones is 401.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_there_is_nothing_at_all() {
    let carrier = Carrier::on("127.0.0.1").await;
    let server = Server::start(&[&carrier], 5).await;
    let api = Api::of(&server).await;
    let target = Target {
        call_id: "1.1".to_owned(),
        filename: "call-1.1-1.wav".to_owned(),
        key_id: server.auth.key_id.clone(),
    };
    for (method, path) in routes() {
        for attempt in attempts(&method, &path, &target) {
            let bare = send(api.bare(method.clone(), &attempt.path).body("{")).await;
            bare.refused(401, "UNAUTHORIZED", "Missing API key");
            let wrong = api.with_key("ak_ffffffffffffffffffffffffffffffffffffffff");
            assert_eq!(try_it(&wrong, &attempt).await.status, 401, "{attempt:?}");
        }
    }
    api.stop();
    server.ends_clean().await;
}
