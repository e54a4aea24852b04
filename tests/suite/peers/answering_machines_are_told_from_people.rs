//! The answering machine detector over RTP that somebody else sends: SIPp plays greetings from
//! captures, and the webhooks tell the verdict.

use futures_util::future::join_all;
use serde_json::json;

use super::capture;
use super::ladder::{Ladder, Sdp};
use super::node::Node;
use super::sipp::Sipp;

/// A greeting as silence and voice in turn, in milliseconds, silence first; the verdict, its
/// cause, and how much of the greeting it takes: rows of the detector's reference.
#[rustfmt::skip]
const GREETINGS: &[(&[u32], &str, &str, u64)] = &[
    (&[6_000],                                 "HUMAN",   "INITIALSILENCE", 2_500),
    (&[300, 500, 3_000],                       "HUMAN",   "HUMAN",          1_600),
    (&[200, 400, 200, 600, 2_000],             "HUMAN",   "HUMAN",          2_200),
    (&[200, 300, 100, 300, 100, 300, 2_000],   "MACHINE", "MAXWORDS",       1_100),
    (&[200, 1_600, 2_000],                     "MACHINE", "LONGGREETING",   1_700),
    (&[200, 80, 4_000],                        "HUMAN",   "INITIALSILENCE", 2_780),
    (&[1_000, 80, 2_000, 80, 2_000],           "NOTSURE", "TOOLONG",        5_000),
    (&[2_400, 400, 2_000],                     "HUMAN",   "HUMAN",          3_600),
];

/// How far from the paper a verdict may come, in milliseconds. Earlier: the first frames are given
/// up where later packets came faster. Later: machines that run tests are slow.
const EARLIER: u64 = 100;
const LATER: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn from_what_a_carrier_plays() {
    if !capture::can_be_played() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let captures = (100..).zip(GREETINGS).map(|(code, (greeting, ..))| {
        let file = folder.path().join(format!("{code}.pcap"));
        capture::write(&file, greeting);
        (code, file)
    });
    let captures = captures.collect::<Vec<_>>();
    let ladder = Ladder::invited().accept(Sdp::at(0)).play_as_dialled(&captures).hung_up();
    let Some(carrier) = Sipp::carrier(&ladder, GREETINGS.len()).await else { return };
    let node = Node::start(&[carrier.address]).await;
    join_all((100..).zip(GREETINGS).map(
        async |(code, (greeting, status, cause, at)): (u16, _)| {
            let number = format!("14155550{code}");
            let classic = json!({ "mode": "classic" });
            let call = json!({ "number": number, "useAmd": true, "amd": classic });
            let call = node.place_with(call).await;
            let amd = node.event(&call, "call.answered").await["amd"].clone();
            assert_eq!(
                (&amd["status"], &amd["cause"]),
                (&(*status).into(), &(*cause).into()),
                "{greeting:?}: {amd}"
            );
            let decided = amd["decidedMs"].as_u64().unwrap();
            assert!((at - EARLIER..at + LATER).contains(&decided), "{greeting:?}: {amd}");
            node.command("/hangup", json!({ "callId": call })).await;
            node.event(&call, "call.ended").await;
        },
    ))
    .await;
    carrier.finish().await;
    node.stop().await;
}
