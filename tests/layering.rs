//! Reads `src/` and holds the rules of its shape that the compiler cannot hold: imports point down
//! only, each outside crate has one home, and the core asks nothing of the world.
//!
//! The reader below is a tokenizer, not a parser: it drops comments, strings and characters, collects
//! the paths that remain, and knows `use` trees, `super` and inline modules. It does not expand macros.
//!
//! The rules hold inside unit tests as well, except that a test may unwrap.

use std::fmt;
use std::path::Path;

/// The top-level modules, each with its height. `lib.rs` and `main.rs` stand above all of them.
const LAYERS: [(&str, u8); 8] = [
    ("words", 0),
    ("core", 1),
    ("store", 2),
    ("net", 2),
    ("node", 3),
    ("session", 4),
    ("cli", 5),
    ("http", 5),
];

/// The one import between modules of the same height: `towline run` starts the HTTP server.
const SIDEWAYS: [(&str, &str); 1] = [("cli", "http")];

const ROOTS: [&str; 2] = ["src/lib.rs", "src/main.rs"];

/// Outside crates, and the only modules that may name them. A home is the file and the folder of that
/// name: `src/net` is `src/net.rs` and everything under `src/net/`.
const HOMES: [(&str, &[&str]); 12] = [
    ("rusqlite", &["src/store"]),
    ("quinn", &["src/net"]),
    ("rustls", &["src/net"]),
    ("tokio_rustls", &["src/net"]),
    ("rcgen", &["src/net"]),
    ("automerge", &["src/core/change", "src/core/segment", "src/core/document"]),
    ("axum", &["src/http"]),
    ("clap", &["src/cli", "src/main"]),
    ("ureq", &["src/cli"]),
    ("minijinja", &["src/cli/template"]),
    ("ratatui", &["src/cli/top"]),
    ("rmcp", &["src/cli/mcp"]),
];

/// The synchronous part of the program.
const WITHOUT_TOKIO: [&str; 3] = ["src/words", "src/core", "src/store"];

/// The part that a seeded simulator replays: no IO, no clock, no randomness, no logging.
const PURE: [&str; 2] = ["src/words", "src/core"];

/// Crates that only an impure file names.
const IMPURE_CRATES: [&str; 3] = ["getrandom", "rand", "tracing"];

/// Runs of path segments that only an impure file names, wherever in a path they stand.
const IMPURE_PATHS: [&[&str]; 13] = [
    &["Instant", "now"],
    &["SystemTime", "now"],
    &["Timestamp", "now"],
    &["Zoned", "now"],
    &["OsRng"],
    &["std", "fs"],
    &["std", "thread"],
    &["std", "net", "*"],
    &["TcpListener"],
    &["TcpStream"],
    &["UdpSocket"],
    &["UnixListener"],
    &["UnixStream"],
];

/// Names that say a role and not what the file holds.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "common", "helpers", "types", "manager", "handlers", "misc"];

#[test]
fn imports_point_down() {
    hold(imports_that_point_up);
}

#[test]
fn each_outside_crate_is_named_in_its_home_only() {
    hold(crates_away_from_home);
}

#[test]
fn words_and_core_ask_nothing_of_the_world() {
    hold(impurities);
}

#[test]
fn files_are_named_for_what_they_hold() {
    hold(empty_names);
}

#[test]
fn only_tests_unwrap() {
    hold(unwraps);
}

/// Applies one rule to every file under `src/`.
fn hold(rule: fn(&Source) -> Vec<Finding>) {
    let sources = read_sources();
    assert!(ROOTS.iter().any(|root| sources.iter().any(|s| s.file == *root)), "src/ was not found");
    let findings: Vec<String> =
        sources.iter().flat_map(rule).map(|finding| finding.to_string()).collect();
    assert!(findings.is_empty(), "\n\n{}\n", findings.join("\n"));
}

