//! The INVITE server transaction: RFC 3261 §17.2.1 as corrected by RFC 6026 §7.1.
//!
//! ```text
//!                            | INVITE
//!                            | pass INVITE to TU, 200 ms without
//!                            V an answer from TU: send 100
//!          INVITE      +------------+
//!          send     +--|            |--+ 101-199 from TU
//!          response |  |            |  | send response
//!                   +->| Proceeding |<-+
//!                      |            |--+ Transport Err.
//!                      |            |<-+ inform TU
//!                      +------------+
//!        300-699 from TU |       | 2xx from TU
//!        send response   |       | send response
//!           +------------+       +----------------+
//!           V                                     V
//!     +-----------+                         +----------+
//!     | Completed |--+ INVITE or Timer G    | Accepted |--+ INVITE: absorbed
//!     |           |<-+ send response        |          |<-+
//!     |           |--+ Transport Err.       |          |--+ 2xx from TU
//!     |           |<-+ inform TU            |          |<-+ send response
//!     +-----------+                         |          |--+ ACK
//!       |      | ACK                        |          |<-+ ACK to TU
//!       |      V                            |          |--+ Transport Err.
//!       |   +-----------+                   |          |<-+ inform TU
//!       |   | Confirmed |--+ ACK: absorbed  +----------+
//!       |   +-----------+<-+                  |
//!       |      | Timer I fires                | Timer L fires
//!       |      V                              |
//!       |   +------------+                    |
//!       +-->| Terminated |<-------------------+
//!  Timer H  +------------+
//!  fires: inform TU
//! ```
//!
//! A transport error moves nothing: the transaction must stay to absorb the repeated INVITE, and
//! its timers end it (RFC 6026). Repeating a 2xx until its ACK comes is the TU's (§13.3.1.4).

use std::mem;
use std::time::Instant;

use bytes::Bytes;

use super::core::{Context, Core, fires};
use super::{Action, Outcome};
use crate::message::{Request, Response};
use crate::timer::{Backoff, TRYING_AFTER, Timer, TimerConfig};

/// An INVITE we received, until its answer is acknowledged or given up.
#[derive(Debug)]
pub struct ServerInvite {
    core: Core,
    state: State,
}

impl ServerInvite {
    /// Begins with an INVITE that has just come and that the caller passes to its user.
    pub fn new(now: Instant, request: &Request, reliable: bool, config: &TimerConfig) -> Self {
        let mut core = Core::new("server_invite", reliable, config);
        let trying = Response::to_request(request, 100, "Trying").to_bytes();
        core.timers.set(Timer::Trying, now + TRYING_AFTER);
        Self { core, state: State::Proceeding(Proceeding { trying, latest: None }) }
    }

    /// The INVITE came again ([`ServerKey`](super::ServerKey) is the same).
    pub fn handle_request(&mut self, now: Instant, out: &mut Vec<Action>) -> Outcome {
        self.handle(now, Event::Invite, out)
    }

    /// An ACK came whose [`ServerKey`](super::ServerKey) is this transaction's. The ACK of a 2xx
    /// is a transaction of its own, found by its dialog; only old clients send it here.
    pub fn handle_ack(&mut self, now: Instant, ack: Request, out: &mut Vec<Action>) -> Outcome {
        self.handle(now, Event::Ack(ack), out)
    }

    /// The transaction user answers, or repeats its 2xx.
    pub fn respond(&mut self, now: Instant, response: &Response, out: &mut Vec<Action>) -> Outcome {
        let bytes = response.to_bytes();
        let event = match response.status {
            ..200 => Event::Provisional(bytes),
            200..300 => Event::Success(bytes),
            300.. => Event::Failure(bytes),
        };
        self.handle(now, event, out)
    }

    /// The transport could not deliver what was sent.
    pub fn handle_transport_error(&mut self, now: Instant, out: &mut Vec<Action>) -> Outcome {
        self.handle(now, Event::TransportError, out)
    }

    /// Lets every timer fire that is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Action>) {
        for _ in 0..Timer::COUNT {
            let Some(timer) = self.core.timers.expired(now) else { break };
            let _ = self.handle(now, Event::Fires(timer), out); // a set timer is expected
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.core.timers.next_timeout()
    }

