//! M6: RFC 4733 through loss, reordering and duplicates; bytes of what we send by hand.

use std::time::{Duration, Instant};

use kaphila_media::session::{Command, DigitMethod, Digits, MediaEvent};

use crate::session_support::{EVENTS, End, Pair, Random, address, agreed, fields, rtp};

const ALL: &str = "0123456789*#ABCD";

fn dial(pair: &mut Pair, digits: &str) {
    let digits = Digits::try_from(digits).unwrap();
    let command = Command::SendDigits { digits, duration_ms: 100, gap_ms: 100 };
    pair.first.command(pair.now, command);
}

#[test]
fn every_key_arrives_once_and_is_told_as_sent() {
    let mut pair = Pair::new(Instant::now());
    dial(&mut pair, ALL);
    pair.run(Duration::from_secs(4));
    assert_eq!(pair.second.digits(), ALL);
    let digits = Digits::try_from(ALL).unwrap();
    assert!(pair.first.events.contains(&MediaEvent::DigitsSent { digits, completed: true }));
}

#[test]
fn the_loss_of_any_packet_of_a_press_loses_no_digit() {
    // Ten packets of audio go first, then the seven of the press.
    for lost in 0..30 {
        let mut pair = Pair::new(Instant::now());
        let mut count = 0;
        pair.run(Duration::from_millis(200));
        dial(&mut pair, "7");
        pair.network = Box::new(move |_| {
            count += 1;
            if count == lost { vec![] } else { vec![Duration::from_millis(5)] }
        });
        pair.run(Duration::from_secs(1));
        assert_eq!(pair.second.digits(), "7", "packet {lost} lost");
    }
}

#[test]
fn reordered_and_doubled_packets_make_no_second_digit() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let mut pair = Pair::new(Instant::now());
        pair.network = Box::new(move |_| {
            let copies = 1 + random.below(3);
            (0..copies).map(|_| Duration::from_millis(random.below(90))).collect()
        });
        dial(&mut pair, "1122334455");
        pair.run(Duration::from_secs(4));
        assert_eq!(pair.second.digits(), "1122334455", "seed {seed}");
    }
}

#[test]
fn one_packet_in_ten_lost_loses_no_more_than_one_digit_in_a_thousand() {
    let seed = 4733;
    let mut random = Random(seed);
    let mut pair = Pair::new(Instant::now());
    (pair.first.keep_sent, pair.second.keep_sent) = (false, false);
    pair.network = Box::new(move |_| {
        let delay = Duration::from_millis(random.below(40));
        if random.chance(10) { vec![] } else { vec![delay] }
    });
    let rounds = 40;
    for _ in 0..rounds {
        dial(&mut pair, "12345678901234567890123456789012345678901234567890");
        pair.run(Duration::from_millis(50 * 200 + 200));
    }
    let heard = pair.second.digits().len();
    println!("M6: {heard} of {} digits at 10 % loss, seed {seed}", rounds * 50);
    assert!((rounds * 50 - 2..=rounds * 50).contains(&heard), "{heard} heard, seed {seed}");
}

#[test]
fn our_digit_has_the_bytes_of_the_rfc_and_the_audio_clock_runs_on() {
    let mut pair = Pair::new(Instant::now());
    pair.run(Duration::from_millis(100));
    let tone = vec![1000; 8000];
    pair.first.play(pair.now, 1, &tone);
    pair.run(Duration::from_millis(100));
    dial(&mut pair, "#");
    pair.run(Duration::from_millis(400));
    let packets: Vec<_> = pair.first.rtp().map(|(_, data)| data.to_vec()).collect();
    let first = fields(&packets[0]);
    let start = packets.iter().position(|p| fields(p).0 & 0x7f == EVENTS).unwrap();
    let event_at = first.2.wrapping_add(160 * start as u32);
    // Marker and type 101; one timestamp, that of the instant; event 11, E, volume 10, duration.
    let by_hand: [(u8, [u8; 4]); 7] = [
        (0xe5, [11, 0x0a, 0x00, 0xa0]),
        (0x65, [11, 0x0a, 0x01, 0x40]),
        (0x65, [11, 0x0a, 0x01, 0xe0]),
        (0x65, [11, 0x0a, 0x02, 0x80]),
        (0x65, [11, 0x8a, 0x03, 0x20]),
        (0x65, [11, 0x8a, 0x03, 0x20]),
        (0x65, [11, 0x8a, 0x03, 0x20]),
    ];
    for (i, packet) in packets.iter().enumerate() {
        let (kind, sequence, timestamp, payload) = fields(packet);
        assert_eq!(sequence, first.1.wrapping_add(i as u16));
        match i.checked_sub(start).and_then(|i| by_hand.get(i)) {
            Some((type_by_hand, payload_by_hand)) => {
                assert_eq!((kind, timestamp), (*type_by_hand, event_at));
                assert_eq!(payload, payload_by_hand);
            }
            None => {
                assert_eq!(kind & 0x7f, 0);
                assert_eq!(timestamp, first.2.wrapping_add(160 * i as u32));
            }
        }
    }
}

