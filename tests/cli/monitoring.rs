//! What a monitor and a puzzled person are told: `check`, `doctor`, `config`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::program::{Home, printed};

#[test]
fn a_node_that_is_well_passes_every_check() {
    let home = Home::new();
    let _node = home.start(&[]);
    assert_eq!(home.ok(&["check"]), "ok all is well\n");
    assert_eq!(home.ok(&["check", "--format", "nagios"]), "TOWLINE OK - all is well\n");
    let found = home.json(&["check", "--format", "json"]);
    assert_eq!(found["level"], "ok");
    let doctor = home.json(&["doctor", "-o", "json"]);
    let about = |name: &str| {
        let all = doctor["findings"].as_array().unwrap();
        all.iter().find(|found| found["about"] == name).cloned().unwrap_or(Value::Null)
    };
    for name in ["directory", "key", "settings", "node", "writing", "log", "events"] {
        assert_eq!(about(name)["level"], "ok", "{name}: {doctor}");
    }
}

#[test]
fn what_was_dropped_lately_is_a_warning() {
    let home = Home::new();
    let node = home.start(&["--emit-ring", "2"]);
    printed(home.piped(&["emit"], "event\n".repeat(500).as_bytes()));
    let status = home.json(&["status", "-o", "json"]);
    let dropped = status["dropped"].as_u64().unwrap();
    assert!(dropped > 0, "{status}");
    let checked = home.run(&["check"]);
    let said = String::from_utf8(checked.stdout).unwrap();
    let expected = format!("warning events: {dropped} dropped in 24 hours");
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(checked.status.code(), Some(1));
    drop(node);
}

#[test]
fn top_prints_one_picture_into_a_pipe() {
    let home = Home::new();
    let node = home.start(&[]);
    home.ok(&["append", "one"]);
    let picture = home.ok(&["top"]);
    assert!(
        picture.contains("1 entry of 1 author") && picture.contains(&node.node[..8]),
        "{picture}"
    );
}

#[test]
fn a_peer_that_is_away_is_a_warning_with_a_way_on() {
    let home = Home::new();
    // The id of a node that listens nowhere.
    let other = Home::new();
    let peer = other.json(&["init", "-o", "json"])["node"].as_str().unwrap().to_owned();
    let _node = home.start(&["--peer", &format!("{peer}@127.0.0.1:9")]);
    let checked = home.run(&["check", "--format", "nagios"]);
    let said = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(1), "{said}");
    assert!(said.starts_with("TOWLINE WARNING - peers: 0 of 1 connected"), "{said}");
    let doctor = home.run(&["doctor"]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    assert!(said.contains("try: towline nodes"), "{said}");
}

#[test]
fn a_node_that_is_down_is_unknown_to_monitors_and_explained_by_the_doctor() {
    let home = Home::new();
    assert!(home.fails(&["check"]).is("E0201", 5));
    let nagios = home.run(&["check", "--format", "nagios"]);
    assert_eq!(nagios.status.code(), Some(3));
    assert!(nagios.stdout.starts_with(b"TOWLINE UNKNOWN - "));
    home.ok(&["init"]);
    fs::set_permissions(home.data().join("key"), Permissions::from_mode(0o644)).unwrap();
    fs::write(home.data().join("config.toml"), "listen = 1\n").unwrap();
    let doctor = home.run(&["doctor"]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(doctor.status.code(), Some(1), "{said}");
    for way_on in ["try: chmod 600 ", "line 1: ", "try: towline run --data "] {
        assert!(said.contains(way_on), "{way_on}: {said}");
    }
}

#[test]
fn every_setting_says_where_it_comes_from() {
    let home = Home::new();
    home.ok(&["init", "--name", "a \"node\""]);
    fs::write(home.path().join("given.toml"), "emit_ring = 8\nname = \"given\"\n").unwrap();
    let show = ["config", "show", "--origin", "--config", "given.toml", "-o", "json"];
    let mut command = home.command(&show);
    let output = command.env("TOWLINE_HTTP", "127.0.0.1:1").output().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let origin = |key: &str| (shown[key]["value"].clone(), shown[key]["origin"].clone());
    assert_eq!(origin("http"), ("127.0.0.1:1".into(), "TOWLINE_HTTP".into()));
    assert_eq!(origin("emit_ring"), (8.into(), "given.toml".into()));
    assert_eq!(origin("name"), ("given".into(), "given.toml".into()));
    assert_eq!(origin("listen"), ("127.0.0.1:7117".into(), "default".into()));
    // What is shown is a settings file itself.
    let text = home.ok(&["config", "show"]);
    assert!(text.contains("name = \"a \\\"node\\\"\"\n"), "{text}");
    fs::write(home.path().join("again.toml"), &text).unwrap();
    assert_eq!(home.ok(&["config", "show", "--config", "again.toml"]), text);
}
