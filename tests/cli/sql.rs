//! `sql`: the log as tables, beside a node and without one.

use serde_json::json;

use crate::program::{Home, printed};

fn home() -> Home {
    let home = Home::new();
    let node = home.start(&[]);
    let drafts = b"{\"topic\":\"a\",\"data\":{\"n\":1}}\n{\"topic\":\"b\",\"data\":\"x, \\\"y\\\"\\u001b[31m\"}\n";
    printed(home.piped(&["append", "--format", "ndjson", "-k", "k"], drafts));
    printed(home.piped(&["append", "-t", "b"], b"\xff\x00\n"));
    // Beside the node first; then without it.
    assert_eq!(home.ok(&["sql", "SELECT count(*) AS n FROM entries"]), "n\n3\n");
    node.terminate();
    home
}

#[test]
fn rows_are_printed_in_every_form() {
    let home = home();
    let select = "SELECT topic, data, seq FROM entries ORDER BY offset";
    assert_eq!(
        home.ok(&["sql", select]),
        "topic  data                  seq\n\
         a      {\"n\":1}               0\n\
         b      \"x, \\\"y\\\"\\u001b[31m\"  1\n\
         b      x'ff00'               2\n"
    );
    let page = home.json(&["sql", select, "-o", "json"]);
    assert_eq!(page[0], json!({"topic": "a", "data": "{\"n\":1}", "seq": 0}));
    assert_eq!(page[2]["data"], "/wA=");
    assert_eq!(home.ok(&["sql", select, "-o", "ndjson"]).lines().count(), 3);
    let csv =
        home.ok(&["sql", "--csv", "SELECT topic, data ->> '$.n' AS \"a,b\" FROM entries LIMIT 1"]);
    assert_eq!(csv, "topic,\"a,b\"\r\na,1\r\n");
    assert_eq!(home.json(&["sql", "SELECT 1 WHERE 0", "-o", "json"]), json!([]));
    let twice = home.json(&["sql", "SELECT seq, seq FROM entries LIMIT 1", "-o", "json"]);
    assert_eq!(twice, json!([{"seq": 0, "seq:1": 0}]));
}

#[test]
fn a_statement_comes_from_a_pipe_as_well() {
    let home = home();
    let said =
        printed(home.piped(&["sql", "-"], b"SELECT count(*) AS n\nFROM entries -- all\n;\n"));
    assert_eq!(said, "n\n3\n");
}

#[test]
fn what_is_no_select_is_refused_and_changes_nothing() {
    let home = home();
    let store = home.data().join("log.sqlite");
    let before = std::fs::read(&store).unwrap();
    for statement in [
        "DELETE FROM entries",
        "SELECT 1; SELECT 2",
        "ATTACH 'other.sqlite' AS other",
        "PRAGMA journal_mode = DELETE",
        "SELEKT",
    ] {
        let failed = home.fails(&["sql", statement]);
        assert!(failed.is("E0001", 2), "{statement}: {failed:?}");
    }
    assert_eq!(std::fs::read(&store).unwrap(), before);
    assert!(!home.path().join("other.sqlite").exists());
}

#[test]
fn a_statement_that_takes_too_long_ends() {
    let home = home();
    let endless = "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t)
        SELECT count(*) FROM t";
    let failed = home.fails(&["sql", "--timeout", "50ms", endless]);
    assert!(failed.is("E0204", 6), "{failed:?}");
}

#[test]
fn sql_needs_the_data_directory() {
    let home = Home::new();
    assert!(home.fails(&["sql", "SELECT 1"]).is("E0007", 1));
    assert!(home.fails(&["--node", "http://127.0.0.1:1", "sql", "SELECT 1"]).is("E0001", 2));
}

#[test]
fn a_literal_is_a_literal_in_every_column() {
    let home = home();
    for column in ["author", "id", "tenant", "topic", "kind", "time", "seq", "offset", "hlc"] {
        for value in ["'''' OR 1=1", "x''; DROP TABLE log; --", "%", "../../etc/passwd"] {
            let statement = format!("SELECT count(*) AS n FROM entries WHERE {column} = '{value}'");
            assert_eq!(home.ok(&["sql", &statement]), "n\n0\n", "{statement}");
        }
    }
}
