//! The INVITE client transaction: RFC 3261 §17.1.1 as corrected by RFC 6026 §7.2.
//!
//! ```text
//!                          | INVITE from TU
//!   Timer A fires          | INVITE sent
//!   reset A, INVITE sent   V                    Timer B fires or
//!              +------ +---------+              Transport Err.: inform TU
//!              |       | Calling |-----------------------------------+
//!              +-----> +---------+                                   |
//!  300-699               |  |  |  2xx                                |
//!  ACK sent, resp. to TU |  |  |  2xx to TU                          |
//!     +------------------+  |  +---------------------+               |
//!     |                     | 1xx                    |               |
//!     |     1xx             V 1xx to TU              |               |
//!     |     1xx to TU  +------------+                |               |
//!     |          +---- | Proceeding |                |               |
//!     |          +---> +------------+                |               |
//!     |     300-699      |      |  2xx               |               |
//!     |     ACK sent,    |      |  2xx to TU         |               |
//!     |     resp. to TU  |      +------------------+ |               |
//!     V                  V                         V V               |
//!   +-----------+ <------+                     +----------+          |
//!   | Completed |                              | Accepted | --+ 2xx  |
//!   +-----------+ --+ 300-699                  +----------+ <-+ to   |
//!     |   |    ^----+ ACK sent                      |           TU   |
//!     |   |                                         |                |
//!     |   | Transport Err.: inform TU               | Timer M fires  |
//!     |   +-------------------+                     |                |
//!     | Timer D fires         |                     |                |
//!     +---------------------> V V <-----------------+                |
//!                         +------------+                             |
//!                         | Terminated | <---------------------------+
//!                         +------------+
//! ```
//!
//! Once a provisional has come, nothing here limits the ringing: that, CANCEL and its 64×T1
//! (§9.1) are the transaction user's, who ends a cancelled transaction by dropping it.

use std::mem;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::core::{Context, Core, fires};
use super::{Action, Outcome, build};
use crate::message::{Request, Response};
use crate::timer::{Backoff, Timer, TimerConfig};

/// An INVITE we sent, until its final response and the time its repetitions take have passed.
#[derive(Debug)]
pub struct ClientInvite {
    core: Core,
    request: Request,
    state: State,
}

impl ClientInvite {
    /// Sends `request` (the first action) and waits for an answer until `timer_b` has passed:
    /// [`TimerConfig::transaction_timeout`] by the RFC, shorter where another way is to be tried.
    pub fn new(
        now: Instant,
        request: Request,
        reliable: bool,
        config: &TimerConfig,
        timer_b: Duration,
        out: &mut Vec<Action>,
    ) -> Self {
        let mut core = Core::new("client_invite", reliable, config);
        let mut cx = Context::new(now, &mut core, out);
        let state = Calling::enter(&request, timer_b, &mut cx);
        Self { core, request, state: State::Calling(state) }
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
            200..300 => Event::Success(response),
            300.. => Event::Failure(response),
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

    /// No provisional and no final response has come yet: CANCEL may not be sent (§9.1).
    pub fn is_calling(&self) -> bool {
        matches!(self.state, State::Calling(_))
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
        self.state = state.on(event, &self.request, &mut cx);
        cx.outcome
    }
}

#[derive(Debug)]
enum Event {
    Provisional(Response),
    Success(Response),
    Failure(Response),
    Fires(Timer),
    TransportError,
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Provisional(_) => "1xx",
            Self::Success(_) => "2xx",
            Self::Failure(_) => "300-699",
            Self::Fires(timer) => fires(*timer),
            Self::TransportError => "Transport Err.",
        }
    }
}

#[derive(Debug)]
enum State {
    Calling(Calling),
    Proceeding(Proceeding),
    Completed(Completed),
    Accepted(Accepted),
    Terminated(Terminated),
}

