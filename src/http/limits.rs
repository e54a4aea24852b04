//! Every bound against slow, greedy and hostile clients, side by side, with its reason.

use std::time::Duration;

/// Connections open at once on one listener. At about 40 KiB each they take 400 MiB at the very
/// worst; when they are all there, the one whose client has been idle longest gives way.
pub(super) const CONNECTIONS: usize = 10_000;

/// TLS handshakes under way at once on one listener. An honest one takes two round trips, so that
/// this many are reached by clients that stall; the longest waiting gives way to a newcomer.
pub(super) const HANDSHAKES: usize = 512;

/// How long a TLS handshake may take: a telephone network's worst round trips, and some.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long a client may take to send a request's headers, and to sit idle between requests.
pub(super) const HEADER_TIME: Duration = Duration::from_secs(30);

/// How long a client may leave what we send it unread, before its connection is given up.
pub(super) const UNREAD_TIME: Duration = Duration::from_secs(30);

/// The bytes of its answers that a client has to take in each [`UNREAD_TIME`]: 4 kbit/s, a tenth of
/// the worst mobile network.
pub(super) const UNREAD_BYTES: u64 = 16 * 1024;

/// What waits in the kernel to be sent on one connection: at most what has to be taken anyway.
pub(super) const UNSENT_BYTES: u32 = 16 * 1024;

/// The bytes of a request's headers; more is 431. The longest honest ones have a key, an
/// idempotency key and a proxy's trail: under 4 KiB.
pub(super) const HEADER_BYTES: usize = 16 * 1024;

/// Requests at once on one HTTP/2 connection.
pub(super) const STREAMS: u32 = 100;

/// How long a body may take to arrive.
pub(super) const BODY_TIME: Duration = Duration::from_secs(10);

/// How long a drain waits for answers under way.
pub(super) const DRAIN: Duration = Duration::from_secs(5);
