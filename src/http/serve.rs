//! The accept loop over hyper: bounded connections, handshakes and headers, and a drain.
#![allow(clippy::disallowed_methods, reason = "a driver: accepts connections and spawns for each")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::crowd::{Crowd, Member};
use super::error::ApiError;
use super::limits;
use super::outgoing::{Answer, Counted};
use super::tls::Tls;

/// A bound address, ready to serve.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    limits: Limits,
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
        Ok(Self { listener, tls: None, limits: Limits::default(), address })
    }

    /// Speaks HTTPS with this certificate, where there is one.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// With other bounds than the usual ones.
    #[must_use]
    pub const fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves until `stop`, then lets requests under way finish for a while.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let graceful = GracefulShutdown::new();
        let crowd = Crowd::new(self.limits.connections);
        let handshakes = Crowd::new(self.limits.handshakes);
        let Limits { header_time, unread_time, .. } = self.limits;
        let mut sweep = tokio::time::interval(header_time.min(unread_time) / 10);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                now = sweep.tick() => {
                    let now = now.into_std();
                    crowd.cut_slow(now, header_time, unread_time, limits::UNREAD_BYTES);
                    continue;
                }
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, client)) => {
                    let Some(member) = crowd.enter(Instant::now()) else {
                        tracing::debug!(%client, "refused: every connection is at work");
                        continue;
                    };
                    let connection = Connection {
                        client,
                        tls: self.tls.clone(),
                        router: router.clone(),
                        member: Arc::new(member),
                        limits: self.limits,
                    };
                    let (handshakes, watcher) = (handshakes.clone(), graceful.watcher());
                    tokio::spawn(connection.run(stream, handshakes, watcher));
                }
                Err(error) => {
                    // Out of descriptors, mostly: others end meanwhile.
                    tracing::warn!(%error, address = %self.address, "a connection was not taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        // Whoever is slower than the drain is cut off.
        let _ = tokio::time::timeout(limits::DRAIN, graceful.shutdown()).await;
    }
}

/// The bounds of a listener that tests shorten.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections open at once.
    pub connections: usize,
    /// TLS handshakes under way at once.
    pub handshakes: usize,
    /// For a TLS handshake.
    pub handshake_time: Duration,
    /// For a request's headers, and between requests.
    pub header_time: Duration,
    /// For what we send to be read.
    pub unread_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS,
            handshakes: limits::HANDSHAKES,
            handshake_time: limits::HANDSHAKE_TIME,
            header_time: limits::HEADER_TIME,
            unread_time: limits::UNREAD_TIME,
        }
    }
}

/// From where a request came, in its extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    /// The other end of the connection.
    pub(super) client: SocketAddr,
    /// Whether it came over our own TLS.
    pub(super) is_tls: bool,
}

struct Connection {
    client: SocketAddr,
    tls: Option<Arc<Tls>>,
    router: Router,
    member: Arc<Member>,
    limits: Limits,
}

impl Connection {
    async fn run(self, stream: TcpStream, handshakes: Arc<Crowd>, watcher: Watcher) {
        // Answers are small; without this each would wait for the client's ACK.
        let _ = stream.set_nodelay(true);
        let socket = socket2::SockRef::from(&stream);
        // A client that does not read holds its connection no longer than this.
        let _ = socket.set_tcp_user_timeout(Some(self.limits.unread_time));
        // What the kernel holds would hide for long whether a slow client still reads.
        let _ = socket.set_tcp_notsent_lowat(limits::UNSENT_BYTES);
        let Some(tls) = self.tls.clone() else { return self.serve(stream, watcher).await };
        // Every connection that waits may be the longest waiting: its handshake ends with it.
        let Some(place) = handshakes.enter(Instant::now()) else { return };
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.limits.handshake_time, tls.accept(stream)) => shaken,
            () = place.cut() => return,
            () = self.member.cut() => return,
        };
        drop(place);
        match shaken {
            Ok(Ok(stream)) => self.serve(stream, watcher).await,
            Ok(Err(error)) => tracing::debug!(client = %self.client, %error, "no TLS handshake"),
            Err(_) => tracing::debug!(client = %self.client, "a TLS handshake took too long"),
        }
    }

    async fn serve<S>(self, stream: S, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { client, tls, router, member, limits } = self;
        let origin = Origin { client, is_tls: tls.is_some() };
        let at_work = member.clone();
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let (router, busy) = (router.clone(), at_work.work(Instant::now()));
            request.extensions_mut().insert(origin);
            async move {
                let response = to_the_end(router, request).await;
                // At work until the last frame of the answer has gone out.
                let busy = busy.answer(Instant::now());
                let response = response.map(|body| Answer::new(body, busy));
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let builder = builder(limits);
        let stream = TokioIo::new(Counted::new(stream, member.clone()));
        let served = watcher.watch(builder.serve_connection(stream, service));
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(%client, %error, "a connection ended early");
            },
            () = member.cut() => tracing::debug!(%client, "a connection that was idle gave way"),
        }
    }
}

/// HTTP/1.1 or HTTP/2, whichever the client begins with.
fn builder(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_buf_size(limits::HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::STREAMS)
        .max_header_list_size(u32::try_from(limits::HEADER_BYTES).unwrap_or(u32::MAX));
    builder
}

/// Runs a request to its end though its client goes away: a call that is being placed must be
/// owned by somebody.
async fn to_the_end(router: Router, request: Request<Incoming>) -> Response<Body> {
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
