use std::time::Duration;

use super::*;
use crate::node::{Config, Node};
use crate::words::{Draft, NodeId};

/// A log of two authors: `number` in turn of topics a, b, c, and what a statement says of it.
struct Scene {
    directory: tempfile::TempDir,
    node: NodeId,
}

const ENTRIES: u64 = 60;

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let node = Node::open(Config::new(directory.path())).await.unwrap();
        for n in 0..ENTRIES {
            let topic = ["a", "b", "c"][(n % 3) as usize];
            let draft = Draft::json(topic, "number", &serde_json::json!({ "n": n })).unwrap();
            let draft = draft.with_attribute("quote", "it's \"one\"").unwrap();
            node.append(draft).await.unwrap();
        }
        node.append(Draft::bytes("a", "octets", "x/y", vec![0xff, 0]).unwrap()).await.unwrap();
        let scene = Self { directory, node: node.id() };
        node.shutdown().await.unwrap();
        scene
    }

    fn view(&self, patience: Duration) -> SqlView {
        open(self.directory.path(), Instant::now() + patience).unwrap()
    }

    /// The rows, each as its values with a bar between them.
    fn rows(&self, statement: &str) -> Result<Vec<String>, SqlError> {
        let mut rows = Vec::new();
        self.view(Duration::from_secs(60)).select(statement, |_, row| {
            let texts = row.map(|row| row.iter().map(text).collect::<Vec<_>>().join("|"));
            rows.extend(texts);
            Ok::<_, SqlError>(())
        })?;
        Ok(rows)
    }

    #[track_caller]
    fn selects(&self, statement: &str, expected: &[&str]) {
        assert_eq!(self.rows(statement).unwrap(), expected, "{statement}");
    }
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => (*text).to_owned(),
        Value::Blob(bytes) => format!("x{}", hex::encode(bytes)),
    }
}

#[tokio::test]
async fn every_condition_means_what_it_says() {
    let scene = Scene::new().await;
    let (node, numbers) = (scene.node, "SELECT data ->> '$.n' FROM entries WHERE");
    scene.selects("SELECT count(*) FROM entries", &["61"]);
    scene.selects("SELECT count(*) FROM entries WHERE topic = 'b'", &["20"]);
    scene.selects("SELECT count(*) FROM entries WHERE topic = 'B' COLLATE NOCASE", &["20"]);
    scene.selects("SELECT count(*) FROM entries WHERE topic IN ('a', 'b')", &["41"]);
    scene.selects("SELECT count(*) FROM entries WHERE topic = 'a' OR kind = 'octets'", &["21"]);
    scene.selects("SELECT data, content_type FROM entries WHERE kind = 'octets'", &["xff00|x/y"]);
    scene.selects(&format!("{numbers} author = '{node}' AND seq = 7"), &["7"]);
    scene.selects(&format!("{numbers} author = '{node}' AND seq BETWEEN 58 AND 59"), &["58", "59"]);
    scene.selects(&format!("{numbers} id = '{node}:9'"), &["9"]);
    scene.selects(&format!("{numbers} offset > 2 AND offset <= 4"), &["3", "4"]);
    scene.selects(&format!("{numbers} seq = 5 AND topic = 'c'"), &["5"]);
    scene.selects("SELECT attributes ->> '$.quote' FROM entries LIMIT 1", &["it's \"one\""]);
    for condition in ["author = 'alice'", "topic = NULL", "topic = ''", "offset > 60", "hlc < 0"] {
        scene.selects(&format!("SELECT count(*) FROM entries WHERE {condition}"), &["0"]);
    }
}

#[tokio::test]
async fn times_bound_a_listing_as_texts_and_as_numbers() {
    let scene = Scene::new().await;
    for seq in [0, 30, 60] {
        for (column, operator) in
            ["time", "hlc"].into_iter().flat_map(|c| [">=", ">", "<=", "<", "="].map(|o| (c, o)))
        {
            // With a plus the condition stays with SQLite: the two must agree.
            let wanted = format!("(SELECT {column} FROM entries WHERE seq = {seq})");
            let count = |column: &str| {
                let select = "SELECT count(*), min(seq), max(seq) FROM entries";
                scene.rows(&format!("{select} WHERE {column} {operator} {wanted}")).unwrap()
            };
            assert_eq!(count(column), count(&format!("+{column}")), "{column} {operator} {seq}");
        }
    }
}

