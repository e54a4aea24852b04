//! Challenges to the requests of a call (RFC 3261 §22, RFC 8760): each is sent once more with the
//! next CSeq of its dialog and a new branch, and nobody but the trunk sees a proof.

use std::sync::Arc;

use kaphila_sip::auth::Credentials;
use kaphila_sip::invite::{Body, InviteSpec, LegId, Orphan};
use kaphila_sip::message::Transport;

use crate::digest::{PASSWORD, check, parameter};
use crate::ladder::{
    CARRIER, Ladder, Message, OFFER, STRANGER, address, far_invite, identity, in_call, invite_spec,
};

const REALM: &str = "carrier.example";

fn account() -> Arc<Credentials> {
    Arc::new(Credentials {
        username: "alice".to_owned(),
        password: PASSWORD.to_owned(),
        realm: None,
        destinations: vec![address(CARRIER).ip().into()],
    })
}

/// Calls over a trunk that has an account.
fn call(ladder: &mut Ladder) -> LegId {
    let mut leg = None;
    ladder.command(|endpoint, now| {
        let spec = InviteSpec { credentials: Some(account()), ..invite_spec() };
        leg = Some(endpoint.invite(now, spec).unwrap());
    });
    leg.unwrap()
}

/// The carrier asks for proof.
fn ask(request: &Message, status: &str, more: &str) -> String {
    let name = if status.starts_with("407") { "Proxy-Authenticate" } else { "WWW-Authenticate" };
    let challenge = format!("{name}: Digest realm=\"{REALM}\", nonce={more}\r\n");
    request.reply_with(status, "asks", &challenge, "")
}

const UNAUTHORIZED: &str = "401 Unauthorized";
const PROXY: &str = "407 Proxy Authentication Required";

/// An answered call whose INVITE was challenged; its INVITE.
fn answered(ladder: &mut Ladder) -> (LegId, Message) {
    let leg = call(ladder);
    let first = ladder.expect("INVITE");
    ladder.send(&ask(&first, PROXY, "\"n1\", qop=\"auth\""));
    ladder.expect("ACK");
    let invite = ladder.expect("INVITE");
    check(&invite, "Proxy-Authorization");
    ladder.send(&invite.reply("200 OK", "far", OFFER));
    ladder.expect("ACK");
    ladder.tells(&["answered with a body"]);
    (leg, invite)
}

#[test]
fn an_invite_goes_once_more_in_the_same_call() {
    for (status, header) in [(UNAUTHORIZED, "Authorization"), (PROXY, "Proxy-Authorization")] {
        let mut ladder = Ladder::new();
        let leg = call(&mut ladder);
        let first = ladder.expect("INVITE");
        assert!(!first.has(header), "nobody has asked");
        ladder.send(&ask(&first, status, "\"n1\", qop=\"auth\", algorithm=SHA-256"));
        let ack = ladder.expect("ACK");
        assert_eq!((ack.branch(), ack.cseq()), (first.branch(), 10), "§17.1.1.3");
        let invite = ladder.expect("INVITE");
        check(&invite, header);
        assert_eq!(invite.cseq(), 11);
        assert_ne!(invite.branch(), first.branch());
        for same in ["From", "To", "Call-ID", "Contact", "Max-Forwards", "Content-Type"] {
            assert_eq!(invite.header(same), first.header(same), "{same}");
        }
        assert_eq!(invite.body(), first.body());
        ladder.send(&invite.reply("180 Ringing", "far", ""));
        ladder.send(&invite.reply("200 OK", "far", OFFER));
        // §22.1: the ACK repeats the proof of its INVITE.
        let ack = ladder.expect("ACK");
        assert_eq!((ack.cseq(), ack.header(header)), (11, invite.header(header)));
        ladder.tells(&["180", "answered with a body"]);
        ladder.hang_up(leg);
        let bye = ladder.expect("BYE");
        assert_eq!(bye.cseq(), 12);
        let proof = check(&bye, header);
        assert_eq!(parameter(&proof, "nc"), "00000002", "without being asked again");
        ladder.send(&bye.reply("200 OK", "far", ""));
        ladder.tells(&["closed"]);
        ladder.ends_with_nothing_left();
    }
}

