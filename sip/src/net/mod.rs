//! The I/O of the SIP stack: sockets, the clock, one task that owns the endpoint.
//!
//! It knows tokio and how bytes are sent and received. It refuses to know what they mean: that is
//! [`crate::endpoint`]. Start at [`Sip`].

mod driver;
mod handle;
mod udp;

pub use handle::{Gone, Incoming, PlaceError, Sip, SipConfig, StartError};
