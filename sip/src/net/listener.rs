//! A socket that connections are accepted from.
#![allow(clippy::disallowed_methods, reason = "a driver: waits for descriptors")]

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::endpoint::LocalId;
use crate::limits::{ACCEPT_BACKLOG, ACCEPT_PAUSE};

/// A connection that somebody opened.
pub(super) struct Accepted {
    pub(super) local: LocalId,
    pub(super) stream: TcpStream,
    pub(super) remote: SocketAddr,
}

/// Binds `address`; an IPv6 socket takes IPv6 only, so that both families can share a port.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?; // connections of an earlier process may linger
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(ACCEPT_BACKLOG).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Gives what is accepted to the driver, until it is gone.
pub(super) async fn accept(
    local: LocalId,
    listener: TcpListener,
    accepted: mpsc::Sender<Accepted>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if accepted.send(Accepted { local, stream, remote }).await.is_err() {
                    return;
                }
            }
            // Of this connection alone, or for want of descriptors: in a moment there may be some.
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
