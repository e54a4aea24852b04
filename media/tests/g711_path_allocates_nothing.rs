//! The promise of the media path: after set-up, a G.711 packet costs no allocation, whichever way
//! it goes. Its own program, because it counts the allocations of a whole process.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unsafe_code,
    missing_docs,
    reason = "a counting allocator is unsafe code by its nature; a test's clock starts somewhere"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kaphila_media::amd::Params;
use kaphila_media::codec::Codec;
use kaphila_media::record::{Channels, tap};
use kaphila_media::sdp::{Agreed, Direction, EventFormat};
use kaphila_media::session::{
    Command, Digits, Listening, MediaEvent, PlaybackId, Session, SessionConfig, TickOutput,
};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    COUNT.with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn agreed(peer: SocketAddr) -> Agreed {
    let event = EventFormat { pt: 101, clock: 8000 };
    Agreed {
        remote: peer,
        remote_rtcp: SocketAddr::new(peer.ip(), peer.port() + 1),
        direction: Direction::SendRecv,
        send: Codec::Pcmu,
        send_pt: 0,
        receive: [(0, Codec::Pcmu), (8, Codec::Pcma)].into_iter().collect(),
        event_send: Some(event),
        event_receive: [event].into_iter().collect(),
        ptime_ms: 20,
    }
}

fn config() -> SessionConfig {
    SessionConfig {
        ssrc: 1,
        sequence: 65_000,
        timestamp: u32::MAX - 100_000,
        seed: 3,
        unix_time: Duration::from_secs(1_700_000_000),
        rtp_timeout: Some(Duration::from_secs(60)),
        learn_source: false,
        dtmf: Listening::Both,
    }
}

#[test]
fn playing_receiving_digits_detection_recording_and_rtcp_allocate_nothing() {
    let start = Instant::now();
    let peer: SocketAddr = "192.0.2.9:5000".parse().unwrap();
    let rtcp = SocketAddr::new(peer.ip(), peer.port() + 1);
    let mut session = Session::new(start, config());
    let (tap, mut drain) = tap(Channels::Mono);
    let (agreed, signalling) = (agreed(peer), peer.ip());
    session.handle_command(start, Command::Connect { agreed, signalling });
    session.handle_command(start, Command::StartRecording(tap));
    session.handle_command(start, Command::StartAmd(Params::default()));
    session.handle_command(start, Command::Answered);
    let audio: Arc<[i16]> = vec![1234; 8000 * 30].into();
    let kept = Arc::clone(&audio);
    for id in 0..3 {
        let audio = Arc::clone(&audio);
        let id = PlaybackId(id);
        session.handle_command(start, Command::Play { id, audio, in_recording: true });
    }
    let digits = Digits::try_from("1234567890").unwrap();
    session.handle_command(start, Command::SendDigits { digits, duration_ms: 100, gap_ms: 100 });

    let mut out = TickOutput::new();
    let mut packet = [0x55; 172];
    packet[0] = 0x80;
    let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
    let (mut sent, mut recorded, mut pressed, mut told) = (0, 0, 0, 0);
    let before = COUNT.with(Cell::get);
    for i in 0..5000_u32 {
        let now = start + Duration::from_millis(u64::from(i) * 20);
        packet[2..4].copy_from_slice(&(i as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(i * 160).to_be_bytes());
        packet[8..12].copy_from_slice(&[0, 0, 0, 7]);
        match i % 50 {
            // A press, in events and in an INFO.
            10..16 => {
                packet[1] = 101;
                packet[4..8].copy_from_slice(&(i / 50 * 8000).to_be_bytes());
                packet[12..16].copy_from_slice(&[5, 0x0a, 0, 160]);
                session.handle_packet(now, peer, &packet[..16]);
                session.handle_command(now, Command::InfoDigit { digit: '5', duration_ms: 9 });
            }
            // Lost.
            20 | 21 => {}
            // Both laws.
            n => {
                packet[1] = if n < 25 { 0 } else { 8 };
                session.handle_packet(now, peer, &packet);
            }
        }
        session.handle_rtcp(now, rtcp, &report);
        session.handle_packet(now, SocketAddr::new(peer.ip(), 9), &packet);
        out.clear();
        session.tick(now, &mut out);
        sent += out.packets().count();
        while let Some(event) = session.poll_event() {
            // The digits that were asked for come back in the one event that owns something.
            match event {
                MediaEvent::Digit { .. } => pressed += 1,
                MediaEvent::DigitsSent { digits, .. } => std::mem::forget(digits),
                _ => told += 1,
            }
        }
        while let Some(frame) = drain.pop() {
            recorded += frame.samples().len();
        }
    }
    let after = COUNT.with(Cell::get);
    assert_eq!(after - before, 0, "allocations and releases in 5000 slots");
    assert!(sent > 5000 && recorded > 4990 * 160, "{sent} sent, {recorded} recorded");
    assert!(pressed >= 100 && told >= 7, "{pressed} pressed, {told} more events");
    drop(kept);
}

#[test]
fn keys_as_tones_both_ways_allocate_nothing() {
    let start = Instant::now();
    let peer: SocketAddr = "192.0.2.9:5000".parse().unwrap();
    let mut session = Session::new(start, config());
    let agreed = Agreed { event_send: None, ..agreed(peer) };
    session.handle_command(start, Command::Connect { agreed, signalling: peer.ip() });
    session.handle_command(start, Command::Answered);
    let digits = Digits::try_from("123A456B789C*0#D").unwrap();
    session.handle_command(start, Command::SendDigits { digits, duration_ms: 100, gap_ms: 100 });
    // The key 5, 100 ms in each second.
    let mut tone = [0; 800];
    for (at, sample) in (0..).zip(&mut tone) {
        *sample = kaphila_media::dtmf::tone::sample(5, at, 800);
    }
    let mut out = TickOutput::new();
    let mut packet = [0xff; 172];
    packet[..12].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    let (mut pressed, mut told) = (0, None);
    let before = COUNT.with(Cell::get);
    for i in 0..5000_u32 {
        let now = start + Duration::from_millis(u64::from(i) * 20);
        packet[2..4].copy_from_slice(&(i as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(i * 160).to_be_bytes());
        match tone.chunks_exact(160).nth((i % 50) as usize) {
            Some(audio) => drop(Codec::Pcmu.encode(audio, &mut packet[12..])),
            None => packet[12..].fill(0xff),
        }
        session.handle_packet(now, peer, &packet);
        out.clear();
        session.tick(now, &mut out);
        while let Some(event) = session.poll_event() {
            match event {
                MediaEvent::Digit { .. } => pressed += 1,
                // Its text was allocated by the command; it is not freed in here.
                MediaEvent::DigitsSent { digits, .. } => told = Some(digits),
                _ => {}
            }
        }
    }
    assert_eq!(COUNT.with(Cell::get) - before, 0);
    // The first four are the echo of what we send ourselves.
    assert!((95..=100).contains(&pressed), "{pressed}");
    assert!(told.is_some());
}
