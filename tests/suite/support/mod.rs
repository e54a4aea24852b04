//! A server of calls, and the carriers it calls.

pub(crate) mod api;
pub(crate) mod carrier;
pub(crate) mod document;
pub(crate) mod exchange;
pub(crate) mod hooks;
pub(crate) mod http;
pub(crate) mod link;
pub(crate) mod program;
pub(crate) mod server;
pub(crate) mod speech;
pub(crate) mod tls;
