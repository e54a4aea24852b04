//! One UDP socket: bound with its DSCP, read without waiting, written with a short queue.
//!
//! The kernel is asked to keep what routers and hosts say by ICMP (ip(7), `IP_RECVERR`), so that a
//! dead trunk is known at once and not by a timer. Its word comes as the error of some later call
//! on the socket; [`Udp::undeliverable`] then tells whom it is about.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

use crate::limits::{MAX_SEND_QUEUE, MAX_UNDELIVERABLE, RECEIVE_BUFFER};

/// Room for one extended error and the address of who reported it (ip(7)).
const EXTENDED_ERROR: usize = 256;

/// A bound socket.
#[derive(Debug)]
pub(super) struct Udp {
    socket: UdpSocket,
    /// What the kernel had no room for.
    queue: VecDeque<(SocketAddr, Bytes)>,
    /// A send was told of an earlier datagram's error.
    pub(super) has_errors: bool,
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
            setsockopt(socket.as_raw_fd(), sockopt::Ipv6RecvErr, &true)?;
        } else {
            socket.set_tos_v4(traffic_class)?;
            setsockopt(socket.as_raw_fd(), sockopt::Ipv4RecvErr, &true)?;
        }
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self { socket, queue: VecDeque::new(), has_errors: false })
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

    /// Sends, or queues while the kernel has no room; beyond that it is dropped: SIP sends again.
    ///
    /// # Errors
    /// If it cannot be sent. An error of an earlier datagram is not this one's: it is kept for
    /// [`undeliverable`](Self::undeliverable).
    pub(super) fn send(&mut self, remote: SocketAddr, data: Bytes) -> io::Result<()> {
        if self.queue.is_empty() {
            let sent = match self.socket.try_send_to(&data, remote) {
                Err(error) if is_reported(&error) => {
                    self.has_errors = true;
                    self.socket.try_send_to(&data, remote)
                }
                sent => sent,
            };
            match sent {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if self.queue.len() < MAX_SEND_QUEUE {
            self.queue.push_back((remote, data));
        }
        Ok(())
    }

    /// To whom datagrams could not be delivered, and why, since this was asked last.
    pub(super) fn undeliverable(&mut self) -> Vec<(SocketAddr, Errno)> {
        self.has_errors = false;
        let mut all = Vec::new();
        while all.len() < MAX_UNDELIVERABLE {
            match self.next_error() {
                Some(Some(error)) => all.push(error),
                Some(None) => {} // such as a smaller MTU: nobody is gone
                None => break,
            }
        }
        all
    }

    /// One message of the socket's error queue: whose datagram it was, and the error, if it says
    /// that nobody is there.
    fn next_error(&self) -> Option<Option<(SocketAddr, Errno)>> {
        let mut datagram = [0; 1];
        let mut buffers = [IoSliceMut::new(&mut datagram)];
        let mut control = Vec::with_capacity(EXTENDED_ERROR);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let socket = self.socket.as_raw_fd();
        let message =
            recvmsg::<SockaddrStorage>(socket, &mut buffers, Some(&mut control), flags).ok()?;
        let errno = message.cmsgs().find_map(|control| match control {
            ControlMessageOwned::Ipv4RecvErr(error, _)
            | ControlMessageOwned::Ipv6RecvErr(error, _) => {
                Some(Errno::from_i32(i32::try_from(error.ee_errno).ok()?))
            }
            _ => None,
        });
        let remote = message.address.and_then(|address| socket_addr(&address));
        Some(remote.zip(errno.filter(|errno| is_nobody_there(*errno))))
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

/// An error that the kernel reports of an earlier datagram.
fn is_reported(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|errno| is_nobody_there(Errno::from_i32(errno)))
}

fn is_nobody_there(errno: Errno) -> bool {
    matches!(errno, Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH)
}

fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4).into());
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into()))
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
