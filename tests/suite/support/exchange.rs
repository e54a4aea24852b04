//! A carrier of many calls at once on one UDP port, written by hand: what it does with a call is
//! told by the number that is called. It keeps what came of each leg, with the time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::carrier::Message;

/// RFC 3261 T1 and T2: between the first repetitions of a 200, and at most.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// What a callee does; the fifth digit of its number after `1555`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callee {
    /// Rings, answers after 50 ms, talks until the BYE.
    Answers,
    /// Rings until the CANCEL.
    Rings,
    /// Says 100 and no more, and is cancelled.
    Tries,
    /// Answers, and hangs up 700 ms later.
    HangsUp,
    /// 486 after 50 ms.
    Busy,
    /// Answers and hears no ACK: repeats its 200 until the BYE.
    IsDeafToAck,
    /// Rings and answers, and says nothing more.
    FallsSilent,
    /// Says nothing at all.
    IsDead,
    /// 503 at once: the next trunk is to be tried.
    IsFull,
}

impl Callee {
    /// A number of this kind; `n` below 100 000 tells it from others.
    pub(crate) fn number(self, n: usize) -> String {
        format!("1555{}{n:06}", self as u8)
    }

    fn of(number: &str) -> Self {
        match number.as_bytes()[4] {
            b'0' => Self::Answers,
            b'1' => Self::Rings,
            b'2' => Self::Tries,
            b'3' => Self::HangsUp,
            b'4' => Self::Busy,
            b'5' => Self::IsDeafToAck,
            b'6' => Self::FallsSilent,
            b'7' => Self::IsDead,
            _ => Self::IsFull,
        }
    }
}

/// A call as the carrier saw it.
#[derive(Debug, Clone)]
pub(crate) struct Leg {
    pub(crate) number: String,
    pub(crate) callee: Callee,
    pub(crate) invite: Message,
    peer: SocketAddr,
    /// How often the INVITE came.
    pub(crate) invites: usize,
    /// When the first 200 went.
    pub(crate) answered: Option<Instant>,
    pub(crate) acks: Vec<Instant>,
    pub(crate) cancels: Vec<Instant>,
    pub(crate) byes: Vec<Instant>,
    /// When it was over for the carrier.
    pub(crate) over: Option<Instant>,
    /// What comes next by itself.
    due: Option<(Instant, Step)>,
    /// When the 200 is sent again, and after which pause.
    repeat: Option<(Instant, Duration)>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Answer,
    HangUp,
    Refuse(&'static str),
}

/// The carrier.
pub(crate) struct Exchange {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    sip: UdpSocket,
    rtp: UdpSocket,
    legs: Mutex<Vec<Leg>>,
    /// What all callees are, whatever their numbers say.
    all: Option<Callee>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Exchange {
    /// A carrier on an address of its own.
    pub(crate) async fn start(ip: &str) -> Self {
        Self::with(ip, None).await
    }

    /// A carrier all of whose callees are of one kind.
    pub(crate) async fn of(callee: Callee, ip: &str) -> Self {
        Self::with(ip, Some(callee)).await
    }

    async fn with(ip: &str, all: Option<Callee>) -> Self {
        let shared = Arc::new(Shared {
            sip: UdpSocket::bind((ip, 0)).await.unwrap(),
            rtp: UdpSocket::bind((ip, 0)).await.unwrap(),
            legs: Mutex::default(),
            all,
        });
        let address = shared.sip.local_addr().unwrap();
        let task = tokio::spawn(run(shared.clone()));
        Self { address, shared, task }
    }

    /// Every leg so far, the first one first.
    pub(crate) fn legs(&self) -> Vec<Leg> {
        self.shared.legs().clone()
    }

    /// The leg to a number.
    pub(crate) fn leg(&self, number: &str) -> Option<Leg> {
        self.legs().into_iter().rev().find(|leg| leg.number == number)
    }

    /// Answers a call that rings.
    pub(crate) async fn answer(&self, number: &str) {
        self.step(number, Step::Answer).await;
    }

    /// Hangs up an answered call.
    pub(crate) async fn hang_up(&self, number: &str) {
        self.step(number, Step::HangUp).await;
    }

    async fn step(&self, number: &str, step: Step) {
        let leg = self.leg(number).unwrap_or_else(|| panic!("no call to {number}"));
        self.shared.take(leg.call_id(), step).await;
    }

    /// Presses a key on an answered call: a telephone-event of 100 ms in six packets (RFC 4733).
    /// `n` counts the presses of a call.
    pub(crate) async fn press(&self, number: &str, digit: u8, n: u16) {
        let to = self.leg(number).unwrap().invite.media();
        let timestamp = 8_000 * u32::from(n) + 160;
        for at in 0..6_u16 {
            let end = if at >= 3 { 0x80 } else { 0 };
            let duration = if at >= 3 { 800 } else { 160 * (at + 1) };
            let marker = if at == 0 { 0x80 } else { 0 };
            let mut packet = vec![0x80, marker | 101];
            packet.extend((n * 10 + at).to_be_bytes());
            packet.extend(timestamp.to_be_bytes());
            packet.extend([0, 0, 0, 7, digit, end | 10]);
            packet.extend(duration.to_be_bytes());
            self.shared.rtp.send_to(&packet, to).await.unwrap();
        }
    }

    /// Sends any bytes from its own SIP address.
    pub(crate) async fn send(&self, bytes: &[u8], to: SocketAddr) {
        self.shared.sip.send_to(bytes, to).await.unwrap();
    }
}

impl Leg {
    fn call_id(&self) -> &str {
        self.invite.header("Call-ID")
    }
}

async fn run(shared: Arc<Shared>) {
    let mut buffer = vec![0; 65_536];
    let mut media = [0; 2_048];
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = shared.sip.recv_from(&mut buffer) => {
                // Errors are ICMP of a server that was killed.
                let Ok((length, from)) = received else { continue };
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                shared.receive(Message::new(text), from).await;
            }
            // What is said to it is not kept.
            _ = shared.rtp.recv_from(&mut media) => {}
            _ = ticks.tick() => shared.tick().await,
        }
    }
}

