//! Webhooks: committed events, delivered in order per call, signed, never to our own network.
//!
//! It knows the outbox and HTTP, not what an event says. `guard` decides where one may go, `sign`
//! proves who sent it.

pub mod guard;
pub mod sign;
