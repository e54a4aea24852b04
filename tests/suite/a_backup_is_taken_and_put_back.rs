//! `kaphila backup`, `restore` and `migrate`, on the real program.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::store_fixture::{Database, OLD_KEY};
use crate::support::exchange::{Callee, Exchange};
use crate::support::hooks::Hooks;
use crate::support::program::{Site, text};

async fn fails(site: &Site, words: &[&str], says: &str) {
    let output = site.kaphila(words).await;
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {error}");
    assert!(error.contains(says), "{words:?}: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_calls_come_and_go() {
    let exchange = Exchange::start("127.0.0.48").await;
    let site = Site::with_trunks(&[exchange.address]).await;
    let mut hooks = Hooks::start().await;
    let mut serving = site.serve(&[]).await;
    let place = async |n: usize| {
        let body = json!({ "number": Callee::HangsUp.number(n), "webhookUrl": hooks.url() });
        site.post("/makecall", body).await.json()["callId"].as_str().unwrap().to_owned()
    };
    let before = place(1).await;
    let file = site.path("copy.db").display().to_string();
    // What an earlier attempt left there, for everybody to read.
    let part = site.path("copy.db.part");
    fs::write(&part, "half").unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o644)).unwrap();
    let told = site.done(&["backup", "--json", &file]).await;
    let bytes = fs::metadata(&file).unwrap().len();
    assert_eq!(
        serde_json::from_str::<Value>(&told).unwrap(),
        json!({ "file": file, "bytes": bytes })
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fails(&site, &["backup", &file], "exists already").await;
    let after = place(2).await;
    for call in [&before, &after] {
        hooks.expect(call, "call.ended").await;
    }
    // Not under a running server.
    fails(&site, &["restore", &file], "another kaphila serves from").await;
    serving.terminate();
    assert!(serving.ends(Duration::from_secs(30)).await.success());
    let credits = async || site.get("/api/me").await.json()["apiKey"]["credits"].clone();

    let told: Value =
        serde_json::from_str(&site.done(&["restore", "--json", &file]).await).unwrap();
    let old = told["before"].as_str().unwrap();
    assert!(old.contains("kaphila.db.before-") && fs::metadata(old).unwrap().len() > 0, "{told}");
    let identity = async |file: &Path| -> String {
        let identity = "SELECT value FROM meta WHERE name = 'identity'";
        sqlx::query_scalar(identity).fetch_one(&mut connect(file).await).await.unwrap()
    };
    let serving = site.serve(&[]).await;
    // No journal of the old one may be written to it.
    let database = site.path("data/kaphila.db");
    assert_ne!(identity(Path::new(old)).await, identity(&database).await);
    // The first call was up when the copy was taken: it is ended as after a crash, and paid if it had
    // been answered. The second was never placed.
    let logs = site.post("/api/call-logs", json!({})).await.json();
    assert_eq!(logs["total_count"], 1, "{logs:#}");
    assert_eq!(logs["logs"][0]["call_id"], json!(before));
    site.books_are_right().await;
    let left = credits().await.as_i64().unwrap();
    assert!((99_999..=100_000).contains(&left), "{left}");
    drop(serving);
}

#[tokio::test]
async fn what_is_no_backup_changes_nothing() {
    let site = Site::with_trunks(&[([127, 0, 0, 1], 9).into()]).await;
    let database = site.path("data/kaphila.db");
    let path = |name: &str| site.path(name).display().to_string();
    let good = path("good.db");
    site.done(&["backup", &good]).await;
    let whole = fs::read(&good).unwrap();
    let before = fs::read(&database).unwrap();
    let newer = path("newer.db");
    fs::write(&newer, &whole).unwrap();
    let url = format!("sqlite://{newer}");
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    fs::write(path("text.db"), "no database at all, but long enough to be looked at").unwrap();
    fs::write(path("cut.db"), &whole[..whole.len() / 2]).unwrap();
    fs::write(path("empty.db"), "").unwrap();
    for (name, says) in [
        ("none.db", "none.db"),
        ("text.db", "no backup of Kaphila"),
        ("cut.db", "no backup of Kaphila"),
        ("empty.db", "no backup of Kaphila"),
        ("newer.db", "a newer version wrote it"),
    ] {
        fails(&site, &["restore", &path(name)], says).await;
        assert_eq!(fs::read(&database).unwrap(), before, "{name}");
    }
    fails(&site, &["backup", "/nowhere/x.db"], "/nowhere/x.db").await;
    // A copy of an earlier version is brought up to date.
    let old = Database::sqlite();
    old.make_version(2).await;
    let file = old.url.trim_start_matches("sqlite://").to_owned();
    site.done(&["restore", &file]).await;
    let key = site.done(&["key", "show", "key_1", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&key).unwrap()["credits"], 4, "{OLD_KEY}");
}

