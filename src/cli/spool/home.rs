//! Where spools are that nobody has named a directory for.

use std::path::{Path, PathBuf};

use super::file::SpoolFile;

/// The user's directory for what programs keep between runs; none where the user has no home.
pub fn home() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let named = variable("XDG_STATE_HOME").map(PathBuf::from);
    let usual = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    Some(named.or_else(usual)?.join("towline"))
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
