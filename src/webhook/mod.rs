//! Webhooks: committed events, delivered in order per call, signed, never to our own network.
//!
//! It knows the outbox and HTTP, not what an event says. Start at
//! [`Deliverer`]; `schedule` decides what goes when, [`guard`] where one may go, [`sign`] proves
//! who sent it.

mod deliver;
pub mod guard;
mod schedule;
pub mod sign;

pub use deliver::{Deliverer, Options, StartError};
