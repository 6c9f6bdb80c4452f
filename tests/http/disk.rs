use serde_json::json;
use towline::Config;
use towline::node::Storage;

use crate::server::{PATIENCE, Server};
use crate::support::gated::{Disk, Filling, SECRET, store};

const DRAFT: &str = r#"{"topic":"t","kind":"k","data":1}"#;

#[test]
fn a_full_disk_is_507_and_not_ready_and_reading_goes_on() {
    let disk = Disk::default();
    let store = Box::new(Filling::new(store(), &disk));
    let server = Server::with(Config::with_storage(Storage::Opened { secret: SECRET, store }));
    assert_eq!(server.post("/v1/entries", DRAFT).status, 201);
    disk.fill();
    let refused = server.post("/v1/entries", DRAFT);
    assert_eq!((refused.status, &refused.json()["code"]), (507, &json!("E0206")));
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["state"]), (503, &json!("read-only")));
    assert_eq!(server.get("/livez").status, 200);
    let trouble = &server.get("/v1/status").json()["trouble"];
    assert_eq!(trouble, "the disk is full: the test filled it");
    assert!(server.get("/metrics").body.contains("\ntowline_disk_full 1\n"));
    assert_eq!(server.get("/v1/entries").json()["entries"].as_array().unwrap().len(), 1);
    assert_eq!(server.post("/v1/emit", DRAFT).status, 202);

    disk.empty();
    let started = std::time::Instant::now();
    while server.get("/readyz").status != 200 {
        assert!(started.elapsed() < PATIENCE, "it never got ready again");
    }
    assert_eq!(server.post("/v1/entries", DRAFT).status, 201);
}
