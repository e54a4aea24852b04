//! Every bound against what others send, side by side, each with its reason.
//!
//! A message beyond a bound is refused as a whole (400, or 513 where it is about size); nothing is
//! cut silently. Start here when a peer's message is refused and it looks right.

use std::time::Duration;

/// Octets of one message, start line to end of body. A UDP datagram cannot carry more, and no
/// INVITE with SDP comes near; on a stream it also bounds what one connection can make us hold.
pub const MAX_MESSAGE: usize = 65_535;

/// Octets of start line and header fields together. Twenty times a usual INVITE; the longest
/// message of RFC 4475 (§3.1.1.7, 22 Vias and names made long on purpose) has 3.5 kB.
pub const MAX_HEAD: usize = 32 * 1024;

/// Header fields of one message. A request that came through 70 proxies (the default Max-Forwards)
/// with a Via and a Record-Route each has 140 and its own 20.
pub const MAX_HEADER_FIELDS: usize = 200;

/// Values of one comma-separated header field read by a typed accessor (Via, Route, Contact …):
/// the 70 hops of Max-Forwards with room; more is an attack on our memory or a loop.
pub const MAX_LIST_VALUES: usize = 100;

/// Octets of a header field's name. RFC 4475 §3.1.1.7 uses 89.
pub const MAX_HEADER_NAME: usize = 128;

/// Parameters of one value (Via, From, a URI …). Real ones have under ten.
pub const MAX_PARAMS: usize = 64;

/// Octets of an unfinished message that a stream may hold before its head has ended: the head and
/// the keep-alives before it. Beyond that the connection is closed.
pub const MAX_STREAM_HEAD: usize = MAX_HEAD + 64;

/// Largest CSeq number, RFC 3261 §8.1.1.5: less than 2^31.
pub const MAX_CSEQ: u32 = 0x7FFF_FFFF;

// Calls and what they hold.

/// Legs of one endpoint, ended ones that absorb repetitions included: 32 s of 400 calls a second
/// and 5 000 that live, with room. An INVITE beyond it is refused with 503.
pub const MAX_LEGS: usize = 50_000;

/// Server transactions of one endpoint: a BYE keeps one for 32 s, as a leg its ending.
pub const MAX_SERVER_TRANSACTIONS: usize = 100_000;

/// Retry-After of a call refused for want of room, in seconds.
pub const OVERLOAD_RETRY_AFTER: u32 = 5;

/// Early dialogs of one INVITE: more telephones than a forking proxy rings.
pub const MAX_EARLY_DIALOGS: usize = 16;

/// ACKs of one leg kept for repeated 2xx: one for each fork that can answer.
pub const MAX_ACKS: usize = 16;

/// Added to a stored CSeq after a crash: digits by INFO that were sent since it was stored.
pub const ORPHAN_CSEQ_MARGIN: u32 = 1_000;

/// Messages of a leg that are remembered to tell repetitions by in its ladder.
pub const LADDER_MEMORY: usize = 32;

// The driver's queues.

/// Commands that wait for the driver; a sender waits while it is full.
pub const MAX_COMMANDS: usize = 1_024;

/// Commands carried out before sockets and time are looked at again.
pub const COMMAND_BATCH: usize = 64;

/// Calls that came in and wait to be taken; more are refused with 503.
pub const MAX_INCOMING: usize = 256;

/// Events of a call that came in which wait for its owner.
pub const MAX_LEG_EVENTS: usize = 128;

/// Events, but for ladder rows, that wait for an owner whose channel is full. No call has as many
/// in its life: an owner that lets them wait is stuck, and loses the leg.
pub const MAX_WAITING_EVENTS: usize = 256;

/// How often waiting events are tried again.
pub const EVENT_RETRY: Duration = Duration::from_millis(20);

/// Datagrams read from a socket before commands and time are looked at again.
pub const RECEIVE_BATCH: usize = 64;

/// Batches read in a row before timers and commands have their turn: a second's worth of a busy
/// trunk after a pause, a fraction of a second's work in a flood.
pub const READS_IN_A_ROW: usize = 16;

/// Octets of a datagram: what UDP can carry.
pub const MAX_DATAGRAM: usize = 65_535;

/// Octets asked of the kernel for a socket's receive buffer: some thousand messages.
pub const RECEIVE_BUFFER: usize = 4 << 20;

/// Datagrams that wait for the kernel to take them; further ones are dropped, as a network would.
pub const MAX_SEND_QUEUE: usize = 4_096;

/// ICMP errors read from a socket before anything else is looked at again.
pub const MAX_UNDELIVERABLE: usize = 64;

/// Remote addresses whose route's own address is remembered, on sockets bound to all addresses.
pub const MAX_ROUTES_REMEMBERED: usize = 1_024;
