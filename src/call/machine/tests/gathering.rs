//! Collecting digits: `reference.md` §6, line by line.

use serde_json::{Value, json};

use super::super::*;
use super::ladder::{Ladder, audio, setup};
use crate::call::api::{GatherRequest, PlayTo, Prompt};

fn request(num_digits: u8) -> GatherRequest {
    GatherRequest {
        prompt: Prompt::Text("Your PIN".to_owned()),
        num_digits,
        timeout: Duration::from_secs(10),
        inter_digit_timeout: None,
        finish_on_key: None,
        barge_in: true,
        flush: true,
        play_to: PlayTo::Bridge,
    }
}

/// A gather whose prompt plays.
fn prompting(request: GatherRequest) -> Ladder {
    let mut call = Ladder::talking(setup());
    call.command(Command::Gather(request, audio()));
    call.expect(&["reply done", "play 0", "gather.started"]);
    call
}

#[test]
fn digits_cut_the_prompt_short_and_complete_the_gather() {
    let mut call = prompting(request(2));
    assert_eq!(call.event("gather.started")["expectedDigits"], 2);
    assert_eq!(call.event("gather.started")["gather"]["timeoutMs"], 10_000);
    call.at(400);
    call.digit('4');
    call.expect(&["dtmf.received", "stop 0", "gather.progress"]);
    let progress = call.event("gather.progress");
    assert_eq!(
        (&progress["digit"], &progress["digits"], &progress["remaining"]),
        (&json!("4"), &json!("4"), &json!(1))
    );
    call.digit('2');
    call.expect(&["dtmf.received", "gather.progress", "gather.complete"]);
    let complete = call.event("gather.complete");
    assert_eq!((&complete["digits"], &complete["expectedDigits"]), (&json!("42"), &json!(2)));
    assert_eq!(complete["gather"], Value::Null, "it runs no more");
    // Nothing of it is left.
    call.at(60_000);
    call.played(0, 400);
    call.expect(&[]);
}

#[test]
fn nothing_runs_while_the_prompt_plays() {
    let mut call = prompting(request(1));
    call.at(60_000);
    call.expect(&[]);
    call.played(0, 60_000);
    call.at(69_999);
    call.expect(&[]);
    call.at(70_000);
    call.expect(&["gather.timeout"]);
    let timeout = call.event("gather.timeout");
    assert_eq!((&timeout["digits"], &timeout["reason"]), (&json!(""), &json!("timeout")));
    assert_eq!(timeout["expectedDigits"], 1);
}

#[test]
fn the_timeout_is_for_the_whole_entry_from_the_cut_on() {
    let mut call = prompting(request(4));
    call.at(1_000);
    call.digit('1');
    call.at(10_900);
    call.digit('2');
    call.at(10_999);
    call.said_clear();
    call.at(11_000);
    call.expect(&["gather.timeout"]);
    assert_eq!(call.event("gather.timeout")["digits"], "12");
}

#[test]
fn the_inter_digit_timeout_runs_from_each_digit() {
    let pause = Some(Duration::from_secs(2));
    let mut call = prompting(GatherRequest { inter_digit_timeout: pause, ..request(4) });
    call.played(0, 1_000);
    call.at(5_000);
    call.digit('1');
    call.at(6_900);
    call.digit('2');
    call.at(8_899);
    call.said_clear();
    call.at(8_900);
    call.expect(&["gather.timeout"]);
    let timeout = call.event("gather.timeout");
    assert_eq!(
        (&timeout["digits"], &timeout["reason"]),
        (&json!("12"), &json!("inter_digit_timeout"))
    );
}

#[test]
fn the_finish_key_completes_and_is_not_part_of_the_digits() {
    let mut call = prompting(GatherRequest { finish_on_key: Some('#'), ..request(8) });
    call.digit('1');
    call.digit('#');
    call.expect(&[
        "dtmf.received",
        "stop 0",
        "gather.progress",
        "dtmf.received",
        "gather.complete",
    ]);
    assert_eq!(call.event("gather.complete")["digits"], "1");
}

#[test]
fn without_barge_in_digits_count_and_the_prompt_plays_on() {
    let pause = Some(Duration::from_secs(1));
    let mut call =
        prompting(GatherRequest { barge_in: false, inter_digit_timeout: pause, ..request(3) });
    call.digit('1');
    call.expect(&["dtmf.received", "gather.progress"]);
    call.at(5_000);
    call.expect(&[]);
    call.played(0, 5_000);
    call.digit('2');
    call.expect(&["dtmf.received", "gather.progress"]);
    call.digit('3');
    call.expect(&["dtmf.received", "gather.progress", "gather.complete"]);
    assert_eq!(call.event("gather.complete")["digits"], "123");
}

