//! Transactions: RFC 3261 §17 as corrected by RFC 6026.
//!
//! Four machines, each with the RFC's drawing above its states: [`ClientInvite`],
//! [`ClientNonInvite`], [`ServerInvite`], [`ServerNonInvite`]. They know retransmission, time-outs
//! and the ACK of a refused INVITE. They refuse to know dialogs, sockets and clocks: time comes in
//! as `now`, and what is to be done goes out as [`Action`]s, in order. Which transaction a message
//! belongs to is told by [`ClientKey`] and [`ServerKey`].
//!
//! All four are used alike: a `new` that starts the machine, `handle_*` for what happens, and
//! [`poll_timeout`](ClientInvite::poll_timeout) for when to call `handle_timeout` next. After
//! [`Action::Terminated`] the machine is done and is to be dropped.

use bytes::Bytes;

use crate::message::{Request, Response};

mod build;
mod client;
mod client_invite;
mod core;
mod key;
mod server;
mod server_invite;
#[cfg(test)]
mod testing;

pub use build::{ack_for_failure, cancel};
pub use client::ClientNonInvite;
pub use client_invite::ClientInvite;
pub use key::{ClientKey, MAGIC_COOKIE, ServerKey};
pub use server::ServerNonInvite;
pub use server_invite::ServerInvite;

/// What a transaction wants done, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// To the wire, to the transaction's peer.
    Send {
        /// A whole message.
        data: Bytes,
        /// The same bytes have been sent before.
        retransmission: bool,
    },
    /// To the transaction user: a response to its request.
    Response(Response),
    /// To the transaction user: an ACK that came for its 2xx (RFC 6026 §7.1).
    Ack(Request),
    /// To the transaction user: nothing came in time (timers B, F; H: the ACK).
    Timeout,
    /// To the transaction user: the message could not be sent.
    TransportError,
    /// The machine has ended; always the last action of a transaction.
    Terminated,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an unexpected event is to be counted"]
pub enum Outcome {
    /// An arrow of the drawing was followed.
    Taken,
    /// The far end repeated itself: absorbed, or answered with what it was told before.
    Retransmission,
    /// No arrow leaves the state for this event. Nothing was done; it is to be counted.
    Unexpected(Unexpected),
}

/// An event for which the RFC has no arrow, named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unexpected {
    /// The machine: `client_invite`, `client`, `server_invite`, `server`.
    pub machine: &'static str,
    /// The state it was in, as the RFC calls it.
    pub state: &'static str,
    /// The event, as the drawing would call it.
    pub event: &'static str,
}
