//! RFC 3261 §8.2, step by step, for a trunk's requests.

use crate::ladder::{Ladder, Message, OFFER, far_invite, far_invite_with};

fn answer_to(request: &str) -> Message {
    let mut ladder = Ladder::new();
    ladder.send(request);
    let answer = ladder.expect("");
    ladder.expect_nothing();
    ladder.send(request);
    assert_eq!(ladder.expect("").0, answer.0, "stateless: a repetition gets the same, tag and all");
    ladder.ends_with_nothing_left();
    answer
}

#[test]
fn methods_known_and_not_built_get_405_and_allow() {
    for method in ["REGISTER", "SUBSCRIBE", "NOTIFY", "REFER", "MESSAGE", "PUBLISH"] {
        let answer = answer_to(&far_invite("").replace("INVITE", method));
        assert_eq!(answer.start(), "405 Method Not Allowed", "{method}");
        assert_eq!(
            answer.header("Allow"),
            "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO"
        );
        assert!(answer.header("To").contains(";tag="));
    }
}

#[test]
fn methods_unknown_get_501() {
    assert_eq!(answer_to(&far_invite("").replace("INVITE", "WALK")).start(), "501 Not Implemented");
}

#[test]
fn requests_of_a_dialog_without_one_get_481() {
    for method in ["BYE", "INFO", "UPDATE", "PRACK"] {
        let answer = answer_to(&far_invite("").replace("INVITE", method));
        assert_eq!(answer.start(), "481 Call/Transaction Does Not Exist", "{method}");
    }
    let tagged = far_invite(OFFER).replace("<sip:4930@192.0.2.1>", "<sip:4930@192.0.2.1>;tag=gone");
    assert_eq!(answer_to(&tagged).start(), "481 Call/Transaction Does Not Exist");
}

#[test]
fn required_extensions_get_420_and_their_names() {
    let answer = answer_to(&far_invite_with("Require: 100rel, replaces, timer, join\r\n", OFFER));
    assert_eq!(answer.start(), "420 Bad Extension");
    assert_eq!(answer.header("Unsupported"), "replaces, join");
}

#[test]
fn bodies_and_encodings_get_415() {
    let answer = answer_to(&far_invite_with("Content-Type: text/plain\r\n", "x"));
    assert_eq!(answer.start(), "415 Unsupported Media Type");
    assert_eq!(
        answer.header("Accept"),
        "application/sdp, multipart/mixed, application/dtmf-relay, application/dtmf"
    );
    let answer = answer_to(&far_invite_with("Content-Encoding: gzip\r\n", OFFER));
    assert_eq!(answer.start(), "415 Unsupported Media Type");
    assert_eq!(answer.header("Accept-Encoding"), "identity");
}

#[test]
fn an_answer_that_may_not_be_sdp_gets_406() {
    let answer = answer_to(&far_invite_with("Accept: text/plain\r\n", OFFER));
    assert_eq!(answer.start(), "406 Not Acceptable");
}

#[test]
fn other_schemes_get_416() {
    let request = far_invite(OFFER).replace("INVITE sip:4930@192.0.2.1", "INVITE http://x");
    assert_eq!(answer_to(&request).start(), "416 Unsupported URI Scheme");
}

#[test]
fn a_request_for_another_host_without_hops_left_gets_483() {
    let request = far_invite("")
        .replace("INVITE", "OPTIONS")
        .replace("Max-Forwards: 70", "Max-Forwards: 0")
        .replace("sip:4930@192.0.2.1 ", "sip:4930@198.51.100.1 ");
    assert_eq!(answer_to(&request).start(), "483 Too Many Hops");
    let mine =
        far_invite("").replace("INVITE", "OPTIONS").replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(answer_to(&mine).start(), "200 OK", "its last hop is us");
}

#[test]
fn a_request_that_cannot_be_read_gets_400() {
    let answer = answer_to(&far_invite(OFFER).replace("CSeq: 1 INVITE", "CSeq: 1 BYE"));
    assert!(answer.start().starts_with("400 "), "{}", answer.start());
    let answer =
        answer_to(&far_invite(OFFER).replace("Contact: <sip:alice@192.0.2.9:5060>\r\n", ""));
    assert_eq!(answer.start(), "400 Bad Request");
}

#[test]
fn a_second_copy_of_a_forked_invite_gets_482() {
    let mut ladder = Ladder::new();
    ladder.send(&far_invite(OFFER));
    ladder.expect_nothing();
    ladder.send(&far_invite(OFFER).replace("z9hG4bKin1", "z9hG4bKin2"));
    assert_eq!(ladder.expect("482").header("Via").matches("z9hG4bKin2").count(), 1);
    assert_eq!(ladder.calls.len(), 1);
}

#[test]
fn options_say_what_is_built_and_nothing_else() {
    let answer = answer_to(&far_invite("").replace("INVITE", "OPTIONS"));
    assert_eq!(answer.start(), "200 OK");
    assert_eq!(answer.header("Allow"), "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO");
    assert_eq!(
        answer.header("Accept"),
        "application/sdp, multipart/mixed, application/dtmf-relay, application/dtmf"
    );
    assert_eq!(answer.header("Supported"), "100rel, timer");
}

#[test]
fn options_in_a_dialog_are_answered_too() {
    let mut ladder = Ladder::new();
    let (_, invite) = ladder.answered_call();
    ladder.send(&invite.far_request("OPTIONS", 1, "far", "", ""));
    assert!(ladder.expect("200 OK").has("Allow"));
    for (cseq, method, status) in
        [(2, "REFER", "405"), (3, "PRACK", "481"), (4, "WALK", "501"), (5, "NOTIFY", "405")]
    {
        ladder.send(&invite.far_request(method, cseq, "far", "", ""));
        ladder.expect(status);
    }
    ladder.tells(&[]);
}