/// RFC 7616 §3.4, RFC 8760: each form of digest, checked by a verifier of its own.
#[test]
fn every_form_of_digest_is_understood() {
    for algorithm in ["", "MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256"] {
        for qop in ["", "auth", "auth-int", "auth,auth-int"] {
            let mut ladder = Ladder::new();
            call(&mut ladder);
            let first = ladder.expect("INVITE");
            let qop_part = if qop.is_empty() { String::new() } else { format!(", qop=\"{qop}\"") };
            let algorithm_part = if algorithm.is_empty() {
                String::new()
            } else {
                format!(", algorithm={algorithm}")
            };
            let more = format!("\"n,1\", opaque=\"o\"{qop_part}{algorithm_part}");
            ladder.send(&ask(&first, UNAUTHORIZED, &more));
            ladder.expect("ACK");
            let invite = ladder.expect("INVITE");
            let value = invite.header("Authorization").replace("n,1", "n1");
            let plain = Message(invite.0.replace(&invite.header("Authorization"), &value));
            assert_eq!(parameter(&parse(&plain), "opaque"), "o");
            assert_eq!(parameter(&parse(&plain), "algorithm"), algorithm);
            let chosen = qop.split(',').next().unwrap();
            assert_eq!(parameter(&parse(&plain), "qop"), chosen, "{algorithm} {qop}");
        }
    }
    // The digests themselves.
    for more in ["", ", qop=\"auth\"", ", qop=\"auth-int\""] {
        for algorithm in ["MD5", "SHA-256", "SHA-512-256", "SHA-256-sess"] {
            let mut ladder = Ladder::new();
            call(&mut ladder);
            let first = ladder.expect("INVITE");
            let more = format!("\"n1\"{more}, algorithm={algorithm}");
            ladder.send(&ask(&first, UNAUTHORIZED, &more));
            ladder.expect("ACK");
            check(&ladder.expect("INVITE"), "Authorization");
        }
    }
}

