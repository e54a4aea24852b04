//! Which packets belong to a call: its far end's address by SDP, its port by what comes.
//!
//! It knows addresses, ports and times. It refuses to know what packets hold beyond their sequence
//! numbers. Start at [`Source::connect`] and [`Source::handle_packet`].
//!
//! The address is the SDP's; where that is private or unspecified and signalling comes from a
//! public address, it is that one. The port is the SDP's until another port of the address sends
//! three packets in sequence of an agreed type while the SDP's has not begun, or has been quiet
//! for two seconds. What was found so holds until the next SDP.
//!
//! ```text
//!              SDP's port sends                 quiet for 2 s and three in
//!            ┌────────────────► Announced ───────── sequence from another ─────┐
//!   Waiting ─┤                                                                 ▼
//!            └────── three in sequence from another port ───────────────────► Latched
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// How long the SDP's port must be quiet, once begun, before another may take its place.
pub const QUIET: Duration = Duration::from_secs(2);

/// How long after an SDP any address may be learnt, where the trunk allows it.
pub const LEARN: Duration = Duration::from_secs(5);

/// Packets in sequence that make a port the call's.
pub const IN_SEQUENCE: u8 = 3;

/// Ports watched at once for packets in sequence. A spray from more ports than these can delay a
/// latch, never gain one.
const CANDIDATES: usize = 4;

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It belongs to the call.
    Ours,
    /// It may be the beginning of the call's stream; it is not taken yet.
    Probe,
    /// A stranger's: dropped.
    Stranger,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has come.
    Waiting,
    /// The SDP's port has sent, lastly at this time.
    Announced(Instant),
    /// Another port or address sent three packets in sequence.
    Latched(SocketAddr),
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    next: u16,
    count: u8,
    seen: Instant,
}

/// The far end of one SDP.
#[derive(Clone, Copy, Debug)]
struct Peer {
    sdp: SocketAddr,
    signalling: IpAddr,
    /// The SDP's address, or the signalling's where that one is of no use.
    expected: SocketAddr,
    since: Instant,
}

/// The rule of one call.
#[derive(Clone, Debug)]
pub struct Source {
    learn: bool,
    peer: Option<Peer>,
    state: State,
    candidates: [Option<Candidate>; CANDIDATES],
}

impl Source {
    /// A call without an SDP: everything is a stranger's. `learn` takes the first stream from any
    /// address for [`LEARN`] after an SDP.
    pub fn new(learn: bool) -> Self {
        Self { learn, peer: None, state: State::Waiting, candidates: [None; CANDIDATES] }
    }

    /// Whether the first stream from any address is taken for [`LEARN`] after an SDP.
    pub fn set_learn(&mut self, learn: bool) {
        self.learn = learn;
    }

    /// An SDP came: its RTP address, and the address its message came from. The same one again
    /// changes nothing.
    pub fn connect(&mut self, now: Instant, sdp: SocketAddr, signalling: IpAddr) {
        if self.peer.is_some_and(|p| p.sdp == sdp && p.signalling == signalling) {
            return;
        }
        let expected = if is_private(sdp.ip()) && !is_private(signalling) {
            SocketAddr::new(signalling, sdp.port())
        } else {
            sdp
        };
        self.peer = Some(Peer { sdp, signalling, expected, since: now });
        self.state = State::Waiting;
        self.candidates = [None; CANDIDATES];
    }

    /// A packet of an agreed type came.
    pub fn handle_packet(&mut self, now: Instant, from: SocketAddr, sequence: u16) -> Admission {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Some(peer) = self.peer else { return Admission::Stranger };
        match self.state {
            State::Latched(latched) if latched == from => Admission::Ours,
            State::Latched(_) => Admission::Stranger,
            State::Waiting | State::Announced(_) if from == peer.expected => {
                self.state = State::Announced(now);
                Admission::Ours
            }
            State::Waiting => self.probe(now, peer, from, sequence),
            State::Announced(last) if now.saturating_duration_since(last) >= QUIET => {
                self.probe(now, peer, from, sequence)
            }
            State::Announced(_) => Admission::Stranger,
        }
    }

    /// Where our packets go: to the latched source, else where the SDP says. `None` before an SDP.
    pub fn destination(&self) -> Option<SocketAddr> {
        match self.state {
            State::Latched(latched) => Some(latched),
            State::Waiting | State::Announced(_) => self.peer.map(|p| p.expected),
        }
    }

    /// The one address that may send, once it is certain until the next SDP.
    pub fn latched(&self) -> Option<SocketAddr> {
        match self.state {
            State::Latched(latched) => Some(latched),
            State::Waiting | State::Announced(_) => None,
        }
    }

