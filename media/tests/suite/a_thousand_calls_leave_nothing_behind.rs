//! 1 000 calls with media and recordings, opened and closed in every way: no descriptor, thread,
//! port or recording is left.
#![allow(clippy::disallowed_methods, reason = "waits for real threads")]

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use kaphila_media::engine::{Engine, EngineConfig, OpenError, OpenOptions};
use kaphila_media::record::Channels;
use kaphila_media::session::{Command, MediaEvent};

/// Runs `inner` in a process of its own: what it counts and limits belongs to the whole process.
fn alone(test: &str, inner: fn()) {
    const INNER: &str = "KAPHILA_TEST_INNER";
    if std::env::var_os(INNER).is_some() {
        return inner();
    }
    let module = module_path!().split_once("::").map_or("", |(_, module)| module);
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}"), "--test-threads=1", "--nocapture"])
        .env(INNER, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{output:?}");
}

#[test]
fn nothing_is_left_after_a_thousand_calls() {
    alone("nothing_is_left_after_a_thousand_calls", open_and_close_a_thousand);
}

#[test]
fn descriptors_run_out_by_name_and_it_heals() {
    alone("descriptors_run_out_by_name_and_it_heals", run_out_of_descriptors);
}

fn run_out_of_descriptors() {
    let engine = engine(22200..=22299);
    let limit = count("/proc/self/fd") as u64 + 10;
    let limits = rustix::process::Rlimit { current: Some(limit), maximum: Some(limit) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limits).unwrap();
    let mut calls = Vec::new();
    let error = loop {
        match engine.open(OpenOptions::default()) {
            Ok(call) => calls.push(call),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, OpenError::NoDescriptor(_)), "{error}");
    assert!(!calls.is_empty());
    assert_eq!(engine.stats().ports_in_use, calls.len());
    calls.clear();
    let start = Instant::now();
    while engine.open(OpenOptions::default()).is_err() {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
}

fn engine(ports: std::ops::RangeInclusive<u16>) -> Engine {
    Engine::start(EngineConfig {
        workers: 2,
        address: IpAddr::from([127, 0, 0, 3]),
        ports,
        port_rest: Duration::ZERO,
        ..EngineConfig::default()
    })
    .unwrap()
}

fn count(folder: &str) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn open_and_close_a_thousand() {
    let folder = tempfile::tempdir().unwrap();
    let before = (count("/proc/self/fd"), count("/proc/self/task"));
    let engine = engine(22000..=22199);
    let started = (count("/proc/self/fd"), count("/proc/self/task"));
    let mut recorded = 0;
    for round in 0..10 {
        let mut open = Vec::new();
        while open.len() < 100 {
            match engine.open(OpenOptions::default()) {
                Ok(call) => open.push(call),
                // The last round's calls are still on their way out.
                Err(OpenError::NoPort(_)) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        for (n, (call, _)) in open.iter().enumerate() {
            if n % 2 == 0 {
                let path = folder.path().join(format!("{round}-{n}.wav"));
                call.record(path, Channels::Mono).unwrap();
                recorded += 1;
                call.command(Command::Answered).unwrap();
            }
        }
        // Half are closed and then heard to the end, half just dropped with their receiver.
        for (n, (call, mut events)) in open.into_iter().enumerate() {
            if n % 4 < 2 {
                call.command(Command::Close).unwrap();
                drop(call);
                let told: Vec<_> = std::iter::from_fn(|| events.blocking_recv()).collect();
                let ends = told.iter().filter(|e| matches!(e, MediaEvent::Closed(_))).count();
                assert_eq!(ends, 1, "{told:?}");
            }
        }
    }
    let start = Instant::now();
    loop {
        let stats = engine.stats();
        let now = (count("/proc/self/fd"), count("/proc/self/task"));
        let at_rest = stats.calls == 0 && stats.ports_in_use == 0 && stats.recordings == 0;
        if at_rest && now == started {
            assert_eq!(stats.opened, 1000);
            assert_eq!(stats.recordings_completed, recorded);
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{now:?} of {started:?}: {stats:?}");
        std::thread::yield_now();
    }
    engine.shutdown();
    assert_eq!((count("/proc/self/fd"), count("/proc/self/task")), before);
}
