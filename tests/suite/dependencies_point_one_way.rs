//! The arrows between modules and crates are those of `docs/architecture.md`, and no other.
//!
//! Read from the `use` lines and paths of the sources, so that a new arrow has to be drawn first.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From each module of the root: the modules and crates of ours that it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    (
        "cli",
        &[
            "call", "config", "control", "dial", "media", "number", "phone", "server", "sip",
            "store", "tls", "trunk", "tts",
        ],
    ),
    ("config", &[]),
    ("control", &["call", "cli", "trunk"]),
    ("dial", &["cli", "media", "number", "phone", "sip", "trunk"]),
    ("phone", &["cli", "config", "media", "sip", "store", "tls", "tts"]),
    (
        "server",
        &[
            "call",
            "cli",
            "config",
            "control",
            "http",
            "media",
            "prompts",
            "sip",
            "store",
            "telemetry",
            "tls",
            "trunk",
            "tts",
            "webhook",
        ],
    ),
    ("http", &["call", "number", "store", "tls"]),
    ("call", &["media", "number", "sip", "store", "trunk", "tts", "webhook"]),
    ("prompts", &["call", "media", "tts"]),
    ("trunk", &["config", "number", "sip", "store", "tls"]),
    ("tls", &["config", "sip", "store"]),
    ("webhook", &["store"]),
    ("store", &[]),
    ("tts", &[]),
    ("number", &[]),
    ("telemetry", &["config"]),
];

#[test]
fn dependencies_point_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    let mut known = BTreeSet::new();
    for (module, allowed) in ARROWS {
        known.insert(*module);
        for file in sources(&root.join("src"), module) {
            for named in names(&fs::read_to_string(&file).unwrap()) {
                if named != *module && !allowed.contains(&named.as_str()) {
                    wrong.push(format!("{} names {named}", file.display()));
                }
            }
        }
    }
    for library in fs::read_to_string(root.join("src/lib.rs")).unwrap().lines() {
        if let Some(module) = library.strip_prefix("pub mod ") {
            let module = module.trim_end_matches(';');
            assert!(known.contains(module), "module {module} has no arrows drawn");
        }
    }
    for library in ["sip", "media"] {
        for file in sources(root, library) {
            let text = fs::read_to_string(&file).unwrap();
            for other in ["kaphila_sip", "kaphila_media", "kaphila::"] {
                let own = format!("kaphila_{library}");
                if other != own
                    && text.contains(other)
                    && !file.components().any(|it| it.as_os_str() == "tests")
                {
                    wrong.push(format!("{} names {other}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that are not drawn:\n{}", wrong.join("\n"));
}

/// The Rust files of a module: `NAME.rs` and everything under `NAME/`.
fn sources(folder: &Path, module: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let file = folder.join(format!("{module}.rs"));
    if file.exists() {
        files.push(file);
    }
    let mut folders = vec![folder.join(module)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                files.push(path);
            }
        }
    }
    assert!(!files.is_empty(), "module {module} has no source");
    files
}

/// The modules and crates of ours that a source names: in `crate::NAME`, `use crate::{NAME…}`,
/// `kaphila_NAME`. Comments do not count.
fn names(source: &str) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
        .fold(String::new(), |all, line| all + line + "\n");
    let mut names = BTreeSet::new();
    for (index, _) in code.match_indices("crate::") {
        let rest = &code[index + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(list) => names.extend(top_level(list)),
            None => names.extend([word(rest)]),
        }
    }
    for (index, _) in code.match_indices("kaphila_") {
        names.insert(word(&code[index + "kaphila_".len()..]));
    }
    names.retain(|name| name.chars().next().is_some_and(char::is_lowercase));
    names.remove("crate");
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first words of `a::{…}, b, c::d}`.
fn top_level(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ => {}
        }
        if let Some(item) = items.last_mut() {
            item.push(c);
        }
    }
    items.iter().map(|item| word(item.trim_start_matches([',', ' ', '\n']))).collect()
}

#[test]
fn names_are_found_in_every_form() {
    let source = "use crate::call::Calls;\nuse crate::{control, store::{Key, Store}};\n\
                  use kaphila_media::amd;\n// crate::secret\nfn f() { crate::tts::speak() }";
    let found: Vec<_> = names(source).into_iter().collect();
    assert_eq!(found, ["call", "control", "media", "store", "tts"]);
}
