//! Files beside the database.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The file of this name with `end` behind it.
pub(super) fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(end);
    file.with_file_name(name)
}

/// What was made, named anew or removed in a file's folder is so after a loss of power, too.
pub(super) fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
