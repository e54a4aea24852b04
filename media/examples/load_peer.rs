//! Measures what a call costs the media threads and how evenly their packets come.
//!
//! `cargo run --release -p kaphila-media --example load_peer -- --calls 300 --seconds 20`
//! runs that many G.711 calls of an engine against a plain peer on 127.0.0.2, both playing all the
//! time, telephone-events agreed. It prints the CPU time of the engine's threads (as the scheduler
//! accounts it, kernel included) per call, and the gaps between packets as the peer receives them.
//! `--record` records every call into a temporary folder, `--amd` keeps a detector listening,
//! `--tones` another one for keys in the audio,
//! `--workers N` sets the number of worker threads, `--ptime MS` the packet length. The peer takes
//! its packets once a millisecond, as a network card would; only with `--gaps` it is woken for each,
//! to time it, which costs the thread that sends some 2 µs a packet.
#![allow(clippy::disallowed_methods, reason = "a driver: it measures time")]

use std::collections::HashMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kaphila_media::amd;
use kaphila_media::engine::{Engine, EngineConfig, MediaCall, OpenOptions};
use kaphila_media::net;
use kaphila_media::record::Channels;
use kaphila_media::sdp::{Capabilities, Negotiation};
use kaphila_media::session::{Command, Listening, MediaEvent, PlaybackId};
use tokio::sync::mpsc::Receiver;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const OURS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What is not measured at the beginning: everything settles.
const WARM_UP: Duration = Duration::from_secs(2);

struct Options {
    calls: usize,
    seconds: u64,
    workers: usize,
    ptime: u8,
    record: bool,
    amd: bool,
    tones: bool,
    gaps: bool,
}

fn main() -> Result<()> {
    let options = options()?;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised_limit())?;
    let folder = tempfile::tempdir()?;
    let engine = Engine::start(EngineConfig {
        workers: options.workers,
        address: OURS,
        ports: 10000..=10001 + 2 * options.calls as u16,
        ..EngineConfig::default()
    })?;
    let socket = UdpSocket::bind((PEER, 0))?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut calls = Vec::new();
    let _ = prompt();
    let before = resident_kib()?;
    for n in 0..options.calls {
        calls.push(open(&engine, &options, n, socket.local_addr()?, folder.path())?);
    }

    let over = Arc::new(AtomicBool::new(false));
    let sender = {
        let (socket, over) = (socket.try_clone()?, Arc::clone(&over));
        let targets = calls.iter().map(|(call, _)| call.local()).collect::<Vec<_>>();
        let ptime = options.ptime;
        let run = move || send(&socket, &targets, ptime, &over);
        std::thread::Builder::new().name("peer-send".into()).spawn(run)?
    };
    let begin = Instant::now() + WARM_UP;
    let receiver = {
        let over = Arc::clone(&over);
        let gaps = options.gaps;
        let run = move || receive(&socket, begin, gaps, &over);
        std::thread::Builder::new().name("peer-receive".into()).spawn(run)?
    };
    std::thread::sleep(WARM_UP);
    let cpu_before = cpu_by_thread()?;
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(options.seconds));
    let elapsed = began.elapsed();
    let cpu_after = cpu_by_thread()?;
    let resident = resident_kib()?;
    over.store(true, Ordering::Relaxed);
    let heard = receiver.join().map_err(|_| "the receiving thread panicked")?;
    sender.join().map_err(|_| "the sending thread panicked")?;

    print_cpu(&options, elapsed, &cpu_before, &cpu_after);
    println!("memory: {} KiB a call", (resident - before) / options.calls as i64);
    heard.print(options.ptime, began.elapsed());
    let stats = engine.stats();
    println!(
        "engine: sent {} received {} errors {} skipped {}; slots late p99 {:?} p99.9 {:?}",
        stats.sent,
        stats.received,
        stats.send_errors,
        stats.skipped,
        stats.lateness.quantile(0.99),
        stats.lateness.quantile(0.999),
    );
    drop(calls.iter_mut().map(|(call, _)| call.command(Command::Close)).collect::<Vec<_>>());
    let (mut quality, mut partial) = (None, None);
    for (_, events) in &mut calls {
        while let Some(event) = events.blocking_recv() {
            match event {
                MediaEvent::Closed(closed) => quality = Some(closed),
                MediaEvent::RecordingFinished(end) => partial = end.partial.or(partial),
                _ => {}
            }
        }
    }
    println!("one call: {quality:?}");
    let stats = engine.stats();
    println!(
        "recordings: {} whole, {} partial: {partial:?}",
        stats.recordings_completed, stats.recordings_partial
    );
    Ok(())
}