fn parse(message: &Message) -> Vec<(String, String)> {
    let value = message.header("Authorization");
    let parameters = value.strip_prefix("Digest ").unwrap().split(", ");
    let pairs = parameters.map(|one| one.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect()
}

/// RFC 3261 §13.1, §9.1: a CANCEL after the challenge takes back the INVITE that is out.
#[test]
fn a_cancel_follows_the_invite_that_was_proved() {
    let mut ladder = Ladder::new();
    let leg = call(&mut ladder);
    let first = ladder.expect("INVITE");
    ladder.send(&first.reply("100 Trying", "", ""));
    ladder.send(&ask(&first, PROXY, "\"n1\""));
    ladder.expect("ACK");
    let invite = ladder.expect("INVITE");
    ladder.hang_up(leg);
    ladder.expect_nothing(); // nothing has come to this one
    ladder.send(&invite.reply("180 Ringing", "far", ""));
    let cancel = ladder.expect("CANCEL");
    assert_eq!((cancel.branch(), cancel.cseq()), (invite.branch(), 11));
    assert_eq!(cancel.header("Proxy-Authorization"), invite.header("Proxy-Authorization"));
    ladder.send(&cancel.reply("200 OK", "far", ""));
    ladder.send(&invite.reply("487 Request Terminated", "far", ""));
    let ack = ladder.expect("ACK");
    assert_eq!(ack.header("Proxy-Authorization"), invite.header("Proxy-Authorization"));
    ladder.tells(&["trying", "refused 487", "closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_challenge_after_a_hang_up_ends_the_call() {
    let mut ladder = Ladder::new();
    let leg = call(&mut ladder);
    let invite = ladder.expect("INVITE");
    ladder.hang_up(leg);
    ladder.send(&ask(&invite, UNAUTHORIZED, "\"n1\""));
    ladder.expect("ACK");
    ladder.expect_nothing();
    ladder.tells(&["refused 401", "closed"]);
    ladder.ends_with_nothing_left();
}

/// A telephone that rang would ring twice.
#[test]
fn a_challenge_after_ringing_is_not_answered() {
    let mut ladder = Ladder::new();
    call(&mut ladder);
    let invite = ladder.expect("INVITE");
    ladder.send(&invite.reply("180 Ringing", "far", ""));
    ladder.send(&ask(&invite, UNAUTHORIZED, "\"n1\""));
    ladder.expect("ACK");
    ladder.expect_nothing();
    ladder.tells(&["180", "refused 401", "closed"]);
}

/// S6: at most two answers, the second to a stale nonce.
#[test]
fn a_carrier_that_asks_for_ever_is_told_no() {
    for (again, answers) in [("\"n2\"", 1), ("\"n2\", stale=true", 2)] {
        let mut ladder = Ladder::new();
        call(&mut ladder);
        for time in 0..=answers {
            let invite = ladder.expect("INVITE");
            assert_eq!(invite.cseq(), 10 + time);
            let nonce = if time == 0 { "\"n1\"" } else { again };
            ladder.send(&ask(&invite, UNAUTHORIZED, nonce));
            ladder.expect("ACK");
        }
        ladder.expect_nothing();
        ladder.tells(&["refused 401", "closed"]);
        assert_eq!(ladder.endpoint.counters().challenges_refused["again"], 1);
        ladder.ends_with_nothing_left();
    }
}

#[test]
fn a_proxy_and_then_the_carrier_behind_it_are_proved_to() {
    let mut ladder = Ladder::new();
    call(&mut ladder);
    let first = ladder.expect("INVITE");
    ladder.send(&ask(&first, PROXY, "\"p1\", qop=\"auth\""));
    ladder.expect("ACK");
    let second = ladder.expect("INVITE");
    ladder.send(&ask(&second, UNAUTHORIZED, "\"a1\", qop=\"auth\""));
    ladder.expect("ACK");
    let third = ladder.expect("INVITE");
    check(&third, "Authorization");
    check(&third, "Proxy-Authorization");
    assert_eq!(third.cseq(), 12);
    ladder.send(&third.reply("200 OK", "far", OFFER));
    let ack = ladder.expect("ACK");
    for header in ["Authorization", "Proxy-Authorization"] {
        assert_eq!(ack.header(header), third.header(header));
    }
}

/// S6, two challenges: the strongest that we know.
#[test]
fn sha_256_is_preferred_to_md5() {
    let mut ladder = Ladder::new();
    call(&mut ladder);
    let invite = ladder.expect("INVITE");
    let challenge = |nonce: &str, algorithm: &str| {
        format!(
            "WWW-Authenticate: Digest realm=\"{REALM}\", nonce=\"{nonce}\", qop=\"auth\", \
             algorithm={algorithm}\r\n"
        )
    };
    let both = challenge("m", "MD5") + &challenge("s", "SHA-256") + &challenge("x", "SHA3");
    ladder.send(&invite.reply_with(UNAUTHORIZED, "asks", &both, ""));
    ladder.expect("ACK");
    let proof = check(&ladder.expect("INVITE"), "Authorization");
    assert_eq!(parameter(&proof, "algorithm"), "SHA-256");
}

/// A BYE that is challenged and not sent again leaves the call up at the far end.
#[test]
fn a_challenged_bye_is_sent_again() {
    let mut ladder = Ladder::new();
    let (leg, _) = answered(&mut ladder);
    ladder.hang_up(leg);
    let bye = ladder.expect("BYE");
    // The nonce that the BYE brought along has run out.
    ladder.send(&ask(&bye, PROXY, "\"n2\", qop=\"auth\", stale=true"));
    let again = ladder.expect("BYE");
    assert_eq!((again.cseq(), again.header("To")), (bye.cseq() + 1, bye.header("To")));
    let proof = check(&again, "Proxy-Authorization");
    assert_eq!((parameter(&proof, "nonce"), parameter(&proof, "nc")), ("n2", "00000001"));
    ladder.tells(&[]);
    ladder.send(&again.reply("200 OK", "far", ""));
    ladder.tells(&["closed"]);
    ladder.ends_with_nothing_left();
}

#[test]
fn a_challenged_info_takes_the_next_number_of_its_dialog() {
    let mut ladder = Ladder::new();
    let (leg, _) = answered(&mut ladder);
    let digit = |content: &str| Body {
        content_type: "application/dtmf-relay".to_owned(),
        bytes: content.to_owned().into(),
    };
    ladder.command(|endpoint, now| endpoint.info(now, leg, digit("Signal=1")));
    ladder.command(|endpoint, now| endpoint.info(now, leg, digit("Signal=2")));
    let (one, two) = (ladder.expect("INFO"), ladder.expect("INFO"));
    ladder.send(&ask(&one, PROXY, "\"n2\", qop=\"auth-int\""));
    let again = ladder.expect("INFO");
    assert_eq!((again.body(), again.cseq()), ("Signal=1", two.cseq() + 1));
    check(&again, "Proxy-Authorization");
    ladder.send(&two.reply("200 OK", "far", ""));
    ladder.send(&again.reply("200 OK", "far", ""));
    ladder.tells(&[]);
}

/// A fork that answers late is got rid of, whatever it asks for.
#[test]
fn the_bye_of_a_fork_is_proved_too() {
    let mut ladder = Ladder::new();
    let (_, invite) = answered(&mut ladder);
    ladder.send(&invite.reply("200 OK", "fork", OFFER));
    ladder.expect("ACK");
    let bye = ladder.expect("BYE");
    ladder.send(&ask(&bye, PROXY, "\"n2\", qop=\"auth\""));
    let again = ladder.expect("BYE");
    assert!(again.header("To").ends_with("tag=fork"));
    assert_eq!(again.cseq(), bye.cseq() + 1);
    check(&again, "Proxy-Authorization");
}

/// S6: whoever is not the trunk gets no digest, be it in a dialog or by a redirect.
#[test]
fn a_stranger_in_the_dialog_gets_nothing() {
    let mut ladder = Ladder::new();
    let leg = call(&mut ladder);
    let first = ladder.expect("INVITE");
    ladder.send(&ask(&first, PROXY, "\"n1\", qop=\"auth\""));
    ladder.expect("ACK");
    let invite = ladder.expect("INVITE");
    let elsewhere = format!("Contact: <sip:bob@{STRANGER}>\r\n");
    ladder.send(&invite.reply_with("200 OK", "far", &elsewhere, OFFER));
    let ack = ladder.expect_to(STRANGER, "ACK");
    assert!(!ack.has("Proxy-Authorization"));
    ladder.hang_up(leg);
    let bye = ladder.expect_to(STRANGER, "BYE");
    assert!(!bye.has("Proxy-Authorization"));
    ladder.send_from(STRANGER, &ask(&bye, PROXY, "\"n1\", qop=\"auth\""));
    ladder.expect_nothing();
    assert_eq!(ladder.endpoint.counters().challenges_refused["from a stranger"], 1);
    ladder.ends_with_nothing_left();
}

/// Its address is the one that the answer came from, whatever was asked.
#[test]
fn a_stranger_that_answers_for_the_trunk_gets_nothing() {
    let mut ladder = Ladder::new();
    call(&mut ladder);
    let invite = ladder.expect("INVITE");
    ladder.send_from(STRANGER, &ask(&invite, UNAUTHORIZED, "\"n1\""));
    assert!(!ladder.expect("ACK").has("Authorization"));
    ladder.expect_nothing();
    ladder.tells(&["refused 401", "closed"]);
}

#[test]
fn a_redirected_invite_elsewhere_has_no_proof() {
    let mut ladder = Ladder::new();
    answered(&mut ladder);
    ladder.command(|endpoint, now| {
        let mut spec = InviteSpec { credentials: Some(account()), ..invite_spec() };
        spec.identity.call_id = "call-2".to_owned();
        spec.remote = address(STRANGER);
        endpoint.invite(now, spec).unwrap();
    });
    let invite = ladder.expect_to(STRANGER, "INVITE");
    assert!(!invite.has("Proxy-Authorization"));
    ladder.send_from(STRANGER, &ask(&invite, PROXY, "\"n1\""));
    ladder.expect_to(STRANGER, "ACK");
    ladder.expect_nothing();
}

/// RFC 3261 §22.3: the next call brings its proof along.
#[test]
fn the_next_call_is_not_asked_again() {
    let mut ladder = Ladder::new();
    answered(&mut ladder);
    let other = |ladder: &mut Ladder, id: &str| {
        ladder.command(|endpoint, now| {
            let mut spec = InviteSpec { credentials: Some(account()), ..invite_spec() };
            spec.identity.call_id = id.to_owned();
            endpoint.invite(now, spec).unwrap();
        });
        ladder.expect("INVITE")
    };
    let invite = other(&mut ladder, "call-2");
    let proof = check(&invite, "Proxy-Authorization");
    assert_eq!((parameter(&proof, "nonce"), parameter(&proof, "nc")), ("n1", "00000002"));
    // A nonce that is good for once, and says so by nothing but a challenge.
    ladder.send(&ask(&invite, PROXY, "\"n2\", qop=\"auth\""));
    ladder.expect("ACK");
    let again = ladder.expect("INVITE");
    assert_eq!(parameter(&check(&again, "Proxy-Authorization"), "nonce"), "n2");
    let info = "Proxy-Authentication-Info: nextnonce=\"n3\"\r\nContact: <sip:bob@192.0.2.9>\r\n";
    ladder.send(&again.reply_with("200 OK", "far", info, OFFER));
    ladder.expect("ACK");
    let proof = check(&other(&mut ladder, "call-3"), "Proxy-Authorization");
    assert_eq!((parameter(&proof, "nonce"), parameter(&proof, "nc")), ("n3", "00000001"));
}

/// What is answered is proved to as well: the account is that of the trunk at the caller's address.
#[test]
fn a_call_that_came_in_is_hung_up_with_a_proof() {
    let mut ladder = Ladder::new();
    ladder.command(|endpoint, _| endpoint.set_accounts(vec![account()]));
    ladder.send(&far_invite(OFFER));
    let leg = ladder.legs[0];
    ladder.command(|endpoint, now| endpoint.accept(now, leg, Body::sdp("v=0\r\n")));
    let ok = ladder.expect("200 OK");
    ladder.send(&in_call(&ok, "ACK", 1, "", ""));
    ladder.hang_up(leg);
    let bye = ladder.expect("BYE");
    ladder.send(&ask(&bye, PROXY, "\"n1\", qop=\"auth\""));
    let again = ladder.expect("BYE");
    assert_eq!(again.cseq(), bye.cseq() + 1);
    check(&again, "Proxy-Authorization");
}

/// A process that died knows its first INVITE: the copy that was proved is told by it.
#[test]
fn an_orphan_is_cancelled_by_the_copy_that_rings() {
    let orphan = || {
        let spec = invite_spec();
        Orphan::Early {
            identity: identity(),
            request_uri: spec.request_uri,
            from: spec.from,
            to: spec.to,
            remote: address(CARRIER),
            transport: Transport::Udp,
            tls_name: None,
        }
    };
    let mut before = Ladder::new();
    call(&mut before);
    let first = before.expect("INVITE");
    before.send(&ask(&first, PROXY, "\"n1\""));
    before.expect("ACK");
    let invite = before.expect("INVITE");

    let mut after = Ladder::new();
    after.command(|endpoint, now| {
        endpoint.end_orphan(now, orphan(), Some(account())).unwrap();
    });
    let cancel = after.expect("CANCEL");
    assert_eq!(cancel.branch(), first.branch());
    after.send(&cancel.reply("481 Call/Transaction Does Not Exist", "", ""));
    let cancel = after.expect("CANCEL");
    assert_eq!((cancel.branch(), cancel.cseq()), (invite.branch(), invite.cseq()));
    after.send(&cancel.reply("200 OK", "far", ""));
    after.send(&invite.reply("487 Request Terminated", "far", ""));
    assert_eq!(after.expect("ACK").branch(), invite.branch());
    after.tells(&["closed"]);
    after.ends_with_nothing_left();

    // Or it answers meanwhile.
    let mut after = Ladder::new();
    after.command(|endpoint, now| {
        endpoint.end_orphan(now, orphan(), Some(account())).unwrap();
    });
    after.expect("CANCEL");
    after.send(&invite.reply("200 OK", "far", OFFER));
    after.expect("ACK");
    let bye = after.expect("BYE");
    after.send(&ask(&bye, PROXY, "\"n1\""));
    check(&after.expect("BYE"), "Proxy-Authorization");
}
