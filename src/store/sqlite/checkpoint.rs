//! Brings the write-ahead log into the database file, on a connection and thread of its own.
//!
//! SQLite does that in the commit which fills the log's thousandth page: whoever placed that call
//! waited for two fsyncs, several times a second under load. A passive checkpoint beside the writer
//! makes nobody wait; only a log that has grown long is emptied under the writer's lock, and by
//! then little of it is left to do.
#![allow(clippy::disallowed_methods, reason = "a driver: it spawns its task and sleeps")]

use std::future::Future;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Between two checkpoints; what is in the log is safe from `kill -9` as it is.
const EVERY: Duration = Duration::from_secs(1);
/// Pages of 4 KiB from which the log is begun anew: 64 MiB, read in a moment after a crash.
const LONG: i64 = 16_384;

/// Whether it was kept from ending, pages in the log, pages of it that are in the file.
type Done = (i64, i64, i64);

/// The running task.
pub(in crate::store) struct Checkpoints {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Checkpoints {
    /// Starts the task; it also ends when `closed` does.
    pub(super) fn start(
        options: SqliteConnectOptions,
        closed: impl Future + Send + 'static,
    ) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut conn = None;
            tokio::select! {
                () = run(&options, &mut conn) => {}
                () = stopped.cancelled() => {}
                _ = closed => {}
            }
            if let Some(conn) = conn {
                // The process ends; what is in the log is read at the next start.
                let _ = conn.close().await;
            }
        });
        Self { stop, task }
    }

    /// Ends the task and its connection. Connections to a file must close one after another: SQLite
    /// removes the log with the last one, and two at once each take the other for the last.
    pub(in crate::store) async fn stop(self) {
        self.stop.cancel();
        // A task that panicked has nothing open any more.
        let _ = self.task.await;
    }
}

async fn run(options: &SqliteConnectOptions, conn: &mut Option<SqliteConnection>) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = once(options, conn).await {
            // The writer meets the same fault, and says so.
            tracing::debug!(%error, "no checkpoint");
            *conn = None;
        }
    }
}

async fn once(
    options: &SqliteConnectOptions,
    conn: &mut Option<SqliteConnection>,
) -> Result<(), sqlx::Error> {
    let open = match conn {
        Some(open) => open,
        None => conn.insert(SqliteConnection::connect_with(options).await?),
    };
    checkpoint(open, LONG).await
}

async fn checkpoint(conn: &mut SqliteConnection, long: i64) -> Result<(), sqlx::Error> {
    let passive = "PRAGMA wal_checkpoint(PASSIVE)";
    let (_, pages, _) = sqlx::query_as::<_, Done>(passive).fetch_one(&mut *conn).await?;
    if pages > long {
        let restart = "PRAGMA wal_checkpoint(RESTART)";
        sqlx::query_as::<_, Done>(restart).fetch_one(conn).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use sqlx::Executor as _;
    use sqlx::sqlite::SqliteJournalMode;

    use super::*;

    const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";

    #[tokio::test]
    async fn all_of_the_log_reaches_the_file_and_a_long_one_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/a.db", folder.path().display());
        let options = SqliteConnectOptions::from_str(&url).unwrap().create_if_missing(true);
        let options =
            options.journal_mode(SqliteJournalMode::Wal).pragma("wal_autocheckpoint", "0");
        let mut writer = SqliteConnection::connect_with(&options).await.unwrap();
        let mut beside = SqliteConnection::connect_with(&options).await.unwrap();
        writer.execute("CREATE TABLE t (v BLOB)").await.unwrap();
        let insert = "INSERT INTO t VALUES (randomblob(4000))";
        for _ in 0..50 {
            writer.execute(insert).await.unwrap();
        }

        checkpoint(&mut beside, 1_000).await.unwrap();
        let done: Done = sqlx::query_as(PASSIVE).fetch_one(&mut beside).await.unwrap();
        assert!(done.0 == 0 && done.1 >= 50 && done.2 == done.1, "{done:?}");

        writer.execute(insert).await.unwrap();
        checkpoint(&mut beside, 10).await.unwrap();
        writer.execute(insert).await.unwrap();
        let done: Done = sqlx::query_as(PASSIVE).fetch_one(&mut beside).await.unwrap();
        assert!(done.1 < 10, "{done:?}");
    }
}
