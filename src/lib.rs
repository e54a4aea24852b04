//! Kaphila: a native SIP/RTP call server with a REST front end.
//!
//! One process, one node: [`server`] says who owns what. A request goes `http → call → store`, a
//! call drives `sip` and `media`, everything it reports leaves by `webhook`.
#![forbid(unsafe_code)]

pub mod call;
pub mod cli;
pub mod config;
pub mod control;
pub mod dial;
pub mod http;
pub mod number;
pub mod phone;
pub mod prompts;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod trunk;
pub mod tts;
pub mod webhook;