#[test]
fn a_hang_up_while_a_key_is_down_still_ends_it() {
    let mut pair = Pair::new(Instant::now());
    dial(&mut pair, "55");
    pair.run(Duration::from_millis(60));
    pair.first.sent.clear();
    pair.first.command(pair.now, Command::Close);
    pair.run(Duration::from_millis(20));
    let ends: Vec<_> = pair.first.rtp().map(|(_, data)| fields(data).3.to_vec()).collect();
    assert_eq!(ends.len(), 3);
    assert!(ends.iter().all(|payload| payload[0] == 5 && payload[1] & 0x80 != 0));
    let digits = Digits::try_from("55").unwrap();
    assert!(pair.first.events.contains(&MediaEvent::DigitsSent { digits, completed: false }));
    assert!(matches!(pair.first.events.last(), Some(MediaEvent::Closed(_))));
}

#[test]
fn digits_before_any_description_are_refused() {
    let now = Instant::now();
    let mut end = End::open(now, address("192.0.2.1:4000"), address("192.0.2.9:5000"), 1);
    let digits = Digits::try_from("1").unwrap();
    let command = Command::SendDigits { digits: digits.clone(), duration_ms: 100, gap_ms: 100 };
    end.command(now, command);
    assert_eq!(end.events, [MediaEvent::DigitsSent { digits, completed: false }]);
}

#[test]
fn a_press_by_event_and_by_info_counts_once() {
    let now = Instant::now();
    let peer = address("192.0.2.9:5000");
    let mut end = End::answered(now, address("192.0.2.1:4000"), peer, 1);
    end.session.handle_packet(now, peer, &rtp(EVENTS, 1, 800, 9, &[4, 0x0a, 0, 160]));
    let info = |digit| Command::InfoDigit { digit, duration_ms: 250 };
    end.command(now + Duration::from_millis(300), info('4'));
    end.command(now + Duration::from_millis(700), info('d'));
    end.command(now + Duration::from_millis(800), info('x'));
    let digit = |digit, method, duration_ms| MediaEvent::Digit { digit, method, duration_ms };
    assert_eq!(
        end.events,
        [digit('4', DigitMethod::Rfc4733, 20), digit('D', DigitMethod::Info, 250)]
    );
    assert_eq!(end.session.counters().bad_digits, 1);
}

#[test]
fn the_streams_of_sipp_are_heard() {
    // Debian's sip-tester brings one capture a key; a machine without it counts none.
    let mut heard = 0;
    for (name, digit) in ALL.chars().take(12).map(|c| match c {
        '*' => ("star".to_owned(), c),
        '#' => ("pound".to_owned(), c),
        c => (c.to_string(), c),
    }) {
        let path = format!("/usr/share/sip-tester/dtmf_2833_{name}.pcap");
        let Ok(capture) = std::fs::read(&path) else { continue };
        let now = Instant::now();
        let peer = address("192.0.2.9:5000");
        let mut end = End::open(now, address("192.0.2.1:4000"), peer, 1);
        let mut agreed = agreed(peer);
        let events = [96, 97, 100, 101].map(|pt| (pt, 8000));
        agreed.event_receive = events
            .into_iter()
            .map(|(pt, clock)| kaphila_media::sdp::EventFormat { pt, clock })
            .collect();
        end.connect(now, agreed);
        for packet in udp_payloads(&capture) {
            end.handle(now, kaphila_media::session::Channel::Rtp, peer, packet);
        }
        assert_eq!(end.digits(), digit.to_string(), "{path}: {:?}", end.session.counters());
        heard += 1;
    }
    println!("{heard} of 12 captures were there");
}

/// The UDP payloads of a capture (libpcap, little-endian, Ethernet or raw-with-cooked header).
fn udp_payloads(capture: &[u8]) -> Vec<&[u8]> {
    let word = |at: usize| u32::from_le_bytes(capture[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(word(0), 0xa1b2_c3d4, "a little-endian capture");
    let link = match word(20) {
        1 => 14,
        113 => 16,
        other => panic!("link type {other}"),
    };
    let mut payloads = Vec::new();
    let mut at = 24;
    while at + 16 <= capture.len() {
        let len = word(at + 8);
        let frame = &capture[at + 16..at + 16 + len];
        let ip = &frame[link..];
        let header = usize::from(ip[0] & 0xf) * 4;
        let udp = &ip[header..];
        let udp_len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
        payloads.push(&udp[8..udp_len.min(udp.len())]);
        at += 16 + len;
    }
    payloads
}