impl Shared {
    fn legs(&self) -> MutexGuard<'_, Vec<Leg>> {
        self.legs.lock().unwrap()
    }

    /// Changes the leg of a Call-ID; a copy of it as it is then.
    fn change(&self, call_id: &str, change: impl FnOnce(&mut Leg)) -> Option<Leg> {
        let mut legs = self.legs();
        let leg = legs.iter_mut().rev().find(|leg| leg.call_id() == call_id)?;
        change(leg);
        Some(leg.clone())
    }

    async fn receive(&self, message: Message, from: SocketAddr) {
        let now = Instant::now();
        // Answers to rubbish may name no call.
        let Some(id) = message.find("Call-ID").map(str::to_owned) else { return };
        match message.method() {
            "INVITE" => self.invited(now, message, from).await,
            "ACK" => {
                self.change(&id, |leg| {
                    leg.acks.push(now);
                    if leg.callee != Callee::IsDeafToAck {
                        leg.repeat = None;
                    }
                });
            }
            "CANCEL" => {
                let leg = self.change(&id, |leg| leg.cancels.push(now));
                let Some(leg) = leg else {
                    return self.respond(from, &message, "481 No Such Transaction", "").await;
                };
                if leg.is_mute() {
                    return;
                }
                self.respond(from, &message, "200 OK", "").await;
                if leg.answered.is_none() && leg.over.is_none() {
                    self.change(&id, |leg| leg.over = Some(now));
                    self.respond(from, &leg.invite, "487 Request Terminated", "").await;
                }
            }
            "BYE" => {
                let leg = self.change(&id, |leg| leg.byes.push(now));
                let Some(leg) = leg else {
                    return self.respond(from, &message, "481 No Such Call", "").await;
                };
                if leg.is_mute() {
                    return;
                }
                self.change(&id, |leg| {
                    leg.over.get_or_insert(now);
                    (leg.repeat, leg.due) = (None, None);
                });
                self.respond(from, &message, "200 OK", "").await;
            }
            "OPTIONS" => self.respond(from, &message, "200 OK", "").await,
            _ => {}
        }
    }

    async fn invited(&self, now: Instant, invite: Message, peer: SocketAddr) {
        let known = self.change(invite.header("Call-ID"), |leg| leg.invites += 1);
        if known.is_some() {
            return;
        }
        let user = invite.uri().trim_start_matches("sip:00");
        let number = user.split('@').next().unwrap().to_owned();
        let callee = self.all.unwrap_or_else(|| Callee::of(&number));
        let soon = now + Duration::from_millis(50);
        let due = match callee {
            Callee::Answers | Callee::IsDeafToAck | Callee::HangsUp | Callee::FallsSilent => {
                Some((soon, Step::Answer))
            }
            Callee::Busy => Some((soon, Step::Refuse("486 Busy Here"))),
            Callee::IsFull => Some((now, Step::Refuse("503 Service Unavailable"))),
            Callee::Rings | Callee::Tries | Callee::IsDead => None,
        };
        let leg = Leg {
            number,
            callee,
            invite: invite.clone(),
            peer,
            invites: 1,
            answered: None,
            acks: Vec::new(),
            cancels: Vec::new(),
            byes: Vec::new(),
            over: None,
            due,
            repeat: None,
        };
        self.legs().push(leg);
        match callee {
            Callee::IsDead => {}
            Callee::Tries | Callee::IsFull => self.respond(peer, &invite, "100 Trying", "").await,
            _ => self.respond(peer, &invite, "180 Ringing", "").await,
        }
    }

    /// Does what is due.
    async fn tick(&self) {
        let now = Instant::now();
        let mut steps = Vec::new();
        let mut again = Vec::new();
        for leg in self.legs().iter_mut().filter(|leg| leg.over.is_none()) {
            if let Some((_, step)) = leg.due.take_if(|(at, _)| *at <= now) {
                steps.push((leg.call_id().to_owned(), step));
            }
            if let Some((at, pause)) = leg.repeat.filter(|(at, _)| *at <= now) {
                leg.repeat = Some((at + pause, (pause * 2).min(T2)));
                again.push(leg.clone());
            }
        }
        for (id, step) in steps {
            self.take(&id, step).await;
        }
        for leg in again {
            self.accept(&leg).await;
        }
    }

    async fn take(&self, id: &str, step: Step) {
        let now = Instant::now();
        match step {
            Step::Answer => {
                let leg = self.change(id, |leg| {
                    leg.answered = Some(now);
                    leg.repeat = Some((now + T1, T1 * 2));
                    if leg.callee == Callee::HangsUp {
                        leg.due = Some((now + Duration::from_millis(700), Step::HangUp));
                    }
                });
                self.accept(&leg.unwrap()).await;
            }
            Step::HangUp => {
                let leg = self.change(id, |leg| {
                    leg.over = Some(now);
                    leg.repeat = None;
                });
                self.bye(&leg.unwrap()).await;
            }
            Step::Refuse(status) => {
                let leg = self.change(id, |leg| leg.over = Some(now)).unwrap();
                self.respond(leg.peer, &leg.invite, status, "").await;
            }
        }
    }

    async fn accept(&self, leg: &Leg) {
        let (ip, port) =
            (self.sip.local_addr().unwrap().ip(), self.rtp.local_addr().unwrap().port());
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
        );
        self.respond(leg.peer, &leg.invite, "200 OK", &sdp).await;
    }

    async fn respond(&self, to: SocketAddr, request: &Message, status: &str, sdp: &str) {
        let theirs = request.header("To");
        let tag = if theirs.contains(";tag=") || status.starts_with("100") { "" } else { ";tag=x" };
        let contact = format!("Contact: <sip:x@{}>\r\n", self.sip.local_addr().unwrap());
        let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "SIP/2.0 {status}\r\nVia: {via}\r\nFrom: {from}\r\nTo: {theirs}{tag}\r\n\
             Call-ID: {call}\r\nCSeq: {cseq}\r\n{contact}{kind}Content-Length: {length}\r\n\r\n{sdp}",
            via = request.header("Via"),
            from = request.header("From"),
            call = request.header("Call-ID"),
            cseq = request.header("CSeq"),
            length = sdp.len(),
        );
        self.send(&text, to).await;
    }

    async fn bye(&self, leg: &Leg) {
        let ours = self.sip.local_addr().unwrap();
        let invite = &leg.invite;
        let uri = invite.header("Contact").trim_start_matches('<').split('>').next().unwrap();
        let text = format!(
            "BYE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {ours};branch=z9hG4bKbye{id}\r\n\
             Max-Forwards: 70\r\nFrom: {to};tag=x\r\nTo: {from}\r\nCall-ID: {id}\r\n\
             CSeq: 99 BYE\r\nContent-Length: 0\r\n\r\n",
            to = invite.header("To"),
            from = invite.header("From"),
            id = invite.header("Call-ID"),
        );
        self.send(&text, leg.peer).await;
    }

    async fn send(&self, text: &str, to: SocketAddr) {
        // A server that was killed refuses; it is sent again where SIP says so.
        let _ = self.sip.send_to(text.as_bytes(), to).await;
    }
}

impl Leg {
    /// Whether it leaves requests without an answer now.
    fn is_mute(&self) -> bool {
        match self.callee {
            Callee::IsDead => true,
            Callee::FallsSilent => self.answered.is_some(),
            _ => false,
        }
    }
}