/// A place where a rule is broken.
#[derive(Debug)]
struct Finding {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

// The rules, each a function of one file.

fn imports_that_point_up(source: &Source) -> Vec<Finding> {
    if ROOTS.contains(&source.file.as_str()) {
        return Vec::new();
    }
    let own = source.module();
    let from = own[0];
    let Some(own_height) = height(from) else {
        let what = format!("`{from}` has no layer; give it one in LAYERS of tests/layering.rs");
        return vec![source.finding(1, what)];
    };
    let tokens = tokens(&source.text);
    let mut findings = Vec::new();
    for path in paths(&tokens) {
        let Some(target) = path.resolve(&own) else {
            continue;
        };
        let what = match target.first() {
            None => format!("{from} imports the crate root; name the module that is meant"),
            Some(to) => match height(to) {
                Some(_) if to == &from || SIDEWAYS.contains(&(from, to)) => continue,
                Some(other) if other < own_height => continue,
                Some(_) => format!("{from} names {to}, which is not below it"),
                None => format!("`crate::{to}` has no layer; name the module it is defined in"),
            },
        };
        findings.push(source.finding(path.line, format!("{what}: `{path}`")));
    }
    findings
}

fn crates_away_from_home(source: &Source) -> Vec<Finding> {
    let tokens = tokens(&source.text);
    let mut findings = Vec::new();
    for path in paths(&tokens) {
        let named = path.segments[0];
        for (outside, homes) in HOMES {
            if named == outside && !source.is_in(homes) {
                let what = format!("{outside} is named under {} only: `{path}`", homes.join(", "));
                findings.push(source.finding(path.line, what));
            }
        }
        if named == "tokio" && source.is_in(&WITHOUT_TOKIO) {
            let what = format!("tokio is never named under {}: `{path}`", WITHOUT_TOKIO.join(", "));
            findings.push(source.finding(path.line, what));
        }
    }
    findings
}

fn impurities(source: &Source) -> Vec<Finding> {
    if !source.is_in(&PURE) {
        return Vec::new();
    }
    let tokens = tokens(&source.text);
    let mut findings = Vec::new();
    for path in paths(&tokens) {
        let passes = |run: &[&str]| path.segments.windows(run.len()).any(|part| part == run);
        let impure =
            IMPURE_CRATES.contains(&path.segments[0]) || IMPURE_PATHS.iter().any(|run| passes(run));
        if impure {
            let what =
                format!("words and core take time, randomness and IO as arguments: `{path}`");
            findings.push(source.finding(path.line, what));
        }
    }
    findings
}

fn empty_names(source: &Source) -> Vec<Finding> {
    let named =
        |name: &&&str| source.file.split('/').any(|part| part.trim_end_matches(".rs") == **name);
    let what = |name: &&str| format!("`{name}` says a role; name the file for what it holds");
    EMPTY_NAMES.iter().filter(named).map(|name| source.finding(1, what(name))).collect()
}

fn unwraps(source: &Source) -> Vec<Finding> {
    if source.file.ends_with("/tests.rs") {
        return Vec::new();
    }
    let tokens = without_tests(&tokens(&source.text));
    let calls = tokens.windows(4).filter(|call| spells(call, &[".", "unwrap", "(", ")"]));
    let what = "`.unwrap()` outside of tests; return the error, or `expect` a provable invariant";
    calls.map(|call| source.finding(call[1].line, what.to_string())).collect()
}

fn height(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, height)| *height)
}

/// One file: its path from the root of the repository, with `/`, and its text.
struct Source {
    file: String,
    text: String,
}

impl Source {
    /// `src/core/log.rs` and `src/core/log/mod.rs` are the module `core`, `log`.
    fn module(&self) -> Vec<&str> {
        let inside = self.file.trim_start_matches("src/").trim_end_matches(".rs");
        inside.split('/').filter(|part| *part != "mod").collect()
    }

