//! The page that says which test holds which promise names no test that there isn't.

use std::fs;
use std::path::{Path, PathBuf};

/// Whatever stands between backquotes and names a function in a file.
fn named(page: &str) -> Vec<(String, String)> {
    let spans = page.split('`').skip(1).step_by(2);
    let split = spans.filter_map(|span| span.split_once("::"));
    split.map(|(file, test)| (file.to_owned(), test.to_owned())).collect()
}

fn path(file: &str) -> PathBuf {
    let folder = if file.starts_with("src/") { "" } else { "tests" };
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{file}.rs"))
}

/// Whether a source has a test of this name: a function behind an attribute that makes it one.
fn has_test(source: &str, name: &str) -> bool {
    let mut is_test = false;
    source.lines().map(str::trim).any(|line| {
        let head = format!("fn {name}(");
        let found = is_test && (line.starts_with(&head) || line == format!("async {head}) {{"));
        is_test |= line.contains("test]") || line.contains("test(");
        is_test &= line.starts_with('#') || line.starts_with("//");
        found
    })
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let named = named(&fs::read_to_string(page).unwrap());
    assert!(named.len() > 100, "{} tests are named", named.len());
    let missing: Vec<_> = named
        .iter()
        .filter(|(file, test)| !has_test(&fs::read_to_string(path(file)).unwrap_or_default(), test))
        .collect();
    assert!(missing.is_empty(), "named, and not there: {missing:?}");
}
