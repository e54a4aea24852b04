//! The accept loop over hyper: bounded connections, bounded headers, and a drain.
#![allow(clippy::disallowed_methods, reason = "a driver: accepts connections and spawns for each")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::error::ApiError;

/// Connections at once on one listener; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 10_000;

/// How long a client may take to send a request's headers, and to sit idle between requests.
const HEADER_TIME: Duration = Duration::from_secs(30);

/// The bytes of headers that are read before a request is refused.
const MAX_HEADERS: usize = 64 * 1024;

/// How long a drain waits for answers under way.
const DRAIN: Duration = Duration::from_secs(5);

/// A bound address, ready to serve.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    /// Its address, with the port the system chose where 0 was asked for.
    pub address: SocketAddr,
}

impl Listener {
    /// Binds an address.
    ///
    /// # Errors
    /// What the system says: in use, not permitted, not ours.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        if address.is_ipv6() {
            // An IPv4 listener on the same port is a listener of its own.
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1_024)?;
        let listener = TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Serves until `stop`, then lets requests under way finish for a while.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    let watcher = graceful.watcher();
                    let router = router.clone();
                    tokio::spawn(async move {
                        connection(stream, router, watcher).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors, mostly: others end meanwhile.
                    tracing::warn!(%error, address = %self.address, "a connection was not taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        // Whoever is slower than the drain is cut off.
        let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Answers are small; without this each would wait for the client's ACK.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move { Ok::<_, std::convert::Infallible>(to_the_end(router, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEADERS);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Runs a request to its end though its client goes away: a call that is being placed must be
/// owned by somebody.
async fn to_the_end(router: Router, request: Request<hyper::body::Incoming>) -> Response<Body> {
    let handled = tokio::spawn(router.oneshot(request.map(Body::new)));
    match handled.await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(error) => {
            tracing::error!(%error, "a request's handler panicked");
            // With it fell the layer that gives requests their ids and errors their envelope.
            ApiError::internal().render(&super::request_id())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_answers_in_the_envelope() {
        async fn fault() -> &'static str {
            panic!("a fault")
        }
        let router = Router::new().route("/", axum::routing::get(fault));
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let (address, stop) = (listener.address, CancellationToken::new());
        let serving = tokio::spawn(listener.serve(router, stop.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        for member in ["\"success\":false", "\"code\":\"INTERNAL_ERROR\"", "\"requestId\":\"req_"] {
            assert!(answer.contains(member), "{member} in {answer}");
        }
        stop.cancel();
        serving.await.unwrap();
    }
}