#[tokio::test]
async fn every_order_is_kept() {
    let scene = Scene::new().await;
    for order in ["offset", "hlc", "time, seq", "hlc, author, seq", "seq", "data ->> '$.n'"] {
        for (direction, first) in [("ASC", "0|1"), ("DESC", "59|58")] {
            let order = order.split(", ").map(|by| format!("{by} {direction}"));
            let order = order.collect::<Vec<_>>().join(", ");
            let rows = scene.rows(&format!(
                "SELECT group_concat(n, '|') FROM (SELECT data ->> '$.n' AS n FROM entries
                 WHERE kind = 'number' ORDER BY {order} LIMIT 2)"
            ));
            assert_eq!(rows.unwrap(), [first], "{order}");
        }
    }
    let author = format!("author = '{}' AND seq >= 57 AND seq < 60", scene.node);
    for (order, expected) in [("hlc DESC", ["59", "58", "57"]), ("offset", ["57", "58", "59"])] {
        scene.selects(
            &format!("SELECT seq FROM entries WHERE {author} ORDER BY {order}"),
            &expected,
        );
    }
    let newest = "SELECT seq FROM entries WHERE topic = 'c' ORDER BY offset DESC LIMIT 2";
    scene.selects(newest, &["59", "56"]);
}

#[tokio::test]
async fn the_small_tables_add_up() {
    let scene = Scene::new().await;
    let node = scene.node;
    scene.selects(
        "SELECT author, entries, next_seq, segments FROM authors",
        &[&format!("{node}|61|61|1")],
    );
    scene.selects("SELECT node, entries, emitted FROM log", &[&format!("{node}|61|0")]);
    scene.selects("SELECT count(*) FROM gaps", &["0"]);
    scene.selects(
        "SELECT count(*) FROM entries e JOIN segments s ON s.segment = e.segment
         JOIN entries f ON f.author = e.author AND f.seq = e.seq + 1",
        &["60"],
    );
}

#[tokio::test]
async fn nothing_but_reading_can_be_said() {
    let scene = Scene::new().await;
    let aside = scene.directory.path().join("aside.sqlite");
    let aside = aside.display();
    for statement in [
        "",
        "-- nothing",
        "SELECT 1; SELECT 2",
        "DELETE FROM log",
        "INSERT INTO entries (topic) VALUES ('t')",
        "UPDATE segments SET author = ''",
        "DROP TABLE entries",
        "CREATE TABLE t (x)",
        "CREATE TEMP TABLE t AS SELECT 1",
        "WITH t AS (SELECT 1) DELETE FROM log",
        &format!("ATTACH '{aside}' AS aside"),
        &format!("VACUUM INTO '{aside}'"),
        "PRAGMA user_version",
        "PRAGMA query_only = 0",
        "SELECT * FROM pragma_database_list",
        "SELECT load_extension('x')",
        "BEGIN",
        "EXPLAIN DELETE FROM log",
        "SELECT * FROM changes",
        "SELEKT 1",
    ] {
        let refused = scene.rows(statement);
        assert!(matches!(refused, Err(SqlError::Statement(_))), "{statement}: {refused:?}");
    }
    assert!(!scene.directory.path().join("aside.sqlite").exists());
    scene.selects("SELECT count(*) FROM log", &["1"]);
}

#[tokio::test]
async fn a_statement_ends_at_its_deadline() {
    let scene = Scene::new().await;
    let endless =
        "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) SELECT sum(x) FROM t";
    let view = scene.view(Duration::from_millis(50));
    let ended = view.select(endless, |_, _| Ok::<_, SqlError>(()));
    assert_eq!(ended, Err(SqlError::Late));
}

#[tokio::test]
async fn a_value_that_would_fill_the_memory_is_refused() {
    let scene = Scene::new().await;
    let huge = scene.rows("SELECT length(zeroblob(1000000000))");
    assert!(matches!(huge, Err(SqlError::Statement(_))), "{huge:?}");
}

#[tokio::test]
async fn a_statement_sees_the_log_as_it_was_when_it_was_opened() {
    let scene = Scene::new().await;
    let view = scene.view(Duration::from_secs(60));
    let node = Node::open(Config::new(scene.directory.path())).await.unwrap();
    node.append(Draft::text("a", "note", "later").unwrap()).await.unwrap();
    let mut counts = Vec::new();
    let counted = view.select("SELECT count(*) FROM entries", |_, row| {
        counts.extend(row.map(|row| text(&row[0])));
        Ok::<_, SqlError>(())
    });
    counted.unwrap();
    assert_eq!(counts, ["61"]);
    node.shutdown().await.unwrap();
}