fn options() -> Result<Options> {
    let mut options = Options {
        calls: 300,
        seconds: 20,
        workers: 0,
        ptime: 20,
        record: false,
        amd: false,
        tones: false,
        gaps: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--calls" => options.calls = value()?.parse()?,
            "--seconds" => options.seconds = value()?.parse()?,
            "--workers" => options.workers = value()?.parse()?,
            "--ptime" => options.ptime = value()?.parse()?,
            "--record" => options.record = true,
            "--amd" => options.amd = true,
            "--tones" => options.tones = true,
            "--gaps" => options.gaps = true,
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    Ok(options)
}

fn raised_limit() -> rustix::process::Rlimit {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum }
}

/// One answered call that plays without end.
fn open(
    engine: &Engine,
    options: &Options,
    n: usize,
    peer: SocketAddr,
    folder: &std::path::Path,
) -> Result<(MediaCall, Receiver<MediaEvent>)> {
    let dtmf = if options.tones { Listening::Both } else { Listening::default() };
    let (call, events) = engine.open(OpenOptions { dtmf, ..OpenOptions::default() })?;
    let capabilities = Capabilities { ptime_ms: options.ptime, ..Capabilities::default() };
    let mut negotiation = Negotiation::new(capabilities, call.local(), n as u64);
    let _ = negotiation.offer();
    let answer = format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:{ptime}\r\n",
        ip = peer.ip(),
        port = peer.port(),
        ptime = options.ptime,
    );
    let agreed = negotiation.handle_answer(answer.as_bytes())?;
    call.command(Command::Connect { agreed, signalling: peer.ip() })?;
    if options.record {
        call.record(folder.join(format!("{n}.wav")), Channels::Mono)?;
    }
    if options.amd {
        call.command(Command::StartAmd(amd::Params::default()))?;
    }
    call.command(Command::Answered)?;
    call.command(Command::Play { id: PlaybackId(1), audio: prompt(), in_recording: true })?;
    Ok((call, events))
}

/// All calls share one prompt, as they do in life.
fn prompt() -> Arc<[i16]> {
    static PROMPT: OnceLock<Arc<[i16]>> = OnceLock::new();
    let tone = || (0..8000 * 600).map(|n| ((n % 40) as i16 - 20) * 400).collect();
    Arc::clone(PROMPT.get_or_init(tone))
}

/// Sends each call a packet every `ptime`, the calls spread over it.
fn send(socket: &UdpSocket, targets: &[SocketAddr], ptime: u8, over: &AtomicBool) {
    let samples = usize::from(ptime) * 8;
    let mut packet = vec![0x55; 12 + samples];
    let start = Instant::now();
    let period = Duration::from_millis(ptime.into());
    for round in 0u32.. {
        for (n, target) in targets.iter().enumerate() {
            let due = start + period * round + period * n as u32 / targets.len() as u32;
            let now = Instant::now();
            // In groups of a millisecond, so that the peer does not eat the machine.
            if due > now + Duration::from_millis(1) {
                std::thread::sleep(due - now);
            }
            if over.load(Ordering::Relaxed) {
                return;
            }
            let header = [&[0x80, 0][..], &(round as u16).to_be_bytes()[..]].concat();
            packet.splice(..4, header);
            packet.splice(4..8, (round * samples as u32).to_be_bytes());
            packet.splice(8..12, (n as u32).to_be_bytes());
            let _ = socket.send_to(&packet, target);
        }
    }
}

