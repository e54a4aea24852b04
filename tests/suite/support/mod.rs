//! A server of calls, and the carriers it calls.

pub(crate) mod api;
pub(crate) mod carrier;
pub(crate) mod server;