    fn is_in(&self, homes: &[&str]) -> bool {
        homes.iter().any(|home| {
            self.file.strip_prefix(home).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    }

    fn finding(&self, line: usize, what: String) -> Finding {
        Finding { file: self.file.clone(), line, what }
    }
}

fn read_sources() -> Vec<Source> {
    let root = option_env!("CARGO_MANIFEST_DIR")
        .map(String::from)
        .or_else(|| std::env::var("CARGO_MANIFEST_DIR").ok())
        .expect("CARGO_MANIFEST_DIR is set while compiling or running");
    let mut sources = Vec::new();
    read_folder(Path::new(&root), "src", &mut sources);
    sources.sort_by(|a, b| a.file.cmp(&b.file));
    sources
}

fn read_folder(root: &Path, folder: &str, sources: &mut Vec<Source>) {
    let entries = std::fs::read_dir(root.join(folder)).expect("the folder is readable");
    for entry in entries {
        let entry = entry.expect("the folder is readable");
        let name = entry.file_name().into_string().expect("the file's name is UTF-8");
        let file = format!("{folder}/{name}");
        if entry.path().is_dir() {
            read_folder(root, &file, sources);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(entry.path()).expect("the file is UTF-8 text");
            sources.push(Source { file, text });
        }
    }
}

/// A word, a number, `::`, or one character of punctuation. Comments, strings and characters are none.
#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

impl Token<'_> {
    fn is_word(&self) -> bool {
        self.text.starts_with(is_word_char)
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn spells(tokens: &[Token], words: &[&str]) -> bool {
    tokens.len() == words.len() && tokens.iter().zip(words).all(|(token, word)| token.text == *word)
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match skipped(rest) {
            Some(length) => length,
            None => {
                let word = rest.find(|c| !is_word_char(c)).unwrap_or(rest.len());
                let length = match first {
                    _ if word > 0 => word,
                    ':' if rest.starts_with("::") => 2,
                    _ => first.len_utf8(),
                };
                tokens.push(Token { text: &rest[..length], line });
                length
            }
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    tokens
}

/// The length of what stands at the start of `rest` and is no token, if that is so.
fn skipped(rest: &str) -> Option<usize> {
    let space = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
    if space > 0 {
        return Some(space);
    }
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if let Some(length) = raw_string(rest) {
        return Some(length);
    }
    if rest.starts_with("r#") {
        return Some(2); // A raw identifier: the word follows.
    }
    for quoted in ["\"", "b\"", "c\""] {
        if let Some(inside) = rest.strip_prefix(quoted) {
            return Some(quoted.len() + until_quote(inside, '"'));
        }
    }
    for quoted in ["'", "b'"] {
        if let Some(inside) = rest.strip_prefix(quoted) {
            let mut chars = inside.chars();
            if chars.next() == Some('\\') || chars.next() == Some('\'') {
                return Some(quoted.len() + until_quote(inside, '\''));
            }
            return Some(quoted.len()); // A lifetime: its name follows as a word.
        }
    }
    None
}

/// The length of what remains of a string, its closing quote included.
fn until_quote(inside: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if !escaped && c == quote {
            return at + 1;
        }
        escaped = !escaped && c == '\\';
    }
    inside.len()
}

fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
        rest.strip_prefix(prefix).is_some_and(|r| r.trim_start_matches('#').starts_with('"'))
    })?;
    let opening = rest.find('"')? + 1;
    let closing = format!("\"{}", "#".repeat(opening - prefix.len() - 1));
    let inside = rest[opening..].find(&closing)?;
    Some(opening + inside + closing.len())
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest.as_bytes()[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.as_bytes()[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// A path as it is written, `use` groups spelled out, and the inline modules around it.
struct Named<'a> {
    segments: Vec<&'a str>,
    scope: Vec<&'a str>,
    line: usize,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("::"))
    }
}

