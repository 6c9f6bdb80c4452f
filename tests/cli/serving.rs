//! Tokens and TLS: who a node answers over HTTP.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::program::Home;

/// Writes a certificate for localhost that vouches for itself, and its key.
pub fn certify(home: &Home) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(home.path().join("cert.pem"), pem("CERTIFICATE", made.cert.der())).unwrap();
    let key = home.path().join("key.pem");
    fs::write(&key, pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

#[test]
fn an_address_that_others_reach_needs_a_token_and_tls() {
    let home = Home::new();
    let run = ["run", "--listen", "127.0.0.1:0", "--http", "192.0.2.1:7118"];
    let refused = home.fails(&run);
    assert!(refused.is("E0108", 2), "{refused:?}");
    assert!(refused.why.ends_with("there is no token and no certificate"), "{refused:?}");
    home.ok(&["init"]);
    home.ok(&["token", "add", "ci"]);
    assert!(home.fails(&run).why.ends_with("there is no certificate"));
    // It is no address of this machine, so it gets no further than this.
    let insecure = home.fails(&[&run[..], &["--insecure"]].concat());
    assert!(insecure.is("E0105", 1), "{insecure:?}");
}

#[test]
fn a_token_is_shown_once_and_its_hash_never() {
    let home = Home::new();
    assert!(home.fails(&["token", "add", "ci"]).is("E0007", 1));
    home.ok(&["init"]);
    let text = home.ok(&["token", "add", "ci", "--tenant", "acme", "--rights", "append"]);
    let (_, secret) = text.trim().rsplit_once('_').unwrap();
    let listed = home.json(&["token", "ls", "-o", "json"]);
    let token = &listed["tokens"][0];
    assert_eq!((&token["name"], &token["tenant"]), (&"ci".into(), &"acme".into()));
    assert_eq!(token["rights"], serde_json::json!(["append"]));
    assert!(token.get("hash").is_none() && !listed.to_string().contains(secret));
    let id = token["id"].as_str().unwrap();
    assert!(home.ok(&["token", "ls"]).contains("acme"));
    home.ok(&["token", "rm", id]);
    assert!(home.fails(&["token", "rm", id]).is("E0007", 1));
}

#[test]
fn a_node_with_tls_and_tokens_answers_their_bearers_and_the_commands_of_its_machine() {
    let home = Home::new();
    certify(&home);
    home.ok(&["init"]);
    let text = home.ok(&["token", "add", "reader", "--rights", "read"]);
    fs::write(home.path().join("token"), text).unwrap();
    let _node = home.start(&[
        "--require-token",
        "--tls-cert",
        "cert.pem",
        "--tls-key",
        "key.pem",
        "--ports-file",
        "ports.json",
    ]);
    let local = home.path().join("data/local.token");
    assert_eq!(fs::metadata(&local).unwrap().permissions().mode() & 0o777, 0o600);
    home.ok(&["append", "locally"]);

    let ports = fs::read(home.path().join("ports.json")).unwrap();
    let ports: Value = serde_json::from_slice(&ports).unwrap();
    let (_, port) = ports["http"].as_str().unwrap().rsplit_once(':').unwrap();
    let url = format!("https://localhost:{port}");
    let far = ["--node", url.as_str(), "--ca-file", "cert.pem"];
    let bearer = [&far[..], &["--token-file", "token"]].concat();
    assert!(home.ok(&[&bearer[..], &["query"]].concat()).contains("locally"));
    assert!(home.fails(&[&far[..], &["query"]].concat()).is("E0012", 7));
    assert!(home.fails(&[&bearer[..], &["append", "x"]].concat()).is("E0013", 7));
    assert!(home.fails(&["--node", url.as_str(), "query"]).is("E0201", 5));
    let plain = format!("http://localhost:{port}");
    assert_ne!(home.run(&["--node", &plain, "query"]).status.code(), Some(0));
}

#[test]
fn a_key_that_everybody_reads_is_not_used() {
    let home = Home::new();
    certify(&home);
    let key = home.path().join("key.pem");
    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = home.fails(&["run", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    assert!(refused.is("E0401", 1) && refused.why.contains("everybody"), "{refused:?}");
    assert!(home.fails(&["run", "--tls-cert", "cert.pem"]).is("E0001", 2));
}