#[test]
fn without_barge_in_the_clocks_start_with_the_end_of_the_prompt() {
    let mut call = prompting(GatherRequest { barge_in: false, ..request(3) });
    call.digit('1');
    call.at(5_000);
    call.played(0, 5_000);
    call.said_clear();
    call.at(14_999);
    call.expect(&[]);
    call.at(15_000);
    call.expect(&["gather.timeout"]);
}

#[test]
fn barge_in_does_not_stick_from_the_last_gather() {
    let mut call = prompting(GatherRequest { barge_in: false, ..request(1) });
    call.digit('1');
    call.expect(&["dtmf.received", "gather.progress", "gather.complete"]);
    call.played(0, 1_000);
    call.command(Command::Gather(request(1), audio()));
    call.digit('2');
    call.expect(&[
        "reply done",
        "play 1",
        "gather.started",
        "dtmf.received",
        "stop 1",
        "gather.progress",
        "gather.complete",
    ]);
}

#[test]
fn digits_before_the_gather_are_not_part_of_it() {
    let mut call = Ladder::talking(setup());
    call.digit('9');
    call.command(Command::Gather(request(1), audio()));
    call.expect(&["dtmf.received", "reply done", "play 0", "gather.started"]);
    call.digit('1');
    assert_eq!(call.event("gather.complete")["digits"], "1");
}

#[test]
fn without_flush_those_of_the_last_five_seconds_are() {
    let mut call = Ladder::talking(setup());
    call.at(1_000);
    call.digit('7');
    call.at(2_000);
    call.digit('8');
    call.at(6_000);
    call.said_clear();
    call.command(Command::Gather(GatherRequest { flush: false, ..request(2) }, audio()));
    call.expect(&["reply done", "play 0", "gather.started", "stop 0", "gather.progress"]);
    call.digit('9');
    assert_eq!(call.event("gather.complete")["digits"], "89");
    // They are used once.
    call.command(Command::Gather(GatherRequest { flush: false, ..request(1) }, audio()));
    assert!(call.machine.gather.is_some());
}

#[test]
fn a_gather_behind_another_prompt_begins_with_its_own() {
    let mut call = Ladder::talking(setup());
    call.say("Welcome");
    call.command(Command::Gather(request(1), audio()));
    call.expect(&["reply playing", "play 0", "reply done"]);
    call.digit('1');
    call.expect(&["dtmf.received"]);
    call.at(20_000);
    call.played(0, 20_000);
    call.expect(&["tts.played", "play 1", "gather.started"]);
    call.digit('2');
    assert_eq!(call.event("gather.complete")["digits"], "2");
}

#[test]
fn what_waits_behind_the_prompt_plays_once_it_is_cut() {
    let mut call = prompting(request(2));
    call.play("music");
    call.digit('1');
    call.expect(&["reply queued", "dtmf.received", "stop 0", "gather.progress", "play 1"]);
}

#[test]
fn one_gather_at_a_time() {
    let mut call = prompting(request(1));
    call.command(Command::Gather(request(1), audio()));
    call.expect(&["reply GatherInProgress"]);
}

#[test]
fn stop_ends_the_gather_too() {
    let mut call = prompting(request(4));
    call.digit('1');
    call.said_clear();
    call.command(Command::Stop);
    call.expect(&["gather.timeout", "reply stopped 0"]);
    let timeout = call.event("gather.timeout");
    assert_eq!((&timeout["digits"], &timeout["reason"]), (&json!("1"), &json!("stopped")));
    call.at(60_000);
    call.expect(&[]);
}

#[test]
fn a_hang_up_ends_the_gather_before_the_call() {
    let mut call = prompting(request(4));
    call.digit('1');
    call.said_clear();
    call.bye();
    call.media_closed();
    call.expect(&[
        "gather.timeout",
        "close media",
        "ended",
        "row completed normal_hangup 16 by callee",
        "call.ended",
    ]);
    assert_eq!(call.event("gather.timeout")["reason"], "hangup");
    assert_eq!(call.event("call.ended")["gather"], Value::Null);
}

#[test]
fn sixty_four_digits() {
    let mut call = prompting(request(64));
    for _ in 0..64 {
        call.digit('5');
    }
    assert_eq!(call.event("gather.complete")["digits"].as_str().unwrap().len(), 64);
}
