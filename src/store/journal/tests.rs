use super::*;
use crate::store::Millis;
use crate::store::types::{CallRef, KeyId, NewEvent};

fn call() -> CallRef {
    CallRef { id: 7, call_id: "17.7".into(), key: KeyId(3), webhook_url: Some("https://a/".into()) }
}

fn event(sequence: i64) -> Record {
    let payload = format!("{{\"sequenceNumber\":{sequence},\"text\":\"zwölf\\n\"}}");
    let event = NewEvent { sequence, event: "dtmf.received".to_owned(), payload };
    Record::of(&call(), What::Events(Millis(1_771_323_891_001), vec![event]))
}

fn open(path: &Path) -> Journal {
    Journal::open(path, SyncMode::Full, "5eed").unwrap()
}

/// What is kept beside the journal under names that begin so.
fn kept(path: &Path, what: &str) -> Vec<PathBuf> {
    let begins = format!("journal.{what}");
    let beside = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|it| it.unwrap().path());
    beside.filter(|it| it.file_name().unwrap().to_string_lossy().starts_with(&begins)).collect()
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777
}

/// A journal with records 1 to `count`, left by a process that died.
async fn left(path: &Path, count: i64) {
    let journal = open(path);
    for sequence in 1..=count {
        journal.append(event(sequence)).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_crash_and_gone_once_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    left(&path, 3).await;
    assert_eq!(mode(&path), 0o600);
    let journal = open(&path);
    assert_eq!(journal.waiting(), 3);
    assert_eq!(journal.first(10).await, [event(1), event(2), event(3)]);
    journal.append(event(4)).await.unwrap();
    journal.forget(2).await.unwrap();
    // Half done: a crash now has all of it applied again.
    assert_eq!(open(&path).first(10).await, [event(1), event(2), event(3), event(4)]);
    assert_eq!(journal.first(1).await, [event(3)]);
    journal.forget(2).await.unwrap();
    assert_eq!((journal.waiting(), path.metadata().unwrap().len()), (0, 0));
    journal.append(event(5)).await.unwrap();
    assert_eq!(open(&path).first(10).await, [event(5)]);
}

#[tokio::test]
async fn a_line_cut_anywhere_costs_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    left(&path, 2).await;
    let whole = std::fs::read(&path).unwrap();
    let second = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in second..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let journal = open(&path);
        assert_eq!(journal.first(10).await, [event(1)], "cut at {cut}");
        // What follows is not written behind half a line.
        journal.append(event(9)).await.unwrap();
        assert_eq!(open(&path).first(10).await, [event(1), event(9)], "cut at {cut}");
    }
    assert!(kept(&path, "damaged").is_empty());
    // Its first line, too.
    for cut in 0..NAME.len() + 2 {
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(open(&path).waiting(), 0, "cut at {cut}");
    }
}

#[tokio::test]
async fn damage_ends_the_reading_and_is_kept_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut all = Vec::new();
    for count in 3..5 {
        std::fs::remove_file(&path).unwrap_or_default();
        left(&path, count).await;
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.iter().position(|byte| *byte == b'\n').unwrap() * 2 + 200;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let journal = open(&path);
        assert!(journal.waiting() < 3);
        all.push(bytes);
        // The next one has a name of its own.
        let mut copies: Vec<_> = kept(&path, "damaged-");
        copies.sort();
        assert!(copies.iter().all(|copy| mode(copy) == 0o600));
        let copies: Vec<_> = copies.iter().map(|copy| std::fs::read(copy).unwrap()).collect();
        assert!(copies == all, "{} copies", copies.len());
    }
}

#[tokio::test]
async fn another_databases_journal_is_kept_aside_and_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    left(&path, 2).await;
    let bytes = std::fs::read(&path).unwrap();
    let journal = Journal::open(&path, SyncMode::Normal, "0ther").unwrap();
    assert_eq!(journal.waiting(), 0);
    let aside = kept(&path, "other-");
    assert_eq!(aside.len(), 1);
    assert_eq!((std::fs::read(&aside[0]).unwrap(), mode(&aside[0])), (bytes, 0o600));
    journal.append(event(3)).await.unwrap();
    let again = Journal::open(&path, SyncMode::Normal, "0ther").unwrap();
    assert_eq!(again.first(10).await, [event(3)]);
    // Put back where it belongs.
    std::fs::rename(&aside[0], &path).unwrap();
    assert_eq!(open(&path).first(10).await, [event(1), event(2)]);
}

#[tokio::test]
async fn a_journal_that_names_no_database_is_this_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let text = format!("{NAMELESS}\n{}", event(1).to_line());
    std::fs::write(&path, text).unwrap();
    let journal = open(&path);
    assert_eq!(journal.first(10).await, [event(1)]);
    journal.append(event(2)).await.unwrap();
    assert_eq!(open(&path).first(10).await, [event(1), event(2)]);
    journal.forget(2).await.unwrap();
    journal.append(event(3)).await.unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("kaphila-journal 2 5eed\n"));
}

#[tokio::test]
async fn what_the_database_refused_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    for (at, sequence) in [1, 2].into_iter().enumerate() {
        let journal = open(&path);
        let kept_in = journal.keep_refused(&event(sequence)).await.unwrap();
        let text = std::fs::read(&kept_in).unwrap();
        let lines = text.split_inclusive(|byte| *byte == b'\n').map(Record::from_line);
        let lines: Vec<Record> = lines.map(Option::unwrap).collect();
        assert_eq!(lines, [event(1), event(2)][..=at]);
        assert_eq!((mode(&kept_in), journal.refused()), (0o600, 1));
    }
}

#[test]
fn another_versions_journal_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    for found in ["kaphila-journal 3 5eed", "something else"] {
        let bytes = format!("{found}\nx\n");
        std::fs::write(&path, &bytes).unwrap();
        let Err(error) = Journal::open(&path, SyncMode::Normal, "5eed") else { panic!("taken") };
        assert!(error.to_string().contains(found), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_disk_that_takes_nothing_keeps_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = open(&path);
    let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
        return println!("skipped: no /dev/full");
    };
    let disk = std::mem::replace(&mut journal.state.lock().await.file, full);
    let error = journal.append(event(1)).await.unwrap_err();
    assert!(error.to_string().contains("journal"), "{error}");
    assert_eq!((journal.waiting(), journal.errors()), (0, 1));
    // There is room again.
    journal.state.lock().await.file = disk;
    journal.append(event(2)).await.unwrap();
    assert_eq!(open(&path).first(10).await, [event(2)]);
}
