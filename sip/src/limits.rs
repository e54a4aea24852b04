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

/// Accounts whose nonces are remembered: far more than a server has trunks with one. Beyond it all
/// are forgotten, which costs each a challenge.
pub const MAX_AUTHENTICATORS: usize = 4_096;

/// Added to a stored CSeq after a crash: digits by INFO that were sent since it was stored.
pub const ORPHAN_CSEQ_MARGIN: u32 = 1_000;

/// Messages of a leg that are remembered to tell repetitions by in its ladder.
pub const LADDER_MEMORY: usize = 32;

// Connections.

/// Octets of a request that UDP may carry where the path's MTU is not known (RFC 3261 §18.1.1).
pub const MAX_UDP_REQUEST: usize = 1_300;

/// Connections that we open and hold: one for each trunk and name, and the Contacts of their calls.
pub const MAX_DIALLED: usize = 4_096;

/// How long a connection may take until it is open, the handshake of TLS included: shorter than a
/// trunk is waited for (4 s), so that the reason is known and not only its silence.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The same where UDP is there to fall back on.
pub const OPTIONAL_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections that one listener holds. One more of a trunk takes the place of a stranger's.
pub const MAX_ACCEPTED: usize = 10_000;

/// Connections of one trunk's address: it may take half a listener, no more.
pub const MAX_ACCEPTED_OF_TRUSTED: usize = MAX_ACCEPTED / 2;

/// Connections of one stranger's address (of its /64 for IPv6).
pub const MAX_ACCEPTED_OF_STRANGER: usize = 100;

/// How long a stranger's connection may last: one request is answered, and there is nothing more.
pub const STRANGER_TIMEOUT: Duration = Duration::from_secs(10);

/// From the first octet of a message to its last, and for the handshake of TLS that others begin.
pub const UNFINISHED_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages that wait to be written to one connection; a far end that reads slower is closed.
pub const MAX_WRITE_QUEUE: usize = 4_096;

/// Their octets.
pub const MAX_WRITE_QUEUE_OCTETS: usize = 4 << 20;

/// How long the far end may take nothing of what is written to it.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is written last may take this long before its connection is cut.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection of ours on which nothing was written for this long is kept open by a ping: under
/// the 120 s of RFC 5626 §4.4.1, and of many firewalls.
pub const PING_INTERVAL: Duration = Duration::from_secs(90);

/// The answer to a ping is due within this (RFC 5626 §4.4.1), from far ends that have answered one.
pub const PONG_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection without a call on which nothing but our pings was heard for this long is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// How often connections are looked through for idle ones.
pub const IDLE_CHECK: Duration = Duration::from_secs(30);

/// What connections and listeners have read and the driver has not: they wait while it is full.
pub const MAX_ARRIVALS: usize = 1_024;

/// Of that, how much is taken before sockets, commands and time are looked at again.
pub const ARRIVAL_BATCH: usize = 64;

/// Connections that the kernel holds until they are accepted.
pub const ACCEPT_BACKLOG: u32 = 1_024;

/// After an error of accepting (no descriptor, no memory) until it is tried again.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Octets read from a connection at a time.
pub const READ_SIZE: usize = 4_096;

/// Trunks that are remembered as asking for UDP while their requests are too large for it.
pub const MAX_LARGE_REMEMBERED: usize = 1_024;

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

/// How long a route's own address is remembered: a host whose address has changed says so within
/// that.
pub const ROUTE_REMEMBERED_FOR: Duration = Duration::from_secs(1);

/// Remote addresses whose route's own address is remembered, on sockets bound to all addresses.
pub const MAX_ROUTES_REMEMBERED: usize = 1_024;
