//! The non-INVITE server transaction: RFC 3261 §17.2.2.
//!
//! ```text
//!                       | Request received
//!                       | pass to TU
//!                       V
//!                  +--------+
//!                  | Trying |----------------+
//!                  +--------+                | 200-699 from TU
//!                       | 1xx from TU        | send response
//!                       V send response      |
//!                +------------+              |
//!    Request  +--|            |--+ 1xx from  |
//!    send     |  | Proceeding |  | TU: send  |
//!    response +->|            |<-+ response  |
//!                +------------+              |
//!                    |     | 200-699 from TU |
//!     Transport Err. |     | send response   |
//!     inform TU      |     V                 V
//!                    |  +-----------+ <------+
//!                    |  |           |--+ Request
//!                    |  | Completed |<-+ send response
//!                    |  +-----------+
//!                    |        | Transport Err.: inform TU
//!                    |        | Timer J fires: -
//!                    V        V
//!                  +------------+
//!                  | Terminated |
//!                  +------------+
//! ```

use std::mem;
use std::time::Instant;

use bytes::Bytes;

use super::core::{Context, Core, fires};
use super::{Action, Outcome};
use crate::message::Response;
use crate::timer::{Timer, TimerConfig};

/// A request other than INVITE and ACK that we received.
#[derive(Debug)]
pub struct ServerNonInvite {
    core: Core,
    state: State,
}

impl ServerNonInvite {
    /// Begins with a request that has just come and that the caller passes to its user. The user
    /// must answer: until then no timer runs.
    pub fn new(reliable: bool, config: &TimerConfig) -> Self {
        Self { core: Core::new("server", reliable, config), state: State::Trying(Trying) }
    }

    /// The request came again ([`ServerKey`](super::ServerKey) is the same).
    pub fn handle_request(&mut self, now: Instant, out: &mut Vec<Action>) -> Outcome {
        self.handle(now, Event::Request, out)
    }

    /// The transaction user answers.
    pub fn respond(&mut self, now: Instant, response: &Response, out: &mut Vec<Action>) -> Outcome {
        let bytes = response.to_bytes();
        let event = match response.status {
            ..200 => Event::Provisional(bytes),
            200.. => Event::Final(bytes),
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
    Request,
    Provisional(Bytes),
    Final(Bytes),
    Fires(Timer),
    TransportError,
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Request => "Request",
            Self::Provisional(_) => "1xx from TU",
            Self::Final(_) => "200-699 from TU",
            Self::Fires(timer) => fires(*timer),
            Self::TransportError => "Transport Err.",
        }
    }
}

#[derive(Debug)]
enum State {
    Trying(Trying),
    Proceeding(Proceeding),
    Completed(Completed),
    Terminated(Terminated),
}

impl State {
    /// The drawing, arrow by arrow; all of it §17.2.2 but the transport errors (§17.2.4).
    fn on(self, event: Event, cx: &mut Context<'_>) -> Self {
        match (self, event) {
            // "any further request retransmissions are discarded".
            (Self::Trying(state), Event::Request) => {
                cx.absorbed();
                Self::Trying(state)
            }
            (Self::Trying(_), Event::Provisional(response)) => {
                Self::Proceeding(Proceeding::enter(response, cx))
            }
            (Self::Trying(_), Event::Final(response)) => {
                Self::Completed(Completed::enter(response, cx))
            }
            (state @ Self::Trying(_), event) => state.unexpected(&event, cx),

            // "the most recently sent provisional response MUST be passed".
            (Self::Proceeding(state), Event::Request) => Self::Proceeding(state.repeat(cx)),
            (Self::Proceeding(_), Event::Provisional(response)) => {
                Self::Proceeding(Proceeding::enter(response, cx))
            }
            (Self::Proceeding(_), Event::Final(response)) => {
                Self::Completed(Completed::enter(response, cx))
            }
            // §17.2.4.
            (Self::Proceeding(_), Event::TransportError) => Self::Terminated(Terminated::fail(cx)),
            (state @ Self::Proceeding(_), event) => state.unexpected(&event, cx),

            // "the server transaction MUST pass the final response ... for retransmission".
            (Self::Completed(state), Event::Request) => Self::Completed(state.repeat(cx)),
            (Self::Completed(_), Event::Fires(Timer::J)) => Self::Terminated(Terminated::enter(cx)),
            // §17.2.4.
            (Self::Completed(_), Event::TransportError) => Self::Terminated(Terminated::fail(cx)),
            // "Any other final responses passed by the TU ... MUST be discarded".
            (state @ Self::Completed(_), event) => state.unexpected(&event, cx),

            (state @ Self::Terminated(_), event) => state.unexpected(&event, cx),
        }
    }

    fn unexpected(self, event: &Event, cx: &mut Context<'_>) -> Self {
        cx.unexpected(self.name(), event.name());
        self
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Trying(_) => "Trying",
            Self::Proceeding(_) => "Proceeding",
            Self::Completed(_) => "Completed",
            Self::Terminated(_) => "Terminated",
        }
    }
}

/// The TU has said nothing yet.
#[derive(Debug)]
struct Trying;

/// The TU has sent a provisional response.
#[derive(Debug)]
struct Proceeding {
    response: Bytes,
}

impl Proceeding {
    fn enter(response: Bytes, cx: &mut Context<'_>) -> Self {
        cx.send(&response);
        Self { response }
    }

    fn repeat(self, cx: &mut Context<'_>) -> Self {
        cx.resend(&self.response);
        cx.absorbed();
        self
    }
}

/// Answered; the answer is repeated as often as the request.
#[derive(Debug)]
struct Completed {
    response: Bytes,
}

impl Completed {
    fn enter(response: Bytes, cx: &mut Context<'_>) -> Self {
        cx.send(&response);
        let timer_j = cx.core.absorb_for(cx.core.config.transaction_timeout());
        cx.set(Timer::J, timer_j);
        Self { response }
    }

    fn repeat(self, cx: &mut Context<'_>) -> Self {
        cx.resend(&self.response);
        cx.absorbed();
        self
    }
}

/// Done.
#[derive(Debug)]
struct Terminated;

impl Terminated {
    fn fail(cx: &mut Context<'_>) -> Self {
        cx.tell(Action::TransportError);
        Self::enter(cx)
    }

    fn enter(cx: &mut Context<'_>) -> Self {
        cx.terminate();
        Self
    }
}

#[cfg(test)]
mod tests;
