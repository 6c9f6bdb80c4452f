//! `backup` and `restore` as a person uses them.

use std::os::unix::fs::PermissionsExt;

use crate::program::Home;

#[test]
fn a_node_that_runs_is_backed_up_and_restored_elsewhere() {
    let home = Home::new();
    let node = home.start(&[]);
    home.ok(&["append", "before"]);
    let made = home.json(&["-q", "backup", "log.towline", "--with-key", "-o", "json"]);
    home.ok(&["append", "after"]);
    assert_eq!((&made["entries"], &made["node"]), (&1.into(), &node.node.clone().into()));
    assert!(home.ok(&["verify", "log.towline"]).starts_with("ok: 1 entry"));
    let key = std::fs::metadata(home.path().join("log.towline.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);

    let restored = home.ok(&["--data", "again", "restore", "log.towline"]);
    assert!(restored.starts_with("ok: 1 entry of 1 author"), "{restored}");
    assert_eq!(home.ok(&["--data", "again", "query"]).lines().count(), 1);
    let init = home.json(&["--data", "again", "init", "-o", "json"]);
    assert_eq!((&init["node"], &init["cluster"]), (&made["node"], &made["cluster"]));
}

#[test]
fn a_store_is_only_replaced_by_force_and_never_under_a_node() {
    let home = Home::new();
    let node = home.start(&[]);
    home.ok(&["append", "before"]);
    home.ok(&["backup", "log.towline"]);
    home.ok(&["append", "after"]);
    assert!(home.fails(&["restore", "log.towline"]).is("E0107", 1));
    assert!(home.fails(&["restore", "--force", "log.towline"]).is("E0101", 1));
    assert!(home.fails(&["backup", "log.towline"]).is("E0107", 1));
    home.ok(&["backup", "--force", "log.towline"]);
    node.terminate();
    home.ok(&["append", "--help"]);
    let restored = home.json(&["-q", "restore", "--force", "log.towline", "-o", "json"]);
    assert_eq!(restored["entries"], 2);
    let aside = restored["replaced"].as_str().unwrap();
    assert!(home.ok(&["verify", aside]).starts_with("ok: 2 entries"));
    let _again = home.start(&[]);
    assert!(home.ok(&["append", "more"]).ends_with(":2\n"));
}

#[test]
fn a_backup_without_its_key_says_what_is_missing() {
    let home = Home::new();
    let node = home.start(&[]);
    home.ok(&["append", "x"]);
    let said = home.run(&["backup", "log.towline"]).stderr;
    assert!(String::from_utf8(said).unwrap().contains("secret is not in it"));
    let failed = home.fails(&["--data", "again", "restore", "log.towline"]);
    assert!(failed.is("E0102", 1), "{failed:?}");
    assert!(failed.why.contains(&node.node) && failed.hint.contains("again/key"), "{failed:?}");
}

#[test]
fn what_is_no_store_is_neither_backed_up_nor_restored() {
    let home = Home::new();
    assert!(home.fails(&["backup", "log.towline"]).is("E0007", 1));
    assert!(home.fails(&["restore", "missing"]).is("E0007", 1));
    std::fs::write(home.path().join("other"), "something else, long enough to be a file").unwrap();
    assert!(home.fails(&["restore", "other"]).is("E0103", 1));
    assert!(home.fails(&["--node", "http://127.0.0.1:1", "backup", "x"]).is("E0001", 2));
    assert!(!home.path().join("log.towline").exists());
}
