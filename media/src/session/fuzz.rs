//! The body of the RTP fuzz target: it lives here so that it always compiles.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::{Command, Listening, Session, SessionConfig, TickOutput};
use crate::codec::Codec;
use crate::record::{Channels, tap};
use crate::sdp::{Agreed, Direction, EventFormat, List};

/// Feeds a session with what `data` says: each byte chooses an input, those that carry a packet
/// take its length from the next. Whatever comes, the session must not panic, must not send more
/// than it may, and must end.
#[doc(hidden)]
pub fn fuzz_rtp(now: Instant, data: &[u8]) {
    let peer = SocketAddr::from(([192, 0, 2, 1], 4000));
    let mut session = session(now, peer);
    let (tap, mut drain) = tap(Channels::Mono);
    session.handle_command(now, Command::StartRecording(tap));
    session.handle_command(now, Command::StartAmd(crate::amd::Params::default()));
    let mut out = TickOutput::new();
    let mut at = now;
    let mut rest = data;
    while let Some((&op, after)) = rest.split_first() {
        rest = after;
        at += Duration::from_millis(u64::from(op >> 3));
        match op & 7 {
            0..=2 => session.handle_packet(at, peer, carve(&mut rest)),
            3 => session.handle_rtcp(at, peer, carve(&mut rest)),
            4 => event(&mut session, at, peer, carve(&mut rest)),
            5 => session.handle_packet(at, other(op), carve(&mut rest)),
            6 => session.handle_command(at, command(op)),
            _ => at += Duration::from_secs(u64::from(op)),
        }
        out.clear();
        session.tick(at, &mut out);
        assert!(out.packets().filter(|p| p.data.len() > 12).count() <= 2, "one of each at most");
        while session.poll_event().is_some() {}
        while drain.pop().is_some() {}
    }
    session.handle_command(at, Command::Close);
    session.tick(at, &mut out);
    assert!(session.is_closed());
}

/// A datagram out of the input.
fn carve<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let Some((&len, after)) = rest.split_first() else { return &[] };
    let (taken, left) = after.split_at(usize::from(len).min(after.len()));
    *rest = left;
    taken
}

/// A telephone-event packet with this payload, and a timestamp of its own.
fn event(session: &mut Session, at: Instant, peer: SocketAddr, payload: &[u8]) {
    let mut packet = vec![0x80, 101, 0, 1, 0, 0, 0, payload.first().copied().unwrap_or(0)];
    packet.extend_from_slice(&[0, 0, 0, 1]);
    packet.extend_from_slice(payload);
    session.handle_packet(at, peer, &packet);
}

fn other(op: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5000 + u16::from(op >> 6)))
}

fn command(op: u8) -> Command {
    match op >> 5 {
        0 => Command::Answered,
        1 => Command::StopRecording,
        2 => Command::InfoDigit { digit: char::from(op), duration_ms: 100 },
        3 => {
            let agreed = agreed(SocketAddr::from(([0, 0, 0, 0], 0)), Direction::RecvOnly, 30);
            Command::Connect { agreed, signalling: IpAddr::V4(Ipv4Addr::LOCALHOST) }
        }
        _ => {
            let agreed = agreed(other(op), Direction::SendRecv, 20);
            Command::Connect { agreed, signalling: IpAddr::V4(Ipv4Addr::LOCALHOST) }
        }
    }
}

fn agreed(remote: SocketAddr, direction: Direction, ptime_ms: u8) -> Agreed {
    let event = EventFormat { pt: 101, clock: 8000 };
    Agreed {
        remote,
        remote_rtcp: SocketAddr::new(remote.ip(), remote.port() + 1),
        direction,
        send: Codec::Pcmu,
        send_pt: 0,
        receive: [(0, Codec::Pcmu), (8, Codec::Pcma)].into_iter().collect::<List<_>>(),
        event_send: Some(event),
        event_receive: [event].into_iter().collect(),
        ptime_ms,
    }
}

fn session(now: Instant, peer: SocketAddr) -> Session {
    let config = SessionConfig {
        ssrc: 1,
        sequence: 0xfff0,
        timestamp: 0xffff_ff00,
        seed: 1,
        unix_time: Duration::from_secs(1_700_000_000),
        rtp_timeout: Some(Duration::from_secs(60)),
        learn_source: false,
        dtmf: Listening::Both,
    };
    let mut session = Session::new(now, config);
    let agreed = agreed(peer, Direction::SendRecv, 20);
    let signalling = peer.ip();
    session.handle_command(now, Command::Connect { agreed, signalling });
    session.handle_command(now, Command::Answered);
    session
}
