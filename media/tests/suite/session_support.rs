//! Two sessions, or one and a hand-made far end, on a virtual clock and a network from a seed.

use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kaphila_media::codec::Codec;
use kaphila_media::record::{self, Channels, Drain};
use kaphila_media::sdp::{Agreed, Direction, EventFormat};
use kaphila_media::session::{
    Channel, Command, Listening, MediaEvent, PlaybackId, Session, SessionConfig, TickOutput,
};

/// Payload type of telephone-events here.
pub(crate) const EVENTS: u8 = 101;

/// Pseudo-random numbers (splitmix64), the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True in `percent` of 100.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// 0 up to and without `below`.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What two ends agree that speak G.711 and telephone-events at 20 ms.
pub(crate) fn agreed(remote: SocketAddr) -> Agreed {
    let event = EventFormat { pt: EVENTS, clock: 8000 };
    Agreed {
        remote,
        remote_rtcp: SocketAddr::new(remote.ip(), remote.port() + 1),
        direction: Direction::SendRecv,
        send: Codec::Pcmu,
        send_pt: 0,
        receive: [(0, Codec::Pcmu), (8, Codec::Pcma)].into_iter().collect(),
        event_send: Some(event),
        event_receive: [event].into_iter().collect(),
        ptime_ms: 20,
    }
}

/// One session and what comes out of it.
pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) address: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) events: Vec<MediaEvent>,
    /// Each packet sent: when, from which port, what.
    pub(crate) sent: Vec<(Instant, Channel, Vec<u8>)>,
    pub(crate) keep_sent: bool,
    pub(crate) recorded: Vec<i16>,
    drain: Option<Drain>,
    out: TickOutput,
}

impl End {
    /// Opened, not connected.
    pub(crate) fn open(now: Instant, address: SocketAddr, peer: SocketAddr, seed: u64) -> Self {
        Self::listening(now, address, peer, seed, Listening::default())
    }

    /// Opened, not connected; keys are listened for in this way.
    pub(crate) fn listening(
        now: Instant,
        address: SocketAddr,
        peer: SocketAddr,
        seed: u64,
        dtmf: Listening,
    ) -> Self {
        let mut random = Random(seed);
        let config = SessionConfig {
            ssrc: random.next() as u32,
            sequence: random.next() as u16,
            timestamp: random.next() as u32,
            seed: random.next(),
            unix_time: Duration::from_secs(1_700_000_000),
            rtp_timeout: Some(Duration::from_secs(60)),
            learn_source: false,
            dtmf,
        };
        let session = Session::new(now, config);
        Self {
            session,
            address,
            peer,
            events: Vec::new(),
            sent: Vec::new(),
            keep_sent: true,
            recorded: Vec::new(),
            drain: None,
            out: TickOutput::new(),
        }
    }

    pub(crate) fn command(&mut self, now: Instant, command: Command) {
        self.session.handle_command(now, command);
        self.collect();
    }

    pub(crate) fn connect(&mut self, now: Instant, agreed: Agreed) {
        let signalling = self.peer.ip();
        self.command(now, Command::Connect { agreed, signalling });
    }

    /// Connected and answered at once.
    pub(crate) fn answered(now: Instant, address: SocketAddr, peer: SocketAddr, seed: u64) -> Self {
        let mut end = Self::open(now, address, peer, seed);
        end.connect(now, agreed(peer));
        end.command(now, Command::Answered);
        end
    }

    pub(crate) fn play(&mut self, now: Instant, id: u64, audio: &[i16]) {
        let audio: Arc<[i16]> = audio.into();
        self.command(now, Command::Play { id: PlaybackId(id), audio, in_recording: true });
    }

    pub(crate) fn record(&mut self, now: Instant, channels: Channels) {
        let (tap, drain) = record::tap(channels);
        self.drain = Some(drain);
        self.command(now, Command::StartRecording(tap));
    }

    pub(crate) fn handle(&mut self, now: Instant, channel: Channel, from: SocketAddr, data: &[u8]) {
        match channel {
            Channel::Rtp => self.session.handle_packet(now, from, data),
            Channel::Rtcp => self.session.handle_rtcp(now, from, data),
        }
        self.collect();
    }

    /// A tick; what it sends.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<(Channel, SocketAddr, Vec<u8>)> {
        self.out.clear();
        self.session.tick(now, &mut self.out);
        let sent: Vec<_> = self.out.packets().map(|p| (p.channel, p.to, p.data.to_vec())).collect();
        if self.keep_sent {
            self.sent.extend(sent.iter().map(|(channel, _, data)| (now, *channel, data.clone())));
        }
        self.collect();
        sent
    }

    pub(crate) fn digits(&self) -> String {
        let digit = |event: &MediaEvent| match event {
            MediaEvent::Digit { digit, .. } => Some(*digit),
            _ => None,
        };
        self.events.iter().filter_map(digit).collect()
    }

    /// The RTP packets sent so far.
    pub(crate) fn rtp(&self) -> impl Iterator<Item = (Instant, &[u8])> {
        let rtp = self.sent.iter().filter(|(_, channel, _)| *channel == Channel::Rtp);
        rtp.map(|(at, _, data)| (*at, data.as_slice()))
    }

    fn collect(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.events.push(event);
        }
        let Some(drain) = &mut self.drain else { return };
        while let Some(frame) = drain.pop() {
            self.recorded.resize(self.recorded.len() + frame.gap() as usize, 0);
            self.recorded.extend_from_slice(frame.samples());
        }
        if drain.is_ended() {
            self.recorded.resize(self.recorded.len() + drain.tail() as usize, 0);
            self.drain = None;
        }
    }
}