/// A statement at a database of its own, closed afterwards.
async fn execute(file: &Path, statement: &'static str) {
    let mut connection = connect(file).await;
    connection.execute(statement).await.unwrap();
    connection.close().await.unwrap();
}

async fn connect(file: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap()
}

async fn credits(file: &Path) -> i64 {
    let mut connection = connect(file).await;
    let credits = sqlx::query_scalar("SELECT credits FROM api_keys");
    let credits = credits.fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    credits
}

/// Leaves a log with the last credits beside the database, as a crash does.
async fn leave_a_log(file: &Path, credits: &'static str) {
    let wal = file.with_file_name("kaphila.db-wal");
    let mut connection = connect(file).await;
    connection.execute("PRAGMA wal_autocheckpoint = 0").await.unwrap();
    connection.execute(credits).await.unwrap();
    let (whole, log) = (fs::read(file).unwrap(), fs::read(&wal).unwrap());
    assert!(!log.is_empty());
    connection.close().await.unwrap();
    fs::write(file, whole).unwrap();
    fs::write(&wal, log).unwrap();
}

#[tokio::test]
async fn in_the_place_of_a_database_that_cannot_be_read() {
    let site = Site::with_trunks(&[([127, 0, 0, 1], 9).into()]).await;
    let database = site.path("data/kaphila.db");
    let good = site.path("good.db").display().to_string();
    site.done(&["backup", &good]).await;
    for rubbish in ["this file was a database until its disk died".repeat(99), String::new()] {
        leave_a_log(&database, "UPDATE api_keys SET credits = credits + 1").await;
        let log = fs::read(site.path("data/kaphila.db-wal")).unwrap();
        fs::write(&database, &rubbish).unwrap();
        let output = site.kaphila(&["restore", "--json", &good]).await;
        let (told, said) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("could not be read"), !rubbish.is_empty(), "{said}");
        let told: Value = serde_json::from_str(&told).unwrap();
        // The old one is kept as it was, its log too, and that is not taken for the new one's.
        let old = told["before"].as_str().unwrap();
        assert_eq!(fs::read_to_string(old).unwrap(), rubbish);
        assert!(fs::read(format!("{old}-wal")).unwrap() == log, "the log is kept");
        assert_eq!(credits(&database).await, 100_000);
        assert_eq!(fs::metadata(&database).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn in_the_place_of_a_database_that_a_crash_left() {
    let site = Site::with_trunks(&[([127, 0, 0, 1], 9).into()]).await;
    let database = site.path("data/kaphila.db");
    let good = site.path("good.db").display().to_string();
    site.done(&["backup", &good]).await;
    leave_a_log(&database, "UPDATE api_keys SET credits = 77").await;
    let told = site.done(&["restore", "--json", &good]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let old = Path::new(told["before"].as_str().unwrap()).to_owned();
    assert_eq!((credits(&old).await, credits(&database).await), (77, 100_000));
    assert!(!fs::exists(format!("{}-wal", old.display())).unwrap(), "it is in the file");

    // While somebody reads it, it is left alone.
    execute(&database, "UPDATE api_keys SET credits = 78").await;
    let mut reader = connect(&database).await;
    reader.execute("BEGIN; SELECT COUNT(*) FROM api_keys").await.unwrap();
    execute(&database, "UPDATE api_keys SET credits = 79").await;
    fails(&site, &["restore", &good], "is in use by another process").await;
    assert_eq!(credits(&database).await, 79);
    let asides = fs::read_dir(site.path("data")).unwrap();
    let asides = asides.filter(|it| {
        let name = it.as_ref().unwrap().file_name();
        name.to_string_lossy().contains("before-")
    });
    assert_eq!(asides.count(), 1, "that of the first restore");
    reader.close().await.unwrap();
    site.done(&["restore", &good]).await;
    assert_eq!(credits(&database).await, 100_000);
}

#[tokio::test]
async fn tables_are_left_alone_where_that_is_asked() {
    for database in Database::all().await {
        database.make_version(1).await;
        let mut site = Site::new().await;
        site.set("KAPHILA_DATABASE_URL", &database.url);
        fails(&site, &["serve", "--no-migrate"], "run kaphila migrate").await;
        let told: Value = serde_json::from_str(&site.done(&["migrate", "--json"]).await).unwrap();
        assert!(told["version"].as_i64().unwrap() >= 4, "{told}");
        let serving = site.serve(&["--no-migrate"]).await;
        drop(serving);
        if database.url.starts_with("postgres") {
            fails(&site, &["backup", "x.db"], "pg_dump").await;
        }
    }
}
