//! Sockets of the media plane: made on the control side, read and written by one worker.
//!
//! It knows UDP over IPv4 and IPv6, DSCP, buffers and readiness. It refuses to know what is in a
//! packet. This is the one file of the crate with unsafe in it: a system call that rustix and
//! socket2 do not have. Start at [`bind`] and [`Poller`].

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::event::epoll;
use socket2::{Domain, Protocol, Type};

/// Datagrams longer than this are cut; no codec's packet comes near (RFC 3550 has no bound of its
/// own, Ethernet has 1500).
pub const MAX_DATAGRAM: usize = 2048;

/// Readiness taken in one system call; the rest is taken by the next.
const EVENTS: usize = 512;

/// How to make a socket.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// DSCP of what is sent, 0–63 (EF is 46, RFC 3246).
    pub dscp: u8,
    /// Bytes of SO_RCVBUF; the kernel doubles and bounds it.
    pub receive_buffer: usize,
}

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub struct Socket(UdpSocket);

/// Binds a socket to `local`. No address is shared: a port that another process holds is an error.
///
/// # Errors
/// Those of the system calls; `AddrInUse` when the port is taken.
pub fn bind(local: SocketAddr, options: SocketOptions) -> io::Result<Socket> {
    let socket = socket2::Socket::new(
        Domain::for_address(local),
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    let traffic_class = u32::from(options.dscp) << 2;
    match local.ip() {
        IpAddr::V4(_) => socket.set_tos_v4(traffic_class)?,
        IpAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_tclass_v6(traffic_class)?;
        }
    }
    socket.set_recv_buffer_size(options.receive_buffer)?;
    socket.bind(&local.into())?;
    Ok(Socket(socket.into()))
}

impl Socket {
    /// The address it is bound to.
    ///
    /// # Errors
    /// That of `getsockname`.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Takes one datagram and its source.
    ///
    /// # Errors
    /// `WouldBlock` when there is none, `ConnectionRefused` when the far end's port is closed.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.recv_from(buffer)
    }

    /// Sends one datagram to `to`; `connected` says that this is the peer the socket is connected
    /// to, which saves the kernel a route lookup. An error left over from an earlier datagram (ICMP
    /// port unreachable) is taken off the socket and the datagram sent all the same.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn send(&self, to: SocketAddr, connected: bool, datagram: &[u8]) -> io::Result<usize> {
        let once = || if connected { self.0.send(datagram) } else { self.0.send_to(datagram, to) };
        match once() {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => once(),
            result => result,
        }
    }

    /// Lets the kernel drop what does not come from `peer`.
    ///
    /// # Errors
    /// That of `connect`.
    pub fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.0.connect(peer)
    }

    /// Takes datagrams from anywhere again.
    ///
    /// # Errors
    /// That of `connect`.
    pub fn disconnect(&self) -> io::Result<()> {
        Ok(rustix::net::connect_unspec(&self.0)?)
    }
}

/// Which sockets of a worker can be read: epoll, level-triggered, asked and never waited for.
#[derive(Debug)]
pub struct Poller(OwnedFd);

impl Poller {
    /// An empty poller.
    ///
    /// # Errors
    /// That of `epoll_create1`: out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Watches `socket` under `token`.
    ///
    /// # Errors
    /// That of `epoll_ctl`.
    pub fn add(&self, socket: &Socket, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.0, &socket.0, data, epoll::EventFlags::IN)?)
    }

    /// Stops watching `socket`. One that is not watched is no error.
    pub fn remove(&self, socket: &Socket) {
        let _ = epoll::delete(&self.0, &socket.0);
    }

    /// Appends the tokens of the sockets that can be read now to `tokens`; true when there may be
    /// more than one call tells.
    ///
    /// # Errors
    /// That of `epoll_wait`.
    pub fn readable(&self, tokens: &mut Vec<u64>) -> io::Result<bool> {
        let mut events = [const { MaybeUninit::uninit() }; EVENTS];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let (events, rest) = epoll::wait(&self.0, &mut events, Some(&now))?;
        tokens.extend(events.iter().map(|event| event.data.u64()));
        Ok(rest.is_empty())
    }
}

