//! The engine on real sockets of the loopback.

use std::collections::HashSet;
use std::net::UdpSocket;

use super::*;

fn config(ports: RangeInclusive<u16>) -> EngineConfig {
    EngineConfig { workers: 2, address: IpAddr::from([127, 0, 0, 1]), ports, ..Default::default() }
}

/// Waits for what another thread is about to do.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "still waiting for: {what}");
        std::thread::yield_now();
    }
}

fn events(receiver: &mut mpsc::Receiver<MediaEvent>) -> Vec<MediaEvent> {
    std::iter::from_fn(|| receiver.blocking_recv()).collect()
}

#[test]
fn the_control_side_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Engine>();
    shared::<MediaCall>();
}

#[test]
fn what_is_not_built_or_makes_no_sense_is_refused_by_name() {
    let dense = EngineConfig { calls_per_port: 8, ..config(21000..=21009) };
    let error = Engine::start(dense).unwrap_err().to_string();
    assert!(error.contains("calls_per_port = 8 is not built"), "{error}");
    assert!(matches!(Engine::start(config(21001..=21002)), Err(StartError::NoPorts(_))));
    let odd = EngineConfig { dscp: 64, ..config(21000..=21009) };
    assert!(matches!(Engine::start(odd), Err(StartError::Dscp(64))));
}

#[test]
fn ports_run_out_by_name_and_rest_before_they_come_back() {
    let rest = Duration::from_millis(50);
    let engine = Engine::start(EngineConfig { port_rest: rest, ..config(21010..=21015) }).unwrap();
    let calls: Vec<_> = (0..3).map(|_| engine.open(OpenOptions::default()).unwrap()).collect();
    let ports: HashSet<u16> = calls.iter().map(|(call, _)| call.local().port()).collect();
    assert_eq!(ports, HashSet::from([21010, 21012, 21014]));
    match engine.open(OpenOptions::default()) {
        Err(OpenError::NoPort(NoPort { in_use: 3, resting: 0 })) => {}
        other => panic!("{other:?}"),
    }
    drop(calls);
    until("the ports", || engine.stats().ports_in_use == 0);
    until("the rest", || engine.open(OpenOptions::default()).is_ok());
}

#[test]
fn a_port_that_another_process_holds_is_passed_over() {
    let _other = UdpSocket::bind("127.0.0.1:21021").unwrap();
    let engine = Engine::start(config(21020..=21023)).unwrap();
    let (call, _events) = engine.open(OpenOptions::default()).unwrap();
    assert_eq!(call.local().port(), 21022);
    assert!(matches!(engine.open(OpenOptions::default()), Err(OpenError::NoPort(_))));
}

#[test]
fn ipv6_calls_have_ipv6_ports() {
    let engine = Engine::start(config(21030..=21033)).unwrap();
    let address = Some("::1".parse().unwrap());
    let (call, _events) = engine.open(OpenOptions { address, ..Default::default() }).unwrap();
    assert!(call.local().is_ipv6());
}

#[test]
fn a_panic_in_one_call_ends_that_call_and_no_other() {
    let engine = Engine::start(EngineConfig { workers: 1, ..config(21040..=21049) }).unwrap();
    let (victim, mut victims_events) = engine.open(OpenOptions::default()).unwrap();
    let (other, mut others_events) = engine.open(OpenOptions::default()).unwrap();
    victim.panic();
    let told = events(&mut victims_events);
    assert!(matches!(&told[..], [MediaEvent::Failed { .. }]), "{told:?}");
    assert_eq!(victim.command(Command::Answered), Err(CommandError::Gone));
    assert_eq!(engine.stats().panics, 1);
    until("the port of the call", || engine.stats().ports_in_use == 1);

    other.command(Command::Answered).unwrap();
    drop(other);
    let told = events(&mut others_events);
    assert!(matches!(told.last(), Some(MediaEvent::Closed(_))), "{told:?}");
}

#[test]
fn shutdown_ends_every_call_with_its_last_event() {
    let engine = Engine::start(config(21050..=21069)).unwrap();
    let mut calls: Vec<_> = (0..10).map(|_| engine.open(OpenOptions::default()).unwrap()).collect();
    engine.shutdown();
    for (call, receiver) in &mut calls {
        let told = events(receiver);
        assert!(matches!(told.last(), Some(MediaEvent::Closed(_))), "{told:?}");
        assert_eq!(call.command(Command::Answered), Err(CommandError::Gone));
    }
}

#[test]
fn calls_are_spread_evenly_over_workers_and_phases() {
    let engine = Engine::start(config(21100..=21199)).unwrap();
    let _calls: Vec<_> = (0..40).map(|_| engine.open(OpenOptions::default()).unwrap()).collect();
    assert_eq!(engine.shared.lock().places, vec![[2; 10]; 2]);
}
