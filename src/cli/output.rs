//! Results on standard output: JSON for programs, aligned columns for people.

use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

/// One JSON value, or the text made of it.
pub(super) fn print(json: bool, value: &Value, text: impl FnOnce() -> String) {
    if json { line(value) } else { write(&text()) }
}

/// A line on standard output.
pub(crate) fn line(text: impl std::fmt::Display) {
    write(&format!("{text}\n"));
}

/// Text on standard output. A reader that has seen enough (`| head`) ends the program quietly.
pub(crate) fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = written {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            eprintln!("kaphila: standard output: {error}");
        }
        std::process::exit(1);
    }
}

/// A file's name in JSON: what of it is no UTF-8 is replaced.
pub(super) fn path(path: &Path) -> Value {
    path.to_string_lossy().into()
}

/// Rows under a heading, columns as wide as their widest cell.
pub(super) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heading: Vec<String> = heading.iter().map(|&cell| cell.to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `-` where there is nothing.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_name_in_json() {
        use std::os::unix::ffi::OsStrExt as _;
        let name = Path::new(std::ffi::OsStr::from_bytes(b"/tmp/t\xf6ne.wav"));
        assert_eq!(path(name), "/tmp/t\u{fffd}ne.wav");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["x", "y"], &rows), "x     y\na     1\nlong  2\n");
    }
}
