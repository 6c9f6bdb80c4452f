//! What towline says of itself and of single entries in other forms: templates, help for programs,
//! the manual, completions, proofs.

use std::fs;
use std::process::Command;

use crate::program::{Failed, Home, printed};

#[test]
fn a_template_shapes_each_entry() {
    let home = Home::new();
    let _node = home.start(&[]);
    home.ok(&["append", "-t", "story/42", "--format", "ndjson", "{\"data\":{\"to\":\"coding\"}}"]);
    home.ok(&["append", "-t", "story/42", "a < b"]);
    let template = "template={{ topic }} {{ data.to or data }}";
    let said = home.ok(&["query", "-o", template]);
    assert_eq!(said, "story/42 coding\nstory/42 a < b\n");
    assert_eq!(home.ok(&["status", "-o", "template={{ entries }}"]), "2\n");
    let refused = home.fails(&["query", "-o", "template={{ topic"]);
    assert!(refused.is("E0001", 2), "{refused:?}");
}

#[test]
fn help_is_there_for_programs_too() {
    let home = Home::new();
    let all = home.json(&["--help", "--json"]);
    let commands = all["commands"].as_array().unwrap();
    let append = commands.iter().find(|one| one["command"] == "towline append").unwrap();
    assert_eq!(append["examples"][0], "towline append 'a first entry'");
    let topic = append["arguments"].as_array().unwrap().iter();
    let topic = topic.clone().find(|one| one["flag"] == "--topic").unwrap();
    assert_eq!((&topic["short"], &topic["value"]), (&"-t".into(), &"TOPIC".into()));
    let one = home.json(&["cursor", "set", "--help", "--json"]);
    assert_eq!(one["command"], "towline cursor set");
}

#[test]
fn there_is_a_page_of_the_manual_for_every_command() {
    let home = Home::new();
    home.ok(&["man", "--dir", "man"]);
    for page in ["towline.1", "towline-append.1", "towline-cursor-set.1", "towline-man.1"] {
        let text = fs::read_to_string(home.path().join("man").join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH OPTIONS"), "{page}: {text}");
    }
    let page = home.ok(&["man", "append"]);
    assert!(page.contains(".SH EXAMPLES") && page.contains("journalctl \\-f"), "{page}");
    assert!(home.fails(&["man", "nothing"]).is("E0007", 1));
}

#[test]
fn a_shell_completes_what_is_in_the_log() {
    let home = Home::new();
    let _node = home.start(&[]);
    home.ok(&["append", "-t", "story/42", "one"]);
    home.ok(&["cursor", "set", "mailer"]);
    let complete = |words: &[&str]| {
        let mut command: Command = home.command(&[&["--"], words].concat());
        command.env("COMPLETE", "bash").env("_CLAP_IFS", "\n").env("_CLAP_COMPLETE_COMP_TYPE", "9");
        command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(complete(&["towline", "query", "--topic", "sto"]), "story/42");
    assert!(complete(&["towline", "cursor", "rm", "ma"]).lines().any(|word| word == "mailer"));
    assert_eq!(complete(&["towline", "docto"]), "doctor");
}

#[test]
fn a_template_that_an_entry_does_not_fill_is_an_error_after_what_came_before() {
    let home = Home::new();
    let _node = home.start(&[]);
    let drafts = b"{\"data\":{\"a\":2}}\n{\"data_base64\":\"/w==\"}\n{\"data\":{\"a\":3}}\n";
    printed(home.piped(&["append", "--format", "ndjson"], drafts));
    assert_eq!(home.ok(&["query", "-o", "template={{ data.a }}"]), "2\n\n3\n");
    let output = home.run(&["query", "-o", "template={{ 6 // data.a }}"]);
    assert_eq!(output.stdout, b"3\n");
    assert!(Failed::of(output).is("E0001", 2));
}

#[test]
fn a_proof_is_checked_by_whoever_has_nothing_else() {
    let home = Home::new();
    let node = home.start(&[]);
    let id = home.ok(&["append", "-t", "story/42", "it is so"]);
    let proof = home.ok(&["get", id.trim(), "--proof"]);
    node.terminate();
    assert_eq!(home.ok(&["get", id.trim(), "--proof"]), proof);
    let stranger = Home::new();
    fs::write(stranger.path().join("entry.proof"), &proof).unwrap();
    let proven = stranger.ok(&["verify", "entry.proof"]);
    assert!(proven.starts_with("ok: ") && proven.contains(id.trim()), "{proven}");
    assert!(proven.contains("story/42") && proven.contains("it is so"), "{proven}");
    // However its JSON is laid out, and how many there are.
    let laid_out: serde_json::Value = serde_json::from_str(&proof).unwrap();
    fs::write(stranger.path().join("laid.out"), format!("{laid_out:#}\n{proof}")).unwrap();
    assert_eq!(stranger.ok(&["verify", "laid.out"]), proven.repeat(2));
    assert!(Failed::of(stranger.piped(&["verify", "-"], b"")).is("E0301", 3));
    // Another entry under the same signature is none of the author's.
    let (_, signature) = proof.split_once("\"signature\":\"").unwrap();
    let forged = proof.replace(&signature[..8], "00000000");
    fs::write(stranger.path().join("entry.proof"), forged).unwrap();
    assert!(stranger.fails(&["verify", "entry.proof"]).is("E0301", 3));
}
