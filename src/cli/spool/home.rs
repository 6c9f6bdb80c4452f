//! Where spools are that nobody has named a directory for.

use std::path::{Path, PathBuf};

use super::super::place::of_user;
use super::file::SpoolFile;

/// The user's directory for what programs keep between runs; none where the user has no home.
pub fn home() -> Option<PathBuf> {
    of_user("XDG_STATE_HOME", ".local/state")
}

/// The directories there in which drafts wait that no process sends, and how many. What can't be read
/// isn't among them.
pub fn forgotten(home: &Path) -> Vec<(PathBuf, u64)> {
    let places = std::fs::read_dir(home).into_iter().flatten().flatten();
    let mut found: Vec<(PathBuf, u64)> = places
        .filter_map(|place| {
            let waiting = SpoolFile::forgotten(&place.path().join("spool")).ok()?;
            (waiting > 0).then(|| (place.path(), waiting))
        })
        .collect();
    found.sort();
    found
}
