//! Keys in the audio: made by SoX and played by SIPp; ours, read by multimon-ng.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::ladder::{Ladder, Sdp};
use super::node::Node;
use super::rtp::Ear;
use super::sipp::Sipp;
use super::{capture, is_installed, own_address, scratch};

/// Rows and columns of the keypad in Hz (ITU-T Q.23).
const ROWS: [&str; 4] = ["697", "770", "852", "941"];
const COLUMNS: [&str; 4] = ["1209", "1336", "1477", "1633"];
const KEYS: &str = "123A456B789C*0#D";

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}

/// PCMU of the keys, 60 ms each and as long a pause: SoX's sines.
fn keys(folder: &Path) -> Vec<u8> {
    let mut line = vec![0xFF; 1_600];
    for place in 0..KEYS.len() {
        let file = folder.join("key.ul");
        let file = file.to_str().unwrap();
        let (row, column) = (ROWS[place / 4], COLUMNS[place % 4]);
        let out = ["-D", "-r", "8000", "-c", "2", "-n", "-c", "1", "-t", "ul", file];
        let tone = ["synth", "0.06", "sine", row, "sine", column];
        let mix = ["remix", "1v0.25,2v0.25", "pad", "0", "0.06"];
        run("sox", &[&out[..], &tone, &mix].concat());
        line.extend(std::fs::read(file).unwrap());
    }
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_of_a_carrier_is_heard_once() {
    if !capture::can_be_played() || !is_installed("sox") {
        return;
    }
    let folder = scratch();
    let file = folder.path().join("keys.pcap");
    capture::write_pcmu(&file, &keys(folder.path()));
    let sdp = Sdp { events: false, ..Sdp::at(0) };
    let ladder = Ladder::invited().accept(sdp).pause(100).play(&file).pause(2_600).bye();
    let Some(carrier) = Sipp::carrier(&ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "call.ended").await;
    carrier.finish().await;
    let events = node.events(&call);
    let presses = events.iter().filter(|event| event["event"] == "dtmf.received");
    let digits: String = presses.clone().map(|event| event["digit"].as_str().unwrap()).collect();
    assert_eq!(digits, KEYS);
    for press in presses {
        assert_eq!(press["method"], "inband");
        let length = press["durationMs"].as_u64().unwrap();
        assert!((32..=60).contains(&length), "{press}");
    }
    assert!(!node.log().contains("dtmf.received"), "no digit in the log");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_digits_we_send_are_read_by_another_detector() {
    if !is_installed("sox") || !is_installed("multimon-ng") {
        return;
    }
    let digits = "147*2580369#ABCD";
    let ip = own_address();
    let ear = Ear::at(ip).await;
    let ladder = Ladder::invited().accept(Sdp { events: false, ..Sdp::at(ear.port) }).hung_up();
    let Some(carrier) = Sipp::carrier_at(ip, &ladder, 1).await else { return };
    let node = Node::start(&[carrier.address]).await;
    let call = node.place("14155550100").await;
    node.event(&call, "call.answered").await;
    let body = json!({ "callId": call, "digits": digits, "durationMs": 60, "gapMs": 60 });
    node.command("/dtmf", body).await;
    let sent = node.event(&call, "dtmf.sent").await;
    assert_eq!((&sent["digits"], &sent["completed"]), (&json!(digits), &json!(true)));
    node.command("/hangup", json!({ "callId": call })).await;
    node.event(&call, "call.ended").await;
    carrier.finish().await;
    assert!(ear.heard().iter().all(|packet| packet.payload_type == 0));
    node.stop().await;

    let folder = scratch();
    let (from, to) = (folder.path().join("heard.ul"), folder.path().join("heard.raw"));
    std::fs::write(&from, ear.pcmu()).unwrap();
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    let raw = ["-t", "raw", "-r", "22050", "-e", "signed", "-b", "16"];
    run("sox", &[&["-D", "-t", "ul", "-r", "8000", from][..], &raw, &[to]].concat());
    let heard = run("multimon-ng", &["-q", "-a", "DTMF", "-t", "raw", to]);
    let heard = String::from_utf8(heard).unwrap();
    let keys: String = heard.lines().filter_map(|line| line.strip_prefix("DTMF: ")).collect();
    assert_eq!(keys, digits);
}
