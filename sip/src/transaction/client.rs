//! The non-INVITE client transaction: RFC 3261 §17.1.2.
//!
//! ```text
//!                          | Request from TU
//!    Timer E fires         | send request
//!    send request          V
//!              +------ +--------+   Timer F fires or
//!              |       | Trying |   Transport Err.: inform TU
//!              +-----> +--------+ -------------------------+
//!                        |    |                            |
//!         200-699        |    | 1xx                        |
//!         resp. to TU    |    | resp. to TU                |
//!     +------------------+    V                            |
//!     |                +------------+                      |
//!     |          +---- |            |   Timer F fires or   |
//!     |          |     | Proceeding |   Transport Err.:    |
//!     |          +---> |            |   inform TU          |
//!     |                +------------+ -------------------> |
//!     |  Timer E fires:  |     ^  | 1xx                     |
//!     |  send request    |     +--+ resp. to TU             |
//!     |                  | 200-699                         |
//!     |                  | resp. to TU                     |
//!     |                  V                                 |
//!     |            +-----------+                           |
//!     +----------> | Completed |                           |
//!                  +-----------+                           |
//!                        | Timer K fires                   |
//!                        V                                 |
//!                  +------------+                          |
//!                  | Terminated | <------------------------+
//!                  +------------+
//! ```

use std::mem;
use std::time::Instant;

use bytes::Bytes;

use super::core::{Context, Core, fires};
use super::{Action, Outcome};
use crate::message::{Request, Response};
use crate::timer::{Backoff, Timer, TimerConfig};

/// A request other than INVITE and ACK that we sent.
#[derive(Debug)]
pub struct ClientNonInvite {
    core: Core,
    request: Request,
    state: State,
}

impl ClientNonInvite {
    /// Sends `request` (the first action).
    pub fn new(
        now: Instant,
        request: Request,
        reliable: bool,
        config: &TimerConfig,
        out: &mut Vec<Action>,
    ) -> Self {
        let mut core = Core::new("client", reliable, config);
        let mut cx = Context::new(now, &mut core, out);
        let state = Trying::enter(&request, &mut cx);
        Self { core, request, state: State::Trying(state) }
    }

    /// A response whose [`ClientKey`](super::ClientKey) is this transaction's.
    pub fn handle_response(
        &mut self,
        now: Instant,
        response: Response,
        out: &mut Vec<Action>,
    ) -> Outcome {
        let event = match response.status {
            ..200 => Event::Provisional(response),
            200.. => Event::Final(response),
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

    /// The request as it was sent.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// No response has come yet.
    pub fn is_trying(&self) -> bool {
        matches!(self.state, State::Trying(_))
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
    Provisional(Response),
    Final(Response),
    Fires(Timer),
    TransportError,
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Provisional(_) => "1xx",
            Self::Final(_) => "200-699",
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
    /// The drawing, arrow by arrow; all of it §17.1.2.2 but the transport errors (§17.1.4).
    fn on(self, event: Event, cx: &mut Context<'_>) -> Self {
        match (self, event) {
            // "the timer is reset ... with a value of MIN(2*T1, T2)", and so on.
            (Self::Trying(state), Event::Fires(Timer::E)) => Self::Trying(state.retransmit(cx)),
            // "If Timer F fires ... the client transaction SHOULD inform the TU".
            (Self::Trying(_), Event::Fires(Timer::F)) => {
                Self::Terminated(Terminated::fail(Action::Timeout, cx))
            }
            // §17.1.4.
            (Self::Trying(_), Event::TransportError) => {
                Self::Terminated(Terminated::fail(Action::TransportError, cx))
            }
            // Timers E and F run on.
            (Self::Trying(state), Event::Provisional(response)) => {
                Self::Proceeding(state.proceed(response, cx))
            }
            (Self::Trying(_), Event::Final(response)) => {
                Self::Completed(Completed::enter(response, cx))
            }
            (state @ Self::Trying(_), event) => state.unexpected(&event, cx),

            // "Timer E is reset with a value of T2".
            (Self::Proceeding(state), Event::Fires(Timer::E)) => {
                Self::Proceeding(state.retransmit(cx))
            }
            // "If timer F fires while in the Proceeding state, the TU MUST be informed".
            (Self::Proceeding(_), Event::Fires(Timer::F)) => {
                Self::Terminated(Terminated::fail(Action::Timeout, cx))
            }
            // §17.1.4.
            (Self::Proceeding(_), Event::TransportError) => {
                Self::Terminated(Terminated::fail(Action::TransportError, cx))
            }
            (Self::Proceeding(state), Event::Provisional(response)) => {
                Self::Proceeding(state.pass(response, cx))
            }
            (Self::Proceeding(_), Event::Final(response)) => {
                Self::Completed(Completed::enter(response, cx))
            }
            (state @ Self::Proceeding(_), event) => state.unexpected(&event, cx),

            // "exists to buffer any additional response retransmissions".
            (Self::Completed(state), Event::Provisional(_) | Event::Final(_)) => {
                Self::Completed(state.absorb(cx))
            }
            (Self::Completed(_), Event::Fires(Timer::K)) => Self::Terminated(Terminated::enter(cx)),
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

/// Waits for any response.
#[derive(Debug)]
struct Trying {
    request: Bytes,
    backoff: Backoff,
}

impl Trying {
    fn enter(request: &Request, cx: &mut Context<'_>) -> Self {
        let state = Self { request: request.to_bytes(), backoff: cx.core.config.doubling_to_t2() };
        cx.send(&state.request);
        if !cx.core.reliable {
            cx.set(Timer::E, state.backoff.interval());
        }
        cx.set(Timer::F, cx.core.config.transaction_timeout());
        state
    }

    fn retransmit(self, cx: &mut Context<'_>) -> Self {
        cx.resend(&self.request);
        let backoff = self.backoff.next();
        cx.set(Timer::E, backoff.interval());
        Self { backoff, ..self }
    }

    fn proceed(self, response: Response, cx: &mut Context<'_>) -> Proceeding {
        Proceeding { request: self.request }.pass(response, cx)
    }
}

/// Waits for a final response, still until timer F.
#[derive(Debug)]
struct Proceeding {
    request: Bytes,
}

impl Proceeding {
    fn pass(self, response: Response, cx: &mut Context<'_>) -> Self {
        cx.tell(Action::Response(response));
        self
    }

    fn retransmit(self, cx: &mut Context<'_>) -> Self {
        cx.resend(&self.request);
        cx.set(Timer::E, cx.core.config.t2);
        self
    }
}

/// Answered; absorbs repetitions.
#[derive(Debug)]
struct Completed;

impl Completed {
    fn enter(response: Response, cx: &mut Context<'_>) -> Self {
        cx.stop_timers();
        cx.tell(Action::Response(response));
        cx.set(Timer::K, cx.core.absorb_for(cx.core.config.t4));
        Self
    }

    fn absorb(self, cx: &mut Context<'_>) -> Self {
        cx.absorbed();
        self
    }
}

/// Done.
#[derive(Debug)]
struct Terminated;

impl Terminated {
    fn fail(why: Action, cx: &mut Context<'_>) -> Self {
        cx.tell(why);
        Self::enter(cx)
    }

    fn enter(cx: &mut Context<'_>) -> Self {
        cx.terminate();
        Self
    }
}

#[cfg(test)]
mod tests;
