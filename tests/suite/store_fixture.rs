//! Databases for the store's tests: SQLite in a folder of its own, and PostgreSQL (a schema of its
//! own) where `KAPHILA_TEST_POSTGRES` names a server.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use kaphila::store::{
    Authenticated, CallStatus, Direction, Ended, Leg, Millis, NewCall, NewEvent, NewKey,
    NewSecrets, Store, SyncMode,
};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _};

/// A database that outlives its stores.
pub(crate) struct Database {
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

/// The key in a database of an earlier version, `key_1`: 4 credits left of 5, its webhook secret
/// replaced lately.
pub(crate) const OLD_KEY: &str = "ak_00000000000000000000000000000000000000aa";

fn left_by_the_first_version() -> String {
    let mut text = format!(
        "INSERT INTO api_keys (id, key_id, name, credits, webhook_secret, old_webhook_secret, \
         old_webhook_until, created_at) \
         VALUES (1, 'key_1', 'old', 4, 'whsec_x', 'whsec_old', {}, 0); \
         INSERT INTO api_key_hashes (hash, api_key) VALUES ('{}', 1); \
         INSERT INTO ledger (api_key, call, kind, credits, holds, at) VALUES \
         (1, NULL, 'credit', 5, 0, 0), (1, 1, 'hold', 0, 1, 1), (1, 1, 'deduct', -1, -1, 2);",
        NOW.plus(Millis::HOUR).0,
        sha256(OLD_KEY)
    );
    for (id, status, seconds, verdict) in [
        (1, "completed", 30, "'HUMAN'"),
        (2, "completed", 12, "'MACHINE'"),
        (3, "no-answer", 0, "NULL"),
        (4, "busy", 0, "NULL"),
    ] {
        text += &format!(
            "INSERT INTO calls (id, call_id, api_key, node, direction, number, callee, use_amd, \
             ring_timeout, record, charged, status, sip_call_id, from_tag, branch, cseq, remote, \
             transport, created_at, ended_at, duration, amd_status) VALUES ({id}, '17.{id}', 1, 0, \
             'outbound', '1415', '1415', TRUE, 30000, TRUE, TRUE, '{status}', 'a', 'b', 'c', 1, \
             'r', 'udp', {at}, {at}, {seconds}, {verdict});",
            at = NOW.0 - id * 450_000,
        );
    }
    text
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 2026-02-17T10:24:51Z, the time at which tests begin.
pub(crate) const NOW: Millis = Millis(1_771_323_891_000);

impl Database {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/kaphila.db", folder.path().display());
        Self { url, _folder: folder }
    }

    async fn postgres(server: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let schema = format!("test_{}_{n}", std::process::id());
        let mut conn = sqlx::PgConnection::connect(server).await.unwrap();
        let create = format!("CREATE SCHEMA {schema}");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(&mut conn).await.unwrap();
        let sign = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{sign}options[search_path]={schema}");
        Self { url, _folder: tempfile::tempdir().unwrap() }
    }

    /// Every database there is to test on.
    pub(crate) async fn all() -> Vec<Self> {
        static SKIPPED: AtomicU32 = AtomicU32::new(0);
        let mut all = vec![Self::sqlite()];
        match std::env::var("KAPHILA_TEST_POSTGRES") {
            Ok(server) => all.push(Self::postgres(&server).await),
            Err(_) => {
                let n = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
                println!("skipped: {n} on PostgreSQL, KAPHILA_TEST_POSTGRES is not set");
            }
        }
        all
    }

    /// Applies the first `version` migrations alone, to what a server of the first version left:
    /// [`OLD_KEY`] and four calls, half a quarter of an hour apart.
    pub(crate) async fn make_version(&self, version: i64) {
        let kind = if self.url.starts_with("sqlite") { "sqlite" } else { "postgres" };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(kind);
        let migrator = Migrator::new(folder).await.unwrap();
        let left = AssertSqlSafe(left_by_the_first_version());
        if kind == "sqlite" {
            let url = format!("{}?mode=rwc", self.url);
            let mut conn = sqlx::SqliteConnection::connect(&url).await.unwrap();
            migrator.run_to(1, &mut conn).await.unwrap();
            sqlx::raw_sql(left).execute(&mut conn).await.unwrap();
            migrator.run_to(version, &mut conn).await.unwrap();
            conn.close().await.unwrap();
        } else {
            let mut conn = sqlx::PgConnection::connect(&self.url).await.unwrap();
            migrator.run_to(1, &mut conn).await.unwrap();
            sqlx::raw_sql(left).execute(&mut conn).await.unwrap();
            migrator.run_to(version, &mut conn).await.unwrap();
        }
    }

    /// A statement beside every store; its error as words.
    pub(crate) async fn execute(&self, statement: &'static str) -> Result<(), String> {
        if self.url.starts_with("sqlite") {
            let mut conn = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query(statement).execute(&mut conn).await.map(drop)
        } else {
            let mut conn = sqlx::PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(statement).execute(&mut conn).await.map(drop)
        }
        .map_err(|error| error.to_string())
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.url, SyncMode::Normal).await.unwrap()
    }
}

/// A key with that many credits, authenticated.
pub(crate) async fn key(store: &Store, credits: i64) -> (Authenticated, NewSecrets) {
    let key = NewKey { name: "test".into(), credits, rate_limit: 1_000_000, trunks: vec![] };
    let secrets = store.create_key(key, NOW).await.unwrap();
    (store.authenticate(&secrets.key, NOW).await.unwrap().unwrap(), secrets)
}

/// A call to 14155550100 with events to `webhook_url`.
pub(crate) fn call(webhook_url: Option<&str>) -> NewCall {
    NewCall {
        now: NOW,
        direction: Direction::Outbound,
        number: "14155550100".into(),
        callee: "14155550100".into(),
        caller_id: None,
        webhook_url: webhook_url.map(str::to_owned),
        metadata: None,
        use_amd: false,
        voice_name: None,
        ring_timeout_ms: 30_000,
        record: false,
        trunk: None,
        leg: Leg {
            sip_call_id: "a1".into(),
            from_tag: "f1".into(),
            branch: "z9hG4bK1".into(),
            cseq: 1,
            remote: "127.0.0.1:5060".into(),
            transport: "udp".into(),
        },
        dialog: None,
        idempotency: None,
    }
}

pub(crate) fn event(sequence: i64, event: &str) -> NewEvent {
    NewEvent {
        sequence,
        event: event.into(),
        payload: format!("{{\"sequenceNumber\":{sequence}}}"),
    }
}

/// The end of a call, `seconds` after [`NOW`].
pub(crate) fn end(status: CallStatus, seconds: i64) -> Ended {
    Ended {
        at: NOW.plus(seconds * 1_000),
        status,
        end_reason: "normal_hangup".into(),
        hangup_cause: "16".into(),
        ended_by: "callee".into(),
        answered_at: None,
        duration_secs: 0,
        sip_status: Some(200),
        sip_reason: Some("OK".into()),
        trunk: None,
        amd: None,
        attempts: None,
        quality: None,
    }
}