impl State {
    /// The drawing, arrow by arrow.
    fn on(self, event: Event, request: &Request, cx: &mut Context<'_>) -> Self {
        match (self, event) {
            // §17.1.1.2: "When timer A fires, the client transaction MUST retransmit".
            (Self::Calling(state), Event::Fires(Timer::A)) => Self::Calling(state.retransmit(cx)),
            // §17.1.1.2: still Calling when B fires: the TU is informed, no ACK.
            (Self::Calling(state), Event::Fires(Timer::B)) => {
                Self::Terminated(state.fail(Action::Timeout, cx))
            }
            // §17.1.4.
            (Self::Calling(state), Event::TransportError) => {
                Self::Terminated(state.fail(Action::TransportError, cx))
            }
            // §17.1.1.2: no more retransmission, no more timer B.
            (Self::Calling(state), Event::Provisional(response)) => {
                Self::Proceeding(state.proceed(response, cx))
            }
            // RFC 6026 §7.2.
            (Self::Calling(_), Event::Success(response)) => {
                Self::Accepted(Accepted::enter(response, cx))
            }
            // §17.1.1.2.
            (Self::Calling(_), Event::Failure(response)) => {
                Self::Completed(Completed::enter(request, response, cx))
            }
            (state @ Self::Calling(_), event) => state.unexpected(&event, cx),

            // §17.1.1.2: further provisionals are passed up.
            (Self::Proceeding(state), Event::Provisional(response)) => {
                Self::Proceeding(state.pass(response, cx))
            }
            // RFC 6026 §7.2.
            (Self::Proceeding(_), Event::Success(response)) => {
                Self::Accepted(Accepted::enter(response, cx))
            }
            // §17.1.1.2.
            (Self::Proceeding(_), Event::Failure(response)) => {
                Self::Completed(Completed::enter(request, response, cx))
            }
            (state @ Self::Proceeding(_), event) => state.unexpected(&event, cx),

            // §17.1.1.2: repeated finals are acknowledged again and not passed up.
            (Self::Completed(state), Event::Failure(_)) => {
                Self::Completed(state.acknowledge_again(cx))
            }
            // §17.1.1.2.
            (Self::Completed(state), Event::Fires(Timer::D)) => Self::Terminated(state.end(cx)),
            // §17.1.4, RFC 6026's drawing.
            (Self::Completed(state), Event::TransportError) => Self::Terminated(state.fail(cx)),
            (state @ Self::Completed(_), event) => state.unexpected(&event, cx),

            // RFC 6026 §7.2: every 2xx goes up, repeated or of another branch.
            (Self::Accepted(state), Event::Success(response)) => {
                Self::Accepted(state.pass(response, cx))
            }
            // RFC 6026 §7.2.
            (Self::Accepted(state), Event::Fires(Timer::M)) => Self::Terminated(state.end(cx)),
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
            Self::Calling(_) => "Calling",
            Self::Proceeding(_) => "Proceeding",
            Self::Completed(_) => "Completed",
            Self::Accepted(_) => "Accepted",
            Self::Terminated(_) => "Terminated",
        }
    }
}

/// Waits for any response.
#[derive(Debug)]
struct Calling {
    invite: Bytes,
    backoff: Backoff,
}

impl Calling {
    fn enter(request: &Request, timer_b: Duration, cx: &mut Context<'_>) -> Self {
        let state = Self { invite: request.to_bytes(), backoff: cx.core.config.doubling() };
        cx.send(&state.invite);
        if !cx.core.reliable {
            cx.set(Timer::A, state.backoff.interval());
        }
        cx.set(Timer::B, timer_b);
        state
    }

    fn retransmit(self, cx: &mut Context<'_>) -> Self {
        cx.resend(&self.invite);
        let backoff = self.backoff.next();
        cx.set(Timer::A, backoff.interval());
        Self { backoff, ..self }
    }

    fn proceed(self, response: Response, cx: &mut Context<'_>) -> Proceeding {
        cx.stop_timers();
        Proceeding.pass(response, cx)
    }

    fn fail(self, why: Action, cx: &mut Context<'_>) -> Terminated {
        cx.tell(why);
        Terminated::enter(cx)
    }
}

/// Waits for a final response, as long as it takes.
#[derive(Debug)]
struct Proceeding;

impl Proceeding {
    fn pass(self, response: Response, cx: &mut Context<'_>) -> Self {
        cx.tell(Action::Response(response));
        self
    }
}

/// Refused; acknowledges the refusal each time it is repeated.
#[derive(Debug)]
struct Completed {
    ack: Bytes,
}

impl Completed {
    fn enter(request: &Request, response: Response, cx: &mut Context<'_>) -> Self {
        cx.stop_timers();
        let state = Self { ack: build::ack_for_failure(request, &response).to_bytes() };
        cx.send(&state.ack);
        cx.tell(Action::Response(response));
        cx.set(Timer::D, cx.core.absorb_for(cx.core.config.d));
        state
    }

    fn acknowledge_again(self, cx: &mut Context<'_>) -> Self {
        cx.resend(&self.ack);
        cx.absorbed();
        self
    }

    fn fail(self, cx: &mut Context<'_>) -> Terminated {
        cx.tell(Action::TransportError);
        Terminated::enter(cx)
    }

    fn end(self, cx: &mut Context<'_>) -> Terminated {
        Terminated::enter(cx)
    }
}

/// Answered; the transaction user sends the ACKs, each 2xx is shown to it.
#[derive(Debug)]
struct Accepted;

impl Accepted {
    fn enter(response: Response, cx: &mut Context<'_>) -> Self {
        cx.stop_timers();
        cx.set(Timer::M, cx.core.config.transaction_timeout());
        Self.pass(response, cx)
    }

    fn pass(self, response: Response, cx: &mut Context<'_>) -> Self {
        cx.tell(Action::Response(response));
        self
    }

    fn end(self, cx: &mut Context<'_>) -> Terminated {
        Terminated::enter(cx)
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
