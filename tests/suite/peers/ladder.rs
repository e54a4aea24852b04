//! What a carrier does, step by step, made into a scenario of SIPp.
//!
//! SIPp's own scenarios are XML in which a BYE is twelve lines; here a step is a line, and a test
//! reads as its ladder. SIPp sends, receives, checks and retransmits.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A carrier's side of one call.
#[derive(Clone)]
pub(super) struct Ladder {
    steps: String,
    /// Expressions that were checked, to give each a variable.
    checks: usize,
    /// Proofs that were asked for, to give each a variable and a label.
    proofs: usize,
    /// CSeq of the last request of ours.
    cseq: u32,
    /// Whether SIPp is to count what comes again as new.
    pub(super) sees_repetitions: bool,
}

/// The description that a carrier answers or offers with.
#[derive(Clone, Copy)]
pub(super) struct Sdp {
    /// The port where it wants RTP; 0: SIPp's own.
    pub(super) port: u16,
    /// Payload types of audio: `0`, `8`.
    pub(super) codecs: &'static str,
    pub(super) direction: &'static str,
    /// Version of the `o=` line.
    pub(super) version: u32,
    /// It takes telephone-events.
    pub(super) events: bool,
}

impl Sdp {
    /// PCMU, both ways, at `port`.
    pub(super) const fn at(port: u16) -> Self {
        Self { port, codecs: "0", direction: "sendrecv", version: 1, events: true }
    }

    /// As it stands in a body.
    pub(super) fn text(self) -> String {
        let Self { port, codecs, direction, version, events } = self;
        let (format, lines) = match events {
            true => (" 101", "a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n"),
            false => ("", ""),
        };
        let port = if port == 0 { "[media_port]".to_owned() } else { port.to_string() };
        format!(
            "v=0\no=far 7 {version} IN IP[media_ip_type] [media_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\n\
             m=audio {port} RTP/AVP {codecs}{format}\n{lines}a={direction}\n"
        )
    }
}

/// What is kept of the INVITE, for the answers to it and for requests of the callee's.
const KEPT: &[(&str, &str, &str)] = &[
    ("via", "Via:", ".*"),
    ("from", "From:", ".*"),
    ("to", "To:", ".*"),
    ("invite", "CSeq:", ".*"),
    ("contact", "Contact:", "sip:[^&gt;]*"),
];

impl Ladder {
    /// A carrier that waits for an INVITE.
    pub(super) fn invited() -> Self {
        let actions = keeping();
        let names: String = KEPT.iter().map(|(name, ..)| format!("{name},")).collect();
        let steps = format!(
            "<recv request=\"INVITE\"><action>{actions}</action></recv>\n\
             <Reference variables=\"{}\"/>\n",
            names.trim_end_matches(',')
        );
        Self { steps, checks: 0, proofs: 0, cseq: 0, sees_repetitions: false }
    }

    /// Asks for proof instead of answering the request that came last; when it comes again, SIPp
    /// checks the digest by itself.
    pub(super) fn challenge(
        self,
        method: &str,
        nonce: &str,
        username: &str,
        password: &str,
    ) -> Self {
        let status = "401 Unauthorized";
        let challenge = format!(
            "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"{nonce}\", qop=\"auth\", \
             algorithm=MD5\n"
        );
        let mut asked = match method {
            "INVITE" => self.answer_with(status, &challenge, "").expect("ACK"),
            _ => self.reply_with(status, &challenge),
        };
        asked.proofs += 1;
        let (proof, label) = (asked.proofs, 100 + asked.proofs);
        let kept = if method == "INVITE" { keeping() } else { String::new() };
        writeln!(
            asked.steps,
            "<recv request=\"{method}\"><action>{kept}<verifyauth assign_to=\"proof{proof}\" \
             username=\"{username}\" password=\"{password}\"/></action></recv>\n\
             <nop next=\"{label}\" test=\"proof{proof}\"/>\n\
             <recv request=\"UNPROVED\"/>\n<label id=\"{label}\"/>"
        )
        .unwrap();
        asked
    }

    /// The INVITE must have this expression in it.
    pub(super) fn and_in_it(mut self, pattern: &str) -> Self {
        let check = self.check(pattern);
        self.steps = self.steps.replacen("</action>", &format!("{check}</action>"), 1);
        self
    }

