//! How connections are opened: from which address, by when, over TLS with which name.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::limits::WRITE_TIMEOUT;

/// Silence of a connection after which the kernel asks whether the far end lives.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// From where connections are opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    /// The address; port 0 is any.
    pub(super) address: SocketAddr,
    /// Differentiated services code point.
    pub(super) dscp: u8,
}

/// A connection to open.
pub(super) struct Opening {
    pub(super) source: Source,
    pub(super) remote: SocketAddr,
    pub(super) within: Duration,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// One that is open.
pub(super) enum Opened {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Opening {
    /// Opens it, or says in words why it cannot be.
    pub(super) async fn open(self) -> Result<Opened, String> {
        let (remote, within) = (self.remote, self.within);
        match tokio::time::timeout(within, self.connect()).await {
            Ok(opened) => opened,
            Err(_) => Err(format!("no connection to {remote} within {} s", within.as_secs())),
        }
    }

    async fn connect(self) -> Result<Opened, String> {
        let stream = match self.source.connect(self.remote).await {
            // The same port to the same far end twice.
            Err(error) if is_taken(&error) && self.source.address.port() != 0 => {
                let address = SocketAddr::new(self.source.address.ip(), 0);
                Source { address, ..self.source }.connect(self.remote).await
            }
            connected => connected,
        };
        let stream = stream.map_err(|error| error.to_string())?;
        let Some((connector, name)) = self.tls else { return Ok(Opened::Tcp(stream)) };
        let stream = connector.connect(name, stream).await;
        let stream = stream.map_err(|error| format!("TLS: {error}"))?;
        Ok(Opened::Tls(Box::new(stream)))
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

impl Source {
    async fn connect(self, remote: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.socket()?;
        let stream = socket.connect(remote).await?;
        prepare(&stream, self.dscp);
        Ok(stream)
    }

    fn socket(self) -> io::Result<TcpSocket> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        if self.address.port() != 0 {
            socket.set_reuseport(true)?;
        }
        socket.bind(self.address)?;
        Ok(socket)
    }

    /// A port that nothing else on this machine takes and nobody listens at: the far end finds our
    /// connections by it. Hold the socket as long as the port is named.
    pub(super) fn reserve(ip: IpAddr, dscp: u8) -> io::Result<(TcpSocket, Self)> {
        let any = Self { address: SocketAddr::new(ip, 0), dscp };
        let socket = match ip {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        socket.bind(any.address)?;
        let address = socket.local_addr()?;
        Ok((socket, Self { address, dscp }))
    }
}

/// What every connection has: no delay, its DSCP, and a kernel that notices a far end which is
/// gone. None of it is worth a refusal where it cannot be had.
pub(super) fn prepare(stream: &TcpStream, dscp: u8) {
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    let _ = socket.set_tcp_user_timeout(Some(2 * WRITE_TIMEOUT));
    let traffic_class = u32::from(dscp) << 2; // RFC 2474 §3: the upper six bits
    let _ = match stream.peer_addr() {
        Ok(SocketAddr::V6(_)) => socket.set_tclass_v6(traffic_class),
        _ => socket.set_tos_v4(traffic_class),
    };
}
