//! What an endpoint counts. Every event without an arrow has a name here.

use std::collections::BTreeMap;

use crate::transaction::Unexpected;

/// Counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that came.
    pub received: u64,
    /// Messages that were sent, repetitions included.
    pub sent: u64,
    /// Messages that came or were sent again, byte for byte.
    pub retransmissions: u64,
    /// Keep-alives (RFC 5626).
    pub keep_alives: u64,
    /// Datagrams that are no SIP message.
    pub malformed: u64,
    /// Requests from addresses that requests are not taken from.
    pub strangers: u64,
    /// Requests answered without keeping state: refusals, OPTIONS.
    pub stateless_replies: u64,
    /// Responses to nothing that we sent.
    pub stray_responses: u64,
    /// 2xx that nobody waited for, ended by ACK and BYE.
    pub stray_answers: u64,
    /// Calls refused for want of room.
    pub overload: u64,
    /// Transport errors.
    pub transport_errors: u64,
    /// Commands for a leg that had ended meanwhile.
    pub late_commands: u64,
    /// Events without an arrow in a leg's state.
    pub ignored: BTreeMap<&'static str, u64>,
    /// Events without an arrow in a transaction's state.
    pub unexpected: BTreeMap<Unexpected, u64>,
}