    /// No final response was given yet: CANCEL can still end it (§9.2).
    pub fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding(_))
    }

    /// [`Action::Terminated`] was given out.
    pub fn is_terminated(&self) -> bool {
        matches!(self.state, State::Terminated(_))
    }

    /// The state's name in the drawing.
    pub fn state(&self) -> &'static str {
        self.state.name()
    }

    fn handle(&mut self, now: Instant, event: Event, out: &mut Vec<Action>) -> Outcome {
        let mut cx = Context::new(now, &mut self.core, out);
        let state = mem::replace(&mut self.state, State::Terminated(Terminated));
        self.state = state.on(event, &mut cx);
        cx.outcome
    }
}

#[derive(Debug)]
enum Event {
    Invite,
    Ack(Request),
    Provisional(Bytes),
    Success(Bytes),
    Failure(Bytes),
    Fires(Timer),
    TransportError,
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Invite => "INVITE",
            Self::Ack(_) => "ACK",
            Self::Provisional(_) => "1xx from TU",
            Self::Success(_) => "2xx from TU",
            Self::Failure(_) => "300-699 from TU",
            Self::Fires(timer) => fires(*timer),
            Self::TransportError => "Transport Err.",
        }
    }
}

#[derive(Debug)]
enum State {
    Proceeding(Proceeding),
    Completed(Completed),
    Confirmed(Confirmed),
    Accepted(Accepted),
    Terminated(Terminated),
}

impl State {
    /// The drawing, arrow by arrow.
    fn on(self, event: Event, cx: &mut Context<'_>) -> Self {
        match (self, event) {
            // §17.2.1: "the most recent provisional response ... MUST be passed".
            (Self::Proceeding(state), Event::Invite) => Self::Proceeding(state.repeat(cx)),
            // §17.2.1: 100 "unless it knows that the TU will generate" one "within 200 ms".
            (Self::Proceeding(state), Event::Fires(Timer::Trying)) => {
                Self::Proceeding(state.try_on(cx))
            }
            // §17.2.1.
            (Self::Proceeding(state), Event::Provisional(response)) => {
                Self::Proceeding(state.inform(response, cx))
            }
            // RFC 6026 §7.1.
            (Self::Proceeding(_), Event::Success(response)) => {
                Self::Accepted(Accepted::enter(response, cx))
            }
            // §17.2.1.
            (Self::Proceeding(_), Event::Failure(response)) => {
                Self::Completed(Completed::enter(response, cx))
            }
            // RFC 6026 §7.1: the state stays.
            (Self::Proceeding(state), Event::TransportError) => {
                cx.tell(Action::TransportError);
                Self::Proceeding(state)
            }
            (state @ Self::Proceeding(_), event) => state.unexpected(&event, cx),

            // §17.2.1: "the server transaction SHOULD pass the response to the transport".
            (Self::Completed(state), Event::Invite) => Self::Completed(state.repeat(cx)),
            // §17.2.1: G doubles up to T2.
            (Self::Completed(state), Event::Fires(Timer::G)) => {
                Self::Completed(state.retransmit(cx))
            }
            // §17.2.1.
            (Self::Completed(_), Event::Ack(_)) => Self::Confirmed(Confirmed::enter(cx)),
            // §17.2.1: "the ACK was never received": the TU must be told.
            (Self::Completed(state), Event::Fires(Timer::H)) => Self::Terminated(state.give_up(cx)),
            // RFC 6026 §7.1: the state stays.
            (Self::Completed(state), Event::TransportError) => {
                cx.tell(Action::TransportError);
                Self::Completed(state)
            }
            (state @ Self::Completed(_), event) => state.unexpected(&event, cx),

            // §17.2.1: "to absorb any additional ACK messages".
            (Self::Confirmed(state), Event::Ack(_)) => {
                cx.absorbed();
                Self::Confirmed(state)
            }
            // §17.2.1.
            (Self::Confirmed(_), Event::Fires(Timer::I)) => Self::Terminated(Terminated::enter(cx)),
            (state @ Self::Confirmed(_), event) => state.unexpected(&event, cx),

            // RFC 6026 §7.1: "absorbed ... without ... a response".
            (Self::Accepted(state), Event::Invite) => {
                cx.absorbed();
                Self::Accepted(state)
            }
            // RFC 6026 §7.1: "passed directly to the TU and not absorbed".
            (Self::Accepted(state), Event::Ack(ack)) => {
                cx.tell(Action::Ack(ack));
                Self::Accepted(state)
            }
            // RFC 6026 §7.1: the TU repeats its 2xx.
            (Self::Accepted(state), Event::Success(response)) => {
                cx.resend(&response);
                Self::Accepted(state)
            }
            // RFC 6026 §7.1: the state stays.
            (Self::Accepted(state), Event::TransportError) => {
                cx.tell(Action::TransportError);
                Self::Accepted(state)
            }
            // RFC 6026 §7.1.
            (Self::Accepted(_), Event::Fires(Timer::L)) => Self::Terminated(Terminated::enter(cx)),
            (state @ Self::Accepted(_), event) => state.unexpected(&event, cx),

            (state @ Self::Terminated(_), event) => state.unexpected(&event, cx),
        }
    }

