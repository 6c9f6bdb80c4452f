//! Proofs, verified as a third party would: with SHA-256, Ed25519 and the author's key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::server::Server;

fn bytes<const N: usize>(hex: &Value) -> [u8; N] {
    let mut bytes = [0; N];
    hex::decode_to_slice(hex.as_str().unwrap(), &mut bytes).unwrap();
    bytes
}

/// Whether the chunks are a chain that the author signed, in the cluster that the opening says.
fn holds(proof: &Value, author: &str) -> bool {
    let opening: Value = serde_json::from_str(proof["opening"].as_str().unwrap()).unwrap();
    let mut before: Option<[u8; 32]> = None;
    for chunk in proof["changes"].as_array().unwrap() {
        let chunk = STANDARD.decode(chunk.as_str().unwrap()).unwrap();
        let hash: [u8; 32] = Sha256::digest(&chunk[8..]).into();
        // checksum, kind, length, the count of dependencies, and the one dependency
        let after_length = 9 + chunk[9..].iter().position(|byte| *byte < 128).unwrap() + 1;
        let dependency = &chunk[after_length + 1..after_length + 33];
        if before.is_some_and(|before| before != dependency) {
            return false;
        }
        before = Some(hash);
    }
    let key = VerifyingKey::from_bytes(&bytes(&Value::from(author))).unwrap();
    let cluster: [u8; 32] = bytes(&opening["cluster"]);
    let signed = [&b"towline/1 change\0"[..], &cluster, &before.unwrap()].concat();
    let signature = Signature::from_bytes(&bytes(&proof["signature"]));
    opening["author"] == author && key.verify_strict(&signed, &signature).is_ok()
}

#[test]
fn an_entry_is_proven_to_whoever_knows_the_authors_key() {
    let server = Server::start();
    for value in 0..3 {
        server.append("t", value);
    }
    let author = server.node.id().to_string();
    let answer = server.get(&format!("/v1/entries/{author}/1/proof"));
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let mut proof = answer.json();
    assert!(holds(&proof, &author));
    assert_eq!((&proof["seq"], &proof["author"]), (&Value::from(1), &Value::from(author.clone())));
    let entry = server.get(&format!("/v1/entries/{author}/1")).json();
    let first = STANDARD.decode(proof["changes"][0].as_str().unwrap()).unwrap();
    assert_eq!(hex::encode(Sha256::digest(&first[8..])), entry["change"].as_str().unwrap());

    let chunk = proof["changes"].as_array().unwrap().len() - 1;
    let mut forged = STANDARD.decode(proof["changes"][chunk].as_str().unwrap()).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    proof["changes"][chunk] = STANDARD.encode(forged).into();
    assert!(!holds(&proof, &author));
}

#[test]
fn there_is_no_proof_of_what_is_not_here() {
    let server = Server::start();
    let nobody = "0".repeat(64);
    server.get(&format!("/v1/entries/{nobody}/0/proof")).is_problem(404, "E0007");
    server.get("/v1/entries/me/0/proof").is_problem(400, "E0001");
}
