//! The REST API of a server, over real HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kaphila::call::WebhookPolicy;
use kaphila::http::serve::Listener;
use kaphila::http::{self, App};
use kaphila::store::{Millis, NewKey};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::document;
use super::server::Server;

/// A client with a key.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    address: SocketAddr,
    key: String,
    stop: CancellationToken,
}

/// An answer: status, headers, and its JSON.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Api {
    /// Serves `server` and returns a client with its key.
    pub(crate) async fn of(server: &Server) -> Self {
        // The first test of the program installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.address;
        let app = App {
            calls: server.calls.clone(),
            store: server.store.clone(),
            recordings: server.folder.path().into(),
            max_body: 1 << 20,
            webhooks: WebhookPolicy { allow_http: true, allow_private: true },
            ring_timeout: Duration::from_secs(30),
            amd: kaphila_media::amd::Params::default(),
            speech: "local",
            trusted_proxies: Arc::default(),
            answering: http::Answering::default(),
        };
        let stop = CancellationToken::new();
        tokio::spawn(listener.serve(http::router(app), stop.clone()));
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(15)).build().unwrap();
        Self { client, address, key: server.key.clone(), stop }
    }

    /// The same API with another key: `credits`, `rate_limit` and trunks as said.
    pub(crate) async fn another(
        &self,
        server: &Server,
        credits: i64,
        limit: i64,
        trunks: &[&str],
    ) -> Self {
        let trunks = trunks.iter().map(ToString::to_string).collect();
        let key = NewKey { name: "another".into(), credits, rate_limit: limit, trunks };
        let secrets = server.store.create_key(key, Millis::wall_clock()).await.unwrap();
        self.with_key(&secrets.key)
    }

    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// A request with the key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.key)
    }

    /// A request without a key.
    pub(crate) fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) const fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}

/// The answer to a request; its body must be JSON or nothing.
pub(crate) async fn send(request: RequestBuilder) -> Reply {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let (method, path) = (request.method().to_string(), request.url().path().to_owned());
    let response = client.execute(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    document::check(&method, &path, status.as_u16(), &text);
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    Reply { status, headers, body }
}

impl Reply {
    /// It is this refusal, in the envelope.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str, error: &str) {
        assert_eq!(self.status, status, "{:#}", self.body);
        assert_eq!(self.body["success"], false);
        assert_eq!(self.body["code"], code, "{:#}", self.body);
        let text = self.body["error"].as_str().unwrap();
        assert!(text.contains(error), "`{text}` does not say `{error}`");
        assert!(self.body["requestId"].as_str().unwrap().starts_with("req_"));
        assert_eq!(self.headers["x-request-id"], self.body["requestId"].as_str().unwrap());
    }

    /// It is a 200 with every member of the documentation's `example`, each of its type.
    #[track_caller]
    pub(crate) fn like(&self, example: &str) -> &Value {
        assert_eq!(self.status, 200, "{:#}", self.body);
        let example: Value = serde_json::from_str(example).unwrap();
        same_shape(&example, &self.body, "");
        &self.body
    }
}

/// Every member of `example` is in `actual` with the same type; lists are compared by their first.
#[track_caller]
pub(crate) fn same_shape(example: &Value, actual: &Value, at: &str) {
    match (example, actual) {
        (Value::Object(members), Value::Object(found)) => {
            for (name, value) in members {
                let at = format!("{at}.{name}");
                let found = found.get(name).unwrap_or_else(|| panic!("{at} is missing"));
                same_shape(value, found, &at);
            }
        }
        (Value::Array(items), Value::Array(found)) => {
            if let Some(item) = items.first() {
                let found = found.first().unwrap_or_else(|| panic!("{at} is empty"));
                same_shape(item, found, at);
            }
        }
        (Value::Null, _) => {}
        _ => assert_eq!(
            std::mem::discriminant(example),
            std::mem::discriminant(actual),
            "{at}: {actual} is not of the type of {example}"
        ),
    }
}
