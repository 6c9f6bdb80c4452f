//! Errors: their form, their codes, and how the program ends.

use crate::program::Home;

const COMMANDS: [&str; 27] = [
    "demo",
    "bench",
    "init",
    "run",
    "append",
    "emit",
    "tail",
    "query",
    "get",
    "gaps",
    "status",
    "nodes",
    "verify",
    "export",
    "import",
    "backup",
    "restore",
    "sql",
    "explain",
    "completions",
    "check",
    "config",
    "cursor",
    "doctor",
    "man",
    "mcp",
    "top",
];

#[test]
fn an_unknown_flag_is_refused_in_the_usual_form() {
    let failed = Home::new().fails(&["status", "--colour"]);
    assert!(failed.is("E0001", 2), "{failed:?}");
    assert_eq!(failed.what, "unexpected argument '--colour' found");
    let failed = Home::new().fails(&["thread", "append", "--lines"]);
    assert_eq!(failed.why, "towline thread append [OPTIONS] <TOPIC> [TEXT]");
}

#[test]
fn a_missing_argument_is_named() {
    let failed = Home::new().fails(&["get"]);
    assert!(failed.is("E0001", 2), "{failed:?}");
    assert_eq!((&*failed.why, &*failed.hint), ("<ID>", "towline get --help"));
}

#[test]
fn a_value_that_is_none_is_refused_with_the_reason() {
    let home = Home::new();
    for arguments in [
        ["query", "--since", "yesterday"],
        ["query", "--author", "alice"],
        ["query", "--limit", "0"],
        ["-o", "yaml", "query"],
        ["append", "x", "--attr"],
        ["append", "--ack", "many"],
    ] {
        assert!(home.fails(&arguments).is("E0001", 2), "{arguments:?}");
    }
}

#[test]
fn what_is_wrong_with_a_value_is_said_with_the_help_of_its_command() {
    let home = Home::new();
    let failed = home.fails(&["query", "--order", "size"]);
    assert_eq!(failed.what, "invalid value 'size' for '--order <time|arrival|author>'");
    assert_eq!(failed.why, "it is one of: time, arrival, author");
    assert_eq!(failed.hint, "towline query --help");
    assert_eq!(
        home.fails(&["thread", "load", "t", "--limit", "x"]).hint,
        "towline thread load --help"
    );
}

#[test]
fn a_command_that_is_none_yet_is_answered_with_help() {
    let home = Home::new();
    for arguments in [&[][..], &["cursor"]] {
        let output = home.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert!(said.starts_with("Examples:\n") && said.contains("Commands:\n"), "{said}");
    }
}

#[test]
fn nothing_to_append_is_refused() {
    let home = Home::new();
    let _node = home.start(&[]);
    assert!(home.fails(&["append", ""]).is("E0005", 2));
    assert!(home.fails(&["append", "-"]).is("E0005", 2));
}

#[test]
fn a_name_that_is_reserved_is_refused() {
    let home = Home::new();
    let _node = home.start(&[]);
    assert!(home.fails(&["append", "x", "--kind", "towline.gap"]).is("E0002", 2));
    assert!(home.fails(&["append", "x", "--tenant", "towline"]).is("E0002", 2));
}

#[test]
fn a_command_without_a_node_is_told_to_run_one() {
    let failed = Home::new().fails(&["append", "x"]);
    assert!(failed.is("E0201", 5), "{failed:?}");
    assert!(failed.hint.starts_with("towline run --data "), "{failed:?}");
}

#[test]
fn an_address_at_which_nothing_answers_is_unreachable() {
    let failed = Home::new().fails(&["--node", "http://127.0.0.1:1", "status"]);
    assert!(failed.is("E0201", 5), "{failed:?}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let home = Home::new();
    for url in ["ftp://127.0.0.1:1", "", "http://127.0.0.1/path"] {
        assert!(home.fails(&["--node", url, "status"]).is("E0001", 2), "{url}");
    }
}

#[test]
fn a_data_directory_without_a_store_is_not_found() {
    let failed = Home::new().fails(&["query"]);
    assert!(failed.is("E0007", 1) && failed.hint.contains("towline run"), "{failed:?}");
    assert!(Home::new().fails(&["verify"]).is("E0007", 1));
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let home = Home::new();
    let path = home.path().join("other.sqlite");
    std::fs::write(&path, "something else, and quite long enough to be a file").unwrap();
    assert!(home.fails(&["verify", path.to_str().unwrap()]).is("E0103", 1));
}

#[test]
fn a_bad_cursor_is_refused_with_and_without_a_node() {
    let home = Home::new();
    let other = "o:0707070707070707.1";
    let node = home.start(&[]);
    home.ok(&["append", "x"]);
    for cursor in ["nonsense", other] {
        assert!(home.fails(&["query", "--after", cursor]).is("E0006", 2));
        assert!(home.fails(&["tail", "--after", cursor]).is("E0006", 2));
    }
    node.terminate();
    for cursor in ["nonsense", other] {
        assert!(home.fails(&["query", "--after", cursor]).is("E0006", 2));
    }
}

#[test]
fn every_code_is_explained() {
    let home = Home::new();
    let codes = home.ok(&["explain"]);
    assert!(codes.lines().count() > 20);
    for line in codes.lines() {
        let (code, title) = line.split_once("  ").unwrap();
        assert!(home.ok(&["explain", code]).starts_with(&format!("{code}: {title}\n")));
    }
    assert!(home.fails(&["explain", "E9999"]).is("E0007", 1));
}

#[test]
fn help_begins_with_examples_and_fits_a_terminal() {
    let home = Home::new();
    for command in COMMANDS {
        let help = home.ok(&["help", command]);
        assert!(help.starts_with("Examples:\n  towline "), "{command}: {help}");
        assert_eq!(help, home.ok(&[command, "--help"]));
        let wide = help.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{command}");
    }
}

#[test]
fn completions_ask_the_program_itself() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = Home::new().ok(&["completions", shell]);
        assert!(script.contains("COMPLETE") && script.contains("towline"), "{shell}: {script}");
    }
}