/// How the calling thread is scheduled after [`raise_priority`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Before all ordinary threads (`SCHED_FIFO`, lowest of its priorities). The kernel leaves the
    /// others 5 % of the time even so.
    RealTime,
    /// With a better nice value.
    Nice,
    /// As any other thread.
    Ordinary,
}

/// Asks for the best place among the threads of the machine that the process has a right to
/// (`CAP_SYS_NICE`, or `LimitRTPRIO=` and `LimitNICE=` of its unit), for the calling thread.
pub fn raise_priority() -> Priority {
    if set_real_time() { Priority::RealTime } else { raise_nice() }
}

/// Asks for a better nice value only, for a thread that must not be in the way of those with
/// [`raise_priority`].
pub fn raise_nice() -> Priority {
    /// Below what kernel threads have.
    const NICE: i32 = -11;
    // On Linux the "process" 0 of setpriority is the calling thread.
    match rustix::process::setpriority_process(None, NICE) {
        Ok(()) => Priority::Nice,
        Err(_) => Priority::Ordinary,
    }
}

#[allow(unsafe_code, reason = "no safe wrapper sets the scheduling class of a thread")]
fn set_real_time() -> bool {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: 0 is the calling thread; the kernel reads `lowest`, which outlives the call.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const OPTIONS: SocketOptions = SocketOptions { dscp: 46, receive_buffer: 65536 };

    fn peer(address: &str) -> UdpSocket {
        let peer = UdpSocket::bind(address).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        peer
    }

    #[test]
    fn a_connected_socket_hears_its_peer_only_until_it_is_disconnected() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            // A port of our choosing, as from the pool: one of the kernel's is lost by disconnecting.
            let local = peer(host).local_addr().unwrap();
            let socket = bind(local, OPTIONS).unwrap();
            let (friend, stranger) = (peer(host), peer(host));
            let from = friend.local_addr().unwrap();
            let mut buffer = [0; 16];

            socket.connect(from).unwrap();
            stranger.send_to(b"no", local).unwrap();
            friend.send_to(b"yes", local).unwrap();
            assert_eq!(socket.receive(&mut buffer).unwrap(), (3, from));
            assert_eq!(socket.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);

            socket.disconnect().unwrap();
            assert_eq!(socket.local().unwrap(), local);
            stranger.send_to(b"now", local).unwrap();
            let (n, source) = socket.receive(&mut buffer).unwrap();
            assert_eq!((n, source), (3, stranger.local_addr().unwrap()));
        }
    }

    #[test]
    fn a_refused_datagram_does_not_cost_the_next_one() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), OPTIONS).unwrap();
        let there = peer("127.0.0.1:0");
        let to = there.local_addr().unwrap();
        drop(there);
        socket.connect(to).unwrap();
        let _ = socket.send(to, true, b"lost");
        let there = peer(&to.to_string());
        socket.send(to, true, b"kept").unwrap();
        let mut buffer = [0; 16];
        assert_eq!(there.recv(&mut buffer).unwrap(), 4);
    }

    #[test]
    fn the_poller_tells_what_can_be_read() {
        let poller = Poller::new().unwrap();
        let socket = bind("127.0.0.1:0".parse().unwrap(), OPTIONS).unwrap();
        poller.add(&socket, 42).unwrap();
        let mut tokens = Vec::new();
        assert!(!poller.readable(&mut tokens).unwrap());
        assert!(tokens.is_empty());
        peer("127.0.0.1:0").send_to(b"x", socket.local().unwrap()).unwrap();
        poller.readable(&mut tokens).unwrap();
        assert_eq!(tokens, [42]);
        poller.remove(&socket);
        tokens.clear();
        poller.readable(&mut tokens).unwrap();
        assert!(tokens.is_empty());
    }

    #[test]
    fn sockets_carry_the_traffic_class() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), OPTIONS).unwrap();
        assert_eq!(socket2::SockRef::from(&socket.0).tos_v4().unwrap(), 46 << 2);
        let socket = bind("[::1]:0".parse().unwrap(), OPTIONS).unwrap();
        assert_eq!(socket2::SockRef::from(&socket.0).tclass_v6().unwrap(), 46 << 2);
    }
}