/// What the peer heard.
#[derive(Default)]
struct Heard {
    packets: u64,
    missing: u64,
    odd_timestamps: u64,
    gaps_us: Vec<u32>,
}

fn receive(socket: &UdpSocket, begin: Instant, gaps: bool, over: &AtomicBool) -> Heard {
    net::raise_priority();
    // Shared with the sender, which would rather wait for room than not.
    let _ = socket.set_nonblocking(!gaps);
    let mut heard = Heard::default();
    let mut last: HashMap<SocketAddr, (Instant, u16, u32)> = HashMap::new();
    let mut buffer = [0; net::MAX_DATAGRAM];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let now = Instant::now();
        let header = buffer.get(..length).and_then(|packet| packet.first_chunk());
        let Some(&[_, second, s0, s1, t0, t1, t2, t3]) = header else {
            continue;
        };
        if second & 0x7F != 0 || now < begin {
            continue; // RTCP and telephone-events, and the warming up
        }
        let sequence = u16::from_be_bytes([s0, s1]);
        let timestamp = u32::from_be_bytes([t0, t1, t2, t3]);
        heard.packets += 1;
        if let Some((at, old, stamp)) = last.insert(from, (now, sequence, timestamp)) {
            let step = sequence.wrapping_sub(old);
            heard.missing += u64::from(step.wrapping_sub(1));
            let samples = (length - 12) as u32 * u32::from(step);
            heard.odd_timestamps += u64::from(timestamp.wrapping_sub(stamp) != samples);
            if gaps {
                heard.gaps_us.push((now - at).as_micros() as u32);
            }
        }
    }
    heard
}

impl Heard {
    fn print(mut self, ptime: u8, elapsed: Duration) {
        self.gaps_us.sort_unstable();
        let at = |q: f64| {
            let rank = (self.gaps_us.len().saturating_sub(1)) as f64 * q;
            let gap = self.gaps_us.get(rank as usize).copied().unwrap_or(0);
            (f64::from(gap) - f64::from(ptime) * 1000.0) / 1000.0
        };
        println!(
            "peer: {} packets ({:.0} a second), {} missing, {} off the clock",
            self.packets,
            self.packets as f64 / elapsed.as_secs_f64(),
            self.missing,
            self.odd_timestamps,
        );
        if self.gaps_us.is_empty() {
            return;
        }
        println!(
            "gaps from {ptime} ms: p0.1 {:+.3} p1 {:+.3} p50 {:+.3} p99 {:+.3} p99.9 {:+.3} max {:+.3} ms",
            at(0.001),
            at(0.01),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
        );
    }
}

/// CPU time of each thread by its name, as the scheduler accounts it, in ns.
fn cpu_by_thread() -> Result<HashMap<String, u64>> {
    let mut all = HashMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let name = std::fs::read_to_string(path.join("comm"))?.trim().to_owned();
        let schedstat = std::fs::read_to_string(path.join("schedstat"))?;
        let ns: u64 = schedstat.split_whitespace().next().unwrap_or("0").parse()?;
        *all.entry(name).or_default() += ns;
    }
    Ok(all)
}

fn print_cpu(
    options: &Options,
    elapsed: Duration,
    before: &HashMap<String, u64>,
    after: &HashMap<String, u64>,
) {
    let mut names: Vec<_> = after.keys().collect();
    names.sort();
    let mut engine = 0.0;
    for name in names {
        let ns = after[name] - before.get(name).copied().unwrap_or(0);
        let percent = ns as f64 / elapsed.as_nanos() as f64 * 100.0;
        println!("thread {name}: {percent:.2} % of a core");
        if name.starts_with("media-") || name.starts_with("spool") {
            engine += percent;
        }
    }
    println!("on the clock for {:.1} s", elapsed.as_secs_f64());
    println!(
        "engine: {engine:.2} % of a core for {} calls: {:.4} % a call",
        options.calls,
        engine / options.calls as f64,
    );
}

fn resident_kib() -> Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no VmRSS")?.parse()?)
}
