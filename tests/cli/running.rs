//! `towline run`: how a node starts, what it refuses, how it ends.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{Home, printed};

#[test]
fn init_says_who_the_node_is_and_says_it_again() {
    let home = Home::new();
    let first = home.json(&["init", "-o", "json"]);
    assert_eq!(first["node"].as_str().unwrap().len(), 64);
    assert_eq!(home.json(&["init", "-o", "json"]), first);
    let cluster = first["cluster"].as_str().unwrap();
    let other = Home::new();
    let second = other.json(&["init", "-o", "json", "--cluster", cluster]);
    assert_eq!(second["cluster"], first["cluster"]);
    assert_ne!(second["node"], first["node"]);
    assert!(other.fails(&["init", "--cluster", &"ab".repeat(32)]).is("E0104", 1));
}

#[test]
fn a_ports_file_says_where_the_node_is() {
    let home = Home::new();
    let node = home.start(&["--ports-file", "ports.json"]);
    let ports = fs::read(home.path().join("ports.json")).unwrap();
    let ports: Value = serde_json::from_slice(&ports).unwrap();
    assert_eq!(ports["node"], json!(node.node));
    assert_eq!(ports["quic"], json!(node.quic));
    let elsewhere = Home::new();
    let status =
        elsewhere.json(&["--node", ports["http"].as_str().unwrap(), "status", "-o", "json"]);
    assert_eq!(status["node"], json!(node.node));
}

#[test]
fn a_second_process_is_refused() {
    let home = Home::new();
    let _node = home.start(&[]);
    assert!(home.fails(&["run"]).is("E0101", 1));
    assert!(home.fails(&["init"]).is("E0101", 1));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let home = Home::new();
    home.ok(&["init"]);
    let key = home.data().join("key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let failed = home.fails(&["run"]);
    assert!(failed.is("E0102", 1), "{failed:?}");
    assert_eq!(failed.hint, format!("chmod 600 {}", key.display()));
}

#[test]
fn a_taken_port_is_refused_and_the_directory_let_go() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = home.fails(&["run", "--listen", "127.0.0.1:0", "--http", &address]);
    assert!(failed.is("E0105", 1), "{failed:?}");
    home.ok(&["init"]);
}

#[test]
fn a_peer_that_is_none_is_refused() {
    let failed = Home::new().fails(&["run", "--peer", "alice@10.0.0.1:7117"]);
    assert!(failed.is("E0106", 2), "{failed:?}");
    assert!(failed.what.contains("alice@10.0.0.1:7117"));
}

#[test]
fn flags_go_before_variables_and_these_before_files() {
    let home = Home::new();
    home.ok(&["init"]);
    fs::write(home.data().join("config.toml"), "name = \"d\"\nemit_ring = 8\n").unwrap();
    fs::write(home.path().join("named.toml"), "name = \"c\"\n").unwrap();
    let named = |arguments: &[&str], variable: Option<&str>| {
        let anywhere = ["run", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let mut command = home.command(&[&anywhere[..], arguments].concat());
        command.envs(variable.map(|name| ("TOWLINE_NAME", name)));
        let node = crate::program::Running::of(command);
        let name = home.json(&["status", "-o", "json"])["name"].take();
        node.kill();
        name
    };
    assert_eq!(named(&[], None), "d");
    assert_eq!(named(&["--config", "named.toml"], None), "c");
    assert_eq!(named(&["--config", "named.toml"], Some("b")), "b");
    assert_eq!(named(&["--name", "a"], Some("b")), "a");
}

#[test]
fn a_setting_that_is_none_is_named_with_its_line() {
    let home = Home::new();
    home.ok(&["init"]);
    fs::write(home.data().join("config.toml"), "name = \"a\"\ncolour = 1\n").unwrap();
    let failed = home.fails(&["run"]);
    assert!(failed.is("E0001", 2), "{failed:?}");
    assert!(failed.why.contains("line 2") && failed.why.contains("colour"), "{failed:?}");
}

#[test]
fn a_signal_ends_a_node_well_and_soon() {
    let home = Home::new();
    let node = home.start(&[]);
    home.ok(&["append", "x"]);
    let mut follower = home.command(&["tail", "-f"]).spawn().unwrap();
    let began = Instant::now();
    assert_eq!(node.terminate(), (0, String::new()));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(follower.wait().unwrap().code(), Some(5));
    assert!(!home.data().join("node.json").exists());
    assert_eq!(home.json(&["status", "-o", "json"])["entries"], 1);
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let home = Home::new();
    let node = home.start(&[]);
    let ids = printed(home.piped(&["append"], b"a\nb\nc\n"));
    node.kill();
    assert_eq!(home.fails(&["append", "x"]).code, "E0201");
    home.ok(&["verify"]);
    let _node = home.start(&[]);
    for id in ids.lines() {
        assert_eq!(home.json(&["get", id, "-o", "json"])["id"], id);
    }
    let next = home.ok(&["append", "d"]);
    assert!(next.trim_end().ends_with(":3"), "{next}");
}

#[test]
fn every_emitted_event_is_recorded_or_stated_in_a_gap() {
    let home = Home::new();
    let node = home.start(&["--emit-ring", "2"]);
    let lines: String = (0..5_000).map(|n| format!("{n}\n")).collect();
    let said = printed(home.piped(&["emit"], lines.as_bytes()));
    assert!(said.starts_with("events 0..="), "{said}");
    node.terminate();
    let status = home.json(&["status", "-o", "json"]);
    let count = |field: &str| status[field].as_u64().unwrap();
    assert_eq!(count("emitted"), 5_000);
    assert_eq!(count("recorded") + count("dropped"), 5_000);
    let gaps = home.json(&["gaps", "-o", "json"]);
    let gaps = gaps["gaps"].as_array().unwrap();
    let dropped = gaps.iter().map(|gap| gap["data"]["count"].as_u64().unwrap());
    assert_eq!(dropped.sum::<u64>(), count("dropped"));
    assert_eq!(home.ok(&["gaps"]).lines().count() as u64, count("gaps"));
    for asked in [
        &["query", "--gaps"][..],
        &["query", "--gaps", "only"],
        &["query", "--gaps", "--limit", "9999"],
    ] {
        assert_eq!(home.ok(asked).lines().count() as u64, count("gaps"), "{asked:?}");
    }
    let sum = format!("5000 emitted = {} recorded + ", count("recorded"));
    assert!(home.ok(&["status"]).contains(&sum));
}

#[test]
fn an_entry_is_acknowledged_once_peers_have_it() {
    let (alice, bob) = (Home::new(), Home::new());
    let first = alice.json(&["init", "-o", "json"]);
    let cluster = first["cluster"].as_str().unwrap();
    let second = bob.json(&["init", "-o", "json", "--cluster", cluster]);
    let peer = format!("{}@127.0.0.1:1", second["node"].as_str().unwrap());
    let node = alice.start(&["--peer", &peer, "--name", "alice"]);
    let peer = format!("{}@{}", node.node, node.quic);
    let _other = bob.start(&["--peer", &peer, "--name", "bob"]);
    let id = alice.ok(&["append", "x", "--ack", "peers=1", "--timeout", "60s"]);
    assert_eq!(bob.json(&["get", id.trim_end(), "-o", "json"])["data"], "x");
    let failed = alice.fails(&["append", "y", "--ack", "peers=2", "--timeout", "50ms"]);
    assert!(failed.is("E0204", 6), "{failed:?}");
    let nodes = alice.ok(&["nodes"]);
    assert!(nodes.contains("bob") && nodes.contains("connected"), "{nodes}");
}
