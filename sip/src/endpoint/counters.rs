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
    /// Challenges that were answered.
    pub challenges_answered: u64,
    /// Challenges that were not, by their fault.
    pub challenges_refused: BTreeMap<&'static str, u64>,
    /// Calls refused for want of room.
    pub overload: u64,
    /// Transport errors.
    pub transport_errors: u64,
    /// Connections that were taken from others.
    pub accepted_connections: u64,
    /// Connections that were not taken for want of room.
    pub refused_connections: u64,
    /// Connections that we opened, or tried to.
    pub dialled_connections: u64,
    /// Requests of more than [`MAX_UDP_REQUEST`](crate::limits::MAX_UDP_REQUEST) octets that went
    /// over TCP instead.
    pub large_over_tcp: u64,
    /// Those that went by UDP all the same.
    pub large_over_udp: u64,
    /// Commands for a leg that had ended meanwhile.
    pub late_commands: u64,
    /// Events without an arrow in a leg's state.
    pub ignored: BTreeMap<&'static str, u64>,
    /// Events without an arrow in a transaction's state.
    pub unexpected: BTreeMap<Unexpected, u64>,
}
