//! `Idempotency-Key`: one call and one answer, however many ask at once, through `kill -9` too.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, send};
use crate::support::exchange::{Callee, Exchange};
use crate::support::http;
use crate::support::program::{Site, eventually};
use crate::support::server::Server;

/// The call ends at once: its answer is under way when it is over already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once() {
    const ROUNDS: usize = 8;
    for callee in [Callee::Busy, Callee::IsFull] {
        let carrier = Exchange::of(callee, "127.0.0.1").await;
        let server = Server::at(&[carrier.address], 50, |_| {}).await;
        let api = Api::of(&server).await.another(&server, 50, 100_000, &["trunk-0"]).await;
        for round in 0..ROUNDS {
            let token = format!("order-{round}");
            let ask = |number: &'static str| {
                let request =
                    api.request(Method::POST, "/makecall").header("idempotency-key", &token);
                tokio::spawn(send(request.json(&json!({ "number": number, "record": false }))))
            };
            let mut answers = join_all((0..20).map(|_| ask("14155550100"))).await;
            // A refusal has the id of its own request.
            for answer in answers.iter_mut().flatten() {
                answer.body.as_object_mut().unwrap().remove("requestId");
            }
            let first = answers[0].as_ref().unwrap();
            assert!([200, 500].contains(&first.status.as_u16()), "{first:?}");
            for answer in &answers {
                let answer = answer.as_ref().unwrap();
                assert_eq!((answer.status, &answer.body), (first.status, &first.body));
            }
            let replayed = |it: &&Result<_, _>| {
                let reply: &crate::support::api::Reply = it.as_ref().unwrap();
                reply.headers.contains_key("idempotency-replayed")
            };
            assert_eq!(answers.iter().filter(replayed).count(), 19);
            assert_eq!(carrier.legs().len(), round + 1, "one INVITE");
            let other = ask("14155550199").await.unwrap();
            other.refused(409, "IDEMPOTENCY_CONFLICT", "another request");
            let mut again = ask("14155550100").await.unwrap().body;
            again.as_object_mut().unwrap().remove("requestId");
            assert_eq!(again, first.body);
        }
        assert_eq!(carrier.legs().len(), ROUNDS);
        api.stop();
        server.ends_clean().await;
    }
}

/// Its call is placed all the same, and who asks again is told of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_its_client_went_away() {
    let carrier = Exchange::of(Callee::Tries, "127.0.0.1").await;
    let server = Server::at(&[carrier.address], 50, |_| {}).await;
    let api = Api::of(&server).await;
    let request = || {
        let request = api.request(Method::POST, "/makecall").header("idempotency-key", "order-7");
        request.json(&json!({ "number": "14155550100", "record": false }))
    };
    // The answer comes a second after the 100.
    let impatient = request().timeout(std::time::Duration::from_millis(400)).send().await;
    assert!(impatient.unwrap_err().is_timeout());
    let again = join_all((0..3).map(|_| send(request()))).await;
    let call = &again[0].body["callId"];
    assert!(call.is_string(), "{again:?}");
    for answer in &again {
        assert_eq!((answer.status.as_u16(), &answer.body["callId"]), (200, call), "{answer:?}");
        assert_eq!(answer.body["status"], "ringing");
    }
    assert_eq!(carrier.legs().len(), 1);
    assert_eq!(api.post("/hangup", json!({ "callId": call })).await.status, 200);
    api.stop();
    server.ends_clean().await;
}

async fn ask(port: u16, key: &str, token: &str, body: &Value) -> std::io::Result<(u16, Value)> {
    let body = body.to_string();
    let text = format!(
        "POST /makecall HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\
         Idempotency-Key: {token}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = http::converse(port, text.as_bytes()).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
    Ok((status, serde_json::from_str(body)?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash() {
    let carrier = Exchange::start("127.0.0.1").await;
    let site = Site::with_trunks(&[carrier.address]).await;
    let serving = site.serve(&[]).await;
    let answered = json!({ "number": Callee::Busy.number(1), "record": false });
    let (status, first) = ask(site.http, &site.key, "answered", &answered).await.unwrap();
    assert_eq!(status, 200);
    // This one is not answered while the server lives.
    let unanswered = json!({ "number": Callee::IsDead.number(2), "record": false });
    let (port, key) = (site.http, site.key.clone());
    let asked = tokio::spawn({
        let unanswered = unanswered.clone();
        async move { ask(port, &key, "unanswered", &unanswered).await }
    });
    eventually(5, "the INVITE", async || carrier.leg(&Callee::IsDead.number(2)).is_some()).await;
    serving.kill().await;
    assert!(asked.await.unwrap().is_err(), "no answer");

    let _serving = site.serve(&[]).await;
    let again = ask(site.http, &site.key, "answered", &answered).await.unwrap();
    assert_eq!(again, (200, first));
    let (status, known) = ask(site.http, &site.key, "unanswered", &unanswered).await.unwrap();
    assert_eq!(status, 200, "{known}");
    assert_eq!(known["status"], "failed", "{known}");
    assert_eq!(known["endReason"], "server_shutdown", "{known}");
    let mut database = site.database().await;
    let stored: Vec<String> = sqlx::query_scalar("SELECT call_id FROM calls WHERE number = $1")
        .bind(Callee::IsDead.number(2))
        .fetch_all(&mut database)
        .await
        .unwrap();
    assert_eq!(stored, [known["callId"].as_str().unwrap()]);
    let second = ask(site.http, &site.key, "unanswered", &unanswered).await.unwrap().1;
    assert_eq!(second["callId"], known["callId"]);
    let other = json!({ "number": Callee::Busy.number(3) });
    for token in ["answered", "unanswered"] {
        let (status, refusal) = ask(site.http, &site.key, token, &other).await.unwrap();
        assert_eq!((status, &refusal["code"]), (409, &json!("IDEMPOTENCY_CONFLICT")));
    }
    let dialled = carrier.legs();
    assert_eq!(dialled.len(), 2, "one INVITE each: {dialled:?}");
    site.books_are_right().await;
}
