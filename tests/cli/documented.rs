//! Every command in the documentation and in the help is one that towline takes, and what README and
//! the page on sessions show one after the other works in that order.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::program::Home;

/// What stands in the documents for something that only a reader has.
const PLACEHOLDERS: [(&str, &str); 8] = [
    ("--cluster ID", "--cluster CLUSTER"),
    ("NODE1", "1111111111111111111111111111111111111111111111111111111111111111"),
    ("NODE2", "2222222222222222222222222222222222222222222222222222222222222222"),
    ("CLUSTER", "3333333333333333333333333333333333333333333333333333333333333333"),
    (" ID", " 4444444444444444444444444444444444444444444444444444444444444444:0"),
    ("peer …", "peer ID@10.0.0.2:7117"),
    ("CODE", "E0101"),
    ("AUTHOR", "5555555555555555555555555555555555555555555555555555555555555555"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let pages = std::fs::read_dir(root().join("docs")).unwrap().map(|page| page.unwrap().path());
    let mut pages: Vec<PathBuf> =
        pages.filter(|page| page.extension().is_some_and(|ending| ending == "md")).collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// The lines of all shell blocks of a document.
fn shell_lines(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    let (mut lines, mut is_shell) = (Vec::new(), false);
    for line in text.lines() {
        match line {
            "```sh" => is_shell = true,
            _ if line.starts_with("```") => is_shell = false,
            _ if is_shell => lines.push(line.to_owned()),
            _ => {}
        }
    }
    lines
}

/// The commands of towline in a line, without comments, pipes and redirections around them.
fn commands(line: &str) -> Vec<String> {
    let line = line.split_once("$ ").map_or(line, |(_, command)| command);
    let line = line.trim_start().split("  ").next().unwrap_or_default();
    let parts = line.split(" | ").flat_map(|part| part.split("; "));
    let ours = parts.map(str::trim).filter(|part| part.starts_with("towline "));
    ours.map(|part| {
        let end = [" > ", " < ", " &"].iter().filter_map(|end| part.find(end)).min();
        let mut command = part[..end.unwrap_or(part.len())].to_owned();
        PLACEHOLDERS.iter().for_each(|(name, value)| command = command.replace(name, value));
        command
    })
    .collect()
}

fn shell(home: &Home, line: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_towline")).parent().unwrap();
    let mut shell = std::process::Command::new("sh");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    shell.args(["-c", line]).env_clear().env("HOME", home.path()).env("PATH", path);
    shell.env("TOWLINE_DATA", home.data()).current_dir(home.path()).output().unwrap()
}

/// Everything before `--help` has to be understood for the help to be printed.
fn unknown(home: &Home, commands: impl IntoIterator<Item = String>) -> Vec<String> {
    let understood = |command: &String| {
        let asked = shell(home, &format!("{command} --help"));
        asked.status.success() && !asked.stdout.is_empty()
    };
    commands.into_iter().filter(|command| !understood(command)).collect()
}

#[test]
fn every_command_in_the_documents_is_one_that_towline_takes() {
    let lines = documents().into_iter().flat_map(|page| shell_lines(&page));
    let found: Vec<String> = lines.flat_map(|line| commands(&line)).collect();
    assert!(found.len() > 20, "{found:?}");
    assert_eq!(unknown(&Home::new(), found), [""; 0]);
}

#[test]
fn every_example_in_the_help_is_one_that_towline_takes() {
    fn examples(command: &Value, found: &mut Vec<String>) {
        let shown = command["examples"].as_array().into_iter().flatten();
        let mut whole = String::new();
        for line in shown.filter_map(Value::as_str) {
            whole = format!("{whole} {line}");
            // A quoted text may go on in the next line.
            if whole.matches('"').count().is_multiple_of(2) {
                found.extend(commands(&std::mem::take(&mut whole)));
            }
        }
        command["commands"].as_array().into_iter().flatten().for_each(|one| examples(one, found));
    }
    let home = Home::new();
    let mut found = Vec::new();
    examples(&home.json(&["--help", "--json"]), &mut found);
    assert!(found.len() > 60, "{found:?}");
    assert_eq!(unknown(&home, found), [""; 0]);
}

#[test]
fn what_the_readme_and_the_page_on_sessions_show_works_in_that_order() {
    let home = Home::new();
    let _node = home.start(&[]);
    for page in ["README.md", "docs/sessions.md"] {
        for line in shell_lines(&root().join(page)) {
            // A node runs already; the others never end, or take minutes.
            let (command, _) = line.split_once("  #").unwrap_or((&line, ""));
            let starts = ["towline init", "towline run", "towline bench", "towline demo"];
            if !command.contains("towline ") || starts.iter().any(|it| command.contains(it)) {
                continue;
            }
            let command =
                command.replace("journalctl -f", "printf 'a\\nb\\n'").replace("tail -f", "tail");
            let done = shell(&home, &command);
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{page}: {command}: {said}");
        }
    }
}
