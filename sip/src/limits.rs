//! Every bound against what others send, side by side, each with its reason.
//!
//! A message beyond a bound is refused as a whole (400, or 513 where it is about size); nothing is
//! cut silently. Start here when a peer's message is refused and it looks right.

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