    /// A carrier that sends a request of its own to `uri`, outside of any call.
    pub(super) fn asking(method: &str, more: &str) -> Self {
        let none =
            Self { steps: String::new(), checks: 0, proofs: 0, cseq: 0, sees_repetitions: false };
        none.send(&format!(
            "{method} sip:[remote_ip]:[remote_port] SIP/2.0\n\
             Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\nMax-Forwards: 70\n\
             From: <sip:far@[local_ip]>;tag=[call_number]\nTo: <sip:[remote_ip]>\n\
             Call-ID: [call_id]\nCSeq: 1 {method}\n{more}Content-Length: 0\n"
        ))
    }

    /// Repetitions are not absorbed by SIPp, but expected like any message.
    pub(super) const fn seeing_repetitions(mut self) -> Self {
        self.sees_repetitions = true;
        self
    }

    /// Answers the INVITE, whatever came after it.
    pub(super) fn answer(self, status: &str) -> Self {
        self.answer_with(status, "", "")
    }

    /// Answers the INVITE with further header lines and a body.
    pub(super) fn answer_with(self, status: &str, more: &str, body: &str) -> Self {
        self.send(&to_invite(status, more, body))
    }

    /// Answers the INVITE with the one of `codes` that the number called ends in.
    pub(super) fn answer_as_dialled(self, codes: &[u16]) -> Self {
        self.branch(codes, |code| {
            let message = to_invite(&format!("{code} No"), "", "");
            format!("<send next=\"1\"><![CDATA[\n{message}\n]]></send>")
        })
    }

    /// Plays the one of `captures` whose number the number called ends in.
    pub(super) fn play_as_dialled(self, captures: &[(u16, PathBuf)]) -> Self {
        let codes: Vec<_> = captures.iter().map(|(code, _)| *code).collect();
        self.branch(&codes, |code| {
            let (_, file) = captures.iter().find(|(other, _)| *other == code).unwrap();
            let file = file.display();
            format!("<nop next=\"1\"><action><exec play_pcap_audio=\"{file}\"/></action></nop>")
        })
    }

    /// One of several steps by the end of the number called. SIPp takes no variable where these
    /// steps differ; so it chooses its way. Each step goes on at label 1.
    fn branch(mut self, codes: &[u16], step: impl Fn(u16) -> String) -> Self {
        for code in codes {
            writeln!(
                self.steps,
                "<nop next=\"{code}\" test=\"is{code}\"><action><ereg regexp=\"{code}@\" \
                 search_in=\"var\" variable=\"to\" assign_to=\"is{code}\"/></action></nop>"
            )
            .unwrap();
        }
        for code in codes {
            writeln!(self.steps, "<label id=\"{code}\"/>\n{}", step(*code)).unwrap();
        }
        self.steps += "<label id=\"1\"/>\n";
        self
    }

    /// A provisional or final answer with a description.
    pub(super) fn answer_sdp(self, status: &str, sdp: Sdp) -> Self {
        self.answer_with(status, DESCRIBED, &sdp.text())
    }

    /// The same with ISUP beside the description, as SIP-I carriers send it (ITU-T Q.1912.5).
    pub(super) fn answer_sip_i(self, status: &str, sdp: Sdp) -> Self {
        let kind = "Contact: <sip:far@[local_ip]:[local_port];transport=[transport]>\n\
                    MIME-Version: 1.0\nContent-Type: multipart/mixed;boundary=\"-=parts\"\n";
        let isup = "Content-Type: application/ISUP;version=itu-t92+;base=itu-t92+\n\
                    Content-Disposition: signal;handling=optional\n\n\u{6}\u{1}\u{14}";
        let sdp = sdp.text();
        let body = format!(
            "---=parts\n{isup}\n---=parts\nContent-Type: application/sdp\n\n{sdp}\n---=parts--\n"
        );
        self.answer_with(status, kind, &body)
    }

    /// Answers the INVITE, which came last, by the way that it came: through all that stand in its Via
    /// and Record-Route.
    pub(super) fn answer_routed(self, sdp: Sdp) -> Self {
        let body = sdp.text();
        self.send(&format!(
            "SIP/2.0 200 OK\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n\
             [last_To:];tag=far[call_number]\n[last_Call-ID:]\n[last_CSeq:]\n{DESCRIBED}\
             Content-Length: [len]\n\n{body}"
        ))
    }