    /// The one address from which packets would be taken at `now`: the latched source, or that of
    /// the SDP as long as it does not fall silent. The kernel may drop all others meanwhile.
    pub fn sole(&self, now: Instant) -> Option<SocketAddr> {
        match self.state {
            State::Latched(latched) => Some(latched),
            State::Announced(last) if now.saturating_duration_since(last) < QUIET => {
                self.peer.map(|p| p.expected)
            }
            State::Waiting | State::Announced(_) => None,
        }
    }

    /// Where RTCP goes, given the SDP's RTCP address: it follows the RTP where that moved.
    pub fn rtcp_destination(&self, sdp_rtcp: SocketAddr) -> Option<SocketAddr> {
        let peer = self.peer?;
        let to = self.destination()?;
        let port = if to.port() == peer.sdp.port() {
            sdp_rtcp.port()
        } else {
            to.port().checked_add(1)?
        };
        Some(if to == peer.sdp { sdp_rtcp } else { SocketAddr::new(to.ip(), port) })
    }

    fn probe(&mut self, now: Instant, peer: Peer, from: SocketAddr, sequence: u16) -> Admission {
        let learning = self.learn && now.saturating_duration_since(peer.since) < LEARN;
        if from.ip() != peer.expected.ip() && !learning {
            return Admission::Stranger;
        }
        let known = self.candidates.iter_mut().flatten().find(|c| c.from == from);
        let candidate = match known {
            Some(known) => {
                known.count = if known.next == sequence { known.count + 1 } else { 1 };
                known.next = sequence.wrapping_add(1);
                known.seen = now;
                *known
            }
            None => {
                let next = sequence.wrapping_add(1);
                let new = Candidate { from, next, count: 1, seen: now };
                // A free place, else that of the one heard longest ago.
                let place = self.candidates.iter_mut().min_by_key(|c| c.map(|c| c.seen));
                if let Some(place) = place {
                    *place = Some(new);
                }
                new
            }
        };
        if candidate.count < IN_SEQUENCE {
            return Admission::Probe;
        }
        self.state = State::Latched(from);
        Admission::Ours
    }
}

