//! `docs/threats.md` and `docs/contract.md` name the test of each promise: it exists.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, into);
        } else if entry.extension().is_some_and(|it| it == "rs") {
            into.push(entry);
        }
    }
}

#[test]
fn and_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["tests", "sip/tests", "media/tests", "src"] {
        sources(&root.join(folder), &mut files);
    }
    let names: Vec<&str> =
        files.iter().map(|it| it.file_stem().unwrap().to_str().unwrap()).collect();
    let text: String = files.iter().map(|it| fs::read_to_string(it).unwrap()).collect();
    for document in ["docs/threats.md", "docs/contract.md"] {
        let told = fs::read_to_string(root.join(document)).unwrap();
        check(&told, &names, &text);
    }
}

fn check(told: &str, names: &[&str], text: &str) {
    let rows = told.lines().filter(|line| line.starts_with("| ") && !line.contains("| Test |"));
    let mut count = 0;
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test: {row}");
        for test in named.into_iter().filter(|test| !test.ends_with('/')) {
            let exists = names.contains(&test) || text.contains(&format!("fn {test}()"));
            assert!(exists, "there is no test {test}");
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}