    /// A provisional or final answer of one of several telephones that the INVITE was forked to.
    pub(super) fn answer_of(self, telephone: &str, status: &str, sdp: Sdp) -> Self {
        let message = to_invite(status, DESCRIBED, &sdp.text());
        self.send(&message.replace(";tag=far[call_number]", &format!(";tag={telephone}")))
    }

    /// A request comes; what came before it again is absorbed.
    pub(super) fn expect(mut self, method: &str) -> Self {
        writeln!(self.steps, "<recv request=\"{method}\"/>").unwrap();
        self
    }

    /// A request comes that [`answer_kept`](Self::answer_kept) answers later.
    pub(super) fn expect_and_keep(mut self, method: &str) -> Self {
        writeln!(
            self.steps,
            r#"<recv request="{method}"><action>
<ereg regexp=".*" search_in="hdr" header="Via:" assign_to="kept_via"/>
<ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="kept_cseq"/>
</action></recv>"#
        )
        .unwrap();
        self
    }

    /// Answers the request that was kept, whatever came after it.
    pub(super) fn answer_kept(self, status: &str) -> Self {
        self.answer_kept_with(status, "")
    }

    /// The same with further header lines.
    pub(super) fn answer_kept_with(self, status: &str, more: &str) -> Self {
        self.send(&format!(
            "SIP/2.0 {status}\nVia: [$kept_via]\nFrom: [$from]\nTo: [$to];tag=far[call_number]\n\
             Call-ID: [call_id]\nCSeq: [$kept_cseq]\n{more}Content-Length: 0\n"
        ))
    }

    /// A request comes in which this expression is found.
    pub(super) fn expect_with(mut self, method: &str, pattern: &str) -> Self {
        let check = self.check(pattern);
        writeln!(self.steps, "<recv request=\"{method}\"><action>{check}</action></recv>").unwrap();
        self
    }

    /// Answers the request that came last.
    pub(super) fn reply(self, status: &str) -> Self {
        self.reply_with(status, "Contact: <sip:far@[local_ip]:[local_port]>\n")
    }

    /// The same with other header lines.
    fn reply_with(self, status: &str, more: &str) -> Self {
        self.send(&format!(
            "SIP/2.0 {status}\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n\
             [last_CSeq:]\n{more}Content-Length: 0\n"
        ))
    }

    /// Sends a request in the call's dialog.
    pub(super) fn request(mut self, method: &str, more: &str, body: &str) -> Self {
        self.cseq += 1;
        self.in_dialog(method, "", more, body)
    }

    /// Sends the last request again as it was, which had no body.
    pub(super) fn request_again(self, method: &str) -> Self {
        self.in_dialog(method, "", "", "")
    }

    /// Acknowledges the 2xx to a re-INVITE: a transaction of its own.
    fn ack(self) -> Self {
        self.in_dialog("ACK", "ack", "", "")
    }

    /// Acknowledges the refusal of a re-INVITE: in its transaction.
    fn ack_refusal(self) -> Self {
        self.in_dialog("ACK", "", "", "")
    }

    fn in_dialog(self, method: &str, transaction: &str, more: &str, body: &str) -> Self {
        let cseq = self.cseq;
        self.send(&format!(
            "{method} [$contact] SIP/2.0\n\
             Via: SIP/2.0/[transport] [local_ip]:[local_port];\
             branch=z9hG4bK[pid].[call_number].{cseq}{transaction}\nMax-Forwards: 70\n\
             From: [$to];tag=far[call_number]\nTo: [$from]\nCall-ID: [call_id]\n\
             CSeq: {cseq} {method}\n{more}Content-Length: [len]\n\n{body}"
        ))
    }

    /// A response comes in which this expression is found.
    pub(super) fn expect_answer(mut self, status: u16, pattern: &str) -> Self {
        let check = self.check(pattern);
        writeln!(
            self.steps,
            "<recv response=\"100\" optional=\"true\"/>\n<recv response=\"{status}\">\
             <action>{check}</action></recv>"
        )
        .unwrap();
        self
    }

    /// Offers `sdp` by a re-INVITE, which must be answered by a description with this in it.
    pub(super) fn reinvite(self, sdp: Sdp, answer: &str) -> Self {
        self.reinvite_with(DESCRIBED, sdp, answer)
    }

