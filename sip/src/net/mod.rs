//! The I/O of the SIP stack: sockets, the clock, one task that owns the endpoint.
//!
//! It knows tokio and how bytes are sent and received. It refuses to know what they mean: that is
//! [`crate::endpoint`]. Start at [`Sip`].

mod connection;
mod dial;
mod driver;
mod handle;
mod listener;
pub mod resolve;
mod start;
mod streams;
mod tls;
mod udp;

pub use handle::{Bound, Gone, Incoming, PlaceError, Sip, SipConfig, StartError};
pub use tls::Tls;