impl<'a> Named<'a> {
    /// The path from the crate's root, or `None` for a path that is relative or leads outside.
    fn resolve(&self, module: &[&'a str]) -> Option<Vec<&'a str>> {
        let (mut target, mut rest) = match self.segments.split_first()? {
            (&("crate" | "towline"), rest) => (Vec::new(), rest),
            (&"self", rest) => ([module, &self.scope].concat(), rest),
            (&"super", _) => ([module, &self.scope].concat(), &self.segments[..]),
            _ => return None,
        };
        while let Some((&"super", above)) = rest.split_first() {
            target.pop();
            rest = above;
        }
        target.extend(rest);
        Some(target)
    }
}

/// Every path of two or more segments, and every path that a `use` or an `extern crate` names.
fn paths<'a>(tokens: &[Token<'a>]) -> Vec<Named<'a>> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut found = Vec::new();
    let mut modules: Vec<(&str, usize)> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while at < tokens.len() {
        let scope = || modules.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let line = tokens[at].line;
        match text(at) {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                modules.pop_if(|(_, opened_at)| *opened_at == depth);
            }
            "mod" if text(at + 2) == "{" => {
                modules.push((text(at + 1), depth));
                at += 1;
            }
            // `use<'a>` is a bound, not an import.
            "use" if text(at + 1) != "<" => {
                let mut leaves = Vec::new();
                at = use_tree(tokens, at + 1, &[], &mut leaves);
                let scope = scope();
                found.extend(leaves.into_iter().map(|(segments, line)| Named {
                    segments,
                    scope: scope.clone(),
                    line,
                }));
                continue;
            }
            "extern" if text(at + 1) == "crate" => {
                at += 2;
                found.push(Named { segments: vec![text(at)], scope: scope(), line });
            }
            word if tokens[at].is_word() && text(at + 1) == "::" && !continues(tokens, at) => {
                let mut segments = vec![word];
                while text(at + 1) == "::" && tokens.get(at + 2).is_some_and(Token::is_word) {
                    segments.push(text(at + 2));
                    at += 2;
                }
                found.push(Named { segments, scope: scope(), line });
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Whether the word goes on with a path that began before it, as in `<T as Trait>::Item::new`.
fn continues(tokens: &[Token], at: usize) -> bool {
    at >= 2 && tokens[at - 1].text == "::" && tokens[at - 2].text == ">"
}

/// Reads one tree of a `use`, from `at`, and returns the place after it.
fn use_tree<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &[&'a str],
    leaves: &mut Vec<(Vec<&'a str>, usize)>,
) -> usize {
    let mut path = prefix.to_vec();
    let mut line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        match token.text {
            "::" => {}
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = use_tree(tokens, at, &path, leaves);
                    if tokens.get(at).is_some_and(|token| token.text == ",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "as" => {
                at += 2;
                break;
            }
            // `a::{self}` is `a`; `self::a` keeps its `self`.
            "self" if !path.is_empty() => {}
            word if token.is_word() || word == "*" => {
                path.push(word);
                line = token.line;
            }
            _ => break,
        }
        at += 1;
    }
    if !path.is_empty() {
        leaves.push((path, line));
    }
    // What is no `use` tree, inside a macro say, must not hold the reader in place.
    match tokens.get(at).map(|token| token.text) {
        Some("," | "}" | ";") | None => at,
        Some(_) => at + 1,
    }
}

/// The tokens outside of what `#[cfg(test)]` or `#[cfg(all(test, …))]` stands before; none of them when
/// `#![cfg(test)]` opens the file.
fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    let starts = |at: usize, words: &[&str]| {
        tokens.get(at..at + words.len()).is_some_and(|part| spells(part, words))
    };
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if starts(at, &["#", "!", "[", "cfg", "(", "test", ")", "]"]) {
            return Vec::new();
        }
        if starts(at, &["#", "[", "cfg", "(", "test"])
            || starts(at, &["#", "[", "cfg", "(", "all", "(", "test"])
        {
            at = after_item(tokens, at);
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

/// The place after the item that begins at `at`: after its `;`, its `{…}`, or before the end of the block
/// around it.
fn after_item(tokens: &[Token], mut at: usize) -> usize {
    let mut open = 0_usize;
    while let Some(token) = tokens.get(at) {
        match token.text {
            "(" | "[" | "{" => open += 1,
            ")" | "]" | "}" if open == 0 => return at,
            "}" if open == 1 => return at + 1,
            ")" | "]" | "}" => open -= 1,
            ";" if open == 0 => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Small false sources, to show that each rule bites, and bites nothing else.
mod the_rules {
    use super::*;

    type Rule = fn(&Source) -> Vec<Finding>;

    fn findings(rule: Rule, file: &str, text: &str) -> Vec<String> {
        let source = Source { file: file.to_string(), text: text.to_string() };
        rule(&source).iter().map(Finding::to_string).collect()
    }

    /// Each text has exactly one fault.
    #[track_caller]
    fn refuses(rule: Rule, file: &str, texts: &[&str]) {
        for text in texts {
            let found = findings(rule, file, text);
            assert_eq!(found.len(), 1, "{file} with {text:?}: {found:?}");
        }
    }

    #[track_caller]
    fn accepts(rule: Rule, file: &str, texts: &[&str]) {
        for text in texts {
            let found = findings(rule, file, text);
            assert!(found.is_empty(), "{file} with {text:?}: {found:?}");
        }
    }

    #[test]
    fn a_finding_names_file_and_line() {
        let text = "//! Doc.\n\nuse crate::words::Seq;\nuse crate::store::Store;\n";
        assert_eq!(
            findings(imports_that_point_up, "src/core/log.rs", text),
            ["src/core/log.rs:4: core names store, which is not below it: `crate::store::Store`"]
        );
    }

    #[test]
    fn a_line_is_counted_through_strings_and_comments() {
        let text = "/* a\n/* b */\n*/ \"x\n\\\"y\"; r#\"\n\"\n\"#;\nuse crate::node::Node;";
        let found = findings(imports_that_point_up, "src/core/log.rs", text);
        assert!(found[0].starts_with("src/core/log.rs:7: "), "{found:?}");
    }

    #[test]
    fn an_import_may_point_down_or_stay() {
        let accepts = |file, text| accepts(imports_that_point_up, file, &[text]);
        accepts("src/words.rs", "use crate::words::Seq;");
        accepts("src/core/log.rs", "use crate::{core::change, words::{Seq, time}};");
        accepts("src/store.rs", "use crate::core::{self, Batch as B};");
        accepts("src/node/writer.rs", "use crate::store; use crate::net::*;");
        accepts("src/http/page.rs", "fn f(node: &crate::node::Node) {}");
        accepts("src/main.rs", "use towline::{cli, http, node};");
        accepts("src/lib.rs", "pub use crate::node::Node;");
    }

    #[test]
    fn an_import_may_not_point_up() {
        let refuses = |file, text| refuses(imports_that_point_up, file, &[text]);
        refuses("src/words/id.rs", "use crate::core::Log;");
        refuses("src/core.rs", "use crate::store::Store;");
        refuses("src/core/log.rs", "pub use crate::{words, node::{Node}};");
        refuses("src/core/log.rs", "use crate::r#store::y;");
        refuses("src/core/log.rs", "m! { $crate::store::Store }");
        refuses("src/core/log.rs", "type T = <crate::net::Link as X>::Y;");
        refuses("src/net.rs", "fn f() { crate::node::open() }");
        refuses("src/node.rs", "impl crate::http::Serve for Node {}");
    }

    #[test]
    fn store_and_net_are_strangers() {
        refuses(imports_that_point_up, "src/store/sqlite.rs", &["use crate::net::Link;"]);
        refuses(imports_that_point_up, "src/net/link.rs", &["use crate::store::Store;"]);
    }

    #[test]
    fn cli_may_name_http_and_http_never_cli() {
        accepts(imports_that_point_up, "src/cli/run.rs", &["use crate::http::serve;"]);
        refuses(imports_that_point_up, "src/http/serve.rs", &["use crate::cli::Output;"]);
    }

    #[test]
    fn super_is_followed_to_where_it_leads() {
        let down = ["use super::change;", "use super::super::words::Seq;"];
        accepts(imports_that_point_up, "src/core/log.rs", &down);
        refuses(imports_that_point_up, "src/core/log.rs", &["use super::super::store::Store;"]);
        let up = ["use super::{words, store};", "use self::super::store;"];
        refuses(imports_that_point_up, "src/core.rs", &up);
    }

    #[test]
    fn super_counts_the_inline_modules_around_it() {
        let down = ["mod tests { use super::*; fn f() {} }"];
        accepts(imports_that_point_up, "src/core.rs", &down);
        let up = [
            "mod tests { mod a {} use super::super::node; }",
            "mod tests { fn f() {} } use super::node;",
        ];
        refuses(imports_that_point_up, "src/core.rs", &up);
    }

    #[test]
    fn the_crate_root_is_no_way_around() {
        let ways =
            ["use crate::Node;", "use crate::*;", "use crate as root;", "use towline::node::Node;"];
        refuses(imports_that_point_up, "src/core/log.rs", &ways);
    }

    #[test]
    fn a_module_without_a_layer_is_refused() {
        refuses(imports_that_point_up, "src/extra.rs", &[""]);
        refuses(imports_that_point_up, "src/extra/deep.rs", &[""]);
    }

    #[test]
    fn a_visibility_is_no_import() {
        let texts = ["pub(crate) fn f() {} pub(super) fn g() {}", "pub(in crate::core) struct S;"];
        accepts(imports_that_point_up, "src/core/log.rs", &texts);
    }

    #[test]
    fn comments_strings_and_characters_are_not_read() {
        let text = r##"
            //! See crate::store::Store.
            /// `crate::node::Node`, and rusqlite::Connection
            // use crate::store::Store;
            /* use crate::store::Store; /* nested */ use quinn::Endpoint; */
            fn f<'a>(s: &'a str) -> (char, u8, &'static [u8]) {
                let _ = "use crate::store::Store; \" quinn::Endpoint .unwrap()";
                let _ = r#"" crate::store::S"#;
                let _ = c"axum::x";
                ('"', b'\'', br"clap::Parser")
            }
            const QUOTE: char = '\'';
        "##;
        for rule in [imports_that_point_up, crates_away_from_home, impurities, unwraps] {
            accepts(rule, "src/core/log.rs", &[text]);
        }
        let and_a_fault = format!("{text} use crate::net::Link;");
        refuses(imports_that_point_up, "src/core/log.rs", &[&and_a_fault]);
    }

    #[test]
    fn a_crate_is_refused_away_from_home() {
        let refuses = |file, text| refuses(crates_away_from_home, file, &[text]);
        refuses("src/core/log.rs", "use rusqlite::Connection;");
        refuses("src/core/log.rs", "use automerge::{Change};");
        refuses("src/core/changes.rs", "extern crate automerge;");
        refuses("src/node.rs", "fn f(c: &::quinn::Connection) {}");
        refuses("src/node.rs", "use ::rustls as tls;");
        refuses("src/http.rs", "use {rcgen, std::fmt};");
        refuses("src/http/page.rs", "let a = x::<u8>(ureq::get(url));");
        refuses("src/cli/run.rs", "axum::serve(listener, router);");
        refuses("src/lib.rs", "#[derive(clap::Parser)] struct S;");
    }

    #[test]
    fn a_crate_is_at_home_in_its_file_and_folder() {
        let accepts = |file, text| accepts(crates_away_from_home, file, &[text]);
        accepts("src/store/sqlite.rs", "use rusqlite::Connection;");
        accepts("src/net.rs", "use {quinn::Endpoint, rustls, rcgen};");
        accepts("src/core/change.rs", "use automerge::Change;");
        accepts("src/core/change/tests.rs", "use automerge::Change;");
        accepts("src/core/document.rs", "use automerge::Automerge;");
        accepts("src/http/page.rs", "use axum::Router;");
        accepts("src/main.rs", "use clap::Parser;");
        accepts("src/cli/status.rs", "use ureq::Agent; use clap::Args;");
    }

    #[test]
    fn a_word_that_only_looks_like_a_crate_is_none() {
        let texts =
            ["export::automerge(); x.automerge();", "let quinn = 1; tokio_util::sync::x();"];
        accepts(crates_away_from_home, "src/node.rs", &texts);
    }

    #[test]
    fn the_synchronous_part_never_names_tokio() {
        let texts =
            ["use tokio::sync::watch;", "tokio::spawn(f);", "#[tokio::test] async fn f() {}"];
        for file in ["src/words/time.rs", "src/core.rs", "src/store/sqlite.rs"] {
            refuses(crates_away_from_home, file, &texts);
        }
        for file in ["src/net/link.rs", "src/node.rs", "src/http.rs", "src/cli/run.rs"] {
            accepts(crates_away_from_home, file, &texts);
        }
    }

    #[test]
    fn words_and_core_are_refused_the_world() {
        let texts = [
            "let now = Instant::now();",
            "let now = std::time::SystemTime::now();",
            "let now = jiff::Timestamp::now();",
            "getrandom::fill(&mut bytes);",
            "use getrandom::fill;",
            "let r = rand::random();",
            "tracing::info!(\"x\");",
            "use tracing::{debug};",
            "use std::{collections::BTreeMap, fs};",
            "let f = ::std::fs::File::open(p);",
            "use std::net::{IpAddr, TcpStream};",
            "use rand_core::OsRng;",
            "use std::net::*;",
            "net::UdpSocket::bind(a);",
            "std::thread::spawn(f);",
        ];
        refuses(impurities, "src/core/log.rs", &texts);
        refuses(impurities, "src/words.rs", &texts);
        accepts(impurities, "src/node/writer.rs", &texts);
    }

    #[test]
    fn words_and_core_may_name_addresses_and_times() {
        let texts =
            ["use std::net::SocketAddr;", "fn f(now: Instant) {}", "use rand_core::RngCore;"];
        accepts(impurities, "src/core/log.rs", &texts);
    }

    #[test]
    fn a_file_or_folder_named_for_a_role_is_refused() {
        for name in EMPTY_NAMES {
            refuses(empty_names, &format!("src/core/{name}.rs"), &[""]);
            refuses(empty_names, &format!("src/{name}/log.rs"), &[""]);
        }
        accepts(empty_names, "src/core/common_parent.rs", &[""]);
    }

    #[test]
    fn an_unwrap_is_refused_outside_of_tests() {
        let texts = [
            "fn f() { g(\"x\")\n    .unwrap(); }",
            "#[cfg(not(test))] fn f() { x.0.unwrap(); }",
            "#[cfg(test)] mod tests; fn f() { x.unwrap(); }",
            "#[cfg(test)] mod tests { fn f() { a.unwrap() } } fn g() { b.unwrap() }",
            "fn f() { #[cfg(test)] g(|x| x.unwrap()); h.unwrap() }",
        ];
        refuses(unwraps, "src/core/log.rs", &texts);
        refuses(unwraps, "src/main.rs", &texts);
    }

    #[test]
    fn tests_may_unwrap() {
        let texts = [
            "#![cfg(test)] fn f() { x.unwrap(); }",
            "#[cfg(test)]\n#[allow(x)]\nmod tests { fn f() { x.unwrap() } }",
            "#[cfg(all(test, unix))] impl A { fn f() { x.unwrap() } }",
            "fn f() { x.unwrap_or(1); y.unwrap_or_default(); unwrap() }",
        ];
        accepts(unwraps, "src/core/log.rs", &texts);
        accepts(unwraps, "src/core/log/tests.rs", &["fn f() { x.unwrap(); }"]);
    }
}