/// A packet under way; the earliest comes first out of a heap.
#[derive(PartialEq, Eq)]
struct Flight {
    at: Instant,
    order: u64,
    to_second: bool,
    rtcp: bool,
    data: Vec<u8>,
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Two ends and the network between them.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) first: End,
    pub(crate) second: End,
    /// Delays of the copies of a packet that arrive, given its number; none: lost.
    pub(crate) network: Box<dyn FnMut(u64) -> Vec<Duration>>,
    flights: BinaryHeap<Flight>,
    order: u64,
    /// Between two slots of 20 ms.
    half: bool,
}

impl Pair {
    /// Both answered, on a network that delays by 5 ms and loses nothing.
    pub(crate) fn new(now: Instant) -> Self {
        let (first, second) = (address("192.0.2.1:4000"), address("192.0.2.2:6000"));
        Self {
            now,
            first: End::answered(now, first, second, 1),
            second: End::answered(now, second, first, 2),
            network: Box::new(|_| vec![Duration::from_millis(5)]),
            flights: BinaryHeap::new(),
            order: 0,
            half: false,
        }
    }

    /// Lets both ends run for this long.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(10);
            self.half = !self.half;
            self.deliver();
            for to_second in [true, false] {
                let from = if to_second { &mut self.first } else { &mut self.second };
                if self.half && from.session.interval() > Duration::from_millis(10) {
                    continue;
                }
                for (channel, _, data) in from.tick(self.now) {
                    self.send(to_second, channel == Channel::Rtcp, data);
                }
            }
        }
    }

    fn send(&mut self, to_second: bool, rtcp: bool, data: Vec<u8>) {
        self.order += 1;
        for delay in (self.network)(self.order) {
            self.order += 1;
            let at = self.now + delay;
            let data = data.clone();
            self.flights.push(Flight { at, order: self.order, to_second, rtcp, data });
        }
    }

    fn deliver(&mut self) {
        while self.flights.peek().is_some_and(|flight| flight.at <= self.now) {
            let Some(flight) = self.flights.pop() else { return };
            let (to, from) = match flight.to_second {
                true => (&mut self.second, self.first.address),
                false => (&mut self.first, self.second.address),
            };
            let (channel, port) = match flight.rtcp {
                true => (Channel::Rtcp, from.port() + 1),
                false => (Channel::Rtp, from.port()),
            };
            to.handle(flight.at, channel, SocketAddr::new(from.ip(), port), &flight.data);
        }
    }
}

/// A hand-made RTP packet.
pub(crate) fn rtp(pt: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, pt];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&timestamp.to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

/// The fields of an RTP packet of ours: payload type with marker, sequence, timestamp, payload.
pub(crate) fn fields(packet: &[u8]) -> (u8, u16, u32, &[u8]) {
    let sequence = u16::from_be_bytes(packet[2..4].try_into().unwrap());
    let timestamp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
    (packet[1], sequence, timestamp, &packet[12..])
}

/// A sine of `frequency` Hz at 8 kHz, sample `at` of it.
pub(crate) fn sine(frequency: f64, amplitude: f64, at: i64) -> i16 {
    ((at as f64 * frequency * std::f64::consts::TAU / 8000.0).sin() * amplitude).round() as i16
}

/// The largest step from one sample to the next.
pub(crate) fn steepest(audio: &[i16]) -> i32 {
    audio.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap_or(0)
}

/// The sine of `frequency` that fits best: its amplitude, and what is left, in dB below it.
pub(crate) fn fit(audio: &[i16], frequency: f64) -> (f64, f64) {
    let phase = |i: usize| i as f64 * frequency * std::f64::consts::TAU / 8000.0;
    let (mut a, mut b) = (0.0, 0.0);
    for (i, sample) in audio.iter().enumerate() {
        a += f64::from(*sample) * phase(i).sin();
        b += f64::from(*sample) * phase(i).cos();
    }
    let scale = 2.0 / audio.len() as f64;
    let (a, b) = (a * scale, b * scale);
    let rest = |(i, sample): (usize, &i16)| {
        (f64::from(*sample) - a * phase(i).sin() - b * phase(i).cos()).powi(2)
    };
    let noise = audio.iter().enumerate().map(rest).sum::<f64>() / audio.len() as f64;
    let amplitude = a.hypot(b);
    (amplitude, 10.0 * (amplitude * amplitude / 2.0 / noise).log10())
}
