//! Every bound of the store, with its reason.

use std::future::Future;
use std::time::Duration;

use super::Millis;

/// How long an idempotency token is remembered.
pub(super) const IDEMPOTENCY_MS: i64 = Millis::DAY;
/// Payloads and tokens that one transaction of pruning erases, and calls that it looks at: some
/// milliseconds of the writer.
pub(super) const PRUNE_BATCH: i64 = 500;
pub(super) const PRUNE_CALLS: i64 = 100;
/// Transactions of one run of pruning. Every 5 s, that is 4 000 payloads and 800 calls a second:
/// more than are made.
pub(super) const PRUNE_ROUNDS: usize = 40;
/// How old what is known about a key or its trunks may be: changes by the command line, another
/// process, must reach a server within 2 s.
pub(super) const CACHE_MS: i64 = 1_000;
/// How long a key is still known while the database is away.
pub(super) const STALE_MS: i64 = 600_000;
/// Keys remembered at a time: some 10 MiB. Beyond it the memory is emptied.
pub(super) const CACHE_ENTRIES: usize = 10_000;
/// The fixed window of the rate limit.
pub(super) const RATE_WINDOW_MS: i64 = Millis::HOUR;
/// How long a replaced webhook secret goes on signing.
pub(super) const OLD_WEBHOOK_SECRET_MS: i64 = Millis::DAY;
/// Replaced webhook secrets that go on signing at most: a header of some 250 bytes.
pub(super) const OLD_WEBHOOK_SECRETS: i64 = 4;
/// Rows a list for the command line gives at most.
pub(super) const LIST: i64 = 1_000;
/// How often a database is tried that is away at the start, each 400 ms at most, and the pause
/// between: 5 s.
pub(super) const OPEN_TRIES: u32 = 10;
pub(super) const OPEN_PAUSE: Duration = Duration::from_millis(100);
/// How long a look-up may take: with the wait for a connection, whoever asks has their 503 within a
/// second when the database hangs.
pub(super) const READ: Duration = Duration::from_millis(600);
/// The same of sums and lists over many rows, and of what is read at the start.
pub(super) const LONG_READ: Duration = Duration::from_secs(30);
/// How long one statement of an operation may take whose database can hang, and of one that touches
/// many rows.
pub(super) const WRITE: Duration = Duration::from_millis(300);
pub(super) const LONG_WRITE: Duration = Duration::from_secs(60);

/// Waits for a database no longer than this.
#[allow(clippy::disallowed_methods, reason = "a driver: it bounds what it waits for")]
pub(super) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
        let text = format!("no answer in {} ms", limit.as_millis());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text)))
    })
}
