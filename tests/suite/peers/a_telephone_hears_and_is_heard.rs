//! A real telephone, baresip, in a real call: both ends hear each other as they were.

use std::time::{Duration, Instant};

use serde_json::json;

use super::baresip::Baresip;
use super::node::Node;
use super::tone::{self, RATE};

const NUMBER: &str = "14155550100";
/// The tone that the telephone speaks, and how loud.
const VOICE: (f64, f64) = (1_000.0, 6_000.0);
/// The prompt that Kaphila plays.
const PROMPT: (f64, f64) = (440.0, 9_000.0);
/// Seconds of it.
const PROMPT_SECONDS: u32 = 3;

/// Calls on a machine that stands still now and then, until one counts: a telephone that stutters is
/// heard at another pitch while the reading catches up with it.
const CALLS: usize = 3;

/// The middle two seconds of the part of `samples` in which `hertz` is loud.
fn loud_part(samples: &[i16], hertz: f64, expected: f64) -> Result<&[i16], String> {
    let window = RATE as usize / 10;
    let is_loud = |from: &usize| {
        samples
            .get(*from..from + window)
            .is_some_and(|part| tone::decibels(tone::amplitude(part, hertz), expected).abs() < 3.0)
    };
    let windows = (0..samples.len()).step_by(window);
    let first = windows.clone().find(is_loud).ok_or("nothing is heard")?;
    let last = windows.rev().find(is_loud).ok_or("nothing is heard")? + window;
    let (middle, half) = ((first + last) / 2, RATE as usize);
    samples
        .get(middle.saturating_sub(half)..middle + half)
        .filter(|_| last - first > 2 * half)
        .ok_or(format!("heard for {} samples only", last - first))
}

/// The tone is there, within 1 Hz and 1 dB of how it was made.
fn check(samples: &[i16], (hertz, amplitude): (f64, f64), whose: &str) -> Result<(), String> {
    let part = loud_part(samples, hertz, amplitude).map_err(|why| format!("{whose}: {why}"))?;
    let frequency = tone::frequency(part, hertz);
    let level = tone::decibels(tone::amplitude(part, hertz), amplitude);
    ((frequency - hertz).abs() < 1.0 && level.abs() < 1.0)
        .then_some(())
        .ok_or(format!("{whose}: {frequency} Hz, {level:.2} dB off"))
}

/// A server and a telephone that says [`VOICE`], in a call; `None` where there is no telephone.
async fn connect(codec: &str) -> Option<(Node, Baresip, String)> {
    let telephone = Baresip::start(&format!("00{NUMBER}"), codec, VOICE).await?;
    let node = Node::start(&[telephone.address]).await;
    tone::write(&node.sounds().join("prompt.wav"), PROMPT.0, PROMPT.1, PROMPT_SECONDS);
    let call = node.place(NUMBER).await;
    node.event(&call, "call.answered").await;
    telephone.says("Call established").await;
    Some((node, telephone, call))
}

async fn hears_and_is_heard(codec: &str) {
    let mut wrong = Vec::new();
    while wrong.len() < CALLS {
        let Some((node, telephone, call)) = connect(codec).await else { return };
        match talk(&node, telephone, &call, codec).await {
            Ok(()) => return node.stop().await,
            Err(why) => wrong.push(why),
        }
    }
    panic!("{wrong:#?}");
}

async fn talk(node: &Node, telephone: Baresip, call: &str, codec: &str) -> Result<(), String> {
    node.command("/play", json!({ "callId": call, "file": "prompt" })).await;
    let played = node.event(call, "playback.finished").await;
    assert_eq!((&played["completed"], &played["durationMs"]), (&true.into(), &3_000.into()));
    node.command("/hangup", json!({ "callId": call })).await;
    let end = node.event(call, "call.ended").await;
    assert_eq!((&end["status"], &end["quality"]["codec"]), (&"completed".into(), &codec.into()));

    let recording = tone::read(&node.get(&format!("/recordings/{call}/download")).await);
    let seconds = recording.len() as f64 / f64::from(RATE);
    let call_lasted = end["callDuration"].as_f64().unwrap();
    // The duration is in whole seconds, rounded down; file and call differ by 100 ms at most.
    assert!((-0.1..1.1).contains(&(seconds - call_lasted)), "{seconds} s of {call_lasted} s");
    check(&recording, VOICE, "the telephone in the recording")?;
    check(&recording, PROMPT, "the prompt in the recording")?;
    check(&tone::read(&telephone.heard().await), PROMPT, "the prompt at the telephone")
}

#[tokio::test(flavor = "multi_thread")]
async fn in_mu_law() {
    hears_and_is_heard("PCMU").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_law() {
    hears_and_is_heard("PCMA").await;
}

/// Both type while the other talks; each key arrives once.
#[tokio::test(flavor = "multi_thread")]
async fn keys_arrive_once_each_both_ways() {
    let Some((node, mut telephone, call)) = connect("PCMU").await else { return };
    node.command("/play", json!({ "callId": call, "file": "prompt" })).await;
    node.command("/dtmf", json!({ "callId": call, "digits": "2468*0#" })).await;
    telephone.press("1590*#").await;
    node.event(&call, "dtmf.sent").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(telephone.digits_heard(), "2468*0#");
    node.command("/hangup", json!({ "callId": call })).await;
    node.event(&call, "call.ended").await;
    let events = node.events(&call);
    let presses = events.iter().filter(|event| event["event"] == "dtmf.received");
    let digits: String = presses.map(|event| event["digit"].as_str().unwrap()).collect();
    assert_eq!(digits, "1590*#");
    node.stop().await;
}

/// The telephone holds us while a prompt plays: it pauses, and goes on where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_waits_while_the_telephone_holds_us() {
    let Some((node, mut telephone, call)) = connect("PCMU").await else { return };
    node.command("/play", json!({ "callId": call, "file": "prompt" })).await;
    let begun = Instant::now();
    telephone.press("x").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    telephone.press("X").await;
    let played = node.event(&call, "playback.finished").await;
    assert_eq!((&played["completed"], &played["durationMs"]), (&true.into(), &3_000.into()));
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(4_500), "a prompt of 3 s held for 1.8 s took {took:?}");
    telephone.press("b").await;
    let end = node.event(&call, "call.ended").await;
    let told = (&end["status"], &end["endReason"], &end["endedBy"]);
    assert_eq!(told, (&"completed".into(), &"normal_hangup".into(), &"callee".into()));
    node.stop().await;
}
