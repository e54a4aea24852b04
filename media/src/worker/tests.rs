//! The worker's loop, slot by slot in virtual time, on real sockets.

use std::net::{SocketAddr, UdpSocket};

use tokio::sync::mpsc;

use super::events::Events;
use super::*;
use crate::engine::Place;
use crate::net::{SocketOptions, bind};
use crate::sdp::{Capabilities, Negotiation};
use crate::session::{Listening, MediaEvent, Session, SessionConfig};

/// A worker that a test turns by hand.
struct Bench {
    worker: Worker,
    link: Arc<Link>,
    graves: Consumer<Box<Call>>,
    slot: u64,
    peer: UdpSocket,
    states: Vec<Arc<CallState>>,
    receivers: Vec<mpsc::Receiver<MediaEvent>>,
    targets: Vec<SocketAddr>,
}

impl Bench {
    fn new(calls: usize) -> Self {
        let (link, messages) = Link::new();
        let (producer, graves) = RingBuffer::new(64);
        let worker =
            Worker::new(Arc::clone(&link), messages, producer, std::thread::current()).unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_nonblocking(true).unwrap();
        let (states, receivers, targets) = Default::default();
        let mut bench = Self { worker, link, graves, slot: 0, peer, states, receivers, targets };
        (0..calls).for_each(|n| bench.open(n));
        bench
    }

    fn open(&mut self, n: usize) {
        let options = SocketOptions { dscp: 0, receive_buffer: 65536 };
        let socket = || bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let sockets = [socket(), socket()];
        let local = sockets[0].local().unwrap();
        let (sender, receiver) = mpsc::channel(64);
        let state = Arc::new(CallState::default());
        let config = SessionConfig {
            ssrc: n as u32,
            sequence: 0,
            timestamp: 0,
            seed: n as u64,
            unix_time: Duration::ZERO,
            rtp_timeout: None,
            learn_source: false,
            dtmf: Listening::default(),
        };
        let session = Session::new(self.now(), config);
        let place = Place { worker: 0, phase: n % wheel::PHASES, port: local.port() };
        let call = Call::new(session, sockets, Events::new(sender), Arc::clone(&state), place);
        self.send(Message::Open(Box::new(call)));

        let mut negotiation = Negotiation::new(Capabilities::default(), local, n as u64);
        let _ = negotiation.offer();
        let peer = self.peer.local_addr().unwrap();
        let answer = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n",
            ip = peer.ip(),
            port = peer.port(),
        );
        let agreed = negotiation.handle_answer(answer.as_bytes()).unwrap();
        let connect = Command::Connect { agreed, signalling: peer.ip() };
        self.send(Message::Command(Arc::clone(&state), connect));
        self.send(Message::Command(Arc::clone(&state), Command::Answered));
        self.states.push(state);
        self.receivers.push(receiver);
        self.targets.push(local);
    }

    fn send(&self, message: Message) {
        assert!(self.link.send(message).is_ok());
    }

    fn now(&self) -> Instant {
        self.worker.begin_of(self.slot)
    }

    /// What [`Worker::run`] does in one slot.
    fn turn(&mut self) {
        let now = self.now();
        self.worker.take_messages(now, self.slot);
        self.worker.read(now, self.slot);
        self.worker.take_turns(now, self.slot);
        self.worker.clear_away();
        self.slot += 1;
    }

    fn received(&self) -> usize {
        let mut buffer = [0; 2048];
        let mut count = 0;
        while let Ok(length) = self.peer.recv(&mut buffer) {
            count += usize::from(length == 172);
        }
        count
    }

    fn packet(&self, sequence: u16) {
        let mut packet = [0x55; 172];
        packet[..2].copy_from_slice(&[0x80, 0]);
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&[0, 0, 0, 9]);
        for target in &self.targets {
            self.peer.send_to(&packet, target).unwrap();
        }
    }
}

#[test]
fn nothing_is_allocated_for_a_packet() {
    let mut bench = Bench::new(20);
    let mut sequence = 0;
    let mut second = |bench: &mut Bench| {
        let mut heard = 0;
        for _ in 0..500 {
            if bench.slot.is_multiple_of(10) {
                bench.packet(sequence);
                sequence += 1;
            }
            bench.turn();
            heard += bench.received();
        }
        assert!(heard > 20 * 40, "they do send");
    };
    second(&mut bench);
    let heap = allocation_counter::measure(|| (0..4).for_each(|_| second(&mut bench)));
    assert_eq!(heap.count_total, 0, "{heap:?}");
    assert!(bench.link.counters.received.load(Ordering::Relaxed) >= 5 * 50 * 20);
}

#[test]
fn after_a_pause_no_call_sends_a_burst() {
    for pause in [Duration::from_millis(30), Duration::from_secs(2), Duration::from_secs(30)] {
        let mut bench = Bench::new(10);
        (0..100).for_each(|_| bench.turn());
        let _ = bench.received();
        bench.slot += (pause.as_micros() / SLOT.as_micros()) as u64;
        bench.turn();
        assert_eq!(bench.received(), 10, "one packet of each call at once");
        // In the turn of the wheel that follows each has its own slot again.
        (0..wheel::PHASES).for_each(|_| bench.turn());
        assert!(bench.received() <= 10);
        assert!(bench.link.counters.skipped.load(Ordering::Relaxed) > 0);
    }
}

#[test]
fn a_closed_call_is_handed_to_the_janitor_and_its_key_used_again() {
    let mut bench = Bench::new(2);
    bench.turn();
    let first = Arc::clone(&bench.states[0]);
    bench.link.close(&first);
    (0..20).for_each(|_| bench.turn());
    assert!(first.is_gone());
    assert_eq!(bench.graves.slots(), 1);
    assert_eq!(bench.worker.calls.len(), 1);
    bench.open(2);
    bench.turn();
    assert_eq!(bench.worker.calls.len(), 2);
    // A command for the old call does not reach the new one that has its key.
    bench.send(Message::Command(first, Command::Close));
    (0..20).for_each(|_| bench.turn());
    assert_eq!(bench.worker.calls.len(), 2);
}

#[test]
fn a_hang_up_is_not_lost_where_there_is_no_room_for_it() {
    let mut bench = Bench::new(2);
    bench.turn();
    let (first, second) = (Arc::clone(&bench.states[0]), Arc::clone(&bench.states[1]));
    while bench.link.send(Message::Command(Arc::clone(&second), Command::Answered)).is_ok() {}
    bench.link.close(&first);
    (0..20).for_each(|_| bench.turn());
    assert!(first.is_gone());
    assert!(!second.is_gone());
}
