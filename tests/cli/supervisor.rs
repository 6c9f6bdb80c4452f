//! What a supervisor is told, by the protocol of systemd.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::program::Home;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the supervisor is told next.
fn told(supervisor: &UnixDatagram) -> String {
    let mut message = [0; 4_096];
    let length = supervisor.recv(&mut message).expect("the node tells something");
    String::from_utf8(message[..length].to_vec()).expect("a text")
}

#[test]
fn a_supervisor_is_told_of_start_health_and_end() {
    let home = Home::new();
    let socket = home.path().join("notify");
    let supervisor = UnixDatagram::bind(&socket).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command =
        home.command(&["run", "-q", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "300000");
    let mut node = command.spawn().unwrap();
    assert_eq!(told(&supervisor), "READY=1\n");
    for _ in 0..3 {
        let alive = told(&supervisor);
        assert_eq!(alive, "WATCHDOG=1\nSTATUS=Ok, 0 entries\n");
    }
    let ended = Command::new("kill").arg(node.id().to_string()).status().unwrap();
    assert!(ended.success());
    let mut last = told(&supervisor);
    while last.starts_with("WATCHDOG") {
        last = told(&supervisor);
    }
    assert_eq!(last, "STOPPING=1\n");
    assert!(node.wait().unwrap().success());
}

#[test]
fn without_a_supervisor_nothing_is_missed() {
    let home = Home::new();
    let node = home.start(&[]);
    assert_eq!(home.json(&["status", "-o", "json"])["state"], "ok");
    drop(node);
}