    fn unexpected(self, event: &Event, cx: &mut Context<'_>) -> Self {
        cx.unexpected(self.name(), event.name());
        self
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Proceeding(_) => "Proceeding",
            Self::Completed(_) => "Completed",
            Self::Confirmed(_) => "Confirmed",
            Self::Accepted(_) => "Accepted",
            Self::Terminated(_) => "Terminated",
        }
    }
}

/// Waits for the TU's final response.
#[derive(Debug)]
struct Proceeding {
    /// The 100 that is sent if nothing better comes.
    trying: Bytes,
    latest: Option<Bytes>,
}

impl Proceeding {
    /// Before the first response there is none to repeat.
    fn repeat(self, cx: &mut Context<'_>) -> Self {
        if let Some(response) = &self.latest {
            cx.resend(response);
        }
        cx.absorbed();
        self
    }

    fn try_on(self, cx: &mut Context<'_>) -> Self {
        let trying = self.trying.clone();
        self.inform(trying, cx)
    }

    fn inform(self, response: Bytes, cx: &mut Context<'_>) -> Self {
        cx.core.timers.stop(Timer::Trying);
        cx.send(&response);
        Self { latest: Some(response), ..self }
    }
}

/// Refused; the refusal is repeated until its ACK comes.
#[derive(Debug)]
struct Completed {
    response: Bytes,
    backoff: Backoff,
}

impl Completed {
    fn enter(response: Bytes, cx: &mut Context<'_>) -> Self {
        cx.stop_timers();
        cx.send(&response);
        let backoff = cx.core.config.doubling_to_t2();
        if !cx.core.reliable {
            cx.set(Timer::G, backoff.interval());
        }
        cx.set(Timer::H, cx.core.config.transaction_timeout());
        Self { response, backoff }
    }

    fn repeat(self, cx: &mut Context<'_>) -> Self {
        cx.resend(&self.response);
        cx.absorbed();
        self
    }

    fn retransmit(self, cx: &mut Context<'_>) -> Self {
        cx.resend(&self.response);
        let backoff = self.backoff.next();
        cx.set(Timer::G, backoff.interval());
        Self { backoff, ..self }
    }

    fn give_up(self, cx: &mut Context<'_>) -> Terminated {
        cx.tell(Action::Timeout);
        Terminated::enter(cx)
    }
}

/// Refused and acknowledged; absorbs repeated ACKs.
#[derive(Debug)]
struct Confirmed;

impl Confirmed {
    fn enter(cx: &mut Context<'_>) -> Self {
        cx.stop_timers();
        cx.set(Timer::I, cx.core.absorb_for(cx.core.config.t4));
        Self
    }
}

/// Answered with a 2xx; repeated INVITEs are absorbed, ACKs passed on.
#[derive(Debug)]
struct Accepted;

impl Accepted {
    fn enter(response: Bytes, cx: &mut Context<'_>) -> Self {
        cx.stop_timers();
        cx.send(&response);
        cx.set(Timer::L, cx.core.config.transaction_timeout());
        Self
    }
}

/// Done.
#[derive(Debug)]
struct Terminated;

impl Terminated {
    fn enter(cx: &mut Context<'_>) -> Self {
        cx.terminate();
        Self
    }
}

#[cfg(test)]
mod tests;
