//! What is said of every request: a log line for the operator, headers for the client's browser.
//!
//! A line has the method, the route (not the path, which can hold a number), the status and how
//! long it took; never the body, never a key.
#![allow(clippy::disallowed_methods, reason = "a driver: measures how long requests take")]

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::Response;
use ipnet::IpNet;

use super::serve::Origin;
use crate::store::RateDecision;

/// What handlers find out about a request, for its headers and its line.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Where its key stands in its hour.
    pub(super) rate: OnceLock<RateDecision>,
    /// The public name of its key.
    pub(super) key_id: OnceLock<String>,
}

/// A request's line, from its arrival on.
#[derive(Debug)]
pub(super) struct Line {
    began: Instant,
    method: Method,
    route: Option<MatchedPath>,
    client: Option<IpAddr>,
    is_tls: bool,
    notes: Arc<Notes>,
}

impl Line {
    /// Begins the line of a request, and hangs its notes on it.
    pub(super) fn begin(request: &mut Request, proxies: &[IpNet]) -> Self {
        let notes = Arc::new(Notes::default());
        request.extensions_mut().insert(notes.clone());
        let origin = request.extensions().get::<Origin>();
        Self {
            began: Instant::now(),
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            client: origin.map(|it| client(it.client.ip(), request.headers(), proxies)),
            is_tls: origin.is_some_and(|it| it.is_tls),
            notes,
        }
    }

    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Puts the headers that every answer has on this one, and writes the line.
    pub(super) fn end(self, response: &mut Response, request_id: &str) {
        harden(response.headers_mut(), self.is_tls);
        tracing::info!(
            method = %self.method,
            route = self.route.as_ref().map_or("none", MatchedPath::as_str),
            status = response.status().as_u16(),
            ms = self.began.elapsed().as_micros() as f64 / 1_000.0,
            key = self.notes.key_id.get().map_or("none", String::as_str),
            client = self.client.map(tracing::field::display),
            request = request_id,
            "request"
        );
    }
}

/// Answers are for the client alone: not guessed at, not kept, not told to others.
fn harden(headers: &mut HeaderMap, is_tls: bool) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if is_tls {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
}

/// Whose request it is. Each proxy adds to the right of `X-Forwarded-For` whom it had it from, so
/// that what stands left of the last stranger is only the stranger's word.
fn client(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let is_ours = |it: IpAddr| proxies.iter().any(|network| network.contains(&it));
    let mut client = peer.to_canonical();
    let hops = headers.get_all("x-forwarded-for").iter().rev();
    for hop in hops.flat_map(|line| line.to_str().unwrap_or("?").rsplit(',')) {
        if !is_ours(client) {
            break;
        }
        let Some(address) = hop_address(hop.trim()) else { break };
        client = address.to_canonical();
    }
    client
}

/// An address as proxies write it: alone, in brackets, or with the client's port.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let alone = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let with_port = || hop.parse::<SocketAddr>().ok().map(|it| it.ip());
    alone.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_proxies_are_believed() {
        let proxies: Vec<IpNet> = ["10.0.0.0/8", "::1/128"].map(|it| it.parse().unwrap()).into();
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &["198.51.100.9"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.9"], "198.51.100.9"),
            ("::1", &["198.51.100.9"], "198.51.100.9"),
            ("::ffff:10.0.0.1", &["198.51.100.9"], "198.51.100.9"),
            // The client wrote an address of its own; the proxies added the rest.
            ("10.0.0.1", &["127.0.0.1, 198.51.100.9, 10.9.9.9"], "198.51.100.9"),
            ("10.0.0.1", &["127.0.0.1, 198.51.100.9", "10.9.9.9"], "198.51.100.9"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["198.51.100.9:4711"], "198.51.100.9"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["198.51.100.9, rubbish"], "10.0.0.1"),
            ("10.0.0.1", &["10.0.0.2"], "10.0.0.2"),
        ] {
            let mut headers = HeaderMap::new();
            for line in forwarded {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            let found = client(peer.parse().unwrap(), &headers, &proxies);
            assert_eq!(found.to_string(), expected, "{peer} {forwarded:?}");
        }
    }
}