    /// The same with other header lines than [`DESCRIBED`].
    pub(super) fn reinvite_with(self, headers: &str, sdp: Sdp, answer: &str) -> Self {
        self.request("INVITE", headers, &sdp.text()).expect_answer(200, answer).ack()
    }

    /// A re-INVITE without an offer: ours comes in the 200, and `sdp` answers it in the ACK (RFC
    /// 3261 §14.2).
    pub(super) fn reinvite_without_offer(self, sdp: Sdp, offer: &str) -> Self {
        let contact = "Contact: <sip:far@[local_ip]:[local_port]>\n";
        self.request("INVITE", contact, "").expect_answer(200, offer).in_dialog(
            "ACK",
            "ack",
            DESCRIBED,
            &sdp.text(),
        )
    }

    /// Offers `sdp` by a re-INVITE, which must be refused.
    pub(super) fn reinvite_refused(self, sdp: Sdp, status: u16) -> Self {
        let pattern = format!("SIP/2.0 {status}");
        self.request("INVITE", DESCRIBED, &sdp.text()).expect_answer(status, &pattern).ack_refusal()
    }

    /// Offers `sdp` by an UPDATE (RFC 3311).
    pub(super) fn update(self, sdp: Sdp, answer: &str) -> Self {
        self.request("UPDATE", DESCRIBED, &sdp.text()).expect_answer(200, answer)
    }

    /// Hangs up.
    pub(super) fn bye(self) -> Self {
        self.request("BYE", "", "").expect_answer(200, "CSeq: *[0-9]+ BYE")
    }

    /// Waits for the caller's hang-up, and answers it.
    pub(super) fn hung_up(self) -> Self {
        self.expect("BYE").reply("200 OK")
    }

    /// Rings, answers and is acknowledged.
    pub(super) fn accept(self, sdp: Sdp) -> Self {
        self.answer("180 Ringing").answer_sdp("200 OK", sdp).expect("ACK")
    }

    pub(super) fn pause(mut self, ms: u32) -> Self {
        writeln!(self.steps, "<pause milliseconds=\"{ms}\"/>").unwrap();
        self
    }

    /// Plays a capture of RTP as it was sent once.
    pub(super) fn play(mut self, capture: &Path) -> Self {
        let capture = capture.display();
        writeln!(self.steps, "<nop><action><exec play_pcap_audio=\"{capture}\"/></action></nop>")
            .unwrap();
        self
    }

    fn send(mut self, message: &str) -> Self {
        writeln!(self.steps, "<send><![CDATA[\n{message}\n]]></send>").unwrap();
        self
    }

    /// The message must match, else the call has failed.
    fn check(&mut self, pattern: &str) -> String {
        self.checks += 1;
        let (name, pattern) = (self.checks, pattern.replace('<', "&lt;").replace('>', "&gt;"));
        format!(
            "<ereg regexp=\"{pattern}\" search_in=\"msg\" check_it=\"true\" \
             assign_to=\"check{name}\"/>"
        )
    }

    /// The whole scenario.
    pub(super) fn xml(&self) -> String {
        // SIPp wants each variable to be named twice.
        let checks: String = (1..=self.checks)
            .map(|name| format!("<Reference variables=\"check{name}\"/>\n"))
            .collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"us-ascii\"?>\n<scenario name=\"ladder\">\n{}\
             {checks}</scenario>\n",
            self.steps
        )
    }
}

/// Keeps what later messages are made of.
fn keeping() -> String {
    let keep = |(name, header, pattern): &(&str, &str, &str)| {
        format!(
            "<ereg regexp=\"{pattern}\" search_in=\"hdr\" header=\"{header}\" assign_to=\"{name}\"/>\n"
        )
    };
    KEPT.iter().map(keep).collect()
}

/// The header lines of an answer or offer with a description.
pub(super) const DESCRIBED: &str =
    "Contact: <sip:far@[local_ip]:[local_port]>\nContent-Type: application/sdp\n";

/// An answer to the INVITE that was kept.
fn to_invite(status: &str, more: &str, body: &str) -> String {
    let tag = if status.starts_with("100") { "" } else { ";tag=far[call_number]" };
    format!(
        "SIP/2.0 {status}\nVia: [$via]\nFrom: [$from]\nTo: [$to]{tag}\nCall-ID: [call_id]\n\
         CSeq: [$invite]\n{more}Content-Length: [len]\n\n{body}"
    )
}
