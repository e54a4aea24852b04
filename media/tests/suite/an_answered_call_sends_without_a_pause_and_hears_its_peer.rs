//! One call over real sockets: from the answer on packets come in sequence on one linear clock,
//! with what is played in them; a digit of the peer is told; a stranger is not heard.
#![allow(clippy::disallowed_methods, reason = "waits for real threads")]

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kaphila_media::codec::Codec;
use kaphila_media::engine::{Engine, EngineConfig, MediaCall, OpenOptions};
use kaphila_media::sdp::{Capabilities, Negotiation};
use kaphila_media::session::{Command, MediaEvent, PlaybackId};
use tokio::sync::mpsc::Receiver;

struct Peer(UdpSocket);

struct Packet {
    marker: bool,
    pt: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    payload: Vec<u8>,
}

impl Peer {
    fn new(host: &str) -> Self {
        let socket = UdpSocket::bind((host, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn answer(&self, ptime: u8) -> Vec<u8> {
        let (ip, port) = (self.address().ip(), self.address().port());
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n\
             a=ptime:{ptime}\r\n"
        )
        .into_bytes()
    }

    fn receive(&self) -> Packet {
        let mut buffer = [0; 2048];
        loop {
            let length = self.0.recv(&mut buffer).expect("a packet within 10 s");
            let data = &buffer[..length];
            assert_eq!(data[0], 0x80, "version 2, no padding, extension or contributors");
            if (192..=223).contains(&data[1]) {
                continue; // RTCP
            }
            return Packet {
                marker: data[1] & 0x80 != 0,
                pt: data[1] & 0x7F,
                sequence: u16::from_be_bytes([data[2], data[3]]),
                timestamp: u32::from_be_bytes(data[4..8].try_into().unwrap()),
                ssrc: u32::from_be_bytes(data[8..12].try_into().unwrap()),
                payload: data[12..].to_vec(),
            };
        }
    }
}

fn engine(ports: std::ops::RangeInclusive<u16>) -> Engine {
    let address = IpAddr::from([127, 0, 0, 1]);
    Engine::start(EngineConfig { workers: 1, address, ports, ..EngineConfig::default() }).unwrap()
}

fn connect(engine: &Engine, peer: &Peer, ptime: u8) -> (MediaCall, Receiver<MediaEvent>) {
    let (call, events) = engine.open(OpenOptions::default()).unwrap();
    let capabilities = Capabilities { ptime_ms: ptime, ..Capabilities::default() };
    let mut negotiation = Negotiation::new(capabilities, call.local(), 1);
    let _ = negotiation.offer();
    let agreed = negotiation.handle_answer(&peer.answer(ptime)).unwrap();
    call.command(Command::Connect { agreed, signalling: peer.address().ip() }).unwrap();
    (call, events)
}

#[test]
fn packets_are_in_sequence_on_a_linear_clock_and_carry_what_is_played() {
    let engine = engine(22300..=22309);
    for ptime in [10, 20, 30, 40, 60] {
        let peer = Peer::new("127.0.0.2");
        let (call, mut events) = connect(&engine, &peer, ptime);
        call.command(Command::Answered).unwrap();
        let samples = usize::from(ptime) * 8;
        let audio: Arc<[i16]> = vec![8000; samples * 5].into();
        let first = peer.receive();
        assert_eq!((first.pt, first.payload.len()), (0, samples));
        assert!(first.marker, "the first packet of the call begins a talkspurt");
        call.command(Command::Play { id: PlaybackId(7), audio, in_recording: true }).unwrap();

        let tone = Codec::Pcmu;
        let (mut loud, mut last) = (0, first);
        let start = Instant::now();
        for _ in 0..25 {
            let packet = peer.receive();
            assert_eq!(packet.ssrc, last.ssrc);
            assert_eq!(packet.sequence, last.sequence.wrapping_add(1), "ptime {ptime}");
            let step = packet.timestamp.wrapping_sub(last.timestamp);
            // A machine that stands still may make the worker skip turns, of 10 ms at least; the
            // clock stays linear.
            let skipped = (step as usize).checked_sub(samples);
            assert_eq!(skipped.map(|it| it % 80), Some(0), "ptime {ptime}: {step}");
            assert_eq!(packet.payload.len(), samples);
            let mut linear = [0; 480];
            tone.decode(&packet.payload, &mut linear);
            loud += linear[..samples].iter().filter(|sample| **sample > 7000).count();
            last = packet;
        }
        assert_eq!(loud, samples * 5, "all that was played, no more");
        let at_least = Duration::from_millis(u64::from(ptime) * 20);
        assert!(start.elapsed() > at_least, "paced, not in a burst");
        assert_eq!(events.blocking_recv(), Some(MediaEvent::PlaybackStarted { id: PlaybackId(7) }));
        let finished = events.blocking_recv().unwrap();
        let MediaEvent::PlaybackFinished { id, completed, .. } = finished else {
            panic!("{finished:?}")
        };
        assert_eq!((id, completed), (PlaybackId(7), true));
    }
}

#[test]
fn a_digit_of_the_peer_is_told_and_a_strangers_is_not() {
    let engine = engine(22310..=22319);
    let peer = Peer::new("127.0.0.2");
    let stranger = Peer::new("127.0.0.9");
    let (call, mut events) = connect(&engine, &peer, 20);
    call.command(Command::Answered).unwrap();
    let press = |who: &Peer, digit: u8, sequence: u16, timestamp: u32| {
        // RFC 4733 §2.3: event, E and volume, duration.
        let mut packet = vec![0x80, 101];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, who.address().port() as u8]);
        packet.extend_from_slice(&[digit, 0x80 | 10, 0x03, 0x20]);
        who.0.send_to(&packet, call.local()).unwrap();
    };
    for n in 0..5 {
        press(&stranger, 9, n, 1000);
        press(&peer, 3, n, 1000);
    }
    press(&peer, 4, 6, 3000);
    let mut digits = Vec::new();
    while digits.len() < 2 {
        if let MediaEvent::Digit { digit, .. } = events.blocking_recv().unwrap() {
            digits.push(digit);
        }
    }
    assert_eq!(digits, ['3', '4']);
    drop(call);
    let rest: Vec<_> = std::iter::from_fn(|| events.blocking_recv()).collect();
    assert!(!rest.iter().any(|event| matches!(event, MediaEvent::Digit { .. })), "{rest:?}");
}
