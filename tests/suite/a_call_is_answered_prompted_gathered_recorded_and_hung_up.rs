//! The spine: INVITE, 200, a prompt that is heard, digits, a recording, BYE; one credit.

use std::time::Duration;

use kaphila::call::{GatherRequest, PlayTo, Prompt, Status};

use crate::support::carrier::Carrier;
use crate::support::server::{Server, placed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spine() {
    let mut carrier = Carrier::on("127.0.0.1").await;
    let mut server = Server::start(&[&carrier], 5).await;
    let request = server.request();
    let answer = server.place(kaphila::call::PlaceRequest { record: Some(true), ..request });

    let invite = carrier.expect("INVITE").await;
    assert_eq!(invite.uri(), format!("sip:0014155550100@{}", carrier.address()));
    assert!(invite.header("From").contains("sip:19172452367@127.0.0.1"));
    assert!(invite.body().contains("RTP/AVP 0 8 101"));
    server.event("call.initiated").await;
    assert_eq!(server.account().await.holds, 1);
    carrier.answer(&invite, "100 Trying", "", "").await;
    carrier.answer(&invite, "180 Ringing", "", "").await;
    let call = placed(answer.await.unwrap().unwrap());
    assert_eq!((call.status, call.credits, call.trunk_attempts), (Status::Ringing, 5, 1));
    assert_eq!(call.trunk, "trunk-0");

    carrier.accept(&invite).await;
    carrier.expect("ACK").await;
    let answered = server.event("call.answered").await;
    assert_eq!(answered["status"], "answered");
    let started = server.event("recording.started").await;
    let id = call.call_id.as_str();
    let view = server.calls.view(&server.auth, id).unwrap();
    assert!(view.has_bridge && view.recording.as_ref().unwrap().active);
    let account = server.account().await;
    assert_eq!((account.credits, account.holds), (4, 0), "one credit, at the answer");

    let prompt = Prompt::Text("Hello".to_owned());
    let playing = server.calls.play(&server.auth, id, prompt, PlayTo::Bridge).await.unwrap();
    assert!(playing.playback_id.starts_with(&format!("tts-{id}-")));
    // Half a second of 440 Hz is 25 packets.
    carrier.hear(25).await;
    let played = server.event("tts.played").await;
    assert_eq!((&played["completed"], &played["durationMs"]), (&true.into(), &500.into()));

    let gather = GatherRequest {
        prompt: Prompt::File("pin".to_owned()),
        num_digits: 2,
        timeout: Duration::from_secs(5),
        inter_digit_timeout: None,
        finish_on_key: None,
        barge_in: true,
        flush: true,
        play_to: PlayTo::Bridge,
    };
    server.calls.gather(&server.auth, id, gather).await.unwrap();
    server.event("gather.started").await;
    carrier.hear(3).await;
    let media = invite.media();
    for at in 0..10 {
        carrier.send_rtp(media, 0, at, u32::from(at) * 160, &[0x55; 160]).await;
    }
    for (at, digit) in [4u8, 2].into_iter().enumerate() {
        let (at, timestamp) = (at as u16 * 4, 1_600 + at as u32 * 1_600);
        // Three packets of the key, then its end, as RFC 4733 has it.
        for (step, end) in [0, 0, 0, 0x80].into_iter().enumerate() {
            let duration = ((step as u16 + 1) * 160).to_be_bytes();
            let payload = [digit, end | 10, duration[0], duration[1]];
            carrier.send_rtp(media, 101, 10 + at + step as u16, timestamp, &payload).await;
        }
    }
    server.event("dtmf.received").await;
    server.event("gather.progress").await;
    server.event("dtmf.received").await;
    server.event("gather.progress").await;
    let complete = server.event("gather.complete").await;
    assert_eq!(complete["digits"], "42");

    server.calls.hang_up(&server.auth, id).await.unwrap();
    assert!(server.calls.view(&server.auth, id).is_none());
    assert!(server.calls.hang_up(&server.auth, id).await.is_err(), "twice: not found");
    let bye = carrier.expect("BYE").await;
    assert!(bye.header("Reason").contains("cause=16"));
    carrier.answer(&bye, "200 OK", "", "").await;
    let completed = server.event("recording.completed").await;
    let ended = server.event("call.ended").await;
    assert_eq!(
        (&ended["status"], &ended["endReason"]),
        (&"completed".into(), &"api_hangup".into())
    );
    assert_eq!((&ended["hangupCause"], &ended["endedBy"]), (&"16".into(), &"api".into()));
    assert_eq!((&ended["sipStatus"], &ended["quality"]["codec"]), (&200.into(), &"PCMU".into()));

    let file = server.folder.path().join(started["filename"].as_str().unwrap());
    let bytes = std::fs::metadata(file).unwrap().len();
    assert_eq!(completed["size"], bytes);
    let seconds = completed["duration"].as_f64().unwrap();
    assert!((0.5..30.0).contains(&seconds), "{seconds}");
    let row = server.store.call(&server.auth, id).await.unwrap().unwrap();
    assert_eq!((row.status, row.end_reason.as_deref()), (Status::Completed, Some("api_hangup")));
    let calls = server.calls.clone();
    server.ends_clean().await;
    let trace = calls.trace(id).await.unwrap();
    for part in ["INVITE", "180 Ringing", "ACK", "BYE", "event call.ended"] {
        assert!(trace.contains(part), "{part} in\n{trace}");
    }
    // Behind the time; a CSeq may hold any number.
    let told = trace.lines().filter(|line| line.contains("dtmf") || line.contains("gather"));
    let told: Vec<&str> = told.filter_map(|line| line.get(12..)).collect();
    assert!(!told.is_empty());
    assert!(!told.concat().contains(|c: char| c.is_ascii_digit()), "no digits in\n{trace}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callee_hangs_up() {
    let mut carrier = Carrier::on("127.0.0.1").await;
    let mut server = Server::start(&[&carrier], 1).await;
    let answer = server.place(server.request());
    let invite = carrier.expect("INVITE").await;
    carrier.accept(&invite).await;
    carrier.expect("ACK").await;
    assert_eq!(placed(answer.await.unwrap().unwrap()).status, Status::Answered);
    server.event("call.initiated").await;
    server.event("call.answered").await;
    carrier.bye(&invite).await;
    carrier.expect("SIP/2.0").await;
    let ended = server.event("call.ended").await;
    assert_eq!(
        (&ended["endReason"], &ended["endedBy"]),
        (&"normal_hangup".into(), &"callee".into())
    );
    assert_eq!(server.account().await.credits, 0);
    server.ends_clean().await;
}