/// True for addresses that cannot be reached over the internet.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
            v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || shared
        }
        IpAddr::V6(v6) => {
            v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_loopback()
                || v6.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNALLING: &str = "203.0.113.5";

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    struct Bench {
        source: Source,
        start: Instant,
    }

    impl Bench {
        fn new(sdp: &str, learn: bool) -> Self {
            let start = Instant::now();
            let mut source = Source::new(learn);
            source.connect(start, address(sdp), SIGNALLING.parse().unwrap());
            Self { source, start }
        }

        fn packet(&mut self, ms: u64, from: &str, sequence: u16) -> Admission {
            let now = self.start + Duration::from_millis(ms);
            self.source.handle_packet(now, address(from), sequence)
        }
    }

    use Admission::{Ours, Probe, Stranger};

    #[test]
    fn nothing_is_taken_before_an_sdp() {
        let mut source = Source::new(true);
        let from = address("203.0.113.9:4000");
        assert_eq!(source.handle_packet(Instant::now(), from, 1), Stranger);
        assert_eq!(source.destination(), None);
    }

    #[test]
    fn the_sdp_port_is_taken_at_once_and_strangers_never() {
        let mut b = Bench::new("203.0.113.9:4000", false);
        assert_eq!(b.packet(0, "203.0.113.9:4000", 7), Ours);
        for i in 0..500 {
            assert_eq!(b.packet(20 * i, "203.0.113.9:4000", i as u16), Ours);
            assert_eq!(b.packet(20 * i, "198.51.100.1:4000", i as u16), Stranger);
            assert_eq!(b.packet(20 * i, "203.0.113.9:4002", i as u16), Stranger);
        }
        assert_eq!(b.source.destination(), Some(address("203.0.113.9:4000")));
    }

    #[test]
    fn another_port_needs_three_in_sequence_and_then_holds() {
        let mut b = Bench::new("203.0.113.9:4000", false);
        assert_eq!(b.packet(0, "203.0.113.9:5000", 65534), Probe);
        assert_eq!(b.packet(20, "203.0.113.9:5000", 65535), Probe);
        assert_eq!(b.packet(40, "203.0.113.9:5000", 1), Probe);
        assert_eq!(b.packet(60, "203.0.113.9:5000", 2), Probe);
        assert_eq!(b.packet(80, "203.0.113.9:5000", 3), Ours);
        assert_eq!(b.packet(90, "203.0.113.9:4000", 9), Stranger);
        assert_eq!(b.packet(9000, "203.0.113.9:4000", 10), Stranger);
        assert_eq!(b.source.latched(), Some(address("203.0.113.9:5000")));
        assert_eq!(b.source.destination(), Some(address("203.0.113.9:5000")));
    }

    #[test]
    fn once_begun_the_sdp_port_gives_way_only_after_two_quiet_seconds() {
        let mut b = Bench::new("203.0.113.9:4000", false);
        assert_eq!(b.packet(0, "203.0.113.9:4000", 1), Ours);
        for i in 0..4 {
            assert_eq!(b.packet(1900 + i * 20, "203.0.113.9:5000", i as u16), Stranger);
        }
        let sole = |ms| b.source.sole(b.start + Duration::from_millis(ms));
        assert_eq!(sole(1999), Some(address("203.0.113.9:4000")));
        assert_eq!(sole(2000), None);
        assert_eq!(b.packet(2000, "203.0.113.9:5000", 10), Probe);
        assert_eq!(b.packet(2020, "203.0.113.9:5000", 11), Probe);
        assert_eq!(b.packet(2040, "203.0.113.9:5000", 12), Ours);
    }

    #[test]
    fn a_private_sdp_address_is_replaced_by_a_public_signalling_source() {
        for sdp in ["192.168.1.7:4000", "100.64.3.2:4000", "0.0.0.0:4000"] {
            let mut b = Bench::new(sdp, false);
            assert_eq!(b.source.destination(), Some(address("203.0.113.5:4000")));
            assert_eq!(b.packet(0, "203.0.113.5:4000", 1), Ours);
            assert_eq!(b.packet(0, sdp, 1), Stranger);
        }
        // A private network as a whole: the SDP is right.
        let mut source = Source::new(false);
        let sdp = address("192.168.1.7:4000");
        source.connect(Instant::now(), sdp, "192.168.1.2".parse().unwrap());
        assert_eq!(source.destination(), Some(sdp));
    }

    #[test]
    fn learning_takes_any_address_for_five_seconds_only() {
        let mut b = Bench::new("203.0.113.9:4000", true);
        assert_eq!(b.packet(4900, "198.51.100.1:9", 1), Probe);
        assert_eq!(b.packet(4920, "198.51.100.1:9", 2), Probe);
        assert_eq!(b.packet(4940, "198.51.100.1:9", 3), Ours);
        let mut b = Bench::new("203.0.113.9:4000", true);
        for i in 0..5 {
            assert_eq!(b.packet(5000 + 20 * i, "198.51.100.1:9", i as u16), Stranger);
        }
    }

    #[test]
    fn what_one_trunk_may_learn_the_next_one_may_not() {
        let mut b = Bench::new("203.0.113.9:4000", true);
        b.source.set_learn(false);
        b.source.connect(b.start, address("203.0.113.20:6000"), SIGNALLING.parse().unwrap());
        for i in 0..5 {
            assert_eq!(b.packet(20 * i, "198.51.100.1:9", i as u16), Stranger);
        }
    }

    #[test]
    fn a_new_sdp_arms_anew_and_the_same_one_does_not() {
        let mut b = Bench::new("203.0.113.9:4000", false);
        for i in 0..3 {
            b.packet(20 * i, "203.0.113.9:5000", i as u16);
        }
        let later = b.start + Duration::from_secs(9);
        b.source.connect(later, address("203.0.113.9:4000"), SIGNALLING.parse().unwrap());
        assert_eq!(b.packet(9000, "203.0.113.9:4000", 1), Stranger);
        b.source.connect(later, address("203.0.113.20:6000"), SIGNALLING.parse().unwrap());
        assert_eq!(b.packet(9020, "203.0.113.9:5000", 4), Stranger);
        assert_eq!(b.packet(9020, "203.0.113.20:6000", 1), Ours);
    }

    #[test]
    fn a_spray_of_ports_gains_nothing() {
        let mut b = Bench::new("203.0.113.9:4000", false);
        for i in 0..200_u16 {
            let from = format!("203.0.113.9:{}", 10_000 + i);
            assert_eq!(b.packet(u64::from(i), &from, i), Probe);
        }
        assert_eq!(b.source.latched(), None);
        assert_eq!(b.packet(300, "203.0.113.9:4000", 1), Ours);
    }

    #[test]
    fn rtcp_follows_the_rtp() {
        let rtcp = address("203.0.113.9:4009");
        let mut b = Bench::new("203.0.113.9:4000", false);
        assert_eq!(b.source.rtcp_destination(rtcp), Some(rtcp));
        for i in 0..3 {
            b.packet(20 * i, "203.0.113.9:5000", i as u16);
        }
        assert_eq!(b.source.rtcp_destination(rtcp), Some(address("203.0.113.9:5001")));
        let b = Bench::new("10.0.0.1:4000", false);
        let rtcp = address("10.0.0.1:4001");
        assert_eq!(b.source.rtcp_destination(rtcp), Some(address("203.0.113.5:4001")));
    }
}
