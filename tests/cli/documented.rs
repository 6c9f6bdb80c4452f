//! Every command in the documentation and in the help is one that towline takes, and what the documents
//! show one after the other works in that order.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::program::{Home, Running};
use crate::serving::certify;

/// What stands in the documents for something that only a reader has.
const PLACEHOLDERS: [(&str, &str); 12] = [
    ("--cluster ID", "--cluster CLUSTER"),
    ("NODE1", "1111111111111111111111111111111111111111111111111111111111111111"),
    ("NODE2", "2222222222222222222222222222222222222222222222222222222222222222"),
    ("CLUSTER", "3333333333333333333333333333333333333333333333333333333333333333"),
    (" ID", " 4444444444444444444444444444444444444444444444444444444444444444:0"),
    ("peer …", "peer ID@10.0.0.2:7117"),
    ("CODE", "E0101"),
    ("SHELL", "bash"),
    ("DIR", "dir"),
    ("FILE", "file"),
    (" …", ""),
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

/// Everything before `--help` has to be understood for the help to be printed.
fn unknown(host: &Host, commands: impl IntoIterator<Item = String>) -> Vec<String> {
    let understood = |command: &String| {
        let asked = host.shell(&format!("{command} --help")).output().unwrap();
        asked.status.success() && !asked.stdout.is_empty()
    };
    commands.into_iter().filter(|command| !understood(command)).collect()
}

#[test]
fn every_command_in_the_documents_is_one_that_towline_takes() {
    let lines = documents().into_iter().flat_map(|page| shell_lines(&page));
    let found: Vec<String> = lines.flat_map(|line| commands(&line)).collect();
    assert!(found.len() > 20, "{found:?}");
    assert_eq!(unknown(&Host::new(), found), [""; 0]);
}

#[test]
fn every_example_in_the_help_is_one_that_towline_takes() {
    fn examples(command: &Value, found: &mut Vec<String>) {
        let shown = command["examples"].as_array().into_iter().flatten();
        let mut whole = String::new();
        for line in shown.filter_map(Value::as_str) {
            // They stand two columns in, and a terminal has 80.
            assert!(line.chars().count() <= 78, "{line}");
            whole = format!("{whole} {line}");
            // A quoted text may go on in the next line.
            if whole.matches('"').count().is_multiple_of(2) {
                found.extend(commands(&std::mem::take(&mut whole)));
            }
        }
        command["commands"].as_array().into_iter().flatten().for_each(|one| examples(one, found));
    }
    let host = Host::new();
    let mut found = Vec::new();
    examples(&host.home.json(&["--help", "--json"]), &mut found);
    assert!(found.len() > 60, "{found:?}");
    assert_eq!(unknown(&host, found), [""; 0]);
}

#[test]
fn every_command_that_the_prose_names_is_one_that_towline_takes() {
    let mut found = Vec::new();
    for page in documents() {
        let text = std::fs::read_to_string(page).unwrap();
        let spans = text.split('`').skip(1).step_by(2);
        found.extend(spans.filter(|span| span.starts_with("towline ")).flat_map(commands));
    }
    assert!(found.len() > 20, "{found:?}");
    assert_eq!(unknown(&Host::new(), found), [""; 0]);
}

#[test]
fn what_the_readme_and_the_page_on_sessions_show_works_in_that_order() {
    let mut host = Host::new();
    host.start("towline run");
    for page in ["README.md", "docs/sessions.md"] {
        for command in typed(&root().join(page)) {
            // A node runs already; the others never end, or take minutes.
            let others = ["towline init", "towline run", "towline bench", "scripts/", "cargo "];
            if others.iter().all(|other| !command.starts_with(other)) {
                host.works(page, &command);
            }
        }
    }
}

#[test]
fn what_the_page_on_operations_shows_works_in_that_order() {
    const PAGE: &str = "docs/operations.md";
    let [mut one, mut two] = [Host::new(), Host::new()];
    certify(&one.home);
    let home = one.home.path().to_owned();
    for directory in ["backup", "var/lib"] {
        std::fs::create_dir_all(home.join(directory)).unwrap();
    }
    std::fs::write(home.join("config.toml"), "name = \"one\"\n").unwrap();
    let quic = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let http = free_port().to_string();
    let (mut nodes, mut cluster) = (Vec::new(), String::new());
    for command in typed(&root().join(PAGE)) {
        let (host, command) = match command.split_once("$ ") {
            Some(("host2", command)) => (&mut two, command),
            Some((_, command)) => (&mut one, command),
            None => (&mut one, command.as_str()),
        };
        let command = command
            .replace("sudo -u towline ", "")
            .replace("-o towline -g towline ", "")
            .replace("/var/lib/", &format!("{}/var/lib/", home.display()))
            .replace("/backup/", &format!("{}/backup/", home.display()))
            .replace("10.0.0.1:7117", &quic[0])
            .replace("10.0.0.2:7117", &quic[1])
            .replace("--peer …", &format!("--peer NODE2@{}", quic[1]))
            .replace("NODE1", nodes.first().map_or("", String::as_str))
            .replace("NODE2", nodes.get(1).map_or("", String::as_str))
            .replace("CLUSTER", &cluster)
            .replace("0.0.0.0:7118", &format!("127.0.0.1:{http}"))
            .replace("https://node1:7118", &format!("https://localhost:{http} --ca-file cert.pem"));
        match command.as_str() {
            // Of the package, which a judge of its own looks at.
            command if command.starts_with("cargo ") || command.starts_with("apt ") => {}
            "systemctl enable --now towline" => {
                // As the unit does.
                let (data, own) = (home.join("var/lib/towline"), host.data.clone());
                host.start(&format!("towline --data {} run", data.display()));
                host.data = own;
            }
            "towline token rm ID" => {
                let tokens = host.works(PAGE, "towline token ls -o json");
                let tokens: Value = serde_json::from_str(&tokens).unwrap();
                let id = tokens["tokens"][0]["id"].as_str().unwrap();
                host.works(PAGE, &command.replace("ID", id));
            }
            command if command.starts_with("install -m 600 key ") => {
                // Another machine, with the key of the first.
                host.node = None;
                let data = home.join("var/lib/towline");
                std::fs::remove_dir_all(&data).unwrap();
                std::fs::create_dir(&data).unwrap();
                std::fs::copy(host.data.join("key"), home.join("key")).unwrap();
                host.works(PAGE, command);
            }
            command if command.starts_with("towline init") => {
                let printed = host.works(PAGE, command);
                let ids = printed.split_whitespace().filter(|word| word.len() == 64);
                let ids: Vec<String> = ids.map(str::to_owned).collect();
                nodes.push(ids[0].clone());
                cluster.clone_from(&ids[1]);
            }
            command if command.contains("towline run") || command.contains(" run ") => {
                host.start(command);
            }
            command => drop(host.works(PAGE, command)),
        }
    }
    // The restored node, and its peer, hold what came after it was restored.
    let lines = one.works(PAGE, "towline query --topic journal");
    assert_eq!(lines.lines().count(), 2, "{lines}");
    while two.works(PAGE, "towline query --topic journal") != lines {}
}

/// The commands of a page's shell blocks, one after the other, without comments.
fn typed(page: &Path) -> Vec<String> {
    let mut typed: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in shell_lines(page) {
        let line = line.split("  #").next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match typed.last_mut().filter(|_| goes_on) {
            Some(command) => command.push_str(line),
            None => typed.push(line.to_owned()),
        }
        let last = typed.last_mut().unwrap();
        goes_on = last.ends_with('\\');
        last.truncate(last.trim_end_matches('\\').len());
    }
    typed
}

/// A machine on which the documents are tried out.
struct Host {
    home: Home,
    /// The data directory of its node.
    data: PathBuf,
    node: Option<Running>,
}

impl Host {
    fn new() -> Self {
        let home = Home::new();
        Self { data: home.data(), home, node: None }
    }

    fn shell(&self, line: &str) -> std::process::Command {
        let program = Path::new(env!("CARGO_BIN_EXE_towline")).parent().unwrap();
        let mut shell = std::process::Command::new("sh");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        shell.args(["-c", line]).env_clear().env("HOME", self.home.path()).env("PATH", path);
        shell.env("TOWLINE_DATA", &self.data).current_dir(self.home.path());
        shell.env("TOWLINE_LISTEN", "127.0.0.1:0").env("TOWLINE_HTTP", "127.0.0.1:0");
        shell
    }

    /// Starts a node in the place of the one that runs, and from now on means its data directory.
    #[track_caller]
    fn start(&mut self, command: &str) {
        self.node = None;
        if let Some((_, named)) = command.split_once("--data ") {
            self.data = named.split_whitespace().next().unwrap().into();
        }
        let mut shell = self.shell(&format!("exec {command}"));
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        self.node = Some(Running::of(shell));
    }

    /// What a command prints. Commands that never end are made to.
    #[track_caller]
    fn works(&self, page: &str, command: &str) -> String {
        let node = self.node.as_ref().map_or("", |node| &node.http);
        let command = command
            .replace("journalctl -f", "printf 'a\\nb\\n'")
            .replace("tail -f", "tail --until-caught-up")
            .replace("curl ", "curl --fail --silent --show-error ")
            .replace("-N 'http", "--max-time 1 -N 'http")
            .replace("http://127.0.0.1:7118", node);
        let done = self.shell(&command).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        let printed = String::from_utf8(done.stdout).unwrap();
        // That of curl for a stream that goes on.
        let cut = done.status.code() == Some(28) && printed.contains("event: caught-up");
        assert!(done.status.success() || cut, "{page}: {command}: {said}");
        printed
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
