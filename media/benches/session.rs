//! The whole frame path of one call without its sockets: how many calls' worth of real time one
//! core carries.
//!
//! One iteration is one slot of 20 ms: a packet in, a packet out, AMD and a mono recording. A core
//! carries 20 ms ÷ time calls at once.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    reason = "criterion's macro makes the function; only the clock makes an Instant"
)]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kaphila_media::amd::Params;
use kaphila_media::record::{Channels, Drain, tap};
use kaphila_media::sdp::{Capabilities, Negotiation};
use kaphila_media::session::{Command, Listening, PlaybackId, Session, SessionConfig, TickOutput};

const PEER: ([u8; 4], u16) = ([192, 0, 2, 9], 5000);

/// A call that plays, and its recording.
fn call(start: Instant) -> (Session, Drain) {
    let peer = SocketAddr::from(PEER);
    let config = SessionConfig {
        ssrc: 1,
        sequence: 1,
        timestamp: 1,
        seed: 1,
        unix_time: Duration::from_secs(1_700_000_000),
        rtp_timeout: None,
        learn_source: false,
        dtmf: Listening::default(),
    };
    let mut session = Session::new(start, config);
    let local = SocketAddr::from(([192, 0, 2, 1], 4000));
    let mut caller = Negotiation::new(Capabilities::default(), peer, 1);
    let mut callee = Negotiation::new(Capabilities::default(), local, 2);
    if let Ok((_, agreed)) = callee.handle_offer(&caller.offer()) {
        session.handle_command(start, Command::Connect { agreed, signalling: peer.ip() });
    }
    let (tap, drain) = tap(Channels::Mono);
    session.handle_command(start, Command::StartRecording(tap));
    session.handle_command(start, Command::StartAmd(Params::default()));
    session.handle_command(start, Command::Answered);
    let audio: Arc<[i16]> = (0..8000).map(|n| (n * 7_919 % 20_000) as i16 - 10_000).collect();
    // Enough for every iteration: an hour a playback.
    let audio: Arc<[i16]> = audio.iter().copied().cycle().take(8000 * 3600).collect();
    for id in 0..20 {
        let (id, audio) = (PlaybackId(id), Arc::clone(&audio));
        session.handle_command(start, Command::Play { id, audio, in_recording: true });
    }
    (session, drain)
}

fn session(criterion: &mut Criterion) {
    let start = Instant::now();
    let peer = SocketAddr::from(PEER);
    let mut group = criterion.benchmark_group("session");
    group.throughput(Throughput::Elements(1));
    for (name, lost) in [("a slot of 20 ms", 0), ("a slot of 20 ms, one packet in 20 lost", 20)] {
        group.bench_function(name, |bencher| {
            let (mut session, mut drain) = call(start);
            let mut out = TickOutput::new();
            let mut packet = [0x80; 172];
            packet[1] = 0;
            packet[8..12].copy_from_slice(&[0, 0, 0, 7]);
            let mut slot = 0_u32;
            bencher.iter(|| {
                slot += 1;
                let now = start + Duration::from_millis(20) * slot;
                packet[2..4].copy_from_slice(&(slot as u16).to_be_bytes());
                packet[4..8].copy_from_slice(&slot.wrapping_mul(160).to_be_bytes());
                if !slot.is_multiple_of(lost) {
                    session.handle_packet(now, peer, black_box(&packet));
                }
                out.clear();
                session.tick(now, &mut out);
                while session.poll_event().is_some() {}
                while drain.pop().is_some() {}
                black_box(out.packets().count())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, session);
criterion_main!(benches);
