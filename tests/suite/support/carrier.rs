//! A carrier whose every message is written by hand: no code of ours reads or writes its SIP.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How long anything is waited for: a slow machine, never a design.
const PATIENCE: Duration = Duration::from_secs(5);

/// A user agent on a UDP port, with an RTP port beside it.
pub(crate) struct Carrier {
    sip: UdpSocket,
    pub(crate) rtp: UdpSocket,
    peer: Option<SocketAddr>,
}

/// A message as it came.
#[derive(Debug, Clone)]
pub(crate) struct Message(String);

impl Message {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The first word: the method, or `SIP/2.0`.
    pub(crate) fn method(&self) -> &str {
        self.0.split(' ').next().unwrap()
    }

    /// The Request-URI.
    pub(crate) fn uri(&self) -> &str {
        self.0.split(' ').nth(1).unwrap()
    }

    /// The first header of this name.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    /// The first header of this name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.split("\r\n").take_while(|line| !line.is_empty());
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// What stands behind the empty line.
    pub(crate) fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// Where its SDP wants RTP.
    pub(crate) fn media(&self) -> SocketAddr {
        let line = |start: &str| {
            self.body().lines().find_map(|it| it.strip_prefix(start)).unwrap_or_default()
        };
        let port = line("m=audio ").split(' ').next().unwrap().parse().unwrap();
        SocketAddr::new(line("c=IN IP4 ").trim().parse().unwrap(), port)
    }
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Carrier {
    /// A carrier of its own address, so that several stand side by side.
    pub(crate) async fn on(ip: &str) -> Self {
        Self {
            sip: UdpSocket::bind((ip, 0)).await.unwrap(),
            rtp: UdpSocket::bind((ip, 0)).await.unwrap(),
            peer: None,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.sip.local_addr().unwrap()
    }

    /// The next message, which must be of this method. Retransmissions are not filtered.
    #[track_caller]
    pub(crate) fn expect<'a>(&'a mut self, method: &'a str) -> impl Future<Output = Message> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let message = self.next().await;
            let message = message.unwrap_or_else(|| panic!("no {method} came ({caller})"));
            assert_eq!(message.method(), method, "{caller}\n{}", message.0);
            message
        }
    }

    /// Nothing comes within `ms`.
    pub(crate) async fn expect_nothing(&mut self, ms: u64) {
        let mut buffer = [0; 4_096];
        let got = timeout(Duration::from_millis(ms), self.sip.recv_from(&mut buffer)).await;
        let text = got.map(|got| String::from_utf8_lossy(&buffer[..got.unwrap().0]).into_owned());
        assert!(text.is_err(), "unexpected: {}", text.unwrap());
    }

    async fn next(&mut self) -> Option<Message> {
        let mut buffer = vec![0; 4_096];
        let (length, from) = timeout(PATIENCE, self.sip.recv_from(&mut buffer)).await.ok()?.ok()?;
        self.peer = Some(from);
        buffer.truncate(length);
        Some(Message(String::from_utf8(buffer).unwrap()))
    }

    /// Answers `request` with a status line such as `180 Ringing`, and further lines and a body.
    pub(crate) async fn answer(&self, request: &Message, status: &str, more: &str, body: &str) {
        let to = request.header("To");
        let tag = if to.contains(";tag=") || status.starts_with("100") { "" } else { ";tag=far" };
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}{tag}\r\n\
             Call-ID: {call}\r\nCSeq: {cseq}\r\n{more}Content-Length: {length}\r\n\r\n{body}",
            via = request.header("Via"),
            from = request.header("From"),
            call = request.header("Call-ID"),
            cseq = request.header("CSeq"),
            length = body.len(),
        );
        self.send(&text).await;
    }

    /// 200 with an SDP of PCMU and telephone-events.
    pub(crate) async fn accept(&self, invite: &Message) {
        let (ip, port) = (self.address().ip(), self.rtp.local_addr().unwrap().port());
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
        );
        let contact = self.contact();
        let more = format!("{contact}Content-Type: application/sdp\r\n");
        self.answer(invite, "200 OK", &more, &body).await;
    }

    fn contact(&self) -> String {
        format!("Contact: <sip:far@{}>\r\n", self.address())
    }

    /// BYE in the dialog of `invite`.
    pub(crate) async fn bye(&self, invite: &Message) {
        self.send_request("BYE", invite, 99, ("", "")).await;
    }

    /// re-INVITE with an offer of these formats and further lines; its final answer, acknowledged.
    pub(crate) async fn offer(
        &mut self,
        invite: &Message,
        cseq: u32,
        formats: &str,
        more: &str,
    ) -> Message {
        let (ip, port) = (self.address().ip(), self.rtp.local_addr().unwrap().port());
        let body = format!(
            "v=0\r\no=- 1 {cseq} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} {formats}\r\na=rtpmap:101 telephone-event/8000\r\n{more}"
        );
        let answer = self.request("INVITE", invite, cseq, ("application/sdp", &body)).await;
        self.send_request("ACK", invite, cseq, ("", "")).await;
        answer
    }

    /// A request in the dialog of `invite`, with a body of a type; its final answer.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        invite: &Message,
        cseq: u32,
        body: (&str, &str),
    ) -> Message {
        self.send_request(method, invite, cseq, body).await;
        loop {
            let answer = self.expect("SIP/2.0").await;
            if !answer.uri().starts_with('1') {
                return answer;
            }
        }
    }

    async fn send_request(
        &self,
        method: &str,
        invite: &Message,
        cseq: u32,
        (kind, body): (&str, &str),
    ) {
        let ours = self.address();
        let uri = invite.header("Contact").trim_start_matches('<');
        let uri = uri.split('>').next().unwrap();
        let kind =
            if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {ours};branch=z9hG4bK{method}{cseq}\r\n\
             Max-Forwards: 70\r\nFrom: {from};tag=far\r\nTo: {to}\r\nCall-ID: {call}\r\n\
             CSeq: {cseq} {method}\r\n{contact}{kind}Content-Length: {length}\r\n\r\n{body}",
            from = invite.header("To"),
            to = invite.header("From"),
            call = invite.header("Call-ID"),
            contact = self.contact(),
            length = body.len(),
        );
        self.send(&text).await;
    }

    async fn send(&self, text: &str) {
        self.sip.send_to(text.as_bytes(), self.peer.unwrap()).await.unwrap();
    }

    /// One RTP packet of `pt`, sequence and timestamp counted by the caller.
    pub(crate) async fn send_rtp(
        &self,
        to: SocketAddr,
        pt: u8,
        sequence: u16,
        timestamp: u32,
        payload: &[u8],
    ) {
        let mut packet = vec![0x80, pt];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend(payload);
        self.rtp.send_to(&packet, to).await.unwrap();
    }

    /// Payloads of the next RTP packets of PCMU that are not silence, `count` of them.
    pub(crate) async fn hear(&self, count: usize) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        let mut buffer = [0; 2_048];
        while heard.len() < count {
            let got = timeout(PATIENCE, self.rtp.recv_from(&mut buffer)).await;
            let (length, _) = got.expect("nothing is heard").unwrap();
            let payload = &buffer[12..length];
            // µ-law silence is 0xFF or 0x7F.
            if buffer[1] & 0x7F == 0 && payload.iter().any(|b| !matches!(b, 0xFF | 0x7F)) {
                heard.push(payload.to_vec());
            }
        }
        heard
    }
}
