//! RTCP both ways over a network that delays and loses: figures that both ends agree on.

use std::time::{Duration, Instant};

use kaphila_media::rtcp::Compound;
use kaphila_media::session::{Channel, Command, MediaEvent, Quality};

use crate::session_support::{Pair, Random};

fn quality(pair: &mut Pair) -> Quality {
    pair.first.command(pair.now, Command::Close);
    pair.run(Duration::from_millis(20));
    match pair.first.events.last() {
        Some(MediaEvent::Closed(quality)) => quality.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_line_earns_the_best_score() {
    let mut pair = Pair::new(Instant::now());
    pair.run(Duration::from_secs(60));
    let quality = quality(&mut pair);
    assert_eq!(quality.loss_percent, 0.0);
    assert!(quality.mos.unwrap() > 4.3, "{quality:?}");
    assert!(quality.jitter_ms < 0.2, "{quality:?}");
    // Packets arrive on the grid of 10 ms of this bench: 5 ms become 5, the reports' turn 10.
    let rtt = quality.rtt_ms.unwrap();
    assert!((9.9..=11.0).contains(&rtt), "{quality:?}");
    assert_eq!(quality.far_loss_percent, Some(0.0));
}

#[test]
fn loss_delay_and_jitter_are_measured_as_they_are() {
    let seed = 77;
    let mut random = Random(seed);
    let mut pair = Pair::new(Instant::now());
    pair.network = Box::new(move |_| {
        let delay = Duration::from_millis(80 + random.below(20));
        if random.chance(10) { vec![] } else { vec![delay] }
    });
    pair.run(Duration::from_secs(300));
    let quality = quality(&mut pair);
    assert!((8.0..12.0).contains(&quality.loss_percent), "{quality:?}");
    assert!((8.0..12.0).contains(&quality.far_loss_percent.unwrap()), "{quality:?}");
    // 80 to 99 ms each way.
    assert!((160.0..205.0).contains(&quality.rtt_ms.unwrap()), "{quality:?}");
    assert!((3.0..12.0).contains(&quality.jitter_ms), "{quality:?}");
    assert!((3.0..4.1).contains(&quality.mos.unwrap()), "{quality:?}");
}

#[test]
fn reports_come_every_five_seconds_or_so_and_a_goodbye_at_the_end() {
    let mut pair = Pair::new(Instant::now());
    pair.run(Duration::from_secs(600));
    quality(&mut pair);
    let rtcp: Vec<_> = pair.first.sent.iter().filter(|(_, c, _)| *c == Channel::Rtcp).collect();
    assert!((100..140).contains(&rtcp.len()), "{} in 600 s", rtcp.len());
    let gaps: Vec<_> = rtcp.windows(2).map(|w| w[1].0 - w[0].0).collect();
    let usual = &gaps[..gaps.len() - 1];
    let bounds = Duration::from_millis(2500)..=Duration::from_millis(7530);
    assert!(usual.iter().all(|gap| bounds.contains(gap)), "{usual:?}");
    assert!(usual.iter().max() > usual.iter().min(), "they are spread");
    let ssrc = u32::from_be_bytes(rtcp[0].2[4..8].try_into().unwrap());
    for (i, (_, _, data)) in rtcp.iter().enumerate() {
        let compound = Compound::parse(data).unwrap();
        let reports: Vec<_> = compound.reports(0).collect();
        assert_eq!(reports.len(), 1);
        assert!(reports[0].sender.is_some());
        let goodbyes: Vec<_> = compound.goodbyes().collect();
        assert_eq!(goodbyes.contains(&ssrc), i == rtcp.len() - 1);
    }
    let last = Compound::parse(&rtcp[rtcp.len() - 1].2).unwrap().reports(0).next().unwrap();
    let sender = last.sender.unwrap();
    assert_eq!(sender.packets, 30_000);
    assert_eq!(sender.octets, 30_000 * 160);
}
