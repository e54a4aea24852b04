//! Kaphila's SIP stack: RFC 3261 with 3326, 3581 and 6026, as a sans-IO [`endpoint`] and the
//! driver that carries its bytes.
//!
//! It knows messages, transactions, dialogs and our INVITE usage. It refuses to know what a body
//! means (SDP is bytes here), what a trunk costs and whose call it is. Start at [`endpoint`].
#![forbid(unsafe_code)]

pub mod auth;
pub mod dialog;
pub mod endpoint;
pub mod error;
pub mod info;
pub mod invite;
pub mod limits;
pub mod message;
pub mod net;
pub mod options;
pub mod reason;
pub mod register;
pub mod timer;
pub mod transaction;
pub mod wire;
