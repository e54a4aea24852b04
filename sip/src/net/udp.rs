//! One UDP socket: bound with its DSCP, read without waiting, written with a short queue.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use crate::limits::{MAX_SEND_QUEUE, RECEIVE_BUFFER};

/// A bound socket.
#[derive(Debug)]
pub(super) struct Udp {
    socket: UdpSocket,
    /// What the kernel had no room for.
    queue: VecDeque<(SocketAddr, Bytes)>,
}

impl Udp {
    /// Binds `address`; an IPv6 socket takes IPv6 only, so that both families can share a port.
    pub(super) fn bind(address: SocketAddr, dscp: u8) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        // A burst of calls must fit; the kernel may grant less, which is no error.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        let traffic_class = u32::from(dscp) << 2; // RFC 2474 §3: the upper six bits
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
            socket.set_tclass_v6(traffic_class)?;
        } else {
            socket.set_tos_v4(traffic_class)?;
        }
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { socket, queue: VecDeque::new() })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Receives one datagram, if one is there.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.socket.poll_recv_from(cx, buffer)
    }

    /// Sends, or queues while the kernel has no room; false if it was dropped: SIP sends again.
    pub(super) fn send(&mut self, remote: SocketAddr, data: Bytes) -> io::Result<bool> {
        if self.queue.is_empty() {
            match self.socket.try_send_to(&data, remote) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if self.queue.len() >= MAX_SEND_QUEUE {
            return Ok(false);
        }
        self.queue.push_back((remote, data));
        Ok(true)
    }

    /// Sends what is queued, as far as the kernel has room.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some((remote, data)) = self.queue.front() {
            match self.socket.poll_send_to(cx, data, *remote) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(_) => {
                    self.queue.pop_front();
                }
            }
        }
        Poll::Ready(())
    }
}

/// The own address on the way to `remote`: what the kernel would send from. Nothing is sent.
pub(super) fn address_towards(remote: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = match remote {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect((remote, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
