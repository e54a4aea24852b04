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
    Journal::open(path, SyncMode::Normal).unwrap()
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
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
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
    assert!(!path.with_extension("damaged").exists());
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
    left(&path, 3).await;
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.iter().position(|byte| *byte == b'\n').unwrap() * 2 + 200;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let journal = open(&path);
    assert!(journal.waiting() < 3);
    assert_eq!(std::fs::read(path.with_extension("damaged")).unwrap(), bytes);
}

#[test]
fn another_versions_journal_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    for found in ["kaphila-journal 2", "something else"] {
        let bytes = format!("{found}\nx\n");
        std::fs::write(&path, &bytes).unwrap();
        let Err(error) = Journal::open(&path, SyncMode::Normal) else { panic!("taken") };
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
    assert_eq!(journal.waiting(), 0);
    // There is room again.
    journal.state.lock().await.file = disk;
    journal.append(event(2)).await.unwrap();
    assert_eq!(open(&path).first(10).await, [event(2)]);
}
